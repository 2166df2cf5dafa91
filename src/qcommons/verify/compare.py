"""Compare: does a peer's answer agree with one that we, or another peer, found?

Flow: answer of a peer, answer of ours (or of another peer) -> *compare* -> Comparison -> audit, replicate -> verdict.

Numbers of one engine class and seed are compared one by one, with the room that rounding needs; everything else by
statistics. Floats are never rounded and hashed: two that differ in the last bit may round apart. What the peer says of
its own error (`error_bound`, `stderr`) is held to what we find or allow, else a liar would say 1.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np

from qcommons.base.errors import UsageError
from qcommons.circuits.observables import PauliSum, commuting_groups
from qcommons.engines.records import Amplitudes, Answer, Counts, Expectations, Statevector
from qcommons.verify.answers import ROUNDING, Found, Question, fault
from qcommons.verify.records import Comparison, Outcome
from qcommons.verify.statistics import Knowledge, Tested, against, between

__all__ = ["ALPHA_REFUSE", "ALPHA_WRONG", "compare", "flips_allowed", "rounding"]

# Two levels, both bounds: below the first an answer is not used (10,000 honest pieces: about one is run again in vain),
# below the second its peer is held to be wrong (a million honest pieces: one).
ALPHA_REFUSE = 1e-4
ALPHA_WRONG = 1e-6
FLIPS_MIN = 2  # samples that may fall on the other side of a boundary: L1 distance 4
FLIPS_SHARE = 0.01  # of the shots: where rounding needs more, numbers say little and statistics decide
ERROR_BOUND_MAX = 1e-3  # that a peer may state of its own engine, where we do not run the same
# A dense state samples by searching one list of 2^n sums; other methods draw a bit or a branch at a time.
DENSE = frozenset({"statevector", "dense", "density", "density_matrix"})
DENSE_QUBITS_MAX = 40


def compare(
    question: Question, claimed: Found, own: Found, rng: np.random.Generator,
    known: Any = None,
) -> Comparison:  # fmt: skip
    """Compare a peer's answer with one that is trusted for this comparison.

    Args:
        rng: which parities are looked at; a stream that the peer cannot know.
        known: what is known of the distribution of the counts, where it is: `statistics.Ideal`,
            `stabiliser.Facts`, `statistics.Knowledge`.

    Raises:
        UsageError: `own` is no answer to the question.
    """
    why = fault(own.answer, question)
    if why is not None:
        raise UsageError(f"our own answer: {why}", where="own")
    why = fault(claimed.answer, question)
    if why is not None:
        return Comparison(outcome="differs", method="malformed", says=why)
    used = (claimed.engine.engine, claimed.engine.method)
    # what follows from the initial state needs no engine: then nobody used the one that was named
    if question.engine is not None and used not in (question.engine, (own.engine.engine, own.engine.method)):
        says = f"{'/'.join(used)} was used; the lease says {'/'.join(question.engine)}"
        return Comparison(outcome="differs", method="another engine", says=says)
    found = _numbers(question, claimed, own) if _same_class(claimed, own) and own.engine.repeats else None
    if found is not None and (found.outcome == "agrees" or claimed.engine.version == own.engine.version):
        return found
    other = _otherwise(question, claimed, own, rng, known)
    if found is None or other.outcome != "agrees" or isinstance(question.want, Amplitudes | Statevector):
        return other
    # it should have the same numbers and has others: its version may be why, or an excuse for noise
    says = f"other numbers, by its word of version {claimed.engine.version or 'unknown'}: {other.says}"
    return msgspec.structs.replace(other, outcome="cannot tell", says=says)


def _otherwise(question: Question, claimed: Found, own: Found, rng: np.random.Generator, known: Any) -> Comparison:
    """Not number by number."""
    match question.want:
        case Counts():
            return _sampled(question, claimed, own, rng, known)
        case Expectations(observables=observables, shots=shots) if shots is not None:
            return _estimated(question, claimed.answer, own.answer, observables, shots)
        case _:
            return _computed(question, claimed, own, same=False)


def rounding(question: Question, precision: str) -> float:
    """Bound of the relative error of a state after the question's operations: one unit roundoff for each of the about
    four additions and products that an amplitude takes in an operation (Higham 2002, section 3.1), and eight more."""
    return 4 * (question.n_ops + question.n_qubits + 8) * ROUNDING[precision]


def flips_allowed(question: Question, method: str, shots: int) -> tuple[int, float]:
    """(samples that rounding may move in an honest repeat in f64, probability that it moves more).

    A sample moves when its uniform number lies within the rounding of a boundary between two outcomes. Where there are
    fewer outcomes than shots, counts are drawn outcome by outcome (a binomial each, which moves with sqrt(n p)
    times the rounding), and one that moves lets all later ones differ: that is what the probability is of.
    """
    from scipy.special import pdtrc

    wide = question.n_qubits if set(method.split("+")) <= DENSE else question.n_bits
    outcomes = 2.0 ** min(wide, DENSE_QUBITS_MAX) if set(method.split("+")) <= DENSE else float(question.n_bits + 1)
    error = rounding(question, "f64")
    least = min(FLIPS_MIN, int(FLIPS_SHARE * shots))  # of few shots none: each of them would be much
    if outcomes <= 4 * shots:
        return least, min(1.0, math.sqrt(shots * outcomes) * error)
    moved = shots * outcomes * error
    flips = least
    while flips < shots and float(pdtrc(flips, moved)) > ALPHA_WRONG:
        flips = max(flips + 1, flips * 9 // 8)
    return flips, float(pdtrc(flips, moved))


def _same_class(claimed: Found, own: Found) -> bool:
    """The version may differ: numbers that agree then still agree."""
    one, two = claimed.engine, own.engine
    return (one.engine, one.method, one.precision, claimed.seed) == (two.engine, two.method, two.precision, own.seed)


def _numbers(question: Question, claimed: Found, own: Found) -> Comparison | None:
    """One by one; None where rounding needs so much room that statistics say more."""
    mine, theirs = own.answer, claimed.answer
    if theirs.error_bound > 2 * mine.error_bound + rounding(question, "f64"):
        return _judged("error bound", theirs.error_bound, mine.error_bound, "1", 0.0, "error bounds of one engine")
    match question.want:
        case Counts(shots=shots):
            flips, chance = flips_allowed(question, own.engine.method, shots)
            if flips > FLIPS_SHARE * shots:
                return None
            distance = _distance(theirs.counts or {}, mine.counts or {})
            return _judged(
                "counts, number by number", distance, 2 * flips, "shots", chance, "L1 distance of the counts"
            )
        case Expectations(observables=observables, shots=shots) if shots is not None:
            flips, chance = flips_allowed(question, own.engine.method, shots)
            rooms = [(2 * flips * _norm(o) / shots, _norm(o)) for o in observables]
            worst = _furthest(theirs, mine, [room + rounding(question, "f64") * norm for room, norm in rooms])
            return _judged("estimates, number by number", *worst, "1", chance, "distance of an estimate")
        case _:
            return _computed(question, claimed, own, same=True)


def _computed(question: Question, claimed: Found, own: Found, same: bool) -> Comparison:
    """Computed values and amplitudes: within the rounding of the worse engine and the errors that both state."""
    mine, theirs = own.answer, claimed.answer
    precision = max((claimed.engine.precision, own.engine.precision), key=lambda name: ROUNDING[name])
    room = rounding(question, precision if precision != "exact" else "f64")
    stated = theirs.error_bound + mine.error_bound
    if not same and theirs.error_bound > ERROR_BOUND_MAX:
        return _judged("error bound", theirs.error_bound, ERROR_BOUND_MAX, "1", 0.0, "the error bound it states")
    if isinstance(question.want, Expectations):
        rooms = [room * _norm(o) + stated for o in question.want.observables]
        return _judged("estimates", *_furthest(theirs, mine, rooms), "1", 0.0, "distance of an estimate")
    a, b = np.array(theirs.amplitudes or ()), np.array(mine.amplitudes or ())
    typical = math.sqrt(len(b)) * 2.0 ** (
        -question.n_qubits / 2
    )  # amplitudes that cancel keep the error of their terms
    limit = room * max(float(np.linalg.norm(b)), typical) + stated
    return _judged("amplitudes", float(np.linalg.norm(a - b)), limit, "1", 0.0, "distance of the amplitudes")


def _sampled(question: Question, claimed: Found, own: Found, rng: np.random.Generator, known: Any) -> Comparison:
    stated = max(claimed.answer.error_bound, own.answer.error_bound)
    if claimed.answer.error_bound > ERROR_BOUND_MAX + question.allowed:
        return _judged("error bound", stated, ERROR_BOUND_MAX, "1", 0.0, "the error bound it states")
    allowed = min(1.0, question.allowed + stated)
    counts = claimed.answer.counts or {}
    if known is None or isinstance(known, Knowledge):
        sample = known.sample if known is not None else own.answer.counts or {}
        tested = between(counts, sample, rng, known.probabilities if known is not None else None, allowed)
    else:
        tested = against(counts, known, rng, allowed)
    return _by_p_value(tested)


def _estimated(
    question: Question, theirs: Answer, mine: Answer, observables: tuple[PauliSum, ...], shots: int
) -> Comparison:
    """Sampled estimates of different samples: Hoeffding's inequality (1963, theorem 2) over independent groups."""
    proxies = _proxies(observables, shots)
    p_value, off, room = 1.0, 0.0, 0.0
    for place, (a, b) in enumerate(zip(theirs.estimates or (), mine.estimates or (), strict=True)):
        proxy = proxies[place] * (1 if b.shots is None else 2)
        slack = mine.error_bound + min(theirs.error_bound, ERROR_BOUND_MAX)
        slack += (2 * question.allowed + rounding(question, "f64")) * _norm(observables[place])
        distance = max(0.0, abs(a.value - b.value) - slack)
        p = 2 * math.exp(-(distance**2) / (2 * proxy)) if proxy > 0 else float(distance == 0)
        if b.shots is not None and a.stderr > 4 * b.stderr:
            return _judged("standard error", a.stderr, 4 * b.stderr, "1", 0.0, "the standard error it states")
        if p < p_value:
            p_value, off, room = p, distance, math.sqrt(proxy)
    tested = Tested(min(1.0, p_value * len(observables)), "estimates", off / room if room else 0.0)
    return _by_p_value(tested)


def _proxies(observables: tuple[PauliSum, ...], shots: int) -> list[float]:
    """Variance proxies: each group of commuting terms is a mean of `shots` values in an interval of 2 sum |c|."""
    widths: dict[tuple[int, int], float] = {}
    for number, group in enumerate(commuting_groups(observables)):
        for place, term in group.terms:
            if observables[place].terms[term].paulis:
                key = (place, number)
                widths[key] = widths.get(key, 0.0) + abs(observables[place].terms[term].coefficient)
    found = [0.0] * len(observables)
    for (place, _), width in widths.items():
        found[place] += width**2 / shots
    return found


def _norm(observable: PauliSum) -> float:
    return sum(abs(term.coefficient) for term in observable.terms)


def _distance(one: dict[str, int], two: dict[str, int]) -> int:
    return sum(abs(one.get(key, 0) - two.get(key, 0)) for key in one.keys() | two.keys())


def _furthest(theirs: Answer, mine: Answer, rooms: list[float]) -> tuple[float, float]:
    """(distance, room) of the estimate that is furthest outside, in its room."""
    pairs = zip(theirs.estimates or (), mine.estimates or (), rooms, strict=True)
    return max(((abs(a.value - b.value), room) for a, b, room in pairs), key=lambda pair: pair[0] - pair[1])


def _judged(method: str, value: float, limit: float, unit: str, chance: float, what: str) -> Comparison:
    outcome: Outcome = "agrees" if value <= limit else "differs"
    says = f"{what}: {value:.6g}, allowed {limit:.6g}"
    return Comparison(
        outcome=outcome, method=method, value=value, limit=limit, unit=unit, false_alarm=chance, says=says
    )


def _by_p_value(tested: Tested) -> Comparison:
    p = tested.p_value
    outcome: Outcome = "differs" if p <= ALPHA_WRONG else "cannot tell" if p <= ALPHA_REFUSE else "agrees"
    says = f"an honest answer is so strange in {tested.test} with probability at most {p:.2g}"
    return Comparison(
        outcome=outcome, method="statistics", test=tested.test, value=p, limit=ALPHA_WRONG, unit="probability",
        false_alarm=ALPHA_WRONG, says=says,
    )  # fmt: skip
