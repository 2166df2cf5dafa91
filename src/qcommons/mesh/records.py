"""The nouns of the mesh: who a peer is, what it says of itself, what is known of it. No behaviour.

Flow: everything in this room speaks of these. A peer is named by its node hash (32 bytes, `pqc/identity.py`);
people see the node id. Times of records are seconds since 1970 on the signer's clock; `_ns` is the event clock.
"""

from __future__ import annotations

from typing import NewType

import msgspec

__all__ = ["ADDRESSES_MAX", "ADDRESS_CHARS_MAX", "PEER_TYPE", "Beat", "PeerId", "PeerRecord", "Signed"]

PeerId = NewType("PeerId", bytes)

PEER_TYPE = "qcommons/peer.1"  # object type of a signed PeerRecord (`pqc/signing.py`)
ADDRESSES_MAX = 8
ADDRESS_CHARS_MAX = 100
OFFERS_MAX = 16
WINDOWS_MAX = 8


class PeerRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a node says of itself, signed by its key as `PEER_TYPE`. docs/protocol/peer.md has the CDDL.

    key: ML-DSA-65 public key, 1952 bytes. seq: milliseconds since 1970 when it was made, so that a later record
    has the greater one whatever was lost; two different records of one seq are an equivocation.
    addresses: "tcp/HOST:PORT", or "relay/" and the node id of who relays. offers: engines, as "name:qubits".
    away: planned absences, [from_s, until_s) each. anchor: end of the chain of beats (`beats.py`).
    owner: hash of the principal that certifies the node, empty if none.
    """

    key: bytes
    seq: int
    expires_s: int
    addresses: tuple[str, ...]
    version: str
    offers: tuple[str, ...]
    away: tuple[tuple[int, int], ...]
    anchor: bytes
    owner: bytes


class Signed(msgspec.Struct, frozen=True):
    """A record that was verified, with the very bytes that were signed: those are what travels."""

    peer: PeerId
    record: PeerRecord
    raw: bytes


class Beat(msgspec.Struct, frozen=True, array_like=True):
    """One sign of life of `peer`, passed on by anybody: the value at place `count` of the chain that its record
    `seq` anchors. Only the peer can make it, and an older one says nothing new."""

    peer: bytes
    seq: int
    count: int
    value: bytes
