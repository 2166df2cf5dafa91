"""Keys from seeds and ids from keys."""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
from pathlib import Path

import cbor2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcommons.base.errors import PeerError, UsageError
from qcommons.pqc.identity import NodeKey, node_hash, node_id, node_id_of_hash, parse_node_id

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "pqc" / "identity.json").read_text())["vectors"]
# RFC 9964, appendix A: the key of the seed of 32 zero bytes has this COSE Key thumbprint (RFC 9679)
RFC9964_THUMBPRINT = "b788acf242f1f1d6532926d816e76e1636874267f2a48c84c4e65789ab80cc02"


def test_the_key_of_a_seed_is_the_one_of_rfc_9964() -> None:
    required = {1: 7, 3: -49, -1: NodeKey(bytes(32)).public_key}  # kty AKP, alg ML-DSA-65, pub
    assert hashlib.sha256(cbor2.dumps(required, canonical=True)).hexdigest() == RFC9964_THUMBPRINT


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["seed"][:8])
def test_published_ids_stand(vector: dict[str, str]) -> None:
    key = NodeKey(bytes.fromhex(vector["seed"]))
    assert key.public_key.hex().startswith(vector["public_key_begins"])
    assert (key.hash.hex(), key.id) == (vector["node_hash"], vector["node_id"])
    assert node_id(key.public_key) == key.id
    assert hashlib.sha3_256(key.public_key).digest() == parse_node_id(key.id)


def test_an_id_has_61_characters_and_forgives_blanks_and_capitals() -> None:
    text = VECTORS[0]["node_id"]
    assert len(text) == 61
    assert parse_node_id(f"  {text.upper()}\n") == parse_node_id(text)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (VECTORS[0]["node_id"][:-1] + "q", "node id, checksum"),
        (VECTORS[0]["node_id"].replace("k", "b", 1), "node id, character 4"),
        ("", "node id, prefix"),
        ("bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y", "node id, prefix"),
        ("qn1" + "q" * 90, "node id, length"),
    ],
)
def test_what_is_wrong_with_an_id_is_said(text: str, where: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_node_id(text)
    assert caught.value.where == where


def test_an_id_of_fewer_bytes_is_refused() -> None:
    from qcommons.pqc import bech32m

    with pytest.raises(UsageError, match="31 bytes"):
        parse_node_id(bech32m.encode("qn", bytes(31)))
    with pytest.raises(UsageError):
        node_id_of_hash(bytes(31))


@given(st.binary(min_size=32, max_size=32))
def test_ids_and_hashes_are_one_to_one(digest: bytes) -> None:
    assert parse_node_id(node_id_of_hash(digest)) == digest


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_seed_has_32_bytes(size: int) -> None:
    with pytest.raises(UsageError, match=f"{size} bytes"):
        NodeKey(bytes(size))


@pytest.mark.parametrize("size", [0, 1951, 1953])
def test_a_public_key_has_1952_bytes(size: int) -> None:
    with pytest.raises(PeerError, match="1952"):
        node_hash(bytes(size))


def test_a_key_never_shows_its_seed() -> None:
    seed = bytes(range(100, 132))
    key = NodeKey(seed)
    assert key.secret_seed() == seed
    for text in (repr(key), str(key), f"{key!r:>80}", f"{[key]}"):
        assert key.id in text
        assert seed.hex() not in text and repr(seed)[2:10] not in text
    assert not hasattr(key, "__dict__")


def test_a_key_is_neither_copied_nor_serialised() -> None:
    key = NodeKey(bytes(32))
    for escape in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            escape(key)
    with pytest.raises(TypeError):
        msgspec.json.encode(key)


def test_raw_signatures_are_pure_ml_dsa_with_the_empty_context() -> None:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey

    key = NodeKey(bytes(32))
    MLDSA65PublicKey.from_public_bytes(key.public_key).verify(key.sign_raw(b"text"), b"text", b"")
