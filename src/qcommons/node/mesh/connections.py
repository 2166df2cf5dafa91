"""Connections: numbered wires on pipes, and what the core may have done to them.

Flow: Dial, sockets that come in, circuits -> *Connections* -> a *Connection* each: pipe <-> wire -> Linked, Came,
Unlinked, DialFailed -> core; Transmit, Hangup -> connection. Numbers: even where this node dialled (the core drew
them), odd where it was dialled. Every dial ends within `DIAL_S` and the wire's own deadlines.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qcommons.base.effects import Run, WakeAt, Woken
from qcommons.base.errors import UsageError
from qcommons.base.units import ns_to_s
from qcommons.mesh import puzzle
from qcommons.mesh.addresses import parse, relay_address, tcp_address
from qcommons.mesh.doorkeeper import Doorkeeper
from qcommons.mesh.events import (
    Came,
    CloseBlob,
    Dial,
    DialFailed,
    Event,
    Hangup,
    Linked,
    OpenBlob,
    ReadChunk,
    RelayIn,
    Transmit,
    Unlinked,
    WriteChunk,
)
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
    Unsent,
    Wire,
    Written,
)
from qcommons.node.mesh.pipes import CircuitPipe, Pipe, SocketPipe, Totals

if TYPE_CHECKING:
    from qcommons.node.mesh.blob_files import BlobFiles

__all__ = ["Connection", "Connections"]

DIAL_S = 6.0  # until TCP stands: a SYN is repeated after 1 and 3 s (RFC 6298)


class Connection:
    """One of them. peer: who is there, None before it is proven. cut: as if the network were (development nodes)."""

    __slots__ = ("_all", "_wire", "address", "cut", "inbound", "number", "peer", "pipe")

    def __init__(self, owner: Connections, number: int, wire: Wire, pipe: Pipe, address: str, inbound: bool) -> None:
        self._all, self._wire, self.pipe = owner, wire, pipe
        self.number, self.address, self.inbound = number, address, inbound
        self.peer: PeerId | None = None
        self.cut = False

    # of the pipe

    def opened(self) -> None:
        self.feed(Opened())

    def received(self, data: bytes) -> None:
        self.feed(Bytes(data))

    def drained(self, backlog_bytes: int) -> None:
        self.feed(Written(backlog_bytes))

    def lost(self, reason: str) -> None:
        self.feed(Lost(reason))

    # of the core

    def transmit(self, effect: Transmit) -> None:
        self.feed(SendMessage(effect.id, effect.message))

    def hang_up(self, reason: str) -> None:
        self.feed(Close(reason))

    def freeze(self, frozen: bool) -> None:
        self.cut = frozen
        self.pipe.freeze(frozen)

    # of the wire

    def feed(self, event: Any) -> None:
        """Give the wire an event, and carry out what it says, in order."""
        owner, pipe = self._all, self.pipe
        while event is not None:
            effects: list[Any] = self._wire.handle(event, owner.now_ns())
            event = None
            for effect in effects:
                kind = type(effect)
                if kind is ToPipe:
                    pipe.write(effect.data)
                elif kind is MessageIn:
                    owner.deliver(Came(self.number, effect.id, effect.message, effect.size_bytes))
                elif kind is TellWritten:
                    backlog_bytes = pipe.tell_below(effect.below_bytes)
                    event = None if backlog_bytes is None else Written(backlog_bytes)
                else:
                    self._seldom(effect)

    def _seldom(self, effect: Any) -> None:
        owner = self._all
        match effect:
            case Established(peer, public_key):
                self.peer = peer
                owner.established(self, peer, public_key)
            case Ended(reason, detail):
                owner.ended(self, reason, detail)
                self.pipe.close(linger=self.peer is not None)
            case WakeAt(at_ns, token):
                owner.wake(self, at_ns, Woken(token))
            case Run(_, asked):
                owner.solve(self, asked)
            case Unsent():  # no room; the core asks again for what must arrive
                owner.overfull += 1


class Connections:
    """All of a node; `Hands` of the driver. relay_of: who relays a circuit, for its address; deliver, now_ns: of the
    driver. `handshakes` and `refused` are for metrics: by end, and by reason."""

    def __init__(
        self,
        context: TlsContext,
        doorkeeper: Doorkeeper,
        deliver: Callable[[Event], None],
        now_ns: Callable[[], int],
        on_note: Callable[..., None],
    ) -> None:
        self.deliver, self.now_ns = deliver, now_ns
        self.totals = Totals()
        self.handshakes: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.overfull = 0
        self.severed: frozenset[PeerId] = frozenset()
        self.blobs: BlobFiles | None = None
        self._context, self._doorkeeper, self._on_note = context, doorkeeper, on_note
        self._loop = asyncio.get_running_loop()
        self._inbound = itertools.count(1, 2)
        self._connections: dict[int, Connection] = {}
        self._circuits: dict[int, CircuitPipe] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._solving: set[asyncio.Task[None]] = set()
        self._refusal_noted_ns = 0

    def __len__(self) -> int:
        return len(self._connections)

    # Hands

    def dial(self, effect: Dial) -> None:
        address = parse(effect.address)
        if effect.circuit is not None:
            pipe = CircuitPipe(effect.circuit, self.totals, self.deliver)
            self._circuits[effect.circuit] = pipe
            self._dialled(effect, pipe)
        elif address.via is not None:
            self.deliver(DialFailed(effect.conn, "a relay without a circuit"))
        else:
            task = self._loop.create_task(self._connect(effect, address.host, address.port))
            self._tasks[effect.conn] = task
            task.add_done_callback(lambda _: self._tasks.pop(effect.conn, None))

    def transmit(self, effect: Transmit) -> None:
        connection = self._connections.get(effect.conn)
        if connection is not None:
            connection.transmit(effect)

    def hang_up(self, effect: Hangup) -> None:
        task = self._tasks.get(effect.conn)
        if task is not None:
            task.cancel()
        connection = self._connections.get(effect.conn)
        if connection is not None:
            connection.hang_up(effect.reason)

    def relay_in(self, effect: RelayIn) -> None:
        pipe = self._circuits.get(effect.circuit)
        if effect.opened_by is not None and pipe is None:
            pipe = CircuitPipe(effect.circuit, self.totals, self.deliver)
            self._circuits[effect.circuit] = pipe
            if not self._came(pipe, relay_address(effect.via or effect.opened_by)):
                pipe.close(linger=False)
        if pipe is not None:
            pipe.came(effect.data, effect.closed, effect.backlog_bytes)

    def blob(self, effect: OpenBlob | ReadChunk | WriteChunk | CloseBlob) -> None:
        if self.blobs is not None:
            self.blobs.carry_out(effect)

    # what comes in

    def bytes_out(self, peer: PeerId) -> int:
        """Written to a peer on the connections that stand."""
        return sum(one.pipe.bytes_out for one in self._connections.values() if one.peer == peer)

    def make_pipe(self) -> SocketPipe:
        """For the listener: one for each connection that comes in."""
        return SocketPipe(self.totals, self._accept)

    def _accept(self, pipe: SocketPipe) -> None:
        if not self._came(pipe, tcp_address(pipe.peer_host, pipe.peer_port)):
            pipe.abort()

    def _came(self, pipe: SocketPipe | CircuitPipe, address: str) -> bool:
        """Whether the doorkeeper lets it stay."""
        number = next(self._inbound)
        verdict = self._doorkeeper.knock(number, address, self.now_ns())
        for other in verdict.close:
            self._drop(other, "half open for longest while others came")
        if verdict.refused:
            self._refused("connections", address, verdict.refused)
            return False
        wire = Wire(self._context, True, None, self._doorkeeper, number)
        connection = Connection(self, number, wire, pipe, address, inbound=True)
        self._connections[number] = connection
        pipe.use(connection)
        connection.opened()
        return True

    # what is dialled

    async def _connect(self, effect: Dial, host: str, port: int) -> None:
        pipe = SocketPipe(self.totals)
        try:
            async with asyncio.timeout(DIAL_S):
                await self._cut(effect.peer)
                await self._loop.create_connection(lambda: pipe, host, port)
        except asyncio.CancelledError:
            pipe.abort()
            self.deliver(DialFailed(effect.conn, "given up"))
            return
        except TimeoutError:
            self.deliver(DialFailed(effect.conn, f"no answer within {DIAL_S:g} s"))
            return
        except OSError as error:
            self.deliver(DialFailed(effect.conn, os.strerror(error.errno) if error.errno else str(error)))
            return
        self._dialled(effect, pipe)

    async def _cut(self, peer: PeerId | None) -> None:
        """While the network to `peer` is cut, no SYN arrives: they are sent after 0, 1 and 3 s (RFC 6298)."""
        for pause_s in (1.0, 2.0, DIAL_S):
            if peer not in self.severed:
                return
            await asyncio.sleep(pause_s)

    def _dialled(self, effect: Dial, pipe: SocketPipe | CircuitPipe) -> None:
        wire = Wire(self._context, False, effect.peer)
        connection = Connection(self, effect.conn, wire, pipe, effect.address, inbound=False)
        self._connections[effect.conn] = connection
        pipe.use(connection)
        connection.opened()

    # what wires say

    def established(self, connection: Connection, peer: PeerId, public_key: bytes) -> None:
        """A session stands."""
        self.handshakes["in" if connection.inbound else "out"] += 1
        if peer in self.severed:
            connection.peer = None
            connection.hang_up("severed")
            return
        self.deliver(Linked(connection.number, peer, public_key, connection.address, connection.inbound))

    def ended(self, connection: Connection, reason: str, detail: str) -> None:
        """The last that a connection says."""
        number = connection.number
        self._connections.pop(number, None)
        if isinstance(connection.pipe, CircuitPipe):
            self._circuits.pop(connection.pipe.circuit, None)
        if connection.inbound:
            self._doorkeeper.left(number)
        words = f"{reason}: {detail}" if detail else reason
        if connection.peer is not None:
            self.deliver(Unlinked(number, words))
        elif connection.inbound:
            self._refused(reason, connection.address, detail)
        else:
            self.handshakes["failed"] += 1
            self.deliver(DialFailed(number, words, is_other=reason == "identity"))

    def wake(self, connection: Connection, at_ns: int, event: Woken) -> None:
        """A deadline of a wire."""
        delay_s = max(0.0, ns_to_s(at_ns - self.now_ns()))
        self._loop.call_later(delay_s, self._woken, connection, event)

    def _woken(self, connection: Connection, event: Woken) -> None:
        if connection.number in self._connections:
            connection.feed(event)

    def solve(self, connection: Connection, asked: puzzle.Puzzle) -> None:
        """In a thread: it may take a second."""

        async def work() -> None:
            solution: bytes | None = None
            with contextlib.suppress(UsageError):
                solution = await asyncio.to_thread(puzzle.solve, asked)
            connection.feed(Solved(solution))

        task = self._loop.create_task(work())
        self._solving.add(task)
        task.add_done_callback(self._solving.discard)

    def _drop(self, number: int, why: str) -> None:
        connection = self._connections.get(number)
        if connection is not None:
            connection.hang_up(why)

    def _refused(self, reason: str, address: str, detail: str) -> None:
        """Counted always, told once a second at most: a flood must not fill the log."""
        self.refused[reason] += 1
        now_ns = self.now_ns()
        if now_ns - self._refusal_noted_ns >= 1_000_000_000:
            self._refusal_noted_ns = now_ns
            self._on_note("mesh_refused", address=address, reason=reason, detail=detail)

    # development nodes

    def sever(self, peers: frozenset[PeerId]) -> None:
        """Cut the network to these, and to nobody else."""
        self.severed = peers
        for connection in list(self._connections.values()):
            if connection.peer is not None and connection.cut != (connection.peer in peers):
                connection.freeze(connection.peer in peers)

    async def close(self) -> None:
        """Close all, wait a moment for what is still to be sent."""
        for task in list(self._tasks.values()):
            task.cancel()
        for connection in list(self._connections.values()):
            connection.hang_up("the node stops")
        until_s = self._loop.time() + 1.0
        while self._connections and self._loop.time() < until_s:
            await asyncio.sleep(0.01)
