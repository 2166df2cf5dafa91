"""Standard errors of what was sampled: never 0, since agreeing shots do not prove certainty.

Flow: counts of shots -> *proportion_error, agreement_variance* -> expectation, jobs/results, jobs/text.
Where the shots differ, the error is the usual one, estimated from them. Where all n agree that
estimate is 0 however small n is; then one more success and one more failure are taken as seen
(p~ = (n + 1) / (n + 2), Laplace's rule of succession), as in Agresti and Coull, The American
Statistician 52, 119 (1998), who add two of each.
"""

from __future__ import annotations

import math

__all__ = ["agreement_variance", "proportion_error"]


def agreement_variance(shots: int) -> float:
    """Variance of a proportion of which all `shots` >= 1 agreed: p~ (1 - p~) / shots, about 1 / shots^2."""
    return (shots + 1) / (shots + 2) ** 2 / shots  # 1 - p~ = 1 / (shots + 2)


def proportion_error(count: int, shots: int) -> float:
    """Standard error of count / shots, 0 <= count <= shots: sqrt(p (1 - p) / shots), or that of the rule."""
    if count in (0, shots):
        return math.sqrt(agreement_variance(shots))
    p = count / shots
    return math.sqrt(p * (1 - p) / shots)
