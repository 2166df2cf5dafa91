"""Wires: a connection from its first byte to its last, at both ends, in time and out of it."""

from __future__ import annotations

import gc
import struct
import sys
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.mesh.test_session import ALICE, BOB, CAROL, CONTEXTS, MLDSA, Foreign
from tests.playbook import at, play

from qcommons.base.effects import Run, WakeAt, Woken
from qcommons.base.errors import UsageError
from qcommons.base.units import NS_PER_S
from qcommons.mesh import frame, messages, puzzle, wire
from qcommons.mesh.doorkeeper import LIMITS, Doorkeeper, Limits
from qcommons.mesh.held import Held
from qcommons.mesh.records import PeerId
from qcommons.mesh.session import REASONS
from qcommons.mesh.wire import (
    Bytes,
    Close,
    Drained,
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
from qcommons.mesh.wire_events import Crowded, Drop, Grows, NeverSent

NOW = 10**15
PING, PONG = messages.Ping(), messages.Pong()
CHUNK = messages.Chunk(bytes(256 << 10))


def dialling(expected: bytes | None = BOB.hash) -> Wire:
    return Wire(CONTEXTS[ALICE.hash], False, PeerId(expected) if expected else None)


def dialled(door: Any = None, conn: int = 1) -> Wire:
    return Wire(CONTEXTS[BOB.hash], True, door=door, conn=conn)


def data_of(effects: Iterable[Any]) -> bytes:
    return b"".join(effect.data for effect in effects if isinstance(effect, ToPipe))


class Line:
    """Two wires and the pipe between them; puzzles are solved, pipes report at once. What else they said is kept."""

    def __init__(self, client: Wire, server: Wire, cut: Callable[[bytes], Iterable[bytes]] | None = None) -> None:
        self.ends = (client, server)
        self.said: tuple[list[Any], list[Any]] = ([], [])
        self.cut = cut or (lambda data: [data])
        self.now_ns = NOW
        self.tell(1, Opened())
        self.tell(0, Opened())

    def tell(self, to: int, event: Any) -> None:
        waiting = [(to, event)]
        while waiting:
            to, event = waiting.pop(0)
            for effect in self.ends[to].handle(event, self.now_ns):
                if isinstance(effect, ToPipe):
                    waiting += [(1 - to, Bytes(piece)) for piece in self.cut(effect.data)]
                elif isinstance(effect, TellWritten):
                    waiting.append((to, Written(0)))
                elif isinstance(effect, Run):
                    waiting.append((to, Solved(puzzle.solve(effect.piece))))
                elif not isinstance(effect, WakeAt):
                    self.said[to].append(effect)

    def heard(self, end: int) -> list[Any]:
        return [effect for effect in self.said[end] if isinstance(effect, MessageIn)]


def open_pair() -> tuple[Wire, Wire]:
    line = Line(dialling(), dialled())
    assert line.ends[0].peer == BOB.hash and line.ends[1].peer == ALICE.hash
    return line.ends


# --- the conversation


def test_messages_go_both_ways_between_peers_that_know_each_other() -> None:
    line = Line(dialling(), dialled())
    assert line.said[0] == [Established(PeerId(BOB.hash), BOB.public_key)]
    assert line.said[1] == [Established(PeerId(ALICE.hash), ALICE.public_key)]
    line.tell(0, SendMessage(7, messages.Request(b"\x06echo/1hello")))
    line.tell(1, SendMessage(7, messages.Response(b"hello")))
    line.tell(1, SendMessage(0, PING))
    assert line.heard(1) == [MessageIn(7, messages.Request(b"\x06echo/1hello"), 25)]
    assert line.heard(0) == [MessageIn(7, messages.Response(b"hello"), 18), MessageIn(0, PING, 14)]


def test_what_is_said_before_the_session_stands_waits_for_it_and_goes_in_order_of_priority() -> None:
    client = dialling()
    assert client.handle(SendMessage(1, CHUNK), NOW) == []
    assert client.handle(SendMessage(0, PING), NOW) == []
    line = Line(client, dialled())
    assert [one.message for one in line.heard(1)] == [PING, CHUNK]


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(1, 4_000), min_size=1, max_size=20))
def test_however_the_pipe_cuts_the_same_comes(sizes: list[int]) -> None:
    turn = 0

    def cut(data: bytes) -> list[bytes]:
        nonlocal turn
        pieces = []
        while data:
            size = sizes[turn % len(sizes)]
            pieces.append(data[:size])
            data, turn = data[size:], turn + 1
        return pieces

    door, server = guarded()
    line = Line(dialling(), server, cut)
    for size in (0, 1, 3_000, 70_000):
        line.tell(0, SendMessage(size, messages.Request(bytes(size))))
    assert [one.id for one in line.heard(1)] == [0, 1, 3_000, 70_000]
    line.tell(1, Close("enough"))
    assert line.said[0][-1] == Ended("closed") and line.said[1][-1] == Ended("left", "enough")
    assert door.challenged == 1


def test_a_message_that_fits_no_frame_is_the_callers_mistake_and_costs_nothing() -> None:
    client, _ = open_pair()
    with pytest.raises(UsageError, match="allowed"):
        client.handle(SendMessage(1, messages.Request(bytes((1 << 20) + 1))), NOW)
    assert client.ended is None and data_of(client.handle(SendMessage(1, PING), NOW))


# --- what is urgent overtakes


def test_no_more_is_handed_to_the_pipe_than_it_may_hold_and_the_urgent_overtakes_what_waits() -> None:
    """A vote behind 6 MiB of bulk waits for what is in the pipe: 128 KiB and one chunk at most."""
    client, server = open_pair()
    handed = client.handle(SendMessage(0, CHUNK), NOW)
    assert handed[-1] == TellWritten(wire.PIPE_BYTES // 4)
    for id in range(1, 20):
        assert client.handle(SendMessage(id, CHUNK), NOW) == []
    assert client.handle(SendMessage(99, PING), NOW) == []
    more = client.handle(Written(wire.PIPE_BYTES // 4), NOW)
    in_pipe = len(data_of(handed)) + len(data_of(more))
    assert in_pipe < wire.PIPE_BYTES + 2 * (len(CHUNK.payload) + 1_000)
    heard = [one.id for one in server.handle(Bytes(data_of(handed) + data_of(more)), NOW) if isinstance(one, MessageIn)]
    assert heard == [0, 99, 1]


def test_bulk_arrives_whole_and_in_order_through_a_pipe_that_reports() -> None:
    line = Line(dialling(), dialled())
    for id in range(24):
        line.tell(0, SendMessage(id, messages.Chunk(bytes([id]) * (256 << 10))))
    assert [(one.id, one.message.payload[0]) for one in line.heard(1)] == [(id, id) for id in range(24)]


def test_a_full_outbox_says_what_it_drops_and_when_there_is_room_again() -> None:
    client, _ = open_pair()
    effects: list[Any] = []
    count = 0
    while not (effects and isinstance(effects[-1], Unsent)):
        effects = client.handle(SendMessage(count, CHUNK), NOW)
        count += 1
    assert effects == [Unsent(count - 1, CHUNK, 3)]
    assert count * len(CHUNK.payload) < frame.CAPS_BYTES[3] + wire.PIPE_BYTES + 2 * len(CHUNK.payload)
    drained = []
    for _ in range(count):
        drained += [one for one in client.handle(Written(0), NOW) if isinstance(one, Drained)]
    assert drained == [Drained(3)]


def test_a_peer_that_reads_nothing_at_all_is_left() -> None:
    client, _ = open_pair()
    beats = messages.Records((bytes(8_000),))
    urgent = messages.Bye("x", "y" * 900)
    for _ in range(2_000):
        effects = client.handle(SendMessage(0, urgent), NOW)
        if client.ended:
            break
        client.handle(SendMessage(0, beats), NOW)
    assert effects[-1].reason == "full"
    assert client.handle(SendMessage(0, PING), NOW) == []


# --- how it ends


def test_what_was_said_before_a_close_goes_out_first() -> None:
    client, server = open_pair()
    handed = b"".join(data_of(client.handle(SendMessage(id, CHUNK), NOW)) for id in range(8))
    effects = client.handle(Close("done"), NOW)
    assert [type(effect) for effect in effects] == [WakeAt]
    assert isinstance(client.handle(SendMessage(9, PING), NOW)[0], Unsent)
    heard = server.handle(Bytes(handed), NOW)
    while not client.ended:
        heard += server.handle(Bytes(data_of(client.handle(Written(0), NOW))), NOW)
    assert [one.id for one in heard if isinstance(one, MessageIn)] == list(range(8))
    assert client.ended == Ended("left", "done") and heard[-1] == Ended("closed")


def test_a_close_does_not_wait_for_a_peer_that_reads_nothing() -> None:
    client, _ = open_pair()
    for id in range(8):
        client.handle(SendMessage(id, CHUNK), NOW)
    (wake,) = client.handle(Close("done"), NOW)
    assert client.handle(Woken(wake.token), wake.at_ns)[-1] == Ended("left", "done")


def test_nothing_comes_after_the_end() -> None:
    for end in (Close("x"), Lost("reset")):
        client, _ = open_pair()
        assert isinstance(client.handle(end, NOW)[-1], Ended)
        later = (Opened(), Bytes(b"x"), Written(0), SendMessage(0, PING), Solved(None), Close(), Woken("deadline"))
        for event in later:
            assert client.handle(event, NOW + 10**12) == []


def test_a_lost_pipe_ends_without_a_goodbye_that_nobody_hears() -> None:
    client, _ = open_pair()
    assert client.handle(Lost("reset by peer"), NOW) == [Ended("lost", "reset by peer")]


def test_a_wrong_peer_is_told_nothing() -> None:
    line = Line(dialling(CAROL.hash), dialled())
    assert [one.reason for one in line.said[0]] == ["identity"]
    assert line.ends[1].peer is None


def test_a_classical_peer_ends_with_the_reason() -> None:
    foreign, server = Foreign(False, MLDSA, groups="X25519"), dialled()
    server.handle(Opened(), NOW)
    effects = server.handle(Bytes(data_of(foreign.begin())), NOW)
    assert effects[-1].reason == "group"


# --- time


@pytest.mark.parametrize("make", [dialling, dialled])
def test_a_handshake_that_does_not_come_about_ends_in_time(make: Callable[[], Wire]) -> None:
    machine = make()
    wakes = [effect for effect in machine.handle(Opened(), NOW) if isinstance(effect, WakeAt)]
    assert [wake.at_ns for wake in wakes] == [NOW + wire.HANDSHAKE_NS]
    assert machine.handle(Woken("deadline"), NOW + wire.HANDSHAKE_NS - 1) == []
    assert machine.handle(Woken("deadline"), NOW + wire.HANDSHAKE_NS)[-1] == Ended("slow", "no session in time")


def test_one_byte_a_second_does_not_keep_a_handshake_open() -> None:
    """Slow-loris."""
    first = data_of(dialling().handle(Opened(), NOW))
    server = dialled()
    server.handle(Opened(), NOW)
    for second in range(10):
        assert server.handle(Bytes(first[second : second + 1]), NOW + second * NS_PER_S) == []
    assert server.handle(Woken("deadline"), NOW + wire.HANDSHAKE_NS)[-1].reason == "slow"


def test_the_deadline_of_the_handshake_means_nothing_once_the_session_stands() -> None:
    for end in open_pair():
        assert end.handle(Woken("deadline"), NOW + wire.HANDSHAKE_NS) == []


def test_a_frame_that_is_begun_must_become_whole_in_time_and_each_has_its_own_time() -> None:
    client, server = open_pair()
    begun = frame.encode(1, messages.Request(bytes(1_000)))

    def sealed(plain: bytes) -> bytes:
        return data_of(client._session.send(plain))  # type: ignore[union-attr]

    second, span = NS_PER_S, wire.FRAME_NS
    assert (
        play(server, NOW)
        >> Bytes(sealed(begun[:10])) << WakeAt(NOW + span, "frame")
        >> at(NOW + 20 * second) >> Bytes(sealed(begun[10:])) << MessageIn(1, messages.Request(bytes(1_000)), 1_013)
        >> at(NOW + 25 * second) >> Bytes(sealed(begun[:500]))
        >> at(NOW + span) >> Woken("frame") << WakeAt(NOW + 25 * second + span, "frame")
        >> at(NOW + 54 * second) >> Bytes(sealed(begun[500:600])) << Grows
        >> at(NOW + 25 * second + span) >> Woken("frame") << ToPipe << Ended("slow", "a frame is not whole after 30 s")
    )  # fmt: skip


def test_a_frame_that_comes_slowly_is_told_of_once_a_second_and_a_fast_one_never() -> None:
    client, server = open_pair()
    begun = frame.encode(1, messages.Request(bytes(1_000)))

    def tell(place: int, after_ms: int) -> list[Any]:
        sealed = data_of(client._session.send(begun[place : place + 10]))  # type: ignore[union-attr]
        return [one for one in server.handle(Bytes(sealed), NOW + after_ms * 1_000_000) if isinstance(one, Grows)]

    told = [len(tell(10 * step, 250 * step)) for step in range(20)]
    assert told == [0, 0, 0, 0, 1] + [0, 0, 0, 1] * 3 + [0, 0, 0]
    client, server = open_pair()
    line = data_of(client.handle(SendMessage(1, CHUNK), NOW))
    pieces = [line[place : place + 4_096] for place in range(0, len(line), 4_096)]
    heard = [one for piece in pieces for one in server.handle(Bytes(piece), NOW)]
    assert [type(one) for one in heard] == [WakeAt, MessageIn]


# --- what all hold


def test_what_waits_in_all_wires_is_counted_and_the_end_of_one_gives_it_back() -> None:
    held = Held(cap_bytes=3 << 20)
    ends = [Wire(CONTEXTS[ALICE.hash], False, PeerId(BOB.hash), held=held) for _ in range(2)]
    for end in ends:
        Line(end, dialled())
    assert held.used_bytes == 0
    said: list[Any] = []
    for id in range(5):
        said += ends[0].handle(SendMessage(id, CHUNK), NOW)
    assert held.used_bytes == ends[0].held_bytes and not [one for one in said if isinstance(one, Crowded)]
    assert 5 * len(CHUNK.payload) <= held.used_bytes < 5 * (len(CHUNK.payload) + 1_000), "the pipe's share too"
    for id in range(8):
        said += ends[1].handle(SendMessage(id, CHUNK), NOW)
    assert isinstance(said[-1], Crowded) and held.is_over
    dropped = ends[1].handle(Drop("no room"), NOW)
    assert dropped[-1] == Ended("full", "no room") and held.used_bytes == ends[0].held_bytes
    while ends[0].held_bytes:
        ends[0].handle(Written(0), NOW)
    assert held.used_bytes == 0


def test_a_frame_that_is_not_whole_is_held_too() -> None:
    held = Held()
    client = dialling()
    server = Wire(CONTEXTS[BOB.hash], True, held=held)
    Line(client, server)
    begun = frame.encode(1, messages.Request(bytes(1 << 20)))
    for place in (0, 400_000):
        sealed = data_of(client._session.send(begun[place : place + 400_000]))  # type: ignore[union-attr]
        server.handle(Bytes(sealed), NOW)
        assert held.used_bytes == place + 400_000
    server.handle(Bytes(data_of(client._session.send(begun[800_000:]))), NOW)  # type: ignore[union-attr]
    assert held.used_bytes == 0


@pytest.mark.parametrize("last", [Lost("reset"), Drop("no room")])
def test_requests_that_never_left_are_named_before_the_end(last: Any) -> None:
    """What was handed to the pipe may have arrived; what waited has not."""
    client, _ = open_pair()
    client.handle(SendMessage(1, messages.Request(bytes(200_000))), NOW)
    for id in (2, 3):
        client.handle(SendMessage(id, messages.Request(b"body")), NOW)
        client.handle(SendMessage(id + 10, messages.Response(b"body")), NOW)
    effects = [one for one in client.handle(last, NOW) if not isinstance(one, ToPipe)]
    assert effects[0] == NeverSent((2, 3)) and isinstance(effects[1], Ended) and len(effects) == 2


def test_the_two_short_ways_in_do_what_the_events_do() -> None:
    client, server = open_pair()
    sealed = data_of(client.send(7, messages.Request(b"\x06echo/1hello")))
    assert server.receive(sealed, NOW) == [MessageIn(7, messages.Request(b"\x06echo/1hello"), 25)]
    server.handle(Lost(), NOW)
    assert server.receive(b"x", NOW) == [] and server.send(1, PING) == []


# --- the door


def guarded(spent: int = 1, conn: int = 1) -> tuple[Doorkeeper, Wire]:
    """A door whose budget for the network is one handshake, of which so many were spent, and who is dialled."""
    door = Doorkeeper(b"d" * 32, {**LIMITS, "prefix": Limits(99, 99, 1, 1)})
    door.knock(conn, "tcp/192.0.2.1:9", NOW)
    for _ in range(spent):
        door._pay(door._guest(conn), NOW)
    return door, dialled(door, conn)


def test_below_the_budget_the_door_is_not_felt() -> None:
    door, server = guarded(spent=0)
    assert Line(dialling(), server).ends[0].peer == BOB.hash
    assert (door.challenged, door.half_open, door.connections) == (0, 0, 1)


def test_above_the_budget_a_puzzle_is_solved_and_the_handshake_goes_on_behind_it() -> None:
    door, server = guarded()
    client = dialling()
    first = data_of(client.handle(Opened(), NOW))
    server.handle(Opened(), NOW)
    asked = server.handle(Bytes(first), NOW)
    assert asked[0] == WakeAt(NOW + wire.PUZZLE_NS, "deadline")
    assert len(data_of(asked)) == puzzle.PUZZLE_BYTES
    work = client.handle(Bytes(data_of(asked)), NOW)
    assert work == [WakeAt(NOW + wire.PUZZLE_NS, "deadline"), Run("puzzle", puzzle.read(data_of(asked)))]
    answer = client.handle(Solved(puzzle.solve(work[1].piece)), NOW)
    assert data_of(answer) == puzzle.solve(work[1].piece) + first
    flight = server.handle(Bytes(data_of(answer)), NOW)
    last = client.handle(Bytes(data_of(flight)), NOW)
    assert Established(PeerId(BOB.hash), BOB.public_key) in last
    assert Established(PeerId(ALICE.hash), ALICE.public_key) in server.handle(Bytes(data_of(last)), NOW)
    assert (door.challenged, door.half_open) == (1, 0)


def test_a_wrong_solution_is_not_let_in_and_no_handshake_is_begun() -> None:
    door, server = guarded()
    server.handle(Opened(), NOW)
    server.handle(Bytes(data_of(dialling().handle(Opened(), NOW))), NOW)
    effects = server.handle(Bytes(bytes(puzzle.SOLUTION_BYTES)), NOW)
    assert effects[-1].reason == "puzzle" and not data_of(effects)
    assert door.refused["puzzle"] == 1


def test_when_the_door_is_shut_the_reason_is_said() -> None:
    _, server = guarded(spent=2_000)
    server.handle(Opened(), NOW)
    effects = server.handle(Bytes(data_of(dialling().handle(Opened(), NOW))), NOW)
    assert effects == [Ended("door", "too many handshakes from there; again in a minute")]


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([Bytes(puzzle.written(puzzle.Puzzle(40, 1, bytes(16))))], "puzzle"),
        ([Bytes(b"Q" * puzzle.PUZZLE_BYTES)], "puzzle"),
        ([Bytes(puzzle.written(puzzle.Puzzle(5, 1, bytes(16))) + b"x")], "puzzle"),
        ([Bytes(puzzle.written(puzzle.Puzzle(5, 1, bytes(16)))), Bytes(b"\x16")], "malformed"),
        ([Bytes(puzzle.written(puzzle.Puzzle(5, 1, bytes(16)))), Solved(None)], "puzzle"),
        ([Bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n")], "malformed"),
    ],
    ids=["too hard", "no puzzle", "too long", "impatient", "unsolved", "HTTP"],
)
def test_a_dialled_end_that_asks_for_nonsense_is_left(events: list[Any], reason: str) -> None:
    client = dialling()
    client.handle(Opened(), NOW)
    for event in events:
        effects = client.handle(event, NOW)
    assert effects[-1].reason == reason


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\n", b"SSH-2.0-x\r\n", b"\x00", b"\x16\x03\x01\xff\xff", b"\x16\x03\x01\x00\x00" + b"\x16" * 9],
    ids=["HTTP", "SSH", "zero", "a flight of 64 KiB", "an empty record"],
)
def test_other_protocols_end_at_once_with_a_reason(data: bytes) -> None:
    server = dialled()
    server.handle(Opened(), NOW)
    effects = server.handle(Bytes(data), NOW)
    assert effects[-1].reason == "malformed" and effects[-1].detail


def test_a_frame_that_fits_no_row_ends_the_session_and_says_which() -> None:
    client, server = open_pair()
    bad = frame.encode(0, PING) + struct.pack(">IBQ", 5, 0xEE, 0) + bytes(5)
    effects = server.handle(Bytes(data_of(client._session.send(bad))), NOW)  # type: ignore[union-attr]
    assert effects[1] == MessageIn(0, PING, 14)
    assert effects[-1].reason == "malformed" and "0xee" in effects[-1].detail
    assert client.handle(Bytes(data_of(effects)), NOW)[-1] == Ended("closed")


@settings(max_examples=200, deadline=None)
@given(
    st.booleans(),
    st.lists(st.binary(min_size=1, max_size=200), max_size=5),
    st.sampled_from([b"", b"\x16\x03\x01", b"QP1"]),
)
def test_any_bytes_parse_or_end_with_a_reason(server_side: bool, pieces: list[bytes], head: bytes) -> None:
    machine = dialled(guarded()[0]) if server_side else dialling()
    effects = machine.handle(Opened(), NOW)
    for piece in [head, *pieces]:
        if piece:
            effects += machine.handle(Bytes(piece), NOW)
    effects += machine.handle(Woken("deadline"), NOW + 60 * NS_PER_S)
    ends = [effect for effect in effects if isinstance(effect, Ended)]
    assert len(ends) == 1 and effects[-1] == ends[0] and ends[0].reason in REASONS
    assert machine.peer is None


# --- drivers


def test_sealed_bytes_come_before_all_that_a_driver_may_answer_at_once() -> None:
    """Else an answer given while the rest is carried out would overtake them, and the session would break."""
    client, server = dialling(), dialled()
    for id in range(3):
        client.handle(SendMessage(id, CHUNK), NOW)
    server.handle(Opened(), NOW)
    flight = data_of(server.handle(Bytes(data_of(client.handle(Opened(), NOW))), NOW))
    effects = client.handle(Bytes(flight), NOW)
    kinds = [type(effect) for effect in effects]
    assert kinds.count(ToPipe) > 4 and Established in kinds
    assert ToPipe not in kinds[kinds.index(Established) :]
    last = data_of(server.handle(Bytes(data_of(effects)), NOW))
    bad = frame.encode(0, PONG) + bytes(13)
    ending = client.handle(Bytes(last + data_of(server._session.send(bad))), NOW)  # type: ignore[union-attr]
    assert [type(effect) for effect in ending] == [ToPipe, MessageIn, Ended]


def test_a_wire_that_has_ended_is_freed_without_the_collector() -> None:
    """10,000 connections a minute must not wait for a full collection, with 40 KB of OpenSSL each."""
    gc.collect()
    gc.disable()
    try:
        client, _ = open_pair()
        client.handle(Lost(), NOW)
        assert sys.getrefcount(client) == 2, "this name, and the call's argument"
    finally:
        gc.enable()
