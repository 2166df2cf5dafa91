"""TLS: what OpenSSL is told, what its certificate says, and where the key has been."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey
from OpenSSL import SSL
from tests.mesh.test_session import ALICE, BOB, CONTEXTS, end, pair, talk

from qcommons.base.errors import Unavailable
from qcommons.mesh import tls
from qcommons.mesh.session import Established, Session
from qcommons.mesh.tls import TlsContext, check_openssl


def test_this_openssl_does_what_the_private_calls_ask() -> None:
    check_openssl()


@pytest.mark.parametrize("name", sorted(tls.PRIVATE_CALLS))
def test_a_private_call_that_is_gone_or_restricts_nothing_is_found_out(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tls._openssl

    class Changed:
        def __init__(self, call: Any) -> None:
            self.call = call

        def __getattr__(self, asked: str) -> Any:
            if asked == name:
                if self.call is None:
                    raise AttributeError(asked)
                return self.call
            return getattr(real, asked)

    for call, words in ((None, "no longer"), (lambda *_: 1, "restricts nothing"), (lambda *_: 0, "has no")):
        monkeypatch.setattr(tls, "_openssl", Changed(call))
        with pytest.raises(Unavailable, match=words) as caught:
            check_openssl()
        assert caught.value.where == name


def test_what_was_agreed_is_the_only_thing_that_may_be() -> None:
    client, server = pair()
    for session in (client, server):
        connection = session._tls
        assert connection.get_protocol_version_name() == "TLSv1.3"
        assert connection.get_group_name() == "X25519MLKEM768"
        assert connection.get_cipher_name() == "TLS_AES_256_GCM_SHA384"


def test_the_certificate_says_nothing_but_the_key_and_has_no_end() -> None:
    client, _ = pair()
    certificate = client._tls.get_peer_certificate(as_cryptography=True)
    key = certificate.public_key()
    assert isinstance(key, MLDSA65PublicKey) and key.public_bytes_raw() == BOB.public_key
    assert certificate.subject == certificate.issuer
    assert certificate.subject.rfc4514_string() == "CN=qcommons"
    assert certificate.signature_algorithm_oid.dotted_string == "2.16.840.1.101.3.4.3.18"  # id-ml-dsa-65, RFC 9881
    assert certificate.not_valid_after_utc.year == 9999  # RFC 5280, section 4.1.2.5
    assert not list(certificate.extensions)


def test_the_key_passes_through_memory_alone_where_the_system_can(monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(os, "memfd_create"):
        pytest.skip("this system has no memfd_create")

    def no_file(*_: Any, **__: Any) -> Any:
        raise AssertionError("a file was made")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", no_file)
    before = len(list(Path("/proc/self/fd").iterdir()))
    TlsContext(ALICE)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_elsewhere_the_key_passes_through_a_private_file_that_is_gone_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen: list[tuple[int, int]] = []
    real = SSL.Context.use_privatekey_file

    def use(self: SSL.Context, path: str) -> None:
        file = Path(path)
        seen.append((stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(file.parent.stat().st_mode)))
        real(self, path)

    monkeypatch.setattr(SSL.Context, "use_privatekey_file", use)
    context = TlsContext(ALICE)
    assert seen == [(0o600, 0o700)]
    assert list(tmp_path.iterdir()) == []
    said = talk(Session(context, False), end(BOB, True))
    assert [type(answer) for answer in said[0]] == [Established]


def test_a_context_says_who_it_is_but_not_its_key() -> None:
    context = CONTEXTS[ALICE.hash]
    assert context.peer == ALICE.hash and context.public_key == ALICE.public_key
    assert ALICE.secret_seed().hex() not in repr(context)
