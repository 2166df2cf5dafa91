"""Nouns of the jobs' room: what a person submits and the pieces it is run in.

Flow: edge (user's input) -> *Job* -> plan -> *Piece* -> worker -> outcomes -> assemble -> Results.
Everything here is data typed by msgspec; pieces cross the pipe to a worker as they are.
"""

from __future__ import annotations

import msgspec

from qcommons.circuits.noise import Noise
from qcommons.engines.records import Limits, Want
from qcommons.jobs.outcomes import Outcome

__all__ = ["Card", "Item", "Job", "Phase", "Piece", "Point"]


class Card(msgspec.Struct, frozen=True, tag=True):
    """One program as a job carries it: canonical bytes, and what must be known without decoding.

    wire: canonical bytes (`circuits.wire`). program_id: their SHA3-256, hex.
    n_ops: operations, for batching. notes: what the parser wants the user to know.
    name: how the user called it (file name), "" for a Program object.
    """

    wire: bytes
    program_id: str
    n_qubits: int
    cregs: tuple[tuple[str, int], ...]
    inputs: tuple[str, ...]
    n_ops: int
    notes: tuple[str, ...] = ()
    name: str = ""


class Point(msgspec.Struct, frozen=True):
    """One run of one program: `program` indexes `Job.programs`, `values` binds its inputs (radians)."""

    program: int
    values: dict[str, float]
    seed: int


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Programs, what is wanted of each, and under which conditions.

    programs, wants: one want a program. points: the runs, in the order of the results.
    seed: root of all randomness. limits: memory and seconds of one run.
    on: "here" or "mesh": who runs it. peers: how many different ones at most, None for as many as are of use.
    assurance: "none", "audit" or "replicate". budget: base units, which placing holds to; None for no bound.
    deadline_s: seconds from acceptance until the job must have ended.
    settled: outcomes known before anything runs, by index of the point (a program that did not parse).
    principal: who owns the job; "home" on one's own machine.
    egress: how far it may travel: "home", "peers" or "public". purpose: a campaign's name.
    """

    id: str
    programs: tuple[Card, ...]
    wants: tuple[Want, ...]
    points: tuple[Point, ...]
    seed: int
    limits: Limits
    deadline_s: float
    noise: Noise | None = None
    engine: str | None = None
    method: str | None = None
    assurance: str = "none"
    budget: int | None = None
    principal: str = "home"
    egress: str = "home"
    purpose: str | None = None
    on: str = "here"
    peers: int | None = None
    settled: dict[int, Outcome] = {}


class Item(msgspec.Struct, frozen=True):
    """One point inside a piece. index: of the point in the job. program: index into the piece's own."""

    index: int
    program: int
    values: dict[str, float]
    seed: int


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """Some points of one job for one worker call.

    programs: canonical bytes, `wants` one a program; items refer to them.
    tries: how often a worker was killed under it from outside.
    """

    id: str
    programs: tuple[bytes, ...]
    wants: tuple[Want, ...]
    items: tuple[Item, ...]
    limits: Limits
    noise: Noise | None = None
    engine: str | None = None
    method: str | None = None
    tries: int = 0


class Phase(msgspec.Struct, frozen=True):
    """A state of a job, why it was entered and when (ns of the node's monotonic clock)."""

    state: str  # accepted planned running assembling done failed refused cancelled
    cause: str
    since_ns: int
