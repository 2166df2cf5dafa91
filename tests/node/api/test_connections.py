"""Connections: guests and strangers fill the server, and the owner comes in; what looks like one request is one."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from collections import Counter
from collections.abc import Iterator

import msgspec
import pytest
from tests.node.api.serving import PATIENCE_S, Served, drain, heard, request, served
from tests.node.api.standin import GUEST_TOKEN, TOKEN, StandIn
from tests.node.api.test_server import HEALTH_MAX_S, honest_s, many_files
from tests.node.making import eventually

from qcommons.node.api.connections import Bounds
from qcommons.node.api.shares import SHARES

__all__ = ["many_files"]  # a fixture

REQUESTS, STREAMS = SHARES["requests"].each, SHARES["streams"].each
ANSWER = re.compile(rb"HTTP/1\.1 (\d+) ")


@contextlib.contextmanager
def asking(node: Served, count: int, head: bytes) -> Iterator[list[socket.socket]]:
    """That many connections, each with the same request; some may be ended for others meanwhile."""
    with contextlib.ExitStack() as stack:
        links = [stack.enter_context(node.connect()) for _ in range(count)]
        for link in links:
            with contextlib.suppress(ConnectionError):
                link.sendall(head)
        yield links


def answers(links: list[socket.socket], least: int, silence_s: float = 0.002) -> Counter[int]:
    """Status of the first answer -> how many; 0: none yet. least: so many have one, if the node is given the time."""
    end, silent = time.monotonic() + PATIENCE_S, list(links)
    found: Counter[int] = Counter()
    while silent and sum(found.values()) < least and time.monotonic() < end:
        waiting, silent = silent, []
        for link in waiting:
            status = ANSWER.match(drain(link, silence_s))
            if status:
                found[int(status[1])] += 1
            else:
                silent.append(link)
    return found + Counter({0: len(silent)})


def settled(node: Served) -> int:
    """How many requests are under way, once that number stays for half a second; -1: it moves."""
    counts = {len(node.server._state.tasks)}
    for _ in range(10):
        time.sleep(0.05)
        counts.add(len(node.server._state.tasks))
    return counts.pop() if len(counts) == 1 else -1


def guest(method: str, path: str, node: Served, *extra: str) -> bytes:
    return request(method, path, node.port, *extra, token=GUEST_TOKEN)


def test_a_guest_with_600_event_streams_leaves_the_owner_served(many_files: None) -> None:
    with served() as node, asking(node, 600, guest("GET", "/v1/events", node)) as links:
        assert eventually(lambda: 0 <= settled(node) <= STREAMS, 30.0)  # on a busy machine none: see below
        assert honest_s(node) < HEALTH_MAX_S
        found = answers(links, 400)
        assert found[200] <= STREAMS and found[429] >= 400


def test_what_a_guest_has_too_much_of_is_told_with_what_to_do() -> None:
    with served() as node, asking(node, STREAMS, guest("GET", "/v1/events", node)) as links:
        assert eventually(lambda: len(node.server._state.tasks) == STREAMS)
        head, _, body = node.raw(guest("GET", "/v1/events", node, "connection: close")).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 429 Too Many Requests") and b"retry-after: 2" in head
        told = json.loads(body)["error"]
        assert (told["who"], told["where"]) == ("caller", "token") and "close one" in told["what"]
        assert told["limit"] == f"{STREAMS} event streams at once"
        links[0].close()
        assert eventually(lambda: len(node.server._state.tasks) == STREAMS - 1)
        with node.connect() as again:
            again.sendall(guest("GET", "/v1/events", node))
            assert b"HTTP/1.1 200" in again.recv(4096)


def test_a_guest_with_600_long_polls_leaves_the_owner_served(many_files: None) -> None:
    door = StandIn(instant=False)
    with served(door) as node:
        body = b'{"programs":[{"qasm":"x"}]}'
        extra = (f"content-length: {len(body)}", "content-type: application/json", "connection: close")
        job = re.search(rb"job_\w+", node.raw(guest("POST", "/v1/jobs", node, *extra) + body))
        assert job is not None
        with asking(node, 600, guest("GET", f"/v1/jobs/{job[0].decode()}?wait_s=200", node)) as links:
            # a newcomer may end one before the guard has seen it: then there are fewer, on a busy machine none
            assert eventually(lambda: 0 <= settled(node) <= REQUESTS, 30.0)
            assert honest_s(node) < HEALTH_MAX_S
            found = answers(links, 400)
            assert found[200] == 0 and found[429] >= 400
            assert len(node.server._state.tasks) <= REQUESTS


def test_a_guest_whose_large_uploads_do_not_move_leaves_the_owner_room() -> None:
    upload = (f"content-length: {3 << 20}", "content-type: application/json")
    with served() as node, asking(node, 4, guest("POST", "/v1/jobs", node, *upload) + b"{") as links:
        assert eventually(lambda: len(node.server._state.tasks) == 4)  # one is read; of the others the rest is dropped
        assert answers(links, 3) == {0: 1, 429: 3}
        larger = (f"content-length: {60 << 20}", "content-type: application/json")
        with node.connect() as owner:
            owner.sendall(request("POST", "/v1/jobs", node.port, *larger) + b"{")
            assert drain(owner, 0.2) == b""


def test_a_guests_body_is_held_to_what_decodes_in_a_moment() -> None:
    with served() as node:
        head = guest("POST", "/v1/jobs", node, f"content-length: {5 << 20}", "content-type: application/json")
        assert node.raw(head + b"{").startswith(b"HTTP/1.1 413")


def test_the_owner_comes_in_beside_1000_idle_connections_again_and_again(many_files: None) -> None:
    """Its event stream, which goes on all the while, is not taken for an idle one."""
    door = StandIn()
    door.heartbeat_s = 60.0
    with served(door) as node, node.connect() as stream:
        stream.sendall(request("GET", "/v1/events", node.port))
        assert heard(stream, b"id: -1\n")
        with asking(node, 1000, b""):
            for _ in range(20):
                assert honest_s(node) < HEALTH_MAX_S
            assert len(node.server.crowd) <= Bounds().connections_max
            node.run(node.door.tell("job", state="done"))
            assert heard(stream, b"event: job\n")


@pytest.mark.parametrize("token", [None, GUEST_TOKEN])
def test_refused_uploads_that_never_end_are_no_way_to_keep_the_owner_out(token: str | None) -> None:
    """Such a sender is listened to for two seconds more, so that it sees the answer; every connection has one."""
    with served(bounds=Bounds(connections_max=20)) as node:
        head = request("POST", "/v1/pause", node.port, "content-length: 1000", token=token) + b"{"
        with asking(node, 20, head):
            assert eventually(lambda: len(node.server._state.tasks) == 20)
            assert honest_s(node) < HEALTH_MAX_S


def test_answers_without_a_token_that_nobody_reads_are_no_way_to_keep_the_owner_out() -> None:
    with served(bounds=Bounds(connections_max=20)) as node, contextlib.ExitStack() as stack:
        for _ in range(20):
            link = stack.enter_context(node.connect(receive_bytes=4096))
            link.sendall(request("GET", "/openapi.json", node.port, token=None) * 8)
        assert eventually(lambda: sum(one.unread_since_s is not None for one in node.server.crowd._line) > 0)
        time.sleep(0.2)
        assert honest_s(node) < HEALTH_MAX_S


def test_a_request_of_the_owner_is_not_ended_for_newcomers() -> None:
    with served(bounds=Bounds(connections_max=3)) as node, asking(node, 2, request("GET", "/v1/events", node.port)):
        assert eventually(lambda: len(node.server._state.tasks) == 2)
        for _ in range(5):
            assert honest_s(node) < HEALTH_MAX_S
        assert len(node.server._state.tasks) == 2


# one request is one request


def chunked(node: Served, trailer: bytes, token: str | None) -> bytes:
    extra = ("transfer-encoding: chunked", "content-type: application/json", "connection: close")
    return request("POST", "/v1/pause", node.port, *extra, token=token) + b"2\r\n{}\r\n0\r\n" + trailer + b"\r\n"


@pytest.mark.parametrize("trailer", [f"authorization: Bearer {TOKEN}\r\n".encode(), b"host: evil.example\r\n"])
def test_a_trailer_is_no_header(trailer: bytes) -> None:
    """RFC 9110, 6.5.1: a field that decides who asks, or whom, is not taken from behind the body."""
    with served() as node:
        assert node.raw(chunked(node, trailer, None)).startswith(b"HTTP/1.1 401")
        assert node.raw(chunked(node, trailer, TOKEN)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("token", [None, TOKEN])
def test_a_trailer_that_frames_is_refused(token: str | None) -> None:
    with served() as node:
        assert node.raw(chunked(node, b"content-length: 7\r\n", token)).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("token", [None, TOKEN])
@pytest.mark.parametrize("begin", [b"2\r\n{}\r\n0\r\nx: ", b"2;x=", b"2\r\n{}\r\n0\r\n" + b"x: y\r\n" * 100 + b"z: "])
def test_trailers_and_chunk_extensions_without_end_are_cut_off(begin: bytes, token: str | None) -> None:
    with served() as node, node.connect() as link:
        extra = ("transfer-encoding: chunked", "content-type: application/json")
        link.sendall(request("POST", "/v1/pause", node.port, *extra, token=token) + begin)
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 16 << 20:
                sent += link.send(b"y" * 65536)
        assert sent < 16 << 20  # what the system's buffers hold, and the node takes no more
        assert eventually(lambda: len(node.server.crowd) == 0)
        assert node.faults == []


@pytest.mark.parametrize("upgrade", ["websocket", "h2c"])
def test_a_body_behind_an_upgrade_is_no_second_request(upgrade: str) -> None:
    """A proxy passes it on as the body of the first; a parser that has switched reads it as a request of its own."""
    with served() as node, node.connect() as link:
        inner = request("POST", "/v1/shutdown", node.port)
        extra = ("connection: upgrade", f"upgrade: {upgrade}", f"content-length: {len(inner)}")
        link.sendall(request("POST", "/v1/resume", node.port, *extra))
        time.sleep(0.05)
        with contextlib.suppress(ConnectionError):
            link.sendall(inner)
        said = drain(link)
        assert ANSWER.findall(said) == [b"400"] and b"leave out Upgrade" in said
        assert not node.door.draining


@pytest.mark.parametrize(
    "head",
    [
        b"POST /v1/resume HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n",
        b"POST /v1/resume HTTP/1.1\r\ncontent-length: 5, 5\r\n",
        b"POST /v1/resume HTTP/1.1\r\ncontent-length: +5\r\n",
        b"POST /v1/resume HTTP/1.1\r\ncontent-length: -5\r\n",
        b"POST /v1/resume HTTP/1.1\r\ncontent-length: 0x5\r\n",
        b"POST /v1/resume HTTP/1.1\r\ncontent-length : 5\r\n",
        b"POST /v1/resume HTTP/1.1\r\ntransfer-encoding: xchunked\r\n",
        b"POST /v1/resume HTTP/1.1\r\ntransfer-encoding: chunked, identity\r\n",
        b"POST /v1/resume HTTP/1.1\r\ntransfer-encoding\x0b: chunked\r\n",
        b"POST /v1/resume HTTP/1.1\r\nx: y\r\n transfer-encoding: chunked\r\n",
        b"POST /v1/resume HTTP/1.1\nx: y\n",
        b"CONNECT 127.0.0.1:1 HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n",
        b"GET /v1/status HTTP/3.7\r\n",
        b"GET\t/v1/status HTTP/1.1\r\n",
    ],
)
def test_a_request_that_two_readers_could_read_differently_is_refused(head: bytes) -> None:
    """RFC 9112, 6.3 and 11.2. What follows is never answered as a request of its own."""
    with served() as node:
        rest = f"host: 127.0.0.1:{node.port}\r\nauthorization: Bearer {TOKEN}\r\n\r\n".encode()
        said = node.raw(head + rest + request("POST", "/v1/shutdown", node.port))
        assert ANSWER.findall(said) in ([b"400"], []), said
        assert not node.door.draining and honest_s(node) < HEALTH_MAX_S and node.faults == []


def test_a_reader_of_a_byte_now_and_then_is_ended_as_one_that_does_not_read() -> None:
    """Else an answer could be kept in memory for days."""
    with served(bounds=Bounds(unread_s=0.6)) as node, node.connect(receive_bytes=4096) as link:
        link.sendall(request("GET", "/openapi.json", node.port) * 8)
        assert eventually(lambda: any(one.unread_since_s is not None for one in node.server.crowd._line))
        end, taken = time.monotonic() + 10, 0
        while len(node.server.crowd) and time.monotonic() < end:
            taken += len(link.recv(1))
            time.sleep(0.05)
        assert not len(node.server.crowd) and taken < 1000


def test_a_large_answer_goes_out_in_pieces_and_whole() -> None:
    with served() as node:
        node.door.log_lines = lambda last: ["x" * 1000] * 1000  # type: ignore[method-assign]
        with node.connect() as link:
            link.sendall(request("GET", "/v1/logs", node.port, "connection: close"))
            said = drain(link)
        head, _, body = said.partition(b"\r\n\r\n")
        assert b"content-length: %d\r\n" % len(body) in head.lower() + b"\r\n"
        assert msgspec.json.decode(body) == {"lines": ["x" * 1000] * 1000}
