"""Membership: who is there, by signs of life that only their owner can make.

Flow: Beats of anybody -> *Membership* -> states in the peerbook, `News`; each few seconds the own beat, and what
changed, to the neighbours. docs/protocol/beats.md has the numbers with their reasons.

    known     a record, no sign of life yet; lost where none comes (or: the book is full, and it is not watched)
    alive     a beat, or bytes on an own link, within 2.5 periods
    suspect   nothing for 2.5 periods (5 s in a network of up to 64)
    lost      nothing for 7.5 periods (15 s); tried for ever
    stopped   its farewell came, and nothing since; tried as the lost are, and known after a start of this node
    away      nothing, but its record says so
The period is 2 s for up to 64 known peers and grows with their number, so that a node hears and passes on 32 beats a
second however large the network is. Where the book is full not everybody knows everybody, and most beats get lost on
the way: then only linked peers are judged.

A node that was frozen has judged nobody meanwhile: silence counts from its waking. What is passed on stands in
`telling.py`, whose word is doubted in `doubts.py`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import cast

from qcommons.base.effects import Send, Store, note
from qcommons.base.units import NS_PER_S
from qcommons.mesh import farewells
from qcommons.mesh.beats import CHAIN_BEATS, FAREWELL, VALUE_BYTES
from qcommons.mesh.doubts import FEW_STEPS
from qcommons.mesh.draws import Draws
from qcommons.mesh.events import Crypto, News
from qcommons.mesh.inside import Try
from qcommons.mesh.messages import Beats, Message, WantRecords
from qcommons.mesh.own import Own
from qcommons.mesh.parts import Blame, Effects, PartBase, Peers, ToPeer
from qcommons.mesh.peer_record import is_away
from qcommons.mesh.peerbook import Entry, PeerBook
from qcommons.mesh.records import Beat, PeerId, Signed
from qcommons.mesh.telling import Telling
from qcommons.mesh.wants import Wants

__all__ = ["PERIOD_NS", "Membership"]

PERIOD_NS = 2 * NS_PER_S
PEERS_A_PERIOD = 64
SUSPECT_HALVES, LOST_HALVES = 5, 15  # in half periods
LATE_PERIODS = 2  # half a period before it is suspect: time to ask those whom this node asked to be quiet
BEAT_EARLY_NS = 250_000_000  # half a tick: the beat that is due until the next one
EVER_NS = 1 << 63
FROZEN_NS = 3 * NS_PER_S  # a tick so late means that this node slept, not the others
PASS_ON_NS = NS_PER_S // 2  # between two beats of one peer that are passed on: an owner in a hurry hurries nobody else
RECENT_NS = 60 * NS_PER_S
SLOW_TRY_NS = 5 * NS_PER_S
# Points of blame (docs/protocol/blame.md). Of a beat that does not follow, see doubts.py and peerbook.FALSE_BEAT.
OWN_BEAT = 5
MALFORMED_BEAT = 25
HASH_BYTES = 32


class Membership(PartBase):
    """order: those that are judged by silence, longest silent first. lost (the stopped among them), away: the others
    that are no strangers."""

    NAME = "membership"
    KINDS = (Beats,)

    def __init__(
        self, peers: Peers, book: PeerBook, own: Own, crypto: Crypto, draws: Draws, heard_ns: Callable[[PeerId], int]
    ) -> None:
        self.order: OrderedDict[PeerId, Entry] = OrderedDict()
        self.lost: dict[PeerId, Entry] = {}
        self.away: dict[PeerId, Entry] = {}
        self.awake_ns = 0
        self._peers = peers
        self._book = book
        self._own = own
        self._crypto = crypto
        self._draws = draws
        self._heard_ns = heard_ns
        self._telling = Telling(peers, book, own, draws, self.order)
        self._wants = Wants(book.may_admit, draws)
        self._tick_ns = self._beat_ns = self._try_ns = 0

    @property
    def period_ns(self) -> int:
        """Between two beats of a node that knows as many peers as this one."""
        return PERIOD_NS * max(1, -(-len(self._book.entries) // PEERS_A_PERIOD))

    def alive(self) -> list[PeerId]:
        """In a stable order, the longest silent first."""
        return [peer for peer, entry in self.order.items() if entry.state == "alive"]

    # what others say

    def came(self, peer: PeerId, id: int, message: Message, now_ns: int) -> Effects:
        """Beats: newer ones count and are passed on; unknown peers' records are asked for."""
        assert isinstance(message, Beats)
        out: Effects = []
        wanted: list[bytes] = []
        entries = cast(dict[bytes, Entry], self._book.entries)
        bit = self._telling.bit(peer)
        fresh = 0
        for beat in message.beats:
            entry = entries.get(beat.peer)
            if entry is not None and (known := entry.beat) is not None and known.seq == beat.seq:
                steps = beat.count - known.count
                if steps < 0:
                    continue
                if not steps and known.value == beat.value:
                    entry.tellers |= bit
                    continue
                if 0 < steps <= FEW_STEPS and entry.state == "alive" and self._is_next(beat, steps, known):
                    self._goes_on(entry, beat, bit, now_ns)
                    fresh += 1
                    continue
            blame = self._take(entry, beat, peer, bit, wanted, now_ns, out)
            fresh += entry is not None and entry.beat is beat
            if blame is not None:
                out.append(blame)
                break  # the rest is not worth the work
        self._telling.heard(peer, message, fresh)
        if wanted and self._wants.may_ask(peer, now_ns):
            out.append(ToPeer(peer, WantRecords(tuple(wanted))))
            self._telling.catch_up(peer)
        if message.reply:
            out += self._telling.answer(peer, message, now_ns)
        return out

    def _is_next(self, beat: Beat, steps: int, known: Beat) -> bool:
        """By far the most of what is new: one of the next beats of a peer that is alive. `_take` would do the same."""
        if beat.count >= FAREWELL or len(beat.value) != VALUE_BYTES:
            return False
        return self._crypto.follows(beat.value, steps, known.value)

    def _goes_on(self, entry: Entry, beat: Beat, bit: int, now_ns: int) -> None:
        entry.beat, entry.tellers, entry.heard_ns = beat, bit, now_ns
        self.order.move_to_end(PeerId(beat.peer))
        if now_ns - entry.told_ns >= PASS_ON_NS:
            entry.told_ns = now_ns
            self._telling.changes[beat.peer] = entry

    def _take(
        self, entry: Entry | None, beat: Beat, teller: PeerId, bit: int, wanted: list[bytes], now_ns: int, out: Effects
    ) -> Blame | None:
        """A beat that says something new, or something else than what is known."""
        peer = PeerId(beat.peer)
        if len(peer) != HASH_BYTES or len(beat.value) != VALUE_BYTES or not 1 <= beat.count <= CHAIN_BEATS:
            return Blame(teller, MALFORMED_BEAT, "malformed beat")
        if peer == self._peers.me:
            return self._of_me(beat, teller, wanted)
        if entry is None or beat.seq > entry.signed.record.seq:
            if self._wants.may_want(beat, teller, entry is not None, now_ns):
                wanted.append(peer)
            return None
        if beat.seq < entry.signed.record.seq:
            return None
        known = entry.beat
        steps = beat.count - known.count if known is not None else beat.count
        if not self._book.doubts.may_check(teller, steps, now_ns):
            return None
        if self._is_true(entry, beat):
            out += self._accept(entry, beat, bit, now_ns)
        elif self._book.doubts.ask(teller, peer, steps, now_ns):
            wanted.append(peer)
        return None

    def _is_true(self, entry: Entry, beat: Beat) -> bool:
        known = entry.beat
        if known is None:
            return self._crypto.follows(beat.value, beat.count, entry.signed.record.anchor)
        return self._crypto.follows(beat.value, beat.count - known.count, known.value)

    def _of_me(self, beat: Beat, teller: PeerId, wanted: list[bytes]) -> Blame | None:
        """Only this node signs its records, one a seq: who passes on a beat of one it did not open has not looked."""
        signed = self._own.signed
        seq = signed.record.seq if signed is not None else 0
        if beat.seq > seq:
            wanted.append(beat.peer)  # a record of this node that it has forgotten, or a lie: the record will tell
            return None
        if beat.seq == seq and beat.count > self._own.beats:
            return Blame(teller, OWN_BEAT, "a beat of this node that it did not open")
        return None

    def _accept(self, entry: Entry, beat: Beat, bit: int, now_ns: int) -> Effects:
        """bit: of who told it, among the neighbours."""
        is_last = beat.count == FAREWELL
        if entry.state == "alive" and not is_last:
            self._goes_on(entry, beat, bit, now_ns)
            return []
        entry.beat, entry.tellers, entry.told_ns = beat, bit, now_ns
        if is_last:
            planned = is_away(entry.signed.record, now_ns // NS_PER_S)
            state, cause = ("away", "said goodbye, as planned") if planned else ("stopped", "said goodbye")
        else:
            entry.heard_ns = now_ns
            state, cause = "alive", "a sign of life"
        return [*self._becomes(entry, state, cause, now_ns), *self._telling.urgent(entry, now_ns)]

    def learned(self, signed: Signed, is_new: bool, now_ns: int) -> Effects:
        """The book has a newer record: the beat that told of it can be checked."""
        entry = self._book.entries.get(signed.peer)
        out: Effects = []
        if entry is None:
            return out  # forgotten again by what came with it
        if is_new:
            self.watch(entry, now_ns)
        beat = self._wants.take(signed.peer)
        if beat is not None and beat.seq == signed.record.seq and self._is_true(entry, beat):
            out += self._accept(entry, beat, self._telling.bit(signed.peer), now_ns)
        elif is_new:
            out.append(_news(entry))
        return out

    def watch(self, entry: Entry, now_ns: int) -> None:
        """A peer that was not heard of yet: it has the time of any other to give a sign of life."""
        entry.heard_ns = now_ns
        self.order[entry.signed.peer] = entry

    def load(self, key: str, value: bytes) -> Effects:
        """A row of `farewells.KEY`: who said goodbye before this node was stopped is not lost."""
        found = farewells.read(key, value, self._book.entries, self._crypto.follows)
        if found is None:
            return [Store(key, None)]
        entry, beat, since_ns = found
        entry.beat = beat
        self._becomes(entry, "stopped", "said goodbye", since_ns)
        return []

    def forgotten(self, peer: PeerId) -> None:
        """The book lets go of a peer."""
        for group in (self.order, self.lost, self.away):
            group.pop(peer, None)
        self._wants.take(peer)
        self._telling.forget(peer)

    # links

    def up(self, peer: PeerId, now_ns: int) -> Effects:
        """A session is a sign of life; both ends tell each other what they know."""
        entry = self._book.entries.get(peer)
        if entry is None:
            return []
        entry.heard_ns = now_ns
        out = self._becomes(entry, "alive", "linked", now_ns) if entry.state != "alive" else []
        return [*out, *self._telling.ask(peer, now_ns)]

    def down(self, peer: PeerId, reason: str, now_ns: int) -> Effects:
        self._wants.down(peer)
        self._book.doubts.forget(peer)
        self._telling.down(peer)
        return []

    def neighbour(self, peer: PeerId, is_one: bool, now_ns: int) -> Effects:
        self._telling.neighbour(peer, is_one)
        return []

    # time

    def tick(self, now_ns: int) -> Effects:
        """Twice a second: own beat, judgement, pushes, one exchange, one try of a lost member."""
        out: Effects = []
        if self._tick_ns and now_ns - self._tick_ns > FROZEN_NS:
            self.awake_ns = now_ns
            self._telling.ask_at_once()
            out.append(note("mesh_was_frozen", seconds=round((now_ns - self._tick_ns) / NS_PER_S, 1)))
        self._tick_ns = now_ns
        period_ns = self.period_ns
        if now_ns - self._beat_ns >= period_ns - BEAT_EARLY_NS:
            self._beat_ns = now_ns
            self._telling.own(self._own.beat())
        is_late = False
        if now_ns - self._longest_silent_ns() >= LATE_PERIODS * period_ns:
            out += self._judge(now_ns, period_ns // 2)
            is_late = self._is_somebody_late(now_ns, period_ns)
        if self.away:
            out += self._back(now_ns, period_ns // 2)
        out += self._listen(is_late, now_ns, period_ns)
        out += self._telling.push()
        out += self._telling.pull(now_ns)
        if self._wants:
            out += self._wants.again(self._peers.neighbours(), now_ns)
        if self.lost:
            out += self._try_lost(now_ns)
        return out

    def renewed(self, now_ns: int) -> Effects:
        """A new record is told by its first beat, at once."""
        # many nodes may begin in one second: each goes on at a time of its own
        self._beat_ns = now_ns - self._draws.below(self.period_ns // 2)
        return self._telling.own_urgent(self._own.beat(), now_ns)

    def farewell(self) -> Effects:
        """To all that are linked, for not each of them is a neighbour: this node leaves, and only it could say so."""
        beat = self._own.farewell()
        return [] if beat is None else [ToPeer(peer, Beats((beat,), False)) for peer in self._peers.linked()]

    def woken(self, token: Hashable, now_ns: int) -> Effects:
        return self._telling.push_now()

    def _longest_silent_ns(self) -> int:
        """When the longest silent of those that are judged was heard; for ever, where there is none."""
        for entry in self.order.values():
            return max(entry.heard_ns, self.awake_ns)
        return EVER_NS

    def _judge(self, now_ns: int, half_ns: int) -> Effects:
        silent, heard = [], []
        for peer, entry in self.order.items():
            if now_ns - max(entry.heard_ns, self.awake_ns) < SUSPECT_HALVES * half_ns:
                break
            on_link_ns = self._heard_ns(peer)
            if on_link_ns > entry.heard_ns:
                entry.heard_ns = on_link_ns
                heard.append(entry)
            else:
                silent.append(entry)
        out: Effects = []
        for entry in heard:
            self.order.move_to_end(entry.signed.peer)
        for entry in silent:
            out += self._judge_one(entry, now_ns, half_ns)
        return out

    def _back(self, now_ns: int, half_ns: int) -> Effects:
        """Those whose planned absence is over."""
        out: Effects = []
        for entry in list(self.away.values()):
            if not is_away(entry.signed.record, now_ns // NS_PER_S):
                entry.heard_ns = now_ns - SUSPECT_HALVES * half_ns  # it has the time of a suspect to come back
                out += self._becomes(entry, "suspect", "its absence is over", now_ns)
        return out

    def _listen(self, is_late: bool, now_ns: int, period_ns: int) -> Effects:
        """Some neighbours may be quiet, unless somebody is late. (Where the book is full, most are never heard.)"""
        if is_late and self._telling.has_quiet and not self._book.is_full:
            return self._telling.listen()
        return self._telling.choose(now_ns, period_ns)

    def _is_somebody_late(self, now_ns: int, period_ns: int) -> bool:
        since_ns = now_ns - LATE_PERIODS * period_ns
        for peer, entry in self.order.items():
            if max(entry.heard_ns, self.awake_ns) > since_ns:
                return False
            if entry.state == "alive" and self._heard_ns(peer) <= since_ns:
                return True
        return False

    def _judge_one(self, entry: Entry, now_ns: int, half_ns: int) -> Effects:
        silent_ns = now_ns - max(entry.heard_ns, self.awake_ns)
        if is_away(entry.signed.record, now_ns // NS_PER_S):
            return self._becomes(entry, "away", "as its record says", now_ns)
        if silent_ns >= LOST_HALVES * half_ns:
            return self._becomes(entry, "lost", f"no sign of life for {silent_ns / NS_PER_S:.0f} s", now_ns)
        if entry.state == "suspect" or (entry.state == "known" and not self._book.is_full):
            return []
        if self._book.is_full and not self._peers.is_linked(entry.signed.peer):
            return self._becomes(entry, "known", "the network is larger than the book: not watched", now_ns)
        return self._becomes(entry, "suspect", f"no sign of life for {silent_ns / NS_PER_S:.1f} s", now_ns)

    def _becomes(self, entry: Entry, state: str, cause: str, now_ns: int) -> Effects:
        peer = entry.signed.peer
        for group in (self.order, self.lost, self.away):
            group.pop(peer, None)
        if state in ("alive", "suspect"):
            self.order[peer] = entry
            if state == "suspect":
                self.order.move_to_end(peer, last=False)
        elif state != "known":
            (self.away if state == "away" else self.lost)[peer] = entry
        if entry.state == state:
            return []
        out: Effects = [farewells.dropped(peer)] if entry.state == "stopped" else []
        entry.state, entry.cause, entry.since_ns = state, cause, now_ns
        if state == "stopped":
            out.append(farewells.kept(entry))
        return [*out, _news(entry)]

    # the lost

    def _try_lost(self, now_ns: int) -> Effects:
        """A small constant rate over all of them, for ever."""
        recent = [p for p, e in self.lost.items() if now_ns - e.since_ns < RECENT_NS and e.state == "lost"]
        if not recent and now_ns - self._try_ns < SLOW_TRY_NS:
            return []
        self._try_ns = now_ns
        return [Try(self._draws.one(recent or list(self.lost)))]


def _news(entry: Entry) -> Send:
    return Send("mesh", News(entry.signed.peer, entry.state, entry.cause, entry.signed.record))
