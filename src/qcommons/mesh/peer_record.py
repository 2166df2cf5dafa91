"""Peer records: from bytes of anybody to a `PeerRecord` of the right form, and the rules of that form.

Flow: Hello, Records, Join, disk -> *read* -> form good, nothing verified -> `Crypto.verify` -> peerbook.
docs/protocol/peer.md has the CDDL and every rule.
"""

from __future__ import annotations

import functools
from typing import Any

import cbor2

from qcommons.base.canonical import decode, decode_record, encode_record
from qcommons.base.errors import PeerError
from qcommons.mesh.addresses import check_record_addresses
from qcommons.mesh.beats import VALUE_BYTES
from qcommons.mesh.records import ADDRESSES_MAX, OFFERS_MAX, WINDOWS_MAX, PeerId, PeerRecord
from qcommons.pqc.identity import HASH_BYTES, node_hash
from qcommons.pqc.signing import ENVELOPE_ITEMS, TAGS

__all__ = [
    "LIFE_S",
    "RECORD_BYTES_MAX",
    "SKEW_S",
    "check_times",
    "check_windows",
    "is_away",
    "payload_of",
    "read",
    "write",
]

RECORD_BYTES_MAX = 8_192  # key and signature take 5.4 KB, eight addresses, sixteen offers and windows at most 2.2
PAYLOAD_ITEMS = 96
TEXT_CHARS_MAX = 64  # of a version or an offer
SEQ_MAX = 1 << 53
TIME_S_MAX = 1 << 40
LIFE_S = 86_400  # a node that is away for a day is met again by its address, not by its record
LIFE_S_MAX = 8 * LIFE_S  # a record that never expires could never be outlived
SKEW_S = 600  # of two clocks; beyond it people must set one
MEMO = 1_024  # of 9 KB each; half of it the book holds anyway


def write(record: PeerRecord) -> bytes:
    """The payload that is signed as `PEER_TYPE`."""
    return encode_record(record)


def payload_of(signed: bytes) -> bytes:
    """The third element of a COSE_Sign1 (RFC 9052, section 4.2), nothing of it verified: a record itself names the
    key that must have signed it. Raises PeerError."""
    tagged: Any = decode(signed, bytes_max=RECORD_BYTES_MAX, depth_max=3, items_max=ENVELOPE_ITEMS, tags=TAGS)
    match tagged.value if isinstance(tagged, cbor2.CBORTag) else None:
        case [bytes(), dict(), bytes(payload), bytes()]:
            return payload
    raise PeerError("no COSE_Sign1: tag 18 with four elements needed", where="envelope", evidence=signed)


def read_signed(signed: bytes) -> tuple[PeerId, PeerRecord]:
    """`read` of what is inside. What was read is kept by its bytes, so many nodes in one process hold one object."""
    return _kept(signed)


def share(count: int) -> None:
    """Keep so many records: a world keeps those of all its nodes."""
    global _kept
    _kept = functools.lru_cache(count)(_parsed)


def read(payload: bytes) -> tuple[PeerId, PeerRecord]:
    """Whose record it says it is, and the record. Raises PeerError: which rule of the form it breaks."""
    record = decode_record(payload, PeerRecord, bytes_max=RECORD_BYTES_MAX, items_max=PAYLOAD_ITEMS)
    peer = PeerId(node_hash(record.key))
    if not 0 < record.seq < SEQ_MAX or not 0 < record.expires_s < TIME_S_MAX:
        raise PeerError(f"seq {record.seq}, expires_s {record.expires_s}; both must be positive times", where="seq")
    if len(record.anchor) != VALUE_BYTES or len(record.owner) not in (0, HASH_BYTES):
        lengths = f"{len(record.anchor)} and {len(record.owner)} bytes"
        raise PeerError(f"anchor and owner of {lengths}; allowed 16, and 0 or 32", where="anchor")
    check_record_addresses(record.addresses, ADDRESSES_MAX)
    _check_texts("offers", record.offers, OFFERS_MAX)
    _check_texts("version", (record.version,), 1)
    check_windows(record.away)
    return peer, record


def _parsed(signed: bytes) -> tuple[PeerId, PeerRecord]:
    return read(payload_of(signed))


_kept = functools.lru_cache(MEMO)(_parsed)


def _check_texts(where: str, texts: tuple[str, ...], count_max: int) -> None:
    if len(texts) > count_max or any(not 1 <= len(text) <= TEXT_CHARS_MAX for text in texts):
        limit = f"{count_max} of 1 to {TEXT_CHARS_MAX} characters"
        raise PeerError(f"{len(texts)} texts, or one of a bad length; allowed {limit}", where=where, limit=limit)
    if any(not text.isascii() or not text.isprintable() for text in texts):
        raise PeerError("text that is not printable ASCII", where=where)  # it goes to terminals and logs


def check_windows(windows: tuple[tuple[int, int], ...]) -> None:
    """Raises PeerError: planned absences that are too many, empty or out of order."""
    if len(windows) > WINDOWS_MAX:
        raise PeerError(f"{len(windows)} windows; allowed {WINDOWS_MAX}", where="away", limit=str(WINDOWS_MAX))
    before = 0
    for from_s, until_s in windows:
        if not before <= from_s < until_s < TIME_S_MAX:
            raise PeerError("windows must be in order, apart and not empty", where="away")
        before = until_s


def check_times(record: PeerRecord, now_s: int) -> str:
    """Why a record does not count now by this node's clock; empty where it does. That is nobody's lie: the clocks
    may differ."""
    if record.expires_s <= now_s:
        return f"expired {now_s - record.expires_s} s ago"
    if record.seq // 1000 > now_s + SKEW_S:
        return f"made {record.seq // 1000 - now_s} s in the future; {SKEW_S} s are allowed: compare the clocks"
    if record.expires_s > now_s + LIFE_S_MAX + SKEW_S:
        return f"expires in {record.expires_s - now_s} s; {LIFE_S_MAX} s are allowed"
    return ""


def is_away(record: PeerRecord, now_s: int) -> int:
    """The end (Unix seconds) of the planned absence that it is in; 0 where it is in none."""
    for from_s, until_s in record.away:
        if from_s <= now_s < until_s:
            return until_s
    return 0
