"""Nouns of the API about quotes: what a job would take and cost, who would run it, and what a liar could get past.

Flow: Submission -> door -> `quoting` -> *Quote* -> JSON -> client. Everything here is a prediction by this node's cost
model and by what peers say of themselves: nothing is kept, nothing runs, nothing is reserved.
"""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["Quote", "QuotedAudits", "QuotedCheck", "QuotedPeer", "QuotedPrice", "QuotedRow", "QuotedTime"]


class QuotedRow(msgspec.Struct, frozen=True, kw_only=True):
    """One way to answer the job. applies: whether it could be used; why: with numbers; nearest: of a refusal, the
    smallest change that would make it possible, "" if unknown.

    seconds: of one core of this machine, all runs. wall_s: until all is answered at `places` places. memory_bytes: of
    the largest run. refused: asked runs that no engine takes even so. shots_factor: times the shots for the same
    standard error (1: nothing is lost). certain: False where the cost depends on the state and may be far less.
    """

    row: str
    applies: bool
    why: str
    nearest: str
    seconds: float
    wall_s: float
    places: int
    work_units: float
    memory_bytes: int
    runs: int
    refused: int
    shots_factor: float
    certain: bool


class QuotedPeer(msgspec.Struct, frozen=True, kw_only=True):
    """One peer that was looked at. relation: own, allowed or stranger. why: the reason it is left out, None where it
    could be chosen.

    ask: hash of its ask for work (hex), None where it asks no price; price_per_giga: of that ask, base units for 10^9
    work units; due: base units if it did all of the work once. round_trip_ns: None where not measured. places: pieces
    at once. right: its runs found right by checks here since its last lie. audit_ppm: of a million of its runs, how
    many would be computed again under assurance audit.
    """

    node: str
    relation: str
    why: str | None
    ask: str | None
    price_per_giga: int | None
    due: int
    round_trip_ns: int | None
    places: int
    right: int
    audit_ppm: int


class QuotedPrice(msgspec.Struct, frozen=True, kw_only=True):
    """What it costs. work_units: of all leases, replicas and runs that a third peer computes again counted in.

    least, most: base units, all of it at the cheapest and at the dearest ask among those that could be chosen; None
    where there is nobody. least_ask, most_ask: these asks (hash, hex), None of a peer that asks no price. budget: as it
    was given. within: all asks fit it, only the cheaper ones (some), or not even the cheapest (none); None: no budget.
    """

    work_units: int
    least: int | None
    most: int | None
    least_ask: str | None
    most_ask: str | None
    budget: int | None
    within: Literal["all", "some", "none"] | None


class QuotedTime(msgspec.Struct, frozen=True, kw_only=True):
    """expected_s: until all is answered, where peers are as fast as this machine and idle; None where nobody can.
    places: pieces at once; peers: at so many different ones. in_time: whether that is within deadline_s."""

    expected_s: float | None
    places: int
    peers: int
    deadline_s: float
    in_time: bool


class QuotedAudits(msgspec.Struct, frozen=True, kw_only=True):
    """Runs that are computed again, as they are to be expected. where: here, or at a third peer where this node cannot;
    seconds: of one core."""

    runs: float
    seconds: float
    where: Literal["here", "a third peer"]


class QuotedCheck(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a lie of a given size is noticed (docs/verify.md).

    share: of its shots that a peer fakes. check: how its answers are compared: repeat (number by number), computed
    (values within rounding), samples (two samples by statistics), estimates (sampled values by statistics), none.
    cheat: what the liar does beside faking. runs: that the peer does. passes: probability that it is not noticed, by
    the measured rate; low, high: 95 % interval, and `high` is what is claimed. says: all of that, for people.
    """

    share: float
    check: Literal["repeat", "computed", "samples", "estimates", "none"]
    cheat: str
    runs: int
    passes: float
    low: float
    high: float
    says: str


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """What `run` with the same arguments would meet now. refused: why it would not be taken or could be run by nobody,
    "" where it could be.

    on, assurance, egress, max_peers, purpose: the terms. plan, why: the row that would be used, and against which;
    rows: all that were priced. asked_runs: runs as they were asked, runs: as they would be done. leases: about how many
    pieces of work go out, at `time.places` places; 0 of a job that runs here. engines: "engine/method" by which runs
    surely are answered; empty where that depends on the state. seconds: of one core of this machine, each run once;
    certain: False where that is of the widest attempt: it may take less, or stop at its cap without an answer.
    memory_bytes: of the largest run. peers, price, audits: of a job on the mesh; empty or None of one that runs here.
    checks: what a liar gets past; better: what would make that at most 0.2 %, "" where it is. physics: emulated.
    not_claimed: in one line.
    """

    refused: str
    on: Literal["here", "mesh"]
    assurance: str
    egress: str
    max_peers: int | None
    purpose: str | None
    plan: str
    why: str
    rows: tuple[QuotedRow, ...]
    asked_runs: int
    runs: int
    leases: int
    engines: tuple[str, ...]
    seconds: float
    certain: bool
    memory_bytes: int
    time: QuotedTime
    peers: tuple[QuotedPeer, ...] = ()
    price: QuotedPrice | None = None
    audits: QuotedAudits | None = None
    checks: tuple[QuotedCheck, ...] = ()
    better: str = ""
    physics: str
    not_claimed: str
