"""Nouns of the API about work between nodes: a job on the mesh as its submitter sees it, a hired one as its worker.

Flow: Spread.view, Spread.considered, Hire.view, the kept plan -> *MeshWork, HiredWork* -> JobView, Why -> client.
"""

from __future__ import annotations

import msgspec

from qcommons.jobs.work_views import LeaseRow

__all__ = ["HiredWork", "MeshWork", "PeerRow", "PricedRow"]


class PricedRow(msgspec.Struct, frozen=True, kw_only=True):
    """One way to answer the job. applies: whether it could be used; why: with numbers. wall_s: seconds until all is
    answered, work_units: of all runs, runs: how many it makes."""

    row: str
    applies: bool
    why: str
    wall_s: float
    work_units: float
    runs: int


class PeerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One peer that was looked at. relation: own, allowed or stranger. why: the reason it gets nothing now, None where
    it may."""

    node: str
    relation: str
    why: str | None


class MeshWork(msgspec.Struct, frozen=True, kw_only=True):
    """What a job on the mesh is asked for, how it is planned, and who has what of it.

    plan, why: the row of the planner that was chosen, and against which. parts, parts_answered: runs of the plan where
    they are not those that were asked (0 else). leases: oldest first. considered: peers, while the job is open.
    """

    assurance: str
    egress: str
    peers: int | None
    budget: int | None
    purpose: str | None
    plan: str
    why: str
    priced: tuple[PricedRow, ...]
    parts: int
    parts_answered: int
    leases: tuple[LeaseRow, ...]
    considered: tuple[PeerRow, ...] = ()


class HiredWork(msgspec.Struct, frozen=True, kw_only=True):
    """A job that a peer hired. lease: its id, hex. node: for whom; job, piece: its names there. state: of the lease:
    engaged, ended, reported, over; why: of one that is over. until_ns: when the answer is of no more use.
    price_per_giga: base units for 10^9 work units. verdicts: what its holder found of the work, oldest first."""

    lease: str
    node: str
    job: str
    piece: str
    purpose: str
    state: str
    why: str
    until_ns: int
    price_per_giga: int
    verdicts: tuple[str, ...]
