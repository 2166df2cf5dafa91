"""The two transports, sync and async: calls, tried again where that does no harm.

Flow: Node, AsyncNode -> *Transport, AsyncTransport* -> HTTP over TCP or a unix socket -> the node. Sync calls go over
the standard library (`plain.py`); httpx, which takes a tenth of a second to import, carries the rest.
"""

from __future__ import annotations

import asyncio
import http.client
import time
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from qcommons.base.errors import Unavailable
from qcommons.clients.http.calls import Call, raise_failure
from qcommons.clients.http.plain import Connections, NotConnected
from qcommons.clients.http.sse import EventReader
from qcommons.clients.http.target import START, Target
from qcommons.node.api.records import EventView

if TYPE_CHECKING:
    import httpx

__all__ = ["AsyncTransport", "Transport"]

T = TypeVar("T")
DELAYS_S = (0.05, 0.2, 0.5, 1.0, 2.0)  # between tries: a node that restarts takes up to two seconds
CONNECT_S = 5.0
HEARTBEATS_S = 60.0  # the node sends one at least every 15 s; silence means that it has gone
CONNECTIONS_MAX, KEPT_MAX, KEPT_S = 100, 20, 30.0


class Transport:
    """Safe to use from several threads."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._connections = Connections(target, CONNECT_S)

    def close(self) -> None:
        self._connections.close()

    def send(self, call: Call[T], *, again: bool = True) -> T:
        """again: try more than once. Raises what `Call.take` does, Unavailable where no node answers."""
        path = f"{call.path}?{urlencode(call.query)}" if call.query else call.path
        for delay_s in (*DELAYS_S, None):
            try:
                answer = self._connections.request(call.method, path, call.body, call.headers, call.timeout_s)
            except (OSError, http.client.HTTPException) as error:
                if delay_s is None or not again or not _may_repeat(call, error):
                    raise _unanswered(self.target, error) from None
                time.sleep(delay_s)
            else:
                return call.take(answer.status, answer.body)
        raise AssertionError("the last try returns or raises")

    def events(self, since: int) -> Iterator[EventView]:
        import httpx

        reader = EventReader(since)
        failures = 0
        transport = httpx.HTTPTransport(uds=self.target.socket_path)
        with httpx.Client(transport=transport, **_options(self.target)) as client:
            while True:
                try:
                    with client.stream(**_streaming(reader.since)) as answer:
                        if answer.status_code != 200:
                            raise_failure(answer.status_code, answer.read())
                        reader.restart()
                        for line in answer.iter_lines():
                            failures = 0
                            event = reader.take(line)
                            if event is not None:
                                yield event
                except httpx.TransportError as error:
                    if failures == len(DELAYS_S):
                        raise _unanswered(self.target, _plain(error)) from None
                time.sleep(DELAYS_S[min(failures, len(DELAYS_S) - 1)])
                failures += 1


class AsyncTransport:
    """The same on the running event loop."""

    def __init__(self, target: Target) -> None:
        import httpx

        self.target = target
        limits = httpx.Limits(
            max_connections=CONNECTIONS_MAX, max_keepalive_connections=KEPT_MAX, keepalive_expiry=KEPT_S
        )
        transport = httpx.AsyncHTTPTransport(uds=target.socket_path, limits=limits)
        self._http: httpx.AsyncClient = httpx.AsyncClient(transport=transport, **_options(target))

    async def close(self) -> None:
        await self._http.aclose()

    async def send(self, call: Call[T], *, again: bool = True) -> T:
        import httpx

        for delay_s in (*DELAYS_S, None):
            try:
                answer = await self._http.request(**_sending(call))
            except httpx.TransportError as error:
                if delay_s is None or not again or not _may_repeat(call, _plain(error)):
                    raise _unanswered(self.target, _plain(error)) from None
                await asyncio.sleep(delay_s)
            else:
                return call.take(answer.status_code, answer.content)
        raise AssertionError("the last try returns or raises")

    async def events(self, since: int) -> AsyncIterator[EventView]:
        import httpx

        reader = EventReader(since)
        failures = 0
        while True:
            try:
                async with self._http.stream(**_streaming(reader.since)) as answer:
                    if answer.status_code != 200:
                        raise_failure(answer.status_code, await answer.aread())
                    reader.restart()
                    async for line in answer.aiter_lines():
                        failures = 0
                        event = reader.take(line)
                        if event is not None:
                            yield event
            except httpx.TransportError as error:
                if failures == len(DELAYS_S):
                    raise _unanswered(self.target, _plain(error)) from None
            await asyncio.sleep(DELAYS_S[min(failures, len(DELAYS_S) - 1)])
            failures += 1


def _options(target: Target) -> dict[str, Any]:
    """Arguments of the clients. No proxy of the environment is asked: the token is for the node alone."""
    headers = {"authorization": f"Bearer {target.token}"} if target.token else {}
    return {"base_url": target.base_url, "headers": headers, "trust_env": False, "follow_redirects": False}


def _sending(call: Call[Any]) -> dict[str, Any]:
    """Arguments of `request`."""
    import httpx

    return {
        "method": call.method,
        "url": call.path,
        "params": call.query,
        "content": call.body,
        "headers": call.headers,
        "timeout": httpx.Timeout(call.timeout_s, connect=CONNECT_S),
    }


def _streaming(since: int) -> dict[str, Any]:
    """Arguments of `stream` for events."""
    import httpx

    return {
        "method": "GET",
        "url": "/v1/events",
        "params": {"since": since},
        "headers": {"accept": "text/event-stream"},
        "timeout": httpx.Timeout(HEARTBEATS_S, connect=CONNECT_S),
    }


def _plain(error: httpx.TransportError) -> OSError:
    """httpx's error as the standard library's client would have raised it."""
    import httpx

    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return NotConnected(str(error))
    return TimeoutError(str(error)) if isinstance(error, httpx.TimeoutException) else ConnectionError(str(error))


def _may_repeat(call: Call[Any], error: Exception) -> bool:
    """Nothing was sent, or sending it twice does no harm. A node that is silent is not asked again."""
    return isinstance(error, NotConnected) or (call.again and not isinstance(error, TimeoutError))


def _unanswered(target: Target, error: Exception) -> Unavailable:
    if isinstance(error, NotConnected):
        return Unavailable(f"no node answers; {START}", where=target.url)
    if isinstance(error, TimeoutError):
        return Unavailable("the node does not answer in time; `qcommons logs` may say why", where=target.url)
    return Unavailable(f"the connection broke ({type(error).__name__}); try again", where=target.url)
