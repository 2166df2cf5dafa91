"""Pacing: how many requests of a costly protocol one peer has answered.

Flow: Request -> exchange -> *Pacing* -> handler or door, or a `Failure` at the cost of a refusal. The guard's rate of
requests holds for all protocols together and lets 5,000 a second pass, as echoes may need; what takes a thousand times
an echo's bytes, or a read of the disk, has a row here. docs/protocol/exchange.md.
"""

from __future__ import annotations

import msgspec

from qcommons.base.effects import note
from qcommons.base.units import NS_PER_S
from qcommons.mesh.bucket import Bucket, Rate
from qcommons.mesh.messages import Failure
from qcommons.mesh.parts import Effects, ToPeer
from qcommons.mesh.records import PeerId

__all__ = ["PACED", "RATES", "Pacing"]

# Several times what an honest node asks in its busiest second.
RATES = {
    "find/1": Rate(per_s=20, burst=80),  # a look at the book, up to 16 records of 5 KB, a step of a walk
    "blob/1": Rate(per_s=100, burst=400),  # a read of the disk; one for each blob and source
    "prekey/1": Rate(per_s=20, burst=80),  # 5 KB
    "papers/1": Rate(per_s=2, burst=16),  # up to 90 KB; people ask for them
    "work.asks/1": Rate(per_s=1, burst=16),  # up to 1 MB; a full book is nine answers, once in ten minutes
}
NOTE_EVERY_NS = NS_PER_S


class _Row(msgspec.Struct, frozen=True):
    rate: Rate
    failure: Failure


def _row(protocol: str, rate: Rate) -> _Row:
    limit = f"{rate.per_s:g} a second, {rate.burst:g} at once"
    what = f"more {protocol} than one peer has answered here; allowed {limit}: ask later"
    return _Row(rate, Failure("unavailable", what, "requests", limit))


PACED = {protocol.encode(): _row(protocol, rate) for protocol, rate in RATES.items()}


class _Pace(msgspec.Struct):
    """Of one peer and protocol. refused, noted: requests, in all and as last told."""

    bucket: Bucket
    refused: int = 0
    noted: int = 0
    noted_ns: int = 0


class Pacing:
    """A bucket for each linked peer and row that it used."""

    def __init__(self) -> None:
        self._paces: dict[PeerId, dict[bytes, _Pace]] = {}

    def refusal(self, peer: PeerId, id: int, name: bytes, now_ns: int) -> Effects | None:
        """What a request over its rate is answered, with a note once a second; None where it may pass."""
        row = PACED.get(name)
        if row is None:
            return None
        paces = self._paces.setdefault(peer, {})
        pace = paces.get(name)
        if pace is None:
            pace = paces[name] = _Pace(Bucket())
        if pace.bucket.take(row.rate, now_ns):
            return None
        pace.refused += 1
        out: Effects = [ToPeer(peer, row.failure, id)]
        if now_ns - pace.noted_ns >= NOTE_EVERY_NS:
            fresh, pace.noted, pace.noted_ns = pace.refused - pace.noted, pace.refused, now_ns
            out.append(note("mesh_asks_refused", peer=peer.hex(), protocol=name.decode(), refused=fresh))
        return out

    def forget(self, peer: PeerId) -> None:
        """Its link ended. One that comes again finds a fresh bucket: sessions are the doorkeeper's to ration."""
        self._paces.pop(peer, None)
