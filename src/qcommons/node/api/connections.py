"""Connections of the API's server: uvicorn's HTTP/1.1 protocol (httptools) with bounds on time and memory.

Flow: socket -> *Connection* -> app; the *Crowd* knows all connections and ends those that cost without asking.

    waiting  no request in flight: new, between requests, or headers not complete. Ends when the headers took
             `headers_s` (slow-loris), when a finished connection stays idle for `idle_s`, or, while the server is
             full, for a newcomer: the one that waits longest goes first
    busy     headers complete, answer not. Ends when the body comes slower than BODY_BYTES_PER_S after the first
             `headers_s`, or when the client does not read for `unread_s` (an SSE listener that stalls)

So whoever holds connections without using them, however many, only displaces others of the kind.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from email.utils import formatdate
from typing import Any, NamedTuple

import msgspec
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from qcommons.base.errors import Unavailable, UsageError
from qcommons.jobs.outcomes import ErrorInfo
from qcommons.node.api.records import Failure

__all__ = ["Bounds", "Connection", "Crowd"]

HEADER_BYTES_MAX = 64 << 10  # request line and headers; browsers send 1 to 8 KiB
BODY_BYTES_PER_S = 1024  # the rate Apache's mod_reqtimeout asks for is 500
PIPELINE_MAX = 8  # requests sent before the answer to the first
SWEEP_S = 1.0
QUIET = logging.getLogger("qcommons.api.http")
QUIET.setLevel(logging.CRITICAL)  # no line for a broken request: whoever connects could fill the disk


class Bounds(NamedTuple):
    """connections_max: at once. headers_s, idle_s, unread_s: see above."""

    connections_max: int = 512
    headers_s: float = 10.0
    idle_s: float = 75.0
    unread_s: float = 30.0


class Connection(HttpToolsProtocol):
    """One client."""

    def __init__(
        self, config: Config, server_state: ServerState, crowd: Crowd, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(config, server_state, {}, loop)
        self.logger = QUIET
        self.crowd = crowd
        self.since_s = loop.time()  # when this wait or this request began
        self.unread_since_s: float | None = None
        self._unread_bytes = 0
        self.busy = False
        self._begun = False  # a byte of the next request has come
        self._head_bytes = 0
        self.body_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.crowd.arrived(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.crowd.left(self)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if not self.busy and not self._begun:
            self._begun = True
            self._restart()
        if not self.busy or not self.cycle.more_body:  # of the next request, which may be sent ahead
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > HEADER_BYTES_MAX:
            self.refuse(431, UsageError.who, "the headers are too long", f"{HEADER_BYTES_MAX} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if len(self.headers) > HEADER_BYTES_MAX // 64:
            self.refuse(431, UsageError.who, "too many headers", f"{HEADER_BYTES_MAX // 64} headers")

    def on_headers_complete(self) -> None:
        if self.transport.is_closing():
            return
        if len(self.pipeline) >= PIPELINE_MAX:
            self.transport.close()
            return
        self.busy = True
        self.body_bytes = self._head_bytes = 0
        self._restart()
        self.crowd.waiting.pop(self, None)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self.body_bytes += len(body)
        if self.cycle is not None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self.cycle is not None:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        more = bool(self.pipeline)
        super().on_response_complete()
        if not more and not self.transport.is_closing():
            self.busy = False
            self._begun = self._head_bytes > 0
            self._restart()
            self.crowd.waiting[self] = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self.unread_since_s = self.loop.time()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.unread_since_s = None

    def _restart(self) -> None:
        self.since_s = self.loop.time()

    def send_400_response(self, msg: str) -> None:
        self.refuse(400, UsageError.who, "this is no HTTP/1.1 request")

    def refuse(self, status: int, who: str, what: str, limit: str | None = None) -> None:
        """Answer without the app, and close; nothing while another answer is under way."""
        if self.transport.is_closing():
            return
        if not self.busy or self.cycle is None or not self.cycle.response_started:
            body = msgspec.json.encode(Failure(ErrorInfo(who, what, "connection", limit)))
            head = f"HTTP/1.1 {status} \r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            self.transport.write(f"{head}connection: close\r\n\r\n".encode() + body)
        self.transport.close()

    def overdue(self, now_s: float, bounds: Bounds) -> bool:
        """Whether this connection costs without asking."""
        if self._unread_for(now_s) > bounds.unread_s:
            return True
        age_s = now_s - self.since_s
        if not self.busy:
            fresh = self._begun or self.cycle is None
            return age_s > (bounds.headers_s if fresh else bounds.idle_s)
        still_comes = self.cycle is not None and self.cycle.more_body and not self.flow.read_paused
        return still_comes and age_s > bounds.headers_s + self.body_bytes / BODY_BYTES_PER_S

    def _unread_for(self, now_s: float) -> float:
        """Seconds for which the client has taken nothing of what waits for it."""
        if self.unread_since_s is None:
            return 0.0
        left = self.transport.get_write_buffer_size()
        if left != self._unread_bytes:
            self._unread_bytes, self.unread_since_s = left, now_s
        return now_s - self.unread_since_s


class Crowd:
    """All connections of a server. `waiting`: those without a request in flight, the longest first."""

    def __init__(self, bounds: Bounds, state: ServerState) -> None:
        self.bounds = bounds
        self.state = state
        self.waiting: OrderedDict[Connection, None] = OrderedDict()
        self._present: set[Connection] = set()

    def __len__(self) -> int:
        return len(self._present)

    def arrived(self, newcomer: Connection) -> None:
        if len(self._present) >= self.bounds.connections_max:
            if not self.waiting:
                limit = f"{self.bounds.connections_max} connections"
                newcomer.refuse(503, Unavailable.who, "every connection is in use; try again", limit)
                return
            self._end(next(iter(self.waiting)))
        self._present.add(newcomer)
        self.waiting[newcomer] = None

    def left(self, connection: Connection) -> None:
        self._present.discard(connection)
        self.waiting.pop(connection, None)

    def sweep(self, now_s: float) -> None:
        """End whatever is overdue; and the Date of answers (RFC 9110, 6.6.1)."""
        for connection in [one for one in self._present if one.overdue(now_s, self.bounds)]:
            self._end(connection)
        self.state.default_headers = [(b"date", formatdate(usegmt=True).encode())]

    def _end(self, connection: Connection) -> None:
        self.left(connection)
        connection.transport.abort()

    async def keep_sweeping(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self.sweep(loop.time())
            await asyncio.sleep(min(SWEEP_S, self.bounds.headers_s / 4))
