"""Key files: a secret seed at rest, sealed, one file a key, never overwritten.

Flow: first start -> *load_or_create* -> folder/node.key; later starts -> *load_or_create* -> NodeKey. `create` makes
the file of a given seed (a backup). `key_facts` says how a file is sealed without unlocking it (for `qcommons doctor`).
A node's key and its owner's are separate files of one form.

    passphrase given    scrypt (RFC 7914) stretches it          "sealed_by": "passphrase"
    none                32 random bytes in folder/machine.key   "sealed_by": "machine key"
                        through HKDF (RFC 5869): they need no stretching, and a start takes milliseconds

The seed is encrypted by ChaCha20-Poly1305 (RFC 8439) with the rest of the file as associated data; a checksum
tells a damaged file from a wrong passphrase. docs/protocol/identity.md has the layout. A machine key keeps a
copied node.key useless; it does not protect from somebody who can read the whole folder.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from qcommons.base.canonical import decode_record, encode_record, to_record
from qcommons.base.errors import Corrupt, PeerError, Unavailable, UsageError
from qcommons.pqc.identity import HASH_BYTES, PUBLIC_KEY_BYTES, SEED_BYTES, NodeKey, node_hash, node_id_of_hash
from qcommons.pqc.secret_files import Entropy, place, read_private

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

__all__ = [
    "KEY_FILE", "LIGHT", "MACHINE_KEY_FILE", "PASSPHRASE_BYTES_MAX", "STRONG", "KeyFacts", "Purpose", "Scrypt",
    "create", "key_facts", "key_file", "load", "load_or_create",
]  # fmt: skip

KEY_FILE = "node.key"
MACHINE_KEY_FILE = "machine.key"
FILE_BYTES_MAX = 8192  # ours have 2.3 KB
FILE_ITEMS_MAX = 64
MACHINE_KEY_BYTES = SALT_BYTES = SEALING_KEY_BYTES = 32
NONCE_BYTES = 12  # RFC 8439
TAG_BYTES = 16
PASSPHRASE_BYTES_MAX = 1024
SCRYPT_BYTES_MAX = 1 << 28  # memory that a file may ask for to be unlocked: twice STRONG

Purpose = Literal["node", "owner"]
A = {"node": "a node", "owner": "an owner"}


class Scrypt(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="scrypt"):
    """Parameters of RFC 7914: N = 2^log2_n, block size r, p. Takes 128 N r bytes, and time as N r p."""

    log2_n: Annotated[int, msgspec.Meta(ge=1, le=20)]
    r: Annotated[int, msgspec.Meta(ge=1, le=32)]
    p: Annotated[int, msgspec.Meta(ge=1, le=4)]

    @property
    def memory_bytes(self) -> int:
        return 128 * self.r << self.log2_n

    @property
    def work(self) -> int:
        return self.p * self.r << self.log2_n


STRONG = Scrypt(17, 8, 1)  # 128 MiB, half a second
LIGHT = Scrypt(12, 8, 1)  # 4 MiB, 20 ms: for keys of development and tests only


class Hkdf(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="hkdf-sha3-256"):
    """HKDF with SHA3-256; no parameters."""


def _exactly(size: int) -> msgspec.Meta:
    return msgspec.Meta(min_length=size, max_length=size)


class _KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file: a map in canonical CBOR. checksum: SHA3-256 of the same map with an empty checksum."""

    version: Literal[1]
    purpose: Purpose
    sealed_by: Literal["passphrase", "machine key"]
    kdf: Scrypt | Hkdf
    salt: Annotated[bytes, _exactly(SALT_BYTES)]
    nonce: Annotated[bytes, _exactly(NONCE_BYTES)]
    public_key: Annotated[bytes, _exactly(PUBLIC_KEY_BYTES)]
    node: Annotated[bytes, _exactly(HASH_BYTES)]
    sealed_seed: Annotated[bytes, msgspec.Meta(max_length=SEED_BYTES + TAG_BYTES)]
    checksum: Annotated[bytes, msgspec.Meta(max_length=HASH_BYTES)]


class KeyFacts(msgspec.Struct, frozen=True):
    """What a key file says without being unlocked. light: its passphrase is stretched less than `STRONG`.

    node: the id of a node's key. hash: of the public key, 32 bytes, whatever the purpose.
    """

    node: str
    sealed_by: str
    light: bool
    path: Path
    hash: bytes = b""


def key_file(purpose: Purpose) -> str:
    """The name of the file of the present key of that purpose."""
    return f"{purpose}.key"


def load_or_create(
    folder: Path,
    passphrase: bytes | None,
    entropy: Entropy,
    *,
    kdf: Scrypt = STRONG,
    purpose: Purpose = "node",
    file: str | None = None,
) -> NodeKey:
    """The key in `folder`; a fresh one, sealed and on disk, if there is none.

    Args:
        folder: made with mode 0700 where it is missing.
        passphrase: 1 to 1024 bytes, or None for the machine key.
        entropy: gives fresh secret bytes; called on creation only.
        kdf: for a new file sealed by a passphrase; an existing file says its own.
        purpose: whose key it is.
        file: its name in the folder, in place of `key_file(purpose)`.

    Raises:
        UsageError: files that others can read, a wrong passphrase, one missing, or one given for nothing.
        Corrupt: a file is damaged, or the machine key is gone or another one.
        Unavailable: the folder cannot be read or written.
    """
    name = file or key_file(purpose)
    _check_passphrase(passphrase)
    _check_kdf(kdf)
    if read_private(folder / name, FILE_BYTES_MAX) is None:
        _create(folder, name, purpose, passphrase, entropy, kdf)
    key = load(folder, passphrase, purpose=purpose, file=name)  # ours, or that of another process which came first
    if key is None:
        raise Corrupt("the key file vanished while it was made; start again", where=str(folder / name))
    return key


def load(
    folder: Path, passphrase: bytes | None, *, purpose: Purpose = "node", file: str | None = None
) -> NodeKey | None:
    """The key in `folder`, None where there is none. Raises as `load_or_create`."""
    _check_passphrase(passphrase)
    path = folder / (file or key_file(purpose))
    data = read_private(path, FILE_BYTES_MAX)
    return None if data is None else _unlocked(path, _parsed(path, data, purpose), passphrase)


def create(
    folder: Path,
    seed: bytes,
    passphrase: bytes | None,
    entropy: Entropy,
    *,
    kdf: Scrypt = STRONG,
    purpose: Purpose = "node",
    file: str | None = None,
) -> NodeKey:
    """A key file of this very seed, sealed and on disk. Raises as `load_or_create`, and UsageError if it is there."""
    name = file or key_file(purpose)
    _check_passphrase(passphrase)
    _check_kdf(kdf)
    if read_private(folder / name, FILE_BYTES_MAX) is not None:
        raise UsageError("there is a key already; it is not overwritten", where=str(folder / name))
    _create(folder, name, purpose, passphrase, entropy, kdf, seed)
    key = load(folder, passphrase, purpose=purpose, file=name)
    if key is None or key.secret_seed() != seed:
        raise Unavailable("another process made a key meanwhile; it was not overwritten", where=str(folder / name))
    return key


def key_facts(folder: Path, purpose: Purpose = "node", name: str | None = None) -> KeyFacts | None:
    """How the key in `folder` is sealed; None where there is none. Raises as `load_or_create`."""
    path = folder / (name or key_file(purpose))
    data = read_private(path, FILE_BYTES_MAX)
    if data is None:
        return None
    file = _parsed(path, data, purpose)
    light = isinstance(file.kdf, Scrypt) and file.kdf.work < STRONG.work
    return KeyFacts(node_id_of_hash(file.node), file.sealed_by, light, path, file.node)


def _check_passphrase(passphrase: bytes | None) -> None:
    if passphrase is not None and not 1 <= len(passphrase) <= PASSPHRASE_BYTES_MAX:
        limit = f"1 to {PASSPHRASE_BYTES_MAX} bytes"
        raise UsageError(f"a passphrase of {len(passphrase)} bytes; allowed {limit}", where="passphrase", limit=limit)


def _check_kdf(kdf: Scrypt) -> None:
    try:
        to_record(msgspec.to_builtins(kdf), Scrypt)
    except PeerError as error:
        raise UsageError(error.what, where="kdf") from error
    if kdf.memory_bytes > SCRYPT_BYTES_MAX:
        limit = f"{SCRYPT_BYTES_MAX >> 20} MiB"
        raise UsageError(f"scrypt would take {kdf.memory_bytes >> 20} MiB; allowed {limit}", where="kdf", limit=limit)


def _create(
    folder: Path,
    name: str,
    purpose: Purpose,
    passphrase: bytes | None,
    entropy: Entropy,
    kdf: Scrypt,
    seed: bytes | None = None,
) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if passphrase is None and not (folder / MACHINE_KEY_FILE).exists():
            place(folder, MACHINE_KEY_FILE, entropy(MACHINE_KEY_BYTES), entropy)
        key = NodeKey(entropy(SEED_BYTES) if seed is None else seed)
        blank = _KeyFile(
            version=1,
            purpose=purpose,
            sealed_by="machine key" if passphrase is None else "passphrase",
            kdf=Hkdf() if passphrase is None else kdf,
            salt=entropy(SALT_BYTES),
            nonce=entropy(NONCE_BYTES),
            public_key=key.public_key,
            node=key.hash,
            sealed_seed=b"",
            checksum=b"",
        )
        sealed = _cipher(folder, blank, passphrase).encrypt(blank.nonce, key.secret_seed(), _header(blank))
        file = msgspec.structs.replace(blank, sealed_seed=sealed)
        place(folder, name, encode_record(msgspec.structs.replace(file, checksum=_checksum(file))), entropy)
    except OSError as error:
        what = f"cannot write the key: {error.strerror}; make the folder writable or choose another home"
        raise Unavailable(what, where=str(folder)) from error


def _parsed(path: Path, data: bytes, purpose: Purpose = "node") -> _KeyFile:
    try:
        file = decode_record(data, _KeyFile, bytes_max=FILE_BYTES_MAX, items_max=FILE_ITEMS_MAX)
        good = file.checksum == _checksum(file) and file.node == node_hash(file.public_key)
        good = good and isinstance(file.kdf, Scrypt) == (file.sealed_by == "passphrase")
    except PeerError as error:  # our own file, so nobody's fault but ours
        raise Corrupt(f"the key file is damaged ({error}); restore it from a backup", where=str(path)) from error
    if not good:
        raise Corrupt("the key file is damaged (its checksum differs); restore it from a backup", where=str(path))
    if file.purpose != purpose:
        raise Corrupt(f"this is the key of {A[file.purpose]}, not of {A[purpose]}; put it back", where=str(path))
    if isinstance(file.kdf, Scrypt) and file.kdf.memory_bytes > SCRYPT_BYTES_MAX:
        limit = f"{SCRYPT_BYTES_MAX >> 20} MiB"
        what = f"the key file asks for {file.kdf.memory_bytes >> 20} MiB to be unlocked; allowed {limit}"
        raise Corrupt(what, where=str(path), limit=limit)
    return file


def _unlocked(path: Path, file: _KeyFile, passphrase: bytes | None) -> NodeKey:
    if file.sealed_by == "passphrase" and passphrase is None:
        raise UsageError("the key is sealed by a passphrase; give it", where=str(path))
    if file.sealed_by == "machine key" and passphrase is not None:
        what = "the key is sealed by the machine key, so a passphrase opens nothing; start without one"
        raise UsageError(what, where=str(path))
    from cryptography.exceptions import InvalidTag

    try:
        seed = _cipher(path.parent, file, passphrase).decrypt(file.nonce, file.sealed_seed, _header(file))
    except InvalidTag as error:
        if passphrase is not None:
            raise UsageError("wrong passphrase", where=str(path)) from error
        what = f"{MACHINE_KEY_FILE} beside it is not the one that sealed the key; restore both from one backup"
        raise Corrupt(what, where=str(path)) from error
    key = NodeKey(seed) if len(seed) == SEED_BYTES else None
    if key is None or key.public_key != file.public_key:
        raise Corrupt("the sealed seed makes another public key; restore the file from a backup", where=str(path))
    return key


def _cipher(folder: Path, file: _KeyFile, passphrase: bytes | None) -> ChaCha20Poly1305:
    """ChaCha20-Poly1305 under the key that the file's kdf derives."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    if isinstance(file.kdf, Scrypt) and passphrase is not None:
        kdf = file.kdf
        # OpenSSL's own limit is 32 MiB; it counts a little more than 128 N r
        derived = hashlib.scrypt(
            passphrase, salt=file.salt, n=1 << kdf.log2_n, r=kdf.r, p=kdf.p, maxmem=2 * SCRYPT_BYTES_MAX,
            dklen=SEALING_KEY_BYTES,
        )  # fmt: skip
    else:
        machine_path = folder / MACHINE_KEY_FILE
        machine_key = read_private(machine_path, FILE_BYTES_MAX)
        if machine_key is None or len(machine_key) != MACHINE_KEY_BYTES:
            state = "missing" if machine_key is None else f"damaged ({len(machine_key)} bytes)"
            what = f"the machine key is {state}; {key_file(file.purpose)} cannot be opened without it: restore both"
            raise Corrupt(what, where=str(machine_path))
        info = f"qcommons/{file.purpose}-key.1".encode()
        derived = HKDF(hashes.SHA3_256(), SEALING_KEY_BYTES, file.salt, info).derive(machine_key)
    return ChaCha20Poly1305(derived)


def _header(file: _KeyFile) -> bytes:
    return encode_record(msgspec.structs.replace(file, sealed_seed=b"", checksum=b""))


def _checksum(file: _KeyFile) -> bytes:
    return hashlib.sha3_256(encode_record(msgspec.structs.replace(file, checksum=b""))).digest()
