"""What a worker would take for one run: the very way of `engines.execute`, climbed without running anything.

Flow: Program, want -> *price_run* (propagate, cone, components, select) -> Cost -> rows. The reductions, the parts and
the ladder are the worker's own; only the attempts are left out. Where the cost of a method depends on the state (sparse
amplitudes, matrix product states), the price is that of its widest allowed attempt, of the cheapest method: `certain`
is then False and the run may take far less.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec

from qcommons.circuits.noise import Noise
from qcommons.circuits.observables import PauliSum, commuting_groups
from qcommons.circuits.program import Program
from qcommons.engines.climb import Climber
from qcommons.engines.engine import Engine
from qcommons.engines.execute import Request, answered
from qcommons.engines.expectation import UNION_QUBITS
from qcommons.engines.join import JoinSize
from qcommons.engines.records import Amplitudes, Answer, Cost, Counts, Estimate, Expectations, Limits, Slices, Want
from qcommons.engines.select import Choice
from qcommons.engines.tn_sliced import check_slices, slices_cost
from qcommons.jobs.plan.pieces import ITEM_S, OP_S

__all__ = ["classes", "likely", "named_run", "of_groups", "price_run"]

T = TypeVar("T")
VISIT_S = 3e-6  # an operation in a pass of propagate, cone or components; for many strings that is what costs
PASSES = 3  # of a setting, or of all strings that one state serves
VISITS_MAX = 50_000  # for a quote: beyond so many, some strings or settings stand for all


def price_run(
    program: Program,
    want: Want,
    noise: Noise | None,
    engines: Mapping[str, Engine],
    constants: Mapping[str, Mapping[str, float]],
    limits: Limits,
    clock_ns: Callable[[], int],
    engine: str | None = None,
    method: str | None = None,
) -> Cost:
    """Seconds of one core, memory of the largest part, work of all parts. `program` is bound.

    Raises:
        Unavailable: no engine runs it within `limits`; `limit` and `tried` hold the numbers.
        UsageError: the want does not fit the program; no such engine or method.
    """
    return named_run(program, want, noise, engines, constants, limits, clock_ns, engine, method)[0]


def named_run(
    program: Program,
    want: Want,
    noise: Noise | None,
    engines: Mapping[str, Engine],
    constants: Mapping[str, Mapping[str, float]],
    limits: Limits,
    clock_ns: Callable[[], int],
    engine: str | None = None,
    method: str | None = None,
) -> tuple[Cost, tuple[str, str] | None]:
    """As `price_run`, and the engine and method that surely answer every part of it: None where parts differ, or where
    nothing is sure beforehand. Raises as `price_run`."""
    climber = _Pricer(engines, constants, limits, clock_ns, engine, method)
    asked, share = _sampled(program, want)
    answered(Request(program=program, want=asked, seed=0, limits=limits, noise=noise), climber, [])
    costs = climber.predicted
    # one run that serves all strings costs the same for a few of them; settings and cones cost one by one
    factor = share if len(costs) > 1 else 1.0
    cost = Cost(
        seconds=ITEM_S
        + len(program.ops) * (OP_S + VISIT_S * _passes(program, want))
        + factor * sum(cost.seconds for cost in costs),
        memory_bytes=max((cost.memory_bytes for cost in costs), default=0),
        work_units=factor * sum(cost.work_units for cost in costs),
        certain=all(cost.certain for cost in costs),
    )
    names = set(climber.names)
    return cost, names.pop() if len(names) == 1 else None


def likely(rungs: Sequence[Choice]) -> Cost | None:
    """Of a ladder, the cost to count with; None where it has no rung."""
    certain = next((rung.cost for rung in rungs if rung.cost.certain), None)
    if certain is not None:
        return certain
    widest = {(rung.engine, rung.method): rung.cost for rung in rungs}  # caps grow along the ladder
    return min(widest.values(), key=lambda cost: cost.seconds, default=None)


def classes(sizes: Sequence[float], most: int) -> list[tuple[int, tuple[int, ...], float]]:
    """At most `most` classes of things of about one size, so that one price stands for many.

    sizes: any measure of what each costs, above 0. Each class is (its largest, its members, weight): weight times what
    the largest costs is what its members cost.
    """
    ranked = sorted(range(len(sizes)), key=lambda k: (sizes[k], k))
    count = min(most, len(ranked))
    rows = []
    for k in range(count):
        members = tuple(ranked[k * len(ranked) // count : (k + 1) * len(ranked) // count])
        rows.append((members[-1], members, math.fsum(sizes[m] for m in members) / sizes[members[-1]]))
    return rows


def of_groups(want: Expectations, groups: Sequence[Sequence[tuple[int, int]]]) -> tuple[PauliSum, ...]:
    """The observables of a want, each with only those terms that are in `groups`: (number of the sum, of the term).

    Sums keep their numbers, and terms their order: `commuting_groups` finds these very groups again.
    """
    inside = {at for group in groups for at in group}
    return tuple(
        PauliSum(tuple(term for t, term in enumerate(one.terms) if (s, t) in inside), one.text)
        for s, one in enumerate(want.observables)
    )


class _Pricer(Climber):
    """Climbs to the rung that would be taken, notes its cost and gives an answer without meaning. names: engine and
    method of the first rung that surely answers, one a part."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.names: list[tuple[str, str] | None] = []

    def run(self, program: Program, want: Want, noise: Noise | None, seed: int) -> Answer:
        ladder = self.ladder(program, want, noise)
        cost = likely(ladder.rungs)
        if cost is None:
            raise self.refusal(program, want, noise, ladder)
        self.predicted.append(cost)
        sure = (rung for rung in ladder.rungs if rung.cost.certain)
        self.names.append(next(((rung.engine, rung.method) for rung in sure), None))
        return _nothing(program, want)

    def attempt(self, rung: Choice, program: Program, want: Want, noise: Noise | None, seed: int) -> Answer | None:
        self.predicted.append(rung.cost)
        self.names.append((rung.engine, rung.method) if rung.cost.certain else None)
        return _nothing(program, want)

    def slices(self, program: Program, want: Slices) -> Answer:
        check_slices(program, want)
        self.names.append(None)
        self.predicted.append(slices_cost(want))
        return Answer("", "")

    def joins(self, join: JoinSize) -> None:
        """Sized from real counts, of which there are none here."""


def _nothing(program: Program, want: Want) -> Answer:
    """An answer of the right shape."""
    match want:
        case Counts(shots):
            return Answer("", "", counts={"0" * program.n_clbits: shots})
        case Expectations(observables):
            return Answer("", "", estimates=(Estimate(0.0),) * len(observables))
        case Amplitudes(bitstrings):
            return Answer("", "", amplitudes=((0.0, 0.0),) * len(bitstrings))
        case _:
            return Answer("", "")


def _passes(program: Program, want: Want) -> int:
    """How often the operations are visited to find what each observable needs."""
    if not isinstance(want, Expectations):
        return 0  # in OP_S
    if want.shots is not None:
        return PASSES * len(commuting_groups(want.observables))
    strings = sum(len(one.terms) for one in want.observables)
    return PASSES + (strings if program.n_qubits > UNION_QUBITS else 0)


def _sampled(program: Program, want: Want) -> tuple[Want, float]:
    """The want, or one of fewer settings or strings of it, and how many times as many there are."""
    if not isinstance(want, Expectations):
        return want, 1.0
    most = max(VISITS_MAX // max(len(program.ops), 1), 4)
    if want.shots is not None:
        groups = commuting_groups(want.observables)
        if len(groups) <= most:
            return want, 1.0
        chosen = _spread([group.terms for group in groups], most)
        return Expectations(of_groups(want, chosen), want.shots), len(groups) / len(chosen)
    strings = [(s, t) for s, one in enumerate(want.observables) for t, _ in enumerate(one.terms)]
    if len(strings) <= most:
        return want, 1.0
    picked = _spread(strings, most)
    return msgspec.structs.replace(want, observables=of_groups(want, [picked])), len(strings) / len(picked)


def _spread(rows: Sequence[T], count: int) -> list[T]:
    """`count` of the rows, evenly."""
    return [rows[i * len(rows) // count] for i in range(count)]
