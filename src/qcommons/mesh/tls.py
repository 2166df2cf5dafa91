"""TLS: what makes OpenSSL speak with post-quantum peers alone, and tells who a peer is.

Flow: NodeKey -> *TlsContext* -> session. A hop is TLS 1.3 (RFC 8446) with the key exchange X25519MLKEM768
(draft-ietf-tls-ecdhe-mlkem) and ML-DSA-65 signatures (FIPS 204; draft-ietf-tls-mldsa), both ends with a certificate
that they signed themselves. A certificate says nothing but its key: who a peer is follows from the hash of that key.

This module is the only one that calls what pyOpenSSL keeps private (`PRIVATE_CALLS`: it has no public way to choose
groups and signatures), and the only one here that touches a file; `check_openssl` tells whether those calls do what
they must. Whatever OpenSSL agreed on is checked again by public calls after the handshake (`proven_key`).
It loads OpenSSL: import it where the mesh starts, not before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from OpenSSL import SSL
from OpenSSL._util import lib as _openssl

from qcommons.base.errors import Corrupt, PeerError, Unavailable
from qcommons.mesh.records import PeerId
from qcommons.pqc.identity import NodeKey

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

__all__ = ["CIPHERS", "GROUP", "PRIVATE_CALLS", "SIGNATURE", "TlsContext", "cause", "check_openssl", "proven_key"]

VERSION = "TLSv1.3"
GROUP = "X25519MLKEM768"
SIGNATURE = "mldsa65"
CIPHERS = "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"  # the second where a processor has no AES

# pyOpenSSL's binding -> what it is given here
PRIVATE_CALLS = {"SSL_CTX_set1_curves_list": GROUP, "SSL_CTX_set1_sigalgs_list": SIGNATURE}

# RFC 5280, section 4.1.2.5: 99991231235959Z is how to say that a certificate has no end. Peer records expire instead.
NOT_BEFORE = datetime(2000, 1, 1, tzinfo=UTC)
NOT_AFTER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)

# a piece of OpenSSL's reason -> the word of session.REASONS; the first that fits
CAUSES = (
    ("no suitable key share", "group"),
    ("no suitable groups", "group"),
    ("bad key share", "group"),
    ("no suitable signature algorithm", "classical"),
    ("no shared signature algorithms", "classical"),
    ("wrong signature type", "classical"),
    ("unsupported protocol", "classical"),
    ("peer did not return a certificate", "classical"),  # a classical one is not even sent
    ("alert", "refused"),
)


class TlsContext:
    """One node's settings for all of its sessions, both as who dials and as who is dialled.

    peer: the node's own hash. public_key: its own key.
    """

    __slots__ = ("_context", "peer", "public_key")

    def __init__(self, key: NodeKey) -> None:
        """Signs a certificate and gives OpenSSL the key.

        Raises:
            Unavailable: this OpenSSL cannot do it.
        """
        self.peer = PeerId(key.hash)
        self.public_key = key.public_key
        self._context = _bare_context()
        _load(self._context, key)

    def connection(self, server_side: bool) -> SSL.Connection:
        """A TLS machine over memory: no socket."""
        connection = SSL.Connection(self._context, None)
        if server_side:
            connection.set_accept_state()
        else:
            connection.set_connect_state()
        return connection


def proven_key(connection: SSL.Connection) -> bytes:
    """The peer's raw ML-DSA-65 key, 1952 bytes, once the handshake is done.

    Raises:
        PeerError: version, group or kind of key are others than ours; `where` is a word of session.REASONS.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey

    version, group = connection.get_protocol_version_name(), connection.get_group_name()
    if version != VERSION:
        raise PeerError(f"{version}; {VERSION} needed", where="classical")
    if group != GROUP:
        raise PeerError(f"key exchange by {group}; {GROUP} needed", where="group")
    try:
        certificate = connection.get_peer_certificate(as_cryptography=True)
        key = certificate.public_key() if certificate is not None else None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise PeerError(f"the certificate cannot be read: {error}", where="malformed") from error
    if key is None:
        raise PeerError("no certificate", where="classical")
    if not isinstance(key, MLDSA65PublicKey):
        raise PeerError(f"{type(key).__name__.removesuffix('PublicKey')} key; ML-DSA-65 needed", where="classical")
    return key.public_bytes_raw()


def cause(error: SSL.Error) -> tuple[str, str]:
    """(word of session.REASONS, OpenSSL's own words) of a failure."""
    _openssl.ERR_clear_error()  # what is left in the queue would be read as the failure of some later call
    rows = error.args[0] if error.args and isinstance(error.args[0], list) else []
    text = "; ".join(str(row[-1]) for row in rows) or str(error) or type(error).__name__
    word = next((word for piece, word in CAUSES if piece in text), "malformed")
    return word, text[:200]


def check_openssl() -> None:
    """The private calls exist, take what is good and refuse what is not: run once when the mesh starts (0.3 ms).

    Raises:
        Unavailable: they do not; no session may be trusted to be post-quantum by the handshake alone.
    """
    context = SSL.Context(SSL.TLS_METHOD)
    for name, value in PRIVATE_CALLS.items():
        if not _call(context, name, value):
            raise Unavailable(f"{SSL.SSLeay_version(0).decode()} has no {value}; OpenSSL 3.5 or later does", where=name)
        if _call(context, name, "no-such-thing"):
            raise Unavailable("it accepts names that mean nothing, so it restricts nothing", where=name)


def _call(context: SSL.Context, name: str, value: str) -> bool:
    call = getattr(_openssl, name, None)
    if call is None:
        raise Unavailable(f"pyOpenSSL {SSL.__name__} no longer has it; use the pinned version", where=name)
    good = bool(call(context._context, value.encode()) == 1)
    _openssl.ERR_clear_error()
    return good


def _bare_context() -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_max_proto_version(SSL.TLS1_3_VERSION)
    context.set_tls13_ciphersuites(CIPHERS.encode())
    for name, value in PRIVATE_CALLS.items():
        if not _call(context, name, value):
            raise Unavailable(f"this OpenSSL has no {value}; 3.5 or later does", where=name)
    # A resumed session may skip the certificate, and with it the proof of who is there: none is ever resumed.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # an idle connection gives back 34 KB
    # Nobody else vouches for a key, so there is no chain to believe: the key itself is checked by `proven_key`.
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
    return context


def _load(context: SSL.Context, key: NodeKey) -> None:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    private = MLDSA65PrivateKey.from_seed_bytes(key.secret_seed())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        context.use_certificate(_certificate(private))
        with _as_file(pem) as path:
            context.use_privatekey_file(path)
        context.check_privatekey()
    except SSL.Error as error:
        raise Corrupt(f"OpenSSL does not take the node's own key: {cause(error)[1]}", where="tls") from error


def _certificate(private: MLDSA65PrivateKey) -> x509.Certificate:
    """Self-signed (RFC 5280) with ML-DSA-65 (RFC 9881); its name says nothing, since nobody reads it."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "qcommons")])
    builder = x509.CertificateBuilder(name, name, private.public_key(), 1, NOT_BEFORE, NOT_AFTER)
    return builder.sign(private, None)


@contextlib.contextmanager
def _as_file(secret: bytes) -> Iterator[str]:
    """A path under which OpenSSL can read the secret, and nobody once the block is left.

    pyOpenSSL's `use_privatekey` knows no ML-DSA, so the key must come from a file: one without a name, in memory
    alone, where the system has such (Linux); else one that only its owner can read, in a folder of its own.
    """
    import os
    import tempfile
    from pathlib import Path

    if hasattr(os, "memfd_create") and Path("/proc/self/fd").exists():
        descriptor = os.memfd_create("qcommons", os.MFD_CLOEXEC)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secret)
            file.flush()
            yield f"/proc/self/fd/{descriptor}"
        return
    with tempfile.TemporaryDirectory(prefix="qcommons-") as folder:  # 0700
        path = Path(folder) / "key"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secret)
        try:
            yield str(path)
        finally:
            path.write_bytes(bytes(len(secret)))  # the blocks, too, where the disk writes in place
