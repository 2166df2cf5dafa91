"""The two transports, sync and async: calls over httpx, tried again where that does no harm.

Flow: Node, AsyncNode -> *Transport, AsyncTransport* -> HTTP over TCP or a unix socket -> the node. Imported when a
node is connected, not before: httpx takes a tenth of a second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeVar

import httpx

from qcommons.base.errors import Unavailable
from qcommons.clients.http.calls import Call, raise_failure
from qcommons.clients.http.sse import EventReader
from qcommons.clients.http.target import START, Target
from qcommons.node.api.records import EventView

__all__ = ["AsyncTransport", "Transport"]

T = TypeVar("T")
DELAYS_S = (0.05, 0.2, 0.5, 1.0, 2.0)  # between tries: a node that restarts takes up to two seconds
CONNECT_S = 5.0
HEARTBEATS_S = 60.0  # the node sends one at least every 15 s; silence means that it has gone
LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=30.0)


class Transport:
    """Safe to use from several threads."""

    def __init__(self, target: Target) -> None:
        self.target = target
        transport = httpx.HTTPTransport(uds=target.socket_path, limits=LIMITS)
        self._http = httpx.Client(transport=transport, **_options(target))

    def close(self) -> None:
        self._http.close()

    def send(self, call: Call[T], *, again: bool = True) -> T:
        """again: try more than once. Raises what `Call.take` does, Unavailable where no node answers."""
        for delay_s in (*DELAYS_S, None):
            try:
                answer = self._http.request(**_sending(call))
            except httpx.TransportError as error:
                if delay_s is None or not again or not _may_repeat(call, error):
                    raise _unanswered(self.target, error) from None
                time.sleep(delay_s)
            else:
                return call.take(answer.status_code, answer.content)
        raise AssertionError("the last try returns or raises")

    def events(self, since: int) -> Iterator[EventView]:
        reader = EventReader(since)
        failures = 0
        while True:
            try:
                with self._http.stream(**_streaming(reader.since)) as answer:
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
                    raise _unanswered(self.target, error) from None
            time.sleep(DELAYS_S[min(failures, len(DELAYS_S) - 1)])
            failures += 1


class AsyncTransport:
    """The same on the running event loop."""

    def __init__(self, target: Target) -> None:
        self.target = target
        transport = httpx.AsyncHTTPTransport(uds=target.socket_path, limits=LIMITS)
        self._http = httpx.AsyncClient(transport=transport, **_options(target))

    async def close(self) -> None:
        await self._http.aclose()

    async def send(self, call: Call[T], *, again: bool = True) -> T:
        for delay_s in (*DELAYS_S, None):
            try:
                answer = await self._http.request(**_sending(call))
            except httpx.TransportError as error:
                if delay_s is None or not again or not _may_repeat(call, error):
                    raise _unanswered(self.target, error) from None
                await asyncio.sleep(delay_s)
            else:
                return call.take(answer.status_code, answer.content)
        raise AssertionError("the last try returns or raises")

    async def events(self, since: int) -> AsyncIterator[EventView]:
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
                    raise _unanswered(self.target, error) from None
            await asyncio.sleep(DELAYS_S[min(failures, len(DELAYS_S) - 1)])
            failures += 1


def _options(target: Target) -> dict[str, Any]:
    """Arguments of both clients. No proxy of the environment is asked: the token is for the node alone."""
    headers = {"authorization": f"Bearer {target.token}"} if target.token else {}
    return {"base_url": target.base_url, "headers": headers, "trust_env": False, "follow_redirects": False}


def _sending(call: Call[Any]) -> dict[str, Any]:
    """Arguments of `request`."""
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
    return {
        "method": "GET",
        "url": "/v1/events",
        "params": {"since": since},
        "headers": {"accept": "text/event-stream"},
        "timeout": httpx.Timeout(HEARTBEATS_S, connect=CONNECT_S),
    }


def _may_repeat(call: Call[Any], error: httpx.TransportError) -> bool:
    """Nothing was sent, or sending it twice does no harm. A node that is silent is not asked again."""
    if isinstance(error, httpx.ConnectError):
        return True
    return call.again and not isinstance(error, httpx.TimeoutException)


def _unanswered(target: Target, error: httpx.TransportError) -> Unavailable:
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return Unavailable(f"no node answers; {START}", where=target.url)
    if isinstance(error, httpx.TimeoutException):
        return Unavailable("the node does not answer in time; `qcommons logs` may say why", where=target.url)
    return Unavailable(f"the connection broke ({type(error).__name__}); try again", where=target.url)
