"""Blobs: large bytes by the hash of what they are, in checked chunks, from whoever has them.

Flow: `BlobWanted` -> *Blobs* -> "blob/1" => sources: manifest => here -> Fetch, Credit => sources: Chunk => here
-> `WriteChunk` -> driver's disk -> ... -> `BlobCame`.

    manifest.py      what a blob consists of, and its name
    blob_source.py   giving: chunks that this node has
    blob_fetch.py    getting: one blob on its way
    here             which message and which timer belongs to which of them

Chunks have the lowest priority on the wire, so they delay nothing. docs/protocol/blobs.md.
"""

from __future__ import annotations

from collections.abc import Hashable

from qcommons.base.effects import Send
from qcommons.base.units import NS_PER_S
from qcommons.mesh.blob_fetch import STALL_NS, BlobFetch
from qcommons.mesh.blob_source import MANIFEST, BlobSource
from qcommons.mesh.events import BlobOpened, BlobWanted, ChunkRead, ChunkWritten, Failed, Got
from qcommons.mesh.exchange import Exchange
from qcommons.mesh.messages import Chunk, Credit, Fetch, Message, NoChunks
from qcommons.mesh.parts import Effects, PartBase, Peers, Wishes
from qcommons.mesh.records import PeerId
from qcommons.mesh.timers import Deadlines

__all__ = ["Blobs"]

FETCHES_MAX = 8  # at once, of 2 MiB of chunks and up to 0.5 MiB of manifest each
SOURCES_MAX = 16
ID_BYTES = 32
MANIFEST_NS = 20 * NS_PER_S
IDS = 32  # set aside for one call: more than it can use
FETCH = 0  # in a timer's item: the fetch itself, not one of its streams


class Blobs(PartBase):
    """Blobs given and fetched by one node; see the drawing above."""

    NAME = "blobs"
    KINDS = (Fetch, Chunk, Credit, NoChunks)

    def __init__(self, peers: Peers, exchange: Exchange) -> None:
        self._peers = peers
        self._exchange = exchange
        self._source = BlobSource(exchange, (self.NAME, "source"))
        self._fetches: dict[bytes, BlobFetch] = {}
        self._streams: dict[int, BlobFetch] = {}
        self._due: Deadlines[tuple[bytes, int]] = Deadlines((self.NAME, "fetch"), self._waits)
        self._last_id = 0

    def _waits(self, item: tuple[bytes, int]) -> bool:
        blob, id = item
        return blob in self._fetches if id == FETCH else id in self._streams

    def _new_id(self, now_ns: int) -> int:
        id = max(self._last_id + 1, now_ns)
        self._last_id = id + IDS
        return id

    # wishes

    def wishes(self) -> Wishes:
        return {
            BlobWanted: self.want, BlobOpened: self.opened, ChunkRead: self._source.read, ChunkWritten: self.written
        }  # fmt: skip

    def want(self, event: BlobWanted, now_ns: int) -> Effects:
        sources = tuple(peer for peer in dict.fromkeys(event.sources) if peer != self._peers.me)
        fetch = self._fetches.get(event.blob)
        failed: Failed | None = None
        if len(event.blob) != ID_BYTES or not 0 < len(sources) <= SOURCES_MAX or event.within_ns <= 0:
            what = (
                f"a blob of {len(event.blob)} bytes from {len(sources)} sources; allowed {ID_BYTES}, 1 to {SOURCES_MAX}"
            )
            failed = Failed("usage", what, "blob")
        elif fetch is None and len(self._fetches) >= FETCHES_MAX:
            what = f"{FETCHES_MAX} blobs are on their way; wait for one of them"
            failed = Failed("unavailable", what, "blobs", str(FETCHES_MAX))
        if failed is not None:
            return [Send(event.ticket, failed)]
        if fetch is not None:  # on its way already: the first's time and sources count
            fetch.tickets.append(event.ticket)
            return []
        fetch = self._fetches[event.blob] = BlobFetch(event.blob, sources, now_ns + event.within_ns)
        fetch.tickets.append(event.ticket)
        return self._after(fetch, self._ask_manifest(fetch, now_ns), now_ns)

    def _ask_manifest(self, fetch: BlobFetch, now_ns: int) -> Effects:
        peer = fetch.next_source(now_ns) if fetch.wants_manifest else None
        if peer is None:
            return []
        source = peer

        def then(what: Got | Failed, now_ns: int) -> Effects:
            fetch.asking = False
            if fetch.ended:
                return []
            return self._after(fetch, self._manifest_came(fetch, source, what, now_ns), now_ns)

        fetch.asking = True
        within_ns = min(MANIFEST_NS, fetch.until_ns - now_ns)
        return self._exchange.request(peer, MANIFEST, fetch.blob, within_ns, now_ns, then)

    def _manifest_came(self, fetch: BlobFetch, source: PeerId, what: Got | Failed, now_ns: int) -> Effects:
        if isinstance(what, Got):
            out = fetch.manifest_came(source, what.body)
        elif what.where == "blob":
            out = fetch.leave_out(source)
        else:
            out = fetch.failed(source, what.what, now_ns)
        return out + self._ask_manifest(fetch, now_ns)

    def opened(self, event: BlobOpened, now_ns: int) -> Effects:
        fetch = self._fetches.get(event.blob)
        return [] if fetch is None else self._after(fetch, fetch.opened(event, self._new_id(now_ns), now_ns), now_ns)

    def written(self, event: ChunkWritten, now_ns: int) -> Effects:
        fetch = self._fetches.get(event.blob)
        return [] if fetch is None else self._after(fetch, fetch.written(event, self._new_id(now_ns), now_ns), now_ns)

    def _after(self, fetch: BlobFetch, out: Effects, now_ns: int) -> Effects:
        """Take up what a call has changed: streams that began, timers, the end."""
        for id in fetch.streams:
            if id not in self._streams:
                self._streams[id] = fetch
                out += self._due.add(now_ns + STALL_NS, (fetch.blob, id))
        if fetch.ended and self._fetches.get(fetch.blob) is fetch:
            del self._fetches[fetch.blob]
            for id in [id for id, other in self._streams.items() if other is fetch]:
                del self._streams[id]
        elif fetch.timer_ns is None or fetch.again_ns(now_ns) < fetch.timer_ns:
            fetch.timer_ns = fetch.again_ns(now_ns)
            out += self._due.add(fetch.timer_ns, (fetch.blob, FETCH))
        return out

    # messages

    def came(self, peer: PeerId, id: int, message: Message, now_ns: int) -> Effects:
        match message:
            case Chunk(payload):
                fetch = self._streams.get(id)
                stream = None if fetch is None else fetch.streams.get(id)
                if fetch is None or stream is None or stream.source != peer:
                    return []  # of a stream that was stopped while this was on its way
                return self._after(fetch, fetch.chunk_came(stream, payload, self._new_id(now_ns), now_ns), now_ns)
            case Credit():
                return self._source.credit(peer, id, message, now_ns)
            case Fetch():
                return self._source.fetch(peer, id, message, now_ns)
            case NoChunks(why):
                return self._stream_ended(peer, id, why, now_ns)
        return []

    def _stream_ended(self, peer: PeerId, id: int, why: str, now_ns: int) -> Effects:
        fetch = self._streams.pop(id, None)
        stream = None if fetch is None else fetch.streams.get(id)
        if fetch is None or stream is None or stream.source != peer:
            return []
        out = fetch.stream_ended(stream, why, now_ns)
        return self._after(fetch, out + fetch.go_on(self._new_id(now_ns), now_ns), now_ns)

    # links and time

    def unsent(self, peer: PeerId, id: int, message: Message, reason: str, now_ns: int) -> Effects:
        return self._stream_ended(peer, id, f"link: {reason}", now_ns)

    def down(self, peer: PeerId, reason: str, now_ns: int) -> Effects:
        self._source.down(peer)
        out: Effects = []
        for id, fetch in list(self._streams.items()):
            stream = fetch.streams.get(id)
            if stream is not None and stream.source == peer:
                out += self._stream_ended(peer, id, "link lost", now_ns)
        return out

    def woken(self, token: Hashable, now_ns: int) -> Effects:
        if token == self._source.idle.token:
            return self._source.expire(now_ns)
        out: Effects = []
        for blob, id in self._due.due(now_ns):
            fetch = self._fetches.get(blob)
            if fetch is None:
                continue
            step = self._fetch_due(fetch, now_ns) if id == FETCH else self._stall_due(fetch, id, now_ns)
            out += self._after(fetch, step, now_ns)
        return out + self._due.again()

    def _fetch_due(self, fetch: BlobFetch, now_ns: int) -> Effects:
        fetch.timer_ns = None
        if now_ns >= fetch.until_ns:
            return fetch.fail(Failed("unavailable", "the time for the blob is over; what came is kept", "within_ns"))
        return self._ask_manifest(fetch, now_ns) + fetch.go_on(self._new_id(now_ns), now_ns)

    def _stall_due(self, fetch: BlobFetch, id: int, now_ns: int) -> Effects:
        stream = fetch.streams.get(id)
        if stream is None:
            self._streams.pop(id, None)
            return []
        due_ns = stream.last_ns + STALL_NS if stream.owed else now_ns + STALL_NS
        if due_ns > now_ns:
            return self._due.add(due_ns, (fetch.blob, id))
        self._streams.pop(id, None)
        return fetch.stalled(stream, now_ns) + fetch.go_on(self._new_id(now_ns), now_ns)
