"""standard_error: close to the binomial formula for many counts, honest for few and for none."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from scipy.stats import binom

from qcommons.engines.standard_error import mean_variance, proportion_error, unseen_variance


def test_many_counts_have_the_error_of_a_binomial_proportion() -> None:
    assert proportion_error(510, 1000) == pytest.approx(0.015808225, rel=1e-3)  # sqrt(0.51 * 0.49 / 1000)


@pytest.mark.parametrize("shots", [1, 2, 10, 1000, 10**9])
def test_agreeing_shots_have_the_error_of_one_more_of_each(shots: int) -> None:
    exact = Fraction(shots + 1, shots + 2) * Fraction(1, shots + 2) / shots
    assert proportion_error(shots, shots) == pytest.approx(math.sqrt(exact), rel=1e-6)
    assert proportion_error(0, shots) == pytest.approx(math.sqrt(exact), rel=1e-6)


@pytest.mark.parametrize(("count", "shots"), [(0, 7), (3, 7), (7, 7), (1, 4096), (2000, 4096)])
def test_the_two_parts_of_a_mean_of_signs_are_those_of_the_proportion(count: int, shots: int) -> None:
    p = count / shots
    variance = mean_variance(4 * p * (1 - p), shots) + unseen_variance(2, shots)
    assert math.sqrt(variance) == pytest.approx(2 * proportion_error(count, shots))


@pytest.mark.parametrize("shots", [50, 200, 1024, 4096])
@pytest.mark.parametrize("p", [0.5, 0.1, 0.01, 0.003])
def test_two_standard_errors_cover_the_truth_in_nine_cases_of_ten_or_more(shots: int, p: float) -> None:
    # exact sum over the binomial distribution; nominal 95.4 %, the usual formula falls to 81 % at 1024 and 0.003
    covered = sum(
        float(binom.pmf(k, shots, p))
        for k in range(shots + 1)
        if abs(k / shots - p) <= 2 * proportion_error(k, shots) + 1e-15
    )
    assert covered > 0.86 if (shots, p) == (200, 0.01) else covered > 0.92
