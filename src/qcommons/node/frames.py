"""What the node and its worker processes say to each other, and how it is framed.

Flow: pool -> *Call* -> pipe -> worker -> *Ended* -> pipe -> pool. A frame is a little-endian u32
length and that many bytes of msgpack, typed by msgspec on both sides: nothing else is decoded.
"""

from __future__ import annotations

import struct

import msgspec

from qcommons.jobs.outcomes import Outcome
from qcommons.jobs.plan.records import Plan, Price
from qcommons.jobs.records import Card, Job, Piece

__all__ = [
    "Calibrate", "Calibration", "Call", "Configure", "Constants", "Ended", "Parse", "PlanJob", "Planned", "PutTogether",
    "RunPiece", "Source", "Trying", "Value", "pack",
]  # fmt: skip

Constants = dict[str, dict[str, float]]  # engine -> constant -> value
HEADER = struct.Struct("<I")
FRAME_BYTES_MAX = 1 << 30  # a state vector of 20 qubits takes 20 MB; an engine cannot make more than it may hold


class Source(msgspec.Struct, frozen=True):
    """Program text as the user gave it. name: file name for messages."""

    text: bytes
    name: str


class Configure(msgspec.Struct, frozen=True, tag=True):
    """Cost constants of this machine for all runs that follow; no reply."""

    constants: Constants


class RunPiece(msgspec.Struct, frozen=True, tag=True):
    piece: Piece


class Parse(msgspec.Struct, frozen=True, tag=True):
    """Parse each source; a parser that needs more than the limits is stopped."""

    sources: tuple[Source, ...]
    operations_max: int
    memory_bytes: int
    seconds: float


class Calibration(msgspec.Struct, frozen=True, tag=True):
    """Measured cost constants and what they hold for; another processor or version: stale."""

    machine: str
    engines: dict[str, str]  # engine -> version
    constants: Constants


class Calibrate(msgspec.Struct, frozen=True, tag=True):
    """Refit the cost constants of the installed engines in about `budget_s` seconds.

    known: answered at once with this very record if it still holds; None: measure in any case.
    """

    budget_s: float
    known: Calibration | None = None


class PlanJob(msgspec.Struct, frozen=True, tag=True):
    """Plan a job for the mesh. plan: the row that the user wants. parallel: places of all peers. memory_bytes: that a
    run may use at the largest, 0 where nobody said. every: price all rows, for a quote. price_per_giga: the cheapest
    ask, base units for 10^9 work units; None where none is known."""

    job: Job
    plan: str | None
    parallel: int
    memory_bytes: int = 0
    every: bool = False
    price_per_giga: int | None = None


class Planned(msgspec.Struct, frozen=True, tag=True):
    """prices: of one run of each program of the plan's job."""

    plan: Plan
    prices: tuple[Price, ...]


class PutTogether(msgspec.Struct, frozen=True, tag=True):
    """Put the answers that were asked together from the outcomes of the plan's runs."""

    plan: Plan
    outcomes: tuple[Outcome, ...]


Call = Configure | RunPiece | Parse | Calibrate | PlanJob | PutTogether


Value = Outcome | Card | Calibration | Planned


class Trying(msgspec.Struct, frozen=True):
    """An attempt that begins now. index: of the point in the job. seconds: what the cost model predicts for this
    attempt; certain: False where its cost depends on the state."""

    index: int
    engine: str
    method: str
    seconds: float
    certain: bool


class Ended(msgspec.Struct, frozen=True):
    """Some ends of a call, in order: of items (by index), sources (by place) or the calibration (0).

    last: the call is over. retire: the worker exits now (its memory is no longer to be trusted). trying: nothing has
    ended; this is what the worker does now.
    """

    ends: tuple[tuple[int, Value], ...]
    last: bool
    retire: bool = False
    trying: Trying | None = None


def pack(message: Call | Ended) -> bytes:
    body = msgspec.msgpack.encode(message)
    return HEADER.pack(len(body)) + body
