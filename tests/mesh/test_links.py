"""Connections of a pair: greeting, two at once, silence, idleness, and the last word."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from tests.mesh.making import NOW_NS, S, peer

from qcommons.mesh import links as k
from qcommons.mesh.addresses import Scope, relay_address
from qcommons.mesh.events import Hangup, Linked, Transmit
from qcommons.mesh.links import Conn, Down, Links, Up
from qcommons.mesh.messages import Beats, Bye, Cancel, Hello, Ping
from qcommons.mesh.records import PeerId

LOW, HIGH = PeerId(bytes(32)), PeerId(b"\xff" * 32)
DIRECT, RELAYED = "tcp/192.168.1.9:8741", relay_address(peer(3))


class Case:
    def __init__(self, me: PeerId = LOW) -> None:
        self.kept: set[PeerId] = set()
        self.links = Links(me, "test", self.kept.__contains__)
        self.now_ns = NOW_NS
        self.other = HIGH if me == LOW else LOW

    def linked(self, number: int, address: str = DIRECT, who: PeerId | None = None) -> list[Any]:
        event = Linked(number, who or self.other, b"key", address, number % 2 == 1)
        return self.links.linked(event, "", b"record", self.now_ns)

    def opened(self, number: int, address: str = DIRECT, who: PeerId | None = None) -> list[Any]:
        self.linked(number, address, who)
        return self.links.opened(self.links.conns[number], self.now_ns)

    def bye(self, number: int, code: str = "duplicate") -> list[Any]:
        return self.links.bye(self.links.conns[number], Bye(code, "text"), self.now_ns)

    def tick(self, seconds: float, awake_ns: int = 0) -> list[Any]:
        out: list[Any] = []
        until_ns = self.now_ns + round(seconds * S)
        while self.now_ns < until_ns:
            self.now_ns += S // 2
            out += self.links.tick(self.now_ns, awake_ns)
        return out

    @property
    def used(self) -> Conn:
        return self.links.best[self.other]


def ended(effects: list[Any]) -> list[int]:
    return [effect.conn for effect in effects if isinstance(effect, Hangup)]


def test_both_ends_say_hello_first() -> None:
    case = Case()
    assert case.linked(2) == [Transmit(2, 0, Hello("test", ("/qcommons/mesh/1.0",), b"record"))]
    assert case.links.best == {}, "nothing else before the peer's"
    (up,) = case.links.opened(case.links.conns[2], case.now_ns)
    assert isinstance(up, Up)


@pytest.mark.parametrize(
    ("network", "protocols", "code"),
    [
        ("test", ("/qcommons/mesh/1.0",), ""),
        ("test", ("/qcommons/mesh/2.0", "/qcommons/mesh/1.7"), ""),
        ("other", ("/qcommons/mesh/1.0",), "network"),
        ("test", ("/qcommons/mesh/2.0",), "version"),
        ("test", (), "version"),
    ],
)
def test_network_and_major_version_must_fit(network: str, protocols: tuple[str, ...], code: str) -> None:
    assert Case().links.refused(Hello(network, protocols, b""))[0] == code


def test_a_session_without_hello_ends_after_five_seconds() -> None:
    case = Case()
    case.linked(1)
    assert ended(case.tick(5)) == []
    assert ended(case.tick(1)) == [1]


@pytest.mark.parametrize(("order", "swapped"), list(itertools.product([(2, 1), (1, 2)], [False, True])))
def test_of_two_dials_at_once_both_ends_keep_the_one_of_the_lower_hash(order: tuple[int, int], swapped: bool) -> None:
    """Connection X is dialled by LOW, Y by HIGH; each end opens them in any order."""
    low, high = Case(LOW), Case(HIGH)
    for number in order:
        low.opened(number)  # 2 is its own dial, X
    for number in order if not swapped else order[::-1]:
        high.opened(number)  # 1 came in, X
    assert low.used.number == 2
    assert high.used.number == 1


def test_the_loser_is_closed_when_both_have_said_bye_and_what_comes_before_still_counts() -> None:
    case = Case(LOW)
    case.opened(1)
    (bye,) = case.opened(2)
    assert bye == Transmit(1, 0, Bye("duplicate", k.BYE_CODES["duplicate"]))
    assert case.links.conns[1].state == "draining"
    assert ended(case.bye(1)) == [1]
    assert case.used.number == 2
    assert case.links.unlinked(1, "closed") == [], "the peer is not down"


def test_a_bye_for_a_connection_whose_rival_is_still_to_come_ends_nothing_yet() -> None:
    case = Case(LOW)
    case.opened(1)
    case.linked(2)  # the peer has its Hello, and has judged
    assert case.bye(1) == []
    assert case.used.number == 1
    out = case.links.opened(case.links.conns[2], case.now_ns)
    assert ended(out) == [1]
    assert case.used.number == 2


def test_a_loser_that_hears_nothing_is_closed_after_five_seconds() -> None:
    case = Case(LOW)
    case.opened(1)
    case.opened(2)
    case.kept.add(case.other)
    assert ended(case.tick(5)) == []
    assert 1 in ended(case.tick(0.5))


def test_the_later_one_wins_where_one_node_dialled_both_or_the_first_is_old() -> None:
    case = Case(LOW)
    case.opened(1)
    case.opened(3)
    assert case.used.number == 3, "its other end has lost the first"
    case = Case(LOW)
    case.opened(2)
    case.now_ns += 11 * S
    case.opened(1)
    assert case.used.number == 1, "nobody dials who has a link"


@pytest.mark.parametrize("order", [(DIRECT, RELAYED), (RELAYED, DIRECT)])
def test_a_direct_link_replaces_a_relayed_one_and_never_the_other_way(order: tuple[str, str]) -> None:
    case = Case(LOW)
    case.opened(2, order[0])
    case.opened(4, order[1])
    assert case.used.is_direct
    assert case.used.scope == Scope.PRIVATE


def test_down_is_said_once_and_only_for_the_link_in_use() -> None:
    case = Case(LOW)
    case.opened(2)
    conn = case.used
    assert case.links.end(conn, "idle", "", case.now_ns) == [
        Transmit(2, 0, Bye("idle", k.BYE_CODES["idle"])),
        Hangup(2, k.BYE_CODES["idle"]),
        Down(case.other, k.BYE_CODES["idle"]),
    ]
    assert case.links.unlinked(2, "closed") == []
    assert case.links.conns == {}


def test_silence_is_pinged_after_three_seconds_and_dead_after_six() -> None:
    case = Case(LOW)
    case.opened(2)
    case.kept.add(case.other)
    case.links.ping(case.used, case.now_ns)
    assert case.tick(3) == []
    assert [type(effect.message) for effect in case.tick(1)] == [Ping]
    assert ended(case.tick(2)) == []
    out = case.tick(0.5)
    assert ended(out) == [2]
    assert isinstance(out[-1], Down)


def test_a_pong_tells_the_round_trip_and_only_its_own_ping() -> None:
    case = Case(LOW)
    case.opened(2)
    ping = case.links.ping(case.used, case.now_ns)
    case.links.pong(case.used, ping.id + 1, case.now_ns + 5)
    assert case.used.round_trip_ns == 0
    case.links.pong(case.used, ping.id, case.now_ns + 7_000_000)
    case.links.pong(case.used, ping.id, case.now_ns + 9_000_000)
    assert case.used.round_trip_ns == 7_000_000


def test_a_frozen_node_does_not_take_its_own_silence_for_the_peers() -> None:
    case = Case(LOW)
    case.opened(2)
    case.kept.add(case.other)
    case.now_ns += 60 * S
    assert ended(case.links.tick(case.now_ns, case.now_ns)) == []
    assert ended(case.tick(6.5, awake_ns=case.now_ns)) == [2]


def test_a_link_without_use_closes_after_a_minute_unless_it_is_a_neighbours() -> None:
    for is_kept in (False, True):
        case = Case(LOW)
        case.opened(2)
        if is_kept:
            case.kept.add(case.other)
        closed_at = None
        for half in range(200):
            case.links.heard(case.used, Beats((), False), 10, case.now_ns)
            case.links.send(case.used, 0, Ping(), case.now_ns)
            if ended(case.tick(0.5)):
                closed_at = half / 2
                break
        assert closed_at == (None if is_kept else 60.0)


def test_use_keeps_a_link() -> None:
    case = Case(LOW)
    case.opened(2)
    for _ in range(30):
        case.links.heard(case.used, Cancel(), 10, case.now_ns)
        assert ended(case.tick(5)) == []


def test_where_there_are_many_links_idle_strangers_leave_sooner() -> None:
    case = Case(LOW)
    for number in range(k.CROWDED + 1):
        case.opened(2 * number + 2, who=peer(number))
    case.tick(5)
    assert len(ended(case.tick(0.5))) >= 1


def test_a_last_word_is_shown_safely() -> None:
    case = Case(LOW)
    case.opened(2)
    out = case.links.bye(case.used, Bye("\x1b[2Jodd", "a\x1b]0;title\x07b"), case.now_ns)
    assert out[0].facts["code"] == "unknown"
    assert out[0].facts["text"] == r"a\x1b]0;title\x07b"
    assert ended(out) == [2]


def test_a_node_back_from_a_power_cut_keeps_its_fresh_link() -> None:
    """LOW dialled HIGH, whose power failed; 4 s later HIGH dials LOW. By the rule of two dials at once LOW keeps its
    own connection, which leads nowhere; HIGH has no other than the one that lost, and says so."""
    low, high = Case(LOW), Case(HIGH)
    low.opened(2)
    low.now_ns += 4 * S
    (bye,) = low.opened(3)
    assert bye == Transmit(3, 0, Bye("duplicate", k.BYE_CODES["duplicate"])) and low.used.number == 2
    high.opened(4)
    (answer,) = high.bye(4)
    assert answer == Transmit(4, 0, Bye("only", k.BYE_CODES["only"])) and high.used.number == 4
    out = low.bye(3, "only")
    assert [type(effect) for effect in out] == [Hangup, Down, Up] and ended(out) == [2]
    assert low.used.number == 3 and low.used.state == "open"
    low.kept.add(low.other)
    assert ended(low.tick(5.5)) == [], "what was draining is no longer"


def test_only_a_connection_that_lost_here_is_restored() -> None:
    case = Case(LOW)
    case.opened(2)
    assert case.bye(2, "only") == [] and case.used.number == 2


def test_a_loser_is_restored_also_where_the_winner_has_ended_meanwhile() -> None:
    case = Case(LOW)
    case.opened(2)
    case.opened(1)
    case.links.unlinked(2, "reset")
    (up,) = case.bye(1, "only")
    assert isinstance(up, Up) and case.used.number == 1


def test_a_message_that_comes_slowly_is_a_sign_of_life() -> None:
    """256 KiB at 20 KB/s take 13 s, and nothing else passes meanwhile."""
    case = Case(LOW)
    case.opened(2)
    case.kept.add(case.other)
    for _ in range(13):
        assert ended(case.tick(1)) == []
        case.links.moved(2, case.now_ns)
    assert ended(case.tick(6.5)) == [2]
    case.links.moved(99, case.now_ns)  # of a connection that has ended


def test_what_a_stranger_speaks_is_shown_without_what_a_terminal_obeys() -> None:
    _, text = Case().links.refused(Hello("test", ("\x1b[2J\nfine",), b""))
    assert "\x1b" not in text and "\n" not in text and "\\x1b" in text
