"""Effort: how much this node works on the puzzles of those it dials.

Flow: puzzle of whoever was dialled -> *Effort.refusal* -> solved, or the dial fails with the reason. Addresses are
claims and doors may lie, so work is given by need and counted, in hashes, before it is begun:

    needed      no link at all, the owner's word, or messages that wait: up to `puzzle.BITS_WILLING`
    else        16 bits: an honest door asks for more only while it is flooded, and another peer will do
    an address  2^22 hashes at once (the hardest puzzle twice, or the hardest of an honest door four times), as many
                again in ten minutes
    in all      of what is not needed, 2^22 at once and 2^16 a second: a tenth of a core for ever
"""

from __future__ import annotations

from collections import OrderedDict

from qcommons.mesh.bucket import Bucket, Rate
from qcommons.mesh.puzzle import BITS_WILLING, Puzzle

__all__ = ["BITS_UNNEEDED", "Effort"]

BITS_UNNEEDED = 16
ADDRESS = Rate(per_s=(1 << 22) / 600, burst=1 << 22)
IN_ALL = Rate(per_s=1 << 16, burst=1 << 22)
ADDRESSES_MAX = 1_024  # the one that asked longest ago is forgotten


class Effort:
    """Of one node."""

    def __init__(self) -> None:
        self._in_all = Bucket()
        self._addresses: OrderedDict[str, Bucket] = OrderedDict()

    def refusal(self, asked: Puzzle, address: str, is_needed: bool, now_ns: int) -> str:
        """Why it is not solved; empty where it is, and then its work is counted.

        Args:
            address: that was dialled. is_needed: as in `events.Dial`.
        """
        willing = BITS_WILLING if is_needed else BITS_UNNEEDED
        if asked.bits > willing:
            return f"a puzzle of {asked.bits} bits; this link is worth {willing}"
        hashes = 1 << asked.bits  # expected
        bucket = self._addresses.pop(address, None) or Bucket()
        self._addresses[address] = bucket
        if len(self._addresses) > ADDRESSES_MAX:
            self._addresses.popitem(last=False)
        if not bucket.take(ADDRESS, now_ns, hashes):
            return f"a puzzle of {asked.bits} bits; its address has had its work for now"
        if not is_needed and not self._in_all.take(IN_ALL, now_ns, hashes):
            return f"a puzzle of {asked.bits} bits; enough was solved for now"
        return ""
