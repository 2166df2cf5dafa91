"""Standard errors of what was sampled: never 0, and honest for rare outcomes.

Flow: counts of shots -> *proportion_error, mean_variance, unseen_variance* -> expectation, jobs/results, jobs/text.
The usual estimate from the measured proportion is far too small for rare outcomes (where 2 of 200
shots are expected, one standard error covers 45 % instead of 68 %) and 0 where all shots agree. One
more success and one more failure are taken as seen: p~ = (k + 1) / (n + 2), Laplace's rule of
succession, as in Agresti and Coull, The American Statistician 52, 119 (1998), who add two of each.
"""

from __future__ import annotations

import math

__all__ = ["mean_variance", "proportion_error", "unseen_variance"]


def proportion_error(count: int, shots: int) -> float:
    """Standard error of count / shots, 0 <= count <= shots: sqrt(p~ (1 - p~) / shots) with the p~ of the rule."""
    p = (count + 1) / (shots + 2)
    return math.sqrt(p * (1 - p) / shots)


def mean_variance(spread: float, shots: int) -> float:
    """The part of the variance that the shots show: `spread` is their population variance.

    For values +1 and -1, this and `unseen_variance(2, shots)` add up to four times `proportion_error` squared.
    """
    return spread * (shots / (shots + 2)) ** 2 / shots


def unseen_variance(width: float, shots: int) -> float:
    """The part that `shots` do not show, of values that lie `width` apart: about (width / shots)^2."""
    return width**2 * (shots + 1) / (shots + 2) ** 2 / shots
