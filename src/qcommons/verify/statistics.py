"""Statistics: how improbable it is that these shots came from an honest run. Calibrated: every p-value is a bound.

Flow: counts, and what is known of the true distribution -> *against* (one sample) or *between* (two) -> p-value ->
compare. Used where numbers cannot be compared one by one: other engines, f32, stim, QPUs.

Three families of tests, Bonferroni over all of them (so the sum of all false alarms is below the level):

    parity       of one, two and random many bits: how many shots are odd. Exact: binomial against a known
                 distribution, hypergeometric between two samples (Fisher's exact test; Fisher 1935).
    entropy      mean of p(x) (linear cross-entropy; Boixo et al., Nature Physics 14, 595 (2018)) and of log p(x) over
                 the shots, and how many are heavier than the median (Aaronson and Chen, CCC 2017): that one is
                 narrow, so that a machine's stated noise excuses little in it. Chernoff's bound on the exact
                 distribution of the mean: no normal approximation, which made earlier tests of this kind raise 5
                 to 10 % false alarms on peaked distributions.
    impossible   outcomes that the true distribution does not have.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qcommons.base.errors import UsageError
from qcommons.circuits.program import Branch, Program, flat_ops

__all__ = [
    "Ideal", "Knowledge", "Tested", "against", "between", "fidelity", "ideal", "masks", "outcome_bits", "strays",
    "terminal",
]  # fmt: skip

Floats = NDArray[np.float64]
Bits = NDArray[np.bool_]

IDEAL_BITS_MAX = 20  # a distribution held in full: 8 MiB, as many bits as a statevector that is handed out has qubits
RANDOM_PARITIES = 32  # at least; with the low ones together at least PARITIES_MIN
PARITIES_MIN = 128  # of the power table in docs/verify.md
LOW_PARITIES_MAX = 2048  # of one and two bits; of 64 bits and more a random choice of them
ROWS = 4096  # outcomes whose parities are found at once: ROWS x masks in float32 is 33 MiB
NOTHING = 1e-12  # probabilities below this are rounding
STRAY_ALPHA = 1e-8  # that an honest answer has more strays than are allowed for
NEWTON_STEPS = 40
TILT_MAX = 40.0  # in standard deviations of a score; any tilt gives a valid bound


class Tested(NamedTuple):
    """p_value: a bound of the probability that an honest answer looks so strange, all tests together. test: the one
    that found it strangest. value: by how many shots, or standard deviations of one, it is off."""

    p_value: float
    test: str
    value: float


@dataclass(frozen=True, slots=True)
class Ideal:
    """probabilities: float64, shape (2**n_bits,), index = classical bits with bit 0 least significant."""

    n_bits: int
    probabilities: Floats

    def odd(self, masks: Bits) -> Floats:
        """Probability that the bits of each mask have odd parity. masks: shape (m, n_bits)."""
        spectrum = self.probabilities.copy()  # fast Walsh-Hadamard transform: mean of (-1)^parity for every mask
        for bit in range(self.n_bits):
            pairs = spectrum.reshape(-1, 2, 1 << bit)
            low, high = pairs[:, 0].copy(), pairs[:, 1].copy()
            pairs[:, 0], pairs[:, 1] = low + high, low - high
        index = masks @ (1 << np.arange(self.n_bits))
        odd: Floats = np.clip((1 - spectrum[index] / spectrum[0]) / 2, 0.0, 1.0)
        return odd


class Knowledge(NamedTuple):
    """What is known of a distribution too wide to be held: probabilities of outcomes by their key, and a sample of it.

    Every key of the counts and of the sample must be in `probabilities`.
    """

    probabilities: Mapping[str, float]
    sample: Mapping[str, int]


def ideal(program: Program, amplitudes: NDArray[np.complex128]) -> Ideal | None:
    """The distribution of the classical bits of a program measured at its end.

    Args:
        amplitudes: of the state before the measurements, shape (2**n_qubits,).

    Returns:
        None where measurements, resets or branches come earlier, or there are too many bits.
    """
    where = terminal(program)
    n_bits = outcome_bits(program)
    if where is None or n_bits > IDEAL_BITS_MAX:
        return None
    index = np.arange(1 << program.n_qubits)
    keys = np.zeros_like(index)
    for clbit, qubit in where.items():
        keys |= ((index >> qubit) & 1) << clbit
    weights = np.bincount(keys, np.abs(amplitudes) ** 2, 1 << n_bits)
    return Ideal(n_bits, weights / weights.sum())


def terminal(program: Program) -> dict[int, int] | None:
    """Classical bit -> qubit, where all measurements stand at the end; all qubits where nothing is measured."""
    found: dict[int, int] = {}
    measured: set[int] = set()
    for op in program.ops:
        if isinstance(op, Branch) or op.gate == "reset":
            return None
        if op.gate == "measure":
            found[op.clbits[0]] = op.qubits[0]
            measured.add(op.qubits[0])
        elif op.gate != "barrier" and measured.intersection(op.qubits):
            return None
    return found or {qubit: qubit for qubit in range(program.n_qubits)}


def outcome_bits(program: Program) -> int:
    """Length of an outcome: all classical bits, or all qubits where nothing is measured."""
    return program.n_clbits if any(op.gate == "measure" for op in flat_ops(program.ops)) else program.n_qubits


def masks(n_bits: int, rng: np.random.Generator) -> Bits:
    """Which parities are looked at: shape (m, n_bits), every single bit, every pair, random sets of bits.

    They are drawn after the answer is known to be fixed: what is looked at cannot be prepared for.
    """
    if n_bits < 1:
        return np.zeros((0, 0), np.bool_)
    first, second = np.triu_indices(n_bits, 0)  # a bit with itself is the bit
    if len(first) > LOW_PARITIES_MAX:
        chosen = rng.choice(len(first), LOW_PARITIES_MAX, replace=False)
        first, second = first[chosen], second[chosen]
    low = np.zeros((len(first), n_bits), np.bool_)
    low[np.arange(len(first)), first] = low[np.arange(len(first)), second] = True
    more = max(RANDOM_PARITIES, PARITIES_MIN - len(first))
    random = rng.integers(0, 2, (more, n_bits)).astype(np.bool_)
    return np.unique(np.concatenate((low, random[random.any(axis=1)])), axis=0)


def strays(shots: int, allowed: float) -> int:
    """How many of `shots` an honest answer may have from elsewhere, where its total variation is at most `allowed`.

    An answer at that distance is a true one in which each shot is replaced with probability `allowed` (maximal
    coupling): at most this many are, but with probability STRAY_ALPHA.
    """
    if allowed <= 0.0:
        return 0
    from scipy.special import bdtrc

    low, high = 0, shots
    while low < high:  # the smallest d with P(Binomial(shots, allowed) > d) <= STRAY_ALPHA
        middle = (low + high) // 2
        low, high = (low, middle) if bdtrc(middle, shots, min(allowed, 1.0)) <= STRAY_ALPHA else (middle + 1, high)
    return low


def against(counts: Mapping[str, int], known: Any, rng: np.random.Generator, allowed: float = 0.0) -> Tested:
    """Test one sample against a known distribution.

    Args:
        counts: as an answer has them. known: an `Ideal`, or any object with `odd(masks)` (`stabiliser.Facts`; its
            `masks` are looked at too). allowed: total variation that an honest answer may be away.
    """
    bits, times = _table(counts)
    shots = int(times.sum())
    spare = strays(shots, allowed)
    looked = masks(bits.shape[1], rng)
    own = getattr(known, "masks", None)
    if own is not None:
        looked = np.concatenate((looked, own))
    found = [_family("parity", *_binomial(_odd(bits, times, looked), shots, known.odd(looked), spare))]
    if isinstance(known, Ideal):
        at = [int(key, 2) if key else 0 for key in counts]
        mine = known.probabilities[at]
        found.append(_impossible(mine, times, known.probabilities, spare))
        for name, score in _scores(known.probabilities):
            p, off = _chernoff(score, known.probabilities, score[at], times, spare)
            found.append(Tested(p, name, off))
    return _worst(found)


def between(
    counts: Mapping[str, int], other: Mapping[str, int], rng: np.random.Generator,
    probabilities: Mapping[str, float] | None = None, allowed: float = 0.0,
) -> Tested:  # fmt: skip
    """Test whether two samples are of one distribution.

    Args:
        other: the sample that is trusted, of any number of shots. probabilities: of every outcome in both, where they
            are known: then their cross-entropies are compared too.
    """
    bits, times = _table(counts)
    others, theirs = _table(other)
    if bits.shape[1] != others.shape[1]:
        raise UsageError(f"outcomes of {bits.shape[1]} and of {others.shape[1]} bits", where="counts")
    shots, more = int(times.sum()), int(theirs.sum())
    spare = strays(shots, allowed)
    looked = masks(bits.shape[1], rng)
    odd = _odd(bits, times, looked), _odd(others, theirs, looked)
    found = [_family("parity", *_hypergeometric(*odd, shots, more, spare))]
    if probabilities is not None:
        keys = [*counts, *other]
        p = np.array([probabilities[key] for key in keys])
        pairs = np.concatenate((times, 0 * theirs)), np.concatenate((0 * times, theirs))
        for name, score in _scores(p):
            value, off = _permutation(score, *pairs, spare)
            found.append(Tested(value, name, off))
    return _worst(found)


def fidelity(counts: Mapping[str, int], known: Ideal) -> tuple[float, float]:
    """(linear cross-entropy fidelity, its standard error): 1 of an honest noiseless sampler, 0 of uniform bits.

    (mean p(x) - mean over all x) / (sum p^2 - mean over all x); Arute et al., Nature 574, 505 (2019), section II.
    """
    p = known.probabilities
    _, times = _table(counts)
    mine = p[[int(key, 2) if key else 0 for key in counts]]
    shots = int(times.sum())
    flat, full = 1 / len(p), float(p @ p)
    if full - flat < NOTHING:
        raise UsageError("a uniform distribution: every sampler has the same cross-entropy", where="fidelity")
    mean = float(times @ mine) / shots
    spread = float(times @ (mine - mean) ** 2) / max(1, shots - 1)
    return (mean - flat) / (full - flat), math.sqrt(spread / shots) / (full - flat)


def _table(counts: Mapping[str, int]) -> tuple[Bits, Floats]:
    """(bits, shape (outcomes, n_bits), column c is classical bit c; shots of each as float64)."""
    if not counts:
        raise UsageError("no counts", where="counts")
    width = len(next(iter(counts)))
    if not width:
        return np.zeros((len(counts), 0), np.bool_), np.array(list(counts.values()), np.float64)
    raw = np.frombuffer("".join(counts).encode(), np.uint8).reshape(len(counts), width)
    return (raw[:, ::-1] == ord("1")), np.array(list(counts.values()), np.float64)


def _odd(bits: Bits, times: Floats, looked: Bits) -> Floats:
    """Shots with odd parity, for each mask."""
    total = np.zeros(len(looked))
    wanted = looked.T.astype(np.float32)
    for start in range(0, len(bits), ROWS):
        ones = bits[start : start + ROWS].astype(np.float32) @ wanted  # whole numbers below 2^24
        parity = (ones.astype(np.int32) & 1).astype(np.float64)
        total += times[start : start + ROWS] @ parity
    return total


def _binomial(odd: Floats, shots: int, q: Floats, spare: int) -> tuple[Floats, Floats]:
    """(two-sided p-value of each mask, how far off in shots)."""
    from scipy.special import betainc

    high, low = np.maximum(odd - spare, 0), np.minimum(odd + spare, shots)
    above = np.where(high > 0, betainc(np.maximum(high, 1), shots - high + 1, q), 1.0)  # P(X >= high)
    below = np.where(low < shots, betainc(np.maximum(shots - low, 1), low + 1, 1 - q), 1.0)  # P(X <= low)
    return np.minimum(1.0, 2 * np.minimum(above, below)), np.abs(odd - shots * q)


def _hypergeometric(a: Floats, b: Floats, shots: int, more: int, spare: int) -> tuple[Floats, Floats]:
    """As `_binomial`, for a odd of `shots` beside b odd of `more`: tails bounded by a geometric series.

    The distribution is log-concave, so that past k each term is at most r times the one before: P(X >= k) <= pmf(k) /
    (1 - r).
    """
    high, low = np.maximum(a - spare, 0), np.minimum(a + spare, shots)
    above, below = _upper(high, high + b, shots, more), _upper(shots - low, shots - low + more - b, shots, more)
    return np.minimum(1.0, 2 * np.minimum(above, below)), np.abs(a - b * shots / more)


def _upper(k: Floats, odd: Floats, shots: int, more: int) -> Floats:
    """Bound of P(X >= k), X the odd ones among `shots` drawn of shots + more with `odd` odd ones."""
    from scipy.special import gammaln

    def choose(n: Any, r: Any) -> Any:
        return gammaln(n + 1) - gammaln(r + 1) - gammaln(n - r + 1)

    even = shots + more - odd
    log_pmf = choose(odd, k) + choose(even, shots - k) - choose(shots + more, shots)
    ratio = (odd - k) * (shots - k) / ((k + 1) * (even - shots + k + 1))
    bound: Floats = np.where(ratio < 1, np.exp(np.minimum(log_pmf, 0)) / np.where(ratio < 1, 1 - ratio, 1.0), 1.0)
    return np.minimum(bound, 1.0)


def _impossible(mine: Floats, times: Floats, p: Floats, spare: int) -> Tested:
    shots = float(times.sum())
    seen = float(times[mine < NOTHING].sum())
    mass = max(float(p[p < NOTHING].sum()), NOTHING)
    return Tested(shots * mass if seen > spare else 1.0, "impossible", seen)


def _scores(p: Floats) -> list[tuple[str, Floats]]:
    """Scores of an outcome, with spread 1; the floor keeps improbable outcomes from ruling the logarithm."""
    heavy = (p > np.median(p)).astype(np.float64)
    scores = (("entropy", p), ("log entropy", np.log(p + 1e-3 / max(len(p), 1))), ("heavy outcomes", heavy))
    return [(name, (s - s.mean()) / spread) for name, s in scores if (spread := float(s.std())) > NOTHING]


def _chernoff(score: Floats, p: Floats, mine: Floats, times: Floats, spare: int) -> tuple[float, float]:
    """(two-sided bound of the probability of such a sum of scores, deviations off): 2 min_t (E e^(ts) / e^(tm))^n.

    Chernoff (1952): any t gives a bound, so that a search that stops early only costs power.
    """
    held = p > 0
    p, score = p[held], score[held]
    middle = float(p @ score)
    spread = math.sqrt(max(float(p @ (score - middle) ** 2), NOTHING))
    z, own = (score - middle) / spread, (mine - middle) / spread
    shots = float(times.sum())
    mean, room = _toward(float(times @ own) / shots, spare * float(z.max() - z.min()) / shots)
    if not room:
        return 1.0, 0.0
    z, log_p = z * math.copysign(1, mean), np.log(p)
    t, best = 0.0, 0.0
    for _ in range(NEWTON_STEPS):
        weights = log_p + t * z
        top = float(weights.max())
        tilted = np.exp(weights - top)
        total = float(tilted.sum())
        at = float(tilted @ z) / total
        best = min(best, top + math.log(total) - t * abs(mean))
        curve = float(tilted @ (z - at) ** 2) / total
        if abs(abs(mean) - at) < 1e-6 or curve < NOTHING:
            break
        t = min(max(t + _step((abs(mean) - at) / curve), 0.0), TILT_MAX)
    return min(1.0, 2 * math.exp(shots * best)), abs(mean) * math.sqrt(shots)


def _permutation(score: Floats, mine: Floats, theirs: Floats, spare: int) -> tuple[float, float]:
    """As `_chernoff`, if the shots of both samples were dealt out anew: which are `mine` is as good as random.

    Dealing n of T shots is T coin flips of bias f = n/T, given that n come up. So P(sum >= S) is at most
    min over t, u of prod (1 - f + f e^(ts + u)) e^(-tS - un), divided by P(Binomial(T, f) = n).
    """
    from scipy.special import gammaln

    shots, total = float(mine.sum()), float(mine.sum() + theirs.sum())
    weight, f = mine + theirs, shots / total
    middle = float(weight @ score) / total
    spread = math.sqrt(max(float(weight @ (score - middle) ** 2) / total, NOTHING))
    z = (score - middle) / spread
    mean, room = _toward(float(mine @ z) / shots, spare * float(z.max() - z.min()) / shots)
    if not room:
        return 1.0, 0.0
    z, wanted = z * math.copysign(1, mean), np.array([abs(mean) * shots, shots])
    both = np.stack((z, np.ones_like(z)))
    tilt, best = np.zeros(2), 0.0
    for _ in range(NEWTON_STEPS):
        lifted = np.minimum(tilt @ both, 600.0)
        odds = f * np.exp(lifted)
        share = odds / (1 - f + odds)
        best = min(best, float(weight @ np.log(1 - f + odds) - tilt @ wanted))
        slope = both @ (weight * share) - wanted
        curve = (both * (weight * share * (1 - share))) @ both.T
        if np.abs(slope).max() < 1e-6 * shots or float(np.linalg.det(curve)) < NOTHING:
            break
        step = np.linalg.solve(curve, slope)
        tilt = np.clip(tilt - step / max(1.0, float(np.abs(step).max())), -TILT_MAX, TILT_MAX)
    log_n = float(gammaln(total + 1) - gammaln(shots + 1) - gammaln(total - shots + 1))
    log_n += shots * math.log(f) + (total - shots) * math.log1p(-f)
    deviations = abs(mean) * math.sqrt(shots / (1 - f))
    return min(1.0, 2 * math.exp(min(0.0, best - log_n))), deviations


def _step(step: float) -> float:
    return min(max(step, -1.0), 1.0)


def _toward(mean: float, by: float) -> tuple[float, bool]:
    """(mean moved towards 0, whether it is still off)."""
    moved = max(0.0, abs(mean) - by)
    return math.copysign(moved, mean), moved > 0


def _family(name: str, p_values: Floats, off: Floats) -> Tested:
    """The strangest of many tests, Bonferroni over them."""
    if not len(p_values):
        return Tested(1.0, name, 0.0)
    worst = int(np.argmin(p_values))
    return Tested(min(1.0, float(p_values[worst]) * len(p_values)), name, float(off[worst]))


def _worst(found: list[Tested]) -> Tested:
    worst = min(found, key=lambda tested: tested.p_value)
    return worst._replace(p_value=min(1.0, worst.p_value * len(found)))
