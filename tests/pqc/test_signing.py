"""Signed objects: standard bytes, one spelling, and a named reason for every refusal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcommons.base.errors import PeerError, UsageError
from qcommons.pqc.identity import NodeKey
from qcommons.pqc.signing import OVERHEAD_BYTES_MAX, PAYLOAD_BYTES_MAX, sig_structure, sign, verify

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "pqc" / "signing.json").read_text())["vectors"]
KEY = NodeKey(bytes(range(32)))
STRANGER = NodeKey(b"\x01" * 32)
NOTE, HOME, PAYLOAD = "qcommons/note.1", "home", b"payload"
SIGNED = sign(KEY, NOTE, HOME, PAYLOAD)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["object_type"])
def test_published_objects_stand(vector: dict[str, str]) -> None:
    key = NodeKey(bytes.fromhex(vector["seed"]))
    payload = verify(key.public_key, vector["object_type"], vector["network"], bytes.fromhex(vector["signed"]))
    assert payload.hex() == vector["payload"]


def test_what_is_signed_is_the_structure_of_rfc_9052() -> None:
    """cose-wg/Examples, sign1-tests/sign-pass-03.json: ToBeSign_hex."""
    expected = "846A5369676E61747572653143A101264054546869732069732074686520636F6E74656E742E"
    assert sig_structure(bytes.fromhex("a10126"), b"This is the content.").hex().upper() == expected


def test_the_envelope_is_cose_sign1_with_registered_labels() -> None:
    """Read by the CBOR library alone. RFC 9964's own example begins d284 too, and writes alg as 013830."""
    assert SIGNED[:2].hex() == "d284"
    tagged = cbor2.loads(SIGNED)
    protected, unprotected, payload, signature = tagged.value
    assert (tagged.tag, unprotected, payload, len(signature)) == (18, {}, PAYLOAD, 3309)
    assert protected[1:4].hex() == "013830"
    assert cbor2.loads(protected) == {1: -49, 3: NOTE, 4: KEY.hash, 15: {3: HOME}}


def test_signatures_are_hedged() -> None:
    assert sign(KEY, NOTE, HOME, PAYLOAD) != SIGNED


def remade(**changes: Any) -> bytes:
    """SIGNED with some parts replaced, the signature made anew by KEY unless it is given."""
    header = {1: -49, 3: NOTE, 4: KEY.hash, 15: {3: HOME}} | changes.pop("header", {})
    parts = {
        "protected": cbor2.dumps({k: v for k, v in header.items() if v is not None}, canonical=True),
        "unprotected": {},
        "payload": PAYLOAD,
    } | changes
    if "signature" not in parts:
        parts["signature"] = KEY.sign_raw(sig_structure(parts["protected"], PAYLOAD))
    order = ("protected", "unprotected", "payload", "signature")
    return cbor2.dumps(cbor2.CBORTag(parts.get("tag", 18), [parts[name] for name in order]), canonical=True)


def test_a_remade_object_is_accepted_unchanged() -> None:
    assert verify(KEY.public_key, NOTE, HOME, remade()) == PAYLOAD


@pytest.mark.parametrize(
    ("signed", "where"),
    [
        (remade(header={1: -48}), "algorithm"),
        (remade(header={1: None}), "algorithm"),
        (remade(header={3: "qcommons/vote.1"}), "object type"),
        (remade(header={3: 0}), "object type"),
        (remade(header={15: {3: "mars"}}), "network"),
        (remade(header={15: "home"}), "network"),
        (remade(header={15: None}), "network"),
        (remade(header={4: STRANGER.hash}), "key id"),
        (remade(header={4: KEY.id}), "key id"),
        (remade(header={15: {3: HOME, 4: 1}}), "header"),
        (remade(header={2: [3]}), "header"),
        (remade(protected=b""), "byte 0"),
        (remade(protected=cbor2.dumps([1])), "algorithm"),
        (remade(protected=cbor2.dumps("x" * 300)), "length"),
        (remade(payload=b"paxload"), "signature"),
        (remade(signature=bytes(3309)), "signature"),
        (remade(signature=bytes(3308)), "signature"),
        (remade(signature=STRANGER.sign_raw(b"")), "signature"),
        (remade(unprotected={4: b"kid"}), "envelope"),
        (remade(payload=None), "envelope"),
        (remade(payload="payload"), "envelope"),
        (remade(tag=17), "byte 0"),
        (remade()[1:], "envelope"),
        (cbor2.dumps(cbor2.CBORTag(18, [b""])), "envelope"),
        (cbor2.dumps(cbor2.CBORTag(18, b"")), "envelope"),
        (SIGNED + b"\x00", f"byte {len(SIGNED)}"),
        (bytes(PAYLOAD_BYTES_MAX + OVERHEAD_BYTES_MAX + 1), "length"),
    ],
)
def test_every_refusal_names_its_reason(signed: bytes, where: str) -> None:
    with pytest.raises(PeerError) as caught:
        verify(KEY.public_key, NOTE, HOME, signed)
    assert caught.value.where == where


def test_another_purpose_network_or_key_opens_nothing() -> None:
    for public_key, object_type, network, where in (
        (KEY.public_key, "qcommons/note.2", HOME, "object type"),
        (KEY.public_key, NOTE, "home2", "network"),
        (STRANGER.public_key, NOTE, HOME, "key id"),
        (KEY.public_key[:-1], NOTE, HOME, "public key"),
    ):
        with pytest.raises(PeerError) as caught:
            verify(public_key, object_type, network, SIGNED)
        assert caught.value.where == where


def test_a_longer_spelling_of_the_same_object_is_refused() -> None:
    """The payload's length in two bytes instead of one: COSE would take it, the canonical form does not."""
    at = SIGNED.index(b"\x47" + PAYLOAD)
    with pytest.raises(PeerError, match="shortest"):
        verify(KEY.public_key, NOTE, HOME, SIGNED[:at] + b"\x58" + SIGNED[at:].replace(b"\x47", b"\x07", 1))


@pytest.mark.parametrize(
    "object_type", ["", "note.1", "qcommons/note", "qcommons/note/1", "qcommons/Note.1", "qcommons/n.0"]
)
def test_object_types_have_one_form(object_type: str) -> None:
    for call in (lambda: sign(KEY, object_type, HOME, b""), lambda: verify(KEY.public_key, object_type, HOME, SIGNED)):
        with pytest.raises(UsageError) as caught:
            call()
        assert caught.value.where == "object type"


@pytest.mark.parametrize("network", ["", "Home", "a" * 65, "a b", "home\n", "-a"])
def test_network_ids_have_one_form(network: str) -> None:
    with pytest.raises(UsageError) as caught:
        sign(KEY, NOTE, network, b"")
    assert caught.value.where == "network"


def test_payloads_go_up_to_64_kib() -> None:
    """The longest names with the largest payload stay within what verify reads."""
    longest = ("qcommons/" + "a" * 40 + ".9999", "n" * 64)
    largest = bytes(PAYLOAD_BYTES_MAX)
    assert verify(KEY.public_key, *longest, sign(KEY, *longest, largest)) == largest
    with pytest.raises(UsageError, match="sign its hash"):
        sign(KEY, NOTE, HOME, largest + b"x")


@given(st.integers(0, len(SIGNED) - 1))
@settings(max_examples=60)
def test_truncated_bytes_are_the_peers_error(length: int) -> None:
    with pytest.raises(PeerError):
        verify(KEY.public_key, NOTE, HOME, SIGNED[:length])


@given(st.integers(0, len(SIGNED) - 1), st.integers(1, 255))
@settings(max_examples=100)
def test_any_changed_byte_is_the_peers_error(place: int, change: int) -> None:
    mutated = bytearray(SIGNED)
    mutated[place] ^= change
    with pytest.raises(PeerError):
        verify(KEY.public_key, NOTE, HOME, bytes(mutated))


@given(st.integers(0, 150), st.integers(1, 255))
@settings(max_examples=150)
def test_any_changed_byte_of_the_head_is_the_peers_error(place: int, change: int) -> None:
    """The signature is most of the bytes; here the header gets its share."""
    mutated = bytearray(SIGNED)
    mutated[place] ^= change
    with pytest.raises(PeerError):
        verify(KEY.public_key, NOTE, HOME, bytes(mutated))


@given(st.binary(max_size=200))
def test_noise_is_the_peers_error(noise: bytes) -> None:
    with pytest.raises(PeerError):
        verify(KEY.public_key, NOTE, HOME, noise)


@given(st.binary(max_size=100))
@settings(max_examples=20)
def test_what_is_signed_is_read(payload: bytes) -> None:
    assert verify(KEY.public_key, NOTE, HOME, sign(KEY, NOTE, HOME, payload)) == payload
