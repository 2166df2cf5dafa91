"""Key files: a node's secret seed at rest, sealed, one file a key, never overwritten.

Flow: first start -> *load_or_create* -> folder/node.key; later starts -> *load_or_create* -> NodeKey.
`key_facts` says how a file is sealed without unlocking it (for `qcommons doctor`).

    passphrase given    scrypt (RFC 7914) stretches it          "sealed_by": "passphrase"
    none                32 random bytes in folder/machine.key   "sealed_by": "machine key"
                        through HKDF (RFC 5869): they need no stretching, and a start takes milliseconds

The seed is encrypted by ChaCha20-Poly1305 (RFC 8439) with the rest of the file as associated data; a checksum
tells a damaged file from a wrong passphrase. docs/protocol/identity.md has the layout. A machine key keeps a
copied node.key useless; it does not protect from somebody who can read the whole folder.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from qcommons.base.canonical import decode_record, encode_record, to_record
from qcommons.base.errors import Corrupt, PeerError, Unavailable, UsageError
from qcommons.pqc.identity import HASH_BYTES, PUBLIC_KEY_BYTES, SEED_BYTES, NodeKey, node_hash, node_id_of_hash

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

__all__ = ["KEY_FILE", "LIGHT", "MACHINE_KEY_FILE", "STRONG", "KeyFacts", "Scrypt", "key_facts", "load_or_create"]

KEY_FILE = "node.key"
MACHINE_KEY_FILE = "machine.key"
FILE_BYTES_MAX = 8192  # ours have 2.3 KB
FILE_ITEMS_MAX = 64
OTHERS = 0o077
MACHINE_KEY_BYTES = SALT_BYTES = SEALING_KEY_BYTES = 32
NONCE_BYTES = 12  # RFC 8439
TAG_BYTES = 16
PASSPHRASE_BYTES_MAX = 1024
SCRYPT_BYTES_MAX = 1 << 28  # memory that a file may ask for to be unlocked: twice STRONG
HKDF_INFO = b"qcommons/node-key.1"

Entropy = Callable[[int], bytes]  # number of bytes -> that many fresh random ones (secrets.token_bytes)


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
    purpose: Literal["node"]
    sealed_by: Literal["passphrase", "machine key"]
    kdf: Scrypt | Hkdf
    salt: Annotated[bytes, _exactly(SALT_BYTES)]
    nonce: Annotated[bytes, _exactly(NONCE_BYTES)]
    public_key: Annotated[bytes, _exactly(PUBLIC_KEY_BYTES)]
    node: Annotated[bytes, _exactly(HASH_BYTES)]
    sealed_seed: Annotated[bytes, msgspec.Meta(max_length=SEED_BYTES + TAG_BYTES)]
    checksum: Annotated[bytes, msgspec.Meta(max_length=HASH_BYTES)]


class KeyFacts(msgspec.Struct, frozen=True):
    """What a key file says without being unlocked. light: its passphrase is stretched less than `STRONG`."""

    node: str
    sealed_by: str
    light: bool
    path: Path


def load_or_create(folder: Path, passphrase: bytes | None, entropy: Entropy, *, kdf: Scrypt = STRONG) -> NodeKey:
    """The node's key in `folder`; a fresh one, sealed and on disk, if there is none.

    Args:
        folder: made with mode 0700 where it is missing.
        passphrase: 1 to 1024 bytes, or None for the machine key.
        entropy: gives fresh secret bytes; called on creation only.
        kdf: for a new file sealed by a passphrase; an existing file says its own.

    Raises:
        UsageError: files that others can read, a wrong passphrase, one missing, or one given for nothing.
        Corrupt: a file is damaged, or the machine key is gone or another one.
        Unavailable: the folder cannot be read or written.
    """
    if passphrase is not None and not 1 <= len(passphrase) <= PASSPHRASE_BYTES_MAX:
        limit = f"1 to {PASSPHRASE_BYTES_MAX} bytes"
        raise UsageError(f"a passphrase of {len(passphrase)} bytes; allowed {limit}", where="passphrase", limit=limit)
    _check_kdf(kdf)
    path = folder / KEY_FILE
    data = _read(path)
    if data is None:
        _create(folder, passphrase, entropy, kdf)
        data = _read(path)  # ours, or that of another process which came first
        if data is None:
            raise Corrupt("the key file vanished while it was made; start again", where=str(path))
    return _unlocked(path, _parsed(path, data), passphrase)


def key_facts(folder: Path) -> KeyFacts | None:
    """How the key in `folder` is sealed; None where there is none. Raises as `load_or_create`."""
    path = folder / KEY_FILE
    data = _read(path)
    if data is None:
        return None
    file = _parsed(path, data)
    light = isinstance(file.kdf, Scrypt) and file.kdf.work < STRONG.work
    return KeyFacts(node_id_of_hash(file.node), file.sealed_by, light, path)


def _check_kdf(kdf: Scrypt) -> None:
    try:
        to_record(msgspec.to_builtins(kdf), Scrypt)
    except PeerError as error:
        raise UsageError(error.what, where="kdf") from error
    if kdf.memory_bytes > SCRYPT_BYTES_MAX:
        limit = f"{SCRYPT_BYTES_MAX >> 20} MiB"
        raise UsageError(f"scrypt would take {kdf.memory_bytes >> 20} MiB; allowed {limit}", where="kdf", limit=limit)


def _create(folder: Path, passphrase: bytes | None, entropy: Entropy, kdf: Scrypt) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if passphrase is None and not (folder / MACHINE_KEY_FILE).exists():
            _place(folder, MACHINE_KEY_FILE, entropy(MACHINE_KEY_BYTES), entropy)
        key = NodeKey(entropy(SEED_BYTES))
        blank = _KeyFile(
            version=1,
            purpose="node",
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
        _place(folder, KEY_FILE, encode_record(msgspec.structs.replace(file, checksum=_checksum(file))), entropy)
    except OSError as error:
        what = f"cannot write the key: {error.strerror}; make the folder writable or choose another home"
        raise Unavailable(what, where=str(folder)) from error


def _parsed(path: Path, data: bytes) -> _KeyFile:
    try:
        file = decode_record(data, _KeyFile, bytes_max=FILE_BYTES_MAX, items_max=FILE_ITEMS_MAX)
        good = file.checksum == _checksum(file) and file.node == node_hash(file.public_key)
        good = good and isinstance(file.kdf, Scrypt) == (file.sealed_by == "passphrase")
    except PeerError as error:  # our own file, so nobody's fault but ours
        raise Corrupt(f"the key file is damaged ({error}); restore it from a backup", where=str(path)) from error
    if not good:
        raise Corrupt("the key file is damaged (its checksum differs); restore it from a backup", where=str(path))
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
        machine_key = _read(machine_path)
        if machine_key is None or len(machine_key) != MACHINE_KEY_BYTES:
            state = "missing" if machine_key is None else f"damaged ({len(machine_key)} bytes)"
            what = f"the machine key is {state}; {KEY_FILE} cannot be opened without it: restore both from a backup"
            raise Corrupt(what, where=str(machine_path))
        derived = HKDF(hashes.SHA3_256(), SEALING_KEY_BYTES, file.salt, HKDF_INFO).derive(machine_key)
    return ChaCha20Poly1305(derived)


def _header(file: _KeyFile) -> bytes:
    return encode_record(msgspec.structs.replace(file, sealed_seed=b"", checksum=b""))


def _checksum(file: _KeyFile) -> bytes:
    return hashlib.sha3_256(encode_record(msgspec.structs.replace(file, checksum=b""))).digest()


def _read(path: Path) -> bytes | None:
    """The bytes of a secret file, None where there is none; refuses files that others can read or write."""
    try:
        # non-blocking: opening a pipe in place of the file must not hang
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable(f"cannot read it: {error.strerror}", where=str(path)) from error
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise UsageError("no ordinary file; move it away", where=str(path))
        if mode & OTHERS:
            what = f"others can read or change it (mode {stat.S_IMODE(mode):04o}); run: chmod 600 {path}"
            raise UsageError(what, where=str(path), limit="mode 0600")
        return file.read(FILE_BYTES_MAX + 1)


def _place(folder: Path, name: str, data: bytes, entropy: Entropy) -> None:
    """Write a file whole, 0600 and on disk, unless there is one of that name: then that one stays."""
    temporary = folder / f".{name}.{entropy(8).hex()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        # a link, since a rename would overwrite the key of a process that came first
        with contextlib.suppress(FileExistsError):
            os.link(temporary, folder / name)
    finally:
        temporary.unlink(missing_ok=True)
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system without fsync of folders
            raise
    finally:
        os.close(directory)
