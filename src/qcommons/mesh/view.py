"""View: the neighbours of this node, six to eight of all it knows, chosen at random and again when one falls.

Flow: up, down, Neighbour, NotNeighbour, Join, time -> *View* -> ToPeer, `Neighboured` -> gossip, membership. After
HyParView (DOI 10.1109/DSN.2007.56): a small symmetric active view over links that are watched, and the peerbook as the
passive one. A graph of random degree 6 to 8 stays in one piece while a third of its nodes die at once.

    stranger -> Neighbour -> asked -> accepted -> neighbour
                                   -> NotNeighbour (full), no answer in 5 s, no link -> stranger, not asked for 10 s
    neighbour -> down | NotNeighbour -> stranger, and another is asked at once

Whoever is asked accepts while it has room (8). Who has fewer than three (`urgent`) is never refused: another neighbour
makes room and is told for whom, and asks the newcomer in its turn, so three requests give six neighbours and nobody
loses one; no bootstrap node keeps everybody. Whom this node chose itself is the last to make room, so that strangers
cannot crowd around it. Nobody is asked again while it rests, whoever named it: else others could make this node a
nuisance. Who comes back from being lost is asked urgently too: that is how the halves of a healed network
grow together. A newcomer sends a Join on a random walk, whose end asks it if it has room. Once in half a minute one
neighbour is exchanged for another, so that the graph is mixed; each four seconds one is told that it is one, so that
both ends agree.
"""

from __future__ import annotations

from collections import OrderedDict

from qcommons.base.units import NS_PER_S
from qcommons.mesh.draws import Draws
from qcommons.mesh.inside import Neighboured
from qcommons.mesh.membership import Membership
from qcommons.mesh.messages import Join, Message, Neighbour, NotNeighbour, WantRecords
from qcommons.mesh.own import Own
from qcommons.mesh.parts import Effects, PartBase, Peers, ToPeer
from qcommons.mesh.peerbook import PeerBook
from qcommons.mesh.records import PeerId

__all__ = ["MOST", "WANTED", "View"]

WANTED, MOST = 6, 8
URGENT_BELOW = 3
ASK_NS = 5 * NS_PER_S
ASKS_MAX = 3  # under way; more would overshoot
REFUSED_NS = 10 * NS_PER_S
UNLINKED_NS = 1_500_000_000  # who cannot be reached now may be in a moment, after a short cut of the network
REFUSED_MAX = 1_024  # twice the links that there can be
MIX_NS = 30 * NS_PER_S
AFFIRM_NS = 4 * NS_PER_S
JOIN_HOPS, JOIN_HOPS_MAX = 5, 8
JOIN_WALKS = 3  # that the first contact starts
JOIN_AGAIN_NS = 10 * NS_PER_S
WALK_EVERY_NS = NS_PER_S // 10  # Joins passed on for ever; 50 at once
WALKS_AHEAD_NS = 50 * WALK_EVERY_NS
OTHERS = 15  # peers named to who was refused, beside the one for whom room was made
HASH_BYTES = 32


class View(PartBase):
    """members: neighbour -> whether this node asked it, in the order they came."""

    NAME = "view"
    KINDS = (Neighbour, NotNeighbour, Join)

    def __init__(self, peers: Peers, book: PeerBook, membership: Membership, own: Own, draws: Draws) -> None:
        self.members: dict[PeerId, bool] = {}
        self._peers = peers
        self._book = book
        self._membership = membership
        self._own = own
        self._draws = draws
        self._asked: dict[PeerId, int] = {}
        self._named: OrderedDict[PeerId, int] = OrderedDict()  # for whom this node made room, and when
        self._is_mixing = False
        self._refused: OrderedDict[PeerId, int] = OrderedDict()
        self._tuple: tuple[PeerId, ...] = ()
        self._mix_ns = self._affirm_ns = self._join_ns = self._walks_ns = 0
        self._left = False

    def neighbours(self) -> tuple[PeerId, ...]:
        return self._tuple

    # messages

    def came(self, peer: PeerId, id: int, message: Message, now_ns: int) -> Effects:
        if isinstance(message, Neighbour):
            return self._accepted(peer, now_ns) if message.accepts else self._requested(peer, message.urgent, now_ns)
        if isinstance(message, NotNeighbour):
            return self._declined(peer, message, now_ns)
        assert isinstance(message, Join)
        return self._walked(peer, message, now_ns)

    def _requested(self, peer: PeerId, urgent: bool, now_ns: int) -> Effects:
        if self._left:
            return [ToPeer(peer, NotNeighbour(()))]
        if peer not in self.members and len(self.members) >= MOST and not urgent:
            return [ToPeer(peer, NotNeighbour(self._others(peer)))]
        return [*self._add(peer, False, now_ns), ToPeer(peer, Neighbour(False, accepts=True))]

    def _accepted(self, peer: PeerId, now_ns: int) -> Effects:
        asked = self._asked.pop(peer, None)
        if peer in self.members:
            return []
        if asked is None and len(self.members) >= MOST:
            return [ToPeer(peer, NotNeighbour(()))]  # it thinks so, this node no longer does
        out = self._add(peer, asked is not None, now_ns)
        if self._is_mixing and len(self.members) > WANTED:
            self._is_mixing = False
            out += self._drop(peer, now_ns)
        return out

    def _declined(self, peer: PeerId, message: NotNeighbour, now_ns: int) -> Effects:
        self._asked.pop(peer, None)
        self._rest(peer, now_ns)
        if peer in self.members and message.peers and message.peers[0] != self._peers.me:
            self._named[PeerId(message.peers[0])] = now_ns
            if len(self._named) > MOST:
                self._named.popitem(last=False)
        out = self._remove(peer)
        unknown = [who for who in message.peers if len(who) == HASH_BYTES and self._peers.signed(PeerId(who)) is None]
        wanted = tuple(who for who in unknown if self._book.may_admit(PeerId(who), now_ns))
        if wanted:
            out.append(ToPeer(peer, WantRecords(wanted)))
        return out + self._fill(now_ns)

    def _walked(self, peer: PeerId, message: Join, now_ns: int) -> Effects:
        signed, out = self._peers.admit(message.signed, peer, now_ns)
        if signed is None or signed.peer == self._peers.me:
            return out
        onward = [other for other in self._tuple if other not in (peer, signed.peer)]
        hops = min(message.hops, JOIN_HOPS_MAX) - 1
        if hops > 0 and onward:
            walks = JOIN_WALKS if peer == signed.peer else 1
            self._walks_ns = max(self._walks_ns, now_ns) + walks * WALK_EVERY_NS
            if self._walks_ns - now_ns > WALKS_AHEAD_NS:  # a crowd joins: beats tell of it too
                self._walks_ns -= walks * WALK_EVERY_NS
                return out
            return out + [ToPeer(other, Join(signed.raw, hops)) for other in self._draws.some(onward, walks)]
        if len(self.members) < MOST and self._is_free(signed.peer, now_ns) and self._peers.signed(signed.peer):
            out += self._ask(signed.peer, now_ns)
        return out

    # links

    def up(self, peer: PeerId, now_ns: int) -> Effects:
        """The first link of a newcomer asks for a walk."""
        if self.members or self._left or self._own.signed is None or now_ns - self._join_ns < JOIN_AGAIN_NS:
            return []
        self._join_ns = now_ns
        return [ToPeer(peer, Join(self._own.signed.raw, JOIN_HOPS)), *self._fill(now_ns)]

    def down(self, peer: PeerId, reason: str, now_ns: int) -> Effects:
        was_asked = self._asked.pop(peer, None) is not None
        if was_asked or peer in self.members:
            self._rest(peer, now_ns, UNLINKED_NS)
        return [*self._remove(peer), *self._fill(now_ns)]

    def returned(self, peer: PeerId, now_ns: int) -> Effects:
        """A peer that was lost is linked: it may lead to all that were lost with it."""
        if peer in self.members or peer in self._asked or self._left:
            return []
        return self._ask(peer, now_ns, urgent=True)

    def unsent(self, peer: PeerId, id: int, message: Message, reason: str, now_ns: int) -> Effects:
        self._asked.pop(peer, None)
        self._rest(peer, now_ns, UNLINKED_NS)
        return []

    # time

    def tick(self, now_ns: int) -> Effects:
        """Twice a second: what was asked and not answered, room that is left, mixing."""
        for peer in [peer for peer, at_ns in self._asked.items() if now_ns - at_ns > ASK_NS]:
            del self._asked[peer]
            self._rest(peer, now_ns)
        out = self._fill(now_ns)
        if not self._mix_ns:
            self._mix_ns = now_ns
        if len(self.members) >= WANTED and now_ns - self._mix_ns > MIX_NS:
            self._mix_ns = now_ns - MIX_NS // 4 + self._draws.below(MIX_NS // 2)
            others = self._candidates(now_ns)
            if others:
                self._is_mixing = True
                out += self._ask(self._draws.one(others), now_ns)
        if self._tuple and now_ns - self._affirm_ns > AFFIRM_NS:
            self._affirm_ns = now_ns
            out.append(ToPeer(self._draws.one(self._tuple), Neighbour(False, accepts=True)))
        return out

    def leave(self) -> None:
        """This node stops: it asks nobody any more."""
        self._left = True

    def _fill(self, now_ns: int) -> Effects:
        out: Effects = []
        if self._left:
            return out
        for peer, at_ns in list(self._named.items()):
            if now_ns - at_ns > ASK_NS or not self._is_free(peer, now_ns):
                del self._named[peer]
            elif len(self.members) < MOST and self._peers.signed(peer) is not None:
                del self._named[peer]
                out += self._ask(peer, now_ns)
        want = min(WANTED - len(self.members) - len(self._asked), ASKS_MAX - len(self._asked))
        if want > 0:
            for peer in self._draws.some(self._candidates(now_ns), want):
                out += self._ask(peer, now_ns, urgent=len(self.members) < URGENT_BELOW)
        return out

    def _candidates(self, now_ns: int) -> list[PeerId]:
        """Who is alive; where these are few, also who is neither lost nor away."""
        for peer in [peer for peer, until_ns in self._refused.items() if until_ns <= now_ns]:
            del self._refused[peer]
        alive = [peer for peer in self._membership.alive() if self._is_free(peer, now_ns)]
        if len(alive) >= WANTED:
            return alive
        others = [peer for peer, entry in self._book.entries.items() if entry.state in ("known", "suspect")]
        return alive + [peer for peer in others if self._is_free(peer, now_ns)]

    def _is_free(self, peer: PeerId, now_ns: int) -> bool:
        """Neither a neighbour nor asked, and it does not rest."""
        return peer not in self.members and peer not in self._asked and self._refused.get(peer, 0) <= now_ns

    def _ask(self, peer: PeerId, now_ns: int, *, urgent: bool = False) -> Effects:
        self._asked[peer] = now_ns
        return [ToPeer(peer, Neighbour(urgent), dial=True, until_ns=now_ns + ASK_NS)]

    def _rest(self, peer: PeerId, now_ns: int, rest_ns: int = REFUSED_NS) -> None:
        self._refused[peer] = now_ns + rest_ns
        self._refused.move_to_end(peer)
        if len(self._refused) > REFUSED_MAX:
            self._refused.popitem(last=False)

    def _add(self, peer: PeerId, is_chosen: bool, now_ns: int) -> Effects:
        self._asked.pop(peer, None)
        if peer in self.members:
            return []
        out = self._drop(peer, now_ns) if len(self.members) >= MOST else []
        self.members[peer] = is_chosen
        self._tuple = tuple(self.members)
        return [*out, Neighboured(peer, True)]

    def _drop(self, newcomer: PeerId, now_ns: int) -> Effects:
        """Make room for `newcomer`."""
        others = [peer for peer in self._tuple if peer != newcomer]
        strangers = [peer for peer in others if not self.members[peer]]
        loser = self._draws.one(strangers or others)
        self._rest(loser, now_ns)
        told = NotNeighbour((newcomer, *self._others(loser)))
        return [*self._remove(loser), ToPeer(loser, told)]

    def _remove(self, peer: PeerId) -> Effects:
        if self.members.pop(peer, None) is None:
            return []
        self._tuple = tuple(self.members)
        return [Neighboured(peer, False)]

    def _others(self, but: PeerId) -> tuple[bytes, ...]:
        return tuple(peer for peer in self._draws.some(self._membership.alive(), OTHERS) if peer != but)
