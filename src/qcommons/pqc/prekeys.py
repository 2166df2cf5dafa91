"""Prekeys: keys for sealed boxes that change often, signed by the node they belong to.

Flow: 96 secret bytes -> *PrekeyPair* -> *publish* -> signed record -> peers -> *check_prekey* -> sealed. The secret
half is kept by `prekey_ring` under a key that only the node's own seed gives (*keep*, *kept*), and destroyed soon: what
was sealed to it can then be opened by nobody, not even with the node's key. That is forward secrecy to within days.

    public half   1184 bytes ML-KEM-768 (FIPS 203, table 3), then 32 bytes X25519 (RFC 7748)
    secret half   64 bytes ML-KEM-768 (d, then z: FIPS 203, algorithm 19), then 32 bytes X25519
    prekey id     the first 16 bytes of SHA3-256 over "qcommons/prekey-id.1" and the public half

docs/protocol/sealed.md says it with vectors.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import msgspec

from qcommons.base.canonical import decode_record, encode_record
from qcommons.base.errors import Corrupt, PeerError, UsageError
from qcommons.pqc.identity import HASH_BYTES, NodeKey, node_hash
from qcommons.pqc.secret_files import Entropy
from qcommons.pqc.signing import sign, verify

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
    from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey

__all__ = [
    "CLOCKS_APART_S", "PREKEY_SEED_BYTES", "PREKEY_TYPE", "Prekey", "PrekeyPair", "check_prekey", "hpke_public",
    "keep", "kept", "prekey_id", "publish",
]  # fmt: skip

PREKEY_TYPE = "qcommons/prekey.1"
MLKEM_PUBLIC_BYTES = 1184  # FIPS 203, table 3: ML-KEM-768
MLKEM_SEED_BYTES = 64
X25519_BYTES = 32
PUBLIC_BYTES = MLKEM_PUBLIC_BYTES + X25519_BYTES
PREKEY_SEED_BYTES = MLKEM_SEED_BYTES + X25519_BYTES
ID_BYTES = 16
ID_DOMAIN = b"qcommons/prekey-id.1"
SIGNED_BYTES_MAX = 6144  # ours have 4.8 KB
RECORD_BYTES_MAX = 1400
RECORD_ITEMS_MAX = 8
LIFE_S_MAX = 30 * 86_400  # a prekey that lives longer gives no forward secrecy worth the name
CLOCKS_APART_S = 300  # how far the clocks of honest nodes may differ
SECONDS_MAX = 1 << 40
KEEPING_INFO = b"qcommons/prekeys.1"
KEPT_BYTES_MAX = 8192
NONCE_BYTES = 12  # RFC 8439
TAG_BYTES = 16
KEY_BYTES = 32


def _exactly(size: int) -> msgspec.Meta:
    return msgspec.Meta(min_length=size, max_length=size)


Seconds = Annotated[int, msgspec.Meta(ge=0, lt=SECONDS_MAX)]  # since 1970, on the signer's clock


class Prekey(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a node says of a prekey: it is good from `from_s` until `until_s`, exclusive. node: its hash."""

    node: Annotated[bytes, _exactly(HASH_BYTES)]
    id: Annotated[bytes, _exactly(ID_BYTES)]
    public: Annotated[bytes, _exactly(PUBLIC_BYTES)]
    from_s: Seconds
    until_s: Seconds


class PrekeyPair:
    """Both halves. `repr` shows the id alone; it cannot be copied or serialised by accident."""

    __slots__ = ("_seed", "id", "private", "public")

    def __init__(self, seed: bytes) -> None:
        """The pair of 96 secret bytes. Raises UsageError for another length."""
        if len(seed) != PREKEY_SEED_BYTES:
            limit = f"{PREKEY_SEED_BYTES} bytes"
            raise UsageError(f"a prekey of {len(seed)} secret bytes; allowed {limit}", where="prekey", limit=limit)
        from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
        from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey

        self._seed = seed
        mlkem = MLKEM768PrivateKey.from_seed_bytes(seed[:MLKEM_SEED_BYTES])
        x25519 = X25519PrivateKey.from_private_bytes(seed[MLKEM_SEED_BYTES:])
        self.private: MLKEM768X25519PrivateKey = MLKEM768X25519PrivateKey(mlkem, x25519)
        self.public = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
        self.id = prekey_id(self.public)

    def secret_seed(self) -> bytes:
        """The 96 secret bytes, for `keep` only."""
        return self._seed

    def __repr__(self) -> str:
        return f"PrekeyPair({self.id.hex()})"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a PrekeyPair is kept by pqc.prekey_ring and by nothing else")


def prekey_id(public: bytes) -> bytes:
    """16 bytes by which a box names the prekey it is sealed to."""
    return hashlib.sha3_256(ID_DOMAIN + public).digest()[:ID_BYTES]


def publish(key: NodeKey, network: str, pair: PrekeyPair, from_s: int, until_s: int) -> bytes:
    """The signed record of a prekey of `key`. Raises UsageError where it would live 0 s or more than 30 days."""
    if not 0 < until_s - from_s <= LIFE_S_MAX:
        limit = f"{LIFE_S_MAX} s"
        raise UsageError(f"a prekey that lives {until_s - from_s} s; allowed 1 to {limit}", where="until", limit=limit)
    record = Prekey(key.hash, pair.id, pair.public, from_s, until_s)
    return sign(key, PREKEY_TYPE, network, encode_record(record))


def check_prekey(public_key: bytes, network: str, signed: bytes, now_s: int) -> Prekey:
    """The prekey that the owner of `public_key` published, if it may be used at `now_s` (seconds since 1970).

    Raises:
        PeerError: `where` names what does not hold: as in `signing.verify`, or node, prekey, from, until.
    """
    prekey = _checked(public_key, network, signed)
    if now_s >= prekey.until_s:
        raise PeerError(f"the prekey expired {now_s - prekey.until_s} s ago; fetch the present one", where="until")
    if now_s < prekey.from_s - CLOCKS_APART_S:
        limit = f"{CLOCKS_APART_S} s"
        what = f"the prekey begins in {prekey.from_s - now_s} s; clocks may differ by {limit}"
        raise PeerError(what, where="from", limit=limit)
    return prekey


def _checked(public_key: bytes, network: str, signed: bytes) -> Prekey:
    """All but the times."""
    if len(signed) > SIGNED_BYTES_MAX:
        limit = f"{SIGNED_BYTES_MAX} bytes"
        raise PeerError(f"a prekey record of {len(signed)} bytes; allowed {limit}", where="length", limit=limit)
    payload = verify(public_key, PREKEY_TYPE, network, signed)
    prekey = decode_record(payload, Prekey, bytes_max=RECORD_BYTES_MAX, items_max=RECORD_ITEMS_MAX)
    if prekey.node != node_hash(public_key):
        raise PeerError("the prekey is signed by another node than it names", where="node", evidence=signed)
    if prekey.id != prekey_id(prekey.public):
        raise PeerError("the prekey's id is not the hash of its public half", where="prekey", evidence=signed)
    if not 0 < prekey.until_s - prekey.from_s <= LIFE_S_MAX:
        limit = f"{LIFE_S_MAX} s"
        what = f"the prekey lives {prekey.until_s - prekey.from_s} s; allowed 1 to {limit}"
        raise PeerError(what, where="until", limit=limit)
    hpke_public(prekey.public)
    return prekey


def hpke_public(public: bytes) -> MLKEM768X25519PublicKey:
    """The public half as the library takes it.

    Raises:
        PeerError: ML-KEM's check of an encapsulation key fails (FIPS 203, section 7.2), or the length is wrong.
    """
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
    from cryptography.hazmat.primitives.hpke import MLKEM768X25519PublicKey

    try:
        mlkem = MLKEM768PublicKey.from_public_bytes(public[:MLKEM_PUBLIC_BYTES])
        x25519 = X25519PublicKey.from_public_bytes(public[MLKEM_PUBLIC_BYTES:])
    except ValueError as error:
        raise PeerError(f"no public half of a prekey: {error}", where="prekey", evidence=public) from error
    return MLKEM768X25519PublicKey(mlkem, x25519)


class _Kept(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A prekey at rest: the signed record, and the secret half under ChaCha20-Poly1305 with the record as its AAD."""

    version: Literal[1]
    signed: bytes
    nonce: Annotated[bytes, _exactly(NONCE_BYTES)]
    sealed_seed: Annotated[bytes, _exactly(PREKEY_SEED_BYTES + TAG_BYTES)]


def keep(key: NodeKey, signed: bytes, pair: PrekeyPair, entropy: Entropy) -> bytes:
    """A prekey as it is stored: useless to whoever has not the node's key as well."""
    nonce = entropy(NONCE_BYTES)
    sealed = _cipher(key).encrypt(nonce, pair.secret_seed(), signed)
    return encode_record(_Kept(1, signed, nonce, sealed))


def kept(key: NodeKey, network: str, value: bytes) -> tuple[bytes, Prekey, PrekeyPair]:
    """(signed record, the record, both halves) of what `keep` wrote.

    Raises:
        Corrupt: damaged, or kept by another node's key, or for another network.
    """
    from cryptography.exceptions import InvalidTag

    try:
        stored = decode_record(value, _Kept, bytes_max=KEPT_BYTES_MAX, items_max=RECORD_ITEMS_MAX)
        pair = PrekeyPair(_cipher(key).decrypt(stored.nonce, stored.sealed_seed, stored.signed))
        prekey = _checked(key.public_key, network, stored.signed)
    except (PeerError, InvalidTag) as error:  # our own bytes, so nobody's fault but ours
        why = str(error) or "it does not open"
        raise Corrupt(f"the stored prekey is damaged, or of another key or network: {why}", where="prekey") from error
    if prekey.public != pair.public:
        raise Corrupt("the stored prekey's halves do not belong together", where="prekey")
    return stored.signed, prekey, pair


def _cipher(key: NodeKey) -> ChaCha20Poly1305:
    """Under HKDF-SHA3-256 (RFC 5869) of the node's seed: sealed as well as the key file is."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    derived = HKDF(hashes.SHA3_256(), KEY_BYTES, key.hash, KEEPING_INFO).derive(key.secret_seed())
    return ChaCha20Poly1305(derived)
