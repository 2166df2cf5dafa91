"""Telling: which beats a node passes on, to whom, and when.

Flow: membership (a beat that counts) -> *Telling* -> Beats -> neighbours; Beats(reply) of others -> *answer*.

Push: what changed goes to each neighbour that did not say it itself: to one half of them with the tick (each 0.5 s),
or within 50 ms where a state changed; to the other half with the next tick, since who waits a little hears who has it
already. Push-pull: each 2 s one random neighbour is told some beats and answers with what is newer there, and with some
that were not named.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container

import msgspec

from qcommons.base.effects import WakeAt
from qcommons.base.units import NS_PER_S
from qcommons.mesh.draws import Draws
from qcommons.mesh.messages import Beats
from qcommons.mesh.own import Own
from qcommons.mesh.parts import Effects, Peers, ToPeer
from qcommons.mesh.peerbook import Entry, PeerBook
from qcommons.mesh.records import Beat, PeerId

__all__ = ["BEATS_A_MESSAGE", "PULL_NS", "PUSH", "Telling"]

PUSH = ("membership", "push")  # the timer's token
PUSH_NS = 50_000_000
PULL_NS = 2 * NS_PER_S
BEATS_A_MESSAGE = 64
PULL_BEATS = 16  # of the exchange each 2 s, which mends what pushes lost
RING_NS = 4 * NS_PER_S  # how old the list may be of which random runs are taken, unless more are there


class _Change(msgspec.Struct):
    """A beat that is to be passed on. tellers: who has it. is_half_told: one half of the neighbours was told."""

    beat: Beat
    tellers: list[PeerId]
    is_half_told: bool = False


class Telling:
    """order: the peers that are there, by membership; only those are told of."""

    def __init__(
        self, peers: Peers, book: PeerBook, own: Own, draws: Draws, order: OrderedDict[PeerId, Entry]
    ) -> None:  # fmt: skip
        self._peers = peers
        self._book = book
        self._own = own
        self._draws = draws
        self._order = order
        self._changes: dict[PeerId, _Change] = {}
        self._half = 0
        self._is_push_set = False
        self._pull_ns = 0
        self._catch_up: PeerId | None = None
        self._asks_left = 0
        self._cursors: dict[PeerId, int] = {}  # who catches up -> where in the ring its next run begins
        self._ring: list[PeerId] = []
        self._ring_ns = 0

    def changed(self, beat: Beat, tellers: list[PeerId]) -> None:
        """A beat that is newer than what was known; `tellers` may grow until it is passed on."""
        self._changes[PeerId(beat.peer)] = _Change(beat, tellers)

    def forget(self, peer: PeerId) -> None:
        self._changes.pop(peer, None)

    # push

    def push_soon(self, now_ns: int) -> Effects:
        """What changed cannot wait for the tick."""
        if self._is_push_set:
            return []
        self._is_push_set = True
        return [WakeAt(now_ns + PUSH_NS, PUSH)]

    def push_now(self) -> Effects:
        """`push_soon` is due: tell the half that the last tick told; the next one tells the other."""
        self._is_push_set = False
        fresh = [change for change in self._changes.values() if not change.is_half_told]
        for change in fresh:
            change.is_half_told = True
        return self._push(fresh)

    def push_half(self) -> Effects:
        """The tick: all changes to the other half of the neighbours."""
        if not self._changes:
            return []
        self._half ^= 1
        changes = list(self._changes.values())
        self._changes = {PeerId(change.beat.peer): change for change in changes if not change.is_half_told}
        for change in self._changes.values():
            change.is_half_told = True
        return self._push(changes)

    def _push(self, changes: list[_Change]) -> Effects:
        out: Effects = []
        for neighbour in self._peers.neighbours()[self._half :: 2]:
            news = [
                change.beat for change in changes if neighbour not in change.tellers and change.beat.peer != neighbour
            ]
            for at in range(0, len(news), BEATS_A_MESSAGE):
                out.append(ToPeer(neighbour, Beats(tuple(news[at : at + BEATS_A_MESSAGE]), False)))
        return out

    # push-pull

    def catch_up(self, peer: PeerId) -> None:
        """It knows peers that this node does not: ask it with each tick until all it knows has been told."""
        self._catch_up = peer
        self._asks_left = 1 + len(self._book.entries) // BEATS_A_MESSAGE

    def down(self, peer: PeerId) -> None:
        """No link with it any more."""
        self._cursors.pop(peer, None)

    def ask_at_once(self) -> None:
        """This node may have missed much: the next tick asks."""
        self._pull_ns = 0

    def pull(self, now_ns: int) -> Effects:
        """The tick: one exchange, if it is time."""
        peer = self._catch_up
        if peer is not None and self._asks_left > 0 and self._peers.is_linked(peer):
            self._asks_left -= 1
            return self._ask(peer, BEATS_A_MESSAGE, now_ns)
        if now_ns - self._pull_ns < PULL_NS:
            return []
        self._pull_ns = now_ns
        neighbours = self._peers.neighbours()
        return self.ask(self._draws.one(neighbours), now_ns) if neighbours else []

    def ask(self, peer: PeerId, now_ns: int) -> Effects:
        """Tell a peer some beats, and be told what is newer there."""
        return self._ask(peer, PULL_BEATS, now_ns)

    def _ask(self, peer: PeerId, count: int, now_ns: int) -> Effects:
        return [ToPeer(peer, Beats(self._some(count, (), now_ns), True))]

    def answer(self, peer: PeerId, message: Beats, now_ns: int) -> Effects:
        """What is newer here than in the message, then what it does not name."""
        newer: list[Beat] = []
        named = {beat.peer for beat in message.beats}
        for beat in message.beats:
            mine = self._newest(PeerId(beat.peer))
            if mine is not None and (mine.seq, mine.count) > (beat.seq, beat.count):
                newer.append(mine)
        named.add(peer)
        # who names less than it might knows no more; who names more wants to catch up
        if len(message.beats) == PULL_BEATS:
            newer += self._some(PULL_BEATS - len(newer), named, now_ns)
        else:
            newer += self._some(BEATS_A_MESSAGE - len(newer), named, now_ns, peer)
        return [ToPeer(peer, Beats(tuple(newer), False))] if newer else []

    def _some(
        self, count: int, but: Container[bytes], now_ns: int, to: PeerId | None = None
    ) -> tuple[Beat, ...]:  # fmt: skip
        """At most `count` newest beats: the own one, then of those that are there, all or a run of them that begins at
        random; of the runs for one that catches up (`to`), where the last one ended."""
        found = []
        own = self._own.newest()
        if own is not None and own.peer not in but:
            found.append(own)
        if now_ns - self._ring_ns > RING_NS or len(self._ring) < len(self._order):
            self._ring, self._ring_ns = sorted(self._order), now_ns
        ring, order = self._ring, self._order
        start = self._cursors.get(to, -1) if to is not None else -1
        if not 0 <= start < len(ring):
            start = self._draws.below(len(ring)) if len(ring) > count else 0
        for place in range(start, start + len(ring)):
            if len(found) >= count:
                if to is not None:
                    self._cursors[to] = place % len(ring)
                break
            peer = ring[place - len(ring)]
            entry = order.get(peer)
            if entry is not None and entry.beat is not None and peer not in but:
                found.append(entry.beat)
        return tuple(found[: max(0, count)])

    def _newest(self, peer: PeerId) -> Beat | None:
        if peer == self._peers.me:
            return self._own.newest()
        entry = self._book.entries.get(peer)
        return entry.beat if entry is not None else None
