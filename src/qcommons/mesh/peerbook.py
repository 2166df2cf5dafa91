"""Peerbook: the newest signed record of every peer that this node remembers, on disk and in memory.

Flow: Hello, Records, Join, answers of `find` -> *PeerBook.learn* -> Store, `Learned` -> membership; WantRecords ->
*PeerBook.came* -> Records. A record is verified once: the same bytes again cost one comparison.

    older seq              ignored
    same seq, same record  ignored (signatures are hedged, so the bytes may differ)
    same seq, another      equivocation: its author is blamed, both are kept as evidence, and shown to the teller
    newer seq              verified, stored, told to membership
    not of now             expired, or from the future beyond the skew of clocks: refused, nobody is blamed

At most `cap` records, and those of linked peers beyond. A record with its key takes 5.4 KB: 512 are 2.8 MB, on disk
too. Keys are free and addresses are not, so what may push out what is decided by how a peer is known (`Tie`) and by the
prefix of the address by which it came (docs/protocol/peer.md has the bound):

    guest   came in by itself   a place that is free, else only as long as it is linked: it pushes out nobody
    told    others told of it   in a full book one each 2 s: in place of one from the teller's own prefix, else of the
                                last guest, else of the longest silent that was told of
    met     was dialled, or     never pushed out, unless lost for an hour; at most 3/4 of the book, 1/8 a prefix
            linked for 10 min

After Heilman, Kendler, Zohar, Goldberg, "Eclipse attacks on Bitcoin's peer-to-peer network" (USENIX Security 2015,
sections 2.2 and 7: tables of tried and new addresses, buckets by prefix of source), and Maymounkov, Mazieres,
"Kademlia" (IPTPS 2002, section 2.2: live old contacts are not given up for new ones, so floods flush nothing).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

import msgspec

from qcommons.base.canonical import encode
from qcommons.base.effects import Store, note
from qcommons.base.errors import PeerError
from qcommons.base.units import NS_PER_S
from qcommons.mesh import farewells, peer_record
from qcommons.mesh.addresses import Scope, parse
from qcommons.mesh.doubts import Doubts
from qcommons.mesh.events import Crypto
from qcommons.mesh.inside import Forgotten, Learned, OwnRecordSeen
from qcommons.mesh.messages import Message, Records, WantRecords
from qcommons.mesh.own import Own
from qcommons.mesh.parts import Blame, Effects, PartBase, ToPeer
from qcommons.mesh.records import PEER_TYPE, Beat, PeerId, Signed

__all__ = ["CAP", "KEY", "Entry", "Learnt", "PeerBook", "Tie"]

KEY = "peer/"
SCOPE_KEY = "scope/"  # beside it: how near it was told of (a byte) and, of the met, another byte
EVIDENCE_KEY = "evidence/"
CAP = 512
ADMIT_EVERY_NS = 2 * NS_PER_S
RECORDS_A_MESSAGE = 8  # of 8 KiB at most each: the frame's 64 KiB
EVIDENCE_MAX = 32  # authors of two records of one seq whose proof is kept
LONG_LINK_NS = 600 * NS_PER_S  # as good as having been dialled: not all can be
GONE_NS = 3_600 * NS_PER_S  # lost for so long, it has no better claim than a guest
FORGED, MALFORMED, EQUIVOCATED, FALSE_BEAT = 50, 25, 100, 5  # points of blame (docs/protocol/blame.md)
# who is forgotten first of those told of; within one state the longest silent
FORGET_ORDER = {"lost": 0, "stopped": 0, "known": 1, "suspect": 2, "away": 3, "alive": 4}


class Tie(IntEnum):
    """How a peer is known; the lesser goes first."""

    GUEST = 0
    TOLD = 1
    MET = 2


MET = bytes((Tie.MET,))
NO_ROOM = "the book is full, or the peer is banned"


class Entry(msgspec.Struct):
    """All that is known of a peer, in one place.

    scope: how near somebody was who told of it. proven: address where it was met. tie, prefix (of the address by which
    it came, or was met), came_ns, up_ns (when its last link began): the book's. state and the rest: membership's;
    tellers: bits of the neighbours known to have `beat` (`telling.py`); told_ns: when one was passed on.
    """

    signed: Signed
    scope: Scope
    proven: str = ""
    tie: Tie = Tie.TOLD
    prefix: str = ""
    came_ns: int = 0
    up_ns: int = 0
    state: str = "known"
    since_ns: int = 0
    cause: str = ""
    beat: Beat | None = None
    tellers: int = 0
    heard_ns: int = 0
    told_ns: int = 0


class Learnt(NamedTuple):
    """signed: the newest record, None where there is no good one. why: of a refusal, for Bye and log."""

    signed: Signed | None
    why: str
    effects: Effects


class PeerBook(PartBase):
    """is_kept: whether a peer must stay (linked, or the owner's choice); asked only where the book is full.
    scope_of, prefix_of: where a linked peer is. doubts: of what was told."""

    NAME = "book"
    KINDS = (WantRecords, Records)

    def __init__(
        self, crypto: Crypto, own: Own, is_kept: Callable[[PeerId], bool], scope_of: Callable[[PeerId], Scope],
        is_banned: Callable[[PeerId, int], bool],
        cap: int = CAP, prefix_of: Callable[[PeerId], str] = lambda peer: "",
    ) -> None:  # fmt: skip
        self.entries: dict[PeerId, Entry] = {}
        self.cap = cap
        self.me = crypto.peer
        self.doubts = Doubts()
        self._crypto = crypto
        self._own = own
        self._is_kept = is_kept
        self._scope_of, self._prefix_of = scope_of, prefix_of
        self._is_banned = is_banned
        self._admit_ns = 0  # when the next unasked record may come into a full book
        self._evidence: set[PeerId] = set()

    @property
    def is_full(self) -> bool:
        return len(self.entries) >= self.cap

    def may_admit(self, peer: PeerId, now_ns: int) -> bool:
        """Whether a record that nobody needs now may come in."""
        if self._is_banned(peer, now_ns):
            return False
        if not self.is_full:
            return True
        if now_ns < self._admit_ns:
            return False
        if self._least("", now_ns) is not None:
            return True
        self._admit_ns = now_ns + ADMIT_EVERY_NS  # all are met or linked; looking through them has its price
        return False

    def signed(self, peer: PeerId) -> Signed | None:
        """Its newest record, this node's own among them."""
        if peer == self.me:
            return self._own.signed
        entry = self.entries.get(peer)
        return entry.signed if entry else None

    # learning

    def learn(self, raw: bytes, teller: PeerId, scope: Scope, now_ns: int, *, guest: str | None = None) -> Learnt:
        """A record that `teller`, who was met at `scope`, handed over. guest: it is its own, shown on a link from an
        address of this prefix, and comes in though the book is full."""
        try:
            peer, record = peer_record.read_signed(raw)
        except PeerError as error:
            return _refused(teller, MALFORMED, f"malformed record: {error}")
        if guest is not None and peer != teller:
            return Learnt(None, "the record is another node's", [])
        entry = self.entries.get(peer)
        if entry is not None and (record.seq < entry.signed.record.seq or raw == entry.signed.raw):
            entry.scope = min(entry.scope, scope)
            is_the_same = record.seq == entry.signed.record.seq
            return Learnt(entry.signed, "", self._shown(teller, peer, is_the_same, now_ns))
        if entry is None and peer != self.me and guest is None and not self.may_admit(peer, now_ns):
            return Learnt(None, NO_ROOM, [])
        try:
            self._crypto.verify(record.key, PEER_TYPE, raw)
        except PeerError as error:
            return _refused(teller, FORGED, f"forged record: {error}")
        if peer == self.me:
            return Learnt(self._own.signed, "", [OwnRecordSeen(record.seq)])
        if entry is not None and record.seq == entry.signed.record.seq:
            if record != entry.signed.record:
                return Learnt(entry.signed, "", self._equivocated(entry, raw, teller))
            return Learnt(entry.signed, "", self._shown(teller, peer, True, now_ns))
        why = peer_record.check_times(record, now_ns // NS_PER_S)
        if why:
            refused = note("mesh_record_refused", peer=peer.hex(), by=teller.hex(), why=why)
            return Learnt(entry.signed if entry else None, why, [refused])
        out = self._shown(teller, peer, False, now_ns)
        signed = Signed(peer, record, raw)
        if entry is None:
            out += self._admit(signed, scope, self._prefix_of(teller) if guest is None else guest, guest, now_ns)
        else:
            entry.signed, entry.scope, entry.beat = signed, min(entry.scope, scope), None
        out.append(Store(KEY + peer.hex(), raw))
        out += self._stored_tie(self.entries[peer])
        out.append(Learned(signed, entry is None))
        return Learnt(signed, "", out)

    def found(self, raw: bytes, teller: PeerId, scope: Scope, now_ns: int, *, wanted: bool) -> Learnt:
        """A record inside an answer of `teller`. Where there is no room for it it is verified all the same: whoever
        asked can make use of it. wanted: this node asked, so in a full book it does not wait for its turn."""
        if wanted:
            self._admit_ns = min(self._admit_ns, now_ns)
        learnt = self.learn(raw, teller, scope, now_ns)
        if learnt.why != NO_ROOM:
            return learnt
        peer, record = peer_record.read_signed(raw)
        if self._is_banned(peer, now_ns):
            return learnt
        try:
            self._crypto.verify(record.key, PEER_TYPE, raw)
        except PeerError as error:
            return _refused(teller, FORGED, f"forged record: {error}")
        why = peer_record.check_times(record, now_ns // NS_PER_S)
        return Learnt(None if why else Signed(peer, record, raw), why, [])

    def _admit(self, signed: Signed, scope: Scope, prefix: str, guest: str | None, now_ns: int) -> Effects:
        out: Effects = []
        if guest is None and self.is_full:
            self._admit_ns = now_ns + ADMIT_EVERY_NS
            loser = self._least(prefix, now_ns)
            out += [] if loser is None else self.forget(loser)
        entry = Entry(signed, scope, prefix=prefix, came_ns=now_ns, since_ns=now_ns, cause="its record came")
        entry.tie = Tie.TOLD if guest is None else Tie.GUEST
        self.entries[signed.peer] = entry
        return out

    def _shown(self, teller: PeerId, peer: PeerId, is_the_same: bool, now_ns: int) -> Effects:
        if not self.doubts.shown(teller, peer, is_the_same, now_ns):
            return []
        return [Blame(teller, FALSE_BEAT, "told a beat that does not follow from the record that it has")]

    def _equivocated(self, entry: Entry, raw: bytes, teller: PeerId) -> Effects:
        """Two records of one seq. Who handed over the other one was deceived as this node was, and is shown the proof;
        after that the author is banned, so it happens once."""
        peer = entry.signed.peer
        self.doubts.forget_about(teller, peer)
        out: Effects = []
        if peer not in self._evidence and len(self._evidence) < EVIDENCE_MAX:
            self._evidence.add(peer)
            out.append(Store(EVIDENCE_KEY + peer.hex(), encode([entry.signed.raw, raw])))
        if teller != peer:
            out.append(ToPeer(teller, Records((entry.signed.raw,))))
        return [*out, Blame(peer, EQUIVOCATED, f"signed two records with seq {entry.signed.record.seq}")]

    # who stays

    def _least(self, prefix: str, now_ns: int) -> PeerId | None:
        """Who makes room for one that was told of by somebody of `prefix`: of those that came from there, if any, else
        of all. None where all are met or kept."""
        free: list[tuple[Tie, PeerId, Entry]] = []
        for peer, entry in self.entries.items():
            tie = self._tie(entry, now_ns)
            if tie < Tie.MET and not self._is_kept(peer):
                free.append((tie, peer, entry))
        own = [row for row in free if row[2].prefix == prefix]
        return min(own or free, key=_rank)[1] if free else None

    def _tie(self, entry: Entry, now_ns: int) -> Tie:
        is_gone = entry.state in ("lost", "stopped") and now_ns - entry.since_ns > GONE_NS
        return Tie.GUEST if is_gone else entry.tie

    def linked(self, peer: PeerId, prefix: str, is_ours: bool, now_ns: int) -> Effects:
        """A link stands, with an address of `prefix`. is_ours: this node dialled it there."""
        entry = self.entries.get(peer)
        if entry is None:
            return []
        entry.up_ns = now_ns
        if is_ours or entry.tie == Tie.GUEST:
            entry.prefix = prefix
        return self._meet(entry, now_ns) if is_ours else []

    def down(self, peer: PeerId, reason: str, now_ns: int) -> Effects:
        """Its link ended: one that was long is as good as a dial; a guest for whom there is no place leaves."""
        entry = self.entries.get(peer)
        if entry is None:
            return []
        out = self._meet(entry, now_ns) if entry.up_ns and now_ns - entry.up_ns >= LONG_LINK_NS else []
        if len(self.entries) > self.cap and not self._is_kept(peer):
            loser = peer if entry.tie == Tie.GUEST else self._least("", now_ns)
            out += self.forget(peer if loser is None else loser)
        return out

    def _meet(self, entry: Entry, now_ns: int) -> Effects:
        """Within what one prefix, and all, may hold of the places that nobody is pushed out of."""
        if entry.tie == Tie.MET:
            return []
        met = [other.prefix for other in self.entries.values() if self._tie(other, now_ns) == Tie.MET]
        if len(met) >= 3 * self.cap // 4 or met.count(entry.prefix) >= max(1, self.cap // 8):
            return []
        entry.tie = Tie.MET
        return self._stored_tie(entry)

    def _stored_tie(self, entry: Entry) -> Effects:
        if entry.scope == Scope.PUBLIC and entry.tie != Tie.MET:
            return []
        row = bytes((entry.scope, Tie.MET)) if entry.tie == Tie.MET else bytes((entry.scope,))
        return [Store(SCOPE_KEY + entry.signed.peer.hex(), row)]

    def forget(self, peer: PeerId) -> Effects:
        """Take a peer out, on disk too."""
        entry = self.entries.pop(peer, None)
        if entry is None:
            return []
        out: Effects = [farewells.dropped(peer)] if entry.state == "stopped" else []
        return [*out, Store(KEY + peer.hex(), None), Store(SCOPE_KEY + peer.hex(), None), Forgotten(peer)]

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
        entry = Entry(Signed(peer, record, value), Scope.PUBLIC, since_ns=now_ns, came_ns=now_ns, cause="remembered")
        entry.prefix = parse(addresses[0]).prefix if addresses else ""
        self.entries[peer] = entry
        return [], ()

    def load_scope(self, key: str, value: bytes) -> Effects:
        """A row of `scope/`; they come after those of `peer/`, in the order of the keys."""
        entry = next((e for p, e in self.entries.items() if SCOPE_KEY + p.hex() == key), None)
        if entry is None or len(value) not in (1, 2) or value[0] > Scope.PUBLIC or value[1:] not in (b"", MET):
            return [Store(key, None)]
        entry.scope = Scope(value[0])
        entry.tie = Tie.MET if value[1:] else Tie.TOLD
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


def _rank(row: tuple[Tie, PeerId, Entry]) -> tuple[Tie, int, int]:
    """The least first: guests, the last one at first; of those told of by state, the longest silent."""
    tie, _, entry = row
    if tie == Tie.GUEST:
        return tie, 0, -entry.came_ns
    return tie, FORGET_ORDER.get(entry.state, 1), entry.heard_ns


def _refused(teller: PeerId, points: int, why: str) -> Learnt:
    return Learnt(None, why, [Blame(teller, points, why)])
