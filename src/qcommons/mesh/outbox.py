"""Outbox: messages that wait for a link to their peer, in order, each until its time.

Flow: `ToPeer(dial=True)` without a link -> *Outbox* -> sent when the link is up, or back to its part as `unsent`.
"""

from __future__ import annotations

import msgspec

from qcommons.mesh.parts import PartBase, ToPeer
from qcommons.mesh.records import PeerId

__all__ = ["Outbox", "Waiting"]

A_PEER_MAX = 64
IN_ALL_MAX = 1_024


class Waiting(msgspec.Struct, frozen=True):
    """part: whose message it is."""

    to: ToPeer
    part: PartBase


class Outbox:
    """Messages that wait for a link, a row a peer, oldest first; bounded."""

    def __init__(self) -> None:
        self._waiting: dict[PeerId, list[Waiting]] = {}
        self._count = 0

    def add(self, waiting: Waiting) -> bool:
        """False where too many wait."""
        row = self._waiting.setdefault(waiting.to.peer, [])
        if len(row) >= A_PEER_MAX or self._count >= IN_ALL_MAX:
            return False
        row.append(waiting)
        self._count += 1
        return True

    def __contains__(self, peer: PeerId) -> bool:
        return peer in self._waiting

    def peers(self) -> list[PeerId]:
        return list(self._waiting)

    def take(self, peer: PeerId) -> list[Waiting]:
        """All that waits for a peer, which then waits no more."""
        row = self._waiting.pop(peer, [])
        self._count -= len(row)
        return row

    def overdue(self, now_ns: int) -> list[Waiting]:
        """What has waited until its time."""
        late: list[Waiting] = []
        for peer, row in list(self._waiting.items()):
            if any(waiting.to.until_ns <= now_ns for waiting in row):
                late += [waiting for waiting in row if waiting.to.until_ns <= now_ns]
                kept = [waiting for waiting in row if waiting.to.until_ns > now_ns]
                if kept:
                    self._waiting[peer] = kept
                else:
                    del self._waiting[peer]
        self._count -= len(late)
        return late
