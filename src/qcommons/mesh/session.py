"""Session: one hop's secrecy, as a machine without a socket: TLS 1.3 over memory, post-quantum at both ends.

Flow: pipe bytes -> *receive* -> Established, Plain, Ended; plaintext -> *send* -> ToPipe -> pipe. It does not matter
what carries the bytes: TCP, memory, or a circuit through a relay, which then sees nothing but ciphertext.

    shaking --the peer's key is proven, and is who was expected--> open --close | the peer's close--> ended
       \\_______________________ anything else _______________________\\___________________________/

Who dials says nothing of itself to a peer that is not the expected one: its own certificate leaves only after the
check. Who is dialled accepts any key and says whose it is. docs/protocol/session.md.
"""

from __future__ import annotations

import msgspec
from OpenSSL import SSL

from qcommons.base.errors import Corrupt, PeerError
from qcommons.mesh.records import PeerId
from qcommons.mesh.tls import TlsContext, cause, proven_key
from qcommons.pqc.identity import node_hash

__all__ = ["HANDSHAKE_BYTES_MAX", "REASONS", "Answer", "Ended", "Established", "Plain", "Session", "ToPipe"]

# Why a session ended, one word each; `Ended.detail` says more.
REASONS = {
    "closed": "the peer closed the session",
    "left": "this node closed the session",
    "lost": "the connection broke",
    "malformed": "bytes that are no TLS record, no frame or no message",
    "classical": "the peer has no post-quantum certificate, signature or TLS version",
    "group": "the peer does not offer the key exchange X25519MLKEM768",
    "identity": "another node answered than the one that was dialled",
    "self": "this node dialled itself",
    "long": "the handshake takes more bytes than any honest one",
    "slow": "the handshake or a frame took too long",
    "refused": "the peer refused the handshake",
    "full": "the peer reads nothing: what waits for it waits too long, or takes more than there is room for",
    "puzzle": "the puzzle was not solved, or is harder than this node is willing to solve",
    "door": "the doorkeeper lets nobody in now",
}

# The larger flight is the dialled one's: 1.2 KB of key exchange, 5.5 KB certificate, 3.3 KB signature: 10.2 KB in all.
HANDSHAKE_BYTES_MAX = 32 << 10
RECORD_BYTES = 1 << 14  # plaintext of a TLS record at most (RFC 8446, section 5.1)
RECORD_EXTRA_BYTES = 22  # header, content type and tag (section 5.2)
# OpenSSL's memory keeps the largest size it once had, twice a session: what passes through it is cut to this.
SLICE_BYTES = 2 * RECORD_BYTES
SLICE_ROOM_BYTES = SLICE_BYTES + 1024  # sealed, with its records' heads and tags
ALERT_BYTES = 256  # room for what OpenSSL adds by itself: alerts, answers to key updates
RECORD_HEADER_BYTES = 5
# Records that carry no plaintext (key updates, tickets) beyond those that do. A key update makes this end derive keys
# and answer; honest ones come once in 2^24 records (RFC 8446, section 5.5).
CONTROLS_MAX = 32


class ToPipe(msgspec.Struct, frozen=True, gc=False):
    """Bytes for the pipe, in this order."""

    data: bytes


class Established(msgspec.Struct, frozen=True, gc=False):
    """The session stands. public_key: the peer's, proven; peer: its hash."""

    peer: PeerId
    public_key: bytes


class Plain(msgspec.Struct, frozen=True, gc=False):
    """What the peer said, at most 16 KiB a piece."""

    data: bytes


class Ended(msgspec.Struct, frozen=True, gc=False):
    """The last answer. reason: a word of `REASONS`. detail: more for the log, or empty."""

    reason: str
    detail: str = ""


Answer = ToPipe | Established | Plain | Ended


class Session:
    """One end of a session.

    peer: who is there, None before it is proven. ended: why nothing more comes.
    """

    __slots__ = (
        "_context", "_controls", "_expected", "_header", "_left_bytes", "_missing_bytes", "_server_side", "_tls",
        "ended", "peer",
    )  # fmt: skip

    def __init__(self, context: TlsContext, server_side: bool, expected_peer: PeerId | None = None) -> None:
        """expected_peer: anybody but this one is refused; None takes whoever proves a key."""
        self._context = context
        self._expected = expected_peer
        self._server_side = server_side
        self._tls = context.connection(server_side)
        self._left_bytes = HANDSHAKE_BYTES_MAX
        self._header = b""  # of a record, while it is not whole
        self._missing_bytes = 0  # of a record whose header came
        self._controls = 0
        self.peer: PeerId | None = None
        self.ended: Ended | None = None

    def begin(self) -> list[Answer]:
        """The first flight of who dials; who is dialled has nothing to say yet."""
        out: list[Answer] = []
        if not self._server_side:
            self._shake(out)
        return out

    def receive(self, data: bytes) -> list[Answer]:
        """What these bytes of the pipe mean."""
        out: list[Answer] = []
        at, size = 0, len(data)
        if self.peer is None:
            if self.ended is not None:
                return out
            at = min(size, self._left_bytes)
            self._left_bytes -= at
            records = self._put(data[:at])
            if not self._shake(out):
                if self.ended is None and not self._left_bytes:
                    self._end(out, "long", f"no end after {HANDSHAKE_BYTES_MAX} bytes")
                return out
            self._read(out, records, True)
        elif size <= SLICE_ROOM_BYTES:
            if self.ended is None:
                self._read(out, self._put(data))
            return out
        view = memoryview(data)
        for start in range(at, size, SLICE_ROOM_BYTES):
            if self.ended is not None:
                break
            self._read(out, self._put(view[start : start + SLICE_ROOM_BYTES]))
        return out

    def send(self, plaintext: bytes) -> list[ToPipe]:
        """The same, sealed, 32 KiB of it a piece.

        Raises:
            Corrupt: the session is not open.
        """
        if self.peer is None or self.ended is not None:
            raise Corrupt("plaintext for a session that is not open", where="session")
        tls, size = self._tls, len(plaintext)
        if size <= RECORD_BYTES:
            tls.sendall(plaintext)
            room = size + RECORD_EXTRA_BYTES + ALERT_BYTES
            data = tls.bio_read(room)
            return [ToPipe(data)] if len(data) < room else [ToPipe(data), *self._waiting()]
        out: list[ToPipe] = []
        view = memoryview(plaintext)
        for start in range(0, size, SLICE_BYTES):
            tls.sendall(view[start : start + SLICE_BYTES])
            out += self._waiting()
        return out

    def close(self, reason: str = "left", detail: str = "") -> list[Answer]:
        """Say goodbye (close_notify, RFC 8446, section 6.1) and end."""
        out: list[Answer] = []
        if self.ended is None:
            self._end(out, reason, detail)
        return out

    def export(self, label: str, length: int, context: bytes = b"") -> bytes:
        """`length` secret bytes that both ends of this session have and nobody else (RFC 8446, section 7.5), for
        mixing in further keys. label: begins with "EXPORTER-qcommons-".

        Raises:
            Corrupt: the session is not open.
        """
        if self.peer is None or self.ended is not None:
            raise Corrupt("no secret to export: the session is not open", where="session")
        return self._tls.export_keying_material(label.encode(), length, context)

    # --- within

    def _shake(self, out: list[Answer]) -> bool:
        """A step of the handshake; whether it is done."""
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            out += self._waiting()
            return False
        except SSL.Error as error:
            self._end(out, *cause(error))
            return False
        try:
            public_key = proven_key(self._tls)
            peer = PeerId(node_hash(public_key))
            self._check(peer)
        except PeerError as error:
            # Silently, since all that could be said now would carry this node's own certificate before it.
            self.ended = Ended(error.where or "malformed", error.what)
            out.append(self.ended)
            return False
        self.peer = peer
        out += self._waiting()
        out.append(Established(peer, public_key))
        return True

    def _check(self, peer: PeerId) -> None:
        if self._expected is not None and peer != self._expected:
            raise PeerError(f"{peer.hex()} is there; {self._expected.hex()} was expected", where="identity")
        if peer == self._context.peer:
            raise PeerError("the other end has this node's own key", where="self")

    def _put(self, data: bytes | memoryview) -> int:
        """Give OpenSSL these bytes; how many records they complete. Knowing it spares asking OpenSSL for one more."""
        if not data:  # which OpenSSL calls a failure
            return 0
        self._tls.bio_write(data)
        size = len(data)
        whole = size >= RECORD_HEADER_BYTES and not self._missing_bytes and not self._header
        if whole and (data[3] << 8 | data[4]) + RECORD_HEADER_BYTES == size:
            return 1
        at = records = 0
        while at < size:
            if self._missing_bytes:
                step = min(self._missing_bytes, size - at)
                self._missing_bytes -= step
            else:
                step = RECORD_HEADER_BYTES - len(self._header)
                self._header += data[at : at + step]
                if len(self._header) < RECORD_HEADER_BYTES:
                    break
                self._missing_bytes = int.from_bytes(self._header[3:], "big")
                self._header = b""
            at += step
            records += not self._missing_bytes
        return records

    def _read(self, out: list[Answer], records: int, shaken: bool = False) -> None:
        """The plaintext of so many records. shaken: some of them were the handshake's."""
        recv = self._tls.recv
        before = len(out)
        try:
            for _ in range(records):
                out.append(Plain(recv(RECORD_BYTES)))
            if self._controls:
                self._controls = max(0, self._controls - records)
            return
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self._end(out, "closed")
            return
        except SSL.Error as error:
            self._end(out, *cause(error))
            return
        plain = len(out) - before
        out += self._waiting()  # some were not for us but for OpenSSL, which may have answered
        self._controls = 0 if shaken else max(0, self._controls - plain) + records - plain
        if self._controls > CONTROLS_MAX:
            self._end(out, "malformed", f"{self._controls} records without a word")

    def _waiting(self) -> list[ToPipe]:
        """What OpenSSL wants to send."""
        out: list[ToPipe] = []
        try:
            while True:
                out.append(ToPipe(self._tls.bio_read(SLICE_ROOM_BYTES)))
                if len(out[-1].data) < SLICE_ROOM_BYTES:
                    return out
        except SSL.WantReadError:
            return out

    def _end(self, out: list[Answer], reason: str, detail: str = "") -> None:
        try:
            self._tls.shutdown()
        except SSL.Error as error:  # in the middle of a handshake there is nothing to shut down
            cause(error)
        out += self._waiting()
        self.ended = Ended(reason, detail)
        out.append(self.ended)
