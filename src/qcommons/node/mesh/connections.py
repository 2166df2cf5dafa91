"""Connections: numbered wires on pipes, and what the core may have done to them.

Flow: Dial, sockets that come in, circuits -> *Connections* -> a *Connection* each: pipe <-> wire -> Linked, Came,
Unlinked, DialFailed -> core; Transmit, Hangup -> connection. Numbers: even where this node dialled (the core drew
them), odd where it was dialled. Every dial ends within `DIAL_S` and the wire's own deadlines.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qcommons.base.effects import Run, WakeAt, Woken
from qcommons.base.units import NS_PER_S, ns_to_s
from qcommons.mesh import puzzle
from qcommons.mesh.addresses import parse, relay_address, tcp_address
from qcommons.mesh.doorkeeper import Doorkeeper
from qcommons.mesh.effort import Effort
from qcommons.mesh.events import (
    Came,
    CloseBlob,
    Dial,
    DialFailed,
    Event,
    Hangup,
    Linked,
    Moving,
    NotSent,
    OpenBlob,
    ReadChunk,
    RelayIn,
    Transmit,
    Unlinked,
    WriteChunk,
)
from qcommons.mesh.frame import MessageIn
from qcommons.mesh.held import Held
from qcommons.mesh.messages import Message, Request
from qcommons.mesh.records import PeerId
from qcommons.mesh.session import Ended, Established, ToPipe
from qcommons.mesh.tls import TlsContext
from qcommons.mesh.wire import Wire
from qcommons.mesh.wire_events import (
    Close,
    Crowded,
    Drop,
    Grows,
    Lost,
    NeverSent,
    Opened,
    Solved,
    TellWritten,
    Unsent,
    Written,
)
from qcommons.node.mesh.pipes import CircuitPipe, Pipe, SocketPipe, Totals
from qcommons.node.mesh.solver import Solver
from qcommons.pqc.identity import node_id_of_hash

if TYPE_CHECKING:
    from qcommons.node.mesh.blob_files import BlobFiles

__all__ = ["Connection", "Connections"]

DIAL_S = 6.0  # until TCP stands: a SYN is repeated after 1 and 3 s (RFC 6298)


class Connection:
    """One of them. peer: who is there, None before it is proven. is_needed: as its dial said. cut: as if the network
    were (development nodes)."""

    __slots__ = ("_all", "_wire", "address", "cut", "inbound", "is_needed", "number", "peer", "pipe")

    def __init__(
        self, owner: Connections, number: int, wire: Wire, pipe: Pipe, address: str, inbound: bool,
        is_needed: bool = False,
    ) -> None:  # fmt: skip
        self._all, self._wire, self.pipe = owner, wire, pipe
        self.number, self.address, self.inbound, self.is_needed = number, address, inbound, is_needed
        self.peer: PeerId | None = None
        self.cut = False

    @property
    def held_bytes(self) -> int:
        """That wait here for a peer that is slow."""
        return self._wire.held_bytes

    # of the pipe

    def opened(self) -> None:
        self.feed(Opened())

    def received(self, data: bytes) -> None:
        effects = self._wire.receive(data, self._all.now_ns())
        if len(effects) == 1 and type(came := effects[0]) is MessageIn:  # nearly always
            self._all.deliver(Came(self.number, came.id, came.message, came.size_bytes))
        else:
            self._carry_out(effects)

    def drained(self, backlog_bytes: int) -> None:
        self.feed(Written(backlog_bytes))

    def lost(self, reason: str) -> None:
        self.feed(Lost(reason))

    # of the core

    def transmit(self, id: int, message: Message) -> None:
        effects = self._wire.send(id, message)
        if len(effects) == 1 and type(piece := effects[0]) is ToPipe:  # nearly always
            self.pipe.write(piece.data)
        else:
            self._carry_out(effects)

    def hang_up(self, reason: str) -> None:
        self.feed(Close(reason))

    def freeze(self, frozen: bool) -> None:
        self.cut = frozen
        self.pipe.freeze(frozen)

    # of the wire

    def feed(self, event: Any) -> None:
        """Give the wire an event, and carry out what it says."""
        self._carry_out(self._wire.handle(event, self._all.now_ns()))

    def _carry_out(self, effects: list[Any]) -> None:
        """In order; what the pipe says to it comes after."""
        owner, pipe = self._all, self.pipe
        while effects:
            backlog_bytes = None
            for effect in effects:
                kind = type(effect)
                if kind is ToPipe:
                    pipe.write(effect.data)
                elif kind is MessageIn:
                    owner.deliver(Came(self.number, effect.id, effect.message, effect.size_bytes))
                elif kind is TellWritten:
                    backlog_bytes = pipe.tell_below(effect.below_bytes)
                else:
                    self._seldom(effect)
            if backlog_bytes is None:
                return
            effects = self._wire.handle(Written(backlog_bytes), owner.now_ns())

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
            case Unsent(id, message):
                owner.unsent(self, message)
                if type(message) is Request and self.peer is not None:
                    owner.deliver(NotSent(self.peer, (id,), f"{self.held_bytes} bytes wait for this peer already"))
            case NeverSent(ids):
                if self.peer is not None:
                    owner.deliver(NotSent(self.peer, ids, "its connection ended before"))
            case Grows():
                owner.deliver(Moving(self.number))
            case Crowded():
                owner.shed()


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
        self._held = Held()
        self._effort, self._solver = Effort(), Solver(self._solved)
        self._refusal_noted_ns = self._unsent_noted_ns = self._unsent_noted = 0

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
            connection.transmit(effect.id, effect.message)

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
        wire = Wire(self._context, True, None, self._doorkeeper, number, self._held)
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
        wire = Wire(self._context, False, effect.peer, held=self._held)
        connection = Connection(self, effect.conn, wire, pipe, effect.address, False, effect.is_needed)
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
        else:
            self._solver.cancel(number)
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
        """Where it is worth it, in a thread: it may take a second."""
        why = self._effort.refusal(asked, connection.address, connection.is_needed, self.now_ns())
        if why:
            connection.feed(Solved(None, why))
        else:
            self._solver.begin(connection.number, asked)

    def _solved(self, number: int, solution: bytes | None) -> None:
        connection = self._connections.get(number)
        if connection is not None:
            connection.feed(Solved(solution))

    # what waits

    def unsent(self, connection: Connection, message: Message) -> None:
        """No room for a message: counted always, told once a second at most. Parts ask again for what must arrive."""
        self.overfull += 1
        now_ns = self.now_ns()
        if now_ns - self._unsent_noted_ns >= NS_PER_S:
            fresh, self._unsent_noted, self._unsent_noted_ns = self.overfull - self._unsent_noted, self.overfull, now_ns
            self._on_note("mesh_unsent", peer=_shown(connection), kind=type(message).__name__, dropped=fresh)

    def shed(self) -> None:
        """All together hold more than they may: whoever holds most is closed first."""
        while self._held.is_over and self._connections:
            most = max(self._connections.values(), key=lambda one: one.held_bytes)
            held_bytes = most.held_bytes
            all_bytes = self._held.used_bytes
            self._on_note("mesh_shed", peer=_shown(most), address=most.address, bytes=held_bytes, in_all=all_bytes)
            most.feed(Drop(f"{held_bytes} bytes wait for this peer, and {all_bytes} for all: no room"))
            most.pipe.abort()

    def _drop(self, number: int, why: str) -> None:
        connection = self._connections.get(number)
        if connection is not None:
            connection.hang_up(why)

    def _refused(self, reason: str, address: str, detail: str) -> None:
        """Counted always, told once a second at most: a flood must not fill the log."""
        self.refused[reason] += 1
        now_ns = self.now_ns()
        if now_ns - self._refusal_noted_ns >= NS_PER_S:
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
        self._solver.close()
        for task in list(self._tasks.values()):
            task.cancel()
        for connection in list(self._connections.values()):
            connection.hang_up("the node stops")
        until_s = self._loop.time() + 1.0
        while self._connections and self._loop.time() < until_s:
            await asyncio.sleep(0.01)


def _shown(connection: Connection) -> str:
    return "nobody yet" if connection.peer is None else node_id_of_hash(connection.peer)
