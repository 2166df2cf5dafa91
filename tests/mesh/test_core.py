"""The router (core, arrivals, wishes, views, outbox): order of effects, greetings, bans, the part of each message."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any
from unittest.mock import ANY

import msgspec
import pytest
from tests.mesh.making import NOW_NS, NOW_S, Author, S, peer, rng
from tests.playbook import at, play

from qcommons.base.effects import Note, Send, Store, WakeAt, Woken
from qcommons.mesh import events as e
from qcommons.mesh import messages as m
from qcommons.mesh.core import MeshCore
from qcommons.mesh.parts import Blame, Effects, PartBase, Peers, ToPeer
from qcommons.mesh.records import PeerId

HERE, THERE = "tcp/10.0.0.1:8741", "tcp/10.0.0.2:8741"
PROTOCOLS = ("/qcommons/mesh/1.0",)


class Parrot(PartBase):
    """Takes requests and says what a test tells it to."""

    NAME = "parrot"
    KINDS = (m.Request,)

    def __init__(self, peers: Peers) -> None:
        self.peers = peers
        self.says: Effects = []
        self.heard: list[Any] = []

    def wishes(self) -> Any:
        return {e.Publish: lambda event, now_ns: self._said()}

    def came(self, peer: PeerId, id: int, message: m.Message, now_ns: int) -> Effects:
        self.heard.append(("came", peer, id))
        return self._said()

    def up(self, peer: PeerId, now_ns: int) -> Effects:
        self.heard.append(("up", peer))
        return []

    def down(self, peer: PeerId, reason: str, now_ns: int) -> Effects:
        self.heard.append(("down", peer, reason))
        return []

    def neighbour(self, peer: PeerId, is_one: bool, now_ns: int) -> Effects:
        self.heard.append(("neighbour", peer, is_one))
        return []

    def unsent(self, peer: PeerId, id: int, message: m.Message, reason: str, now_ns: int) -> Effects:
        self.heard.append(("unsent", peer, id, reason))
        return []

    def woken(self, token: Hashable, now_ns: int) -> Effects:
        self.heard.append(("woken", token))
        return []

    def _said(self) -> Effects:
        said, self.says = self.says, []
        return said


class Case:
    def __init__(self, name: str = "me") -> None:
        self.author = Author(name)
        self.parrot: Any = None

        def make(peers: Peers, rng: Any, crypto: e.Crypto) -> list[PartBase]:
            self.parrot = Parrot(peers)
            return [self.parrot]

        self.core = MeshCore(self.author.crypto, "test", "0.1", rng("core"), make_parts=make)
        self.play = play(self.core, NOW_NS) >> e.Begin(()) << WakeAt(ANY, ("core", "tick"))

    def linked(self, other: Author, number: int = 1, address: str = THERE) -> Case:
        """A session in which the other's Hello has come; what is said at its begin is not of interest."""
        if other.signed is None:
            other.record(addresses=(THERE,))
        assert other.signed is not None
        self.tell(e.Linked(number, other.peer, other.crypto.public_key, address, number % 2 == 1))
        self.tell(e.Came(number, 0, m.Hello("test", PROTOCOLS, other.signed.raw), 9_000))
        return self

    def tell(self, event: Any, after_s: float = 0) -> list[Any]:
        self.play.now_ns += round(after_s * S)
        return self.core.handle(event, self.play.now_ns)

    def ticks(self, seconds: float) -> list[Any]:
        out: list[Any] = []
        for _ in range(round(seconds * 2)):
            out += self.tell(Woken(("core", "tick")), 0.5)
        return out


def a_record_with_the_key_of(author: Author) -> e.Linked:
    return e.Linked(1, author.peer, author.crypto.public_key, THERE, True)


def transmitted(effects: list[Any], kind: type) -> list[Any]:
    return [effect for effect in effects if isinstance(effect, e.Transmit) and isinstance(effect.message, kind)]


def answers(effects: list[Any], ticket: str) -> list[Any]:
    return [effect.message for effect in effects if isinstance(effect, Send) and effect.to == ticket]


def test_a_session_begins_with_both_hellos_and_the_own_record_is_stored_before_it_is_shown() -> None:
    case, a = Case(), Author("a")
    signed = a.record()
    assert (
        case.play
        >> e.Linked(1, a.peer, a.crypto.public_key, THERE, True)
        << Store("mesh/self", ANY) << WakeAt(ANY, ("membership", "push"))
        << e.Transmit(1, 0, m.Hello("test", PROTOCOLS, ANY))
        >> e.Came(1, 0, m.Hello("test", PROTOCOLS, signed.raw), 9_000)
        << Store("peer/" + a.peer.hex(), signed.raw)
        << Store("scope/" + a.peer.hex(), b"\x01")
        << Send("mesh", e.News(a.peer, "known", "its record came", signed.record))
        << Send("mesh", e.News(a.peer, "linked", f"came in from {THERE}", signed.record))
        << Send("mesh", e.News(a.peer, "alive", "linked", signed.record))
        << e.Transmit(1, 0, m.Beats(ANY, True)) << e.Transmit(1, 0, m.Join(ANY, 5))
        << e.Transmit(1, 0, m.Neighbour(True))
    )  # fmt: skip
    assert case.parrot.heard == [("up", a.peer)]


@pytest.mark.parametrize(
    ("hello", "code"),
    [
        (m.Hello("elsewhere", PROTOCOLS, b""), "network"),
        (m.Hello("test", ("/qcommons/mesh/9.0",), b""), "version"),
        (m.Hello("test", PROTOCOLS, b"noise"), "record"),
        (m.Hello("test", PROTOCOLS, Author("b").record().raw), "record"),
        (m.Hello("test", PROTOCOLS, Author("a").record(expires_s=NOW_S).raw), "record"),
        (m.Hello("test", PROTOCOLS, Author("a").record(seq=(NOW_S + 3600) * 1000).raw), "record"),
    ],
)
def test_a_hello_that_does_not_fit_is_answered_with_the_reason(hello: m.Hello, code: str) -> None:
    case, a = Case(), Author("a")
    case.tell(a_record_with_the_key_of(a))
    out = case.tell(e.Came(1, 0, hello, 9_000))
    assert [effect.message.code for effect in transmitted(out, m.Bye)] == [code]
    assert isinstance(out[-1], e.Hangup)
    assert any(isinstance(effect, Note) and effect.name == "mesh_refused" for effect in out)
    assert case.parrot.heard == []


def test_nothing_reaches_a_part_before_the_hello() -> None:
    case, a = Case(), Author("a")
    case.tell(a_record_with_the_key_of(a))
    (dropped,) = case.tell(e.Came(1, 5, m.Request(b""), 10))
    assert dropped.facts["why"] == "came before the Hello"
    assert case.parrot.heard == []


def test_a_message_goes_to_its_part_and_its_answer_to_the_link() -> None:
    case, a = Case(), Author("a")
    case.linked(a)
    case.parrot.says = [Store("x", b"1"), ToPeer(a.peer, m.Response(b"yes"), 5), Note("said")]
    out = case.tell(e.Came(1, 5, m.Request(b"?"), 10))
    assert out == [Store("x", b"1"), e.Transmit(1, 5, m.Response(b"yes")), Note("said")], "in order"
    assert case.parrot.heard[-1] == ("came", a.peer, 5)


def test_a_message_of_a_kind_that_no_part_takes_ends_nothing() -> None:
    case, a = Case(), Author("a")
    case.linked(a)
    (dropped,) = case.tell(e.Came(1, 5, m.Chunk(b"...."), 10))
    assert dropped.facts["why"] == "no part takes it"


def test_what_is_said_to_nobody_is_dropped_unless_it_may_dial() -> None:
    case, a = Case(), Author("a")
    case.linked(a)
    case.parrot.says = [ToPeer(peer(5), m.Response(b"x"))]
    assert case.tell(e.Came(1, 5, m.Request(b"?"), 10)) == []
    case.parrot.says = [ToPeer(peer(5), m.Request(b"x"), 7, dial=True, until_ns=NOW_NS + 5 * S)]
    assert case.tell(e.Came(1, 6, m.Request(b"?"), 10)) == []
    assert case.parrot.heard[-1] == ("unsent", peer(5), 7, "no address of it is known that may be dialled")


def test_a_message_waits_for_the_link_that_is_dialled_for_it() -> None:
    case, a, b = Case(), Author("a"), Author("b")
    case.linked(a)
    signed = b.record(addresses=("tcp/10.0.0.3:1",))
    case.tell(e.Came(1, 0, m.Records((signed.raw,)), 6_000))
    case.parrot.says = [ToPeer(b.peer, m.Request(bytes([n])), n, dial=True, until_ns=NOW_NS + 9 * S) for n in range(3)]
    out = case.tell(e.Came(1, 5, m.Request(b"?"), 10))
    dial = out[-1]
    assert dial == e.Dial(dial.conn, "tcp/10.0.0.3:1", b.peer, is_needed=True), "something waits for it"
    assert dial.conn % 2 == 0
    case.tell(e.Linked(dial.conn, b.peer, b.crypto.public_key, "tcp/10.0.0.3:1", False))
    out = case.tell(e.Came(dial.conn, 0, m.Hello("test", PROTOCOLS, signed.raw), 9_000))
    assert [(effect.conn, effect.id) for effect in transmitted(out, m.Request)] == [(dial.conn, n) for n in range(3)]


def test_what_cannot_be_sent_in_time_goes_back_to_its_part() -> None:
    case, a, b = Case(), Author("a"), Author("b")
    case.linked(a)
    case.tell(e.Came(1, 0, m.Records((b.record(addresses=("tcp/10.0.0.3:1",)).raw,)), 6_000))
    case.parrot.says = [ToPeer(b.peer, m.Request(b"x"), 7, dial=True, until_ns=NOW_NS + 2 * S)]
    dial = case.tell(e.Came(1, 5, m.Request(b"?"), 10))[-1]
    case.tell(e.DialFailed(dial.conn, "refused"))
    case.ticks(2)
    assert ("unsent", b.peer, 7, "no link came about in time") in case.parrot.heard


def test_a_flood_is_dropped_noted_and_ends_in_a_ban() -> None:
    case, a = Case(), Author("a")
    case.linked(a)
    out: list[Any] = []
    for _ in range(2_000):
        out += case.tell(e.Came(1, 0, m.Ping(), 20))
    drops = [effect for effect in out if isinstance(effect, Note) and effect.name == "mesh_dropped"]
    assert len(drops) == 1
    assert drops[0].facts["peer"] == a.peer.hex()
    assert [effect.message.code for effect in transmitted(out, m.Bye)] == ["banned"]
    assert case.parrot.heard[-1][0] == "down"
    out = case.tell(e.Linked(3, a.peer, a.crypto.public_key, THERE, True))
    assert [effect.message.code for effect in transmitted(out, m.Bye)] == ["banned"], "nor does it come in again"
    assert isinstance(out[1], e.Hangup)


def test_blame_from_a_part_bans_and_the_banned_are_forgotten_and_not_dialled() -> None:
    case, a = Case(), Author("a")
    case.linked(a)
    case.parrot.says = [Blame(a.peer, 100, "lied")]
    out = case.tell(e.Came(1, 5, m.Request(b"?"), 10))
    states = [effect.message.state for effect in out if isinstance(effect, Send) and effect.to == "mesh"]
    assert "banned" in states
    assert Store("peer/" + a.peer.hex(), None) in out
    view = case.core.peers_view(case.play.now_ns)
    assert [(row.peer, row.state, row.cause) for row in view] == [(a.peer, "banned", "banned: lied")]
    assert case.tell(e.Reached("t", THERE, a.peer)) == [Send("t", e.Failed("usage", ANY, THERE))]


def test_the_owner_denies_allows_and_forgets() -> None:
    case, a = Case(), Author("a")
    case.linked(a)
    out = case.tell(e.PeerBanned("t1", a.peer, "deny"))
    assert [effect.message.code for effect in transmitted(out, m.Bye)] == ["banned"]
    assert answers(out, "t1") == [e.Got(b"")]
    assert answers(case.tell(e.PeerBanned("t2", a.peer, "allow")), "t2") == [e.Got(b"")]
    case.tell(e.Unlinked(1, "closed"))
    case.linked(a, 3)
    case.parrot.says = [Blame(a.peer, 1_000, "lied")]
    assert not transmitted(case.tell(e.Came(3, 5, m.Request(b"?"), 10)), m.Bye)
    out = case.tell(e.PeerForgotten("t3", a.peer))
    assert [effect.message.code for effect in transmitted(out, m.Bye)] == ["forgotten"]
    assert Store("peer/" + a.peer.hex(), None) in out
    assert case.core.peers_view(case.play.now_ns) == []
    for verdict, who in (("maybe", a.peer), ("deny", case.author.peer)):
        (failed,) = answers(case.tell(e.PeerBanned("t4", who, verdict)), "t4")
        assert failed.who == "usage"


def test_an_address_is_dialled_at_once_and_the_ticket_says_who_is_there() -> None:
    case, a = Case(), Author("a")
    out = case.tell(e.Reached("t", THERE, None, True))
    (dial,) = [effect for effect in out if isinstance(effect, e.Dial)]
    case.tell(e.Linked(dial.conn, a.peer, a.crypto.public_key, THERE, False))
    out = case.tell(e.Came(dial.conn, 0, m.Hello("test", PROTOCOLS, a.record().raw), 9_000))
    assert answers(out, "t") == [e.Got(a.peer)]
    assert answers(case.tell(e.Reached("u", THERE, None)), "u") == [e.Got(a.peer)], "it is linked"


def test_a_ticket_says_why_nobody_was_found() -> None:
    case, a = Case(), Author("a")
    dial = case.tell(e.Reached("t", THERE, None))[-1]
    (failed,) = answers(case.tell(e.DialFailed(dial.conn, "refused")), "t")
    assert (failed.who, failed.where) == ("unavailable", THERE)
    dial = case.tell(e.Reached("u", THERE, None))[-1]
    case.tell(e.Linked(dial.conn, a.peer, a.crypto.public_key, THERE, False))
    case.tell(e.Came(dial.conn, 0, m.Hello("elsewhere", PROTOCOLS, b""), 99))
    (failed,) = answers(case.tell(e.Unlinked(dial.conn, "closed")), "u")
    assert "network 'test'" in failed.what
    (failed,) = answers(case.tell(e.Reached("v", "10.0.0.2", None)), "v")
    assert failed.who == "usage"


def test_this_node_is_not_linked_with_itself() -> None:
    case = Case()
    out = case.tell(e.Linked(1, case.author.peer, case.author.crypto.public_key, THERE, True))
    assert [effect.message.code for effect in transmitted(out, m.Bye)] == ["self"]
    case.tell(e.MyAddresses((HERE,)))
    (failed,) = answers(case.tell(e.Reached("t", HERE, None)), "t")
    assert "this node itself" in failed.what


def test_bootstraps_are_tried_again_while_nobody_is_linked() -> None:
    case = Case()
    dials = [effect for effect in case.tell(e.Reached("", THERE, None, True)) if isinstance(effect, e.Dial)]
    for _ in range(100):
        if dials:
            case.tell(e.DialFailed(dials[-1].conn, "refused"))
        dials += [effect for effect in case.ticks(0.5) if isinstance(effect, e.Dial)]
    assert 5 <= len(dials) <= 12, "with longer and longer rests"


def test_a_dial_that_takes_too_long_is_given_up_and_a_session_that_comes_then_ignored() -> None:
    case, a = Case(), Author("a")
    dial = case.tell(e.Reached("t", THERE, None))[-1]
    out = case.ticks(7)
    assert e.Hangup(dial.conn, "the dial took too long") in out
    assert len(answers(out, "t")) == 1
    assert case.tell(e.DialFailed(dial.conn, "given up")) == []
    assert case.tell(e.Linked(dial.conn, a.peer, a.crypto.public_key, THERE, False)) == []


def test_a_change_of_what_it_says_is_told_to_neighbours_with_the_next_tick() -> None:
    case, a = Case(), Author("a")
    case.linked(a)
    case.tell(e.Came(1, 0, m.Neighbour(True), 20))
    case.ticks(2)
    assert answers(case.tell(e.MyAway("t", ((NOW_S + 100, NOW_S + 200),))), "t") == [e.Got(b"")]
    out = case.ticks(0.5)
    stored = next(place for place, effect in enumerate(out) if isinstance(effect, Store))
    (told,) = transmitted(out, m.Records)
    assert out.index(told) > stored
    (failed,) = answers(case.tell(e.MyAway("u", ((9, 5),))), "u")
    assert failed.who == "usage"


def test_who_shows_an_older_record_than_is_known_is_told_the_newer_one() -> None:
    """It has lost its disk; what it says with the old seq would count nowhere."""
    case, a = Case(), Author("a")
    newer = a.record(NOW_S * 1000 + 9)
    case.linked(a)
    case.tell(e.Unlinked(1, "reset"))
    case.tell(e.Linked(3, a.peer, a.crypto.public_key, THERE, True))
    out = case.tell(e.Came(3, 0, m.Hello("test", PROTOCOLS, a.record(NOW_S * 1000).raw), 9_000))
    assert transmitted(out, m.Records) == [e.Transmit(3, 0, m.Records((newer.raw,)))]


def test_this_node_goes_beyond_a_record_of_its_own_that_it_has_forgotten() -> None:
    case, a = Case(), Author("a")
    case.linked(a)
    case.tell(e.Came(1, 0, m.Records((Author("me").record(NOW_S * 1000 + 60_000).raw,)), 6_000))
    case.ticks(2)
    assert case.core.own.signed is not None
    assert case.core.own.signed.record.seq == NOW_S * 1000 + 60_001


def test_what_was_stored_is_there_after_a_restart() -> None:
    case, a = Case(), Author("a")
    disk: dict[str, bytes | None] = {}
    out = case.tell(e.Linked(1, a.peer, a.crypto.public_key, THERE, True))
    out += case.tell(e.Came(1, 0, m.Hello("test", PROTOCOLS, a.record(addresses=(THERE,)).raw), 9_000))
    out += case.tell(e.PeerBanned("", peer(9), "deny"))
    assert "scope/" + a.peer.hex() in {effect.key for effect in out if isinstance(effect, Store)}
    disk.update((effect.key, effect.value) for effect in out if isinstance(effect, Store))
    again = Case()
    kept = tuple((key, value) for key, value in sorted(disk.items()) if value is not None)
    again.tell(e.Begin((*kept, ("job/1", b"another room's"))))
    assert {row.peer: row.state for row in again.core.peers_view(NOW_NS)} == {a.peer: "known", peer(9): "banned"}
    dials = [effect for effect in again.ticks(1) if isinstance(effect, e.Dial)]
    assert [dial.address for dial in dials] == [THERE], "it goes where it was"
    assert again.core.own.signed is not None and case.core.own.signed is not None
    assert again.core.own.signed.record.seq > case.core.own.signed.record.seq


def test_an_expired_row_still_tells_where_somebody_may_be() -> None:
    case, a = Case(), Author("a")
    out = case.tell(a_record_with_the_key_of(a))
    out += case.tell(e.Came(1, 0, m.Hello("test", PROTOCOLS, a.record(addresses=(THERE,)).raw), 9_000))
    (row,) = [(s.key, s.value) for s in out if isinstance(s, Store) and s.key.startswith("peer/")]
    again = Case()
    again.play.now_ns += 100_000 * S
    assert Store(row[0], None) in again.tell(e.Begin((row,)))
    dials = [effect for effect in again.ticks(1) if isinstance(effect, e.Dial)]
    assert [(dial.address, dial.peer) for dial in dials] == [(THERE, None)]


def test_leaving_says_farewell_then_bye_to_everybody_and_ends() -> None:
    case, a, b = Case(), Author("a"), Author("b")
    case.linked(a)
    case.linked(b, 3)
    case.tell(e.Came(1, 0, m.Neighbour(True), 20))
    case.ticks(2)
    out = case.tell(e.Leave("the owner stops it"))
    farewells = transmitted(out, m.Beats)
    assert [(one.conn, one.message.beats[0].count) for one in farewells] == [(1, 1_800), (3, 1_800)], "no neighbour too"
    byes = transmitted(out, m.Bye)
    assert [(bye.conn, bye.message.code, bye.message.text) for bye in byes] == [
        (1, "leaving", "the owner stops it"), (3, "leaving", "the owner stops it"),
    ]  # fmt: skip
    assert out.index(farewells[-1]) < out.index(byes[0])
    assert case.ticks(3) == []
    out = case.tell(e.Linked(5, peer(8), b"", THERE, True))
    assert [effect.message.code for effect in transmitted(out, m.Bye)] == ["leaving"]


def test_wishes_and_timers_reach_the_part_that_named_them() -> None:
    case = Case()
    case.parrot.says = [Note("published")]
    assert case.tell(e.Publish("topic", b"")) == [Note("published")]
    case.tell(Woken(("parrot", "x", 5)))
    assert case.parrot.heard == [("woken", ("parrot", "x", 5))]
    assert case.tell(Woken(("nobody",))) == case.tell(Woken(None)) == []
    (unknown,) = case.tell(e.Unask("t"))
    assert unknown.name == "mesh_event_unknown"


def test_a_view_says_what_people_ask() -> None:
    case, a = Case(), Author("a")
    case.linked(a)
    case.tell(e.Came(1, 0, m.Neighbour(True), 20))
    out = case.ticks(0.5)
    (ping,) = transmitted(out, m.Ping)
    case.tell(e.Came(1, ping.id, m.Pong(), 20), 0.012)
    (row,) = case.core.peers_view(case.play.now_ns)
    shown = msgspec.structs.asdict(row)
    assert shown.items() >= {
        "state": "alive", "cause": "linked", "link": "direct", "is_neighbour": True, "inbound": True,
        "round_trip_ns": 12_000_000, "version": "0.1.0", "offers": ("stim:1000",), "verdict": "", "blame_points": 0.0,
    }.items()  # fmt: skip
    case.tell(e.Unlinked(1, "reset"))
    case.tell(e.DialFailed(case.tell(e.Reached("", THERE, a.peer))[-1].conn, "refused"))
    (row,) = case.core.peers_view(case.play.now_ns)
    assert (row.link, row.why_unlinked) == ("none", f"{THERE}: refused")


def test_time_moves_a_playbook() -> None:
    """The tick comes again, twice a second within a quarter."""
    case = Case()
    out = case.play >> at(NOW_NS + S) >> Woken(("core", "tick"))
    wake = [effect for effect in case.core.out if isinstance(effect, WakeAt) and effect.token == ("core", "tick")]
    assert len(wake) == 1
    assert 0.375 * S <= wake[0].at_ns - NOW_NS - S <= 0.625 * S
    assert out is not None
