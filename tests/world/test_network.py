"""The virtual network: connections keep order and end once at each end, walls hold back, faults strike."""

from __future__ import annotations

import pytest
from tests.world.puppets import MS, S, Theatre

from qcommons.mesh.events import Came, Dial, DialFailed, Hangup, Linked, Transmit, Unlinked
from qcommons.mesh.messages import Gossip, Ping, Request
from qcommons.mesh.records import PeerId
from qcommons.world.double import HANDSHAKE_NS
from qcommons.world.host import EPOCH_NS
from qcommons.world.network import BYTE_NS, MESSAGE_FAULTS, End, Network


def requests(theatre: Theatre, index: int) -> list[bytes]:
    return [event.message.payload for event in theatre.puppet(index).of(Came)]


def say(theatre: Theatre, index: int, conn: int, *words: bytes) -> None:
    theatre.do(index, *(Transmit(conn, 7, Request(word)) for word in words))


def test_a_dial_takes_four_ways_and_two_handshakes() -> None:
    """SYN, SYN-ACK, ClientHello, the acceptor's flight: 4 ways at the dialler; one more until the acceptor knows."""
    theatre = Theatre(2)
    conn = theatre.dial(0, 1, theatre.world.hosts[1].peer)
    theatre.run(1)
    way_ns = Network.latency_ns(theatre.world.network, *theatre.world.hosts)
    ((at_ns, mine),) = theatre.puppet(0).log
    ((there_ns, theirs),) = theatre.puppet(1).log
    assert mine == Linked(conn, theatre.world.hosts[1].peer, theatre.world.hosts[1].key, "tcp/20.0.1.7:4747", False)
    assert at_ns - EPOCH_NS == 4 * way_ns + 2 * HANDSHAKE_NS
    assert there_ns == at_ns + way_ns
    assert theirs.inbound and theirs.conn % 2 == 1 and theirs.peer == theatre.world.hosts[0].peer
    assert theirs.address.startswith("tcp/20.0.0.7:")


def test_messages_arrive_in_order_each_after_its_bytes() -> None:
    theatre = Theatre(2)
    mine, _ = theatre.link(0, 1)
    words = [bytes([i]) * (10_000 if i % 2 else 10) for i in range(20)]
    say(theatre, 0, mine, *words)
    begun_ns = theatre.world.now_ns
    theatre.run(5)
    assert requests(theatre, 1) == words
    last_ns = theatre.puppet(1).log[-1][0] - EPOCH_NS
    assert last_ns - begun_ns > sum(map(len, words)) * BYTE_NS
    assert theatre.puppet(1).of(Came)[0].id == 7


def test_somebody_else_at_the_address_ends_the_dial_and_never_links() -> None:
    theatre = Theatre(3)
    conn = theatre.dial(0, 1, theatre.world.hosts[2].peer)
    theatre.run(2)
    assert theatre.puppet(0).of(DialFailed) == [DialFailed(conn, "another node is there", is_other=True)]
    assert theatre.puppet(1).log == [] and theatre.world.network.strays == {1: 1}


@pytest.mark.parametrize(
    ("what", "reason", "after_s"),
    [("nobody", "no answer within 5 s", 5), ("unreachable", "no answer within 5 s", 5), ("down", "refused", 0),
     ("powerless", "no answer within 5 s", 5)],
)  # fmt: skip
def test_a_dial_that_finds_nobody_fails_with_a_reason(what: str, reason: str, after_s: int) -> None:
    theatre = Theatre(2)
    host = theatre.world.hosts[1]
    host.reachable = what != "unreachable"
    if what in ("down", "powerless"):
        theatre.world.crash(host, silent=what == "powerless")
    address = "tcp/99.9.9.9:1" if what == "nobody" else host.address
    theatre.do(0, Dial(2, address, None))
    theatre.run(7)
    ((at_ns, failed),) = theatre.puppet(0).log
    assert reason in failed.reason
    assert round((at_ns - EPOCH_NS) / S) == after_s


def test_an_unreachable_node_dials_out() -> None:
    theatre = Theatre(2)
    theatre.world.hosts[0].reachable = False
    theatre.link(0, 1)
    assert len(theatre.puppet(1).of(Linked)) == 1


def test_hanging_up_ends_the_number_once_at_both_ends_behind_the_last_word() -> None:
    theatre = Theatre(2)
    mine, theirs = theatre.link(0, 1)
    theatre.do(0, Transmit(mine, 0, Request(b"last")), Hangup(mine, "enough"))
    theatre.run(1)
    assert theatre.puppet(0).of(Unlinked) == [Unlinked(mine, "enough")]
    assert theatre.puppet(1).of(Unlinked) == [Unlinked(theirs, "closed by the other end: enough")]
    assert requests(theatre, 1) == [b"last"]
    assert theatre.puppet(1).log[-1][1] == Unlinked(theirs, "closed by the other end: enough")
    assert not theatre.life(0).ends and not theatre.life(1).ends


def test_both_hanging_up_at_once_still_ends_each_number_once() -> None:
    theatre = Theatre(2)
    mine, theirs = theatre.link(0, 1)
    theatre.do(0, Hangup(mine, "a"))
    theatre.do(1, Hangup(theirs, "b"))
    theatre.run(1)
    assert [len(theatre.puppet(i).of(Unlinked)) for i in (0, 1)] == [1, 1]


def test_using_a_number_that_has_ended_is_counted() -> None:
    theatre = Theatre(2)
    mine, _ = theatre.link(0, 1)
    theatre.do(0, Hangup(mine, "a"), Transmit(mine, 0, Ping()))
    theatre.run(1)
    theatre.do(0, Hangup(mine, "again"))
    theatre.run(1)
    assert sorted(theatre.world.network.misused) == [
        "hung up a connection that has ended", "transmitted on a connection that has ended",
    ]  # fmt: skip


def test_a_process_that_ends_resets_its_connections_one_without_power_does_not() -> None:
    theatre = Theatre(3)
    _, told = theatre.link(0, 1)
    theatre.link(0, 2)
    theatre.world.crash(theatre.world.hosts[0])
    theatre.run(1)
    assert theatre.puppet(1).of(Unlinked) == [Unlinked(told, "connection reset")]
    theatre = Theatre(2)
    _, theirs = theatre.link(0, 1)
    theatre.world.crash(theatre.world.hosts[0], silent=True)
    say(theatre, 1, theirs, b"anybody?")
    theatre.run(60)
    assert theatre.puppet(1).of(Unlinked) == []
    theatre.world.start(theatre.world.hosts[0])  # the system is back and knows no such connection
    say(theatre, 1, theirs, b"hello?")
    theatre.run(1)
    assert theatre.puppet(1).of(Unlinked) == [Unlinked(theirs, "connection reset")]
    assert theatre.puppet(0).log == []


def test_what_was_sent_to_a_former_life_never_reaches_the_next() -> None:
    theatre = Theatre(2)
    mine, _ = theatre.link(0, 1)
    say(theatre, 0, mine, b"for the old one")
    theatre.world.crash(theatre.world.hosts[1])
    theatre.world.start(theatre.world.hosts[1])
    theatre.run(2)
    assert theatre.puppet(1).log == []


def test_a_wall_holds_words_back_and_lets_them_go_in_order() -> None:
    theatre = Theatre(3)
    mine, theirs = theatre.link(0, 1)
    wall = lambda a, b: a == 0  # noqa: E731
    theatre.world.network.raise_wall(wall)
    say(theatre, 0, mine, b"1", b"2")
    say(theatre, 1, theirs, b"the other way")
    theatre.run(3)
    assert requests(theatre, 1) == [] and requests(theatre, 0) == [b"the other way"]
    theatre.do(0, Transmit(mine, 0, Request(b"3")), Hangup(mine, "done"))
    failed = theatre.dial(0, 2)
    theatre.run(6)
    assert DialFailed(failed, "no answer within 5 s") in theatre.puppet(0).of(DialFailed)
    theatre.world.network.fell_wall(wall)
    theatre.run(1)
    assert requests(theatre, 1) == [b"1", b"2", b"3"]
    assert len(theatre.puppet(1).of(Unlinked)) == 1


def test_a_syn_is_repeated_so_a_short_wall_only_delays_a_dial() -> None:
    theatre = Theatre(2)
    wall = lambda a, b: True  # noqa: E731
    theatre.world.network.raise_wall(wall)
    theatre.dial(0, 1)
    theatre.run(2)
    theatre.world.network.fell_wall(wall)
    theatre.run(2)
    assert len(theatre.puppet(1).of(Linked)) == 1


def test_a_reset_ends_both_ends_at_once() -> None:
    theatre = Theatre(2)
    mine, theirs = theatre.link(0, 1)
    end = theatre.life(0).ends[mine]
    assert isinstance(end, End)
    theatre.world.network.reset(end, "broken")
    theatre.run(1)
    assert theatre.puppet(0).of(Unlinked) == [Unlinked(mine, "broken")]
    assert theatre.puppet(1).of(Unlinked) == [Unlinked(theirs, "broken")]


def test_a_reset_before_the_core_has_heard_of_the_connection_comes_behind_it() -> None:
    theatre = Theatre(2)
    theatre.dial(0, 1)
    while not theatre.life(0).ends:
        theatre.run(0.001)
    end = next(iter(theatre.life(0).ends.values()))
    assert isinstance(end, End)
    theatre.world.network.reset(end, "broken")
    theatre.run(1)
    for index in (0, 1):
        assert [type(event) for _, event in theatre.puppet(index).log] == [Linked, Unlinked]


@pytest.mark.parametrize("fault", MESSAGE_FAULTS)
def test_each_message_fault_does_what_its_name_says(fault: str) -> None:
    """Half of 400 messages are struck; the bounds are 5 sigma of a binomial with p = 0.5: 1 run in 1.7 million."""
    theatre = Theatre(2)
    mine, _ = theatre.link(0, 1)
    network = theatre.world.network
    network.set_harm(fault, 0.5)
    network.delay_ns = 200 * MS
    words = [i.to_bytes(2, "big") for i in range(400)]
    say(theatre, 0, mine, *words)
    theatre.run(200)
    heard = requests(theatre, 1)
    if fault == "loss":
        assert 150 <= len(heard) <= 250 and heard == sorted(heard)
    elif fault == "duplicate":
        assert 550 <= len(heard) <= 650 and sorted(set(heard)) == words
    elif fault == "delay":
        assert heard == words
    else:
        assert heard != words and sorted(heard) == words


def test_bytes_and_kinds_are_counted() -> None:
    theatre = Theatre(2)
    mine, _ = theatre.link(0, 1)
    theatre.do(0, Transmit(mine, 0, Ping()), Transmit(mine, 0, Gossip("t", b"o" * 32, 1, b"x" * 1000, 0)))
    theatre.run(1)
    assert theatre.world.network.sent == {Ping: 1, Gossip: 1}
    sizes = [event.size_bytes for event in theatre.puppet(1).of(Came)]
    assert sizes[1] - sizes[0] > 1000 and sum(sizes) == theatre.world.network.sent_bytes


def test_a_peer_is_a_hash_of_its_key() -> None:
    theatre = Theatre(1)
    assert theatre.life(0).crypto.peer == PeerId(theatre.world.hosts[0].peer)
