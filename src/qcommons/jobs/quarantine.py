"""Quarantine: who gets no work for a while, why and until when; and what checks found of each peer.

Flow: spread -> Verdict of this node -> *Quarantine.judged* -> Store, Note; `barred` -> place, `why`; `standing` ->
audit.rate_ppm, place.

A verdict that costs a peer its standing makes it wait, and each further one twice as long (BASE_S doubled with the
level, which STRIKES raises); runs found right by a check bring the level down again, and nothing else does, time
included: who only waits has proved nothing. Only what this node computed again itself gives credit: peers that collude
find each other right. What never strikes: a failure for a stated reason, a refusal, what no check could decide, a
majority of other peers (liars can be the majority), and the word of any other judge: an accuser can gain nothing here,
since only verdicts that this node signed itself are heard.

All leases of one occasion (granted before the peer was barred) strike together as hard as the gravest of them: eight
leases that fell silent with one cable are one silence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from qcommons.base.canonical import decode_record, encode_record
from qcommons.base.clock import duration_text
from qcommons.base.effects import Effect, Store, note
from qcommons.base.errors import Corrupt, PeerError
from qcommons.base.units import NS_PER_S
from qcommons.verify.audit import Standing
from qcommons.verify.records import Kind, Verdict
from qcommons.verify.verdict import punishes

__all__ = ["BASE_S", "KEY", "LEVEL_MAX", "STRIKES", "Barred", "Quarantine"]

KEY = "quarantine/"
VERSION: Literal["qcommons/quarantine.1"] = "qcommons/quarantine.1"
BASE_S = 60  # at level 1: a reboot, a cable pulled and put back
LEVEL_MAX = 14.0  # 60 s * 2^13 are 5.7 days
RIGHT_DECAY = 1 / 16  # levels a run found right: 96 wear off one lie, as many as are all looked at after it (audit.py)
ROWS_MAX = 4_096  # of 200 bytes; who is held the least against is forgotten first
ROW_BYTES_MAX = 512
# kind of verdict -> (levels, what it means to a person)
STRIKES: dict[Kind, tuple[float, str]] = {
    "wrong": (6.0, "an answer of it was proved wrong"),  # 32 min for the first, 34 h for the second
    "malformed": (3.0, "it sent what no honest node sends"),  # 4 min, 32 min, ...
    "silent": (1.0, "it took work and fell silent"),  # 1 min, 2 min, ...
    "late": (0.5, "its answer came after the deadline"),  # every second one
}

UInt = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]


class Barred(msgspec.Struct, frozen=True):
    """No work for a peer before `until_s` (Unix seconds). verdict: SHA3-256 of the canonical bytes of the one that says
    why."""

    until_s: int
    why: str
    verdict: bytes


class _Row(msgspec.Struct, array_like=True, forbid_unknown_fields=True, kw_only=True):
    """What is stored of a peer. counted: levels that its present occasion has cost, which began at since_s."""

    version: Literal["qcommons/quarantine.1"] = VERSION
    level: Annotated[float, msgspec.Meta(ge=0.0, le=LEVEL_MAX)] = 0.0
    counted: Annotated[float, msgspec.Meta(ge=0.0, le=LEVEL_MAX)] = 0.0
    since_s: UInt = 0
    until_s: UInt = 0
    kind: Kind = "right"
    verdict: Annotated[bytes, msgspec.Meta(max_length=32)] = b""
    right: UInt = 0
    lies: UInt = 0


class Quarantine:
    """State: a row for each peer that was judged. me: hash of this node.

    stored: what is on disk, by peer (hash), without `KEY`. Raises Corrupt where it is not what was written.
    """

    def __init__(self, me: bytes, stored: Mapping[bytes, bytes] | None = None) -> None:
        self._me = me
        self._rows = {peer: _read(peer, row) for peer, row in (stored or {}).items()}

    def judged(self, verdict: Verdict, judge: bytes, leased_s: int, now_s: int) -> list[Effect]:
        """Take a verdict by the node with hash `judge` about a lease that was granted at `leased_s` (Unix seconds)."""
        facts = {"peer": verdict.peer.hex(), "kind": verdict.kind, "lease": verdict.lease}
        if judge != self._me:
            return [note("verdict_of_another_ignored", judge=judge.hex(), **facts)]
        if verdict.kind == "right" and verdict.ground != "recomputed":  # who colludes agrees: that earns no standing
            return [note("verdict_without_credit", ground=verdict.ground, **facts)]
        row = self._rows.setdefault(verdict.peer, _Row())
        if verdict.kind == "right":
            found = sum(item.outcome == "agrees" for item in verdict.evidence)
            row.right += found
            row.level = max(0.0, row.level - found * RIGHT_DECAY)
            return [self._stored(verdict.peer), *self._bounded(verdict.peer)]
        if not (punishes(verdict) or verdict.ground == "clock") or verdict.kind not in STRIKES:
            return [note("verdict_without_strike", ground=verdict.ground, **facts)]
        if verdict.kind == "wrong":
            row.right, row.lies = 0, row.lies + 1
        self._strike(row, verdict, leased_s, now_s)
        said = note("peer_struck", until_s=row.until_s, level=row.level, why=STRIKES[verdict.kind][1], **facts)
        return [said, self._stored(verdict.peer), *self._bounded(verdict.peer)]

    def barred(self, peer: bytes, now_s: int) -> Barred | None:
        """Until when a peer gets no work and why; None where it may have some."""
        row = self._rows.get(peer)
        if row is None or row.until_s <= now_s:
            return None
        again = f"; {row.lies} lies so far" if row.lies > 1 else ""
        left = duration_text((row.until_s - now_s) * NS_PER_S)
        return Barred(row.until_s, f"{STRIKES[row.kind][1]}{again}; for another {left}", row.verdict)

    def standing(self, peer: bytes) -> Standing:
        """Runs found right by a check since the last lie, and lies."""
        row = self._rows.get(peer)
        return Standing(row.right, row.lies) if row is not None else Standing()

    def forgive(self, peer: bytes) -> list[Effect]:
        """The owner's word: nothing is held against a peer any more."""
        return [Store(KEY + peer.hex(), None)] if self._rows.pop(peer, None) is not None else []

    def __len__(self) -> int:
        return len(self._rows)

    def _strike(self, row: _Row, verdict: Verdict, leased_s: int, now_s: int) -> None:
        levels = STRIKES[verdict.kind][0]
        is_same = bool(row.since_s) and leased_s <= row.since_s
        added = max(0.0, levels - row.counted) if is_same else levels
        row.level = min(LEVEL_MAX, row.level + added)
        row.counted = max(row.counted, levels) if is_same else levels
        if not is_same:
            row.since_s = now_s
        if added and row.level >= 1.0:
            row.kind, row.verdict = verdict.kind, hashlib.sha3_256(encode_record(verdict)).digest()
            row.until_s = max(row.until_s, row.since_s + int(BASE_S * 2 ** (row.level - 1)))

    def _stored(self, peer: bytes) -> Effect:
        return Store(KEY + peer.hex(), encode_record(self._rows[peer]))

    def _bounded(self, kept: bytes) -> list[Effect]:
        if len(self._rows) <= ROWS_MAX:
            return []
        others = (peer for peer in self._rows if peer != kept)
        least = min(others, key=lambda peer: (self._rows[peer].level, self._rows[peer].right, peer))
        del self._rows[least]
        return [Store(KEY + least.hex(), None)]


def _read(peer: bytes, raw: bytes) -> _Row:
    try:
        return decode_record(raw, _Row, bytes_max=ROW_BYTES_MAX, items_max=16)
    except PeerError as error:
        raise Corrupt(f"the row of a quarantine cannot be read: {error}", where=KEY + peer.hex()) from error
