"""Crypto: the node's key as the mesh core uses it (`events.Crypto`), over `pqc`.

Flow: MeshCore -> *NodeCrypto* -> pqc/signing, beats. It touches neither disk nor clock; secrets come from the entropy
that the driver gives. What was verified once is kept, by the hash of key and bytes: the same record comes from many
peers, and a verification takes 0.2 ms.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable

from qcommons.base.errors import Corrupt
from qcommons.mesh.beats import Chain, follows
from qcommons.mesh.records import PeerId
from qcommons.pqc import signing
from qcommons.pqc.identity import NodeKey

__all__ = ["NodeCrypto"]

KEPT = 256  # payloads of about 2.3 KB: what comes again comes within seconds
SECRET_BYTES = 32


class NodeCrypto:
    """entropy: so many secret bytes from the system's generator. hits, misses: of the kept verifications."""

    def __init__(self, key: NodeKey, network: str, entropy: Callable[[int], bytes]) -> None:
        self.peer = PeerId(key.hash)
        self.public_key = key.public_key
        self.hits = 0
        self.misses = 0
        self._key = key
        self._network = network
        self._entropy = entropy
        self._chain: Chain | None = None
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()

    def sign(self, object_type: str, payload: bytes) -> bytes:
        return signing.sign(self._key, object_type, self._network, payload)

    def verify(self, public_key: bytes, object_type: str, signed: bytes) -> bytes:
        """The payload. Raises PeerError, every time anew: refusals are not kept."""
        place = hashlib.sha3_256(
            b"".join((len(public_key).to_bytes(4, "big"), public_key, object_type.encode(), b"\0", signed))
        ).digest()
        kept = self._kept.get(place)
        if kept is not None:
            self.hits += 1
            self._kept.move_to_end(place)
            return kept
        self.misses += 1
        payload = signing.verify(public_key, object_type, self._network, signed)
        self._kept[place] = payload
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return payload

    def new_chain(self, beats: int) -> bytes:
        self._chain = Chain(self._entropy(SECRET_BYTES), beats)
        return self._chain.value(0)

    def beat(self, count: int) -> bytes:
        """Raises Corrupt where no chain was begun."""
        if self._chain is None:
            raise Corrupt("a beat before the first chain was begun")
        return self._chain.value(count)

    def follows(self, value: bytes, steps: int, known: bytes) -> bool:
        return follows(value, steps, known)
