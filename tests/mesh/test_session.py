"""Sessions: two ends of ours, and ends that a classical or hostile peer would bring."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from OpenSSL._util import lib

from qcommons.base.errors import Corrupt
from qcommons.mesh import session as sessions
from qcommons.mesh import tls
from qcommons.mesh.records import PeerId
from qcommons.mesh.session import Ended, Established, Plain, Session, ToPipe
from qcommons.mesh.tls import TlsContext
from qcommons.pqc.identity import NodeKey

ALICE, BOB, CAROL = (NodeKey(bytes([number]) * 32) for number in (1, 2, 3))
CONTEXTS = {key.hash: TlsContext(key) for key in (ALICE, BOB)}


def end(key: NodeKey, server_side: bool, expected: NodeKey | None = None) -> Session:
    return Session(CONTEXTS[key.hash], server_side, PeerId(expected.hash) if expected else None)


def wire_bytes(answers: Iterable[Any]) -> bytes:
    return b"".join(answer.data for answer in answers if isinstance(answer, ToPipe))


def talk(
    client: Session, server: Session, cut: Callable[[bytes], Iterable[bytes]] = lambda data: [data]
) -> tuple[list[Any], list[Any]]:
    """Carry bytes both ways until nothing moves; what each end answered, bytes left out."""
    said: tuple[list[Any], list[Any]] = ([], [])
    answers: list[Any] = list(client.begin())
    said[0].extend(answers)
    moving, to = wire_bytes(answers), 1
    quiet = 0
    while quiet < 2:
        answers = []
        for piece in cut(moving):
            answers += (client, server)[to].receive(piece)
        said[to].extend(answers)
        moving = wire_bytes(answers)
        quiet = 0 if moving else quiet + 1
        to = 1 - to
    return tuple([answer for answer in side if not isinstance(answer, ToPipe)] for side in said)  # type: ignore[return-value]


def pair() -> tuple[Session, Session]:
    """An open session: Alice dialled Bob."""
    client, server = end(ALICE, False, BOB), end(BOB, True)
    talk(client, server)
    assert client.peer and server.peer
    return client, server


# --- peers that are not ours


class Foreign:
    """A bare pyOpenSSL end with whatever key, groups and versions a test wants."""

    def __init__(
        self, server_side: bool, key: Any, *, groups: str = "X25519MLKEM768", version: int = SSL.TLS1_3_VERSION,
        certificate: bool = True, padding: int = 0, resume: Foreign | None = None,
    ) -> None:  # fmt: skip
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_max_proto_version(version)
        assert lib.SSL_CTX_set1_curves_list(context._context, groups.encode()) == 1
        if certificate:
            context.use_certificate(self_signed(key, padding))
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "key"
                path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
                context.use_privatekey_file(str(path))
        context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        if resume is not None:
            context = resume.tls.get_context()
        self.tls = SSL.Connection(context, None)
        if resume is not None:
            kept = resume.tls.get_session()
            assert kept is not None
            self.tls.set_session(kept)
        (self.tls.set_accept_state if server_side else self.tls.set_connect_state)()
        self.peer: PeerId | None = None
        self.failure = ""

    def begin(self) -> list[Any]:
        return self.receive(b"")

    def receive(self, data: bytes) -> list[Any]:
        if data:
            self.tls.bio_write(data)
        try:
            self.tls.do_handshake()
            self.tls.recv(1 << 14)
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            self.failure = self.failure or repr(error)
        try:
            return [ToPipe(self.tls.bio_read(1 << 17))]
        except SSL.WantReadError:
            return []


def self_signed(key: Any, padding: int = 0) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")])
    now = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, now, now + datetime.timedelta(1))
    if padding:
        names = [x509.DNSName("x" * 250) for _ in range(padding // 250)]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    algorithm = hashes.SHA256() if isinstance(key, ec.EllipticCurvePrivateKey) else None
    return builder.sign(key, algorithm)


def reason_of(side: list[Any]) -> str:
    return next((answer.reason for answer in side if isinstance(answer, Ended)), "none")


MLDSA = mldsa.MLDSA65PrivateKey.from_seed_bytes(b"\x09" * 32)


# --- ours


def test_both_ends_prove_their_keys_and_share_a_secret_that_no_other_session_has() -> None:
    client, server = end(ALICE, False, BOB), end(BOB, True)
    said = talk(client, server)
    assert said == (
        [Established(PeerId(BOB.hash), BOB.public_key)],
        [Established(PeerId(ALICE.hash), ALICE.public_key)],
    )
    label = "EXPORTER-qcommons-test"
    secret = client.export(label, 32, b"context")
    assert secret == server.export(label, 32, b"context") and len(secret) == 32
    assert secret != client.export(label, 32, b"other") != client.export("EXPORTER-qcommons-else", 32, b"context")
    assert secret != pair()[0].export(label, 32, b"context")


def test_what_is_said_arrives_whole_both_ways_and_sealed() -> None:
    client, server = pair()
    for sender, receiver in ((client, server), (server, client)):
        for size in (1, 16_384, 16_385, 65_536, 300_001):
            said = bytes(index * 7 & 255 for index in range(size))
            sealed = wire_bytes(sender.send(said))
            assert said[:64] not in sealed or size < 8
            heard = receiver.receive(sealed)
            assert b"".join(answer.data for answer in heard) == said
            assert all(isinstance(answer, Plain) and len(answer.data) <= 16_384 for answer in heard)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 3_000), min_size=1, max_size=40), st.binary(min_size=1, max_size=40_000))
def test_however_the_bytes_are_cut_the_same_is_heard(sizes: list[int], text: bytes) -> None:
    def cut(data: bytes) -> list[bytes]:
        pieces, at, turn = [], 0, 0
        while at < len(data):
            pieces.append(data[at : at + sizes[turn % len(sizes)]])
            at += sizes[turn % len(sizes)]
            turn += 1
        return pieces

    client, server = end(ALICE, False, BOB), end(BOB, True)
    said = talk(client, server, cut)
    assert said[0] == [Established(PeerId(BOB.hash), BOB.public_key)]
    assert said[1] == [Established(PeerId(ALICE.hash), ALICE.public_key)]
    heard = [answer for piece in cut(wire_bytes(client.send(text))) for answer in server.receive(piece)]
    assert b"".join(answer.data for answer in heard if isinstance(answer, Plain)) == text


def test_first_words_may_come_in_one_piece_with_the_end_of_the_handshake() -> None:
    client, server = end(ALICE, False, BOB), end(BOB, True)
    second = wire_bytes(server.receive(wire_bytes(client.begin())))
    last = wire_bytes(client.receive(second)) + wire_bytes(client.send(b"hello" * 20_000))
    answers = server.receive(last)
    assert isinstance(next(answer for answer in answers if not isinstance(answer, ToPipe)), Established)
    assert b"".join(answer.data for answer in answers if isinstance(answer, Plain)) == b"hello" * 20_000


def test_a_close_is_heard_once_and_nothing_comes_after_it() -> None:
    client, server = pair()
    goodbye = client.close("left", "done")
    assert client.ended == goodbye[-1] == Ended("left", "done")
    assert server.receive(wire_bytes(goodbye))[-1] == Ended("closed")
    assert server.receive(b"more") == client.receive(b"more") == client.close() == server.close() == []
    with pytest.raises(Corrupt, match="not open"):
        client.send(b"too late")
    with pytest.raises(Corrupt, match="not open"):
        server.export("EXPORTER-qcommons-test", 32)
    with pytest.raises(Corrupt, match="not open"):
        end(ALICE, False).send(b"too early")


def test_every_reason_is_in_the_table() -> None:
    words = {word for _, word in tls.CAUSES}
    assert words <= sessions.REASONS.keys()


# --- who is there


def test_who_dialled_somebody_else_ends_and_its_own_certificate_never_leaves() -> None:
    client, server = end(ALICE, False, CAROL), end(BOB, True)
    first = wire_bytes(client.begin())
    answers = client.receive(wire_bytes(server.receive(first)))
    assert answers == [Ended("identity", f"{BOB.hash.hex()} is there; {CAROL.hash.hex()} was expected")]
    assert server.peer is None


def test_a_node_that_dials_itself_ends() -> None:
    client, server = end(ALICE, False), end(ALICE, True)
    assert reason_of(talk(client, server)[0]) == "self"


def test_a_replayed_handshake_is_refused() -> None:
    """Whoever recorded Alice's bytes cannot be Alice: the server's random number differs (RFC 8446, section 4.4.3)."""
    client, server = end(ALICE, False, BOB), end(BOB, True)
    first = wire_bytes(client.begin())
    last = wire_bytes(client.receive(wire_bytes(server.receive(first))))
    assert server.receive(last)[-1] == Established(PeerId(ALICE.hash), ALICE.public_key)
    again = end(BOB, True)
    assert [type(answer) for answer in again.receive(first)] == [ToPipe]
    assert reason_of(again.receive(last)) == "malformed" and again.peer is None


def test_a_session_is_never_resumed() -> None:
    """A resumed one would come without certificate (RFC 8446, section 2.2)."""
    first, server = Foreign(False, MLDSA), end(BOB, True)
    talk(first, server)  # type: ignore[arg-type]
    first.receive(wire_bytes(server.send(b"hello")))
    assert server.peer
    second, server = Foreign(False, MLDSA, resume=first), end(BOB, True)
    assert [type(answer) for answer in talk(second, server)[1]] == [Established]  # type: ignore[arg-type]
    assert not lib.SSL_session_reused(second.tls._ssl)


# --- classical peers, both ways


ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(b"\x05" * 32)
P256 = ec.derive_private_key(5, ec.SECP256R1())
MLDSA44 = mldsa.MLDSA44PrivateKey.from_seed_bytes(b"\x04" * 32)
CLASSICAL = {"classical", "refused"}
REFUSED = [
    pytest.param({"key": ED25519}, CLASSICAL, id="Ed25519 certificate"),
    pytest.param({"key": P256}, CLASSICAL, id="P-256 certificate"),
    pytest.param({"key": MLDSA44}, CLASSICAL, id="ML-DSA-44 certificate"),
    pytest.param({"key": MLDSA, "groups": "X25519"}, {"group", "refused"}, id="X25519 alone"),
    pytest.param({"key": MLDSA, "groups": "MLKEM1024"}, {"group", "refused"}, id="MLKEM1024 alone"),
    pytest.param({"key": P256, "version": SSL.TLS1_2_VERSION, "groups": "P-256"}, CLASSICAL, id="TLS 1.2"),
]


@pytest.mark.parametrize("foreign_dials", [True, False], ids=["it dials", "it is dialled"])
@pytest.mark.parametrize(("options", "reasons"), REFUSED)
def test_a_classical_peer_is_refused(options: dict[str, Any], reasons: set[str], foreign_dials: bool) -> None:
    foreign, ours = Foreign(not foreign_dials, **options), end(BOB, foreign_dials)
    said = talk(foreign, ours)[1] if foreign_dials else talk(ours, foreign)[0]  # type: ignore[arg-type]
    assert ours.peer is None and ours.ended is not None
    assert reason_of(said) in reasons, said
    assert said[-1].detail


def test_a_dialler_without_certificate_is_refused() -> None:
    foreign, ours = Foreign(False, None, certificate=False), end(BOB, True)
    said = talk(foreign, ours)[1]  # type: ignore[arg-type]
    assert reason_of(said) == "classical"


@pytest.mark.parametrize("foreign_dials", [True, False], ids=["it dials", "it is dialled"])
@pytest.mark.parametrize(
    ("options", "reason"),
    [({"key": ED25519}, "classical"), ({"key": MLDSA44}, "classical"), ({"key": MLDSA, "groups": "X25519"}, "group")],
    ids=["Ed25519", "ML-DSA-44", "X25519"],
)
def test_where_openssl_agrees_to_anything_our_own_look_refuses(
    options: dict[str, Any], reason: str, foreign_dials: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the private calls did nothing: the handshake is done, and then the second check speaks."""
    monkeypatch.setattr(tls, "PRIVATE_CALLS", {})
    lax = TlsContext(BOB)
    foreign, ours = Foreign(not foreign_dials, **options), Session(lax, foreign_dials)
    said = talk(foreign, ours)[1] if foreign_dials else talk(ours, foreign)[0]  # type: ignore[arg-type]
    assert reason_of(said) == reason and ours.peer is None
    assert "needed" in said[-1].detail


@pytest.mark.parametrize("foreign_dials", [True, False], ids=["it dials", "it is dialled"])
def test_a_stranger_with_the_right_algorithms_is_taken(foreign_dials: bool) -> None:
    """The refusals above are for the algorithms, not for being foreign."""
    foreign, ours = Foreign(not foreign_dials, MLDSA), end(BOB, foreign_dials)
    said = talk(foreign, ours)[1] if foreign_dials else talk(ours, foreign)[0]  # type: ignore[arg-type]
    assert said == [Established(PeerId(NodeKey(b"\x09" * 32).hash), NodeKey(b"\x09" * 32).public_key)]


# --- hostile bytes


@pytest.mark.parametrize("foreign_dials", [True, False], ids=["it dials", "it is dialled"])
def test_a_handshake_of_too_many_bytes_ends(foreign_dials: bool) -> None:
    foreign, ours = Foreign(not foreign_dials, MLDSA, padding=60_000), end(BOB, foreign_dials)
    said = talk(foreign, ours)[1] if foreign_dials else talk(ours, foreign)[0]  # type: ignore[arg-type]
    assert said == [Ended("long", "no end after 32768 bytes")]


@settings(max_examples=150, deadline=None)
@given(st.booleans(), st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=6))
def test_any_bytes_parse_or_end_the_session(server_side: bool, pieces: list[bytes]) -> None:
    session = end(BOB, server_side)
    session.begin()
    for piece in pieces:
        for answer in session.receive(piece):
            assert isinstance(answer, (ToPipe, Ended))
    assert session.peer is None
    assert session.ended is None or session.ended.reason in sessions.REASONS


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_handshake_with_a_spoilt_byte_never_proves_anybody_else(data: st.DataObject) -> None:
    client, server = end(ALICE, False, BOB), end(BOB, True)
    flights = [wire_bytes(client.begin())]
    spoilt = data.draw(st.integers(0, 2))
    for turn, receiver in enumerate((server, client, server)):
        flight = flights[-1]
        if turn == spoilt and flight:
            at = data.draw(st.integers(0, len(flight) - 1))
            flight = flight[:at] + bytes([flight[at] ^ data.draw(st.integers(1, 255))]) + flight[at + 1 :]
        flights.append(wire_bytes(receiver.receive(flight)) if flight else b"")
    # what a record's header says of the version is ignored (RFC 8446, section 5.1): then nothing was spoilt
    assert server.peer in (None, ALICE.hash) and client.peer in (None, BOB.hash)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2_000), st.integers(1, 255))
def test_a_spoilt_byte_in_an_open_session_ends_it(at: int, change: int) -> None:
    client, server = pair()
    sealed = bytearray(wire_bytes(client.send(b"x" * 3_000)))
    sealed[at] ^= change
    answers = server.receive(bytes(sealed)) + server.receive(wire_bytes(client.send(b"y" * 40_000)))
    assert not [answer for answer in answers if isinstance(answer, Plain)]
    assert reason_of(answers) == "malformed"


class Silent:
    """An OpenSSL that finds no plaintext in what it is given, as in a key update."""

    def __init__(self, tls: SSL.Connection) -> None:
        self.tls, self.answers = tls, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tls, name)

    def bio_write(self, data: bytes) -> int:
        self.answers += 1
        return len(data)

    def recv(self, _: int) -> bytes:
        raise SSL.WantReadError


def test_records_without_a_word_are_counted_and_too_many_end_the_session() -> None:
    """A flood of key updates would cost this end a key derivation each (RFC 8446, section 4.6.3)."""
    _, server = pair()
    silent = server._tls = Silent(server._tls)  # type: ignore[assignment]
    update = b"\x17\x03\x03\x00\x16" + bytes(22)
    assert server.receive(update * 32) == []
    ended = server.receive(update)[-1]
    assert ended == Ended("malformed", "33 records without a word")
    assert silent.answers == 2  # type: ignore[attr-defined]


def test_a_few_records_without_a_word_are_forgiven_by_those_with() -> None:
    """An honest peer's key updates, one in 2^24 records, never add up."""
    client, server = pair()
    server._controls = 30
    for _ in range(10):
        server.receive(wire_bytes(client.send(b"x")))
    assert server._controls == 20 and server.ended is None
