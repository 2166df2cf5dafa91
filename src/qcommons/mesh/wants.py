"""Wants: records that beats told of and that are not here; whom to ask for them, when, and how often.

Flow: a beat of an unknown record -> membership -> *Wants.may_want* -> WantRecords to who told; the record comes ->
*Wants.take* gives the beat back, to be checked; what did not come in a second is asked of a random neighbour.

Names cost nothing, so what one teller can make this node ask for is bounded in names and in messages, and what all
together can in names kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import msgspec

from qcommons.base.units import NS_PER_S
from qcommons.mesh.draws import Draws
from qcommons.mesh.messages import WantRecords
from qcommons.mesh.parts import Effects, ToPeer
from qcommons.mesh.records import Beat, PeerId

__all__ = ["Wants"]

WANTS_MAX = 256
A_TELLER_MAX = 128  # a second: names that somebody made up must not crowd out the others
A_TELLER_ASKS_MAX = 8  # messages a second that ask it: below guard.RATES, whatever it was made to tell
WANT_AGAIN_NS = NS_PER_S
ASKS_MAX = 3
RECORDS_AN_ASK = 64


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


class Wants:
    """may_admit: whether the book would take a record that nobody here needs."""

    def __init__(self, may_admit: Callable[[PeerId, int], bool], draws: Draws) -> None:
        self._may_admit = may_admit
        self._draws = draws
        self._wants: OrderedDict[PeerId, _Want] = OrderedDict()
        self._asked_of: dict[PeerId, _Asked] = {}

    def __len__(self) -> int:
        return len(self._wants)

    def may_want(self, beat: Beat, teller: PeerId, is_known: bool, now_ns: int) -> bool:
        """Whether to ask `teller` for the record that the beat is of. is_known: an older one is in the book."""
        peer = PeerId(beat.peer)
        want = self._wants.get(peer)
        if want is not None and want.beat.seq >= beat.seq and now_ns - want.asked_ns < WANT_AGAIN_NS:
            if beat.seq == want.beat.seq and beat.count > want.beat.count:
                want.beat = beat
            return False
        if not is_known and not self._may_admit(peer, now_ns):
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

    def may_ask(self, teller: PeerId, now_ns: int) -> bool:
        """What is not asked of `teller` now is asked of another in a second."""
        asked = self._asked(teller, now_ns)
        asked.messages += 1
        return asked.messages <= A_TELLER_ASKS_MAX

    def _asked(self, teller: PeerId, now_ns: int) -> _Asked:
        asked = self._asked_of.get(teller)
        if asked is None or now_ns - asked.since_ns >= WANT_AGAIN_NS:
            asked = self._asked_of[teller] = _Asked(now_ns)
        return asked

    def take(self, peer: PeerId) -> Beat | None:
        """Its record is here, or is wanted no more: the beat that told of it."""
        want = self._wants.pop(peer, None)
        return None if want is None else want.beat

    def down(self, teller: PeerId) -> None:
        """No link with it any more."""
        self._asked_of.pop(teller, None)

    def again(self, neighbours: tuple[PeerId, ...], now_ns: int) -> Effects:
        """Records that did not come: who told of them may be gone, and others may have them. A name that nobody has is
        given up after three asks."""
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
