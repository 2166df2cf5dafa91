"""Reports of ended jobs as they are fetched part by part: in memory, bounded in bytes, made again when they fell out.

Flow: Hire -> Run(MakeReport) -> ReportMade -> *Reports.put* -> `get` -> Ready, Opened, parts. What was used last stays
longest; a peer's own reports make room for it before anybody else's do.
"""

from __future__ import annotations

from collections import Counter, OrderedDict

import msgspec

from qcommons.jobs.offer import PART_BYTES
from qcommons.jobs.report import REPORT_BYTES_MAX
from qcommons.mesh.records import PeerId

__all__ = ["BYTES_MAX", "PEER_BYTES_MAX", "Made", "Reports"]

BYTES_MAX = 2 * REPORT_BYTES_MAX  # two of the longest; 5,000 of the usual 25 KB
PEER_BYTES_MAX = REPORT_BYTES_MAX


class Made(msgspec.Struct, frozen=True):
    """data: the whole report; digest: its SHA3-256. commitments: of a replica, joined."""

    peer: PeerId
    data: bytes
    digest: bytes
    commitments: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.data) + len(self.commitments)

    def part(self, number: int) -> bytes:
        """Part `number` of 512 KiB; empty beyond the last."""
        return self.data[number * PART_BYTES : (number + 1) * PART_BYTES]


class Reports:
    """State: what is held, by lease, what was used last at the end; bytes in all and of each peer."""

    def __init__(self) -> None:
        self._made: OrderedDict[bytes, Made] = OrderedDict()
        self._bytes: Counter[PeerId] = Counter()
        self.size_bytes = 0

    def get(self, lease: bytes) -> Made | None:
        made = self._made.get(lease)
        if made is not None:
            self._made.move_to_end(lease)
        return made

    def put(self, lease: bytes, made: Made) -> None:
        """made.data: at most REPORT_BYTES_MAX."""
        self.forget(lease)
        peer = made.peer
        self._made[lease] = made
        self._bytes[peer] += made.size_bytes
        self.size_bytes += made.size_bytes
        while self._bytes[peer] > PEER_BYTES_MAX:
            own = next(one for one, held in self._made.items() if held.peer == peer)
            if own == lease:  # alone it may be as long as a report may be, and its commitments
                break
            self.forget(own)
        while self.size_bytes > BYTES_MAX:
            self.forget(next(iter(self._made)))

    def forget(self, lease: bytes) -> None:
        made = self._made.pop(lease, None)
        if made is None:
            return
        self.size_bytes -= made.size_bytes
        self._bytes[made.peer] -= made.size_bytes
        if not self._bytes[made.peer]:
            del self._bytes[made.peer]
