"""Own: this node's record and its beats.

Flow: MyAddresses, MyOffers, MyAway, AddressesLearned -> *Own* -> signed record (Store, then everybody) and one beat
each few seconds -> membership.

A record is made when it is first needed, and again when what it says has changed (at most once a second), when its
chain of beats is used up, and at half its life. `seq` grows over restarts: it is stored before anybody sees it, and is
the time in milliseconds, so that it grows even where the disk was lost.
"""

from __future__ import annotations

import itertools

from qcommons.base.effects import Note, Store, note
from qcommons.base.errors import PeerError, UsageError
from qcommons.base.units import NS_PER_S
from qcommons.mesh import peer_record
from qcommons.mesh.addresses import parse
from qcommons.mesh.beats import CHAIN_BEATS, FAREWELL
from qcommons.mesh.events import Crypto
from qcommons.mesh.records import ADDRESSES_MAX, OFFERS_MAX, PEER_TYPE, Beat, PeerId, PeerRecord, Signed

__all__ = ["KEY", "Own"]

KEY = "mesh/self"
RENEW_NS = NS_PER_S  # between two records: each one goes to everybody


class Own:
    """signed: the newest record; None until it is first needed."""

    def __init__(self, crypto: Crypto, version: str) -> None:
        self.peer: PeerId = crypto.peer
        self.signed: Signed | None = None
        self.beats = 0  # opened of the chain
        self.left = False
        self._crypto = crypto
        self._version = version
        self._seq = 0
        self._made_ns = 0
        self._is_stale = True
        self._addresses: tuple[str, ...] = ()
        self._relays: tuple[str, ...] = ()
        self._offers: tuple[str, ...] = ()
        self._away: tuple[tuple[int, int], ...] = ()
        self._owner = b""

    def load(self, value: bytes) -> list[Note]:
        """The record of before: only its seq and its planned absences still count."""
        try:
            peer, record = peer_record.read_signed(value)
            self._crypto.verify(self._crypto.public_key, PEER_TYPE, value)
            if peer != self.peer:
                raise PeerError("another node's record", where=KEY)
        except PeerError as error:
            return [note("mesh_row_damaged", key=KEY, why=str(error))]
        self._seq = record.seq
        self._away = record.away
        return []

    # what it says

    def set_addresses(self, addresses: tuple[str, ...]) -> None:
        """Raises UsageError where one is none."""
        for text in addresses:
            parse(text)
        self._change("_addresses", addresses)

    def set_relays(self, addresses: tuple[str, ...]) -> None:
        """relay/NODE, as `reach` found."""
        self._change("_relays", addresses)

    def set_offers(self, offers: tuple[str, ...]) -> None:
        """The first 16 are told."""
        self._change("_offers", offers[:OFFERS_MAX])

    def set_owner(self, owner: bytes) -> None:
        """Hash of the principal that certifies this node, 32 bytes; empty if there is none."""
        self._change("_owner", owner)

    def set_away(self, windows: tuple[tuple[int, int], ...]) -> None:
        """Raises UsageError: empty, overlapping or too many windows."""
        merged = tuple(sorted((int(a), int(b)) for a, b in windows))
        for (_, end), (begin, _) in itertools.pairwise(merged):
            if begin < end:
                raise UsageError(f"absences overlap at {begin}; give each time once", where="away")
        try:
            peer_record.check_windows(merged)
        except PeerError as error:
            raise UsageError(error.what, where="away", limit=error.limit) from error
        self._change("_away", merged)

    def outbid(self, seq: int) -> bool:
        """Somebody holds a record of this node with a later seq: the next one goes beyond it. Whether it is later."""
        is_later = self.signed is None or seq > self.signed.record.seq
        if is_later:
            self._seq = max(self._seq, seq)
            self._is_stale = True
        return is_later

    def _change(self, field: str, value: object) -> None:
        if getattr(self, field) != value:
            setattr(self, field, value)
            self._is_stale = True

    def addresses(self) -> tuple[str, ...]:
        """Where it can be dialled: what it listens at first (names are not told to others), then relays."""
        plain = tuple(text for text in self._addresses if not parse(text).is_name)
        return (plain + self._relays)[:ADDRESSES_MAX]

    # the record and its beats

    def is_due(self, now_ns: int) -> bool:
        """Whether a new record must be made now."""
        signed = self.signed
        if signed is None:
            return True
        if self.left:
            return False
        if self._is_stale or self.beats >= CHAIN_BEATS - 1:
            return now_ns - self._made_ns >= RENEW_NS
        return signed.record.expires_s - now_ns // NS_PER_S < peer_record.LIFE_S // 2

    def renew(self, now_ns: int) -> list[Store | Note]:
        """Make the record; its Store comes before whatever shows it."""
        now_s = now_ns // NS_PER_S
        self._seq = max(self._seq + 1, now_ns // 1_000_000)
        self._away = tuple(window for window in self._away if window[1] > now_s)
        record = PeerRecord(
            key=self._crypto.public_key,
            seq=self._seq,
            expires_s=max(now_s, self._seq // 1000) + peer_record.LIFE_S,
            addresses=self.addresses(),
            version=self._version,
            offers=self._offers,
            away=self._away,
            anchor=self._crypto.new_chain(CHAIN_BEATS),
            owner=self._owner,
        )
        self.signed = Signed(self.peer, record, self._crypto.sign(PEER_TYPE, peer_record.write(record)))
        self.beats, self._made_ns, self._is_stale = 0, now_ns, False
        return [Store(KEY, self.signed.raw), note("mesh_record_made", seq=self._seq)]

    def beat(self) -> Beat:
        """Open the next value of the chain."""
        assert self.signed is not None and self.beats < FAREWELL - 1
        self.beats += 1
        return self._at(self.beats)

    def newest(self) -> Beat | None:
        """The beat opened last."""
        return self._at(self.beats) if self.beats else None

    def farewell(self) -> Beat | None:
        """The last value of the chain: it says that this node left, and nobody else could say it."""
        if self.signed is None:
            return None
        self.left, self.beats = True, FAREWELL
        return self._at(FAREWELL)

    def _at(self, count: int) -> Beat:
        assert self.signed is not None
        return Beat(self.peer, self.signed.record.seq, count, self._crypto.beat(count))
