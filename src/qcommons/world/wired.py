"""The real wire in a world: TLS sessions and frames between cores, their bytes on the virtual network.

Flow: simulator -> *Wired* -> Wire (one a connection) -> MeshCore, and back. What the network carries are `RelayData` of
sealed bytes; the session that the network models is only the pipe here, and who is there the wire finds out itself.
Sessions inside relay circuits stay modelled. For small runs: a handshake takes 11 ms of real time.
"""

from __future__ import annotations

from typing import Any

from qcommons.base.effects import Run, WakeAt, Woken
from qcommons.mesh import puzzle
from qcommons.mesh.events import Came, Dial, DialFailed, Hangup, Linked, Transmit, Unlinked
from qcommons.mesh.messages import RelayData
from qcommons.mesh.records import PeerId
from qcommons.mesh.tls import TlsContext
from qcommons.mesh.wire import (
    Bytes,
    Close,
    Ended,
    Established,
    Lost,
    MessageIn,
    Opened,
    SendMessage,
    Solved,
    TellWritten,
    ToPipe,
    Wire,
    Written,
)
from qcommons.world.host import Machine

__all__ = ["Wired"]

TOKEN = "wire"
PIECE_BYTES = 32 << 10  # of what ToPipe gives at once


class _Line:
    """One connection. up: the core has heard of it. is_gone: the pipe has ended by itself."""

    __slots__ = ("address", "inbound", "is_gone", "up", "wire")

    def __init__(self, wire: Wire, address: str, inbound: bool) -> None:
        self.wire = wire
        self.address = address
        self.inbound = inbound
        self.up = self.is_gone = False


class Wired:
    """A core with its sessions, as one machine: pipe events in, pipe effects out."""

    def __init__(self, core: Machine, context: TlsContext) -> None:
        self.core = core
        self._context = context
        self._lines: dict[int, _Line] = {}
        self._wanted: dict[int, PeerId | None] = {}
        self._out: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.core, name)  # views of the core, for checkers

    def handle(self, event: Any, now_ns: int) -> list[Any]:
        """Take an event of the pipe, or of the core."""
        self._out = []
        kind = type(event)
        line = self._lines.get(event.conn) if kind in (Came, Unlinked) else None
        if kind is Linked and not event.address.startswith("relay/"):
            wire = Wire(self._context, event.inbound, None if event.inbound else self._wanted.pop(event.conn, None))
            self._lines[event.conn] = _Line(wire, event.address, event.inbound)
            self._tell(event.conn, Opened(), now_ns)
        elif line is not None and kind is Came:
            self._tell(event.conn, Bytes(event.message.payload), now_ns)
        elif line is not None:
            line.is_gone = True
            self._tell(event.conn, Lost(event.reason), now_ns)
        elif kind is Woken and isinstance(event.token, tuple) and event.token[0] == TOKEN:
            if event.token[1] in self._lines:
                self._tell(event.token[1], Woken(event.token[2]), now_ns)
        else:
            self._core(event, now_ns)
        return self._out

    def _tell(self, conn: int, event: Any, now_ns: int) -> None:
        line = self._lines[conn]
        for effect in line.wire.handle(event, now_ns):
            self._carry(conn, line, effect, now_ns)

    def _carry(self, conn: int, line: _Line, effect: Any, now_ns: int) -> None:
        match effect:
            case ToPipe(data=data):
                for start in range(0, len(data), PIECE_BYTES):
                    self._out.append(Transmit(conn, 0, RelayData(bytes(data[start : start + PIECE_BYTES]))))
            case MessageIn(id=id, message=message, size_bytes=size):
                self._core(Came(conn, id, message, size), now_ns)
            case Established(peer=peer, public_key=key):
                line.up = True
                self._core(Linked(conn, peer, key, line.address, line.inbound), now_ns)
            case WakeAt(at_ns=at_ns, token=token):
                self._out.append(WakeAt(at_ns, (TOKEN, conn, token)))
            case TellWritten():
                self._tell(conn, Written(0), now_ns)
            case Run(piece=piece):
                self._tell(conn, Solved(puzzle.solve(piece)), now_ns)
            case Ended(reason=reason, detail=detail):
                del self._lines[conn]
                if not line.is_gone:
                    self._out.append(Hangup(conn, f"{reason} {detail}".strip()))
                if line.up:
                    self._core(Unlinked(conn, reason), now_ns)
                elif not line.inbound:
                    self._core(DialFailed(conn, reason), now_ns)

    def _core(self, event: Any, now_ns: int) -> None:
        for effect in self.core.handle(event, now_ns):
            line = self._lines.get(effect.conn) if isinstance(effect, Transmit | Hangup) else None
            if line is not None and isinstance(effect, Transmit):
                self._tell(effect.conn, SendMessage(effect.id, effect.message), now_ns)
            elif line is not None:
                self._tell(effect.conn, Close(effect.reason), now_ns)
            elif isinstance(effect, Dial) and effect.circuit is None:
                self._wanted[effect.conn] = effect.peer
                self._out.append(Dial(effect.conn, effect.address, None))
            else:
                self._out.append(effect)
