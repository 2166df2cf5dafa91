"""Farewells on disk: who said goodbye has stopped, and is known to have after this node was started anew.

Flow: membership (a peer stops, or is back) -> *kept*, *dropped* -> Store; Begin -> *read* -> membership.
A row holds the beat itself (docs/protocol/beats.md), so it is checked like one that a peer tells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from qcommons.base.canonical import decode_record, encode_record
from qcommons.base.effects import Store
from qcommons.base.errors import PeerError
from qcommons.mesh.beats import FAREWELL
from qcommons.mesh.records import Beat, PeerId

if TYPE_CHECKING:
    from qcommons.mesh.peerbook import Entry

__all__ = ["KEY", "dropped", "kept", "read"]

KEY = "stopped/"  # after "peer/" in the order of keys: when it is read, its peer is in the book
ROW_BYTES_MAX = 64
ROW_ITEMS = 4


class _Row(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """seq: of the record whose chain it ends. since_ns: when it came, nanoseconds since 1970."""

    seq: int
    value: bytes
    since_ns: int


def kept(entry: Entry) -> Store:
    """Of a peer whose last beat is its farewell."""
    assert entry.beat is not None
    row = _Row(entry.beat.seq, entry.beat.value, entry.since_ns)
    return Store(KEY + entry.signed.peer.hex(), encode_record(row))


def dropped(peer: PeerId) -> Store:
    """It is back, or forgotten."""
    return Store(KEY + peer.hex(), None)


def read(
    key: str, value: bytes, entries: Mapping[PeerId, Entry], follows: Callable[[bytes, int, bytes], bool]
) -> tuple[Entry, Beat, int] | None:
    """Entry, farewell, since when. None where the row is damaged, or its peer has another record by now. follows: as
    `beats.follows`."""
    try:
        peer = PeerId(bytes.fromhex(key.removeprefix(KEY)))
        row = decode_record(value, _Row, bytes_max=ROW_BYTES_MAX, items_max=ROW_ITEMS)
    except (PeerError, ValueError):
        return None
    entry = entries.get(peer)
    if entry is None or row.seq != entry.signed.record.seq:
        return None
    if not follows(row.value, FAREWELL, entry.signed.record.anchor):
        return None
    return entry, Beat(peer, row.seq, FAREWELL, row.value), row.since_ns
