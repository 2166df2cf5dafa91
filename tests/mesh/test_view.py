"""Neighbours: six to eight, whoever has none is never refused, and nobody keeps everybody."""

from __future__ import annotations

from typing import Any

import pytest
from tests.mesh.making import NOW_NS, Author, S, SomePeers, peer, rng

from qcommons.mesh.addresses import Scope
from qcommons.mesh.draws import Draws
from qcommons.mesh.inside import Neighboured
from qcommons.mesh.membership import Membership
from qcommons.mesh.messages import Join, Neighbour, NotNeighbour, WantRecords
from qcommons.mesh.own import Own
from qcommons.mesh.parts import ToPeer
from qcommons.mesh.peerbook import PeerBook
from qcommons.mesh.records import PeerId, Signed
from qcommons.mesh.view import MOST, WANTED, View

ACCEPT = Neighbour(False, accepts=True)
AUTHORS = [Author(f"a{number}") for number in range(14)]
for author in AUTHORS:
    author.record()


class Admitting(SomePeers):
    """Every record that comes is good."""

    def __init__(self, me: PeerId) -> None:
        super().__init__(me)
        self.by_raw = {author.signed.raw: author.signed for author in AUTHORS if author.signed}

    def admit(self, raw: bytes, by: PeerId, now_ns: int) -> tuple[Signed | None, list[Any]]:
        return self.by_raw.get(raw), []


class Case:
    def __init__(self, alive: int = 0, seed: int = 0) -> None:
        me = Author("me")
        self.peers = Admitting(me.peer)
        self.own = Own(me.crypto, "0.1")
        self.own.renew(NOW_NS)
        self.book = PeerBook(me.crypto, self.own, lambda p: False, lambda p: Scope.PUBLIC, lambda p, now_ns: False)
        draws = Draws(rng("view", seed))
        self.members = Membership(self.peers, self.book, self.own, me.crypto, draws, lambda p: 0)
        self.view = View(self.peers, self.book, self.members, self.own, draws)
        self.now_ns = NOW_NS
        for author in AUTHORS[:alive]:
            assert author.signed is not None
            self.peers.book[author.peer] = author.signed
            for effect in self.book.learn(author.signed.raw, peer(0), Scope.PUBLIC, NOW_NS).effects:
                if type(effect).__name__ == "Learned":
                    self.members.learned(author.signed, True, NOW_NS)
            self.members.up(author.peer, NOW_NS)

    def came(self, who: Author, message: Any) -> list[Any]:
        return self.view.came(who.peer, 0, message, self.now_ns)

    def tick(self, seconds: float = 0.5) -> list[Any]:
        out: list[Any] = []
        until_ns = self.now_ns + round(seconds * S)
        while self.now_ns < until_ns:
            self.now_ns += S // 2
            out += self.view.tick(self.now_ns)
        return out


def asks(effects: list[Any]) -> list[PeerId]:
    return [
        e.peer for e in effects if isinstance(e, ToPeer) and isinstance(e.message, Neighbour) and not e.message.accepts
    ]


def full(case: Case) -> Case:
    """Eight that asked, none that was chosen."""
    for author in AUTHORS[:MOST]:
        case.came(author, Neighbour(False))
    assert len(case.view.members) == MOST
    return case


def test_who_asks_is_accepted_while_there_is_room() -> None:
    case = Case()
    for author in AUTHORS[:MOST]:
        assert case.came(author, Neighbour(False)) == [Neighboured(author.peer, True), ToPeer(author.peer, ACCEPT)]
    (no,) = case.came(AUTHORS[MOST], Neighbour(False))
    assert isinstance(no.message, NotNeighbour)
    assert case.view.neighbours() == tuple(author.peer for author in AUTHORS[:MOST])


def test_nobody_is_asked_again_at_once_because_others_name_it() -> None:
    """Joins in its name that end here, and neighbours that say they left for it: its guard would ban this node."""
    case = Case(alive=9)
    victim, others = AUTHORS[0], AUTHORS[1:9]
    for author in others[:4]:
        case.came(author, Neighbour(False))
    assert victim.signed is not None
    asked = asks(case.tick(0.5)).count(victim.peer)
    for number in range(200):
        case.now_ns += S // 20
        liar = others[number % 4]
        effects = [
            *case.came(others[7], Join(victim.signed.raw, 1)),
            *case.came(liar, NotNeighbour((victim.peer,))),
            *case.came(liar, Neighbour(True)),
        ]
        asked += asks(effects).count(victim.peer)
    assert 1 <= asked <= 3, "in ten seconds"


def test_asking_twice_is_accepted_twice_and_changes_nothing() -> None:
    """The first answer may have been lost."""
    case = Case()
    case.came(AUTHORS[0], Neighbour(False))
    assert case.came(AUTHORS[0], Neighbour(False)) == [ToPeer(AUTHORS[0].peer, ACCEPT)]


def test_the_urgent_are_never_refused_and_who_makes_room_is_told_for_whom() -> None:
    case = full(Case())
    gone, told, come, accept = case.came(AUTHORS[9], Neighbour(True))
    assert come == Neighboured(AUTHORS[9].peer, True)
    assert accept == ToPeer(AUTHORS[9].peer, ACCEPT)
    assert gone == Neighboured(told.peer, False)
    assert told.message.peers[0] == AUTHORS[9].peer
    assert len(case.view.members) == MOST


def test_whom_this_node_chose_makes_room_last() -> None:
    """However many strangers are urgent, they cannot crowd out the neighbours that were drawn at random."""
    case = Case(alive=WANTED)
    while len(case.view.members) < WANTED:
        for who in asks(case.tick()):
            case.view.came(who, 0, ACCEPT, case.now_ns)
    chosen = set(case.view.members)
    for number in range(200):
        case.view.came(peer(number), 0, Neighbour(True), case.now_ns)
    assert chosen <= set(case.view.members)
    assert len(case.view.members) == MOST


def test_who_made_room_asks_the_newcomer() -> None:
    case = full(Case())
    newcomer = AUTHORS[10]
    assert newcomer.signed is not None
    out = case.came(AUTHORS[0], NotNeighbour((newcomer.peer,)))
    assert Neighboured(AUTHORS[0].peer, False) in out
    assert ToPeer(AUTHORS[0].peer, WantRecords((newcomer.peer,))) in out, "it does not know it yet"
    case.peers.book[newcomer.peer] = newcomer.signed
    assert asks(case.tick()) == [newcomer.peer]


def test_it_asks_a_few_at_random_until_it_has_six() -> None:
    case = Case(alive=12)
    first = asks(case.tick())
    assert len(first) == len(set(first)) == 3
    assert asks(case.tick()) == [], "three are under way"
    for who in first:
        assert Neighboured(who, True) in case.view.came(who, 0, ACCEPT, case.now_ns)
    second = asks(case.tick())
    assert len(second) == 3
    assert not set(first) & set(second)
    for who in second:
        case.view.came(who, 0, ACCEPT, case.now_ns)
    assert asks(case.tick()) == []


def test_who_cannot_be_reached_is_asked_again_soon() -> None:
    """After a short cut of the network nobody is lost yet, and nobody else would lead to the other side."""
    case = Case(alive=3)
    for who in asks(case.tick()):
        case.view.unsent(who, 0, Neighbour(True), "no answer", case.now_ns)
    assert asks(case.tick(0.5)) == []
    assert len(asks(case.tick(1.5))) == 3


@pytest.mark.parametrize("how", ["refused", "silent"])
def test_who_does_not_accept_is_left_alone_for_ten_seconds(how: str) -> None:
    case = Case(alive=3)
    for who in asks(case.tick()):
        if how == "refused":
            case.view.came(who, 0, NotNeighbour(()), case.now_ns)
    if how == "silent":
        assert asks(case.tick(5)) == []
        case.tick(0.5)
    assert asks(case.tick(9)) == []
    assert len(asks(case.tick(2))) == 3


def test_it_is_urgent_only_with_fewer_than_three() -> None:
    case = Case(alive=12)
    out = case.tick()
    assert all(effect.message.urgent for effect in out if isinstance(effect, ToPeer))
    for who in asks(out):
        case.view.came(who, 0, ACCEPT, case.now_ns)
    out = case.tick()
    assert asks(out)
    assert not any(e.message.urgent for e in out if isinstance(e, ToPeer) and isinstance(e.message, Neighbour))


def test_another_is_asked_at_once_when_one_falls() -> None:
    case = Case(alive=12)
    for _ in range(2):
        for who in asks(case.tick()):
            case.view.came(who, 0, ACCEPT, case.now_ns)
    fallen = case.view.neighbours()[0]
    out = case.view.down(fallen, "reset", case.now_ns)
    assert out[0] == Neighboured(fallen, False)
    (asked,) = asks(out)
    assert asked not in (*case.view.neighbours(), fallen)


def test_an_answer_that_comes_too_late_is_taken_back() -> None:
    case = full(Case())
    assert case.came(AUTHORS[11], ACCEPT) == [ToPeer(AUTHORS[11].peer, NotNeighbour(()))]


def test_who_was_lost_and_is_back_is_asked_urgently() -> None:
    case = full(Case())
    out = case.view.returned(AUTHORS[9].peer, case.now_ns)
    assert [(effect.peer, effect.message) for effect in out] == [(AUTHORS[9].peer, Neighbour(True))]
    out = case.came(AUTHORS[9], ACCEPT)
    assert Neighboured(AUTHORS[9].peer, True) in out
    assert len(case.view.members) == MOST


def test_a_newcomer_sends_its_record_on_a_walk_once() -> None:
    case = Case()
    assert case.own.signed is not None
    (join,) = case.view.up(AUTHORS[0].peer, case.now_ns)
    assert (join.peer, join.message.signed) == (AUTHORS[0].peer, case.own.signed.raw)
    assert case.view.up(AUTHORS[1].peer, case.now_ns) == []


def test_a_walk_goes_on_to_others_and_ends_with_an_invitation() -> None:
    case = Case()
    newcomer = AUTHORS[10].signed
    assert newcomer is not None
    case.peers.book[newcomer.peer] = newcomer
    for author in AUTHORS[:4]:
        case.came(author, Neighbour(False))
    out = case.came(AUTHORS[10], Join(newcomer.raw, 5))
    assert len(out) == 3, "the first contact starts three walks"
    assert all(effect.message == Join(newcomer.raw, 4) for effect in out)
    (on,) = case.came(AUTHORS[0], Join(newcomer.raw, 4))
    assert on.message.hops == 3
    assert on.peer != AUTHORS[0].peer, "never back"
    assert asks(case.came(AUTHORS[0], Join(newcomer.raw, 1))) == [newcomer.peer]


def test_a_crowd_of_joins_is_not_passed_on_without_bound() -> None:
    case = Case()
    newcomer = AUTHORS[10].signed
    assert newcomer is not None
    for author in AUTHORS[:4]:
        case.came(author, Neighbour(False))
    passed = sum(len(case.came(AUTHORS[0], Join(newcomer.raw, 1 << 60))) for _ in range(1_000))
    assert passed == 50


def test_the_graph_is_mixed_slowly_and_both_ends_are_told_again() -> None:
    case = Case(alive=14)
    for _ in range(2):
        for who in asks(case.tick()):
            case.view.came(who, 0, ACCEPT, case.now_ns)
    before = case.view.neighbours()
    out = case.tick(120)
    affirmed = [effect for effect in out if isinstance(effect, ToPeer) and effect.message == ACCEPT]
    assert 25 <= len(affirmed) <= 31
    mixed = asks(out)
    assert 2 <= len(mixed) <= 6
    case = Case(alive=14)
    for _ in range(2):
        for who in asks(case.tick()):
            case.view.came(who, 0, ACCEPT, case.now_ns)
    before = case.view.neighbours()
    while not (asked := asks(case.tick())):
        pass
    out = case.view.came(asked[0], 0, ACCEPT, case.now_ns)
    assert sum(isinstance(effect, Neighboured) for effect in out) == 2, "one comes, one goes"
    assert len(case.view.members) == len(before)


def test_a_node_that_leaves_asks_and_accepts_nobody() -> None:
    case = Case(alive=12)
    case.view.leave()
    assert case.tick(5) == []
    (no,) = case.came(AUTHORS[13], Neighbour(True))
    assert isinstance(no.message, NotNeighbour)
