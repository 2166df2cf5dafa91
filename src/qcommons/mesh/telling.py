"""Telling: which beats a node passes on, to whom, and when.

Flow: membership (a beat that counts) -> *Telling* -> Beats -> neighbours; Beats(reply) of others -> *answer*.

    push    with the tick (each 0.5 s) what changed goes to each neighbour that wants to be told and did not say it
            itself; a beat with which a state changed goes to all: to one half within 50 ms, to the other with the tick,
            since who waits a little hears who has it already
    quiet   over seven neighbours a beat comes seven times, and six times too often. So each node looks from whom it
            hears first, keeps the two best and all that tell it much, and asks the others to be quiet (the word is in
            every message of beats). As soon as a living peer is late, it listens to all of them again
    mend    each 2 s one random neighbour is told the beats of those that are silent longest, and answers with what is
            newer there, and with some that were not named
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
# How old the list may be of which random runs are taken, unless so many times more are there: who is new was pushed.
RING_NS, RING_GROWS = 4 * NS_PER_S, 1.125
# Two to hear from: with one each, news would go round in circles and reach nobody else; with two, a node that dies
# leaves nobody deaf, and a random graph of so many ways in and out is in one piece.
LOUD_MIN = TOLD_MIN = 2
CHOOSE_PERIODS = 2  # what was heard in so many periods decides who is to be quiet
STALE_SHARE = 1  # more known beats than so many for each new one are too many
STALE_MIN = 8  # and fewer than this are not worth a word


class _Own(msgspec.Struct):
    """What `Entry` is for a peer: this node's own beat, and who has it."""

    beat: Beat
    tellers: int = 0


class _Near(msgspec.Struct):
    """A neighbour by what it tells. bit: its place in `tellers`. fresh, stale: beats that were new or known, since the
    last choice. is_quiet: it was asked to be. is_deaf: it asked this node to be."""

    bit: int
    fresh: int = 0
    stale: int = 0
    is_quiet: bool = False
    is_deaf: bool = False


class Telling:
    """order: the peers that are there, longest silent first, by membership; only those are told of.

    changes: whose newer beat goes out with the tick; membership puts entries there. Their `tellers` has the bits of the
    neighbours that have the beat, and may grow until it is passed on.
    """

    def __init__(
        self, peers: Peers, book: PeerBook, own: Own, draws: Draws, order: OrderedDict[PeerId, Entry]
    ) -> None:  # fmt: skip
        self.changes: dict[bytes, Entry | _Own] = {}
        self._peers = peers
        self._book = book
        self._own = own
        self._draws = draws
        self._order = order
        self._urgent: dict[bytes, Entry | _Own] = {}
        self._half_told: dict[bytes, Entry | _Own] = {}  # urgent ones that one half of the neighbours was told
        self._half = 0
        self._is_push_set = False
        self._near: dict[PeerId, _Near] = {}
        self._choose_ns = 0
        self._pull_ns = 0
        self._catch_up: PeerId | None = None
        self._asks_left = 0
        self._cursors: dict[PeerId, int] = {}  # who catches up -> where in the ring its next run begins
        self._ring: list[PeerId] = []
        self._ring_ns = 0

    def own(self, beat: Beat) -> None:
        """This node's own beat goes out with the tick."""
        self.changes[beat.peer] = _Own(beat)

    def own_urgent(self, beat: Beat, now_ns: int) -> Effects:
        """It cannot wait for the tick."""
        return self.urgent(_Own(beat), now_ns)

    def urgent(self, change: Entry | _Own, now_ns: int) -> Effects:
        """A beat with which a state changed: it cannot wait for the tick, and all neighbours want it."""
        assert change.beat is not None
        self._urgent[change.beat.peer] = change
        if self._is_push_set:
            return []
        self._is_push_set = True
        return [WakeAt(now_ns + PUSH_NS, PUSH)]

    def forget(self, peer: PeerId) -> None:
        for changes in (self.changes, self._urgent, self._half_told):
            changes.pop(peer, None)

    # push

    def push_now(self) -> Effects:
        """`urgent` is due: tell the half that the last tick told; the next one tells the other."""
        self._is_push_set = False
        urgent, self._urgent = self._urgent, {}
        self._half_told.update(urgent)
        out: Effects = []
        for neighbour in self._peers.neighbours()[self._half :: 2]:
            out += self._push(neighbour, urgent)
        return out

    def push(self) -> Effects:
        """The tick: changes to all that want them, urgent ones to the other half of the neighbours."""
        self._half ^= 1
        if not (self.changes or self._urgent or self._half_told):
            return []
        changes, urgent = self.changes, self._half_told | self._urgent
        self.changes, self._half_told, self._urgent = {}, self._urgent, {}
        neighbours = self._peers.neighbours()
        wanting = self._wanting(neighbours)
        out: Effects = []
        for place, neighbour in enumerate(neighbours):
            due = changes if neighbour in wanting else {}
            if urgent and place % 2 == self._half:
                due = due | urgent
            if due:
                out += self._push(neighbour, due)
        return out

    def _wanting(self, neighbours: tuple[PeerId, ...]) -> list[PeerId]:
        """Those that did not ask this node to be quiet; two at least, so that its own beats always have two ways."""
        deaf = [peer for peer in neighbours if (near := self._near.get(peer)) is not None and near.is_deaf]
        if not deaf:
            return list(neighbours)
        wanting = [peer for peer in neighbours if peer not in deaf]
        return wanting + deaf[: max(0, TOLD_MIN - len(wanting))]

    def _push(self, to: PeerId, changes: dict[bytes, Entry | _Own]) -> Effects:
        bit = self.bit(to)
        news = [
            beat for change in changes.values()
            if not change.tellers & bit and (beat := change.beat) is not None and beat.peer != to
        ]  # fmt: skip
        return [
            self._beats(to, tuple(news[at : at + BEATS_A_MESSAGE]), False)
            for at in range(0, len(news), BEATS_A_MESSAGE)
        ]  # fmt: skip

    def _beats(self, to: PeerId, beats: tuple[Beat, ...], reply: bool) -> ToPeer:
        near = self._near.get(to)
        return ToPeer(to, Beats(beats, reply, near is not None and near.is_quiet))

    # quiet

    def bit(self, peer: PeerId) -> int:
        """Its place in `tellers`; 0 where it is no neighbour."""
        near = self._near.get(peer)
        if near is not None:
            return near.bit
        return self._met(peer).bit if peer in self._peers.neighbours() else 0

    def _met(self, peer: PeerId) -> _Near:
        taken = sum(near.bit for near in self._near.values())
        bit = ~taken & (taken + 1)  # the lowest that is free
        for changes in (self.changes, self._urgent, self._half_told):
            for change in changes.values():
                change.tellers &= ~bit  # whoever had it before
        near = self._near[peer] = _Near(bit)
        return near

    def heard(self, peer: PeerId, message: Beats, fresh: int) -> None:
        """A message of beats, so many of them new."""
        near = self._near.get(peer)
        if near is None:
            return
        near.is_deaf = message.quiet
        if not message.reply:
            near.fresh += fresh
            near.stale += len(message.beats) - fresh

    def neighbour(self, peer: PeerId, is_one: bool) -> None:
        """It became a neighbour, or is none any more: where too few are left to hear from, others must speak."""
        self._near.pop(peer, None)
        if is_one:
            self._met(peer)
        elif sum(not near.is_quiet for near in self._near.values()) < LOUD_MIN:
            self._choose_ns = 0

    def choose(self, now_ns: int, period_ns: int) -> Effects:
        """The tick: who is to be quiet, if it is time."""
        if not self._choose_ns:
            out = self.listen()
            self._choose_ns = now_ns
            return out
        if now_ns - self._choose_ns < CHOOSE_PERIODS * period_ns:
            return []
        self._choose_ns = now_ns
        loud = [(peer, near) for peer, near in self._near.items() if not near.is_quiet]
        loud.sort(key=lambda row: -row[1].fresh)
        out = []
        for peer, near in loud[LOUD_MIN:]:
            if near.stale > STALE_SHARE * near.fresh + STALE_MIN:
                near.is_quiet = True
                out.append(self._beats(peer, (), False))
        for _, near in loud:
            near.fresh = near.stale = 0
        return out

    def listen(self) -> Effects:
        """To everybody again, and ask at once what was missed; the next choice begins anew."""
        out: Effects = []
        for peer, near in self._near.items():
            if near.is_quiet:
                near.is_quiet = False
                out.append(self._beats(peer, self._silent(), True))
            near.fresh = near.stale = 0
        self._choose_ns = 0
        return out

    @property
    def has_quiet(self) -> bool:
        return any(near.is_quiet for near in self._near.values())

    # mend

    def catch_up(self, peer: PeerId) -> None:
        """It knows peers that this node does not: ask it with each tick until all it knows has been told."""
        self._catch_up = peer
        self._asks_left = 1 + len(self._book.entries) // BEATS_A_MESSAGE

    def down(self, peer: PeerId) -> None:
        """No link with it any more."""
        self._cursors.pop(peer, None)

    def ask_at_once(self) -> None:
        """This node may have missed much: the next tick asks."""
        self._pull_ns = self._choose_ns = 0

    def pull(self, now_ns: int) -> Effects:
        """The tick: one exchange, if it is time."""
        peer = self._catch_up
        if peer is not None and self._asks_left > 0 and self._peers.is_linked(peer):
            self._asks_left -= 1
            return [self._beats(peer, self._some(BEATS_A_MESSAGE, (), now_ns), True)]
        if now_ns - self._pull_ns < PULL_NS:
            return []
        self._pull_ns = now_ns
        neighbours = self._peers.neighbours()
        return [self._beats(self._draws.one(neighbours), self._silent(), True)] if neighbours else []

    def ask(self, peer: PeerId, now_ns: int) -> Effects:
        """Tell a peer some beats, and be told what is newer there."""
        return [self._beats(peer, self._some(PULL_BEATS, (), now_ns), True)]

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
        return [self._beats(peer, tuple(newer), False)] if newer else []

    def _silent(self) -> tuple[Beat, ...]:
        """The own beat, and those of the longest silent."""
        own = self._own.newest()
        found = [own] if own is not None else []
        for entry in self._order.values():
            if len(found) >= PULL_BEATS:
                break
            if entry.beat is not None:
                found.append(entry.beat)
        return tuple(found)

    def _some(
        self, count: int, but: Container[bytes], now_ns: int, to: PeerId | None = None
    ) -> tuple[Beat, ...]:  # fmt: skip
        """At most `count` newest beats: the own one, then of those that are there, all or a run of them that begins at
        random; of the runs for one that catches up (`to`), where the last one ended."""
        found = []
        own = self._own.newest()
        if own is not None and own.peer not in but:
            found.append(own)
        if now_ns - self._ring_ns > RING_NS or len(self._ring) * RING_GROWS < len(self._order):
            self._ring, self._ring_ns = list(self._order), now_ns
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
