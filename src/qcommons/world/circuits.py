"""Sessions inside relay circuits, end to end: the double of PQ TLS over bytes that a relay passes on.

Flow: core -> Dial(circuit), RelayIn -> *Circuits* -> RelayOut, Linked, Came, Unlinked -> core. The bytes are a stream
of pieces (u32 length, u32 checksum, u8 what, the rest), as the real session's are a stream of records:

    hello     dialler -> acceptor: its public key and whom it wants
    welcome   acceptor -> dialler: its public key; whoever it is, the dialler checks the node hash
    finish    dialler -> acceptor: now both ends stand
    message   u64 id, u8 frame type, the message

A relay that alters a byte breaks the piece's checksum, and the session ends; it never passes for another end, because
it has no other key than its own (the double of "the handshake proves the key").
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import msgspec

from qcommons.base.typed import described
from qcommons.mesh.events import Came, Dial, DialFailed, Linked, RelayIn, RelayOut, Unlinked
from qcommons.mesh.messages import ROWS, Message
from qcommons.mesh.records import PeerId
from qcommons.pqc.identity import PUBLIC_KEY_BYTES, node_hash, node_id_of_hash
from qcommons.world.double import HANDSHAKE_NS
from qcommons.world.host import Life

if TYPE_CHECKING:
    from qcommons.world.simulator import Simulator

__all__ = ["Circuits", "Inner"]

HELLO, WELCOME, FINISH, MESSAGE = range(4)
PIECE = struct.Struct(">IIB")  # length of what follows, its CRC-32, what it is
FRAME = struct.Struct(">QB")
PIECE_BYTES_MAX = 2 << 20
OUT_BYTES = 32 << 10  # of one RelayOut: below the cap of RelayData
KINDS: dict[int, type[Message]] = {row.number: row.kind for row in ROWS}
SHAKE_BYTES = 14_000  # what a real handshake sends each way: two certificates, signatures, ML-KEM (docs: 32 KB in all)


class Inner:
    """One end of a session inside a circuit. wanted: who must be there, for the dialler; up: both keys are known,
    told: and the core has heard of it. closing: its core hung up. over: it has ended, whoever ended it; its core hears
    of that in its turn, and what it says before goes nowhere."""

    __slots__ = (
        "address", "buffer", "circuit", "closing", "conn", "dialled", "life", "over", "peer", "told", "up", "wanted",
    )  # fmt: skip

    def __init__(self, life: Life, conn: int, circuit: int, wanted: PeerId | None, dialled: bool, address: str) -> None:
        self.life = life
        self.conn = conn
        self.circuit = circuit
        self.wanted = wanted
        self.dialled = dialled
        self.address = address
        self.up = False
        self.closing = self.over = self.told = False
        self.peer = b""
        self.buffer = bytearray()


class Circuits:
    """All sessions inside circuits, of all lives."""

    def __init__(self, world: Simulator) -> None:
        self._world = world

    def dial(self, life: Life, dial: Dial, at_ns: int) -> None:
        """`Dial` with a circuit: this end begins."""
        assert dial.circuit is not None
        inner = Inner(life, dial.conn, dial.circuit, dial.peer, True, dial.address)
        life.circuits[dial.circuit] = inner
        self._out(inner, HELLO, life.host.key + bytes(SHAKE_BYTES - PUBLIC_KEY_BYTES), at_ns)

    def relay_in(self, life: Life, effect: RelayIn, at_ns: int) -> None:
        """Bytes of the other end, the begin of a circuit, or its end."""
        inner = life.circuits.get(effect.circuit)
        if inner is None and effect.opened_by is not None:
            address = f"relay/{node_id_of_hash(effect.opened_by)}"
            inner = Inner(life, life.odd(), effect.circuit, None, False, address)
            life.circuits[effect.circuit] = inner
        if inner is None:
            return  # ended here already; the core hears of it by its own message
        if effect.data:
            inner.buffer += effect.data
            self._pieces(inner, at_ns)
        if effect.closed is not None:
            self._ended(inner, effect.closed, at_ns)

    def transmit(self, inner: Inner, id: int, number: int, data: bytes, at_ns: int) -> None:
        """A message to the other end."""
        if not inner.over:
            self._out(inner, MESSAGE, FRAME.pack(id, number) + data, at_ns)

    def close(self, inner: Inner, reason: str, at_ns: int) -> None:
        """This end ends it: its core and, through the circuit, the other end hear of it."""
        if not inner.over:
            self._world.post(at_ns, inner.life, RelayOut(inner.circuit, b"", reason))
        self._ended(inner, reason, at_ns)

    def _pieces(self, inner: Inner, at_ns: int) -> None:
        buffer = inner.buffer
        while len(buffer) >= PIECE.size and not inner.over:
            length, check, what = PIECE.unpack_from(buffer)
            if length > PIECE_BYTES_MAX:
                self.close(inner, "malformed session: a piece too long", at_ns)
                return
            if len(buffer) < PIECE.size + length:
                return
            body = bytes(buffer[PIECE.size : PIECE.size + length])
            del buffer[: PIECE.size + length]
            if zlib.crc32(body) != check:
                self.close(inner, "malformed session: altered on the way", at_ns)
                return
            self._piece(inner, what, body, at_ns)

    def _piece(self, inner: Inner, what: int, body: bytes, at_ns: int) -> None:
        if what == MESSAGE and inner.up:
            id, number = FRAME.unpack_from(body)
            message = msgspec.msgpack.decode(memoryview(body)[FRAME.size :], type=described(KINDS[number]))
            self._world.post(at_ns, inner.life, Came(inner.conn, id, message, len(body)))
        elif what == HELLO and not inner.dialled and not inner.peer:
            inner.peer = body[:PUBLIC_KEY_BYTES]
            self._busy(inner.life, at_ns)
            self._out(inner, WELCOME, inner.life.host.key + bytes(SHAKE_BYTES - PUBLIC_KEY_BYTES), at_ns)
        elif what == WELCOME and inner.dialled and not inner.up:
            inner.peer = body[:PUBLIC_KEY_BYTES]
            self._busy(inner.life, at_ns)
            if inner.wanted is not None and node_hash(inner.peer) != inner.wanted:
                self.close(inner, "another node is there", at_ns)
                return
            self._out(inner, FINISH, bytes(SHAKE_BYTES // 2), at_ns)
            self._linked(inner, at_ns)
        elif what == FINISH and not inner.dialled and inner.peer and not inner.up:
            self._linked(inner, at_ns)
        else:
            self.close(inner, "malformed session: out of turn", at_ns)

    def _linked(self, inner: Inner, at_ns: int) -> None:
        life = inner.life
        inner.up = True
        life.dialling.pop(inner.conn, None)
        life.ends[inner.conn] = inner
        peer = PeerId(node_hash(inner.peer))
        self._world.post(at_ns, life, Linked(inner.conn, peer, inner.peer, inner.address, not inner.dialled))

    def _ended(self, inner: Inner, reason: str, at_ns: int) -> None:
        if inner.over:
            return
        inner.over = True
        inner.life.circuits.pop(inner.circuit, None)
        event: Any = Unlinked(inner.conn, reason) if inner.up else DialFailed(inner.conn, reason)
        if inner.up or inner.dialled:
            self._world.post(at_ns, inner.life, event)

    def _busy(self, life: Life, at_ns: int) -> None:
        life.busy_ns = max(life.busy_ns, at_ns) + HANDSHAKE_NS

    def _out(self, inner: Inner, what: int, body: bytes, at_ns: int) -> None:
        data = PIECE.pack(len(body), zlib.crc32(body), what) + body
        for start in range(0, len(data), OUT_BYTES):
            self._world.post(at_ns, inner.life, RelayOut(inner.circuit, data[start : start + OUT_BYTES]))
