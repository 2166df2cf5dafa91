"""The API over real sockets on loopback, in a thread with its own event loop, so that a test may block."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

from tests.node.api.standin import TOKEN, StandIn

from qcommons.node.api.app import Api
from qcommons.node.api.connections import Bounds
from qcommons.node.api.server import ApiServer

T = TypeVar("T")
PATIENCE_S = 10.0  # for what must come, on a machine that may be busy


class Served:
    """A server that runs. faults: what the app reported as its own."""

    def __init__(self, door: StandIn, *, port: int = 0, uds: Path | None = None, bounds: Bounds | None = None) -> None:
        self.door = door
        self.faults: list[BaseException] = []
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        app = Api(door, on_fault=lambda _, error: self.faults.append(error))
        self.server = ApiServer(app, port=port, uds=uds, bounds=bounds)
        self.url = self.run(self.server.start())
        self.port = int(self.url.rpartition(":")[2]) if uds is None else 0

    def run(self, work: Coroutine[Any, Any, T], timeout_s: float = 30.0) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout_s)

    def stop(self, grace_s: float = 1.0) -> None:
        if self.loop.is_running():
            self.run(self.server.stop(grace_s))
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.close()

    def connect(self, receive_bytes: int = 0) -> socket.socket:
        """receive_bytes: what the system may hold for a client that does not read; 0: as it likes."""
        link = socket.socket()
        if receive_bytes:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        link.settimeout(5)
        link.connect(("127.0.0.1", self.port))
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return link

    def raw(self, text: bytes) -> bytes:
        """What the server says to these bytes until it closes or is silent."""
        with self.connect() as link:
            link.sendall(text)
            return drain(link, first_s=PATIENCE_S)


def drain(link: socket.socket, silence_s: float = 0.4, first_s: float = 0.0) -> bytes:
    """What comes until nothing does for so long, or the other end closes. first_s: how long the beginning may take."""
    link.settimeout(max(silence_s, first_s))
    said = b""
    with contextlib.suppress(TimeoutError, ConnectionResetError):
        while chunk := link.recv(1 << 16):
            said += chunk
            link.settimeout(silence_s)
    return said


def heard(link: socket.socket, words: bytes) -> bool:
    """Whether these come, on a machine that may be busy."""
    end, said = time.monotonic() + PATIENCE_S, b""
    while words not in said and (left_s := end - time.monotonic()) > 0:
        link.settimeout(left_s)
        try:
            chunk = link.recv(1 << 16)
        except (TimeoutError, ConnectionResetError):
            break
        if not chunk:
            break
        said += chunk
    return words in said


def request(method: str, path: str, port: int, *extra: str, token: str | None = TOKEN) -> bytes:
    """The head of a request to 127.0.0.1."""
    lines = [f"{method} {path} HTTP/1.1", f"host: 127.0.0.1:{port}", *extra]
    lines += [f"authorization: Bearer {token}"] if token else []
    return "\r\n".join([*lines, "", ""]).encode()


@contextlib.contextmanager
def served(door: StandIn | None = None, **options: Any) -> Iterator[Served]:
    made = Served(door or StandIn(), **options)
    try:
        yield made
    finally:
        made.stop()
