"""Sealed boxes: for one recipient, readable by nobody on the way, and it shows who sent it.

Flow: body -> sender signs -> *seal* to a prekey of the recipient -> relays, disks -> *unseal* -> body, sender. HPKE
(RFC 9180, single shot, base mode) with MLKEM768-X25519, HKDF-SHA256, ChaCha20-Poly1305, around

    ["qcommons/letter.1", sender's public key, signed-object, body]

What is signed names the recipient, the prekey, the purpose and the body's hash: who opens a box cannot pass it on to
somebody else as if it had been sent there (surreptitious forwarding, Davis 2001), nor for another purpose. HPKE's
`info` binds purpose, network, recipient and prekey as well, so that a box opened for something else does not open.
A box hides neither its length nor the prekey. It can be sent twice: `Letter.digest` is what tells a repetition.
docs/protocol/sealed.md says it with vectors.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from qcommons.base.canonical import decode_record, encode, encode_record
from qcommons.base.errors import PeerError, UsageError
from qcommons.pqc.identity import HASH_BYTES, PUBLIC_KEY_BYTES, NodeKey, node_hash
from qcommons.pqc.prekeys import ID_BYTES, Prekey, PrekeyPair, Seconds, hpke_public
from qcommons.pqc.signing import sign, verify

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.hpke import Suite

__all__ = ["BODY_BYTES_MAX", "BOX_BYTES_MAX", "LETTER_TYPE", "Letter", "box_prekey", "seal", "unseal"]

LETTER_TYPE = "qcommons/letter.1"
INFO = "qcommons/sealed.1"
PURPOSE = re.compile(r"[a-z][a-z0-9._-]{0,63}")
BODY_BYTES_MAX = (
    1 << 20
) - 8192  # so that a box fits a request of the mesh; larger things travel as sealed keys and blobs
BOX_BYTES_MAX = 1 << 20
KEM_BYTES = 1120  # enc: an ML-KEM-768 ciphertext (1088) and an X25519 public key
TAG_BYTES = 16
OVERHEAD_BYTES_MAX = 8192  # 6.7 KB: key, signature, enc, tags and heads
BOX_ITEMS_MAX = 4
LETTER_ITEMS_MAX = 8


def _exactly(size: int) -> msgspec.Meta:
    return msgspec.Meta(min_length=size, max_length=size)


class _Box(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What travels. sealed: HPKE's enc and ciphertext, one after the other."""

    version: Literal["qcommons/sealed.1"]
    prekey: Annotated[bytes, _exactly(ID_BYTES)]
    sealed: Annotated[bytes, msgspec.Meta(min_length=KEM_BYTES + TAG_BYTES)]


class _Inside(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is encrypted."""

    version: Literal["qcommons/letter.1"]
    public_key: Annotated[bytes, _exactly(PUBLIC_KEY_BYTES)]
    signed: bytes
    body: bytes


class _Signed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What the sender signs as `LETTER_TYPE`."""

    purpose: str
    recipient: Annotated[bytes, _exactly(HASH_BYTES)]
    prekey: Annotated[bytes, _exactly(ID_BYTES)]
    body_hash: Annotated[bytes, _exactly(HASH_BYTES)]
    at_s: Seconds


class Letter(msgspec.Struct, frozen=True):
    """An opened box. sender: node hash; public_key: its key, which signed. at_s: when, by the sender's clock.

    digest: SHA3-256 of what was signed with its signature; the same box again has the same one.
    """

    sender: bytes
    public_key: bytes
    at_s: int
    digest: bytes
    body: bytes

    def __repr__(self) -> str:  # a log must not show what was sealed
        return f"Letter(sender={self.sender.hex()}, body={len(self.body)} bytes)"


def seal(sender: NodeKey, prekey: Prekey, purpose: str, network: str, body: bytes, now_s: int) -> bytes:
    """A box for the node of `prekey` (from `check_prekey`).

    Args:
        purpose: what it is for, 1 to 64 characters a-z 0-9 . _ -; opening it for something else fails.
        body: at most 1,040,384 bytes.

    Raises:
        UsageError: purpose or body do not fit, or the prekey has expired: get the present one.
        PeerError: the prekey is none that anything can be sealed to.
    """
    info = _info(purpose, network, prekey.node, prekey.id)
    if len(body) > BODY_BYTES_MAX:
        limit = f"{BODY_BYTES_MAX} bytes"
        raise UsageError(f"a body of {len(body)} bytes; allowed {limit}", where="body", limit=limit)
    if now_s >= prekey.until_s:
        what = f"the prekey expired {now_s - prekey.until_s} s ago; get the recipient's present one"
        raise UsageError(what, where="prekey")
    claim = _Signed(purpose, prekey.node, prekey.id, hashlib.sha3_256(body).digest(), now_s)
    signed = sign(sender, LETTER_TYPE, network, encode_record(claim))
    inside = encode([LETTER_TYPE, sender.public_key, signed, body])
    try:
        sealed = _suite().encrypt(inside, hpke_public(prekey.public), info)
    except ValueError as error:  # X25519 with a point of low order (RFC 7748, section 6.1)
        raise PeerError("nothing can be sealed to this prekey", where="prekey", evidence=prekey.public) from error
    return encode([INFO, prekey.id, sealed])


def box_prekey(box: bytes) -> bytes:
    """The id of the prekey that a box is sealed to, 16 bytes. Raises PeerError where it is no box."""
    return _box(box).prekey


def unseal(box: bytes, pair_of: Callable[[bytes], PrekeyPair], recipient: bytes, purpose: str, network: str) -> Letter:
    """The letter in a box that was sealed for `recipient` (this node's hash) and `purpose`.

    Args:
        pair_of: prekey id -> its halves, or raises: `PrekeyRing.pair` at the present time.

    Raises:
        PeerError: no box, or not for this recipient, purpose and network, or its sender did not sign that; `where`
            is one of length, byte N, box, recipient, prekey, purpose, body, or as in `signing.verify`.
        Unavailable: the prekey is past its grace or unknown (from `pair_of`): nobody lied.
    """
    outer = _box(box)
    info = _info(purpose, network, recipient, outer.prekey)
    pair = pair_of(outer.prekey)
    from cryptography.exceptions import InvalidTag

    try:
        plain = _suite().decrypt(outer.sealed, pair.private, info)
    except (InvalidTag, ValueError) as error:
        what = f"it does not open for {purpose} on {network}: damaged, or sealed for something or somebody else"
        raise PeerError(what, where="box", evidence=box) from error
    inside, claim = _read(plain, network)
    expected = (
        ("recipient", claim.recipient, recipient),
        ("prekey", claim.prekey, outer.prekey),
        ("purpose", claim.purpose, purpose),
        ("body", claim.body_hash, hashlib.sha3_256(inside.body).digest()),
    )
    for where, found, wanted in expected:
        if found != wanted:
            # no evidence: it would quote what was sealed
            raise PeerError(f"the sender signed another {where}; somebody may have passed a letter on", where=where)
    digest = hashlib.sha3_256(inside.signed).digest()
    return Letter(node_hash(inside.public_key), inside.public_key, claim.at_s, digest, inside.body)


def _box(box: bytes) -> _Box:
    return decode_record(box, _Box, bytes_max=BOX_BYTES_MAX, items_max=BOX_ITEMS_MAX)


def _read(plain: bytes, network: str) -> tuple[_Inside, _Signed]:
    """What was inside, and what its sender signed. Errors go on without their evidence, which quotes the letter."""
    try:
        inside = decode_record(plain, _Inside, bytes_max=BOX_BYTES_MAX, items_max=LETTER_ITEMS_MAX)
        payload = verify(inside.public_key, LETTER_TYPE, network, inside.signed)
        claim = decode_record(payload, _Signed, bytes_max=OVERHEAD_BYTES_MAX, items_max=LETTER_ITEMS_MAX)
    except PeerError as error:
        raise PeerError(f"inside the box: {error.what}", where=error.where, limit=error.limit) from None
    return inside, claim


def _info(purpose: str, network: str, recipient: bytes, prekey: bytes) -> bytes:
    if not PURPOSE.fullmatch(purpose):
        what = f"{purpose[:80]!r} is no purpose: 1 to 64 characters a-z 0-9 . _ - needed, a letter first"
        raise UsageError(what, where="purpose")
    return encode([INFO, purpose, network, recipient, prekey])


def _suite() -> Suite:
    from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

    return Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
