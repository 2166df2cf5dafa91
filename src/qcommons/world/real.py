"""The real cryptography in a world: ML-DSA-65 keys from the world's seed, for small runs.

Flow: `Case(crypto="real")` -> stage -> *RealCrypto*, in the double's place. The same cost is modelled, so the virtual
times are those of the double; signatures are hedged (FIPS 204, section 3.4), so the trace differs from run to run.
"""

from __future__ import annotations

import hashlib

from qcommons.mesh.crypto import NodeCrypto
from qcommons.pqc.identity import NodeKey
from qcommons.world.double import HASH_NS, SIGN_NS, VERIFY_NS

__all__ = ["RealCrypto", "real_key"]


def real_key(seed: int, index: int) -> NodeKey:
    """The key of a node; anybody who knows the world's seed knows it."""
    return NodeKey(hashlib.sha3_256(f"qcommons/world/key {seed} {index}".encode()).digest())


class RealCrypto(NodeCrypto):
    """`mesh.crypto.NodeCrypto` that also says what it would have cost. secret: of the chains of one life."""

    def __init__(self, key: NodeKey, network: str, secret: bytes) -> None:
        self.spent_ns = 0
        self._draws = 0

        def entropy(count: int) -> bytes:
            self._draws += 1
            return hashlib.shake_256(secret + self._draws.to_bytes(4, "big")).digest(count)

        super().__init__(key, network, entropy)

    def sign(self, object_type: str, payload: bytes) -> bytes:
        """As `Crypto.sign`."""
        self.spent_ns += SIGN_NS
        return super().sign(object_type, payload)

    def verify(self, public_key: bytes, object_type: str, signed: bytes) -> bytes:
        """As `Crypto.verify`."""
        missed = self.misses
        try:
            return super().verify(public_key, object_type, signed)
        finally:
            self.spent_ns += VERIFY_NS * (self.misses - missed)

    def new_chain(self, beats: int) -> bytes:
        """As `Crypto.new_chain`."""
        self.spent_ns += beats * HASH_NS
        return super().new_chain(beats)

    def follows(self, value: bytes, steps: int, known: bytes) -> bool:
        """As `Crypto.follows`."""
        self.spent_ns += max(0, steps) * HASH_NS
        return super().follows(value, steps, known)
