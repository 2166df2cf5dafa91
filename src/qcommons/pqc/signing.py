"""Signing: a payload under a node's signature, saying what it is and on which network it counts.

Flow: record -> base/canonical -> *sign* -> file, frame -> *verify* -> canonical -> record. A signed object is
a COSE_Sign1 (RFC 9052, section 4.2), tag 18, in deterministic CBOR:

    [protected: bstr, unprotected: {}, payload: bstr, signature: bstr]
    protected = {1: -49, 3: object type, 4: node hash, 15: {3: network id}}

    1   algorithm     -49 is ML-DSA-65 (RFC 9964)
    3   content type  "qcommons/<name>.<version>": a receipt can never pass for a vote
    4   key id        SHA3-256 of the public key, 32 bytes
    15  CWT claims    (RFC 9597) with 3, audience: the network id. COSE's labels for private use are negative,
                      which our maps do not hold; this registered one says the same.

What is signed is Sig_structure (RFC 9052, section 4.4) with no external data, by pure ML-DSA-65 with the empty
context (RFC 9964). docs/protocol/identity.md has vectors.
"""

from __future__ import annotations

import re
from typing import Any

import cbor2

from qcommons.base.canonical import decode, decode_signed, encode
from qcommons.base.errors import PeerError, UsageError
from qcommons.pqc.identity import SIGNATURE_BYTES, NodeKey, node_hash

__all__ = ["OVERHEAD_BYTES_MAX", "PAYLOAD_BYTES_MAX", "sig_structure", "sign", "verify"]

ML_DSA_65 = -49  # RFC 9964, table 2
ALG, CONTENT_TYPE, KEY_ID, CWT_CLAIMS = 1, 3, 4, 15  # RFC 9052, table 3; RFC 9597
AUDIENCE = 3  # RFC 8392, section 3.1.3
SIGN1_TAG = 18
TAGS = frozenset({SIGN1_TAG})

# RFC 9052 asks content types for the form type/subtype, and other libraries refuse a second slash.
OBJECT_TYPE = re.compile(r"qcommons/[a-z][a-z0-9-]{0,39}\.[1-9][0-9]{0,3}")
NETWORK = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

PAYLOAD_BYTES_MAX = 1 << 16  # what is larger is signed by its hash: ML-DSA reads the message at SHAKE's 0.3 GB/s
OVERHEAD_BYTES_MAX = SIGNATURE_BYTES + 256  # heads and the longest protected header take 178
ENVELOPE_ITEMS = 8  # tag, array, protected, {}, payload, signature; two more let a refusal name the envelope
PROTECTED_BYTES_MAX = 256  # ours take at most 165 and 11 items; the rest lets a refusal say more
PROTECTED_ITEMS = 16


def sign(key: NodeKey, object_type: str, network: str, payload: bytes) -> bytes:
    """The signed object. Signatures are hedged (FIPS 204, section 3.4): two of one payload differ.

    Args:
        object_type: "qcommons/<name>.<version>".
        network: 1 to 64 characters a-z 0-9 . _ -
        payload: at most 64 KiB, canonical bytes of a record.

    Raises:
        UsageError: one of these does not hold.
    """
    _check_names(object_type, network)
    if len(payload) > PAYLOAD_BYTES_MAX:
        limit = f"{PAYLOAD_BYTES_MAX} bytes"
        raise UsageError(
            f"payload of {len(payload)} bytes; allowed {limit}: sign its hash", where="payload", limit=limit
        )
    protected = _protected(object_type, network, key.hash)
    signature = key.sign_raw(sig_structure(protected, payload))
    return encode(cbor2.CBORTag(SIGN1_TAG, [protected, {}, payload, signature]), tags=TAGS)


def verify(public_key: bytes, object_type: str, network: str, signed: bytes) -> bytes:
    """The payload of an object that the owner of `public_key` signed as `object_type` for `network`.

    Raises:
        UsageError: `object_type` or `network` can be none.
        PeerError: anything else is wrong; `where` names it: length, byte N, envelope, header, algorithm, object type,
            network, key id, public key, signature.
    """
    _check_names(object_type, network)
    digest = node_hash(public_key)
    protected, payload, signature = _envelope(signed)
    if protected != _protected(object_type, network, digest):
        _refuse_header(protected, object_type, network, digest)
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey

    try:
        MLDSA65PublicKey.from_public_bytes(public_key).verify(signature, sig_structure(protected, payload))
    except (InvalidSignature, ValueError) as error:
        raise PeerError("the signature does not match key and content", where="signature", evidence=signed) from error
    return payload


def sig_structure(protected: bytes, payload: bytes) -> bytes:
    """What is signed (RFC 9052, section 4.4): context, protected header, no external data, payload."""
    return encode(["Signature1", protected, b"", payload])


def _protected(object_type: str, network: str, digest: bytes) -> bytes:
    return encode({ALG: ML_DSA_65, CONTENT_TYPE: object_type, KEY_ID: digest, CWT_CLAIMS: {AUDIENCE: network}})


def _envelope(signed: bytes) -> tuple[bytes, bytes, bytes]:
    """(protected, payload, signature), nothing of it verified."""
    tagged = decode_signed(
        signed, bytes_max=PAYLOAD_BYTES_MAX + OVERHEAD_BYTES_MAX, depth_max=3, items_max=ENVELOPE_ITEMS, tags=TAGS
    )
    match tagged.value if isinstance(tagged, cbor2.CBORTag) else None:
        case [bytes(protected), {**unprotected}, bytes(payload), bytes(signature)] if not unprotected:
            pass
        case _:
            what = "no COSE_Sign1: tag 18 with [protected, {}, payload, signature] needed"
            raise PeerError(what, where="envelope", evidence=signed)
    if len(payload) > PAYLOAD_BYTES_MAX:
        limit = f"{PAYLOAD_BYTES_MAX} bytes"
        raise PeerError(f"payload of {len(payload)} bytes; allowed {limit}", where="payload", limit=limit)
    if len(signature) != SIGNATURE_BYTES:
        raise PeerError(f"{len(signature)} bytes; ML-DSA-65 has {SIGNATURE_BYTES}", where="signature", evidence=signed)
    return protected, payload, signature


def _refuse_header(protected: bytes, object_type: str, network: str, digest: bytes) -> None:
    """Says in what the header differs from the one that was expected; there is one spelling of each."""
    header: Any = decode(protected, bytes_max=PROTECTED_BYTES_MAX, depth_max=2, items_max=PROTECTED_ITEMS)
    fields: dict[Any, Any] = header if isinstance(header, dict) else {}
    claims = fields.get(CWT_CLAIMS)
    expected = (
        ("algorithm", fields.get(ALG), ML_DSA_65),
        ("object type", fields.get(CONTENT_TYPE), object_type),
        ("network", claims.get(AUDIENCE) if isinstance(claims, dict) else None, network),
        ("key id", fields.get(KEY_ID), digest),
    )
    for where, found, wanted in expected:
        if type(found) is not type(wanted) or found != wanted:
            raise PeerError(f"signed for {_shown(found)}; {_shown(wanted)} expected", where=where, evidence=protected)
    raise PeerError("fields that do not belong there", where="header", evidence=protected)


def _shown(value: Any) -> str:
    return value.hex()[:64] if isinstance(value, bytes) else repr(value)[:80]


def _check_names(object_type: str, network: str) -> None:
    if not OBJECT_TYPE.fullmatch(object_type):
        what = f"{object_type[:80]!r} is no object type: qcommons/, a name of a-z 0-9 -, a dot and a version needed"
        raise UsageError(what, where="object type")
    if not NETWORK.fullmatch(network):
        what = f"{network[:80]!r} is no network id: 1 to 64 characters a-z 0-9 . _ - needed, a letter or digit first"
        raise UsageError(what, where="network")
