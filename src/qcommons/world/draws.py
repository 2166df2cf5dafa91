"""The draws of `mesh/draws.py`, and two more that faults and distances need.

Flow: `base/seeds.stream` -> *Draws* -> latencies, losses, choices of faults.
"""

from __future__ import annotations

import math

from qcommons.mesh import draws

__all__ = ["Draws"]


class Draws(draws.Draws):
    """Same generator, same choices."""

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self.unit()

    def exponential(self, mean: float) -> float:
        """Waiting time of a Poisson process with that mean."""
        return -mean * math.log1p(-self.unit())
