"""The trace of a run as one hash: every delivery and every transmission, in order.

Flow: simulator, network -> `rows` -> *Trace* -> `Report.trace_hash`. A row is a tuple of integers: what, virtual time,
node, the connection or number that tells it apart, and of a message its id, size and CRC-32 of the content. SHA3-256
runs over thousands of rows at once: a call a row would cost as much as the event. Two runs of one case agree in every
row or differ in the hash.
"""

from __future__ import annotations

import hashlib

import msgspec

__all__ = ["ROWS_MAX", "Trace"]

ROWS_MAX = 8_192  # held at once, 1 MB


class Trace:
    """Append to `rows`; call `settle` when there are more than ROWS_MAX. `hexdigest()` is the hash of all so far."""

    __slots__ = ("_encode", "_hash", "rows")

    def __init__(self) -> None:
        self.rows: list[tuple[int, ...]] = []
        self._hash = hashlib.sha3_256()
        self._encode = msgspec.msgpack.Encoder().encode

    def settle(self) -> None:
        """Hash what was appended, and hold it no longer."""
        self._hash.update(b"".join(map(self._encode, self.rows)))  # a row after another: blocks leave no trace
        self.rows.clear()

    def hexdigest(self) -> str:
        self.settle()
        return self._hash.hexdigest()
