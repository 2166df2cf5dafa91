"""News gate: how much of the news of others passes here, and who pays for it.

Flow: gossip (news that are not here yet) -> *NewsGate* -> judged by their topic's check -> *NewsGate* -> passed on.

Origin and seq of news are claims until a signature over them was found. So nobody pays for what was said in his name:

    proven     the topic's check found the origin's signature over all of it: the origin pays, once it has passed
    unproven   the topic has no check: who told it pays
    refused    no such topic here: who told it pays, from the same bucket, and it goes no further
    own        this node's own: a bucket of its own, which nobody else can empty

Keys are free, so somebody may prove thousands of origins and talk for all of them. Therefore an origin that is known
here and says little (`MODEST`) is heard however much all the others say.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import msgspec

from qcommons.mesh.bucket import Bucket, Rate
from qcommons.mesh.records import PeerId

__all__ = ["ALL_PROVEN", "ALL_UNPROVEN", "MODEST", "ORIGIN_NEWS", "TOLD_NEWS", "NewsGate"]

# `news.SEEN_MAX` is what these let pass in the 22 minutes for which a key may have to be remembered.
ORIGIN_NEWS, ORIGIN_BYTES = Rate(20, 1_000), Rate(256 << 10, 4 << 20)
ALL_PROVEN = Rate(60, 4_096)
MODEST = Rate(1 / 30, 8)  # of each of the 512 peers of the book
TOLD_NEWS, TOLD_BYTES = Rate(20, 2_048), Rate(1 << 20, 8 << 20)  # by one peer; at once: all that it can have kept
ALL_UNPROVEN = Rate(40, 4_096)
ORIGINS_MAX = 1_024
ONE_ORIGIN = "one origin says more than 20 news or 256 KiB a second"
ALL_SAY = "all say more than 60 news a second"
ONE_TELLER = "one peer tells more than 20 unproven news or 1 MiB a second"
ALL_TELL = "more than 40 unproven news a second"


class _Payer(msgspec.Struct):
    """An origin, or who tells what no origin has proven. modest: of an origin alone."""

    news: Bucket
    bytes: Bucket
    modest: Bucket


class NewsGate:
    """State: a row an origin that has proven something, a row a linked peer that told something unproven.
    is_known: whether an origin stands in the book."""

    def __init__(self, is_known: Callable[[PeerId], bool]) -> None:
        self._is_known = is_known
        self._mine = _fresh()
        self._origins: OrderedDict[PeerId, _Payer] = OrderedDict()
        self._tellers: dict[PeerId, _Payer] = {}
        self._proven, self._unproven = Bucket(), Bucket()

    def why_not(self, origin: PeerId, size_bytes: int, now_ns: int) -> str | None:
        """Why news of `origin` would not pass even if it proved to be its own: asked before the proof is looked at,
        which costs 0.2 ms. Nobody pays for the question."""
        payer = self._origins.get(origin)
        if payer is not None and (
            payer.news.left(ORIGIN_NEWS, now_ns) < 1 or payer.bytes.left(ORIGIN_BYTES, now_ns) < size_bytes
        ):
            return ONE_ORIGIN
        if self._proven.left(ALL_PROVEN, now_ns) >= 1:
            return None
        is_modest = payer is None or payer.modest.left(MODEST, now_ns) >= 1
        return None if is_modest and self._is_known(origin) else ALL_SAY

    def passed(self, origin: PeerId, size_bytes: int, now_ns: int) -> None:
        """News that `origin` has signed pass, after `why_not` had nothing against it."""
        payer = self._origins.get(origin)
        if payer is None:
            payer = self._origins[origin] = _fresh()
            if len(self._origins) > ORIGINS_MAX:
                self._origins.popitem(last=False)
        self._origins.move_to_end(origin)
        payer.news.take(ORIGIN_NEWS, now_ns)
        payer.bytes.take(ORIGIN_BYTES, now_ns, size_bytes)
        if not (self._is_known(origin) and payer.modest.take(MODEST, now_ns)):
            self._proven.take(ALL_PROVEN, now_ns)

    def told(self, teller: PeerId, size_bytes: int, now_ns: int) -> str | None:
        """Why unproven news told by `teller` do not pass; None: they do, and `teller` has paid."""
        payer = self._tellers.get(teller)
        if payer is None:
            payer = self._tellers[teller] = _fresh()
        if not payer.news.take(TOLD_NEWS, now_ns) or not payer.bytes.take(TOLD_BYTES, now_ns, size_bytes):
            return ONE_TELLER
        return None if self._unproven.take(ALL_UNPROVEN, now_ns) else ALL_TELL

    def refused(self, teller: PeerId, now_ns: int) -> None:
        """`teller` told what goes no further: it has so much less left for what would."""
        payer = self._tellers.get(teller)
        if payer is None:
            payer = self._tellers[teller] = _fresh()
        payer.news.take(TOLD_NEWS, now_ns)

    def mine(self, size_bytes: int, now_ns: int) -> str | None:
        """Why this node's own news do not pass: beyond this, others would drop them."""
        payer = self._mine
        if not payer.news.take(ORIGIN_NEWS, now_ns) or not payer.bytes.take(ORIGIN_BYTES, now_ns, size_bytes):
            return ONE_ORIGIN
        return None

    def forget(self, teller: PeerId) -> None:
        """Its link ended."""
        self._tellers.pop(teller, None)


def _fresh() -> _Payer:
    return _Payer(Bucket(), Bucket(), Bucket())
