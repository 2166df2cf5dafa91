"""standard_error: the usual formula where shots differ, a rule that is never 0 where they agree."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from qcommons.engines.standard_error import agreement_variance, proportion_error


def test_differing_shots_have_the_error_of_a_binomial_proportion() -> None:
    assert proportion_error(510, 1000) == pytest.approx(0.015808225)  # sqrt(0.51 * 0.49 / 1000)


@pytest.mark.parametrize("shots", [1, 2, 10, 1000, 10**9])
def test_agreeing_shots_have_that_of_one_more_of_each(shots: int) -> None:
    exact = Fraction(shots + 1, shots + 2) * Fraction(1, shots + 2) / shots
    assert agreement_variance(shots) == pytest.approx(float(exact), rel=1e-6)
    assert proportion_error(shots, shots) == proportion_error(0, shots) == math.sqrt(agreement_variance(shots)) > 0


def test_it_is_never_below_the_error_of_one_deviating_shot_by_more_than_a_little() -> None:
    # sqrt(p (1 - p) / n) at k = n - 1 is about 1 / n, and so is the rule at k = n
    for shots in (10, 1000, 100_000):
        assert proportion_error(shots, shots) == pytest.approx(proportion_error(shots - 1, shots), rel=0.1)
