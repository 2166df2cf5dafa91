"""A membership of its own with authors whose beats a test says; `test_membership.py` has the cases of few."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.mesh.making import NOW_NS, Author, S, SomePeers, peer, rng

from qcommons.mesh.addresses import Scope
from qcommons.mesh.draws import Draws
from qcommons.mesh.membership import Membership
from qcommons.mesh.messages import Beats
from qcommons.mesh.own import Own
from qcommons.mesh.parts import ToPeer
from qcommons.mesh.peerbook import PeerBook
from qcommons.mesh.records import Beat, PeerId


class Case:
    """authors: so many, whose records are known."""

    def __init__(self, authors: int) -> None:
        me = Author("me")
        self.peers = SomePeers(me.peer)
        self.own = Own(me.crypto, "0.1")
        self.book = PeerBook(me.crypto, self.own, lambda p: False, lambda p: Scope.PUBLIC, lambda p, now_ns: False)
        self.members = Membership(self.peers, self.book, self.own, me.crypto, Draws(rng("telling")), lambda p: 0)
        self.now_ns = NOW_NS
        self.own.renew(self.now_ns)
        self.authors = [Author(f"ear {number}") for number in range(authors)]
        for author in self.authors:
            learnt = self.book.learn(author.record().raw, peer(0), Scope.PUBLIC, self.now_ns)
            for effect in learnt.effects:
                if type(effect).__name__ == "Learned":
                    self.members.learned(effect.signed, effect.is_new, self.now_ns)

    def beats(self, count: int) -> tuple[Beat, ...]:
        """The beat at `count` of every author."""
        return tuple(author.beat(count) for author in self.authors)

    def tell(self, *beats: Beat, by: PeerId, reply: bool = False) -> list[Any]:
        return self.members.came(by, 0, Beats(beats, reply), self.now_ns)

    def tick(self, seconds: float) -> list[Any]:
        """Time passes in ticks; all effects of them."""
        out: list[Any] = []
        until_ns = self.now_ns + round(seconds * S)
        while self.now_ns < until_ns:
            self.now_ns += S // 2
            out += self.members.tick(self.now_ns)
        return out

    def state(self, number: int) -> str:
        return self.book.entries[self.authors[number].peer].state


def beats_of(effects: Iterable[Any]) -> list[tuple[PeerId, Beats]]:
    """(to, message) of all messages of beats."""
    return [(e.peer, e.message) for e in effects if isinstance(e, ToPeer) and isinstance(e.message, Beats)]


def pushed(effects: Iterable[Any]) -> list[tuple[PeerId, Beat]]:
    """(to, beat) of all beats that are told without asking for an answer."""
    return [(to, beat) for to, message in beats_of(effects) if not message.reply for beat in message.beats]
