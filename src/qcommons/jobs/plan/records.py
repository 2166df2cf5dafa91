"""Nouns of planning: the price of each way to answer a job, the runs of the way chosen, and how they are put together.

Flow: choose -> *Plan* (rows priced, derived job, parts) -> pieces -> outcomes of the derived job -> combine -> outcomes
of the job as it was asked. A plan is data: it is kept with the job, travels in its archive, is combined again offline.
"""

from __future__ import annotations

import msgspec

from qcommons.jobs.records import Job

__all__ = [
    "Combine", "CountsSum", "Estimated", "Factor", "Parity", "Part", "Plan", "Price", "Priced", "Same", "SliceSum",
    "Term",
]  # fmt: skip


class Priced(msgspec.Struct, frozen=True, kw_only=True):
    """One way, and what it would cost. applies: False where it cannot be used, `why` then says it with numbers.

    seconds: one core of this machine, all runs. work_units: of the cost model, paid for. memory_bytes: of the largest
    run. runs: how many runs it makes. shots_factor: shots for the standard error of the uncut run, relative to it
    (1.0 where nothing is lost). nearest: of a refusal, the smallest change that would make it possible, "" if unknown.
    longest_s: seconds of the longest run; 0.0: as all together. certain: False where a cost depends on the state.
    refused: asked runs that no engine takes even so; they end as refused. places: by the row, at how many places at
    once it can run at most (0: as many as runs); of a plan, at how many it is best run. wall_s: how long that takes
    with the overhead of spreading; `choose` fills it in.
    """

    row: str
    applies: bool
    why: str
    seconds: float = 0.0
    work_units: float = 0.0
    memory_bytes: int = 0
    runs: int = 0
    shots_factor: float = 1.0
    nearest: str = ""
    longest_s: float = 0.0
    certain: bool = True
    refused: int = 0
    places: int = 0
    wall_s: float = 0.0


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """What a piece takes, as the node's cost model says it.

    seconds: one core of this machine. work_units: paid for. memory_bytes: of the largest run. engines: any of them can
    run it, empty: not known. engine, method: what the lease shall name, so that answers can be compared number by
    number. here: this node could compute it itself, as audits may need.
    """

    seconds: float
    work_units: int
    memory_bytes: int
    engines: tuple[str, ...] = ()
    engine: str | None = None
    method: str | None = None
    here: bool = True


class Same(msgspec.Struct, frozen=True, tag=True):
    """The outcome of one derived run as it is."""

    point: int


class Estimated(msgspec.Struct, frozen=True, tag=True):
    """Estimate number `observable` of a derived run."""

    point: int
    observable: int


class Parity(msgspec.Struct, frozen=True, tag=True):
    """Mean of (-1)^(number of ones among `clbits`) over the counts of a derived run."""

    point: int
    clbits: tuple[int, ...]


Factor = Estimated | Parity


class Term(msgspec.Struct, frozen=True):
    """coefficient times the product of the factors; no factors: the coefficient itself."""

    coefficient: float
    factors: tuple[Factor, ...] = ()


class Combine(msgspec.Struct, frozen=True, tag=True):
    """Estimates from derived ones: observable k is the sum of its terms. shots: as the want asked, None for exact.

    Errors are propagated to first order, factors of one derived run with their covariance where it is known and
    otherwise as if fully correlated (so never too small).
    """

    sums: tuple[tuple[Term, ...], ...]
    shots: int | None = None


class SliceSum(msgspec.Struct, frozen=True, tag=True):
    """Amplitudes that are sums over the derived runs' amplitudes, elementwise."""

    points: tuple[int, ...]


class CountsSum(msgspec.Struct, frozen=True, tag=True):
    """Counts added: the shots of one run were shared out over the derived runs, each with a seed of its own."""

    points: tuple[int, ...]


Part = Same | Combine | SliceSum | CountsSum


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """row: of `priced`, the one chosen, `why` against the others. job: what is run, derived. parts: one for each run
    of the job that was asked, in its order; empty: the derived job is the asked one."""

    row: str
    why: str
    priced: tuple[Priced, ...]
    job: Job
    parts: tuple[Part, ...] = ()
