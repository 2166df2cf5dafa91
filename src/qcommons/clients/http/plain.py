"""Calls over the standard library's HTTP/1.1 parser, with connections kept for the next call.

Flow: Transport -> *Connections* -> socket (TCP, TLS or unix) -> the node. A request leaves in one piece, so the node
reads it at once. httpx, three times as slow for such a call, carries the async transport and streams.
"""

from __future__ import annotations

import http.client
import select
import socket
import ssl
import threading
from collections import deque
from typing import NamedTuple
from urllib.parse import urlsplit

from qcommons.clients.http.target import Target

__all__ = ["Answer", "Connections", "NotConnected"]

KEPT_MAX = 20  # more are closed after their call
PORTS = {"http": 80, "https": 443}


class NotConnected(OSError):
    """No connection could be made: nothing was sent."""


class Answer(NamedTuple):
    status: int
    body: bytes


class Connections:
    """To one node; safe to use from several threads. connect_s: how long making a connection may take."""

    def __init__(self, target: Target, connect_s: float) -> None:
        self._path = target.socket_path
        self._url = urlsplit(target.base_url)
        self._connect_s = connect_s
        self._always = {"host": self._url.netloc, "authorization": f"Bearer {target.token}" if target.token else ""}
        self._lock = threading.Lock()
        self._kept: deque[socket.socket] = deque()
        self._closed = False

    def request(self, method: str, path: str, body: bytes | None, headers: dict[str, str], timeout_s: float) -> Answer:
        """Raises NotConnected; another OSError or HTTPException once something was sent (TimeoutError: no answer)."""
        size = {} if body is None else {"content-length": str(len(body))}
        lines = [f"{name}: {value}" for name, value in (self._always | headers | size).items() if value]
        head = "\r\n".join((f"{method} {self._url.path}{path} HTTP/1.1", *lines, "", ""))
        connection = self._take()
        try:
            connection.settimeout(timeout_s)
            connection.sendall(head.encode("ascii") + (body or b""))
            with http.client.HTTPResponse(connection, method=method) as response:
                response.begin()
                answer = Answer(response.status, response.read())
        except BaseException:
            connection.close()
            raise
        self._give(connection, reusable=not response.will_close)
        return answer

    def close(self) -> None:
        with self._lock:
            self._closed = True
            kept, self._kept = self._kept, deque()
        for connection in kept:
            connection.close()

    def _take(self) -> socket.socket:
        """One that the node has not closed meanwhile, else a new one."""
        while True:
            with self._lock:
                connection = self._kept.pop() if self._kept else None
            if connection is None:
                return self._connect()
            if not _readable(connection):
                return connection
            connection.close()

    def _give(self, connection: socket.socket, reusable: bool) -> None:
        with self._lock:
            keep = reusable and not self._closed and len(self._kept) < KEPT_MAX
            if keep:
                self._kept.append(connection)
        if not keep:
            connection.close()

    def _connect(self) -> socket.socket:
        host, port = self._url.hostname or "", self._url.port or PORTS[self._url.scheme]
        try:
            if self._path is not None:
                return _unix(self._path, self._connect_s)
            connection = socket.create_connection((host, port), self._connect_s)
        except OSError as error:
            raise NotConnected(str(error)) from error
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._url.scheme != "https":
            return connection
        try:
            return ssl.create_default_context().wrap_socket(connection, server_hostname=host)
        except OSError as error:
            connection.close()
            raise NotConnected(str(error)) from error


def _unix(path: str, connect_s: float) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.settimeout(connect_s)
        made.connect(path)
    except OSError:
        made.close()
        raise
    return made


def _readable(connection: socket.socket) -> bool:
    """Bytes or an end that nobody asked for: the connection is of no use any more."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))
