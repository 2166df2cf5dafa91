"""Events as they happen, over SSE, with a cursor: `id` is the event's seq, and a listener goes on from the next.

Flow: door.events -> *EventStream* -> connection -> EventSource or clients.http. Source: WHATWG HTML, "Server-sent
events". Nothing is queued for a listener: the next event is fetched when the connection took the last one. One
that does not read stalls on its own connection, which the server drops (`connections.py`); it goes on from its cursor.

    id: 41                      first: where it stands, so that a break before the first event loses none
    id: 42 / event: KIND / data: EventView as JSON
    :                           heartbeat
    event: failure / data: Failure as JSON        the stream cannot go on; it ends

A token that was revoked or has expired gets no event more; its stream ends with the next one or the next heartbeat.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from qcommons.base.errors import QCommonsError, UsageError
from qcommons.jobs.outcomes import ErrorInfo
from qcommons.node.api.call import Call
from qcommons.node.api.records import EventView, Failure

__all__ = ["EventStream", "cursor", "event_text"]

RETRY_MS = 1000  # what a browser waits before it connects again
MEDIA = "text/event-stream"


def cursor(call: Call, since: int) -> int:
    """The first seq to send: after Last-Event-ID, which a reconnecting browser sends, else `since`, else the next.

    Raises:
        UsageError: Last-Event-ID is no integer from -1; events of a future that this node has not seen.
    """
    following = call.door.next_seq(call.who)
    first = following if since < 0 else since
    last = call.request.headers.get("last-event-id")
    if last is not None:
        digits = last.removeprefix("-")
        number = int(last) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else -2
        if number < -1:
            raise UsageError(f"{last[:40]!r} is no event id; allowed are integers from -1", where="last-event-id")
        first = number + 1
    if first > following:
        what = f"the next event is {following}, and {first} was asked for: this node's events began anew; start from 0"
        raise UsageError(what, where="since", limit=str(following))
    return first


def event_text(event: EventView | None) -> bytes:
    """One event, or a heartbeat, on the wire."""
    if event is None:
        return b":\n\n"
    data = msgspec.json.encode(event)
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.kind.encode(), data)


class EventStream(Response):
    """Streams until the source ends, the listener goes or the server stops."""

    media_type = MEDIA

    def __init__(self, call: Call, events: AsyncIterator[EventView | None], first: int) -> None:
        super().__init__(b"", media_type=MEDIA)
        del self.headers["content-length"]
        self.headers["x-accel-buffering"] = "no"  # a proxy must pass events on at once
        self._call = call
        self._events = events
        self._first = first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        first = asyncio.ensure_future(self._next())
        tasks: list[asyncio.Future[Any]] = [first]
        try:
            await asyncio.wait({first}, timeout=0)
            if first.done():
                first.result()  # a cursor that is too old is told with a status, as long as that is possible
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if scope["method"] != "HEAD":
                pump = asyncio.ensure_future(self._pump(send, first))
                tasks += [pump, asyncio.ensure_future(self._call.gone()), self._call.closed()]
                await asyncio.wait(tasks[1:], return_when=asyncio.FIRST_COMPLETED)
                if pump.done():
                    pump.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._close()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pump(self, send: Send, first: asyncio.Future[bytes | None]) -> None:
        text: bytes | None = f"retry: {RETRY_MS}\nid: {self._first - 1}\n\n".encode()
        try:
            await send({"type": "http.response.body", "body": text, "more_body": True})
            text = await first
            while text is not None:
                self._call.check_token()
                await send({"type": "http.response.body", "body": text, "more_body": True})
                await asyncio.sleep(0)  # others have their turn; and `send` never waits once the listener has gone
                text = await self._next()
        except QCommonsError as error:
            failure = Failure(ErrorInfo(error.who, error.what, error.where, error.limit))
            body = b"event: failure\ndata: " + msgspec.json.encode(failure) + b"\n\n"
            await send({"type": "http.response.body", "body": body, "more_body": True})

    async def _next(self) -> bytes | None:
        """The next event's text, None at the end."""
        try:
            return event_text(await anext(self._events))
        except StopAsyncIteration:
            return None

    async def _close(self) -> None:
        close = getattr(self._events, "aclose", None)
        if close is not None:
            await close()
