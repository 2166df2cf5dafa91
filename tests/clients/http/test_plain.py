"""Calls over the standard library: connections are kept, dead ones replaced, and every failure says what was sent."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import ThreadingUnixStreamServer

import pytest

from qcommons.clients.http.plain import Connections, NotConnected
from qcommons.clients.http.target import Target


class Echo(BaseHTTPRequestHandler):
    """Answers with the token and the body; /bye closes the connection after the answer."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        answer = self.headers.get("authorization", "").encode() + b"|" + body
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
        self.close_connection = self.path == "/bye"

    def address_string(self) -> str:  # of a unix socket there is none
        return ""

    def log_message(self, *_: object) -> None:
        pass


class Counting(ThreadingHTTPServer):
    daemon_threads = True
    made = 0

    def process_request(self, request: object, client_address: object) -> None:
        self.made += 1
        super().process_request(request, client_address)  # type: ignore[arg-type]


@pytest.fixture
def server() -> Iterator[Counting]:
    with Counting(("127.0.0.1", 0), Echo) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


def to(server: Counting) -> Connections:
    return Connections(Target(f"http://127.0.0.1:{server.server_port}", "secret"), 5.0)


def test_a_connection_is_used_again_and_the_token_is_sent(server: Counting) -> None:
    connections = to(server)
    for place in range(5):
        answer = connections.request("POST", "/", b"%d" % place, {}, 5.0)
        assert answer == (200, b"Bearer secret|%d" % place)
    assert server.made == 1
    connections.close()


def test_threads_at_once_have_connections_of_their_own(server: Counting) -> None:
    connections = to(server)
    answers: list[bytes] = []
    ask = lambda place: answers.append(connections.request("POST", "/", b"%d" % place, {}, 5.0).body)  # noqa: E731
    threads = [threading.Thread(target=ask, args=(place,)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [b"Bearer secret|%d" % place for place in range(8)]
    connections.close()


def test_a_connection_that_the_node_closed_is_replaced(server: Counting) -> None:
    connections = to(server)
    for _ in range(3):
        assert connections.request("POST", "/bye", b"", {}, 5.0).status == 200
        time.sleep(0.1)  # for its end to arrive; before, a call finds a broken connection and says so
    assert server.made == 3
    connections.close()


def test_where_nobody_listens_nothing_was_sent() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(NotConnected):
        Connections(Target(f"http://127.0.0.1:{port}", ""), 1.0).request("GET", "/", None, {}, 1.0)


def test_silence_is_a_timeout_and_no_missing_connection() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        connections = Connections(Target(f"http://127.0.0.1:{silent.getsockname()[1]}", ""), 1.0)
        with pytest.raises(TimeoutError):
            connections.request("GET", "/", None, {}, 0.05)


def test_a_unix_socket_serves_as_well(tmp_path: Path) -> None:
    path = tmp_path / "node.sock"
    with ThreadingUnixStreamServer(str(path), Echo) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        connections = Connections(Target(f"unix:{path}", ""), 1.0)
        assert connections.request("POST", "/", b"hello", {}, 5.0).body == b"|hello"
        connections.close()
        made.shutdown()
