"""Vectors that others published, for the primitives under identity, prekeys and sealed.

What the library (cryptography 50) does not expose cannot be checked here: signing ML-DSA without hedging (so only the
verification of published signatures, and keys from seeds), ML-KEM's encapsulation with given randomness (so only
decapsulation and keys from seeds), and HPKE's sender with a given ephemeral key (so only the recipient).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.bindings._rust import openssl
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey

from qcommons.pqc import sealed
from qcommons.pqc.identity import NodeKey
from qcommons.pqc.prekeys import PREKEY_SEED_BYTES, PrekeyPair

PUBLISHED = json.loads((Path(__file__).parents[1] / "vectors" / "pqc" / "published.json").read_text())


def vectors(name: str) -> list[dict[str, bytes]]:
    rows: list[dict[str, Any]] = PUBLISHED[name]["vectors"]
    return [{field: bytes.fromhex(value) for field, value in row.items()} for row in rows]


@pytest.mark.parametrize("vector", vectors("ml_dsa_65"), ids=lambda vector: vector["seed"].hex()[:8])
def test_ml_dsa_65_keys_and_signatures(vector: dict[str, bytes]) -> None:
    """Keys from seeds (FIPS 204, algorithm 6) and verification (algorithm 3) of deterministic signatures."""
    assert NodeKey(vector["seed"]).public_key == vector["public_key"]
    key = MLDSA65PublicKey.from_public_bytes(vector["public_key"])
    key.verify(vector["signature"], vector["message"], vector["context"])
    for message, context in ((vector["message"] + b"\0", vector["context"]), (vector["message"], b"")):
        with pytest.raises(InvalidSignature):
            key.verify(vector["signature"], message, context)


@pytest.mark.parametrize("vector", vectors("ml_dsa_65_keygen"))
def test_ml_dsa_65_keys_of_nist(vector: dict[str, bytes]) -> None:
    public_key = NodeKey(vector["seed"]).public_key
    assert public_key.startswith(vector["public_key_begins"]) and public_key.endswith(vector["public_key_ends"])


@pytest.mark.parametrize("vector", vectors("ml_kem_768"))
def test_ml_kem_768_keys_and_decapsulation(vector: dict[str, bytes]) -> None:
    """Keys from d and z (FIPS 203, algorithm 16), decapsulation (algorithm 18), implicit rejection of anything else."""
    key = MLKEM768PrivateKey.from_seed_bytes(vector["seed"])
    assert key.public_key().public_bytes_raw() == vector["public_key"]
    assert key.decapsulate(vector["ciphertext"]) == vector["shared_secret"]
    assert key.decapsulate(vector["other_ciphertext"]) == vector["other_shared_secret"]
    pair = PrekeyPair(vector["seed"] + bytes(32))
    assert pair.public.startswith(vector["public_key"])  # ours begin with ML-KEM's half


@pytest.mark.parametrize("vector", vectors("hpke_mlkem768_x25519"))
def test_the_suite_of_sealed_boxes_opens_what_the_draft_sealed(vector: dict[str, bytes]) -> None:
    """The very suite that `sealed` uses. The draft's private key is 32 bytes that SHAKE256 stretches into our 96, and
    its first message has associated data, which the library takes by a private function only."""
    pair = PrekeyPair(hashlib.shake_256(vector["private_key"]).digest(PREKEY_SEED_BYTES))
    assert pair.public == vector["public_key"]
    box = vector["enc"] + vector["ciphertext"]
    opened = openssl.hpke._decrypt_with_aad(sealed._suite(), box, pair.private, vector["info"], vector["aad"])
    assert opened == vector["plaintext"]
    assert len(vector["enc"]) == sealed.KEM_BYTES
