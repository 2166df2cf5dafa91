"""Connections of the API's server: uvicorn's HTTP/1.1 protocol (httptools) with bounds on time and memory.

Flow: socket -> *Connection* -> app; the *Crowd* knows all connections and ends those that cost without asking.

    waiting  no request in flight: new, between requests, or headers not complete. Ends when the headers took
             `headers_s` (slow-loris) or when a finished connection stays idle for `idle_s`
    busy     headers complete, answer not. Ends when the body comes slower than BODY_BYTES_PER_S after the first
             `headers_s`, or when the client takes longer than `unread_s` for the next 64 KiB of the answer (an SSE
             listener that stalls, or one that reads a byte now and then to keep an answer in memory)

While the server is full, a newcomer takes the place of the connection that no token vouches for longest: it waits, or
its request was refused, or needs no token. The guard vouches for requests of the owner and for as many of guests as
they have a share of (`shares`), which is half of all; so whoever holds connections, however many, only displaces others
of the kind, and the owner comes in.
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
        self.busy = False
        self._begun = False  # a byte of the next request has come
        self._heading = False  # between the first byte of a message and the end of its headers
        self._head_bytes = 0  # since the last headers, body or chunk were complete: of headers, or of what nobody needs
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
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > HEADER_BYTES_MAX:
            self.refuse(431, UsageError.who, "the headers are too long", f"{HEADER_BYTES_MAX} bytes")

    @property
    def vouched(self) -> bool:
        """Whether the guard has let the request in flight through; no where others were sent ahead of its answer."""
        return self.busy and self.cycle is not None and bool(self.cycle.scope.get("qcommons.vouched"))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._heading = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._heading:  # a trailer of a chunked body is no header (RFC 9110, 6.5.1)
            return
        super().on_header(name, value)
        if len(self.headers) > HEADER_BYTES_MAX // 64:
            self.refuse(431, UsageError.who, "too many headers", f"{HEADER_BYTES_MAX // 64} headers")

    def on_headers_complete(self) -> None:
        self._heading = False
        if self.transport.is_closing():
            return
        if len(self.pipeline) >= PIPELINE_MAX:
            self.transport.close()
            return
        if self.parser.should_upgrade():  # the parser drops what came with it, and reads what follows as a new request
            self.refuse(400, UsageError.who, "this node speaks HTTP/1.1 only: leave out Upgrade, and CONNECT")
            return
        self.busy = True
        self.body_bytes = self._head_bytes = 0
        self._restart()
        self.crowd.last(self)
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        self._head_bytes = 0

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        self.body_bytes += len(body)
        if self.cycle is not None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        if self.cycle is not None:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        more = bool(self.pipeline)
        super().on_response_complete()
        if not more and not self.transport.is_closing():
            self.busy = False
            self._begun = self._head_bytes > 0
            self._restart()
            self.crowd.last(self)

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
        if self.unread_since_s is not None and now_s - self.unread_since_s > bounds.unread_s:
            return True
        age_s = now_s - self.since_s
        if not self.busy:
            fresh = self._begun or self.cycle is None
            return age_s > (bounds.headers_s if fresh else bounds.idle_s)
        still_comes = self.cycle is not None and self.cycle.more_body and not self.flow.read_paused
        return still_comes and age_s > bounds.headers_s + self.body_bytes / BODY_BYTES_PER_S


class Crowd:
    """All connections of a server, in the order in which they go for newcomers."""

    def __init__(self, bounds: Bounds, state: ServerState) -> None:
        self.bounds = bounds
        self.state = state
        self._line: OrderedDict[Connection, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._line)

    def arrived(self, newcomer: Connection) -> None:
        if len(self) >= self.bounds.connections_max:
            first = self._first()
            if first is None:
                limit = f"{self.bounds.connections_max} connections"
                newcomer.refuse(503, Unavailable.who, "every connection is in use; try again", limit)
                return
            self._end(first)
        self._line[newcomer] = None

    def last(self, connection: Connection) -> None:
        """Its request has come, or has been answered: to the end of the line."""
        self._line.move_to_end(connection)

    def left(self, connection: Connection) -> None:
        self._line.pop(connection, None)

    def _first(self) -> Connection | None:
        """Whose turn it is to go: the first that nobody vouches for; those before it go to the end of the line."""
        for _ in range(len(self)):
            first = next(iter(self._line))
            if not first.vouched:
                return first
            self.last(first)
        return None

    def sweep(self, now_s: float) -> None:
        """End whatever is overdue; and the Date of answers (RFC 9110, 6.6.1)."""
        for connection in [one for one in self._line if one.overdue(now_s, self.bounds)]:
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
