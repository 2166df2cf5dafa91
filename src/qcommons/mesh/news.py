"""News as they are remembered: what was heard already, and what can be given to others who missed it.

Flow: gossip -> *NewsShelf* -> gossip (repair). Two memories, both bounded:

    kept   whole news of the last 5 minutes, for repair: 2,048 of them and 4 MiB at most, the oldest go first
    seen   keys alone, as long as the news could come again. News carry the time at which they were made, and are taken
           only while that is less than 10 minutes away; so what is forgotten here cannot be heard a second time.

When `seen` is full, nothing new is taken: to hear too little beats hearing twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import msgspec

from qcommons.base.units import NS_PER_S
from qcommons.mesh.messages import Gossip
from qcommons.mesh.records import PeerId

__all__ = ["KEPT_BYTES_MAX", "KEPT_MAX", "KEPT_NS", "KEY_BYTES", "SKEW_MS", "Kept", "NewsShelf", "news_key"]

KEY_BYTES = 16  # second preimages cost 2^128; two news of one key can only be made by one origin, against itself
KEPT_NS = 300 * NS_PER_S
KEPT_MAX = 2_048
KEPT_BYTES_MAX = 4 << 20
# News that are a while ahead of the clock here are remembered for twice the skew, and two minutes for rounding. So long
# news_gate lets pass 60 + 40 a second and 512 modest origins' one in 30 s, and 12,288 at once: 167,000. 28 MB.
SEEN_MAX = 170_000
SKEW_MS = 600_000  # either way: clocks of honest nodes differ, as in peer records
MINUTE_MS = 60_000
HOLDERS_MAX = 16  # twice the neighbours of a node
OVERHEAD_BYTES = 512  # of a kept news beside its payload: the records, the key, its place in two tables


class Kept(msgspec.Struct):
    """news: as it is passed on. via: who gave it first (None: it was made here). holders: who is known to have it."""

    news: Gossip
    at_ns: int
    via: PeerId | None
    holders: list[PeerId]

    def held_by(self, peer: PeerId) -> None:
        if peer not in self.holders and len(self.holders) < HOLDERS_MAX:
            self.holders.append(peer)


def news_key(news: Gossip) -> bytes:
    """First 16 bytes of SHA3-256 over u8 length of the topic, topic, origin (32 bytes), u64 seq, payload."""
    topic = news.topic.encode()
    head = b"".join((bytes((len(topic),)), topic, news.origin, news.seq.to_bytes(8, "big"), news.payload))
    return hashlib.sha3_256(head).digest()[:KEY_BYTES]


class NewsShelf:
    """What was heard lately: whole for repair, by key for longer. Bounded in bytes, number and time."""

    def __init__(self) -> None:
        self._kept: dict[bytes, Kept] = {}  # oldest first
        self._kept_bytes = 0
        self._seen: set[bytes] = set()
        self._minutes: dict[int, list[bytes]] = {}  # minute in which they were made -> keys

    def __len__(self) -> int:
        return len(self._kept)

    def kept_bytes(self) -> int:
        return self._kept_bytes

    def has_seen(self, key: bytes) -> bool:
        return key in self._seen

    def get(self, key: bytes) -> Kept | None:
        return self._kept.get(key)

    def is_full(self) -> bool:
        return len(self._seen) >= SEEN_MAX

    def keep(self, key: bytes, kept: Kept) -> None:
        """Never to be heard again."""
        self._seen.add(key)
        self._minutes.setdefault(kept.news.seq // MINUTE_MS, []).append(key)
        self._kept[key] = kept
        self._kept_bytes += _size(kept)
        while self._kept_bytes > KEPT_BYTES_MAX or len(self._kept) > KEPT_MAX:
            self._drop_oldest()

    def newest(self, since_ns: int) -> Iterator[tuple[bytes, Kept]]:
        """What came at `since_ns` or later, newest first."""
        for key in reversed(self._kept):
            kept = self._kept[key]
            if kept.at_ns < since_ns:
                return
            yield key, kept

    def expire(self, now_ns: int) -> int | None:
        """Forget what is too old; returns when the next one will be."""
        while self._kept:
            oldest_ns = next(iter(self._kept.values())).at_ns
            if oldest_ns + KEPT_NS > now_ns:
                break
            self._drop_oldest()
        # a minute is over when its last news is refused for its age
        last = (now_ns // 1_000_000 - SKEW_MS) // MINUTE_MS - 1
        for minute in [minute for minute in self._minutes if minute < last]:
            self._seen.difference_update(self._minutes.pop(minute))
        if self._kept:
            return next(iter(self._kept.values())).at_ns + KEPT_NS
        return now_ns + SKEW_MS * 1_000_000 if self._seen else None

    def _drop_oldest(self) -> None:
        key = next(iter(self._kept))
        self._kept_bytes -= _size(self._kept.pop(key))


def _size(kept: Kept) -> int:
    return len(kept.news.payload) + OVERHEAD_BYTES
