"""What many nodes in one process may hold once: the bytes on their disks.

Flow: simulator -> *Interned* -> disks. The records of a full book take 2.8 MB on a disk; ten thousand disks hold the
same ten thousand records. (What is decoded of them is shared by `peer_record.share`.)
"""

from __future__ import annotations

__all__ = ["Interned"]

SMALL_BYTES = 256  # not worth looking up
INTERNED_MAX = 100_000


class Interned:
    """One object for equal bytes."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, bytes] = {}

    def one(self, value: bytes) -> bytes:
        """Equal to `value`, and the same object for all that ask."""
        if len(value) < SMALL_BYTES:
            return value
        if len(self._known) >= INTERNED_MAX:
            self._known.clear()
        return self._known.setdefault(value, value)
