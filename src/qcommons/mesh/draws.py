"""Draws: small random choices from a generator that is drawn in blocks (one scalar from numpy costs as much as 30).

Flow: `base/seeds.stream` -> *Draws* -> membership, view, dialler. Same generator, same choices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

__all__ = ["Draws"]

BLOCK = 64
ItemT = TypeVar("ItemT")


class Draws:
    """State: the numbers of the block that are not used yet."""

    """Small random choices, from blocks of uniform numbers."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._block: list[float] = []

    def unit(self) -> float:
        """Uniform in [0, 1)."""
        if not self._block:
            self._block = self._rng.random(BLOCK).tolist()
        return self._block.pop()

    def below(self, bound: int) -> int:
        """0 to bound - 1; the bias for the small bounds here is below 2^-40."""
        return int(self.unit() * bound)

    def one(self, items: Sequence[ItemT]) -> ItemT:
        return items[self.below(len(items))]

    def some(self, items: Sequence[ItemT], count: int) -> list[ItemT]:
        """`count` different ones in random order, or all there are (a part of Fisher and Yates' shuffle)."""
        pool = list(items)
        count = min(count, len(pool))
        for place in range(count):
            other = place + self.below(len(pool) - place)
            pool[place], pool[other] = pool[other], pool[place]
        return pool[:count]

    def around(self, span_ns: int) -> int:
        """A span within a quarter of the one given, so that nodes do not act in step."""
        return int(span_ns * (0.75 + 0.5 * self.unit()))
