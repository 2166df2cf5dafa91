"""Connections: real sessions over loopback sockets; everything ends with a reason; whoever floods is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from qcommons.mesh import puzzle
from qcommons.mesh.doorkeeper import Doorkeeper
from qcommons.mesh.events import (
    Came,
    Dial,
    DialFailed,
    Hangup,
    Linked,
    NotSent,
    RelayIn,
    RelayOut,
    Transmit,
    Unlinked,
)
from qcommons.mesh.messages import Chunk, Ping, Request, Response
from qcommons.mesh.tls import TlsContext
from qcommons.node.mesh.connections import Connections
from qcommons.node.mesh.listener import Listener
from qcommons.pqc.identity import NodeKey

KEYS = [NodeKey(bytes([n]) * 32) for n in (1, 2, 3)]
CONTEXTS = [TlsContext(key) for key in KEYS]


class End:
    """A node without a core: what would be delivered to it is kept."""

    def __init__(self, place: int) -> None:
        self.key = KEYS[place]
        self.events: list[Any] = []
        self.notes: list[tuple[str, dict[str, Any]]] = []
        self.doorkeeper = Doorkeeper(bytes(32))
        self.connections = Connections(
            CONTEXTS[place], self.doorkeeper, self.events.append, time.time_ns, self.note
        )  # fmt: skip
        self.listener = Listener(
            "loopback", 0, self.connections.make_pipe, on_change=lambda _: None, on_note=lambda name, **facts: None
        )

    def note(self, name: str, **facts: Any) -> None:
        self.notes.append((name, facts))

    async def open(self) -> str:
        await self.listener.start()
        return f"tcp/127.0.0.1:{self.listener.port}"

    async def close(self) -> None:
        await self.listener.close()
        await self.connections.close()

    async def until(self, kind: type, count: int = 1, within_s: float = 5.0) -> list[Any]:
        until_s = time.monotonic() + within_s
        while len(found := [event for event in self.events if type(event) is kind]) < count:
            assert time.monotonic() < until_s, (kind, self.events[-3:], self.notes[-3:])
            await asyncio.sleep(0.005)
        return found


def scene(play: Callable[[End, End, str], Awaitable[None]]) -> None:
    """Two ends; the second one listens."""

    async def run() -> None:
        here, there = End(0), End(1)
        address = await there.open()
        try:
            await play(here, there, address)
        finally:
            await asyncio.gather(here.close(), there.close())

    asyncio.run(run())


async def linked(here: End, there: End, address: str) -> tuple[int, int]:
    """Numbers of one session at both ends."""
    here.connections.dial(Dial(2, address, there.key.hash))  # type: ignore[arg-type]
    out = (await here.until(Linked))[0]
    came = (await there.until(Linked))[0]
    return out.conn, came.conn


async def tear(*ends: End) -> None:
    """All connections at once: what was frozen has no time to drain."""
    for end in ends:
        for one in list(end.connections._connections.values()):
            one.pipe.abort()
        await end.connections.close()


def test_a_session_proves_both_ends_and_carries_messages_in_order() -> None:
    async def play(here: End, there: End, address: str) -> None:
        out, came = await linked(here, there, address)
        assert out == 2 and came % 2 == 1
        mine, theirs = (await here.until(Linked))[0], (await there.until(Linked))[0]
        assert mine.peer == there.key.hash and mine.public_key == there.key.public_key and mine.address == address
        assert theirs.peer == here.key.hash and theirs.inbound and theirs.address.startswith("tcp/127.0.0.1:")
        for number in range(50):
            here.connections.transmit(Transmit(out, number, Request(b"x" * number)))
        got = await there.until(Came, 50)
        assert [(event.conn, event.id, event.message.payload) for event in got] == [
            (came, number, b"x" * number) for number in range(50)
        ]
        there.connections.transmit(Transmit(came, 7, Response(b"back")))
        assert (await here.until(Came))[0].message == Response(b"back")

    scene(play)


def test_another_node_than_the_one_that_is_meant_is_refused() -> None:
    async def play(here: End, there: End, address: str) -> None:
        here.connections.dial(Dial(2, address, KEYS[2].hash))  # type: ignore[arg-type]
        failed = (await here.until(DialFailed))[0]
        assert failed.conn == 2 and failed.reason.startswith("identity")
        assert not [event for event in there.events if isinstance(event, Linked)]

    scene(play)


def test_hanging_up_lets_what_was_said_arrive_and_both_ends_hear_why() -> None:
    async def play(here: End, there: End, address: str) -> None:
        out, came = await linked(here, there, address)
        here.connections.transmit(Transmit(out, 1, Chunk(bytes(200_000))))
        here.connections.hang_up(Hangup(out, "enough"))
        assert len((await there.until(Came))[0].message.payload) == 200_000
        assert (await there.until(Unlinked))[0] == Unlinked(came, "closed")
        assert (await here.until(Unlinked))[0] == Unlinked(out, "left: enough")
        assert len(here.connections) == 0 and there.doorkeeper.connections == 0

    scene(play)


def test_nobody_there_is_a_failed_dial_with_the_systems_words() -> None:
    async def play(here: End, there: End, address: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        here.connections.dial(Dial(4, f"tcp/127.0.0.1:{port}", None))
        assert "refused" in (await here.until(DialFailed))[0].reason

    scene(play)


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", bytes(5000), b"\x16\x03\x01\xff\xff", b"\x16" * 9000])
def test_garbage_ends_the_connection_and_the_log_says_why(data: bytes) -> None:
    async def play(here: End, there: End, address: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
        writer.write(data)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        name, facts = there.notes[0]
        assert (
            name == "mesh_refused" and facts["reason"] == "malformed" and facts["address"].startswith("tcp/127.0.0.1")
        )
        assert sum(there.connections.refused.values()) == 1 and not there.events

    scene(play)


def test_200_idle_connections_do_not_keep_an_honest_one_out() -> None:
    """They are half open, so the doorkeeper closes the oldest; what is open stays bounded."""

    async def play(here: End, there: End, address: str) -> None:
        port = int(address.rpartition(":")[2])
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(200)]
        start_s = time.monotonic()
        await linked(here, there, address)
        assert time.monotonic() - start_s < 2.0
        assert len(there.connections) <= 65
        for _, writer in idle:
            writer.close()

    scene(play)


def test_a_peer_that_reads_nothing_costs_bounded_memory_and_signs_of_life_pass_bulk() -> None:
    """20 MiB of chunks are offered; at most 8 MiB wait, the rest is told as not sent."""

    async def play(here: End, there: End, address: str) -> None:
        out, _ = await linked(here, there, address)
        for number in range(80):
            here.connections.transmit(Transmit(out, number, Chunk(bytes(256 << 10))))
        here.connections.transmit(Transmit(out, 1, Ping()))
        assert here.connections.overfull > 20
        got = await there.until(Came, 80 - here.connections.overfull + 1, within_s=10)
        kinds = [type(event.message) for event in got]
        assert kinds.index(Ping) < len(kinds) - 5, "the ping overtook chunks that were given before it"

    scene(play)


def test_a_cut_network_passes_nothing_and_all_of_it_once_healed() -> None:
    async def play(here: End, there: End, address: str) -> None:
        out, _ = await linked(here, there, address)
        there.connections.sever(frozenset({here.key.hash}))  # type: ignore[arg-type]
        here.connections.transmit(Transmit(out, 1, Ping()))
        await asyncio.sleep(0.1)
        assert not [event for event in there.events if isinstance(event, Came)]
        there.connections.sever(frozenset())
        assert (await there.until(Came))[0].message == Ping()

    scene(play)


def test_a_session_stands_inside_a_circuit() -> None:
    """What one end's core would send through a relay is handed to the other's."""

    async def play(here: End, there: End, address: str) -> None:
        here.connections.dial(Dial(6, f"relay/{KEYS[2].id}", there.key.hash, circuit=9))  # type: ignore[arg-type]
        opened = False
        for _ in range(400):
            for end, other in ((here, there), (there, here)):
                for event in [event for event in end.events if isinstance(event, RelayOut)]:
                    end.events.remove(event)
                    by = None if end is there or opened else here.key.hash
                    opened = opened or end is here
                    other.connections.relay_in(RelayIn(9, event.data, opened_by=by, closed=event.closed))  # type: ignore[arg-type]
            await asyncio.sleep(0)
        mine, theirs = (await here.until(Linked))[0], (await there.until(Linked))[0]
        assert mine.address == f"relay/{KEYS[2].id}" and not mine.inbound and theirs.peer == here.key.hash

    scene(play)


class Liar:
    """Listens, and answers every first flight with a puzzle. stays: keeps the connection, so that the work goes on."""

    def __init__(self, bits: int, stays: bool) -> None:
        self.bits, self.stays = bits, stays
        self.writers: list[asyncio.StreamWriter] = []

    async def open(self) -> str:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"tcp/127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4_096)
        writer.write(puzzle.written(puzzle.Puzzle(self.bits, time.time_ns() // puzzle.SLOT_NS, bytes(16))))
        await writer.drain()
        self.writers.append(writer)
        if not self.stays:
            writer.close()

    async def close(self) -> None:
        self.server.close()
        for writer in self.writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


def test_a_hard_puzzle_is_not_begun_for_a_link_that_is_not_needed() -> None:
    async def play(here: End, there: End, address: str) -> None:
        liar = Liar(puzzle.BITS_WILLING, stays=True)
        here.connections.dial(Dial(2, await liar.open(), None))
        assert (await here.until(DialFailed))[0].reason == "puzzle: a puzzle of 21 bits; this link is worth 16"
        await liar.close()

    scene(play)


def test_the_work_on_a_puzzle_ends_with_its_connection() -> None:
    """One who asks for seconds of work and hangs up gets milliseconds of it; so does one who stays, when the dial is
    given up."""

    async def play(here: End, there: End, address: str) -> None:
        for number, stays in ((2, False), (4, True)):
            liar = Liar(puzzle.BITS_WILLING, stays)
            here.connections.dial(Dial(number, await liar.open(), None, is_needed=True))
            if stays:
                while not len(here.connections._solver):
                    await asyncio.sleep(0.005)
                here.connections.hang_up(Hangup(number, "the dial took too long"))
            await here.until(DialFailed, number // 2)
            assert len(here.connections._solver) == 0
            await liar.close()

    scene(play)


def test_peers_that_read_nothing_are_closed_before_all_memory_is_theirs() -> None:
    """Four of them, each below its own bounds; the sum is not. Who holds most goes first, and the log says who."""

    async def play(here: End, there: End, address: str) -> None:
        there.connections._held.cap_bytes = 6 << 20
        outs = []
        for place in range(4):
            here.connections.dial(Dial(2 * place + 2, address, there.key.hash))  # type: ignore[arg-type]
            outs.append((await there.until(Linked, place + 1))[-1].conn)
            await here.until(Linked, place + 1)
        for one in there.connections._connections.values():
            one.freeze(True)
        for turn in range(12):
            for place, out in enumerate(outs):
                if turn < 12 - 3 * place:
                    there.connections.transmit(Transmit(out, turn, Chunk(bytes(256 << 10))))
        assert there.connections._held.used_bytes <= 6 << 20
        lost = [event.conn for event in there.events if isinstance(event, Unlinked)]
        assert lost == outs[:1]
        shed = [facts for name, facts in there.notes if name == "mesh_shed"]
        assert [facts["peer"] for facts in shed] == [here.key.id] and shed[0]["in_all"] > 6 << 20
        await tear(here, there)

    scene(play)


def test_requests_that_waited_when_the_connection_ended_are_told_as_not_sent() -> None:
    async def play(here: End, there: End, address: str) -> None:
        out, _ = await linked(here, there, address)
        connection = here.connections._connections[out]
        connection.freeze(True)
        for id in range(8):
            here.connections.transmit(Transmit(out, id, Request(bytes(1 << 20))))
        connection.lost("reset")
        connection.pipe.abort()
        await tear(here, there)
        *full, last, end = here.events[1:]
        assert [event.ids for event in full] == [(id,) for id in range(4, 8)], "4 MiB wait at most"
        assert last == NotSent(there.key.hash, (1, 2, 3), "its connection ended before")  # type: ignore[arg-type]
        assert isinstance(end, Unlinked), "the first was handed to the pipe: it may have arrived"

    scene(play)
