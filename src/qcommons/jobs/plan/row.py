"""A row of the planner: one way to answer a job, and all that it is told.

Flow: choose -> *Row.price(Asked)* -> the best row -> *Row.make(Asked)* -> Made -> Plan. A row is a module-level object
`ROW` of a file beside this one, or of a plug-in (entry points `qcommons.planners`, `rows.load_rows`). Rows keep
nothing: what `price` found out and `make` needs again (a cut, a contraction path) goes through `Asked.remember`.

Seeds: a derived run's seed is `Asked.seed_of(index, row, ...)`, so it follows from the run that was asked and from the
path alone; whoever knows the asked run, its seed and the part can make that derived run again without the others.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

import msgspec

from qcommons.base.errors import Unavailable
from qcommons.base.seeds import derive
from qcommons.circuits.noise import Noise
from qcommons.circuits.program import Caps, Program, bind
from qcommons.circuits.wire import decode
from qcommons.engines.engine import Engine
from qcommons.engines.records import Cost, Limits, Want
from qcommons.jobs.plan.price import price_run
from qcommons.jobs.plan.records import Part, Priced
from qcommons.jobs.records import Job

__all__ = ["PLACE_S", "RUNS_MAX", "SEARCH_S", "Asked", "Made", "Row"]

T = TypeVar("T")
PLACE_S = 0.05  # offer, lease, transfer, receipt and check of the pieces at one more place
SEARCH_S = 1.0  # what a row may spend on looking for its cut or path when it is priced: a quote is waited for
# The node held the job's programs to the user's caps when it took them; what is left are the format's own bounds.
OWN_CAPS = Caps(1 << 30, 1 << 31, 1 << 31, 1 << 31, 1 << 31)
RUNS_MAX = 100_000  # derived runs of a plan: their records, outcomes and receipts are held at once (about 2 kB each)


@dataclass(frozen=True, slots=True)
class Asked:
    """A job and the circumstances it is planned for.

    engines, constants: those that will run it; the cost model's numbers by engine (`engines.calibrate`).
    memory_bytes: that a run may use on the largest candidate. parallel: how many runs go on at once, >= 1.
    clock_ns: monotonic, for bounded searches only; nothing of a plan depends on it but how far a search came.
    place_s, search_s: seconds; see `PLACE_S`, `SEARCH_S`. price_per_giga: base units for 10^9 work units at the
    cheapest peer that may get it; None: nobody's price is known, so no budget is compared.
    """

    job: Job
    engines: Mapping[str, Engine]
    constants: Mapping[str, Mapping[str, float]]
    memory_bytes: int
    parallel: int
    clock_ns: Callable[[], int]
    place_s: float = PLACE_S
    search_s: float = SEARCH_S
    price_per_giga: int | None = None
    memo: dict[Hashable, Any] = field(default_factory=dict)

    @property
    def limits(self) -> Limits:
        """Of one run: the job's own, and no more memory than the largest candidate has."""
        limits = self.job.limits
        return msgspec.structs.replace(limits, memory_bytes=min(limits.memory_bytes, self.memory_bytes))

    def remember(self, key: Hashable, compute: Callable[[], T]) -> T:
        """What `compute` gives, computed once; `key` starts with the name of the row. An Unavailable is kept too."""
        if key not in self.memo:
            try:
                self.memo[key] = compute()
            except Unavailable as refused:
                self.memo[key] = refused
        known = self.memo[key]
        if isinstance(known, Unavailable):
            raise known
        return known  # type: ignore[no-any-return]

    def program(self, number: int) -> Program:
        """Program `number` of the job, decoded once, inputs unbound."""
        return self.remember(("program", number), lambda: decode(self.job.programs[number].wire, OWN_CAPS))

    def bound(self, index: int) -> Program:
        """The program of run `index` with its values."""
        point = self.job.points[index]
        return self.bound_to(self.program(point.program), point.values)

    def bound_to(self, program: Program, values: Mapping[str, float]) -> Program:
        """`program` with its inputs bound, from values that may hold others too."""
        return bind(program, {name: values[name] for name in program.inputs}) if program.inputs else program

    def want(self, index: int) -> Want:
        """What is wanted of run `index`."""
        return self.job.wants[self.job.points[index].program]

    def seed_of(self, index: int, *path: str | int | bytes) -> int:
        """Seed of a run derived from run `index`: `path` starts with the name of the row."""
        return derive(self.job.points[index].seed, *path)

    def cost(self, program: Program, want: Want, noise: Noise | None = None) -> Cost:
        """What a worker would take for one run of a bound program, as it would choose. `certain`: see `Cost`.

        Raises:
            Unavailable: no engine would run it within `limits`, with the numbers.
            UsageError: the want does not fit the program.
        """
        job = self.job
        return price_run(
            program, want, noise, self.engines, self.constants, self.limits, self.clock_ns, job.engine, job.method
        )


class Made(msgspec.Struct, frozen=True):
    """job: what is run; its id, limits, deadline and owner are the asked one's. parts: one for each run of the asked
    job, in its order; empty where the two jobs are the same."""

    job: Job
    parts: tuple[Part, ...] = ()


@runtime_checkable
class Row(Protocol):
    """One way to answer a job.

    name: of the entry point, and what `plan="..."` says. help: one sentence.
    """

    name: str
    help: str

    def price(self, asked: Asked) -> Priced:
        """What this way costs, or `applies=False` with a reason and its numbers. For a quote: within
        `asked.search_s`, without allocating what it prices. `places` and `wall_s` are filled in by `choose`."""
        ...

    def make(self, asked: Asked) -> Made:
        """The derived job and its parts; asked only of a row that applied, with the `Asked` it priced.

        Raises:
            Unavailable: it turned out not to be possible, with the numbers.
        """
        ...
