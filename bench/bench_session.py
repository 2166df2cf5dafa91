"""Sessions: handshakes, an echo of 1 KiB through `Wire` beside bare post-quantum TLS, bulk, and a vote behind bulk.

Both ends live in one process and, for echo and vote, on a pair of sockets under asyncio, as in a node. "Bare" is
pyOpenSSL with the same settings and nothing around it: no frames, no queues, no limits.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import time
from collections.abc import Coroutine
from typing import Any

from OpenSSL import SSL

from bench import sides
from bench.harness import Claim
from qcommons.mesh.messages import Chunk, Message, Ping, Request, Response
from qcommons.mesh.records import PeerId
from qcommons.mesh.session import Session, ToPipe
from qcommons.mesh.tls import TlsContext
from qcommons.mesh.wire import Bytes, Established, MessageIn, Opened, SendMessage, TellWritten, Wire, Written
from qcommons.pqc.identity import NodeKey

CLAIMS = [
    Claim("mutual handshakes a second, both ends on one core", "handshakes", None, "least", 60, unit="1/s"),
    Claim("bytes of a handshake, both ways", "handshake_bytes", None, "most", 32_000, rounds=1, unit="bytes"),
    Claim("echo of 1 KiB over sockets, at most 1.5x bare PQ-TLS", "wire_echo", "bare_echo", "ratio", 1 / 1.5),
    Claim("bulk through Wire in memory, both ends on one core", "wire_bulk", None, "least", 200, unit="MiB/s"),
    Claim("a vote while chunks fill the line, p99", "vote", None, "most", 25, rounds=3, unit="ms"),
]
ALICE, BOB = NodeKey(b"a" * 32), NodeKey(b"b" * 32)
BODY = bytes(1_024)
CHUNK = Chunk(bytes(256 << 10))
MIB = 1 << 20


def _shake() -> tuple[Session, Session, int]:
    """An open pair of sessions and the bytes that it took."""
    ends = Session(TLS[0], False, PeerId(BOB.hash)), Session(TLS[1], True)
    moving, to, total = _data(ends[0].begin()), 1, 0
    while moving:
        total += len(moving)
        moving, to = _data(ends[to].receive(moving)), 1 - to
    assert ends[0].peer and ends[1].peer
    return *ends, total


def _data(answers: Any) -> bytes:
    return b"".join(answer.data for answer in answers if type(answer) is ToPipe)


TLS = TlsContext(ALICE), TlsContext(BOB)


def handshakes(small: bool) -> sides.Thunk:
    count = 5 if small else 100

    def thunk() -> dict[str, Any]:
        start = time.process_time()
        for _ in range(count):
            _shake()
        return {"value": round(count / (time.process_time() - start), 1)}

    return thunk


def handshake_bytes(small: bool) -> sides.Thunk:
    return lambda: {"value": _shake()[2]}


# --- in memory


def _open_wires() -> tuple[Wire, Wire]:
    ends = Wire(TLS[0], False, PeerId(BOB.hash)), Wire(TLS[1], True)
    ends[1].handle(Opened(), 0)
    moving, to = _data(ends[0].handle(Opened(), 0)), 1
    while moving:
        moving, to = _data(ends[to].handle(Bytes(moving), 0)), 1 - to
    return ends


def wire_bulk(small: bool) -> sides.Thunk:
    client, server = _open_wires()
    count = 8 if small else 800

    def thunk() -> dict[str, Any]:
        start, came = time.process_time(), 0
        for id in range(count):
            for effect in client.handle(SendMessage(id, CHUNK), 0):
                if type(effect) is ToPipe:
                    heard = server.handle(Bytes(effect.data), 0)
                    came += sum(len(one.message.payload) for one in heard if type(one) is MessageIn)
            client.handle(Written(0), 0)
        return {
            "value": round(came / MIB / (time.process_time() - start), 1),
            "right": came == count * len(CHUNK.payload),
        }

    return thunk


# --- over sockets


class End(asyncio.BufferedProtocol):
    """Reads into one buffer for all: asyncio's plain `Protocol` takes a fresh 256 KiB for every read, and where that
    comes from the kernel it costs 20 us a read, more than all that is measured here."""

    buffer = bytearray(64 << 10)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(memoryview(self.buffer)[:nbytes]))

    def data_received(self, data: bytes) -> None:
        raise NotImplementedError


class WireEnd(End):
    """What a node does around a Wire, and no more."""

    def __init__(self, wire: Wire, answers: bool) -> None:
        self.wire, self.answers = wire, answers
        self.standing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.came: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.pinged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waits_for_room = False
        self.bulk_bytes = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.set_write_buffer_limits(high=64 << 10, low=32 << 10)
        self.tell(Opened())

    def data_received(self, data: bytes) -> None:
        self.carry_out(self.wire.receive(data, time.monotonic_ns()))

    def say(self, id: int, message: Message) -> None:
        self.carry_out(self.wire.send(id, message))

    def resume_writing(self) -> None:
        if self.waits_for_room:
            self.waits_for_room = False
            self.tell(Written(self.transport.get_write_buffer_size()))

    def tell(self, event: Any) -> None:
        self.carry_out(self.wire.handle(event, time.monotonic_ns()))

    def carry_out(self, effects: list[Any]) -> None:
        for effect in effects:
            kind = type(effect)
            if kind is ToPipe:
                self.transport.write(effect.data)
            elif kind is MessageIn:
                self.take(effect)
            elif kind is TellWritten:
                waiting = self.transport.get_write_buffer_size()
                if waiting <= effect.below_bytes:
                    self.tell(Written(waiting))
                else:
                    self.waits_for_room = True
            elif kind is Established:
                self.standing.set_result(None)

    def take(self, came: MessageIn) -> None:
        kind = type(came.message)
        if kind is Request and self.answers:
            self.say(came.id, Response(came.message.payload))  # type: ignore[attr-defined]
        elif kind is Response:
            self.came.set_result(came.message)
        elif kind is Ping:
            self.pinged.set_result(None)
        elif kind is Chunk:
            self.bulk_bytes += came.size_bytes


class BareEnd(End):
    """Bare TLS: what comes goes back, or to whoever waits."""

    def __init__(self, tls: SSL.Connection, answers: bool) -> None:
        self.tls, self.answers = tls, answers
        self.came: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def say(self, data: bytes) -> None:
        self.tls.send(data)
        self.transport.write(self.tls.bio_read(4_096))

    def data_received(self, data: bytes) -> None:
        self.tls.bio_write(data)
        try:
            while True:
                plain = self.tls.recv(16_384)
                if self.answers:
                    self.say(plain)
                else:
                    self.came.set_result(plain)
        except SSL.WantReadError:
            pass


async def _socket_pair(ends: tuple[End, End]) -> None:
    """TCP on loopback."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    for end, sock in zip(ends, (one, other), strict=True):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        await loop.create_connection(lambda end=end: end, sock=sock)


async def _wire_pair() -> tuple[WireEnd, WireEnd]:
    ends = WireEnd(Wire(TLS[0], False, PeerId(BOB.hash)), False), WireEnd(Wire(TLS[1], True), True)
    await _socket_pair((ends[1], ends[0]))
    await asyncio.gather(ends[0].standing, ends[1].standing)
    return ends


def _looped(setup: Coroutine[Any, Any, Any]) -> tuple[asyncio.AbstractEventLoop, Any]:
    loop = asyncio.new_event_loop()
    return loop, loop.run_until_complete(setup)


def _p50_us(times_ns: list[int]) -> float:
    return round(statistics.median(times_ns) / 1_000, 1)


def wire_echo(small: bool) -> sides.Thunk:
    loop, (client, _) = _looped(_wire_pair())

    async def echo() -> dict[str, Any]:
        times = []
        for id in range(100 if small else 5_000):
            start = time.perf_counter_ns()
            client.came = loop.create_future()
            client.say(id, Request(BODY))
            answer = await client.came
            times.append(time.perf_counter_ns() - start)
        return {"p50 us": _p50_us(times), "right": answer.payload == BODY}

    return lambda: loop.run_until_complete(echo())


def bare_echo(small: bool) -> sides.Thunk:
    async def setup() -> tuple[BareEnd, BareEnd]:
        client, server, _ = _shake()
        ends = BareEnd(client._tls, False), BareEnd(server._tls, True)
        await _socket_pair(ends)
        return ends

    loop, (client, _) = _looped(setup())

    async def echo() -> dict[str, Any]:
        times = []
        for _ in range(100 if small else 5_000):
            start = time.perf_counter_ns()
            client.came = loop.create_future()
            client.say(BODY)
            answer = await client.came
            times.append(time.perf_counter_ns() - start)
        return {"p50 us": _p50_us(times), "right": answer == BODY}

    return lambda: loop.run_until_complete(echo())


def vote(small: bool) -> sides.Thunk:
    """Time from saying a vote (a ping stands for it) to its arrival, while the outbox is kept full of chunks."""
    loop, (client, server) = _looped(_wire_pair())

    async def votes() -> dict[str, Any]:
        times, start_bytes, start = [], server.bulk_bytes, time.perf_counter()
        for turn in range(20 if small else 200):
            for _ in range(4):
                client.say(turn, CHUNK)
            began = time.perf_counter_ns()
            server.pinged = loop.create_future()
            client.say(turn, Ping())
            await server.pinged
            times.append(time.perf_counter_ns() - began)
        spent = time.perf_counter() - start
        p99 = statistics.quantiles(times, n=100)[98] / 1e6
        rate = (server.bulk_bytes - start_bytes) / MIB / spent
        return {"value": round(p99, 2), "p50 ms": round(statistics.median(times) / 1e6, 2), "bulk MiB/s": round(rate)}

    return lambda: loop.run_until_complete(votes())
