"""Blobs: whole and right, whatever sources and links do, within a window of memory."""

from __future__ import annotations

from typing import Any

import pytest
from tests.mesh.parts_world import MS, T0, Node, PartsWorld, S, peer

from qcommons.base.seeds import stream
from qcommons.mesh import messages as m
from qcommons.mesh.blob_fetch import STALL_NS, WINDOW
from qcommons.mesh.blob_source import FETCHES_PEER_MAX
from qcommons.mesh.blobs import FETCHES_MAX, Blobs
from qcommons.mesh.events import (
    BlobCame,
    BlobOpened,
    BlobWanted,
    ChunkRead,
    ChunkWritten,
    CloseBlob,
    Failed,
    OpenBlob,
    ReadChunk,
    WriteChunk,
)  # fmt: skip
from qcommons.mesh.exchange import Exchange
from qcommons.mesh.manifest import CHUNK_BYTES, blob_id, write_manifest
from qcommons.mesh.parts import PartBase

SIZE = 20 * CHUNK_BYTES + 1000
DATA = stream(1, "blob").bytes(SIZE)
CHUNKS = [DATA[start : start + CHUNK_BYTES] for start in range(0, SIZE, CHUNK_BYTES)]
MANIFEST = write_manifest(CHUNKS)
BLOB = blob_id(MANIFEST)


class Disk:
    """What the driver does: reads at once, writes in `write_ns`. in_memory: chunks handed over and not written yet."""

    def __init__(self) -> None:
        self.blobs: dict[bytes, dict[int, bytes]] = {}
        self.closed: list[bool] = []
        self.write_ns = MS
        self.in_memory = 0
        self.most_in_memory = 0
        self.writes = 0
        self.full_after: int | None = None
        self.corrupt: set[int] = set()


class BlobWorld(PartsWorld):
    def __init__(self, count: int, *, have: tuple[int, ...], seed: int = 1) -> None:
        self.disks = [Disk() for _ in range(count)]
        super().__init__(count, make, seed)
        self.take = self._take
        for number in have:
            self.disks[number].blobs[BLOB] = {-1: MANIFEST, **dict(enumerate(CHUNKS))}

    def _take(self, node: Node, effect: Any) -> bool:
        disk = self.disks[node.number]
        match effect:
            case ReadChunk(blob, place):
                data = disk.blobs.get(blob, {}).get(place)
                if data is not None and place in disk.corrupt:
                    data = bytes(len(data))
                self.later(self.now_ns, lambda: self.wish(node.number, ChunkRead(blob, place, data)))
            case OpenBlob(blob, manifest):
                files = disk.blobs.setdefault(blob, {})
                files[-1] = manifest
                bits = sum(1 << place for place in files if place >= 0)
                have = bits.to_bytes((bits.bit_length() + 7) // 8, "little")
                self.later(self.now_ns, lambda: self.wish(node.number, BlobOpened(blob, have)))
            case WriteChunk(blob, place, data):
                disk.in_memory += 1
                disk.most_in_memory = max(disk.most_in_memory, disk.in_memory)
                self.later(self.now_ns + disk.write_ns, lambda: self._written(node, blob, place, bytes(data)))
            case CloseBlob(_, whole):
                disk.closed.append(whole)
            case _:
                return False
        return True

    def _written(self, node: Node, blob: bytes, place: int, data: bytes) -> None:
        disk = self.disks[node.number]
        disk.in_memory -= 1
        disk.writes += 1
        if disk.full_after is not None and disk.writes > disk.full_after:
            self.wish(node.number, ChunkWritten(blob, place, "no space left"))
            return
        disk.blobs[blob][place] = data
        self.wish(node.number, ChunkWritten(blob, place))


def make(world: PartsWorld, node: Node) -> list[PartBase]:
    exchange = Exchange(node.peers)
    return [exchange, Blobs(node.peers, exchange)]


def want(*sources: int, within_ns: int = 120 * S, blob: bytes = BLOB, ticket: str = "t") -> BlobWanted:
    return BlobWanted(ticket, blob, tuple(peer(number) for number in sources), within_ns)


def is_whole(world: BlobWorld, number: int = 0) -> bool:
    files = world.disks[number].blobs.get(BLOB, {})
    return (
        world.nodes[number].door("t") == [BlobCame(BLOB, SIZE)]
        and [files.get(place) for place in range(len(CHUNKS))] == CHUNKS
    )


def test_a_blob_comes_whole_from_one_source() -> None:
    world = BlobWorld(2, have=(1,))
    world.link(0, 1)
    world.wish(0, want(1))
    world.run(5 * S)
    assert is_whole(world) and world.disks[0].closed == [True] and world.disks[0].writes == len(CHUNKS)
    assert world.nodes[1].sent["Chunk"] == len(CHUNKS)
    part = world.nodes[0].parts[1]
    assert isinstance(part, Blobs) and not part._fetches and not part._streams


def test_memory_stays_within_the_window_when_the_disk_is_slow() -> None:
    """Chunks on their way, here, and being written are never more than the window of 8; the source waits."""
    world = BlobWorld(2, have=(1,))
    world.disks[0].write_ns = 3 * S
    world.link(0, 1)
    world.wish(0, want(1))
    for _ in range(200):
        world.run(100 * MS)
        assert world.nodes[1].sent["Chunk"] - world.disks[0].writes <= WINDOW
    assert is_whole(world) and world.disks[0].most_in_memory <= WINDOW
    assert world.nodes[1].sent["Chunk"] == len(CHUNKS)  # a slow disk here is no stall of the source


def test_several_sources_share_the_work_and_the_window() -> None:
    world = BlobWorld(4, have=(1, 2, 3))
    for number in (1, 2, 3):
        world.link(0, number)
    world.wish(0, want(1, 2, 3))
    world.run(10 * S)
    assert is_whole(world) and world.disks[0].most_in_memory <= WINDOW
    given = [world.nodes[number].sent["Chunk"] for number in (1, 2, 3)]
    assert sum(given) == len(CHUNKS) and min(given) >= 3


def test_a_source_that_sends_other_bytes_is_blamed_and_another_takes_over() -> None:
    world = BlobWorld(3, have=(1, 2))
    world.disks[1].corrupt = {7}
    world.link(0, 1)
    world.link(0, 2)
    world.wish(0, want(1, 2))
    world.run(20 * S)
    assert is_whole(world)
    blamed = {blame.peer for blame in world.nodes[0].blames}
    assert blamed <= {peer(1)}


def test_with_none_but_a_liar_the_blob_fails_and_is_not_called_whole() -> None:
    world = BlobWorld(2, have=(1,))
    world.disks[1].corrupt = {7}
    world.link(0, 1)
    world.wish(0, want(1))
    world.run(20 * S)
    (failed,) = world.nodes[0].door("t")
    assert isinstance(failed, Failed) and world.disks[0].closed == [False]
    assert [(blame.peer, blame.points) for blame in world.nodes[0].blames] == [(peer(1), 50)]
    assert world.disks[0].blobs[BLOB].get(7) is None


def test_a_false_manifest_is_blamed_and_the_next_source_asked() -> None:
    world = BlobWorld(3, have=(1, 2))
    world.disks[1].blobs[BLOB][-1] = write_manifest([b"other"])
    world.link(0, 1)
    world.link(0, 2)
    world.wish(0, want(1, 2))
    world.run(5 * S)
    assert is_whole(world) and [blame.peer for blame in world.nodes[0].blames] == [peer(1)]


def test_who_does_not_have_it_is_passed_over_without_blame() -> None:
    world = BlobWorld(3, have=(2,))
    world.link(0, 1)
    world.link(0, 2)
    world.wish(0, want(1, 2))
    world.run(5 * S)
    assert is_whole(world) and not world.nodes[0].blames


def test_a_chunk_that_its_source_lost_comes_from_another() -> None:
    world = BlobWorld(3, have=(1, 2))
    del world.disks[1].blobs[BLOB][0], world.disks[1].blobs[BLOB][1]
    world.link(0, 1)
    world.link(0, 2)
    world.wish(0, want(1, 2))
    world.run(20 * S)
    assert is_whole(world) and not world.nodes[0].blames


def test_a_lost_link_costs_what_was_under_way_and_no_more() -> None:
    world = BlobWorld(2, have=(1,))
    world.disks[0].write_ns = 100 * MS
    world.link(0, 1)
    world.wish(0, want(1))
    world.run(150 * MS)
    written = world.disks[0].writes
    assert 0 < written < len(CHUNKS)
    world.unlink(0, 1)
    world.run(500 * MS)
    world.link(0, 1)
    world.run(20 * S)
    assert is_whole(world)
    assert world.nodes[1].sent["Chunk"] <= len(CHUNKS) + WINDOW


def test_after_a_restart_only_what_lacks_is_fetched() -> None:
    world = BlobWorld(2, have=(1,))
    world.disks[0].blobs[BLOB] = {place: CHUNKS[place] for place in (0, 3, 4, 5, 20)}
    world.link(0, 1)
    world.wish(0, want(1))
    world.run(5 * S)
    assert is_whole(world) and world.nodes[1].sent["Chunk"] == len(CHUNKS) - 5


def test_a_silent_source_is_given_up_after_it_stalled() -> None:
    world = BlobWorld(3, have=(1, 2))
    world.link(0, 1)
    world.link(0, 2)
    taken = world.take

    def take(node: Node, effect: Any) -> bool:  # node 1 gives its manifest and then nothing
        return (node.number == 1 and isinstance(effect, ReadChunk) and effect.place >= 0) or taken(node, effect)

    world.take = take
    world.wish(0, want(1, 2))
    world.run(STALL_NS + 5 * S)
    assert is_whole(world) and world.nodes[1].sent["Chunk"] == 0


@pytest.mark.parametrize("seed", range(3))
def test_a_bad_link_makes_it_slow_and_not_wrong(seed: int) -> None:
    """5 % of all messages lost, 5 % repeated, all reordered, from fixed seeds."""
    world = BlobWorld(3, have=(1, 2), seed=seed)
    world.loss, world.twice, world.jitter_ns = 0.05, 0.05, 20 * MS
    world.link(0, 1)
    world.link(0, 2)
    world.wish(0, want(1, 2, within_ns=600 * S))
    world.run(600 * S)
    assert is_whole(world)
    assert not world.nodes[0].blames and not world.nodes[1].blames


def test_time_over_keeps_what_came() -> None:
    world = BlobWorld(2, have=(1,))
    world.disks[0].write_ns = S
    world.link(0, 1)
    world.wish(0, want(1, within_ns=1500 * MS))
    world.run(10 * S)
    (failed,) = world.nodes[0].door("t")
    assert failed.who == "unavailable" and world.disks[0].closed == [False] and len(world.disks[0].blobs[BLOB]) > 1


def test_a_full_disk_ends_it() -> None:
    world = BlobWorld(2, have=(1,))
    world.disks[0].full_after = 4
    world.link(0, 1)
    world.wish(0, want(1))
    world.run(10 * S)
    (failed,) = world.nodes[0].door("t")
    assert "no space left" in failed.what and world.disks[0].closed == [False]


def test_two_who_want_it_get_it_for_one_fetch_and_one_read_serves_two_peers() -> None:
    world = BlobWorld(2, have=(1,))
    world.link(0, 1)
    world.wish(0, want(1))
    world.wish(0, want(1, ticket="u"))
    world.run(5 * S)
    assert is_whole(world) and world.nodes[0].door("u") == [BlobCame(BLOB, SIZE)]
    assert world.nodes[1].sent["Chunk"] == len(CHUNKS)


@pytest.mark.parametrize("event", [want(), want(0), want(1, blob=b"short"), want(1, within_ns=0)])
def test_what_cannot_be_wanted_is_refused(event: BlobWanted) -> None:
    world = BlobWorld(2, have=(1,))
    world.link(0, 1)
    world.wish(0, event)
    (failed,) = world.nodes[0].door("t")
    assert failed.who == "usage"


def test_no_more_blobs_at_once_than_their_windows_may_take() -> None:
    world = BlobWorld(2, have=())
    for number in range(FETCHES_MAX + 1):
        world.wish(0, want(1, blob=bytes([number]) * 32, ticket=str(number)))
    (failed,) = world.nodes[0].door(str(FETCHES_MAX))
    assert failed.who == "unavailable"


# peers that follow no rules


def test_a_source_reads_no_further_than_credit_goes_and_blames_too_much_of_it() -> None:
    world = BlobWorld(2, have=(1,))
    world.link(0, 1)
    world.give(1, 0, m.Fetch(BLOB, 0, 20), id=5)
    world.run(S)
    assert world.nodes[1].sent["Chunk"] == 0
    world.give(1, 0, m.Credit(3), id=5)
    world.run(S)
    assert world.nodes[1].sent["Chunk"] == 3
    world.give(1, 0, m.Credit(1 << 30), id=5)
    world.run(S)
    assert world.nodes[1].sent["Chunk"] == 3 and len(world.nodes[1].blames) == 1


@pytest.mark.parametrize(
    "fetch", [m.Fetch(BLOB, 5, 4), m.Fetch(BLOB, -1, 4), m.Fetch(BLOB, 0, 1 << 40), m.Fetch(b"", 0, 1)]
)
def test_a_fetch_of_what_cannot_be_is_blamed(fetch: m.Fetch) -> None:
    world = BlobWorld(2, have=(1,))
    world.link(0, 1)
    world.give(1, 0, fetch, id=5)
    assert len(world.nodes[1].blames) == 1


def test_credit_that_is_repeated_or_comes_before_its_fetch_counts_once() -> None:
    world = BlobWorld(2, have=(1,))
    world.link(0, 1)
    for message in (m.Credit(3), m.Fetch(BLOB, 0, 20), m.Credit(3), m.Credit(2), m.Credit(5), m.Credit(5)):
        world.give(1, 0, message, id=5)
        world.run(10 * MS)
    assert world.nodes[1].sent["Chunk"] == 5 and not world.nodes[1].blames


def test_credits_without_a_fetch_are_remembered_for_a_few_only() -> None:
    world = BlobWorld(2, have=(1,))
    world.link(0, 1)
    for id in range(1000):
        world.give(1, 0, m.Credit(8), id=id + 1)
    part = world.nodes[1].parts[1]
    assert isinstance(part, Blobs) and len(part._source._early) == 64 and not world.nodes[1].others


def test_fetches_without_end_are_told_that_the_source_is_busy() -> None:
    world = BlobWorld(2, have=(1,))
    world.link(0, 1)
    for id in range(100):
        world.give(1, 0, m.Fetch(BLOB, 0, 20), id=id + 1)
    part = world.nodes[1].parts[1]
    assert isinstance(part, Blobs) and len(part._source._sending) == FETCHES_PEER_MAX
    assert world.nodes[1].sent["NoChunks"] == 100 - FETCHES_PEER_MAX
    world.run(60 * S)  # and those without credit end
    assert not part._source._sending


def test_chunks_that_nobody_asked_for_change_nothing() -> None:
    world = BlobWorld(2, have=())
    world.link(0, 1)
    world.give(0, 1, m.Chunk(b"\0\0\0\0data"), id=T0)
    world.give(0, 1, m.NoChunks("no"), id=T0)
    world.give(0, 1, m.Credit(1), id=T0)
    world.run(S)
    assert not world.nodes[0].doors and not world.nodes[0].others
