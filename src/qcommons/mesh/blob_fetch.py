"""Blob fetch: one blob on its way to this node, from one or several sources.

Flow: `BlobWanted` -> *BlobFetch*: manifest -> opening -> chunks -> `BlobCame` | `Failed`; driven by `blobs.py`.

    manifest   asked of one source after another, until one gives the bytes that hash to the blob's name
    opening    the driver makes room, and says which chunks it has from before
    chunks     streams: each source sends a range of places in order. 8 chunks in all are under way or being written;
               what is written makes room for another (`Credit`). A stream that stalls for 5 s, ends or is lost gives
               its places back; its source is tried again after 1, 2, 4, ... s, and left out after 5
               failures without a chunk between, or one lie

Ranges shrink towards the end (half of what is left, shared by the sources), so that no slow source keeps a long tail.
"""

from __future__ import annotations

from collections import deque

import msgspec

from qcommons.base.effects import Send, note
from qcommons.base.errors import PeerError
from qcommons.base.units import NS_PER_S
from qcommons.mesh.blob_source import BUSY, CREDIT_MAX, PLACE_BYTES
from qcommons.mesh.events import BlobCame, BlobOpened, ChunkWritten, CloseBlob, Failed, OpenBlob, WriteChunk
from qcommons.mesh.manifest import Manifest, read_manifest
from qcommons.mesh.messages import Credit, Fetch
from qcommons.mesh.parts import Blame, Effects, ToPeer
from qcommons.mesh.records import PeerId

__all__ = ["STALL_NS", "WINDOW", "BlobFetch", "Stream"]

WINDOW = CREDIT_MAX  # chunks: 2 MiB, which fill 100 MB/s over 20 ms
SOURCES_AT_ONCE = 4
RANGE_MAX = 64  # chunks of one stream: 16 MiB
STALL_NS = 5 * NS_PER_S
FAILURES_MAX = 5
BACK_OFF_NS = NS_PER_S
DIAL_NS = 10 * NS_PER_S
LIE_POINTS = 50


class Stream(msgspec.Struct):
    """A range from one source. left: places that have not come. granted: chunks it has had credit for in all.
    owed: of these, how many have not come."""

    source: PeerId
    id: int
    first: int
    end: int
    left: set[int]
    last_ns: int
    granted: int = 0
    owed: int = 0


class _Source(msgspec.Struct):
    """stream: the id of the one that runs, 0: none."""

    failures: int = 0
    not_before_ns: int = 0
    stream: int = 0


class BlobFetch:
    """new_id: a fresh frame id. Methods return effects; `ended` is set by the last of them."""

    def __init__(self, blob: bytes, sources: tuple[PeerId, ...], until_ns: int) -> None:
        self.blob = blob
        self.until_ns = until_ns
        self.tickets: list[str] = []
        self.ended = False
        self.streams: dict[int, Stream] = {}
        self.sources = {peer: _Source() for peer in sources}
        self._manifest: Manifest | None = None
        self._ranges: deque[tuple[int, int]] = deque()
        self._writing: set[int] = set()
        self._unwritten = 0
        self._opened = False
        self.asking = False  # for the manifest
        self.timer_ns: int | None = None  # when `blobs.py` looks again

    @property
    def wants_manifest(self) -> bool:
        return self._manifest is None and not self.asking and not self.ended

    # the manifest

    def next_source(self, now_ns: int) -> PeerId | None:
        """Whom to ask for the manifest: the one that failed least, if its time has come."""
        ready = [peer for peer, source in self.sources.items() if source.not_before_ns <= now_ns]
        return min(ready, key=lambda peer: self.sources[peer].failures, default=None)

    def manifest_came(self, source: PeerId, raw: bytes) -> Effects:
        try:
            self._manifest = read_manifest(raw, self.blob)
        except PeerError as error:
            return [Blame(source, LIE_POINTS, str(error)), *self.leave_out(source)]
        return [OpenBlob(self.blob, raw)]

    def opened(self, event: BlobOpened, new_id: int, now_ns: int) -> Effects:
        if self._manifest is None or self._opened:
            return []
        if event.failed is not None:
            return self.fail(Failed("unavailable", f"no room for the blob: {event.failed}", "disk"))
        self._opened = True
        have = event.have
        lacking = [place for place in range(self._manifest.chunks) if not _is_set(have, place)]
        self._unwritten = len(lacking)
        self._ranges.extend(_ranges(lacking))
        return self.go_on(new_id, now_ns)

    # chunks

    def go_on(self, new_id: int, now_ns: int) -> Effects:
        """Give idle sources something to do, and credit where there is room. Uses ids from `new_id` on."""
        if not self._opened or self.ended:
            return []
        if not self._unwritten:
            return self._whole()
        out: Effects = []
        for peer, source in self.sources.items():
            if len(self.streams) >= SOURCES_AT_ONCE or not self._ranges:
                break
            if not source.stream and source.not_before_ns <= now_ns:
                out.append(self._begin(peer, source, new_id, now_ns))
                new_id += 1
        return out + self._grant(now_ns)

    def _begin(self, peer: PeerId, source: _Source, id: int, now_ns: int) -> ToPeer:
        first, end = self._ranges.popleft()
        share = end - first
        if len(self.sources) > 1:
            unassigned = share + sum(end - first for first, end in self._ranges)
            share = -(-unassigned // (2 * min(len(self.sources), SOURCES_AT_ONCE)))
        cut = min(end, first + min(share, RANGE_MAX))
        if cut < end:
            self._ranges.appendleft((cut, end))
        self.streams[id] = Stream(peer, id, first, cut, set(range(first, cut)), now_ns)
        source.stream = id
        return ToPeer(peer, Fetch(self.blob, first, cut), id, True, now_ns + DIAL_NS)

    def _grant(self, now_ns: int) -> Effects:
        """Credit within the window, to the stream first that has least."""
        room = WINDOW - len(self._writing) - sum(stream.owed for stream in self.streams.values())
        given: dict[int, int] = {}
        while room > 0:
            open_ = [stream for stream in self.streams.values() if stream.owed < len(stream.left)]
            if not open_:
                break
            stream = min(open_, key=_owed)
            stream.owed += 1
            stream.granted += 1
            given[stream.id] = stream.granted
            room -= 1
        return [
            ToPeer(self.streams[id].source, Credit(granted), id, True, now_ns + DIAL_NS)
            for id, granted in given.items()
        ]

    def chunk_came(self, stream: Stream, payload: bytes, new_id: int, now_ns: int) -> Effects:
        assert self._manifest is not None
        place = int.from_bytes(payload[:PLACE_BYTES], "big")
        if place not in stream.left:
            if stream.first <= place < stream.end:
                return []  # repeated on the way
            return self._lied(stream, f"chunk {place}, which nobody asked for", new_id, now_ns)
        data = memoryview(payload)[PLACE_BYTES:]
        if not self._manifest.fits(place, data):
            return self._lied(stream, f"other bytes than chunk {place} of the blob", new_id, now_ns)
        stream.left.remove(place)
        stream.owed = max(0, stream.owed - 1)
        stream.last_ns = now_ns
        self.sources[stream.source].failures = 0
        self._writing.add(place)
        out: Effects = [WriteChunk(self.blob, place, data)]
        if not stream.left:
            self._close(stream)
            out += self.go_on(new_id, now_ns)
        return out

    def written(self, event: ChunkWritten, new_id: int, now_ns: int) -> Effects:
        if event.place not in self._writing:
            return []
        if event.failed is not None:
            return self.fail(Failed("unavailable", f"a chunk could not be written: {event.failed}", "disk"))
        self._writing.remove(event.place)
        self._unwritten -= 1
        return self.go_on(new_id, now_ns) if not self._unwritten else self._grant(now_ns)

    def _lied(self, stream: Stream, what: str, new_id: int, now_ns: int) -> Effects:
        out: Effects = [Blame(stream.source, LIE_POINTS, f"sent {what}"), *self._stop(stream)]
        return [*out, *self.leave_out(stream.source), *self.go_on(new_id, now_ns)]

    # what goes wrong

    def _close(self, stream: Stream) -> None:
        del self.streams[stream.id]
        source = self.sources.get(stream.source)
        if source is not None:
            source.stream = 0
        self._ranges.extendleft(reversed(_ranges(sorted(stream.left))))

    def _stop(self, stream: Stream) -> Effects:
        self._close(stream)
        return [ToPeer(stream.source, Fetch(self.blob, 0, 0), stream.id)]

    def stalled(self, stream: Stream, now_ns: int) -> Effects:
        return self._stop(stream) + self.failed(stream.source, "no chunk came for 5 s", now_ns)

    def stream_ended(self, stream: Stream, why: str, now_ns: int) -> Effects:
        """By its source, or with the link."""
        self._close(stream)
        if why == BUSY or why.startswith("link"):
            return self.failed(stream.source, why, now_ns)
        return self.leave_out(stream.source)

    def failed(self, peer: PeerId, why: str, now_ns: int) -> Effects:
        source = self.sources.get(peer)
        if source is None:
            return []
        source.failures += 1
        if source.failures >= FAILURES_MAX:
            return self.leave_out(peer)
        source.not_before_ns = now_ns + (BACK_OFF_NS << (source.failures - 1))
        return [note("mesh_blob_source_failed", peer=peer.hex(), why=why, failures=source.failures)]

    def leave_out(self, peer: PeerId) -> Effects:
        self.sources.pop(peer, None)
        if self.sources:
            return []
        return self.fail(Failed("unavailable", "none of the sources gave the blob; name others", "sources"))

    def again_ns(self, now_ns: int) -> int:
        """When a source that failed may be tried again, or the time is over."""
        waits = [source.not_before_ns for source in self.sources.values() if source.not_before_ns > now_ns]
        return min([self.until_ns, *waits])

    # the end

    def _whole(self) -> Effects:
        self.ended = True
        assert self._manifest is not None
        came = BlobCame(self.blob, self._manifest.size)
        return [CloseBlob(self.blob, True), *(Send(ticket, came) for ticket in self.tickets)]

    def fail(self, failed: Failed) -> Effects:
        if self.ended:
            return []
        self.ended = True
        out: Effects = [ToPeer(stream.source, Fetch(self.blob, 0, 0), stream.id) for stream in self.streams.values()]
        if self._manifest is not None:
            out.append(CloseBlob(self.blob, False))
        return [*out, *(Send(ticket, failed) for ticket in self.tickets)]


def _owed(stream: Stream) -> int:
    return stream.owed


def _is_set(bits: bytes, place: int) -> bool:
    return place // 8 < len(bits) and bool(bits[place // 8] >> place % 8 & 1)


def _ranges(places: list[int]) -> list[tuple[int, int]]:
    """Sorted places -> [first, end) of each run."""
    out: list[tuple[int, int]] = []
    for place in places:
        if out and out[-1][1] == place:
            out[-1] = (out[-1][0], place + 1)
        else:
            out.append((place, place + 1))
    return out
