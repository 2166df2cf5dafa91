"""The routes of the API about asks, one row each; all are the owner's.

Flow: Router -> row -> *handler* -> door.mesh.asks -> Response.
"""

from __future__ import annotations

from starlette.responses import Response

from qcommons.base.errors import UsageError
from qcommons.jobs.asks import RESOURCES, Resource
from qcommons.node.api.ask_records import AskAsked, AskList, AsksQuery, OwnAsk
from qcommons.node.api.call import Call, json_answer
from qcommons.node.api.route import Route

__all__ = ["ASK_ROUTES"]


def _resource(call: Call) -> Resource:
    name = call.path["resource"]
    if name not in RESOURCES:
        known = ", ".join(RESOURCES)
        raise UsageError(f"{name[:40]!r} is no resource; there are: {known}", where="resource", limit=known)
    return name


async def _asks(call: Call) -> Response:
    query = call.query(AsksQuery)
    return json_answer(call.door.mesh.asks.listed(query.resource, everything=query.all))


async def _set(call: Call) -> Response:
    return json_answer(await call.door.mesh.asks.set(_resource(call), await call.body(AskAsked)))


async def _withdraw(call: Call) -> Response:
    return json_answer(await call.door.mesh.asks.withdraw(_resource(call)))


ASK_ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1/asks", _asks, "owner", "The market as this node sees it, cheapest first, and its own asks.",
          AsksQuery, answer=AskList),
    Route("PUT", "/v1/asks/{resource}", _set, "owner",
          "Offer work, ebits, key_bits or slots at a price, in base units for 10^9 units.", body=AskAsked,
          answer=OwnAsk),
    Route("DELETE", "/v1/asks/{resource}", _withdraw, "owner", "Take this node's ask for a resource back.",
          answer=OwnAsk),
)  # fmt: skip
