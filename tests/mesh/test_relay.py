"""Relay: a node that cannot be dialled is called through another, which sees bytes only and keeps within its bounds."""

from __future__ import annotations

from typing import Any

import pytest
from tests.mesh.parts_world import MS, T0, Node, PartsWorld, S, peer, signed

from qcommons.base.seeds import stream
from qcommons.mesh import messages as m
from qcommons.mesh.addresses import relay_address
from qcommons.mesh.circuit_ends import PIECE_BYTES, QUEUE_BYTES_MAX, WINDOW_BYTES
from qcommons.mesh.events import RelayIn, RelayOut
from qcommons.mesh.exchange import Exchange
from qcommons.mesh.forwarding import CIRCUIT_BYTES, IDLE_NS, OPENER_MAX, OPENINGS, WAITING_MAX
from qcommons.mesh.guard import RATES
from qcommons.mesh.parts import AddressesLearned, PartBase
from qcommons.mesh.relay import PLACES_MAX, Relay

HIDDEN, RELAY, CALLER, OTHER_RELAY, SECOND_CALLER = range(5)


class RelayWorld(PartsWorld):
    """ins: what the drivers of each node are told of their circuits."""

    def __init__(self, count: int = 5, serves: bool = True) -> None:
        self.ins: list[list[RelayIn]] = [[] for _ in range(count)]
        self.learned: list[list[tuple[str, ...]]] = [[] for _ in range(count)]
        self.serves = serves
        super().__init__(count, make)
        self.take = self._take
        for node in self.nodes:
            for other in range(count):
                # what a record states: the hidden one listens too, and does not know that nobody gets there
                node.peers.book[peer(other)] = signed(other, (f"tcp/10.0.0.{other}:1",))

    def _take(self, node: Node, effect: Any) -> bool:
        match effect:
            case RelayIn():
                self.ins[node.number].append(effect)
            case AddressesLearned(addresses):
                self.learned[node.number].append(addresses)
            case _:
                return False
        return True

    def relay(self, number: int) -> Relay:
        part = self.nodes[number].parts[1]
        assert isinstance(part, Relay)
        return part

    def open(self, caller: int, relay: int, target: int) -> int:
        circuit, effects = self.relay(caller).open(peer(relay), peer(target), self.now_ns)
        self.carry_out(self.nodes[caller], effects)
        return circuit

    def data(self, number: int) -> bytes:
        return b"".join(one.data for one in self.ins[number])

    def closed(self, number: int) -> list[str]:
        return [one.closed for one in self.ins[number] if one.closed is not None]


def make(world: PartsWorld, node: Node) -> list[PartBase]:
    assert isinstance(world, RelayWorld)
    exchange = Exchange(node.peers)
    return [exchange, Relay(node.peers, exchange, stream(1, "relay", node.number), world.serves)]


def placed(**settings: Any) -> RelayWorld:
    """A hidden node with a place at the relay, and a caller linked to the relay."""
    world = RelayWorld(**settings)
    world.link(HIDDEN, RELAY)
    world.link(CALLER, RELAY)
    world.carry_out(world.nodes[HIDDEN], world.relay(HIDDEN).want(True, world.now_ns))
    world.run(100 * MS)
    return world


def called() -> tuple[RelayWorld, int, int]:
    """A circuit that stands: its number at the caller and at the hidden node."""
    world = placed()
    circuit = world.open(CALLER, RELAY, HIDDEN)
    world.run(100 * MS)
    (opened,) = world.ins[HIDDEN]
    assert opened == RelayIn(opened.circuit, b"", opened_by=peer(CALLER), via=peer(RELAY))
    return world, circuit, opened.circuit


# places


def test_a_place_at_a_relay_becomes_an_address() -> None:
    world = placed()
    assert world.learned[HIDDEN] == [(relay_address(peer(RELAY)),)] and world.relay(RELAY).given() == (peer(HIDDEN),)


def test_places_are_renewed_as_long_as_they_are_wanted_and_no_longer() -> None:
    world = placed()
    world.run(600 * S)
    assert world.relay(HIDDEN).relays() == (peer(RELAY),) and len(world.learned[HIDDEN]) == 1
    world.carry_out(world.nodes[HIDDEN], world.relay(HIDDEN).want(False, world.now_ns))
    world.run(S)
    assert world.learned[HIDDEN][-1] == () and world.relay(RELAY).given() == ()


def test_two_relays_are_held_and_a_lost_one_is_replaced_at_once() -> None:
    world = placed()
    world.link(HIDDEN, OTHER_RELAY)
    world.run(S)
    assert set(world.relay(HIDDEN).relays()) == {peer(RELAY), peer(OTHER_RELAY)}
    world.link(HIDDEN, SECOND_CALLER)
    world.unlink(HIDDEN, RELAY)
    world.run(100 * MS)
    assert set(world.relay(HIDDEN).relays()) == {peer(OTHER_RELAY), peer(SECOND_CALLER)}
    assert set(world.learned[HIDDEN][-1]) == {relay_address(peer(OTHER_RELAY)), relay_address(peer(SECOND_CALLER))}


def test_who_relays_for_nobody_says_so_and_is_not_held() -> None:
    world = placed(serves=False)
    world.run(60 * S)
    assert world.relay(HIDDEN).relays() == () and not world.learned[HIDDEN]


def test_no_place_is_asked_of_who_is_reached_through_relays_itself() -> None:
    world = RelayWorld()
    world.nodes[HIDDEN].peers.book[peer(RELAY)] = signed(RELAY, ("tcp/10.0.0.1:1", relay_address(peer(OTHER_RELAY))))
    world.link(HIDDEN, RELAY)
    world.carry_out(world.nodes[HIDDEN], world.relay(HIDDEN).want(True, world.now_ns))
    world.run(60 * S)
    assert not world.relay(HIDDEN).relays() and not world.nodes[HIDDEN].sent["Request"]


def test_places_are_bounded_and_end_by_themselves() -> None:
    world = RelayWorld(PLACES_MAX + 3)
    for number in range(1, PLACES_MAX + 3):
        world.link(0, number)
        world.give(0, number, m.Request(b"\x07relay/1" + S.to_bytes(8, "big") + b"\x01"), id=7)
    assert len(world.relay(0).given()) == PLACES_MAX
    world.run(121 * S)
    world.give(0, PLACES_MAX + 2, m.Request(b"\x07relay/1" + S.to_bytes(8, "big") + b"\x01"), id=8)
    assert world.relay(0).given() == (peer(PLACES_MAX + 2),)


# circuits


def test_bytes_go_both_ways_in_order_and_whole() -> None:
    world, circuit, number = called()
    there, back = stream(1, "there").bytes(700_000), stream(1, "back").bytes(300_000)
    world.wish(CALLER, RelayOut(circuit, there))
    world.wish(HIDDEN, RelayOut(number, back))
    world.run(5 * S)
    assert world.data(HIDDEN) == there and world.data(CALLER) == back
    assert not any(node.blames for node in world.nodes)


def test_a_session_may_begin_before_the_circuit_stands() -> None:
    world = placed()
    circuit = world.open(CALLER, RELAY, HIDDEN)
    world.wish(CALLER, RelayOut(circuit, b"client hello"))
    world.run(100 * MS)
    assert world.data(HIDDEN) == b"client hello"


def test_the_relay_never_holds_more_than_a_window_and_passes_no_faster_than_its_rate() -> None:
    world, circuit, _ = called()
    world.wish(CALLER, RelayOut(circuit, bytes(4 << 20)))
    begun_ns = world.now_ns
    while len(world.data(HIDDEN)) < 4 << 20:
        world.run(50 * MS)
        (passing,) = world.relay(RELAY)._forwarding._circuits.values()
        assert all(side.came_bytes - side.credited_bytes <= WINDOW_BYTES for side in passing.sides)
    seconds = (world.now_ns - begun_ns) / S
    least = ((4 << 20) - CIRCUIT_BYTES.burst) / CIRCUIT_BYTES.per_s
    assert least <= seconds <= 1.2 * least + 0.1


def test_a_driver_is_told_to_hold_back_and_to_go_on() -> None:
    world, circuit, _ = called()
    world.wish(CALLER, RelayOut(circuit, bytes(1 << 20)))
    world.run(10 * S)
    backlogs = [one.backlog_bytes for one in world.ins[CALLER] if one.backlog_bytes is not None]
    assert len(backlogs) == 2 and backlogs[0] > 256 << 10 >= 64 << 10 >= backlogs[1]


def test_who_does_not_hold_back_loses_the_circuit_and_not_the_memory() -> None:
    world, circuit, _ = called()
    for _ in range(8):
        world.wish(CALLER, RelayOut(circuit, bytes(QUEUE_BYTES_MAX // 4)))
    assert len(world.closed(CALLER)) == 1
    world.run(S)
    assert len(world.closed(HIDDEN)) == 1


def test_last_words_arrive_before_the_end() -> None:
    world, circuit, _ = called()
    world.wish(CALLER, RelayOut(circuit, bytes(500_000) + b"bye", closed="done"))
    world.run(5 * S)
    assert world.data(HIDDEN).endswith(b"bye") and world.closed(HIDDEN) == ["circuit closed: done"]
    assert not world.closed(CALLER)  # it said so itself
    for number in (CALLER, RELAY, HIDDEN):
        part = world.relay(number)
        assert not part._ends._ends and not part._ends._by_frame and not part._forwarding._by_frame


@pytest.mark.parametrize("lost", [(CALLER, RELAY), (HIDDEN, RELAY)])
def test_a_lost_link_ends_the_circuit_at_both_ends(lost: tuple[int, int]) -> None:
    world, _, _ = called()
    world.unlink(*lost)
    world.run(S)
    assert len(world.closed(CALLER)) == len(world.closed(HIDDEN)) == 1
    assert not world.relay(RELAY)._forwarding._circuits


def test_a_silent_circuit_is_closed() -> None:
    world, circuit, _ = called()
    world.run(IDLE_NS - S)
    world.wish(CALLER, RelayOut(circuit, b"."))
    world.run(IDLE_NS - S)
    assert not world.closed(CALLER)
    world.run(3 * S)
    assert len(world.closed(CALLER)) == len(world.closed(HIDDEN)) == 1


def test_without_a_place_nobody_is_called() -> None:
    world = RelayWorld()
    world.link(HIDDEN, RELAY)
    world.link(CALLER, RELAY)
    world.open(CALLER, RELAY, HIDDEN)
    world.run(S)
    assert len(world.closed(CALLER)) == 1 and not world.ins[HIDDEN]


def test_a_relay_that_cannot_be_dialled_closes_the_circuit_at_its_beginning() -> None:
    world = RelayWorld()
    world.open(CALLER, RELAY, HIDDEN)
    world.run(S)
    (why,) = world.closed(CALLER)
    assert "nobody answers" in why


def test_a_relay_that_never_answers_is_given_up() -> None:
    world = placed()
    world.unlink(HIDDEN, RELAY)
    world.loss = 1.0
    world.open(CALLER, RELAY, HIDDEN)
    world.run(11 * S)
    assert world.closed(CALLER) == ["the circuit did not open in time"]


def test_no_relay_over_relay() -> None:
    world = placed()
    world.nodes[RELAY].peers.links[peer(CALLER)] = relay_address(peer(OTHER_RELAY))
    world.open(CALLER, RELAY, HIDDEN)
    world.run(S)
    (why,) = world.closed(CALLER)
    assert "directly" in why and not world.ins[HIDDEN]


# peers that follow no rules


def test_one_caller_gets_so_many_circuits_and_others_still_get_theirs() -> None:
    world = placed()
    world.link(SECOND_CALLER, RELAY)
    for _ in range(30):
        world.open(CALLER, RELAY, HIDDEN)
    world.open(SECOND_CALLER, RELAY, HIDDEN)
    world.run(S)
    callers = [one.opened_by for one in world.ins[HIDDEN]]
    assert callers.count(peer(CALLER)) == OPENER_MAX and callers.count(peer(SECOND_CALLER)) == 1


def test_an_end_that_sends_beyond_its_credit_is_blamed_and_cut() -> None:
    world, _, _ = called()
    (frame,) = world.relay(CALLER)._ends._by_frame
    for _ in range(WINDOW_BYTES // PIECE_BYTES + 1):
        world.give(RELAY, CALLER, m.RelayData(bytes(PIECE_BYTES)), id=frame[1])
    assert [blame.peer for blame in world.nodes[RELAY].blames] == [peer(CALLER)]
    assert not world.relay(RELAY)._forwarding._circuits


def test_callers_cannot_make_the_relay_a_flooder_of_its_target() -> None:
    """Circuits opened and closed all the time, pieces of one byte, credit byte by byte: below the target's guard."""
    world = placed()
    for _ in range(40):
        opened = world.nodes[RELAY].sent["RelayOpen"]
        world.open(CALLER, RELAY, HIDDEN)
        world.run(25 * MS)
        for _, id in list(world.relay(CALLER)._ends._by_frame):
            world.give(RELAY, CALLER, m.RelayClose("again"), id=id)
    assert 10 <= opened <= OPENINGS.burst + OPENINGS.per_s + 1 <= RATES[m.RelayOpen].burst
    world, _, back = called()
    (frame,) = world.relay(CALLER)._ends._by_frame
    before = world.nodes[RELAY].sent["RelayData"]
    for _ in range(4_000):
        world.give(RELAY, CALLER, m.RelayData(b"x"), id=frame[1])
    world.run(S)
    passed = world.nodes[RELAY].sent["RelayData"] - before
    assert passed <= 128 + 512 + 1 and 8 * passed <= RATES[m.RelayData].per_s, "eight circuits may end at one target"
    world.run(10 * S)
    assert len(world.data(HIDDEN)) == 4_000, "late, but whole"
    world.wish(HIDDEN, RelayOut(back, bytes(100_000)))
    before = world.nodes[RELAY].sent["RelayCredit"]
    world.run(100 * MS)
    for taken in range(1, 60_000, 10):
        world.give(RELAY, CALLER, m.RelayCredit(taken), id=frame[1])
    assert world.nodes[RELAY].sent["RelayCredit"] - before <= 6
    assert not any(node.blames for node in world.nodes)


def test_pieces_without_number_end_the_circuit_and_not_the_memory() -> None:
    world, _, _ = called()
    (frame,) = world.relay(CALLER)._ends._by_frame
    for _ in range(WAITING_MAX + 1_000):
        world.give(RELAY, CALLER, m.RelayData(b"x"), id=frame[1])
    assert not world.relay(RELAY)._forwarding._circuits and not world.nodes[RELAY].blames


@pytest.mark.parametrize("taken", [0, -1])
def test_credit_that_says_nothing_is_blamed(taken: int) -> None:
    world, _, _ = called()
    (frame,) = world.relay(CALLER)._ends._by_frame
    world.give(RELAY, CALLER, m.RelayCredit(taken), id=frame[1])
    world.give(CALLER, RELAY, m.RelayCredit(taken), id=frame[1])
    assert len(world.nodes[RELAY].blames) == len(world.nodes[CALLER].blames) == 1


def test_a_callers_frame_id_from_the_relays_half_is_refused() -> None:
    """Else a caller could name a circuit that the relay itself opened on that link."""
    world = placed()
    wrong_half = 2 * T0 + (peer(CALLER) < peer(RELAY))
    world.give(RELAY, CALLER, m.RelayOpen(peer(HIDDEN)), id=wrong_half)
    world.run(S)
    assert not world.ins[HIDDEN] and not world.relay(RELAY)._forwarding._circuits


def test_credit_for_more_than_was_sent_opens_no_wider_window() -> None:
    """A target that claims to have taken everything for ever does not make the relay hold more for it."""
    world, circuit, _ = called()
    (frame,) = world.relay(HIDDEN)._ends._by_frame
    world.give(RELAY, HIDDEN, m.RelayCredit(1 << 60), id=frame[1])
    world.unlink(HIDDEN, OTHER_RELAY)
    world.loss = 1.0  # from here on no honest credit comes back
    world.wish(CALLER, RelayOut(circuit, bytes(1 << 20)))
    world.run(S)
    assert world.nodes[CALLER].sent["RelayData"] <= WINDOW_BYTES // PIECE_BYTES


def test_credits_that_are_repeated_or_overtaken_harm_nobody() -> None:
    world, circuit, _ = called()
    honest = world._transmit

    def bad_line(node: Node, to: Any, id: int, message: m.Message, dial: bool) -> None:
        """Credits come three times, and late ones again."""
        honest(node, to, id, message, dial)
        if isinstance(message, m.RelayCredit):
            honest(node, to, id, message, dial)
            world.later(world.now_ns + 50 * MS, lambda: honest(node, to, id, message, dial))

    world._transmit = bad_line  # type: ignore[method-assign]
    data = stream(1, "bad line").bytes(2 << 20)
    world.wish(CALLER, RelayOut(circuit, data))
    world.run(10 * S)
    assert world.data(HIDDEN) == data and not any(node.blames for node in world.nodes)


@pytest.mark.parametrize("message", [m.RelayData(b"x"), m.RelayCredit(5), m.RelayOpened(), m.RelayClose("x")])
def test_messages_of_no_circuit_change_nothing(message: m.Message) -> None:
    world = placed()
    world.give(RELAY, CALLER, message, id=99)
    world.give(HIDDEN, RELAY, message, id=99)
    world.run(S)
    assert not world.ins[HIDDEN] and not world.ins[CALLER]


def test_a_call_to_a_peer_of_no_length_is_blamed() -> None:
    world = placed()
    world.give(RELAY, CALLER, m.RelayOpen(b"short"), id=4)
    assert len(world.nodes[RELAY].blames) == 1
