"""Invite: one string by which a node joins a mesh: which network, who, where.

Flow: `qcommons invite` -> *Invite.text* -> mail, chat, QR code -> `qcommons join` -> *parse* -> `Reached`.

    Bech32m (BIP-350) with prefix "qcinvite" over canonical CBOR [version, network, node hash, addresses, label]

It holds no secret and gives no right: whoever has it can find the node, as whoever is told its address can. Beyond 90
characters the checksum promises less than BIP-173 states (fewer wrong characters are sure to be noticed), and text that
is wrong in many places is still taken once in 2^30. docs/protocol/invite.md has a vector.
"""

from __future__ import annotations

import re

import msgspec

from qcommons.base.canonical import decode_record, encode_record
from qcommons.base.errors import PeerError, UsageError
from qcommons.mesh.addresses import parse as parse_address
from qcommons.mesh.records import ADDRESSES_MAX, PeerId
from qcommons.pqc import bech32m
from qcommons.pqc.identity import HASH_BYTES
from qcommons.pqc.signing import NETWORK

__all__ = ["PREFIX", "TEXT_CHARS_MAX", "Invite", "make", "parse"]

PREFIX = "qcinvite"
VERSION = 1
TEXT_CHARS_MAX = 1_023  # as far as BIP-173 examines the code; a QR code holds 4,296 of these characters
LABEL_CHARS_MAX = 40
BYTES_MAX = 640
ITEMS_MAX = 16


class Invite(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """network: id. node: hash of whoever is at the addresses. addresses: best first, at least one. label: for people,
    "" for none."""

    version: int
    network: str
    node: PeerId
    addresses: tuple[str, ...]
    label: str = ""

    def text(self) -> str:
        """The string. Raises UsageError where a field is none that `parse` would take, or it is too long."""
        _check(self)
        return bech32m.encode(PREFIX, encode_record(self), chars_max=TEXT_CHARS_MAX)


def make(network: str, node: PeerId, addresses: tuple[str, ...], label: str = "") -> Invite:
    """An invitation to `network` through `node`. Raises UsageError as `Invite.text`."""
    invite = Invite(VERSION, network, node, addresses, label)
    _check(invite)
    return invite


def parse(text: str) -> Invite:
    """The invitation that somebody pasted; blanks and line breaks, as mail adds them, are forgiven.

    Raises:
        UsageError: what is wrong with it, where, and what to do.
    """
    joined = "".join(text.split())
    if not joined.lower().startswith(PREFIX + "1"):
        raise UsageError(f"{joined[:20]!r} is no invitation: those begin with {PREFIX}1", where="invitation")
    try:
        data = bech32m.decode(PREFIX, joined, chars_max=TEXT_CHARS_MAX)
        invite = decode_record(data, Invite, bytes_max=BYTES_MAX, items_max=ITEMS_MAX)
    except UsageError as error:
        where = f"invitation, {error.where}" if error.where else "invitation"
        raise UsageError(_short(error.what, joined), where=where, limit=error.limit) from error
    except PeerError as error:
        what = f"it was made by another version of qcommons, or is damaged ({error}); ask for a new one"
        raise UsageError(what, where="invitation") from error
    _check(invite)
    return invite


def _check(invite: Invite) -> None:
    if invite.version != VERSION:
        what = f"version {invite.version}; this qcommons knows {VERSION}: bring the older one up to date"
        raise UsageError(what, where="invitation, version")
    if not NETWORK.fullmatch(invite.network):
        raise UsageError(f"{invite.network[:80]!r} is no network id", where="invitation, network")
    if len(invite.node) != HASH_BYTES:
        raise UsageError(f"a node hash of {len(invite.node)} bytes; {HASH_BYTES} needed", where="invitation, node")
    if not 1 <= len(invite.addresses) <= ADDRESSES_MAX:
        limit = f"1 to {ADDRESSES_MAX}"
        raise UsageError(f"{len(invite.addresses)} addresses; allowed {limit}", where="invitation, addresses")
    for address in invite.addresses:
        parse_address(address)
    if len(invite.label) > LABEL_CHARS_MAX or not re.fullmatch(r"[^\x00-\x1f\x7f-\x9f]*", invite.label):
        limit = f"{LABEL_CHARS_MAX} printable characters"
        raise UsageError(f"label {invite.label[:60]!r}; allowed {limit}", where="invitation, label", limit=limit)


def _short(what: str, text: str) -> str:
    """An error's sentence with the whole pasted text replaced by its beginning."""
    return what.replace(repr(text), repr(text[:20] + "..."))
