"""Statistics against independent ones of scipy, and false alarms and power over many samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from tests.verify.samples import drawn, mixed, porter_thomas

from qcommons.base.errors import UsageError
from qcommons.base.seeds import stream
from qcommons.circuits.program import Branch, Condition, Op, Program
from qcommons.testing.reference import statevector
from qcommons.verify import statistics
from qcommons.verify.statistics import Ideal, against, between, fidelity, ideal, masks, strays

RNG = stream(3, "test statistics")


def test_every_bit_every_pair_and_random_parities_are_looked_at() -> None:
    looked = {tuple(row) for row in masks(4, stream(0, "m")).tolist()}
    weights = [sum(row) for row in looked]
    assert (weights.count(1), weights.count(2)) == (4, 6)
    wide = masks(300, stream(0, "m"))
    assert 2048 < len(wide) <= 2048 + 32
    assert masks(12, stream(0, "m")).shape[0] >= 120


def test_parities_of_a_distribution_are_sums_over_it() -> None:
    p = porter_thomas(5)
    looked = masks(5, RNG)
    for mask, odd in zip(looked, Ideal(5, p).odd(looked), strict=True):
        chosen = sum(1 << c for c in np.flatnonzero(mask))
        assert odd == pytest.approx(sum(p[x] for x in range(32) if (x & chosen).bit_count() % 2))


def test_binomial_tails_are_those_of_scipy() -> None:
    p_values, _ = statistics._binomial(np.array([0.0, 3, 10, 20]), 20, np.array([0.1, 0.5, 0.5, 0.9]), 0)
    for value, (k, q) in zip(p_values, [(0, 0.1), (3, 0.5), (10, 0.5), (20, 0.9)], strict=True):
        tails = stats.binom.cdf(k, 20, q), stats.binom.sf(k - 1, 20, q)
        assert value == pytest.approx(min(1.0, 2 * min(tails)))


@pytest.mark.parametrize(
    ("a", "b", "n", "m"), [(3, 30, 50, 60), (50, 1, 50, 60), (0, 0, 9, 9), (25, 30, 50, 60), (40, 100, 100, 900)]
)
def test_hypergeometric_tails_are_bounded_from_above_and_closely(a: int, b: int, n: int, m: int) -> None:
    (value,), _ = statistics._hypergeometric(np.array([float(a)]), np.array([float(b)]), n, m, 0)
    exact = stats.hypergeom(n + m, a + b, n)
    true = min(1.0, 2 * min(exact.cdf(a), exact.sf(a - 1)))
    assert value >= true * (1 - 1e-9)
    if true < 1e-3:
        assert value <= 2 * true


def test_strays_are_a_binomial_quantile() -> None:
    assert strays(1000, 0.0) == 0
    found = strays(1000, 0.05)
    assert stats.binom.sf(found, 1000, 0.05) <= statistics.STRAY_ALPHA < stats.binom.sf(found - 1, 1000, 0.05)


@pytest.mark.parametrize("shape", ["porter-thomas", "peaked", "uniform", "one outcome"])
def test_honest_samples_are_seldom_strange(shape: str) -> None:
    """400 samples, each test at level 0.02: at most 8 are expected; above 20 has probability 1e-4."""
    p = {
        "porter-thomas": porter_thomas(6),
        "peaked": np.array([0.7, 0.2, *([0.1 / 62] * 62)]),
        "uniform": np.full(64, 1 / 64),
        "one outcome": np.eye(64)[5],
    }[shape]
    known = Ideal(6, p)
    alone = sum(against(drawn(p, 300, shape, i), known, RNG).p_value <= 0.02 for i in range(400))
    pairs = sum(
        between(
            drawn(p, 300, shape, i), drawn(p, 300, shape, "other", i), RNG, {f"{x:06b}": p[x] for x in range(64)}
        ).p_value
        <= 0.02
        for i in range(400)
    )
    assert max(alone, pairs) <= 20


def test_bounds_of_the_mean_score_hold_against_simulation() -> None:
    """The Chernoff and permutation bounds at the 1 % quantile of 4,000 honest sums: never below the true 1 %."""
    p = porter_thomas(5)
    score, shots = p.copy(), 200
    sums = sorted(stream(4, "sums").multinomial(shots, p, 4000) @ score)
    for rank in (40, 3960):
        target = sums[rank]
        times = np.zeros(32)
        low, high = int(np.argmin(score)), int(np.argmax(score))
        times[high] = (target - shots * score[low]) / (score[high] - score[low])
        times[low] = shots - times[high]
        value, _ = statistics._chernoff(score, p, score, times, 0)
        assert 0.02 <= value <= 0.3


def test_cheats_are_found_and_which_test_says_so() -> None:
    p = porter_thomas(10)
    known = Ideal(10, p)
    assert against(drawn(np.full(1024, 1 / 1024), 1024), known, RNG).p_value < 1e-6
    assert against(drawn(mixed(p, 0.3), 8192), known, RNG).p_value < 1e-6
    bad = drawn(p, 1000) | {}
    never = p.copy()
    never[int(next(iter(bad)), 2)] = 0
    assert against(bad, Ideal(10, never / never.sum()), RNG).test == "impossible"
    ten = {key: 10 * times for key, times in drawn(p, 400).items()}
    assert against(ten, known, RNG).p_value < 1e-6
    half = dict(sorted(drawn(p, 4096).items(), key=lambda pair: -pair[1])[:400])
    assert against(half, known, RNG).p_value < 1e-6
    assert (
        between(
            drawn(np.full(1024, 1 / 1024), 4096), drawn(p, 4096), RNG, {f"{x:010b}": p[x] for x in range(1024)}
        ).p_value
        < 1e-6
    )


def test_a_noisy_machine_is_honest_within_what_it_states_and_no_further() -> None:
    p = porter_thomas(8)
    known = Ideal(8, p)
    noisy = [drawn(mixed(p, 0.1), 4096, i) for i in range(30)]
    assert all(against(counts, known, RNG, allowed=0.1).p_value > 1e-3 for counts in noisy)
    assert against(drawn(mixed(p, 0.6), 8192), known, RNG, allowed=0.1).p_value < 1e-6


def test_fidelity_is_the_share_that_is_not_noise() -> None:
    p = porter_thomas(10)
    for share in (0.0, 0.4, 1.0):
        value, error = fidelity(drawn(mixed(p, share), 20_000, "f", int(share * 10)), Ideal(10, p))
        assert abs(value - (1 - share)) < 5 * error  # 5 sigma: 1 in 1.7 million
        assert error < 0.05
    with pytest.raises(UsageError, match="uniform"):
        fidelity({"0": 5, "1": 5}, Ideal(1, np.full(2, 0.5)))


def test_the_distribution_of_a_program_is_over_its_classical_bits() -> None:
    ops = (Op("ry", (0,), (0.7,)), Op("cx", (0, 2)), Op("ry", (1,), (0.3,)))
    ends = (Op("measure", (2,), (), (0,)), Op("measure", (1,), (), (2,)))
    found = ideal(Program(3, (("c", 3),), (*ops, *ends)), statevector(Program(3, (), ops)))
    assert found is not None
    one, two = math.sin(0.35) ** 2, math.sin(0.15) ** 2
    expected = {0b000: (1 - one) * (1 - two), 0b001: one * (1 - two), 0b100: (1 - one) * two, 0b101: one * two}
    assert found.probabilities == pytest.approx([expected.get(x, 0.0) for x in range(8)])


@pytest.mark.parametrize(
    "ops",
    [
        (Op("measure", (0,), (), (0,)), Op("h", (0,)), Op("measure", (0,), (), (0,))),
        (Op("reset", (0,)), Op("measure", (0,), (), (0,))),
        (Op("measure", (0,), (), (0,)), Branch(Condition((0,), "==", 1), (), ())),
    ],
)
def test_dynamic_programs_have_no_such_distribution(ops: tuple[Op | Branch, ...]) -> None:
    assert ideal(Program(1, (("c", 1),), ops), np.ones(2, np.complex128)) is None


def test_samples_of_other_widths_are_refused() -> None:
    with pytest.raises(UsageError, match="bits"):
        between({"0": 1}, {"00": 1}, RNG)
    with pytest.raises(UsageError, match="no counts"):
        between({}, {"00": 1}, RNG)
