"""What the mesh core stores, on disk before what rests on it is sent.

Flow: driver (changes, what to do afterwards) -> *Keeper* -> store, one batch at a time -> what was to be done. While
the disk has trouble, later values of a key replace earlier ones, so that what waits is bounded by the number of keys;
of what is to be done afterwards, the oldest is given up past `AFTER_MAX`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence

from qcommons.node.keys import past
from qcommons.node.store import Store

__all__ = ["PREFIX", "Keeper"]

PREFIX = "mesh/"  # before every key of the core
AFTER_MAX = 4096  # lists of effects; a disk that takes nothing for so long is red on `status`

Change = tuple[str, bytes | None]


class Keeper:
    """on_dropped: told how many things were given up because the disk took nothing."""

    def __init__(self, disk: Store, on_dropped: Callable[[int], None]) -> None:
        self._disk, self._on_dropped = disk, on_dropped
        self._loop = asyncio.get_running_loop()
        self._changes: dict[str, bytes | None] = {}
        self._after: deque[Callable[[], None]] = deque()
        self._writing = False

    def kept(self) -> tuple[tuple[str, bytes], ...]:
        """What was stored before, in the order of the keys. Raises Corrupt, Unavailable."""
        rows = self._disk.scan(PREFIX, past(PREFIX))
        return tuple((key.removeprefix(PREFIX), value) for key, value in rows)

    def keep(self, changes: Sequence[Change], then: Callable[[], None]) -> None:
        """Make `changes` durable, then call `then` on the loop; calls come in the order of the asking."""
        self._changes.update(changes)
        self._after.append(then)
        if len(self._after) > AFTER_MAX:
            self._after.popleft()
            self._on_dropped(1)
        if not self._writing:
            self._write()

    @property
    def waiting(self) -> int:
        return len(self._after)

    def _write(self) -> None:
        self._writing = True
        changes = [(PREFIX + key, value) for key, value in self._changes.items()]
        after = list(self._after)
        self._changes, self._after = {}, deque()
        self._disk.apply(changes, lambda: self._told(after))

    def _told(self, after: list[Callable[[], None]]) -> None:
        """On the disk's thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
            self._loop.call_soon_threadsafe(self._durable, after)

    def _durable(self, after: list[Callable[[], None]]) -> None:
        self._writing = False
        if self._after:
            self._write()
        for then in after:
            then()
