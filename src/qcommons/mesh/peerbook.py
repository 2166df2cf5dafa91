"""Peerbook: the newest signed record of every peer that this node remembers, on disk and in memory.

Flow: Hello, Records, Join, answers of `find` -> *PeerBook.learn* -> Store, `Learned` -> membership; WantRecords ->
*PeerBook.came* -> Records. A record is verified once: the same bytes again cost one comparison.

    older seq              ignored
    same seq, same record  ignored (signatures are hedged, so the bytes may differ)
    same seq, another      equivocation: its author is blamed, both are kept as evidence
    newer seq              verified, stored, told to membership
    not of now             expired, or from the future beyond the skew of clocks: refused, nobody is blamed

At most `cap` records. A record with its key takes 5.4 KB: 512 are 2.8 MB, on disk too. Where the book is full the
longest silent stranger leaves; linked peers and those the owner chose stay; unasked records come in at one each 2 s, so
that nobody can wash the book out with names made up in a minute.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from qcommons.base.canonical import encode
from qcommons.base.effects import Store, note
from qcommons.base.errors import PeerError
from qcommons.base.units import NS_PER_S
from qcommons.mesh import peer_record
from qcommons.mesh.addresses import Scope
from qcommons.mesh.events import Crypto
from qcommons.mesh.inside import Forgotten, Learned, OwnRecordSeen
from qcommons.mesh.messages import Message, Records, WantRecords
from qcommons.mesh.own import Own
from qcommons.mesh.parts import Blame, Effects, PartBase, ToPeer
from qcommons.mesh.records import PEER_TYPE, Beat, PeerId, Signed

__all__ = ["CAP", "KEY", "Entry", "Learnt", "PeerBook"]

KEY = "peer/"
SCOPE_KEY = "scope/"  # beside it where it is not public: how near it was met
EVIDENCE_KEY = "evidence/"
CAP = 512
ADMIT_EVERY_NS = 2 * NS_PER_S
RECORDS_A_MESSAGE = 8  # of 8 KiB at most each: the frame's 64 KiB
EVIDENCE_MAX = 32  # authors of two records of one seq whose proof is kept
FORGED, MALFORMED, EQUIVOCATED = 50, 25, 100  # points of blame
HASH_BYTES = 32
# who is forgotten first; within one state the longest silent
FORGET_ORDER = {"lost": 0, "known": 1, "suspect": 2, "away": 3, "alive": 4}


class Entry(msgspec.Struct):
    """All that is known of a peer, in one place.

    scope: how near somebody was who told of it. proven: address where it was met. state and the rest:
    membership's; tellers: who is known to have `beat`.
    """

    signed: Signed
    scope: Scope
    proven: str = ""
    state: str = "known"
    since_ns: int = 0
    cause: str = ""
    beat: Beat | None = None
    tellers: list[PeerId] = []
    heard_ns: int = 0


class Learnt(NamedTuple):
    """signed: the newest record, None where there is no good one. why: of a refusal, for Bye and log."""

    signed: Signed | None
    why: str
    effects: Effects


class PeerBook(PartBase):
    """is_kept: whether a peer must stay (linked, or the owner's choice); asked only where the book is full.
    scope_of: where a linked peer was met."""

    NAME = "book"
    KINDS = (WantRecords, Records)

    def __init__(
        self, crypto: Crypto, own: Own, is_kept: Callable[[PeerId], bool], scope_of: Callable[[PeerId], Scope],
        is_banned: Callable[[PeerId, int], bool],
        cap: int = CAP,
    ) -> None:  # fmt: skip
        self.entries: dict[PeerId, Entry] = {}
        self.cap = cap
        self.me = crypto.peer
        self._crypto = crypto
        self._own = own
        self._is_kept = is_kept
        self._scope_of = scope_of
        self._is_banned = is_banned
        self._admit_ns = 0  # when the next unasked record may come into a full book
        self._evidence: set[PeerId] = set()

    @property
    def is_full(self) -> bool:
        return len(self.entries) >= self.cap

    def may_admit(self, peer: PeerId, now_ns: int) -> bool:
        """Whether a record that nobody needs now may come in."""
        return not self._is_banned(peer, now_ns) and (len(self.entries) < self.cap or now_ns >= self._admit_ns)

    def signed(self, peer: PeerId) -> Signed | None:
        """Its newest record, this node's own among them."""
        if peer == self.me:
            return self._own.signed
        entry = self.entries.get(peer)
        return entry.signed if entry else None

    # learning

    def learn(self, raw: bytes, teller: PeerId, scope: Scope, now_ns: int, *, needed: bool = False) -> Learnt:
        """A record that `teller`, who was met at `scope`, handed over. needed: it comes in though the book is full."""
        try:
            peer, record = peer_record.read_signed(raw)
        except PeerError as error:
            return _refused(teller, MALFORMED, f"malformed record: {error}")
        entry = self.entries.get(peer)
        if entry is not None and (record.seq < entry.signed.record.seq or raw == entry.signed.raw):
            entry.scope = min(entry.scope, scope)
            return Learnt(entry.signed, "", [])
        if entry is None and peer != self.me and not needed and not self.may_admit(peer, now_ns):
            return Learnt(None, "the book is full, or the peer is banned", [])
        try:
            self._crypto.verify(record.key, PEER_TYPE, raw)
        except PeerError as error:
            return _refused(teller, FORGED, f"forged record: {error}")
        if peer == self.me:
            return Learnt(self._own.signed, "", [OwnRecordSeen(record.seq)])
        if entry is not None and record.seq == entry.signed.record.seq:
            return Learnt(entry.signed, "", [] if record == entry.signed.record else self._equivocated(entry, raw))
        why = peer_record.check_times(record, now_ns // NS_PER_S)
        if why:
            refused = note("mesh_record_refused", peer=peer.hex(), by=teller.hex(), why=why)
            return Learnt(entry.signed if entry else None, why, [refused])
        return self._keep(Signed(peer, record, raw), entry, scope, now_ns)

    def _keep(self, signed: Signed, entry: Entry | None, scope: Scope, now_ns: int) -> Learnt:
        out: Effects = []
        if entry is None:
            if self.is_full:
                self._admit_ns = now_ns + ADMIT_EVERY_NS
                out += self._make_room(now_ns)
            entry = self.entries[signed.peer] = Entry(signed, scope, since_ns=now_ns, cause="its record came")
            is_new = True
        else:
            entry.signed, entry.scope, entry.beat = signed, min(entry.scope, scope), None
            is_new = False
        out.append(Store(KEY + signed.peer.hex(), signed.raw))
        if entry.scope < Scope.PUBLIC:
            out.append(Store(SCOPE_KEY + signed.peer.hex(), bytes([entry.scope])))
        out.append(Learned(signed, is_new))
        return Learnt(signed, "", out)

    def _equivocated(self, entry: Entry, raw: bytes) -> Effects:
        peer = entry.signed.peer
        out: Effects = [Blame(peer, EQUIVOCATED, f"signed two records with seq {entry.signed.record.seq}")]
        if peer not in self._evidence and len(self._evidence) < EVIDENCE_MAX:
            self._evidence.add(peer)
            out.insert(0, Store(EVIDENCE_KEY + peer.hex(), encode([entry.signed.raw, raw])))
        return out

    def _make_room(self, now_ns: int) -> Effects:
        def rank(peer: PeerId) -> tuple[int, int]:
            entry = self.entries[peer]
            return FORGET_ORDER.get(entry.state, 1), entry.heard_ns

        free = [peer for peer in self.entries if not self._is_kept(peer)]
        if not free:
            return []  # more were chosen by the owner than the cap: the owner's choice
        return self.forget(min(free, key=rank))

    def forget(self, peer: PeerId) -> Effects:
        """Take a peer out, on disk too."""
        if self.entries.pop(peer, None) is None:
            return []
        return [Store(KEY + peer.hex(), None), Store(SCOPE_KEY + peer.hex(), None), Forgotten(peer)]

    # storage

    def load(self, key: str, value: bytes, now_ns: int) -> tuple[Effects, tuple[str, ...]]:
        """A row of `peer/`. A damaged or expired one is dropped with a note; the addresses that it held, if any can be
        read, are the second answer: somebody may still be there."""
        addresses: tuple[str, ...] = ()
        try:
            peer, record = peer_record.read_signed(value)
            addresses = record.addresses
            if KEY + peer.hex() != key:
                raise PeerError("under another peer's name", where=key)
            self._crypto.verify(record.key, PEER_TYPE, value)
            why = peer_record.check_times(record, now_ns // NS_PER_S)
        except PeerError as error:
            why = f"damaged: {error}"
        if why or self.is_full:
            dropped = note("mesh_row_dropped", key=key, why=why or "the book is full")
            return [Store(key, None), dropped], addresses
        self.entries[peer] = Entry(Signed(peer, record, value), Scope.PUBLIC, since_ns=now_ns, cause="remembered")
        return [], ()

    def load_scope(self, key: str, value: bytes) -> Effects:
        """A row of `scope/`; they come after those of `peer/`, in the order of the keys."""
        entry = next((e for p, e in self.entries.items() if SCOPE_KEY + p.hex() == key), None)
        if entry is None or value not in (b"\0", b"\1"):
            return [Store(key, None)]
        entry.scope = Scope(value[0])
        return []

    def load_evidence(self, key: str) -> None:
        """A row of `evidence/` is there: its author's proof is not stored again."""
        self._evidence.add(PeerId(bytes.fromhex(key.removeprefix(EVIDENCE_KEY))))

    # messages

    def came(self, peer: PeerId, id: int, message: Message, now_ns: int) -> Effects:
        """Records, asked for or not; or a wish for some: those that are known and still count, eight a message."""
        out: Effects = []
        if isinstance(message, Records):
            for raw in message.records:
                out += self.learn(raw, peer, self._scope_of(peer), now_ns).effects
        elif isinstance(message, WantRecords):
            now_s = now_ns // NS_PER_S
            found = [signed.raw for who in message.peers if (signed := self._current(who, now_s)) is not None]
            for at in range(0, len(found), RECORDS_A_MESSAGE):
                out.append(ToPeer(peer, Records(tuple(found[at : at + RECORDS_A_MESSAGE]))))
        return out

    def _current(self, peer: bytes, now_s: int) -> Signed | None:
        signed = self.signed(PeerId(peer))
        return signed if signed is not None and signed.record.expires_s > now_s else None


def _refused(teller: PeerId, points: int, why: str) -> Learnt:
    return Learnt(None, why, [Blame(teller, points, why)])
