"""Doubts: beats that do not follow from the record held here, and who told them.

Flow: membership (a beat that does not follow) -> *Doubts.ask* -> WantRecords to the teller; peerbook (what that hands
over) -> *Doubts.shown* -> blame, or none.

Whoever told such a beat may believe it: a peer that signs two records of one seq gives one to each of two neighbours,
and each is deceived about what the other says. Only the record that the teller holds tells which it is:

    another one of that seq     its author signed two: the author is banned, both records are kept (peerbook)
    the very one held here      the teller could have seen that the beat does not follow from it: blamed
    a newer one, none in 10 s   nothing is known: nobody is blamed

Hashing for beats that follow from nothing is bounded by a bucket a teller: what takes more than a few steps is not
looked at while it is empty.
"""

from __future__ import annotations

import msgspec

from qcommons.base.units import NS_PER_S
from qcommons.mesh.bucket import Bucket, Rate
from qcommons.mesh.records import PeerId

__all__ = ["FEW_STEPS", "Doubts"]

ANSWER_NS = 10 * NS_PER_S
OPEN_MAX = 64  # about what one teller said; it is not asked about more
VAIN_STEPS = Rate(4_000, 20_000)  # of 0.5 us each: 2 ms a second, 10 at once
FEW_STEPS = 16  # looked at in any case: honest beats are one or two steps beyond the last one known


class _Teller(msgspec.Struct):
    vain: Bucket
    open: dict[PeerId, int]  # of whom it told -> until when its answer counts


class Doubts:
    """State: a row a linked peer that told what does not follow."""

    def __init__(self) -> None:
        self._tellers: dict[PeerId, _Teller] = {}

    def may_check(self, teller: PeerId, steps: int, now_ns: int) -> bool:
        """Whether a beat of so many steps, told by `teller`, is worth the hashing."""
        row = self._tellers.get(teller)
        return row is None or steps <= FEW_STEPS or row.vain.left(VAIN_STEPS, now_ns) >= steps

    def ask(self, teller: PeerId, peer: PeerId, steps: int, now_ns: int) -> bool:
        """A beat of `peer` told by `teller` did not follow after so many steps. Whether to ask for the record."""
        row = self._tellers.get(teller)
        if row is None:
            row = self._tellers[teller] = _Teller(Bucket(), {})
        row.vain.take(VAIN_STEPS, now_ns, steps)
        if peer not in row.open and len(row.open) >= OPEN_MAX:
            row.open = {about: until_ns for about, until_ns in row.open.items() if until_ns > now_ns}
        if row.open.get(peer, 0) > now_ns or len(row.open) >= OPEN_MAX:
            return False
        row.open[peer] = now_ns + ANSWER_NS
        return True

    def shown(self, teller: PeerId, peer: PeerId, is_the_same: bool, now_ns: int) -> bool:
        """`teller` handed over a record of `peer`; is_the_same: as the one held here. Whether that proves a lie."""
        row = self._tellers.get(teller)
        until_ns = row.open.pop(peer, 0) if row is not None else 0
        return is_the_same and until_ns > now_ns

    def forget_about(self, teller: PeerId, peer: PeerId) -> None:
        """It is settled."""
        row = self._tellers.get(teller)
        if row is not None:
            row.open.pop(peer, None)

    def forget(self, teller: PeerId) -> None:
        """Its link ended."""
        self._tellers.pop(teller, None)
