"""Blob source: chunks of blobs that this node has, for others, as fast as they take them.

Flow: Fetch, Credit => *BlobSource* -> `ReadChunk` -> driver's disk -> `ChunkRead` -> Chunk =>.

A chunk is read when there is credit for it, so at most 8 of a fetch are in memory here or on the way; 16 fetches at
once hold 32 MiB. Several who want the same chunk at the same time cost one read.
"""

from __future__ import annotations

from collections.abc import Hashable

import msgspec

from qcommons.base.units import NS_PER_S
from qcommons.mesh.events import Answer, Asked, ChunkRead, Failed, ReadChunk
from qcommons.mesh.exchange import Exchange
from qcommons.mesh.manifest import CHUNKS_MAX
from qcommons.mesh.messages import Chunk, Credit, Fetch, NoChunks
from qcommons.mesh.parts import Blame, Effects, ToPeer
from qcommons.mesh.records import PeerId
from qcommons.mesh.timers import Deadlines

__all__ = ["BUSY", "CREDIT_MAX", "MANIFEST", "MANIFEST_PLACE", "PLACE_BYTES", "BlobSource"]

MANIFEST = "blob/1"
MANIFEST_PLACE = -1  # of `ReadChunk`
PLACE_BYTES = 4
BUSY = "busy"  # the one reason of a NoChunks after which the same source is asked again
CREDIT_MAX = 8
FETCHES_MAX, FETCHES_PEER_MAX = 16, 4
IDLE_NS = 30 * NS_PER_S  # without credit or chunks
EARLY_MAX = 64  # credits that came before their fetch
ID_BYTES = 32
MALFORMED_POINTS = 10


class _Sending(msgspec.Struct):
    """[next, end): places still to be read. credit: chunks that may be sent in all. sent: handed to the wire."""

    blob: bytes
    first: int
    next: int
    end: int
    last_ns: int
    credit: int = 0
    sent: int = 0


class BlobSource:
    """State: fetches by peer and frame id; who waits for which chunk."""

    def __init__(self, exchange: Exchange, token: Hashable) -> None:
        self._exchange = exchange
        self._sending: dict[tuple[PeerId, int], _Sending] = {}
        self._early: dict[tuple[PeerId, int], int] = {}
        self._waiting: dict[tuple[bytes, int], list[tuple[PeerId, int]]] = {}
        self._manifests: dict[bytes, list[Asked]] = {}
        self.idle: Deadlines[tuple[PeerId, int]] = Deadlines(token, self._sending.__contains__)
        exchange.attend(MANIFEST, self._asked)

    def _asked(self, asked: Asked, now_ns: int) -> Effects:
        if len(asked.body) != ID_BYTES:
            failed = Failed("usage", f"a blob's id has {ID_BYTES} bytes, not {len(asked.body)}", "blob")
            return self._exchange.answer(Answer(asked.peer, asked.id, failed=failed), now_ns)
        waiting = self._manifests.setdefault(asked.body, [])
        waiting.append(asked)
        return [ReadChunk(asked.body, MANIFEST_PLACE)] if len(waiting) == 1 else []

    def fetch(self, peer: PeerId, id: int, fetch: Fetch, now_ns: int) -> Effects:
        key = (peer, id)
        if fetch.first == fetch.end:
            self._sending.pop(key, None)
            return []
        if len(fetch.blob) != ID_BYTES or not 0 <= fetch.first < fetch.end <= CHUNKS_MAX:
            return [Blame(peer, MALFORMED_POINTS, f"a fetch of chunks {fetch.first} to {fetch.end}")]
        if key in self._sending:
            return []
        own = sum(other == peer for other, _ in self._sending)
        if len(self._sending) >= FETCHES_MAX or own >= FETCHES_PEER_MAX:
            return [ToPeer(peer, NoChunks(BUSY), id)]
        self._sending[key] = _Sending(fetch.blob, fetch.first, fetch.first, fetch.end, now_ns)
        out = self.idle.add(now_ns + IDLE_NS, key)
        early = self._early.pop(key, None)
        return out if early is None else out + self.credit(peer, id, Credit(early), now_ns)

    def credit(self, peer: PeerId, id: int, credit: Credit, now_ns: int) -> Effects:
        sending = self._sending.get((peer, id))
        if sending is None:
            self._early[peer, id] = credit.chunks
            if len(self._early) > EARLY_MAX:
                del self._early[next(iter(self._early))]
            return []
        if not 0 < credit.chunks <= sending.sent + CREDIT_MAX:
            del self._sending[peer, id]
            what = f"credit for {credit.chunks} chunks after {sending.sent}; allowed {CREDIT_MAX} more"
            return [Blame(peer, MALFORMED_POINTS, what)]
        sending.credit = max(sending.credit, credit.chunks)
        sending.last_ns = now_ns
        out: Effects = []
        while sending.next < min(sending.end, sending.first + sending.credit):
            waiting = self._waiting.setdefault((sending.blob, sending.next), [])
            waiting.append((peer, id))
            if len(waiting) == 1:
                out.append(ReadChunk(sending.blob, sending.next))
            sending.next += 1
        return out

    def read(self, event: ChunkRead, now_ns: int) -> Effects:
        if event.place == MANIFEST_PLACE:
            return self._manifest_read(event, now_ns)
        payload = None if event.data is None else event.place.to_bytes(PLACE_BYTES, "big") + event.data
        out: Effects = []
        for peer, id in self._waiting.pop((event.blob, event.place), ()):
            sending = self._sending.get((peer, id))
            if sending is None or sending.blob != event.blob:
                continue
            if payload is None:
                del self._sending[peer, id]
                out.append(ToPeer(peer, NoChunks("this node does not have it"), id))
                continue
            sending.sent += 1
            sending.last_ns = now_ns
            out.append(ToPeer(peer, Chunk(payload), id))
            if sending.first + sending.sent == sending.end:
                del self._sending[peer, id]
        return out

    def _manifest_read(self, event: ChunkRead, now_ns: int) -> Effects:
        out: Effects = []
        for asked in self._manifests.pop(event.blob, ()):
            if event.data is None:
                failed = Failed("unavailable", "this node does not have the blob", "blob")
                out += self._exchange.answer(Answer(asked.peer, asked.id, failed=failed), now_ns)
            else:
                out += self._exchange.answer(Answer(asked.peer, asked.id, event.data), now_ns)
        return out

    def down(self, peer: PeerId) -> None:
        for key in [key for key in self._sending if key[0] == peer]:
            del self._sending[key]

    def expire(self, now_ns: int) -> Effects:
        out: Effects = []
        for key in self.idle.due(now_ns):
            sending = self._sending[key]
            if sending.last_ns + IDLE_NS > now_ns:
                out += self.idle.add(sending.last_ns + IDLE_NS, key)
                continue
            del self._sending[key]
            out.append(ToPeer(key[0], NoChunks("no credit came for it"), key[1]))
        return out + self.idle.again()
