"""Whom to dial, where and when: budgets that lies about addresses cannot break."""

from __future__ import annotations

from typing import Any

from tests.mesh.making import NOW_NS, Author, S, peer, rng

from qcommons.mesh.addresses import Scope, relay_address
from qcommons.mesh.dialler import UNDER_WAY_MAX, Dialler, Dialling
from qcommons.mesh.draws import Draws
from qcommons.mesh.own import Own
from qcommons.mesh.parts import TryAddress
from qcommons.mesh.peerbook import Entry, PeerBook
from qcommons.mesh.records import PeerId, PeerRecord, Signed

RELAY = peer(77)


class Case:
    def __init__(self) -> None:
        me = Author("me")
        self.own = Own(me.crypto, "0.1")
        self.own.set_addresses(("tcp/192.168.1.2:8741",))
        self.book = PeerBook(me.crypto, self.own, lambda p: False, lambda p: Scope.PUBLIC, lambda p, now_ns: False)
        self.dialler = Dialler(self.book, self.own, Draws(rng("dialler")))
        self.now_ns = NOW_NS

    def know(self, who: PeerId, *addresses: str, scope: Scope = Scope.PRIVATE) -> PeerId:
        record = PeerRecord(bytes(1952), 1, 1 << 33, addresses, "0.1", (), (), bytes(16), b"")
        self.book.entries[who] = Entry(Signed(who, record, b""), scope)
        return who

    def pump(self) -> list[tuple[PeerId | None, str]]:
        return [
            (self.dialler.under_way[number].peer, self.dialler.under_way[number].address)
            for number in self.dialler.pump(self.now_ns)
        ]

    def number(self, address: str) -> int:
        return next(number for number, dial in self.dialler.under_way.items() if dial.address == address)

    def fail(self, address: str, *, is_other: bool = False) -> None:
        assert self.dialler.failed(self.number(address), "refused", is_other, self.now_ns) is not None


def test_addresses_are_tried_in_order_where_it_was_met_first_relays_last() -> None:
    case = Case()
    who = case.know(peer(1), relay_address(RELAY), "tcp/10.0.0.1:1", "tcp/10.0.0.2:2")
    case.book.entries[who].proven = "tcp/10.0.0.2:2"
    assert case.dialler.ways(who) == ["tcp/10.0.0.2:2", "tcp/10.0.0.1:1", relay_address(RELAY)]
    assert case.dialler.want(who, case.now_ns)
    assert case.pump() == [(who, "tcp/10.0.0.2:2")]
    assert case.pump() == []
    case.fail("tcp/10.0.0.2:2")
    assert case.pump() == [(who, "tcp/10.0.0.1:1")]
    case.fail("tcp/10.0.0.1:1")
    assert case.pump() == [(who, relay_address(RELAY))]
    assert case.dialler.under_way[case.number(relay_address(RELAY))].via == RELAY


def test_an_address_where_another_node_is_is_not_dialled_again_for_that_one() -> None:
    """A liar names a victim's address as its own: each node meets the victim once, not with every try for ever."""
    case = Case()
    liar, victim = case.know(peer(1), "tcp/10.0.0.9:9"), case.know(peer(2), "tcp/10.0.0.9:9")
    assert case.dialler.want(liar, case.now_ns) and case.pump() == [(liar, "tcp/10.0.0.9:9")]
    case.fail("tcp/10.0.0.9:9", is_other=True)
    for _ in range(500):
        case.now_ns += S
        assert not case.dialler.want(liar, case.now_ns, is_lost=True) and case.pump() == []
    assert case.dialler.want(victim, case.now_ns) and case.pump() == [(victim, "tcp/10.0.0.9:9")]
    case.fail("tcp/10.0.0.9:9")
    case.now_ns += 101 * S
    assert case.dialler.want(liar, case.now_ns), "addresses change hands"


def test_an_address_that_does_not_answer_does_not_hold_up_the_next() -> None:
    """Behind a router a SYN is dropped without a word."""
    case = Case()
    who = case.know(peer(1), "tcp/10.0.0.1:1", relay_address(RELAY))
    case.dialler.want(who, case.now_ns)
    assert case.pump() == [(who, "tcp/10.0.0.1:1")]
    case.now_ns += S // 2
    assert case.pump() == [(who, relay_address(RELAY))]
    assert case.dialler.rivals(who, is_direct=True) == [
        case.number("tcp/10.0.0.1:1"),
        case.number(relay_address(RELAY)),
    ]
    assert case.dialler.rivals(who, is_direct=False) == [case.number(relay_address(RELAY))], "a direct one is better"


def test_hearsay_from_outside_makes_nobody_dial_inside() -> None:
    case = Case()
    who = case.know(peer(1), "tcp/192.168.1.1:80", "tcp/127.0.0.1:631", "tcp/93.184.216.34:1", scope=Scope.PUBLIC)
    assert case.dialler.ways(who) == ["tcp/93.184.216.34:1"]
    assert not case.dialler.want(case.know(peer(2), "tcp/192.168.1.1:80", scope=Scope.PUBLIC), case.now_ns)


def test_a_node_never_dials_itself_by_an_address_that_others_give_as_theirs() -> None:
    case = Case()
    assert not case.dialler.want(case.know(peer(1), "tcp/192.168.1.2:8741"), case.now_ns)


def test_eight_dials_at_most_and_four_for_the_lost() -> None:
    case = Case()
    for number in range(20):
        case.dialler.want(case.know(peer(number), f"tcp/10.0.{number}.1:1"), case.now_ns, is_lost=True)
    assert len(case.pump()) == 4
    for number in range(20, 40):
        case.dialler.want(case.know(peer(number), f"tcp/10.0.{number}.1:1"), case.now_ns)
    assert len(case.pump()) == UNDER_WAY_MAX - 4
    case.fail("tcp/10.0.0.1:1")
    assert len(case.pump()) == 1


def test_a_liars_many_names_at_a_victims_address_cost_the_victim_one_dial_a_second() -> None:
    case = Case()
    dialled = 0
    for number in range(300):
        who = case.know(peer(number), f"tcp/93.184.216.{number % 250}:{1 + number}", scope=Scope.PUBLIC)
        case.dialler.want(who, case.now_ns)
        for _, address in case.pump():
            dialled += 1
            case.fail(address)
        case.now_ns += S // 10
    assert 32 + 25 <= dialled <= 32 + 31


def test_a_proven_address_is_not_counted_against_its_prefix() -> None:
    case = Case()
    for number in range(100):
        address = f"tcp/93.184.216.{number}:1"
        who = case.know(peer(number), address)
        case.book.entries[who].proven = address
        case.dialler.want(who, case.now_ns)
        assert case.pump() == [(who, address)]
        case.fail(address)


def test_an_address_rests_longer_after_each_failure_up_to_half_a_minute() -> None:
    case = Case()
    who, address = peer(1), "tcp/127.0.0.1:1"
    case.know(who, address, scope=Scope.LOOPBACK)
    waits = []
    for _ in range(12):
        began_ns = case.now_ns
        while True:
            assert case.dialler.want(who, case.now_ns), "it may be dialled, later"
            if case.pump():
                break
            case.now_ns += S // 100
        waits.append((case.now_ns - began_ns) / S)
        case.fail(address)
    assert waits[0] == 0
    for place, wait in enumerate(waits[1:]):
        assert 0.75 * min(0.5 * 2**place, 32) - 0.02 <= wait <= 1.25 * min(0.5 * 2**place, 32) + 0.02


def test_a_success_forgets_the_failures() -> None:
    case = Case()
    who, address = case.know(peer(1), "tcp/10.0.0.1:1"), "tcp/10.0.0.1:1"
    for _ in range(3):
        case.dialler.want(who, case.now_ns)
        case.pump()
        case.fail(address)
        case.now_ns += 60 * S
    case.dialler.want(who, case.now_ns)
    case.pump()
    assert case.dialler.linked(case.number(address)) is not None
    case.dialler.want(who, case.now_ns)
    assert case.pump() == [(who, address)]


def test_a_lost_member_is_tried_whatever_failed_before() -> None:
    case = Case()
    who = case.know(peer(1), "tcp/10.0.0.1:1")
    for _ in range(5):
        case.dialler.want(who, case.now_ns, is_lost=True)
        assert case.pump() == [(who, "tcp/10.0.0.1:1")]
        case.fail("tcp/10.0.0.1:1")


def test_the_owners_word_goes_first_and_rests_for_nothing() -> None:
    case = Case()
    for number in range(UNDER_WAY_MAX + 2):
        case.dialler.want(case.know(peer(number), f"tcp/10.0.{number}.1:1"), case.now_ns)
    assert case.dialler.knock(Dialling(None, "tcp/node.example.org:8741", "ticket"))
    assert case.pump()[0] == (None, "tcp/node.example.org:8741")


def test_bootstraps_are_taken_in_turn_and_rest_like_others() -> None:
    case = Case()
    addresses = [f"tcp/10.0.0.{number}:1" for number in range(3)]
    for address in addresses:
        case.dialler.remember(address, None)
    seen = []
    for _ in range(3):
        case.dialler.try_bootstrap(case.now_ns)
        ((_, address),) = case.pump()
        seen.append(address)
        case.fail(address)
    assert sorted(seen) == addresses
    case.dialler.try_bootstrap(case.now_ns)
    assert case.pump() == []


def test_a_dial_that_takes_too_long_is_overdue_and_a_probe_when_it_says() -> None:
    case = Case()
    case.dialler.want(case.know(peer(1), "tcp/10.0.0.1:1"), case.now_ns)
    probe = TryAddress(peer(2), "tcp/10.0.0.2:1", case.now_ns + 2 * S)
    case.dialler.knock(Dialling(peer(2), "tcp/10.0.0.2:1", probe=probe))
    case.pump()
    assert case.dialler.overdue(case.now_ns + 2 * S) == [case.number("tcp/10.0.0.2:1")]
    assert len(case.dialler.overdue(case.now_ns + 6 * S)) == 2


def test_what_is_kept_is_bounded() -> None:
    case = Case()
    for number in range(2_000):
        address = f"tcp/10.{number >> 8}.{number & 255}.1:1"
        case.dialler.knock(Dialling(case.know(peer(number), address), address))
        case.dialler.remember(address, None)
        for _, dialled in case.pump():
            case.fail(dialled)
    sizes: Any = vars(case.dialler)
    assert max(len(value) for value in sizes.values() if hasattr(value, "__len__")) <= 1_024
