"""Row `cut`: expectation values of a program that is too wide, from fragments that are not.

Flow: Asked -> *price* (cutting/: place, exact or sampled) -> choose; *make* -> Made -> combine. Computed values are put
together exactly, without shots (`cutting/exact.py`). Where shots were asked, fragments are sampled for the standard
error that those shots would have had uncut, at gamma^2 times as many (`cutting/sampled.py`). Fragments are ordinary
programs with ordinary wants: any peer runs them. docs/cutting.md
"""

from __future__ import annotations

import math
from typing import NamedTuple

from qcommons.base.errors import Unavailable, UsageError
from qcommons.engines.records import Cost, Counts, Expectations
from qcommons.engines.select import plural
from qcommons.jobs.plan.cutting.draft import Draft, DraftRun
from qcommons.jobs.plan.cutting.exact import exact_draft
from qcommons.jobs.plan.cutting.fragments import fragments_of
from qcommons.jobs.plan.cutting.place import Placed, placed
from qcommons.jobs.plan.cutting.sampled import sampled_draft
from qcommons.jobs.plan.cutting.wires import wires_of
from qcommons.jobs.plan.price import classes
from qcommons.jobs.plan.records import Combine, Estimated, Factor, Parity, Part, Priced, Term
from qcommons.jobs.plan.row import RUNS_MAX, Asked, Made
from qcommons.jobs.plan.runs import Runs
from qcommons.jobs.plan.whole import PRICED_MAX, Share, shares

__all__ = ["ROW", "CutRow"]

STATE_BYTES = 16 * 1.3  # of an amplitude of a dense state, with what an engine needs beside it
PRODUCTS_MAX = 1_000_000  # of all asked runs of a plan: about 200 bytes each


class _Planned(NamedTuple):
    """A cutting of one asked run, with what it makes."""

    placed: Placed
    draft: Draft


class CutRow:
    """Fragments where the whole is too wide."""

    name = "cut"
    help = "expectation values of wide programs, gates and wires cut, from fragments"

    def price(self, asked: Asked) -> Priced:
        rows = shares(asked)
        costs = [_price(asked, row) for row in rows]
        open_, refused = sum(row.runs for row in rows), sum(cost.refused for cost in costs)
        runs = sum(cost.runs for cost in costs)
        products = sum(cost.products for cost in costs)
        if not open_ or refused == open_:
            why = next((cost.why for cost in costs if cost.why), "nothing is left to run")
            nearest = next((cost.nearest for cost in costs if cost.nearest), "")
            return Priced(row=self.name, applies=False, why=why, nearest=nearest, refused=refused)
        if runs > RUNS_MAX or products > PRODUCTS_MAX:
            why = f"{runs:,} runs put together by {products:,} products; at most {RUNS_MAX:,} and {PRODUCTS_MAX:,}"
            return Priced(row=self.name, applies=False, why=why, runs=runs, nearest="fewer points or observables")
        return Priced(
            row=self.name, applies=True, why=next(cost.why for cost in costs if not cost.refused),
            seconds=math.fsum(cost.seconds for cost in costs), longest_s=max(cost.longest_s for cost in costs),
            work_units=math.fsum(cost.work_units for cost in costs),
            memory_bytes=max(cost.memory_bytes for cost in costs), runs=runs,
            shots_factor=max(cost.factor for cost in costs), certain=all(cost.certain for cost in costs),
            refused=refused,
        )  # fmt: skip

    def make(self, asked: Asked) -> Made:
        runs = Runs(asked.job)
        able = {number for row in shares(asked) if not _price(asked, row).refused for number in row.programs}
        parts: list[Part] = []
        for index, point in enumerate(asked.job.points):
            if index in asked.job.settled or point.program not in able:
                parts.append(runs.same(index))
            else:
                parts.append(_part(asked, index, _planned(asked, index).draft, runs))
        return runs.made(parts)


ROW = CutRow()


class _Price(NamedTuple):
    """Of all runs of a share; refused: of them, those that cannot be cut."""

    why: str
    runs: int
    refused: int = 0
    nearest: str = ""
    seconds: float = 0.0
    longest_s: float = 0.0
    work_units: float = 0.0
    memory_bytes: int = 0
    products: int = 0
    factor: float = 1.0
    certain: bool = True


def _price(asked: Asked, row: Share) -> _Price:
    return asked.remember(("cut", "price", row.index), lambda: _priced(asked, row))


def _priced(asked: Asked, row: Share) -> _Price:
    try:
        planned = _planned(asked, row.index)
    except Unavailable as refused:
        why, _, nearest = refused.what.partition(". Nearest: ")
        return _Price(why, row.runs, row.runs, nearest)
    draft = planned.draft
    costs: list[tuple[float, Cost]] = []
    sizes = [len(run.program.ops) * 2.0 ** min(run.program.n_qubits, 60) + run.shots + 1 for run in draft.runs]
    for number, _, weight in classes(sizes, PRICED_MAX):
        run = draft.runs[number]
        try:
            costs.append((row.weight * weight, asked.cost(run.program, _want(run))))
        except Unavailable as refused:
            fragment = plural(run.program.n_qubits, "qubit")
            return _Price(f"{_told(asked, row, planned)}; a fragment of {fragment}: {refused.what}", row.runs, row.runs)
    return _Price(
        why=_told(asked, row, planned),
        runs=row.runs * len(draft.runs),
        seconds=math.fsum(weight * cost.seconds for weight, cost in costs),
        longest_s=max((cost.seconds for _, cost in costs), default=0.0),
        work_units=math.fsum(weight * cost.work_units for weight, cost in costs),
        memory_bytes=max((cost.memory_bytes for _, cost in costs), default=0),
        products=row.runs * draft.products,
        factor=draft.factor,
        certain=all(cost.certain for _, cost in costs),
    )


def _planned(asked: Asked, index: int) -> _Planned:
    """The cutting of an asked run.

    Raises:
        Unavailable: it cannot be cut, with the numbers.
    """
    job, want = asked.job, asked.want(index)
    if not isinstance(want, Expectations):
        raise Unavailable("cutting gives expectation values. Nearest: ask for observables")
    if job.noise is not None:
        raise Unavailable(
            f"the noise {job.noise.name!r} would act on what a cut adds to a fragment too. Nearest: run without noise"
        )
    try:
        wires = wires_of(asked.bound(index), want.observables)
    except UsageError as misused:  # an unbound input: the run ends with this error wherever it runs
        raise Unavailable(misused.what) from misused
    observed = sorted({qubit for one in want.observables for term in one.terms for qubit, _ in term.paulis})
    width_max = max(int(asked.limits.memory_bytes / STATE_BYTES).bit_length() - 1, 1)
    sampled = want.shots is not None
    shape = tuple(op.qubits for op in wires.gates)
    found = asked.remember(
        ("cut", "placed", sampled, width_max, shape),
        lambda: placed(wires, width_max, sampled=sampled, state_bytes=STATE_BYTES),
    )
    parts = fragments_of(wires, found.labels, observed, split=not sampled)
    if want.shots is None:
        return _Planned(found, exact_draft(parts, want.observables, width_max))
    return _Planned(found, sampled_draft(parts, want.observables, want.shots, asked.seed_of(index, "cut", "settings")))


def _told(asked: Asked, row: Share, planned: _Planned) -> str:
    """What is cut, in numbers."""
    found, draft = planned.placed, planned.draft
    cuts = [plural(count, what) for count, what in ((found.gates, "gate"), (found.wires, "wire")) if count]
    width = max((run.program.n_qubits for run in draft.runs), default=0)
    whole = asked.job.programs[row.programs[0]].n_qubits
    how = "exact" if draft.factor == 1.0 else f"{draft.factor:,.3g} times the shots"
    return (
        f"{' and '.join(cuts) or 'nothing'} cut: {plural(len(draft.runs), 'run')} of at most {width} qubits "
        f"in place of {whole}, {plural(draft.products, 'product')}, {how}"
    )


def _want(run: DraftRun) -> Expectations | Counts:
    return Counts(run.shots) if run.shots else Expectations(run.observables)


def _part(asked: Asked, index: int, draft: Draft, runs: Runs) -> Combine:
    """The draft's runs, numbered, and its sums over them."""
    name = asked.job.programs[asked.job.points[index].program].name
    places: list[tuple[int, tuple[int, ...]]] = []
    for k, run in enumerate(draft.runs):
        seed = asked.seed_of(index, "cut", k)
        if run.shots:
            number = runs.program(run.program, Counts(run.shots), name)
            places.append((runs.point(number, {}, seed), ()))
        else:
            number, order = runs.exact(run.program, run.observables, name)
            places.append((runs.point(number, {}, seed, once=True), order))

    def factor(run: int, which: tuple[int, ...]) -> Factor:
        point, order = places[run]
        return Estimated(point, order[which[0]]) if order else Parity(point, which)

    want = asked.want(index)
    assert isinstance(want, Expectations)
    return Combine(
        tuple(
            tuple(
                Term(coefficient, tuple(factor(run, which) for run, which in factors)) for coefficient, factors in terms
            )
            for terms in draft.sums
        ),
        want.shots,
    )
