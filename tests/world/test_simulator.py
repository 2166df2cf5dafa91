"""The simulator: order, clocks, busy and frozen nodes, disks (also blobdisk), crashes between effects, the trace."""

from __future__ import annotations

from typing import Any

import pytest
from tests.world.puppets import Do, S, Theatre

from qcommons.base.effects import Note, Send, Store, WakeAt, Woken
from qcommons.mesh.events import Came, Transmit
from qcommons.mesh.messages import Request
from qcommons.world.double import SIGN_NS
from qcommons.world.host import EPOCH_NS, Life
from qcommons.world.simulator import STORE_NS, VIOLATIONS_MAX, Watcher
from qcommons.world.trace import Trace


class Listener(Watcher):
    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def hear(self, life: Life, to: str, message: Any, at_ns: int) -> None:
        self.heard.append((life.host.index, to, message, at_ns))

    def born(self, life: Life, at_ns: int) -> None:
        self.heard.append((life.host.index, "born", life.number, at_ns))

    def died(self, life: Life, at_ns: int) -> None:
        self.heard.append((life.host.index, "died", life.number, at_ns))


def test_a_timer_comes_at_its_time_by_the_nodes_own_clock() -> None:
    theatre = Theatre(1)
    host = theatre.world.hosts[0]
    theatre.world.crash(host)
    host.skew_ns = 90 * S
    theatre.world.start(host)
    theatre.do(0, WakeAt(EPOCH_NS + 90 * S + 2 * S, "later"), WakeAt(0, "at once"))
    theatre.run(3)
    assert theatre.puppet(0).log == [
        (EPOCH_NS + 90 * S, Woken("at once")),
        (EPOCH_NS + 92 * S, Woken("later")),
    ]


def test_events_of_one_time_keep_their_order() -> None:
    theatre = Theatre(1)
    for token in range(50):
        theatre.world.post(S, theatre.life(0), Woken(token))
    theatre.run(1)
    assert [event.token for event in theatre.puppet(0).of(Woken)] == list(range(50))


def test_cryptography_keeps_a_node_busy_and_delays_what_it_says() -> None:
    theatre = Theatre(2)
    mine, _ = theatre.link(0, 1)
    puppet, life = theatre.puppet(0), theatre.life(0)

    def sign(event: Any, now_ns: int) -> list[Any]:
        life.crypto.sign("qcommons/note.1", b"x")
        return [Transmit(mine, 0, Request(b"signed"))]

    puppet.answers[Woken] = sign
    begun_ns = theatre.world.now_ns
    for token in range(3):
        theatre.world.post(begun_ns, life, Woken(token))
    theatre.run(1)
    times = [at_ns - EPOCH_NS - begun_ns for at_ns, event in puppet.log if isinstance(event, Woken)]
    assert times == [0, SIGN_NS, 2 * SIGN_NS]
    assert theatre.puppet(1).log[1][0] - EPOCH_NS > begun_ns + SIGN_NS


def test_what_comes_to_a_frozen_node_is_handled_late_and_in_order() -> None:
    theatre = Theatre(2)
    mine, _ = theatre.link(0, 1)
    theatre.world.freeze(theatre.life(1), theatre.world.now_ns + 5 * S)
    theatre.do(0, *(Transmit(mine, i, Request(bytes([i]))) for i in range(5)))
    theatre.run(4)
    assert theatre.puppet(1).of(Came) == []
    theatre.run(2)
    assert [event.id for event in theatre.puppet(1).of(Came)] == [0, 1, 2, 3, 4]
    theatre.world.freeze(theatre.life(1), theatre.world.now_ns + 50 * S)
    theatre.do(0, Transmit(mine, 5, Request(b"")))
    theatre.run(1)
    theatre.world.thaw(theatre.life(1))
    theatre.run(1)
    assert len(theatre.puppet(1).of(Came)) == 6


def test_a_disk_keeps_what_was_stored_last_and_a_crash_the_rest_not() -> None:
    theatre = Theatre(1)
    theatre.do(0, Store("a", b"1"), Store("b", b"2"), Store("a", b"3"), Store("b", None))
    theatre.run(1)
    theatre.world.crash(theatre.world.hosts[0])
    assert theatre.world.hosts[0].disk == {"a": b"3"}


@pytest.mark.parametrize("cut", range(4))
def test_a_crash_can_fall_between_any_two_effects(cut: int) -> None:
    theatre = Theatre(1)
    watcher = Listener()
    theatre.world.watchers.append(watcher)
    theatre.world.heard[str] = [watcher.hear]
    theatre.life(0).cut = cut
    theatre.do(0, Store("a", b"1"), Send("door", "told"), Store("b", b"2"), Send("door", "more"))
    theatre.run(1)
    assert len(theatre.world.hosts[0].disk) == (cut + 1) // 2
    assert [row[2] for row in watcher.heard if row[1] == "door"] == ["told", "more"][: cut // 2]
    assert theatre.world.hosts[0].life is None
    assert watcher.heard[-1][:2] == (0, "died")


def test_what_follows_a_store_leaves_after_the_fsync() -> None:
    theatre = Theatre(1)
    watcher = Listener()
    theatre.world.watchers.append(watcher)
    theatre.world.heard[str] = [watcher.hear]
    theatre.do(0, Send("door", "before"), Store("a", b"1"), Store("b", b"1"), Send("door", "after"))
    theatre.run(1)
    assert [row[3] for row in watcher.heard] == [0, STORE_NS]


def test_a_core_that_raises_breaks_a_rule_and_its_node_ends() -> None:
    theatre = Theatre(1)

    def fail(event: Any, now_ns: int) -> list[Any]:
        raise KeyError("gone")

    theatre.puppet(0).answers[Woken] = fail
    theatre.do(0, WakeAt(0))
    theatre.run(1)
    (violation,) = theatre.world.violations
    assert violation.check == "core raised" and "KeyError" in violation.what and "fail" in violation.what
    assert theatre.world.hosts[0].life is None


def test_an_effect_that_nobody_carries_out_breaks_a_rule_and_the_number_of_violations_is_bounded() -> None:
    theatre = Theatre(1)
    for _ in range(VIOLATIONS_MAX + 20):
        theatre.do(0, "no effect", Note("noted"))
    theatre.run(1)
    assert len(theatre.world.violations) == VIOLATIONS_MAX
    assert theatre.world.violations[0].check == "effect"
    assert theatre.world.notes["noted"] == VIOLATIONS_MAX + 20


def test_a_life_begins_once_and_timers_that_wait_are_counted() -> None:
    theatre = Theatre(1)
    with pytest.raises(ValueError, match="is up"):
        theatre.world.start(theatre.world.hosts[0])
    theatre.do(0, WakeAt(EPOCH_NS + 9 * S), WakeAt(EPOCH_NS + 8 * S))
    theatre.run(1)
    assert theatre.world.pending() == {theatre.life(0): 2}


def hash_of(seed: int, words: int) -> str:
    theatre = Theatre(3, seed)
    theatre.world.network.set_harm("loss", 0.3)
    conns = [theatre.link(0, 1)[0], theatre.link(0, 2)[0]]
    theatre.do(0, *(Transmit(conns[i % 2], i, Request(bytes([i]))) for i in range(words)))
    theatre.run(5)
    return theatre.world.trace.hexdigest()


def test_the_trace_is_the_seeds() -> None:
    """Another seed loses other messages; one content more or less, or another one, is another hash."""
    assert hash_of(1, 40) == hash_of(1, 40)
    assert len({hash_of(1, 40), hash_of(2, 40), hash_of(1, 41)}) == 3
    a, b, c = Trace(), Trace(), Trace()
    a.rows.append((1, 2, 3, 4, 5, 6))
    b.rows.append((1, 2, 3, 4, 5, 7))
    assert a.hexdigest() != b.hexdigest() != c.hexdigest() == c.hexdigest()


def test_a_log_shows_events_and_effects_in_order() -> None:
    theatre = Theatre(1)
    rows: list[tuple[int, int, str, Any]] = []
    theatre.world.log = lambda *row: rows.append(row)
    theatre.do(0, Note("hello"))
    theatre.run(1)
    assert [(row[2], type(row[3])) for row in rows] == [("event", Do), ("effect", Note)]


def test_blobs_stay_on_the_disk_over_a_crash() -> None:
    from qcommons.mesh.events import BlobOpened, ChunkRead, ChunkWritten, OpenBlob, ReadChunk, WriteChunk

    theatre = Theatre(1)
    theatre.do(0, OpenBlob(b"b", b"manifest"), WriteChunk(b"b", 9, memoryview(b"chunk")))
    theatre.run(1)
    assert theatre.puppet(0).of(ChunkWritten) == [ChunkWritten(b"b", 9)]
    theatre.world.crash(theatre.world.hosts[0])
    theatre.world.start(theatre.world.hosts[0])
    theatre.do(0, ReadChunk(b"b", 9), ReadChunk(b"b", -1), ReadChunk(b"c", 0), OpenBlob(b"b", b"manifest"))
    theatre.run(1)
    assert theatre.puppet(0).of(ChunkRead) == [
        ChunkRead(b"b", 9, b"chunk"), ChunkRead(b"b", -1, b"manifest"), ChunkRead(b"c", 0, None),
    ]  # fmt: skip
    assert theatre.puppet(0).of(BlobOpened)[-1] == BlobOpened(b"b", b"\x00\x02")
