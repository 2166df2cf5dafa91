"""Owner and nodes: certificates that this home's owner key signed, and the one that this home's node shows.

Flow: `qcommons owner certify NODE` -> *Ownership* -> a file -> carried to that node -> `owner accept FILE` -> *accept*
-> `owner_of` -> the node's own record names its owner -> peers, who ask for the certificate.

    keys/owner.key                  the owner's key; made with the first certificate
    keys/owner/ID.cert              each certificate it signed
    keys/owner/OWNER.revocations    the newest list of an owner, its own or one that was accepted
    keys/node.cert                  the certificate of the node of this home
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from qcommons.base.errors import Corrupt, PeerError, Unavailable, UsageError
from qcommons.node.backup import key_folder
from qcommons.node.home import NETWORK
from qcommons.node.own_files import check_own_folder, claim, open_own
from qcommons.pqc.certificates import (
    LINK_BYTES_MAX,
    Certificate,
    Link,
    Revocations,
    certificate_id,
    certify,
    check_certificate,
    check_revocations,
    decode_link,
    encode_link,
    newer,
    read_certificate,
    revoke,
)
from qcommons.pqc.identity import NodeKey
from qcommons.pqc.keyfile import STRONG, Scrypt, load, load_or_create
from qcommons.pqc.secret_files import Entropy, overwrite, read_private

__all__ = ["Issued", "Ownership", "owner_of"]

FOLDER = "owner"
LIST = ".revocations"
NODE_CERTIFICATE = "node.cert"

RecordT = TypeVar("RecordT")


class Issued(msgspec.Struct, frozen=True):
    """A certificate that was signed here. id: 32 bytes, by which it is revoked."""

    id: bytes
    certificate: Certificate
    link: Link
    revoked: bool


class Ownership:
    """What an owner does with its key in one home. Every method that signs raises as `keyfile.load_or_create`."""

    def __init__(self, home: Path, *, network: str = NETWORK, entropy: Entropy = secrets.token_bytes) -> None:
        self._home, self._keys, self._folder = home, key_folder(home), key_folder(home) / FOLDER
        self._network, self._entropy = network, entropy

    def certify(self, node: bytes, life_s: int, passphrase: bytes | None, now_s: int, kdf: Scrypt = STRONG) -> Issued:
        """A certificate for the node of that hash, kept here too. The owner's key is made where there is none."""
        claim(self._home)
        key = load_or_create(self._keys, passphrase, self._entropy, kdf=kdf, purpose="owner")
        link = certify(key, self._network, node, now_s, now_s + life_s)
        certificate = check_certificate(link, self._network, node, now_s)
        digest = certificate_id(certificate)
        with self._alone():
            self._write(self._folder, f"{digest.hex()}.cert", link)
        return Issued(digest, certificate, link, revoked=False)

    def issued(self) -> list[Issued]:
        """All certificates signed here, oldest first. Raises Corrupt for a damaged file."""
        rows = []
        for path in sorted(self._folder.glob("*.cert")):
            link = self._link(path)
            if link is not None:
                certificate = _ours(path, read_certificate, link, self._network)
                digest, taken = certificate_id(certificate), self.revocations(certificate.owner)
                rows.append(Issued(digest, certificate, link, taken is not None and digest in taken.revoked))
        return sorted(rows, key=lambda row: (row.certificate.from_s, row.id))

    def revocations(self, owner: bytes) -> Revocations | None:
        """The newest list known here of that owner's key (its hash); None where it took nothing back."""
        path = self._folder / (owner.hex() + LIST)
        link = self._link(path)
        if link is None:
            return None
        known = _ours(path, check_revocations, link, self._network)
        return known if known.issuer == owner else None

    def accept_revocations(self, data: bytes) -> Revocations:
        """Keep an owner's list, unless a newer one is known. Raises PeerError where it is none, or contradicts it."""
        link = decode_link(data)
        taken = check_revocations(link, self._network)
        with self._alone():
            known = self.revocations(taken.issuer)
            if not newer(known, taken):
                assert known is not None
                return known
            self._write(self._folder, taken.issuer.hex() + LIST, link)
        return taken

    def revoke(self, ids: list[bytes], passphrase: bytes | None, now_s: int) -> tuple[Revocations, Link]:
        """The next list: what was revoked before and has not expired, and these."""
        key = self._owner(passphrase)
        with self._alone():
            before = self.revocations(key.hash)
            if before is not None:
                over = {row.id for row in self.issued() if now_s >= row.certificate.until_s}
                left = tuple(one for one in before.revoked if one not in over)
                before = msgspec.structs.replace(before, revoked=left)
            link = revoke(key, self._network, ids, now_s, before)
            self._write(self._folder, key.hash.hex() + LIST, link)
        return check_revocations(link, self._network), link

    def accept(self, data: bytes, node: bytes, now_s: int) -> Certificate:
        """Keep a certificate for the node of this home (its hash). Raises PeerError where it does not hold."""
        link = decode_link(data)
        certificate = check_certificate(link, self._network, node, now_s)
        with self._alone():
            self._write(self._keys, NODE_CERTIFICATE, link)
        return certificate

    def of_node(self, node: bytes, now_s: int) -> tuple[Certificate, Link] | None:
        """The certificate that the node of this home can show now; None: none, or none that still holds."""
        link = self._link(self._keys / NODE_CERTIFICATE)
        if link is None:
            return None
        try:
            certificate = check_certificate(link, self._network, node, now_s)
        except PeerError:  # expired, or the node's key was rotated
            return None
        taken = self.revocations(certificate.owner)
        if taken is not None and certificate_id(certificate) in taken.revoked:
            return None
        return certificate, link

    def _owner(self, passphrase: bytes | None) -> NodeKey:
        claim(self._home)
        key = load(self._keys, passphrase, purpose="owner")
        if key is None:
            what = "there is no owner's key in this home; the first `qcommons owner certify` makes it"
            raise UsageError(what, where=str(self._keys))
        return key

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time, in a home that is this user's alone: two lists of one sequence would contradict each
        other. The node that runs here may go on: it reads what is written, whole."""
        claim(self._home)
        check_own_folder(self._folder)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = open_own(self._folder / "lock", os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise _unwritable(self._folder, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _write(self, folder: Path, name: str, link: Link) -> None:
        try:
            overwrite(folder, name, encode_link(link), self._entropy)
        except OSError as error:
            raise _unwritable(folder, error) from error

    def _link(self, path: Path) -> Link | None:
        data = read_private(path, LINK_BYTES_MAX)
        return None if data is None else _ours(path, decode_link, data)


def owner_of(home: Path, node: bytes, now_s: int) -> bytes:
    """What the record of the node of that hash says of its owner: the hash of the owner's key, empty if none."""
    found = Ownership(home).of_node(node, now_s)
    return b"" if found is None else found[0].owner


def _ours(path: Path, read: Callable[..., RecordT], *given: object) -> RecordT:
    """What is wrong with a file of our own is nobody's fault but ours."""
    try:
        return read(*given)
    except PeerError as error:
        raise Corrupt(f"the file is damaged ({error}); move it away", where=str(path)) from error


def _unwritable(folder: Path, error: OSError) -> Unavailable:
    return Unavailable(f"cannot write: {error.strerror}; make the folder writable", where=str(folder))
