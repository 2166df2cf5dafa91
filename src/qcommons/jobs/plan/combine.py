"""From the outcomes of a plan's runs to the outcomes of the runs that were asked, error bars propagated.

Flow: outcomes of the derived job -> *combined* (and its Plan) -> outcomes of the asked job -> assemble. Pure: the same
plan and outcomes give the same answers, offline too.

Exact stays exact: where every factor is computed, the sum is, and its standard error is 0. Of sampled factors the
variance is that of the sum to second order. First order, by run: v_r = d_r^T C_r d_r with d the derivatives by the
factors of run r. Parities of one run's counts have their covariance in the counts; that of several estimates of one run
is not known, so that their errors count as fully correlated. Second order, for each pair of runs r < s that meet in a
product: (sum |coefficient x the other factors| sigma_r sigma_s)^2, all that is left where two factors are near 0.
A method's own error (`Answer.error_bound`) is carried by sum |c| (prod(|f| + e) - prod |f|).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from qcommons.base.errors import Corrupt
from qcommons.engines.execute import Execution
from qcommons.engines.records import Answer, Cost, Estimate
from qcommons.engines.standard_error import mean_variance, unseen_variance
from qcommons.jobs.outcomes import Done, Outcome, status_of
from qcommons.jobs.plan.records import Combine, CountsSum, Estimated, Factor, Parity, Part, Plan, Same, SliceSum, Term

__all__ = ["combined", "part_points"]

Floats = NDArray[np.float64]
GRAVEST = ("failed", "cancelled", "refused", "done")
TOLD_MAX = 8  # distinct notes of derived runs that are passed on


def combined(plan: Plan, outcomes: Mapping[int, Outcome], *, partial: bool = False) -> dict[int, Outcome]:
    """Outcome of each asked run that can be told, by its index.

    An asked run is answered when all its derived runs are. As soon as one of them ended otherwise, the asked run ends
    with that outcome (of several the gravest): a cause is never lost. Asked runs still open are left out.

    Args:
        outcomes: of the derived runs that have ended, by index; they passed their check.
        partial: nothing more will come: shots that were shared out are answered with those that did, and a note.

    Raises:
        Corrupt: an answer does not have what the plan needs of it (its shape was to be checked when it came in).
    """
    if not plan.parts:
        return dict(outcomes)
    table = {index: _outcome(part, outcomes, plan, partial) for index, part in enumerate(plan.parts)}
    return {index: outcome for index, outcome in table.items() if outcome is not None}


def part_points(part: Part) -> tuple[int, ...]:
    """The derived runs that a part needs, each once, in order."""
    match part:
        case Same(point):
            return (point,)
        case Combine(sums):
            return tuple(sorted({f.point for terms in sums for term in terms for f in term.factors}))
        case SliceSum(points) | CountsSum(points):
            return points


def _outcome(part: Part, outcomes: Mapping[int, Outcome], plan: Plan, partial: bool) -> Outcome | None:
    if isinstance(part, Same):
        return outcomes.get(part.point)
    points = part_points(part)
    ended = {point: outcomes[point] for point in points if point in outcomes}
    done = {point: outcome.execution for point, outcome in ended.items() if isinstance(outcome, Done)}
    if partial and isinstance(part, CountsSum) and done and len(done) < len(points):
        note = _fewer(plan, points, ended, done)
        return _done(part, plan, done, _counts(done), (note,))
    wrong = [outcome for outcome in ended.values() if not isinstance(outcome, Done)]
    if wrong:
        return min(wrong, key=lambda outcome: GRAVEST.index(status_of(outcome)))
    if len(done) < len(points):
        return None
    return _done(part, plan, done, ANSWERS[type(part)](part, done), ())


def _fewer(plan: Plan, points: tuple[int, ...], ended: Mapping[int, Outcome], done: Mapping[int, Execution]) -> str:
    asked = sum(_shots(plan, point) for point in points)
    got = sum(_shots(plan, point) for point in done)
    causes = sorted({type(o).__name__ for o in ended.values() if not isinstance(o, Done)}) or ["nothing yet"]
    return f"{got:,} of {asked:,} shots: {len(points) - len(done)} of {len(points)} shares gave {', '.join(causes)}"


def _shots(plan: Plan, point: int) -> int:
    return getattr(plan.job.wants[plan.job.points[point].program], "shots", None) or 0


# answers


def _counts(done: Mapping[int, Execution]) -> Answer:
    counts: dict[str, int] = {}
    for execution in done.values():
        for bits, count in (execution.answer.counts or {}).items():
            counts[bits] = counts.get(bits, 0) + count
    # each share's distribution is off by its bound at most, and so is their mixture
    return Answer("", "", counts=counts, error_bound=max(e.answer.error_bound for e in done.values()))


def _counts_sum(part: Part, done: Mapping[int, Execution]) -> Answer:
    return _counts(done)


def _slice_sum(part: Part, done: Mapping[int, Execution]) -> Answer:
    """Elementwise sum; errors of the slices add up in norm."""
    rows = [execution.answer.amplitudes or () for execution in done.values()]
    if len({len(row) for row in rows}) > 1:
        raise Corrupt(f"slices of {sorted({len(row) for row in rows})} amplitudes; one number is needed", where="plan")
    columns = zip(*rows, strict=True)
    sums = tuple((math.fsum(re for re, _ in column), math.fsum(im for _, im in column)) for column in columns)
    return Answer("", "", amplitudes=sums, error_bound=math.fsum(e.answer.error_bound for e in done.values()))


def _combine(part: Part, done: Mapping[int, Execution]) -> Answer:
    assert isinstance(part, Combine)
    values = _Values(done)
    pairs = [_sum(terms, values, part.shots) for terms in part.sums]
    return Answer("", "", estimates=tuple(e for e, _ in pairs), error_bound=max((b for _, b in pairs), default=0.0))


ANSWERS: dict[type, Callable[[Part, Mapping[int, Execution]], Answer]] = {
    Combine: _combine, CountsSum: _counts_sum, SliceSum: _slice_sum,
}  # fmt: skip


def _done(part: Part, plan: Plan, done: Mapping[int, Execution], answer: Answer, notes: tuple[str, ...]) -> Done:
    """The answer with the story of all its runs."""
    runs = list(done.values())
    engines = "+".join(dict.fromkeys(run.answer.engine for run in runs))
    methods = "+".join(dict.fromkeys(run.answer.method for run in runs))
    facts: dict[str, float] = {}
    for run in runs:
        for name, value in run.answer.facts.items():
            facts[name] = max(value, facts.get(name, value))
    told = list(dict.fromkeys(note for run in runs for note in run.notes))
    largest = max(runs, key=lambda run: run.predicted.seconds, default=None)
    reason = f"put together from {len(runs)} runs (plan {plan.row})"
    if largest is not None:
        reason += f", the largest: {largest.reason}"
    costs = [run.predicted for run in runs]
    return Done(
        Execution(
            answer=Answer(
                engines or "numpy", methods or "constant", counts=answer.counts, estimates=answer.estimates,
                amplitudes=answer.amplitudes, error_bound=answer.error_bound, facts=facts,
            ),
            reason=reason,
            predicted=Cost(
                math.fsum(cost.seconds for cost in costs), max((cost.memory_bytes for cost in costs), default=0),
                math.fsum(cost.work_units for cost in costs), all(cost.certain for cost in costs),
            ),
            seconds=math.fsum(run.seconds for run in runs),
            attempts=largest.attempts if largest is not None else (),
            notes=(*notes, *told[:TOLD_MAX]),
            cregs=runs[0].cregs if answer.counts is not None and runs else (),
        )
    )  # fmt: skip


# estimates


class _Values:
    """Value, standard error and error bound of each factor, looked up once."""

    def __init__(self, done: Mapping[int, Execution]) -> None:
        self._done = done
        self._known: dict[Factor, tuple[float, float, float]] = {}
        self._signs: dict[Parity, tuple[Floats, Floats]] = {}

    def of(self, factor: Factor) -> tuple[float, float, float]:
        if factor not in self._known:
            self._known[factor] = self._estimate(factor) if isinstance(factor, Estimated) else self._parity(factor)
        return self._known[factor]

    def signs(self, parity: Parity) -> tuple[Floats, Floats]:
        """+1 or -1 of each distinct outcome, float64 (k,), and how many shots had it, float64 (k,)."""
        if parity not in self._signs:
            counts = self._done[parity.point].answer.counts
            if not counts:
                raise Corrupt(f"run {parity.point} has no counts; the plan takes a parity of them", where="plan")
            width = len(next(iter(counts)))
            if any(not 0 <= bit < width for bit in parity.clbits):
                raise Corrupt(f"parity of bits {parity.clbits} in counts of {width} bits", where="plan")
            ones = [sum(bits[width - 1 - bit] == "1" for bit in parity.clbits) for bits in counts]
            weights = np.fromiter(counts.values(), np.float64, len(counts))
            self._signs[parity] = (1.0 - 2.0 * (np.array(ones) % 2), weights)
        return self._signs[parity]

    def _estimate(self, factor: Estimated) -> tuple[float, float, float]:
        answer = self._done[factor.point].answer
        if answer.estimates is None or not 0 <= factor.observable < len(answer.estimates):
            raise Corrupt(f"run {factor.point} has no estimate {factor.observable}, which the plan needs", where="plan")
        estimate = answer.estimates[factor.observable]
        return estimate.value, estimate.stderr, answer.error_bound

    def _parity(self, factor: Parity) -> tuple[float, float, float]:
        signs, weights = self.signs(factor)
        shots = float(weights.sum())
        mean = float(signs @ weights) / shots
        variance = mean_variance(1 - mean**2, int(shots)) + unseen_variance(2.0, int(shots))
        # counts that are off by e in total variation move a mean of +-1 by 2 e
        return mean, math.sqrt(variance), 2 * self._done[factor.point].answer.error_bound


def _sum(terms: Sequence[Term], values: _Values, shots: int | None) -> tuple[Estimate, float]:
    """One observable, and the bound of its methods' own errors."""
    slopes: dict[int, dict[Factor, float]] = {}  # run -> factor -> derivative of the sum
    mixed: dict[tuple[int, int], float] = {}  # pair of runs -> sum of |second derivative| sigma sigma
    products, bounds = [], []
    for term in terms:
        known = [values.of(factor) for factor in term.factors]
        product = term.coefficient * math.prod(value for value, _, _ in known)
        products.append(product)
        if any(bound for _, _, bound in known):
            most = abs(term.coefficient) * math.prod(abs(value) + bound for value, _, bound in known)
            bounds.append(most - abs(product))
        _spread_errors(term, known, slopes, mixed)
    variance = math.fsum(_first_order(run, values) for run in slopes.values())
    variance += math.fsum(size**2 for size in mixed.values())
    return Estimate(math.fsum(products), math.sqrt(variance), shots if variance else None), math.fsum(bounds)


def _spread_errors(
    term: Term, known: list[tuple[float, float, float]], slopes: dict[int, dict[Factor, float]],
    mixed: dict[tuple[int, int], float],
) -> None:  # fmt: skip
    """Add a term's first derivatives to `slopes`, and its pairs of sampled factors to `mixed`."""
    sampled = [k for k, (_, error, _) in enumerate(known) if error]
    for k in sampled:
        rest = term.coefficient * math.prod(value for j, (value, _, _) in enumerate(known) if j != k)
        own = slopes.setdefault(term.factors[k].point, {})
        own[term.factors[k]] = own.get(term.factors[k], 0.0) + rest
    for k, m in combinations(sampled, 2):
        rest = term.coefficient * math.prod(value for j, (value, _, _) in enumerate(known) if j not in (k, m))
        first, second = sorted((term.factors[k].point, term.factors[m].point))
        mixed[first, second] = mixed.get((first, second), 0.0) + abs(rest) * known[k][1] * known[m][1]


def _first_order(slopes: Mapping[Factor, float], values: _Values) -> float:
    """Variance of sum(slope x factor) over the factors of one run."""
    parities = [(factor, slope) for factor, slope in slopes.items() if isinstance(factor, Parity)]
    correlated = math.fsum(abs(s) * values.of(f)[1] for f, s in slopes.items() if isinstance(f, Estimated))
    if not parities:
        return correlated**2
    _, weights = values.signs(parities[0][0])
    per_shot = np.zeros(len(weights))
    agreeing = squares = 0.0
    for factor, slope in parities:
        signs, _ = values.signs(factor)
        per_shot += slope * signs
        if abs(float(signs.sum())) == len(signs):  # every shot agreed: what they do not show may err together
            agreeing += abs(slope)
        else:
            squares += slope**2
    shots = float(weights.sum())
    mean = float(per_shot @ weights) / shots
    spread = float(((per_shot - mean) ** 2) @ weights) / shots
    total = math.fsum(abs(slope) for _, slope in parities)
    unseen = math.hypot(agreeing, math.sqrt(squares)) if spread > (1e-12 * total) ** 2 else total
    return correlated**2 + mean_variance(spread, int(shots)) + unseen_variance(2 * unseen, int(shots))
