"""The market as a node sees it, from Python: others' asks, and this node's own.

Flow: `Node.mesh.asks`, `AsyncNode.mesh.asks` -> *Asks, AsyncAsks* -> calls -> HTTP -> the node. All of it is the
owner's. Prices are base units for 10^9 units of the resource.

    with Node.connect() as node:
        for ask in node.mesh.asks.view("work").asks:
            print(ask.node, ask.price_per_giga)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from qcommons.clients.http.calls import Call, part, reading
from qcommons.jobs.asks import Resource
from qcommons.node.api.ask_records import AskAsked, AskList, OwnAsk

__all__ = ["Asks", "AsyncAsks"]


class Asks:
    """Methods raise what those of `Node` do; Unavailable where the mesh is off."""

    def __init__(self, send: Callable[..., Any]) -> None:
        self._send = send

    def view(self, resource: Resource | None = None, *, everything: bool = False) -> AskList:
        """Cheapest first. everything: also asks that cannot be used now, with the reason."""
        found: AskList = self._send(_view(resource, everything))
        return found

    def set(self, resource: Resource, asked: AskAsked) -> OwnAsk:
        own: OwnAsk = self._send(_set(resource, asked))
        return own

    def withdraw(self, resource: Resource) -> OwnAsk:
        own: OwnAsk = self._send(_withdraw(resource))
        return own


class AsyncAsks:
    """`Asks` with `await`."""

    def __init__(self, send: Callable[..., Awaitable[Any]]) -> None:
        self._send = send

    async def view(self, resource: Resource | None = None, *, everything: bool = False) -> AskList:
        found: AskList = await self._send(_view(resource, everything))
        return found

    async def set(self, resource: Resource, asked: AskAsked) -> OwnAsk:
        own: OwnAsk = await self._send(_set(resource, asked))
        return own

    async def withdraw(self, resource: Resource) -> OwnAsk:
        own: OwnAsk = await self._send(_withdraw(resource))
        return own


def _view(resource: Resource | None, everything: bool) -> Call[AskList]:
    query = {"all": "true" if everything else "false"} | ({"resource": resource} if resource else {})
    return Call("GET", "/v1/asks", reading(AskList), query=query)


def _set(resource: Resource, asked: AskAsked) -> Call[OwnAsk]:
    return Call("PUT", f"/v1/asks/{part(resource)}", reading(OwnAsk), body=asked)


def _withdraw(resource: Resource) -> Call[OwnAsk]:
    return Call("DELETE", f"/v1/asks/{part(resource)}", reading(OwnAsk), again=False)
