"""Events over SSE: none is lost, whoever listens and however slowly."""

from __future__ import annotations

import re
import socket
import threading
import time

from tests.node.api.serving import Served, request, served
from tests.node.api.standin import GUEST_TOKEN, TOKEN, StandIn
from tests.node.api.test_app import ask, error
from tests.node.making import eventually

from qcommons.node.api.connections import Bounds
from qcommons.node.api.records import EventView

SEQ = re.compile(rb"^id: (\d+)\nevent: ", re.MULTILINE)


def listen(node: Served, since: int | None = None, *extra: str) -> socket.socket:
    path = "/v1/events" if since is None else f"/v1/events?since={since}"
    link = node.connect()
    link.sendall(request("GET", path, node.port, *extra))
    return link


def read_until(link: socket.socket, mark: bytes, timeout_s: float = 10.0) -> bytes:
    link.settimeout(timeout_s)
    said = bytearray()
    while mark not in said[-(1 << 17) :]:
        chunk = link.recv(1 << 16)
        assert chunk, "the stream ended"
        said += chunk
    return bytes(said)


def told(door: StandIn, count: int, size: int = 0) -> None:
    """`count` events that nobody has to be told of: they are there."""
    start = len(door.news)
    door.news += [EventView(seq=start + i, at_ns=i, kind="e", facts={"x": "y" * size}) for i in range(count)]


def test_50_listeners_lose_no_event() -> None:
    count = 300
    door = StandIn()
    told(door, 20)
    heard: list[list[int]] = []
    with served(door) as node:

        def follow() -> None:
            with listen(node, 0) as link:
                said = read_until(link, b"id: %d\n" % (count + 19))
            heard.append([int(seq) for seq in SEQ.findall(said)])

        threads = [threading.Thread(target=follow) for _ in range(50)]
        for thread in threads:
            thread.start()
        for number in range(count):
            node.run(door.tell("job_phase", number=number))
        for thread in threads:
            thread.join(20)
    assert heard == [list(range(count + 20))] * 50


def test_from_now_on_says_where_now_is_so_that_a_break_before_the_first_event_loses_none() -> None:
    door = StandIn()
    told(door, 5)
    with served(door) as node:
        with listen(node) as link:
            assert b"id: 4\n\n" in read_until(link, b"id: 4\n\n")
        told(door, 2)
        with listen(node, None, "last-event-id: 4") as link:
            assert [int(seq) for seq in SEQ.findall(read_until(link, b"id: 6\n"))] == [5, 6]


def test_last_event_id_wins_over_since() -> None:
    """A browser that reconnects asks the URL it was given and sends where it stands (WHATWG HTML, 9.2.4)."""
    door = StandIn()
    told(door, 4)
    with served(door) as node, listen(node, 0, "last-event-id: 2") as link:
        assert [int(seq) for seq in SEQ.findall(read_until(link, b"id: 3\n"))] == [3]


def test_heartbeats_come_while_nothing_happens() -> None:
    with served() as node, listen(node, 0) as link:
        assert read_until(link, b":\n\n")


def test_a_cursor_that_is_too_old_or_of_the_future_or_no_number_is_400() -> None:
    door = StandIn()
    told(door, 5)
    door.oldest = 3
    response = ask(door, "GET", "/v1/events?since=1")
    assert (response.status_code, error(response)["where"]) == (400, "since")
    for where in ("/v1/events?since=6", "/v1/events?since=9007199254740991"):
        response = ask(door, "GET", where)
        assert (response.status_code, error(response)["limit"]) == (400, "5")
    response = ask(door, "GET", "/v1/events", headers={"last-event-id": "x"})
    assert (response.status_code, error(response)["where"]) == (400, "last-event-id")


def test_a_listener_that_does_not_read_is_dropped_with_bounded_memory_and_goes_on_from_its_cursor() -> None:
    """15 MB of events wait; the door is asked for no more than buffers hold, and the listener loses none."""
    door = StandIn()
    told(door, 1500, size=10_000)
    given: list[int] = []
    follow = door.events

    async def counting(since: int, who: str):  # type: ignore[no-untyped-def]
        async for event in follow(since, who):
            if event is not None:
                given.append(event.seq)
            yield event

    door.events = counting  # type: ignore[method-assign]
    with served(door, bounds=Bounds(unread_s=0.3)) as node:
        with node.connect(1 << 16) as link:
            link.sendall(request("GET", "/v1/events?since=0", node.port))
            assert eventually(lambda: len(node.server.crowd) == 1)
            assert eventually(lambda: len(node.server.crowd) == 0)
            assert 0 < max(given) < 200  # at most 2 MB of the 15 are in buffers
            said = b""
            link.settimeout(0.5)
            try:
                while chunk := link.recv(1 << 20):
                    said += chunk
            except (ConnectionResetError, TimeoutError):
                pass
        seen = [int(seq) for seq in SEQ.findall(said)]
        assert seen[: len(seen) - 1] == list(range(len(seen) - 1))
        last = seen[-2]
        with listen(node, last + 1) as link:
            begun = time.monotonic()
            rest = [int(seq) for seq in SEQ.findall(read_until(link, b"id: 1499\n"))]
    assert rest == list(range(last + 1, 1500)) and time.monotonic() - begun < 10
    assert node.faults == []


def test_a_slow_reader_is_no_stalled_one() -> None:
    """4 MB, read for longer than `unread_s`, in pieces: it moves, so it stays."""
    door = StandIn()
    told(door, 400, size=10_000)
    with served(door, bounds=Bounds(unread_s=0.4, headers_s=0.4)) as node, node.connect(1 << 16) as link:
        link.sendall(request("GET", "/v1/events?since=0", node.port))
        said = bytearray()
        begun = time.monotonic()
        while b"id: 399\n" not in said[-50_000:]:
            chunk = link.recv(1 << 18)
            assert chunk, "the stream ended"
            said += chunk
            time.sleep(len(chunk) / 3e6)
        assert time.monotonic() - begun > 0.8
    assert len(SEQ.findall(said)) == 400


def test_listeners_that_go_leave_nothing_behind() -> None:
    door = StandIn()
    with served(door) as node:
        for _ in range(5):
            with listen(node, 0) as link:
                read_until(link, b":\n\n")
        assert eventually(lambda: len(node.server.crowd) == 0)
        assert eventually(lambda: not node.server._state.tasks)
    assert node.faults == []


def test_a_revoked_token_ends_its_stream_at_once_or_with_the_next_heartbeat() -> None:
    door = StandIn()
    tokens = {TOKEN: "home", GUEST_TOKEN: "guest"}
    door.principal_of = tokens.get  # type: ignore[method-assign]
    with served(door) as node, node.connect() as link:
        link.sendall(request("GET", "/v1/events", node.port, token=GUEST_TOKEN))
        read_until(link, b"id: -1\n\n")
        del tokens[GUEST_TOKEN]
        said = read_until(link, b"0\r\n\r\n")
        assert b"event: failure\n" in said and b"revoked" in said and b'"where":"token"' in said
