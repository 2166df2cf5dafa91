"""Verdicts that submitters gave on this node's work: checked, kept with their files, bounded. Evidence, not reputation.

Flow: "work.verdict/1" -> Hire -> *Told.check* (form, who signed), *keep* (which lease) -> Store; disk -> *Told.read*
-> `kinds` -> view, archive. What a verdict costs this node is its judge's business; whoever looks at a false one has
the file, which its judge signed.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import msgspec

from qcommons.base.canonical import decode_record, encode_record
from qcommons.base.effects import Effect, Store, note
from qcommons.base.errors import Corrupt, PeerError
from qcommons.jobs.hire_rows import HiredRow
from qcommons.jobs.offer import LEASE_BYTES
from qcommons.mesh.records import PeerId
from qcommons.verify.records import Digest, Ground, Kind, Verdict
from qcommons.verify.verdict import SIGNED_VERDICT_BYTES_MAX

__all__ = ["BYTES_MAX", "KEY", "LEASE_MAX", "PEER_BYTES_MAX", "Check", "Told", "ToldVerdict"]

KEY = "hired-verdict/"
VERSION: Literal["qcommons/hired-verdict.1"] = "qcommons/hired-verdict.1"
LEASE_MAX = 4  # silent, late, and what the check then says; one more to spare
PEER_BYTES_MAX = 1 << 20  # 130 of the usual 8 KB
BYTES_MAX = 16 << 20
KEPT_BYTES_MAX = SIGNED_VERDICT_BYTES_MAX + 512
NAME_BYTES = 16

# the file and the node that must have signed it -> the verdict; raises PeerError (0.2 ms)
Check = Callable[[bytes, PeerId], Verdict]


class ToldVerdict(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True):
    """What is stored of one. at_ns: when it came (event clock). file: as `verify.verdict.sign_verdict` made it."""

    version: Literal["qcommons/hired-verdict.1"] = VERSION
    lease: Annotated[bytes, msgspec.Meta(min_length=LEASE_BYTES, max_length=LEASE_BYTES)]
    peer: Digest
    kind: Kind
    ground: Ground
    at_ns: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
    file: Annotated[bytes, msgspec.Meta(max_length=SIGNED_VERDICT_BYTES_MAX)]


class _Known(msgspec.Struct, frozen=True):
    """A stored one without its file."""

    key: str
    lease: bytes
    peer: bytes
    kind: Kind
    size_bytes: int


class Told:
    """State: what is on disk, without the files, oldest first; keys of each lease; bytes of each peer and in all.
    me: hash of this node."""

    def __init__(self, me: PeerId, check: Check) -> None:
        self._me = me
        self._check = check
        self._known: dict[str, _Known] = {}
        self._names: set[str] = set()
        self._of: dict[bytes, list[str]] = {}
        self._bytes: Counter[bytes] = Counter()
        self.size_bytes = 0

    def read(self, kept: Mapping[str, bytes]) -> None:
        """kept: what is on disk under `KEY`, with it. Raises Corrupt where it is not what was written."""
        rows = [(_read(key, raw), key, len(raw)) for key, raw in kept.items()]
        for told, key, size_bytes in sorted(rows, key=lambda row: (row[0].at_ns, row[1])):
            self._put(_Known(key, told.lease, told.peer, told.kind, size_bytes))

    def kinds(self, lease: bytes) -> tuple[Kind, ...]:
        """Of the verdicts about a lease, oldest first."""
        return tuple(self._known[key].kind for key in self._of.get(lease, ()))

    def has(self, file: bytes) -> bool:
        """Whether this very file is kept."""
        return _name(file) in self._names

    def check(self, file: bytes, peer: PeerId) -> Verdict:
        """Raises PeerError where `file` is no verdict that `peer` signed."""
        return self._check(file, peer)

    def keep(self, file: bytes, verdict: Verdict, row: HiredRow, now_ns: int) -> list[Effect]:
        """Keep a verdict that the holder of `row` signed.

        The first ones of a lease stay: who signs more than it needs cannot wash out what it said before.

        Raises:
            PeerError: it is not about this node's work under this lease, or the lease has its share of them.
        """
        self._fits(verdict, row)
        lease, peer = row.lease.id, PeerId(row.lease.holder)
        if len(self._of.get(lease, ())) >= LEASE_MAX:
            raise PeerError(
                f"{LEASE_MAX} verdicts on this lease are kept already, as many as it may have", where="lease"
            )
        key = f"{KEY}{lease.hex()}/{_name(file)}"
        told = ToldVerdict(lease=lease, peer=peer, kind=verdict.kind, ground=verdict.ground, at_ns=now_ns, file=file)
        raw = encode_record(told)
        self._put(_Known(key, lease, peer, verdict.kind, len(raw)))
        said = note("hired_verdict", peer=peer.hex(), lease=lease.hex(), kind=verdict.kind, ground=verdict.ground)
        return [said, Store(key, raw), *self._bounded(peer)]

    def _fits(self, verdict: Verdict, row: HiredRow) -> None:
        lease = row.lease.id
        for where, found, expected in (
            ("lease", verdict.lease, lease.hex()),
            ("job_id", verdict.job_id, row.hired_job),
            ("peer", verdict.peer.hex(), self._me.hex()),
        ):
            if found != expected:
                raise PeerError(f"it is about {found[:80]!r}; {expected!r} needed", where=where)
        if verdict.runs[-1] >= row.runs:
            raise PeerError(f"it is about run {verdict.runs[-1]} of {row.runs}", where="runs")

    def _bounded(self, peer: PeerId) -> list[Effect]:
        """The oldest go: of the peer, of whoever holds the most."""
        effects: list[Effect] = []
        while self._bytes[peer] > PEER_BYTES_MAX:
            effects += self._forget(self._oldest(peer))
        while self.size_bytes > BYTES_MAX:
            effects += self._forget(self._oldest(max(self._bytes, key=lambda one: (self._bytes[one], one))))
        return effects

    def _oldest(self, peer: bytes) -> str:
        return next(one.key for one in self._known.values() if one.peer == peer)

    def _put(self, known: _Known) -> None:
        self._known[known.key] = known
        self._names.add(known.key.rpartition("/")[2])
        self._of.setdefault(known.lease, []).append(known.key)
        self._bytes[known.peer] += known.size_bytes
        self.size_bytes += known.size_bytes

    def _forget(self, key: str) -> list[Effect]:
        known = self._known.pop(key)
        self._names.discard(key.rpartition("/")[2])
        keys = self._of[known.lease]
        keys.remove(key)
        if not keys:
            del self._of[known.lease]
        self._bytes[known.peer] -= known.size_bytes
        if not self._bytes[known.peer]:
            del self._bytes[known.peer]
        self.size_bytes -= known.size_bytes
        why = "too many verdicts are kept: the oldest makes room"
        said = note("hired_verdict_forgotten", peer=known.peer.hex(), lease=known.lease.hex(), kind=known.kind, why=why)
        return [said, Store(key, None)]


def _name(file: bytes) -> str:
    return hashlib.sha3_256(file).digest()[:NAME_BYTES].hex()


def _read(key: str, raw: bytes) -> ToldVerdict:
    try:
        return decode_record(raw, ToldVerdict, bytes_max=KEPT_BYTES_MAX, items_max=16)
    except PeerError as error:
        raise Corrupt(f"a verdict about this node's work cannot be read: {error}", where=key) from error
