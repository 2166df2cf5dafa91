"""Who is there: beats that count, states, telling of them, and lies that are noticed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from tests.mesh.making import NOW_NS, NOW_S, Author, S, SomePeers, peer, rng

from qcommons.base.effects import Note, Send, WakeAt
from qcommons.mesh.addresses import Scope
from qcommons.mesh.beats import FAREWELL
from qcommons.mesh.draws import Draws
from qcommons.mesh.inside import Try
from qcommons.mesh.membership import Membership
from qcommons.mesh.messages import Beats, Records, WantRecords
from qcommons.mesh.own import Own
from qcommons.mesh.parts import Blame, ToPeer
from qcommons.mesh.peerbook import PeerBook
from qcommons.mesh.records import Beat, PeerId, Signed
from qcommons.mesh.telling import BEATS_A_MESSAGE

N1, N2, N3 = peer(1), peer(2), peer(3)


class Case:
    """A membership with neighbours N1, N2, N3; `heard` is when bytes came on a peer's link."""

    def __init__(self, *authors: Author, cap: int = 512) -> None:
        me = Author("me")
        self.peers = SomePeers(me.peer)
        self.peers.near = self.peers.links = [N1, N2, N3]
        self.own = Own(me.crypto, "0.1")
        self.book = PeerBook(me.crypto, self.own, lambda p: False, lambda p: Scope.PUBLIC, lambda p, now_ns: False, cap)
        self.heard: dict[PeerId, int] = {}
        self.members = Membership(
            self.peers, self.book, self.own, me.crypto, Draws(rng("members")), lambda p: self.heard.get(p, 0)
        )
        self.now_ns = NOW_NS
        self.own.renew(self.now_ns)
        for author in authors:
            self.learn(author.record())

    def learn(self, signed: Signed) -> list[Any]:
        learnt = self.book.learn(signed.raw, N1, Scope.PUBLIC, self.now_ns)
        out: list[Any] = []
        for effect in learnt.effects:
            if type(effect).__name__ == "Learned":
                out += self.members.learned(effect.signed, effect.is_new, self.now_ns)
        return out

    def tell(self, *beats: Beat, by: PeerId = N1, reply: bool = False) -> list[Any]:
        return self.members.came(by, 0, Beats(beats, reply), self.now_ns)

    def tick(self, seconds: float = 0.5) -> list[Any]:
        """Time passes in ticks; all effects of them."""
        out: list[Any] = []
        until_ns = self.now_ns + round(seconds * S)
        while self.now_ns < until_ns:
            self.now_ns += S // 2
            out += self.members.tick(self.now_ns)
        return out

    def state(self, author: Author) -> str:
        return self.book.entries[author.peer].state


def news(effects: Iterable[Any]) -> list[tuple[str, str]]:
    return [(effect.message.state, effect.message.cause) for effect in effects if isinstance(effect, Send)]


def pushed(effects: Iterable[Any]) -> list[tuple[PeerId, Beat]]:
    """(to, beat) of all beats that are told without asking for an answer."""
    return [
        (effect.peer, beat)
        for effect in effects
        if isinstance(effect, ToPeer) and isinstance(effect.message, Beats) and not effect.message.reply
        for beat in effect.message.beats
    ]


def test_a_beat_makes_its_owner_alive_and_silence_suspect_then_lost() -> None:
    a = Author("a")
    case = Case(a)
    assert case.state(a) == "known"
    assert news(case.tell(a.beat(1))) == [("alive", "a sign of life")]
    assert news(case.tick(4.5)) == []
    assert [state for state, _ in news(case.tick(0.5))] == ["suspect"]
    assert [state for state, _ in news(case.tick(10))] == ["lost"]
    assert news(case.tell(a.beat(8))) == [("alive", "a sign of life")], "back"


def test_a_peer_of_which_no_sign_of_life_ever_comes_is_lost_not_known_for_ever() -> None:
    a = Author("a")
    case = Case(a)
    case.tick(15)
    assert case.state(a) == "lost"


def test_bytes_on_a_link_are_a_sign_of_life_too() -> None:
    a = Author("a")
    case = Case(a)
    case.tell(a.beat(1))
    for _ in range(10):
        case.heard[a.peer] = case.now_ns
        assert news(case.tick(4)) == []


def test_old_beats_say_nothing_new() -> None:
    a = Author("a")
    case = Case(a)
    case.tell(a.beat(5))
    case.tick(5)
    assert case.tell(a.beat(5)) == case.tell(a.beat(4)) == []
    assert case.state(a) == "suspect"


@pytest.mark.parametrize("count", [6, 7, 1799])
def test_nobody_can_beat_for_another(count: int) -> None:
    a = Author("a")
    case = Case(a)
    case.tell(a.beat(5))
    case.tick(5)
    lie = msgspec.structs.replace(a.beat(5), count=count)
    assert case.tell(lie, by=N2) == [ToPeer(N2, WantRecords((a.peer,)))], "the teller may hold another record"
    assert case.tell(lie, by=N2) == [], "asked once"
    assert case.state(a) == "suspect"
    assert a.signed is not None
    (blame,) = case.book.learn(a.signed.raw, N2, Scope.PUBLIC, case.now_ns).effects
    assert (blame.peer, blame.points) == (N2, 5), "it has the very record from which the beat does not follow"


def test_who_was_deceived_by_an_author_of_two_records_is_not_blamed() -> None:
    """One record here, the other at N2, which passes on a beat of it: only the author has lied, and N2 is shown how."""
    a, b = Author("a"), Author("b")
    case = Case(a, b)
    mine = a.signed
    other = a.record(offers=("b:2",))
    assert mine is not None and mine.record.seq == other.record.seq
    case.book.entries[a.peer].beat = a.beat(5)  # of either: what follows is told of the other one
    lie = msgspec.structs.replace(a.beat(7), value=bytes(16))
    assert ToPeer(N2, WantRecords((a.peer,))) in case.tell(lie, b.beat(1), by=N2)
    effects = case.book.learn(other.raw, N2, Scope.PUBLIC, case.now_ns).effects
    assert [(effect.peer, effect.points) for effect in effects if isinstance(effect, Blame)] == [(a.peer, 100)]
    assert ToPeer(N2, Records((mine.raw,))) in effects


def test_what_follows_a_beat_that_does_not_follow_is_heard() -> None:
    """Else keys that sign two records would cut honest neighbours off from each other's news."""
    a, b = Author("a"), Author("b")
    case = Case(a, b)
    case.tell(msgspec.structs.replace(a.beat(5), value=bytes(16)), b.beat(1))
    assert case.state(b) == "alive"


def test_an_owner_in_a_hurry_hurries_nobody_else() -> None:
    """A hundred beats of one peer in a second: passed on as often as half seconds, the newest one."""
    a = Author("a")
    case = Case(a)
    told = []
    for count in range(1, 101):
        case.now_ns += S // 100
        case.tell(a.beat(count))
        if count % 50 == 0:
            told += [beat.count for to, beat in pushed(case.members.tick(case.now_ns)) if to == N2]
    told += [beat.count for to, beat in pushed(case.tick(1)) if to == N2 and beat.peer == a.peer]
    assert len(told) <= 4
    assert case.book.entries[a.peer].beat == a.beat(100)


def test_a_teller_is_asked_for_records_no_oftener_than_its_guard_admits() -> None:
    case = Case()
    asked = 0
    for number in range(40):
        asked += len(case.tell(Beat(peer(1_000 + number), 1, 1, bytes(16))))
    assert asked == 8
    assert case.tell(Beat(peer(5_000), 1, 1, bytes(16)), by=N2) != [], "others are asked"
    case.now_ns += S
    assert case.tell(Beat(peer(6_000), 1, 1, bytes(16))) != []


def test_another_value_for_a_known_beat_is_a_lie() -> None:
    a = Author("a")
    case = Case(a)
    case.tell(a.beat(5))
    assert case.tell(msgspec.structs.replace(a.beat(5), value=bytes(16))) == [ToPeer(N1, WantRecords((a.peer,)))]


@pytest.mark.parametrize(
    "beat",
    [
        Beat(b"short", 1, 1, bytes(16)),
        Beat(bytes(32), 1, 0, bytes(16)),
        Beat(bytes(32), 1, 1801, bytes(16)),
        Beat(bytes(32), 1, 1, bytes(15)),
    ],
)
def test_malformed_beats_blame_their_teller_and_end_the_message(beat: Beat) -> None:
    a = Author("a")
    case = Case(a)
    (blame,) = case.tell(beat, a.beat(1))
    assert (blame.peer, blame.points) == (N1, 25)
    assert case.state(a) == "known"


def test_the_record_of_an_unknown_peer_is_asked_for_and_its_beat_counts_then() -> None:
    a = Author("a")
    case = Case()
    signed = a.record()
    assert case.tell(a.beat(3)) == [ToPeer(N1, WantRecords((a.peer,)))]
    assert case.tell(a.beat(3), by=N2) == [], "asked for once"
    assert news(case.learn(signed))[-1] == ("alive", "a sign of life")


def test_it_is_asked_for_again_after_a_second() -> None:
    a = Author("a")
    case = Case()
    a.record()
    case.tell(a.beat(3))
    case.now_ns += S
    assert case.tell(a.beat(3), by=N2) == [ToPeer(N2, WantRecords((a.peer,)))]


def test_a_beat_of_a_newer_record_asks_for_that() -> None:
    a = Author("a")
    case = Case(a)
    newer = a.record(NOW_S * 1000 + 5)
    assert case.tell(a.beat(1)) == [ToPeer(N1, WantRecords((a.peer,)))]
    case.learn(newer)
    assert case.state(a) == "alive"


def test_a_liar_with_made_up_names_is_asked_for_few_of_them() -> None:
    case = Case()
    out: list[Any] = []
    for block in range(20):
        out += case.tell(*(Beat(peer(1000 + block * 64 + n), 1, 1, bytes(16)) for n in range(64)))
    assert sum(len(effect.message.peers) for effect in out) == 128
    assert case.tell(Beat(peer(5), 1, 1, bytes(16)), by=N2) != [], "others are still heard"


def test_who_says_farewell_is_stopped_at_once_and_nobody_but_its_owner_can_say_it() -> None:
    a, b = Author("a"), Author("b")
    case = Case(a, b)
    case.tell(a.beat(1), b.beat(1))
    assert news(case.tell(a.beat(FAREWELL))) == [("stopped", "said goodbye")]
    case.tell(msgspec.structs.replace(b.beat(1), count=FAREWELL))
    assert case.state(b) == "alive"


def test_a_planned_absence_is_no_suspicion() -> None:
    a = Author("a")
    case = Case()
    case.learn(a.record(away=((NOW_S + 2, NOW_S + 60),)))
    case.tell(a.beat(1))
    assert news(case.tick(50)) == [("away", "as its record says")]
    assert [state for state, _ in news(case.tick(30))] == ["suspect", "lost"]
    case.tell(a.beat(9))
    assert case.state(a) == "alive"


def test_each_change_is_told_to_each_neighbour_once_but_not_to_who_has_it() -> None:
    a = Author("a")
    case = Case(a)
    case.tell(a.beat(1), by=N1)
    case.tell(a.beat(1), by=N2)
    told = [to for to, beat in pushed(case.tick(2)) if beat == a.beat(1)]
    assert told == [N3]


def test_the_own_beat_goes_to_all_neighbours_each_two_seconds() -> None:
    case = Case()
    case.tick(2)
    beats = pushed(case.tick(20))
    for neighbour in (N1, N2, N3):
        counts = [beat.count for to, beat in beats if to == neighbour and beat.peer == case.peers.me]
        assert counts == sorted(set(counts))
        assert 9 <= len(counts) <= 11


def test_a_change_of_state_is_told_within_fifty_milliseconds() -> None:
    a = Author("a")
    case = Case(a)
    wake = next(effect for effect in case.tell(a.beat(1)) if isinstance(effect, WakeAt))
    assert wake.at_ns == NOW_NS + 50_000_000
    first = [to for to, _ in pushed(case.members.woken(wake.token, wake.at_ns))]
    rest = [to for to, beat in pushed(case.tick(0.5)) if beat == a.beat(1)]
    assert sorted(first + rest) == sorted([N2, N3])
    assert len(first) >= 1


def test_who_asks_gets_what_is_newer_and_what_it_did_not_name() -> None:
    a, b, c = Author("a"), Author("b"), Author("c")
    case = Case(a, b, c)
    case.tell(a.beat(9), b.beat(2), c.beat(4))
    (answer,) = case.tell(a.beat(3), b.beat(2), reply=True, by=N2)
    assert answer.peer == N2
    assert {(beat.peer, beat.count) for beat in answer.message.beats} == {(a.peer, 9), (c.peer, 4)}
    assert not answer.message.reply


def test_an_answer_is_one_message_however_many_are_known() -> None:
    authors = [Author(f"a{number}") for number in range(80)]
    case = Case(*authors)
    case.tell(*(author.beat(1) for author in authors))
    (answer,) = case.tell(reply=True)
    assert len(answer.message.beats) == BEATS_A_MESSAGE


def test_a_node_that_slept_judges_nobody_for_its_own_silence() -> None:
    a = Author("a")
    case = Case(a)
    case.tell(a.beat(1))
    case.tick(1)
    case.now_ns += 3600 * S
    out = case.members.tick(case.now_ns)
    assert news(out) == []
    assert any(isinstance(effect, Note) and effect.name == "mesh_was_frozen" for effect in out)
    assert any(isinstance(effect, ToPeer) and effect.message.reply for effect in out), "it asks what it missed"
    assert news(case.tick(4.5)) == []
    assert [state for state, _ in news(case.tick(1))] == ["suspect"]


def test_lost_members_are_tried_for_ever_at_a_small_rate() -> None:
    authors = [Author(f"a{number}") for number in range(5)]
    case = Case(*authors)
    case.tick(15)
    first = [effect.peer for effect in case.tick(50) if isinstance(effect, Try)]
    assert 95 <= len(first) <= 101, "two a second at first"
    assert set(first) == {author.peer for author in authors}
    case.tick(60)
    later = [effect.peer for effect in case.tick(100) if isinstance(effect, Try)]
    assert 19 <= len(later) <= 21, "then one each five seconds"


def test_the_period_grows_with_the_number_of_peers() -> None:
    authors = [Author(f"a{number}") for number in range(65)]
    case = Case(*authors[:64])
    assert case.members.period_ns == 2 * S
    case.learn(authors[64].record())
    assert case.members.period_ns == 4 * S
    case.tell(authors[0].beat(1))
    assert news(case.tick(9)) == []
    assert [state for state, _ in news(case.tick(1.5))] == ["suspect"]


def test_where_the_book_is_full_only_linked_peers_are_judged() -> None:
    a, b = Author("a"), Author("b")
    case = Case(a, b, cap=2)
    case.peers.links = [a.peer]
    case.tell(a.beat(1), b.beat(1))
    case.tick(6)
    assert (case.state(a), case.state(b)) == ("suspect", "known")


def test_a_beat_of_this_nodes_own_that_it_never_made_is_a_lie() -> None:
    case = Case()
    assert case.own.signed is not None
    mine = Beat(case.peers.me, case.own.signed.record.seq, 5, bytes(16))
    assert isinstance(case.tell(mine)[0], Blame)
    later = msgspec.structs.replace(mine, seq=mine.seq + 1)
    assert case.tell(later) == [ToPeer(N1, WantRecords((case.peers.me,)))], "the record will tell"
