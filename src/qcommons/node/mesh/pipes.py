"""Pipes: what carries the bytes of one connection. A TCP socket, or a circuit through a relay.

Flow: socket -> *SocketPipe* -> connection -> wire -> connection -> *SocketPipe* -> socket; RelayIn -> *CircuitPipe* ->
connection ... -> RelayOut. A pipe knows nothing of sessions. `write` never waits; how much waits is `backlog_bytes`,
and `on_drained` is called when it has become little again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from qcommons.mesh.events import RelayOut

__all__ = ["CircuitPipe", "Pipe", "PipeUser", "SocketPipe", "Totals"]

HIGH_BYTES = 512 << 10  # two chunks: enough that the socket never runs dry between two wake-ups
LOW_BYTES = 64 << 10
# Of all pipes of the process: what was read is taken at once. asyncio itself allocates 256 KiB for every read, which
# costs 50 us of the 100 us that a small message needs there and back.
BUFFER = memoryview(bytearray(64 << 10))
CLOSE_S = 5.0  # what is still to be sent at the end must be gone by then
CIRCUIT_PIECE_BYTES = 60 << 10  # of RelayData, which takes 64 KiB


class Totals:
    """Bytes of all pipes of a node."""

    __slots__ = ("bytes_in", "bytes_out")

    def __init__(self) -> None:
        self.bytes_in = 0
        self.bytes_out = 0


class PipeUser(Protocol):
    """Who is told; a connection."""

    def received(self, data: bytes) -> None: ...

    def drained(self, backlog_bytes: int) -> None:
        """Little waits again."""
        ...

    def lost(self, reason: str) -> None:
        """The pipe has ended, whoever ended it; the last call."""
        ...


class Pipe(Protocol):
    """What a connection asks of its pipe. bytes_out: written so far."""

    bytes_out: int

    @property
    def backlog_bytes(self) -> int: ...

    def write(self, data: bytes) -> None: ...

    def tell_below(self, bytes_max: int) -> int | None:
        """How many bytes wait, if at most `bytes_max`; else None, and `drained` is called once that is so."""
        ...

    def close(self, linger: bool) -> None:
        """After what was written has gone out, or `CLOSE_S`. linger: and was taken by the other end."""
        ...

    def abort(self) -> None:
        """At once, whatever waits."""
        ...

    def freeze(self, frozen: bool) -> None:
        """As if the network were cut: nothing goes out or comes in until thawed (development nodes)."""
        ...


class SocketPipe(asyncio.BufferedProtocol):
    """accept: called with each connection that came in; who takes it calls `use`. None where this node dialled."""

    def __init__(self, totals: Totals, accept: Callable[[SocketPipe], None] | None = None) -> None:
        self._totals = totals
        self._accept = accept
        self._transport: asyncio.Transport | None = None
        self._user: PipeUser | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._frozen: list[bytes] | None = None
        self.peer_host, self.peer_port = "", 0
        self.bytes_out = 0

    def use(self, user: PipeUser) -> None:
        """From now on `user` is told."""
        self._user = user

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        address = transport.get_extra_info("peername")
        if address:
            self.peer_host, self.peer_port = str(address[0]), int(address[1])
        transport.set_write_buffer_limits(HIGH_BYTES, LOW_BYTES)
        if self._accept is not None:
            self._accept(self)
            if self._user is None:
                transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:
        return BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        self._totals.bytes_in += nbytes
        if self._user is not None:
            self._user.received(bytes(BUFFER[:nbytes]))

    def resume_writing(self) -> None:
        if self._user is not None:
            self._user.drained(self.backlog_bytes)

    def connection_lost(self, error: Exception | None) -> None:
        if self._closing is not None:
            self._closing.cancel()
        self._transport = None
        user, self._user = self._user, None
        if user is not None:
            user.lost(f"connection lost: {_words(error)}" if error else "the other end closed the connection")

    # Pipe

    @property
    def backlog_bytes(self) -> int:
        if self._frozen is not None:
            return sum(map(len, self._frozen))
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        if self._transport is None or self._closing is not None:
            return
        self._totals.bytes_out += len(data)
        self.bytes_out += len(data)
        if self._frozen is None:
            self._transport.write(data)
        else:
            self._frozen.append(data)

    def tell_below(self, bytes_max: int) -> int | None:
        backlog_bytes = self.backlog_bytes
        if backlog_bytes <= bytes_max:
            return backlog_bytes
        if self._transport is not None:
            self._transport.set_write_buffer_limits(bytes_max, bytes_max)
        return None

    def close(self, linger: bool) -> None:
        transport = self._transport
        if transport is None or self._closing is not None or self._loop is None or transport.is_closing():
            return
        self._closing = self._loop.call_later(CLOSE_S, transport.abort)
        if linger:
            # closing now would reset the connection where something is still unread, and the other end would lose
            # what is on its way (RFC 1122, section 4.2.2.13); so its end of the stream is waited for
            try:
                transport.write_eof()
            except OSError:  # reset by the other end a moment ago: shutdown(2) says ENOTCONN
                transport.abort()
        else:
            transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def freeze(self, frozen: bool) -> None:
        transport = self._transport
        if transport is None or frozen == (self._frozen is not None):
            return
        if frozen:
            self._frozen = []
            transport.pause_reading()
            return
        held, self._frozen = self._frozen or [], None
        for data in held:
            transport.write(data)
        if self._user is not None:
            self._user.drained(self.backlog_bytes)
        if not transport.is_closing():
            transport.resume_reading()


class CircuitPipe:
    """A circuit; deliver: gives the core an event."""

    def __init__(self, circuit: int, totals: Totals, deliver: Callable[[RelayOut], None]) -> None:
        self.circuit = circuit
        self.bytes_out = 0
        self._totals, self._deliver = totals, deliver
        self._user: PipeUser | None = None
        self._waiting_bytes = 0
        self._open = True

    def use(self, user: PipeUser) -> None:
        self._user = user

    def came(self, data: bytes, closed: str | None, backlog_bytes: int | None) -> None:
        """What `RelayIn` says."""
        if backlog_bytes is not None:
            self._waiting_bytes = backlog_bytes
        user = self._user
        if user is None:
            return
        if data:
            self._totals.bytes_in += len(data)
            user.received(data)
        if backlog_bytes is not None:
            self._drained()
        if closed is not None:
            self._open, self._user = False, None
            user.lost(f"the circuit ended: {closed}")

    @property
    def backlog_bytes(self) -> int:
        return self._waiting_bytes

    def write(self, data: bytes) -> None:
        if not self._open:
            return
        self._totals.bytes_out += len(data)
        self.bytes_out += len(data)
        for start in range(0, len(data), CIRCUIT_PIECE_BYTES):
            self._deliver(RelayOut(self.circuit, data[start : start + CIRCUIT_PIECE_BYTES]))

    def tell_below(self, bytes_max: int) -> int | None:
        """The relay's client tells its backlog after what was written has passed the core, so ask again then."""
        asyncio.get_running_loop().call_soon(self._drained)
        return None

    def _drained(self) -> None:
        if self._user is not None and self._waiting_bytes <= LOW_BYTES:
            self._user.drained(self._waiting_bytes)

    def close(self, linger: bool) -> None:
        if self._open:
            self._open = False
            self._deliver(RelayOut(self.circuit, b"", closed="the session ended"))
            user, self._user = self._user, None
            if user is not None:
                user.lost("the session ended")

    def abort(self) -> None:
        self.close(linger=False)

    def freeze(self, frozen: bool) -> None:
        """The links beneath are frozen where they are cut."""


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
