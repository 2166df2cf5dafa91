"""A report on its way: its first part came with the answer, the others are asked for one by one.

Flow: Ready or Opened -> *Fetch* -> WantPart ... -> bytes of the part -> the whole, of the digest that was told.
Nothing is allocated before it is there; a part has the length that its place asks for, or the peer is at fault.
"""

from __future__ import annotations

import hashlib

from qcommons.base.errors import PeerError
from qcommons.jobs.offer import PART_BYTES
from qcommons.jobs.work import Opened, Ready, part_count

__all__ = ["PARTS_AT_ONCE", "Fetch"]

PARTS_AT_ONCE = 4  # 2 MiB on the way: a link of 100 ms and 20 MiB/s is full


class Fetch:
    """size_bytes: of the whole. asked: parts on their way. Raises PeerError where the first part does not fit."""

    def __init__(self, told: Ready | Opened) -> None:
        self.size_bytes, self._digest = told.size_bytes, told.digest
        self.asked: set[int] = set()
        self._parts: dict[int, bytes] = {}
        self._hash, self._hashed = hashlib.sha3_256(), 0  # part by part: 64 MiB at once would hold the loop for 0.3 s
        self.came(0, told.first)

    def came(self, number: int, data: bytes) -> None:
        """Raises PeerError: it is not as long as this part is."""
        length = min(PART_BYTES, self.size_bytes - number * PART_BYTES)
        if number in self._parts:
            return
        if len(data) != length:
            raise PeerError(f"part {number} of a report has {len(data)} bytes; {length} were told", where="part")
        self.asked.discard(number)
        self._parts[number] = data
        while self._hashed in self._parts:
            self._hash.update(self._parts[self._hashed])
            self._hashed += 1

    def ask(self) -> list[int]:
        """The parts to ask for now."""
        open_ = (n for n in range(part_count(self.size_bytes)) if n not in self._parts and n not in self.asked)
        wanted = [number for number, _ in zip(open_, range(PARTS_AT_ONCE - len(self.asked)), strict=False)]
        self.asked.update(wanted)
        return wanted

    def lost(self, number: int) -> None:
        """This part did not come: it can be asked for again. The others are still on their way: none is asked twice."""
        self.asked.discard(number)

    def whole(self) -> bytes | None:
        """The report, None while parts are missing. Raises PeerError: it is not what was told."""
        if len(self._parts) < part_count(self.size_bytes):
            return None
        if self._hash.digest() != self._digest:
            raise PeerError("the parts are not of the report that was told", where="digest")
        return b"".join(self._parts[number] for number in range(len(self._parts)))
