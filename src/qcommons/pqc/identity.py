"""Identity: a node is its ML-DSA-65 key; its id is a hash of the public half.

Flow: 32 secret bytes -> *NodeKey* -> keyfile, signing; public key -> *node id* -> peers, receipts, people.

    public key   1952 bytes (FIPS 204, table 2)
    node hash    SHA3-256 (FIPS 202) of them, 32 bytes: the key id in signed objects
    node id      the node hash in Bech32m (BIP-350) with prefix "qn": 61 characters for people

docs/protocol/identity.md says it with vectors.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NewType, NoReturn

from qcommons.base.errors import PeerError, UsageError
from qcommons.pqc import bech32m

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

__all__ = [
    "HASH_BYTES", "PUBLIC_KEY_BYTES", "SEED_BYTES", "SIGNATURE_BYTES", "NodeId", "NodeKey", "node_hash", "node_id",
    "node_id_of_hash", "parse_node_id",
]  # fmt: skip

NodeId = NewType("NodeId", str)

PREFIX = "qn"
# FIPS 204, tables 1 and 2, and algorithm 1: ML-DSA-65
SEED_BYTES = 32
PUBLIC_KEY_BYTES = 1952
SIGNATURE_BYTES = 3309
HASH_BYTES = 32


class NodeKey:
    """A node's key pair. `repr` shows the id alone; it cannot be copied or serialised by accident.

    public_key: 1952 bytes. hash: of the public key, 32 bytes. id: the same for people.
    """

    __slots__ = ("_private", "hash", "id", "public_key")

    def __init__(self, seed: bytes) -> None:
        """The key of `seed`: 32 bytes that nobody else can guess (FIPS 204, algorithm 1, xi).

        Raises:
            UsageError: not 32 bytes.
        """
        if len(seed) != SEED_BYTES:
            limit = f"{SEED_BYTES} bytes"
            raise UsageError(f"a seed of {len(seed)} bytes; allowed {limit}", where="seed", limit=limit)
        # 8 MB and 16 ms that a process without a key need not pay
        from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

        self._private: MLDSA65PrivateKey = MLDSA65PrivateKey.from_seed_bytes(seed)
        self.public_key = self._private.public_key().public_bytes_raw()
        self.hash = node_hash(self.public_key)
        self.id = node_id_of_hash(self.hash)

    def sign_raw(self, message: bytes) -> bytes:
        """3309 bytes: pure ML-DSA-65, hedged, with the empty context (FIPS 204, algorithm 2).

        For `signing` and drivers (TLS): whatever else is signed goes through `signing.sign`, which says what it is.
        """
        return self._private.sign(message)

    def secret_seed(self) -> bytes:
        """The 32 secret bytes: for the key file, the backup, and what is derived from them by a hash."""
        return self._private.private_bytes_raw()

    def __repr__(self) -> str:
        return f"NodeKey({self.id})"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a NodeKey is kept by pqc.keyfile and by nothing else")


def node_hash(public_key: bytes) -> bytes:
    """SHA3-256 of a public key, 32 bytes. Raises PeerError unless it has 1952 bytes."""
    if len(public_key) != PUBLIC_KEY_BYTES:
        limit = f"{PUBLIC_KEY_BYTES} bytes"
        raise PeerError(
            f"{len(public_key)} bytes; an ML-DSA-65 public key has {limit}", where="public key", limit=limit
        )
    return hashlib.sha3_256(public_key).digest()


def node_id(public_key: bytes) -> NodeId:
    """The id of a public key. Raises PeerError unless it has 1952 bytes."""
    return node_id_of_hash(node_hash(public_key))


def node_id_of_hash(digest: bytes) -> NodeId:
    """digest: the 32 bytes of `node_hash`."""
    if len(digest) != HASH_BYTES:
        raise UsageError(f"a node hash has {HASH_BYTES} bytes; got {len(digest)}", where="node hash")
    return NodeId(bech32m.encode(PREFIX, digest))


def parse_node_id(text: str) -> bytes:
    """The node hash (32 bytes) of an id as a person typed it; surrounding blanks and upper case are forgiven.

    Raises:
        UsageError: what is wrong and at which character.
    """
    try:
        digest = bech32m.decode(PREFIX, text.strip())
    except UsageError as error:
        where = f"node id, {error.where}" if error.where else "node id"
        raise UsageError(error.what, where=where, limit=error.limit) from error
    if len(digest) != HASH_BYTES:
        raise UsageError(f"{text!r} holds {len(digest)} bytes; a node id holds {HASH_BYTES}", where="node id, length")
    return digest
