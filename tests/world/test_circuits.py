"""Sessions inside relay circuits (circuits.py): both ends proven, words whole and in order, whatever the relay does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.world.puppets import Do, Theatre

from qcommons.mesh.events import Came, Dial, DialFailed, Hangup, Linked, RelayIn, RelayOut, Transmit, Unlinked
from qcommons.mesh.messages import Request
from qcommons.mesh.records import PeerId

CIRCUIT = 7


class Relayed(Theatre):
    """Nodes 0 and 1, and between them a relay that is a function of (sender, bytes) -> bytes passed on, or None."""

    def __init__(self, relay: Callable[[int, bytes], bytes | None] = lambda _, data: data) -> None:
        super().__init__(3)
        self.relay = relay
        self.opened = False
        for index in (0, 1):
            self.puppet(index).answers[RelayOut] = lambda event, _, index=index: self._pass_on(index, event)

    def _pass_on(self, index: int, event: RelayOut) -> list[Any]:
        data = self.relay(index, event.data)
        if data is not None:
            first = index == 0 and not self.opened
            self.opened = self.opened or first
            by = self.world.hosts[0].peer if first else None
            self.world.post(
                self.world.now_ns + 1000, self.life(1 - index), Do(RelayIn(CIRCUIT, data, by, event.closed))
            )
        return []

    def call(self, wanted: int = 1) -> int:
        conn = self.number(0)
        self.do(0, Dial(conn, "relay/somebody", PeerId(self.world.hosts[wanted].peer), CIRCUIT))
        self.run(2)
        return conn


def test_both_ends_know_who_is_there_and_words_arrive_whole_and_in_order() -> None:
    theatre = Relayed()
    conn = theatre.call()
    (mine,) = theatre.puppet(0).of(Linked)
    (theirs,) = theatre.puppet(1).of(Linked)
    hosts = theatre.world.hosts
    assert (mine.conn, mine.peer, mine.public_key, mine.inbound) == (conn, hosts[1].peer, hosts[1].key, False)
    assert (theirs.peer, theirs.public_key, theirs.inbound, theirs.conn % 2) == (hosts[0].peer, hosts[0].key, True, 1)
    words = [bytes([i]) * size for i, size in enumerate((1, 100_000, 5))]
    theatre.do(0, *(Transmit(conn, i, Request(word)) for i, word in enumerate(words)))
    theatre.do(1, Transmit(theirs.conn, 9, Request(b"back")))
    theatre.run(2)
    assert [(event.id, event.message.payload) for event in theatre.puppet(1).of(Came)] == list(enumerate(words))
    assert [event.message.payload for event in theatre.puppet(0).of(Came)] == [b"back"]
    assert all(len(event.data) <= 64 << 10 for event in theatre.puppet(0).of(RelayOut))


def test_hanging_up_ends_both_numbers_once() -> None:
    theatre = Relayed()
    conn = theatre.call()
    theatre.do(0, Hangup(conn, "enough"))
    theatre.run(2)
    assert [len(theatre.puppet(index).of(Unlinked)) for index in (0, 1)] == [1, 1]
    assert not theatre.life(0).ends and not theatre.life(1).ends and not theatre.life(1).circuits


def test_a_relay_cannot_pass_for_the_other_end() -> None:
    """The circuit leads to node 1, and node 2 was wanted."""
    theatre = Relayed()
    conn = theatre.call(wanted=2)
    assert theatre.puppet(0).of(DialFailed) == [DialFailed(conn, "another node is there")]
    assert theatre.puppet(1).of(Linked) == []


@pytest.mark.parametrize("place", [0, 5, 9, 500])
def test_an_altered_byte_ends_the_session(place: int) -> None:
    seen = []

    def alter(sender: int, data: bytes) -> bytes:
        seen.append(data)
        if len(seen) < 4 or len(data) <= place:
            return data
        return data[:place] + bytes([data[place] ^ 0x80]) + data[place + 1 :]

    theatre = Relayed(alter)
    conn = theatre.call()
    for _ in range(3):
        theatre.do(0, Transmit(conn, 0, Request(b"x" * 1000)))
        theatre.run(2)
    assert all(event.message == Request(b"x" * 1000) for event in theatre.puppet(1).of(Came))
    assert "malformed session" in theatre.puppet(1).of(Unlinked)[0].reason


def test_a_silent_relay_leaves_the_dial_to_its_deadline() -> None:
    theatre = Relayed(lambda sender, data: None)
    conn = theatre.call()
    assert theatre.puppet(0).of(Linked) == [] == theatre.puppet(0).of(DialFailed)
    theatre.do(0, RelayIn(CIRCUIT, b"", None, "the relay gave it up"))
    theatre.run(1)
    assert theatre.puppet(0).of(DialFailed) == [DialFailed(conn, "the relay gave it up")]
