"""The double of cryptography: the calls of `mesh.events.Crypto`, the bytes of the real thing, a modelled cost.

Flow: MeshCore -> *Double* (one a life of a node) -> *Oracle* (one a world). A signature is a hash that only the oracle
can make or check, inside an envelope of the real form and size (`pqc/signing.py`): what is forged, altered, of another
network or another type is refused as the real one refuses it, and what was checked once nobody computes again.
`spent_ns` is what the calls would have cost; the simulator keeps the node busy for so long.

The costs are medians of ML-DSA-65 (FIPS 204) and of a TLS 1.3 handshake with X25519MLKEM768 on a 2-core machine:
verify 0.25 ms, sign 1.2 ms, handshake 5.5 ms an end, a step of a hash chain 0.5 us.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import cbor2

from qcommons.base.canonical import decode_signed, encode
from qcommons.base.errors import PeerError
from qcommons.mesh.records import PeerId
from qcommons.pqc.identity import PUBLIC_KEY_BYTES, SIGNATURE_BYTES
from qcommons.pqc.signing import OVERHEAD_BYTES_MAX, PAYLOAD_BYTES_MAX

__all__ = ["HANDSHAKE_NS", "HASH_NS", "SIGN_NS", "VERIFY_NS", "Double", "Oracle"]

VERIFY_NS = 250_000
SIGN_NS = 1_200_000
HANDSHAKE_NS = 5_500_000  # an end
HASH_NS = 500
TAGS = frozenset({18})
KNOWN_MAX = 20_000  # checked objects that the oracle remembers: two records a node of the largest world
OPENED_MAX = 100_000  # values of chains: the last few of each node of the largest world
OWN_MAX = 64  # and that one node does not pay for again
VALUE_BYTES = 16
PLACE_BYTES = 8  # of a value: number of the chain, then of the beat; the rest is its proof
TAG_BYTES = 32
_int = int.from_bytes


class Oracle:
    """What is true of all keys of one world. seed: of the world; two worlds share no signature."""

    def __init__(self, seed: int) -> None:
        self._secret = hashlib.sha3_256(b"qcommons/world/oracle" + str(seed).encode()).digest()
        self.on_sign: Callable[[bytes, str, bytes], None] | None = None  # key, type, payload: for checkers
        self._known: dict[tuple[bytes, str, bytes], bytes] = {}
        self._chains = 0
        # value -> its place as a number (chain, then beat): each is computed once, not by every node that hears it
        self.opened: dict[bytes, int] = {}

    def public_key(self, name: str) -> bytes:
        """1952 bytes that nobody else has."""
        return hashlib.shake_256(self._secret + b"key" + name.encode()).digest(PUBLIC_KEY_BYTES)

    def sign(self, public_key: bytes, object_type: str, network: str, payload: bytes) -> bytes:
        """An envelope as `pqc.signing.sign` makes it, its signature from the oracle."""
        protected = _protected(object_type, network, hashlib.sha3_256(public_key).digest())
        signature = self._signature(public_key, protected, payload)
        return encode(cbor2.CBORTag(18, [protected, {}, payload, signature]), tags=TAGS)

    def verify(self, public_key: bytes, object_type: str, network: str, signed: bytes) -> bytes:
        """The payload. Raises PeerError; `where` names envelope, header or signature."""
        key = (public_key, object_type, signed)
        payload = self._known.get(key)
        if payload is None:
            payload = self._checked(public_key, object_type, network, signed)
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[key] = payload
        return payload

    def new_chain(self) -> bytes:
        """The number of a new chain of beats, 4 bytes."""
        self._chains += 1
        return self._chains.to_bytes(4, "big")

    def chain_value(self, place: bytes) -> bytes:
        """The value at a place (number of the chain, then of the beat, 4 bytes each): that and a proof of 8 bytes."""
        value = place + hashlib.sha3_256(self._secret + place).digest()[: VALUE_BYTES - len(place)]
        if len(self.opened) >= OPENED_MAX:
            self.opened.clear()
        self.opened[value] = int.from_bytes(place)
        return value

    def follows(self, value: bytes, steps: int, known: bytes) -> bool:
        """Whether `value` stands `steps` places after `known` in one chain, and was opened by its owner."""
        place = value[:8]
        same = len(value) == VALUE_BYTES and place[:4] == known[:4]
        after = int.from_bytes(place[4:], "big") == int.from_bytes(known[4:8], "big") + steps
        return same and after and value == self.chain_value(place)

    def _checked(self, public_key: bytes, object_type: str, network: str, signed: bytes) -> bytes:
        tagged = decode_signed(
            signed, bytes_max=PAYLOAD_BYTES_MAX + OVERHEAD_BYTES_MAX, depth_max=3, items_max=8, tags=TAGS
        )
        match tagged.value if isinstance(tagged, cbor2.CBORTag) else None:
            case [bytes(protected), {**unprotected}, bytes(payload), bytes(signature)] if not unprotected:
                pass
            case _:
                raise PeerError("no COSE_Sign1", where="envelope", evidence=signed)
        if protected != _protected(object_type, network, hashlib.sha3_256(public_key).digest()):
            raise PeerError("signed as something else", where="header", evidence=protected)
        if signature != self._signature(public_key, protected, payload):
            raise PeerError("the signature does not match key and content", where="signature", evidence=signed)
        return payload

    def _signature(self, public_key: bytes, protected: bytes, payload: bytes) -> bytes:
        head = hashlib.sha3_256(public_key + protected).digest()
        return hashlib.sha3_256(self._secret + head + payload).digest() + bytes(SIGNATURE_BYTES - TAG_BYTES)


class Double:
    """`mesh.events.Crypto` for one life of one node."""

    def __init__(self, oracle: Oracle, public_key: bytes, network: str) -> None:
        self.public_key = public_key
        self.peer = PeerId(hashlib.sha3_256(public_key).digest())
        self.spent_ns = 0
        self._oracle = oracle
        self._network = network
        self._beats = 0
        self._chain = b""
        self._own: dict[bytes, bytes] = {}

    def sign(self, object_type: str, payload: bytes) -> bytes:
        """As `Crypto.sign`."""
        self.spent_ns += SIGN_NS
        if self._oracle.on_sign is not None:
            self._oracle.on_sign(self.public_key, object_type, payload)
        return self._oracle.sign(self.public_key, object_type, self._network, payload)

    def verify(self, public_key: bytes, object_type: str, signed: bytes) -> bytes:
        """As `Crypto.verify`."""
        if self._own.get(signed) != public_key:
            self.spent_ns += VERIFY_NS
            if len(self._own) >= OWN_MAX:
                self._own.clear()
        payload = self._oracle.verify(public_key, object_type, self._network, signed)
        self._own[signed] = public_key
        return payload

    def new_chain(self, beats: int) -> bytes:
        """As `Crypto.new_chain`."""
        self._beats = beats
        self._chain = self._oracle.new_chain()
        self.spent_ns += beats * HASH_NS
        return self._oracle.chain_value(self._chain + bytes(4))

    def beat(self, count: int) -> bytes:
        """As `Crypto.beat`."""
        if not 1 <= count <= self._beats:
            raise ValueError(f"beat {count} of a chain of {self._beats}")
        return self._oracle.chain_value(self._chain + count.to_bytes(4, "big"))

    def follows(self, value: bytes, steps: int, known: bytes) -> bool:
        """As `Crypto.follows`."""
        self.spent_ns += steps * HASH_NS
        at = self._oracle.opened.get(value)
        if at is not None:
            return at - _int(known[:PLACE_BYTES]) == steps  # steps are few: never on to the next chain
        return self._oracle.follows(value, steps, known)


def _protected(object_type: str, network: str, digest: bytes) -> bytes:
    """RFC 9052: algorithm ML-DSA-65, content type, key id, audience (`pqc/signing.py` explains the numbers)."""
    return encode({1: -49, 3: object_type, 4: digest, 15: {3: network}})
