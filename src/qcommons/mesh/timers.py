"""Timers of a part: one wake-up under way for any number of deadlines.

Flow: part -> *Alarm, Deadlines* -> WakeAt -> (time passes) -> the part's `woken`. A `WakeAt` cannot be taken back, so a
request answered in a millisecond must not leave one for its deadline each.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from qcommons.base.effects import WakeAt
from qcommons.mesh.parts import Effects

__all__ = ["Alarm", "Deadlines"]

ItemT = TypeVar("ItemT", bound=Hashable)
GHOSTS_MAX = 256  # deadlines kept of what has ended, beyond a few for each that has not


class Alarm:
    """Rings once at the earliest time that it was set to since it rang last."""

    def __init__(self, token: Hashable) -> None:
        self.token = token
        self._at_ns: int | None = None

    def at(self, at_ns: int) -> Effects:
        if self._at_ns is not None and self._at_ns <= at_ns:
            return []
        self._at_ns = at_ns
        return [WakeAt(at_ns, self.token)]

    def rings(self, now_ns: int) -> bool:
        """At a wake-up: False where it was set to an earlier time meanwhile, and has rung then."""
        if self._at_ns is None or now_ns < self._at_ns:
            return False
        self._at_ns = None
        return True


class Deadlines(Generic[ItemT]):
    """Items, each due at its time. alive: whether an item is still waited for; others are dropped in silence."""

    def __init__(self, token: Hashable, alive: Callable[[ItemT], bool]) -> None:
        self.token = token
        self._alarm = Alarm(token)
        self._alive = alive
        self._heap: list[tuple[int, int, ItemT]] = []
        self._order = itertools.count()
        self._sweep_at = GHOSTS_MAX

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, at_ns: int, item: ItemT) -> Effects:
        heapq.heappush(self._heap, (at_ns, next(self._order), item))
        if len(self._heap) > self._sweep_at:
            self._heap = [row for row in self._heap if self._alive(row[2])]
            heapq.heapify(self._heap)
            self._sweep_at = GHOSTS_MAX + 2 * len(self._heap)
        return self._alarm.at(at_ns)

    def due(self, now_ns: int) -> list[ItemT]:
        """The items whose time has come, in order of it, each once; call `again` when they are dealt with."""
        if not self._alarm.rings(now_ns):
            return []
        found: dict[ItemT, None] = {}  # one that was added again before its first time has come may be due twice
        while self._heap and self._heap[0][0] <= now_ns:
            item = heapq.heappop(self._heap)[2]
            if self._alive(item):
                found[item] = None
        return list(found)

    def again(self) -> Effects:
        """The wake-up for the next item that is still waited for."""
        while self._heap and not self._alive(self._heap[0][2]):
            heapq.heappop(self._heap)
        return self._alarm.at(self._heap[0][0]) if self._heap else []
