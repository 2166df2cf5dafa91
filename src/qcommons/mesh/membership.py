"""Membership: who is there, by signs of life that only their owner can make.

Flow: Beats of anybody -> *Membership* -> states in the peerbook, `News`; each few seconds the own beat, and what
changed, to the neighbours. docs/protocol/beats.md has the numbers with their reasons.

    known     a record, no sign of life yet; lost where none comes (or: the book is full, and it is not watched)
    alive     a beat, or bytes on an own link, within 2.5 periods
    suspect   nothing for 2.5 periods (5 s in a network of up to 64)
    lost      nothing for 7.5 periods (15 s), or its farewell came; tried for ever
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

import msgspec

from qcommons.base.effects import Send, note
from qcommons.base.units import NS_PER_S
from qcommons.mesh.beats import CHAIN_BEATS, FAREWELL, VALUE_BYTES
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

__all__ = ["PERIOD_NS", "Membership"]

PERIOD_NS = 2 * NS_PER_S
PEERS_A_PERIOD = 64
SUSPECT_HALVES, LOST_HALVES = 5, 15  # in half periods
BEAT_EARLY_NS = 250_000_000  # half a tick: the beat that is due until the next one
FROZEN_NS = 3 * NS_PER_S  # a tick so late means that this node slept, not the others
TELLERS_MAX = 12  # kept of one beat; whoever told it later is told it in vain
WANTS_MAX = 256
A_TELLER_MAX = 128  # a second: names that somebody made up must not crowd out the others
A_TELLER_ASKS_MAX = 8  # messages a second that ask it: below guard.RATES, whatever it was made to tell
PASS_ON_NS = NS_PER_S // 2  # between two beats of one peer that are passed on: an owner in a hurry hurries nobody else
WANT_AGAIN_NS = NS_PER_S
ASKS_MAX = 3
RECORDS_AN_ASK = 64
RECENT_NS = 60 * NS_PER_S
SLOW_TRY_NS = 5 * NS_PER_S
# Points of blame (docs/protocol/blame.md). Of a beat that does not follow, see doubts.py and peerbook.FALSE_BEAT.
OWN_BEAT = 5
MALFORMED_BEAT = 25
HASH_BYTES = 32


class _Want(msgspec.Struct):
    """A record that was asked for. beat: the sign of life that told of it, to be checked once it is here; asks: how
    often."""

    beat: Beat
    asked_ns: int
    asks: int = 1


class _Asked(msgspec.Struct):
    """Of one linked peer within a second: names asked for, and messages that asked."""

    since_ns: int = 0
    names: int = 0
    messages: int = 0


class Membership(PartBase):
    """order: those that are judged by silence, longest silent first. lost, away: the others that are no strangers."""

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
        self._wants: OrderedDict[PeerId, _Want] = OrderedDict()
        self._asked_of: dict[PeerId, _Asked] = {}
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
        for beat in message.beats:
            entry = entries.get(beat.peer)
            known = entry.beat if entry is not None else None
            if known is not None and known.seq == beat.seq and known.count >= beat.count:  # by far the most
                if known.count > beat.count:
                    continue
                if known.value == beat.value:
                    if len(entry.tellers) < TELLERS_MAX:  # type: ignore[union-attr]  # there is one: it has a beat
                        entry.tellers.append(peer)  # type: ignore[union-attr]
                    continue
            blame = self._take(entry, beat, peer, wanted, now_ns, out)
            if blame is not None:
                out.append(blame)
                break  # the rest is not worth the work
        if wanted and self._may_ask(peer, now_ns):
            out.append(ToPeer(peer, WantRecords(tuple(wanted))))
            self._telling.catch_up(peer)
        if message.reply:
            out += self._telling.answer(peer, message, now_ns)
        return out

    def _take(
        self, entry: Entry | None, beat: Beat, teller: PeerId, wanted: list[bytes], now_ns: int, out: Effects
    ) -> Blame | None:
        """A beat that says something new, or something else than what is known."""
        peer = PeerId(beat.peer)
        if len(peer) != HASH_BYTES or len(beat.value) != VALUE_BYTES or not 1 <= beat.count <= CHAIN_BEATS:
            return Blame(teller, MALFORMED_BEAT, "malformed beat")
        if peer == self._peers.me:
            return self._of_me(beat, teller, wanted)
        if entry is None or beat.seq > entry.signed.record.seq:
            if self._may_want(entry, beat, teller, now_ns):
                wanted.append(peer)
            return None
        if beat.seq < entry.signed.record.seq:
            return None
        known = entry.beat
        steps = beat.count - known.count if known is not None else beat.count
        if not self._book.doubts.may_check(teller, steps, now_ns):
            return None
        if self._is_true(entry, beat):
            out += self._accept(entry, beat, teller, now_ns)
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

    def _may_ask(self, teller: PeerId, now_ns: int) -> bool:
        """What is not asked of `teller` now is asked of another in a second."""
        asked = self._asked(teller, now_ns)
        asked.messages += 1
        return asked.messages <= A_TELLER_ASKS_MAX

    def _asked(self, teller: PeerId, now_ns: int) -> _Asked:
        asked = self._asked_of.get(teller)
        if asked is None or now_ns - asked.since_ns >= WANT_AGAIN_NS:
            asked = self._asked_of[teller] = _Asked(now_ns)
        return asked

    def _may_want(self, entry: Entry | None, beat: Beat, teller: PeerId, now_ns: int) -> bool:
        peer = PeerId(beat.peer)
        want = self._wants.get(peer)
        if want is not None and want.beat.seq >= beat.seq and now_ns - want.asked_ns < WANT_AGAIN_NS:
            if beat.seq == want.beat.seq and beat.count > want.beat.count:
                want.beat = beat
            return False
        if entry is None and not self._book.may_admit(peer, now_ns):
            return False
        asked = self._asked(teller, now_ns)
        if asked.names >= A_TELLER_MAX:
            return False
        asked.names += 1
        self._wants[peer] = _Want(beat, now_ns)
        self._wants.move_to_end(peer)
        if len(self._wants) > WANTS_MAX:
            self._wants.popitem(last=False)
        return True

    def _accept(self, entry: Entry, beat: Beat, teller: PeerId, now_ns: int) -> Effects:
        peer = entry.signed.peer
        entry.beat = beat
        entry.tellers = [teller]
        if now_ns - entry.told_ns >= PASS_ON_NS or beat.count == FAREWELL or entry.state != "alive":
            entry.told_ns = now_ns
            self._telling.changed(beat, entry.tellers)
        if beat.count == FAREWELL:
            planned = is_away(entry.signed.record, now_ns // NS_PER_S)
            state, cause = ("away", "said goodbye, as planned") if planned else ("lost", "said goodbye")
            return [*self._becomes(entry, state, cause, now_ns), *self._telling.push_soon(now_ns)]
        entry.heard_ns = now_ns
        if entry.state == "alive":
            self.order.move_to_end(peer)
            return []
        return [*self._becomes(entry, "alive", "a sign of life", now_ns), *self._telling.push_soon(now_ns)]

    def learned(self, signed: Signed, is_new: bool, now_ns: int) -> Effects:
        """The book has a newer record: the beat that told of it can be checked."""
        entry = self._book.entries.get(signed.peer)
        out: Effects = []
        if entry is None:
            return out  # forgotten again by what came with it
        if is_new:
            self.watch(entry, now_ns)
        want = self._wants.pop(signed.peer, None)
        if want is not None and want.beat.seq == signed.record.seq and self._is_true(entry, want.beat):
            out += self._accept(entry, want.beat, signed.peer, now_ns)
        elif is_new:
            out.append(_news(entry))
        return out

    def watch(self, entry: Entry, now_ns: int) -> None:
        """A peer that was not heard of yet: it has the time of any other to give a sign of life."""
        entry.heard_ns = now_ns
        self.order[entry.signed.peer] = entry

    def forgotten(self, peer: PeerId) -> None:
        """The book lets go of a peer."""
        for group in (self.order, self.lost, self.away, self._wants):
            group.pop(peer, None)
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
        self._asked_of.pop(peer, None)
        self._book.doubts.forget(peer)
        self._telling.down(peer)
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
        if now_ns - self._beat_ns >= self.period_ns - BEAT_EARLY_NS:
            self._open(now_ns)
        out += self._judge(now_ns)
        out += self._telling.push_half()
        out += self._telling.pull(now_ns)
        out += self._want_again(now_ns)
        return out + self._try_lost(now_ns)

    def _open(self, now_ns: int) -> None:
        self._beat_ns = now_ns
        self._telling.changed(self._own.beat(), [])

    def renewed(self, now_ns: int) -> Effects:
        """A new record is told by its first beat, at once."""
        self._open(now_ns)
        return self._telling.push_soon(now_ns)

    def farewell(self) -> Effects:
        """To all neighbours: this node leaves, and only it could say so."""
        beat = self._own.farewell()
        return [] if beat is None else [ToPeer(peer, Beats((beat,), False)) for peer in self._peers.neighbours()]

    def woken(self, token: Hashable, now_ns: int) -> Effects:
        return self._telling.push_now()

    def _judge(self, now_ns: int) -> Effects:
        half_ns = self.period_ns // 2
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
        for entry in list(self.away.values()):
            if not is_away(entry.signed.record, now_ns // NS_PER_S):
                entry.heard_ns = now_ns - SUSPECT_HALVES * half_ns  # it has the time of a suspect to come back
                out += self._becomes(entry, "suspect", "its absence is over", now_ns)
        return out

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
            (self.lost if state == "lost" else self.away)[peer] = entry
        if entry.state == state:
            return []
        entry.state, entry.cause, entry.since_ns = state, cause, now_ns
        return [_news(entry)]

    def _want_again(self, now_ns: int) -> Effects:
        """Records that did not come: who told of them may be gone, and others may have them. A name that nobody has is
        given up after three asks."""
        neighbours = self._peers.neighbours()
        late = [peer for peer, want in self._wants.items() if now_ns - want.asked_ns >= WANT_AGAIN_NS]
        if not late or not neighbours:
            return []
        for peer in late:
            want = self._wants[peer]
            if want.asks >= ASKS_MAX:
                del self._wants[peer]
            want.asked_ns, want.asks = now_ns, want.asks + 1
        again = tuple(peer for peer in late if peer in self._wants)[:RECORDS_AN_ASK]
        return [ToPeer(self._draws.one(neighbours), WantRecords(again))] if again else []

    # the lost

    def _try_lost(self, now_ns: int) -> Effects:
        """A small constant rate over all of them, for ever."""
        if not self.lost:
            return []
        recent = [p for p, e in self.lost.items() if now_ns - e.since_ns < RECENT_NS and e.cause != "said goodbye"]
        if not recent and now_ns - self._try_ns < SLOW_TRY_NS:
            return []
        self._try_ns = now_ns
        return [Try(self._draws.one(recent or list(self.lost)))]


def _news(entry: Entry) -> Send:
    return Send("mesh", News(entry.signed.peer, entry.state, entry.cause, entry.signed.record))
