"""Reach: peers dial back and say; nobody is made to dial strangers; who cannot be reached finds relays."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest
from tests.mesh.parts_world import MS, Node, PartsWorld, S, peer, signed

from qcommons.base.seeds import stream
from qcommons.mesh import messages as m
from qcommons.mesh.addresses import relay_address
from qcommons.mesh.events import MyAddresses
from qcommons.mesh.exchange import Exchange
from qcommons.mesh.parts import AddressesLearned, DialDirect, PartBase, TryAddress
from qcommons.mesh.reach import Reach
from qcommons.mesh.relay import Relay


class ReachWorld(PartsWorld):
    """closed: addresses at which nobody is reached. liars: say yes (True) or no (False) without a dial."""

    def __init__(self, count: int = 5) -> None:
        self.closed: set[str] = set()
        self.cannot: set[tuple[int, str]] = set()
        self.silent = False
        self.dials: list[tuple[int, str]] = []
        self.learned: list[tuple[int, tuple[str, ...]]] = []
        self.direct: list[tuple[int, bytes]] = []
        super().__init__(count, make)
        self.take = self._take
        for node in self.nodes:
            for other in range(count):
                node.peers.book[peer(other)] = signed(other, (address(other),))
        for number in range(count):
            self.wish(number, MyAddresses((address(number),)))

    def _take(self, node: Node, effect: Any) -> bool:
        match effect:
            case TryAddress(whom, at, _):
                self.dials.append((node.number, at))
                ok = at not in self.closed and (node.number, at) not in self.cannot
                if not self.silent:
                    self.later(self.now_ns + 5 * MS, lambda: self._tried(node, whom, at, ok))
            case AddressesLearned(addresses):
                self.learned.append((node.number, addresses))
            case DialDirect(whom):
                self.direct.append((node.number, whom))
            case _:
                return False
        return True

    def _tried(self, node: Node, whom: Any, at: str, ok: bool) -> None:
        self.carry_out(node, self.reach(node.number).tried(whom, at, ok, "refused", self.now_ns))

    def reach(self, number: int) -> Reach:
        part = self.nodes[number].parts[2]
        assert isinstance(part, Reach)
        return part

    def reachable(self, number: int) -> str:
        return self.reach(number).view(self.now_ns).reachable

    def meet(self) -> None:
        for a in range(len(self.nodes)):
            for b in range(a + 1, len(self.nodes)):
                self.link(a, b, addresses=(address(b), address(a)))


def address(number: int) -> str:
    return f"tcp/10.0.0.{number + 1}:8741"


def make(world: PartsWorld, node: Node) -> list[PartBase]:
    exchange = Exchange(node.peers)
    relay = Relay(node.peers, exchange, stream(1, "relay", node.number))
    return [exchange, relay, Reach(node.peers, exchange, relay, stream(1, "reach", node.number))]


def question(*addresses: str) -> m.Request:
    body = cbor2.dumps([list(addresses)], canonical=True)
    return m.Request(b"\x0adialback/1" + (20 * S).to_bytes(8, "big") + body)


def dialled_for(world: ReachWorld, number: int) -> list[str]:
    return [at for who, at in world.dials if who == number]


def test_a_node_that_peers_can_dial_learns_it_from_them() -> None:
    world = ReachWorld()
    assert world.reachable(0) == "unknown"
    world.meet()
    world.run(60 * S)
    view = world.reach(0).view(world.now_ns)
    assert view.reachable == "yes" and all(one.ok and one.address == address(0) for one in view.tries)
    assert not view.one_way() and not view.relays and not world.learned


def test_a_node_that_nobody_can_dial_finds_relays_and_says_what_to_do() -> None:
    world = ReachWorld()
    world.closed = {address(0)}
    world.meet()
    world.run(60 * S)
    view = world.reach(0).view(world.now_ns)
    assert view.reachable == "no" and "could not reach" in view.cause and "router" in view.action
    assert len(view.relays) == 2 and world.learned[-1] == (0, tuple(relay_address(relay) for relay in view.relays))
    assert [world.reachable(number) for number in range(1, 5)] == ["yes"] * 4


def test_once_the_port_is_open_the_relays_are_let_go() -> None:
    world = ReachWorld()
    world.closed = {address(0)}
    world.meet()
    world.run(60 * S)
    world.closed.clear()
    world.run(600 * S)
    assert world.reachable(0) == "yes" and world.learned[-1] == (0, ())


def test_a_port_that_closes_later_is_noticed() -> None:
    world = ReachWorld()
    world.meet()
    world.run(60 * S)
    world.closed = {address(0)}
    world.run(3600 * S)
    assert world.reachable(0) == "no"


def test_one_liar_among_three_changes_nothing() -> None:
    world = ReachWorld(4)
    world.cannot = {(1, address(0))}
    world.meet()
    world.run(60 * S)
    view = world.reach(0).view(world.now_ns)
    assert view.reachable == "yes" and [one.peer for one in view.one_way()] == [peer(1)]


def test_in_a_network_of_two_one_word_is_enough() -> None:
    world = ReachWorld(2)
    world.closed = {address(0)}
    world.meet()
    world.run(60 * S)
    assert world.reachable(0) == "no" and world.reachable(1) == "yes"


def test_a_node_that_listens_nowhere_cannot_be_reached() -> None:
    world = ReachWorld()
    world.wish(0, MyAddresses(()))
    world.meet()
    world.run(60 * S)
    view = world.reach(0).view(world.now_ns)
    assert view.reachable == "no" and view.cause == "this node listens nowhere" and len(view.relays) == 2


def test_a_network_that_has_settled_is_seldom_asked() -> None:
    """A dial-back is a handshake at both ends; an hour of five nodes costs a few."""
    world = ReachWorld()
    world.meet()
    world.run(120 * S)
    before = len(world.dials)
    world.run(3600 * S)
    assert len(world.dials) - before <= 5 * 7


# who dials for others


def test_an_address_of_a_third_party_is_not_dialled() -> None:
    world = ReachWorld(2)
    world.meet()
    world.give(1, 0, question("tcp/10.9.9.9:80", "tcp/203.0.113.5:80", relay_address(peer(4)), "tcp/victim.example:80"))
    world.run(S)
    assert not dialled_for(world, 1) and world.nodes[1].sent["Failure"] == 1


def test_where_the_asker_comes_from_is_dialled_at_any_port() -> None:
    world = ReachWorld(2)
    world.meet()
    world.give(1, 0, question("tcp/10.0.0.1:9999"))
    world.run(S)
    assert dialled_for(world, 1) == ["tcp/10.0.0.1:9999"]


def test_a_record_can_name_a_victim_twice_a_minute_and_no_more_however_many_ask() -> None:
    """Forty false nodes state one victim's network; whoever asks, it is dialled twice, then once a minute."""
    world = ReachWorld(42)
    for number in range(1, 42):
        world.link(0, number, addresses=(address(number), address(0)))
        world.nodes[0].peers.book[peer(number)] = signed(number, (f"tcp/203.0.113.{number}:80",))
        world.give(0, number, question(f"tcp/203.0.113.{number}:80"), id=5)
        world.run(S)
    assert len([at for at in dialled_for(world, 0) if at.startswith("tcp/203.")]) <= 3


def test_who_is_met_outside_cannot_have_addresses_inside_dialled() -> None:
    world = ReachWorld(2)
    world.link(0, 1, addresses=("tcp/198.51.100.7:1", "tcp/198.51.100.8:1"))
    stated = ("tcp/127.0.0.1:8740", "tcp/10.0.0.1:22", "tcp/198.51.100.8:8741")
    world.nodes[1].peers.book[peer(0)] = signed(0, stated)
    world.give(1, 0, question(*stated))
    world.run(S)
    assert dialled_for(world, 1) == ["tcp/198.51.100.8:8741"]


def test_one_asker_is_served_three_times_and_then_told_to_wait() -> None:
    world = ReachWorld(2)
    world.meet()
    for number in range(10):
        world.give(1, 0, question(address(0)), id=number + 1)
        world.run(100 * MS)
    assert len(dialled_for(world, 1)) == 3 and world.nodes[1].sent["Failure"] == 7 and not world.nodes[1].blames


def test_an_unknown_end_of_a_dial_is_answered_in_time() -> None:
    """The core says how a dial went; if it never does, whoever asked still hears."""
    world = ReachWorld(2)
    world.silent = True
    world.meet()
    world.give(1, 0, question(address(0)), id=5)
    world.run(15 * S)
    assert world.nodes[1].sent["Response"] >= 1 and not world.reach(1)._serving


@pytest.mark.parametrize("body", [b"", b"\x80", cbor2.dumps([["x"] * 5]), cbor2.dumps([[1]]), bytes(5000)])
def test_questions_of_another_form_are_blamed(body: bytes) -> None:
    world = ReachWorld(2)
    world.meet()
    world.give(1, 0, m.Request(b"\x0adialback/1" + S.to_bytes(8, "big") + body), id=5)
    assert len(world.nodes[1].blames) == 1 and not world.dials


@pytest.mark.parametrize("reply", [cbor2.dumps([4, ""]), cbor2.dumps([-2, ""]), b"yes"])
def test_replies_of_another_form_are_blamed_and_count_nothing(reply: bytes) -> None:
    world = ReachWorld(2)
    part = world.nodes[1].parts[0]
    assert isinstance(part, Exchange)
    world.meet()
    part._later.clear()
    part.register("dialback/1", lambda who, body, now_ns: reply)
    world.run(20 * S)
    assert world.nodes[0].blames and world.reachable(0) == "unknown"


# past relays


def test_a_peer_met_through_a_relay_is_dialled_directly_soon_and_then_seldom() -> None:
    world = ReachWorld(2)
    world.link(0, 1, addresses=(relay_address(peer(4)), relay_address(peer(4))))
    world.run(2 * S)
    assert sorted(world.direct) == [(0, peer(1)), (1, peer(0))]
    world.run(3600 * S)
    assert len(world.direct) <= 2 * 9


def test_once_it_is_linked_directly_nothing_more_is_tried() -> None:
    world = ReachWorld(2)
    world.link(0, 1, addresses=(relay_address(peer(4)), relay_address(peer(4))))
    world.run(2 * S)
    for one, other in ((0, 1), (1, 0)):
        world.nodes[one].peers.links[peer(other)] = address(other)
    world.run(3600 * S)
    assert len(world.direct) == 2


def test_who_has_no_address_is_not_dialled() -> None:
    world = ReachWorld(2)
    world.nodes[0].peers.book[peer(1)] = signed(1, (relay_address(peer(4)),))
    world.link(0, 1, addresses=(relay_address(peer(4)), relay_address(peer(4))))
    world.run(700 * S)
    assert {who for who, _ in world.direct} == {1}
