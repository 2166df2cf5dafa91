"""One row of the API: what a route is.

Flow: *Route* rows (`routes`, `mesh_routes`) -> Router, OpenAPI, docs/api.md.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal, NamedTuple

from starlette.responses import Response

from qcommons.node.api.call import Call
from qcommons.node.api.queries import NoQuery

__all__ = ["Route", "Who"]

Who = Literal["owner", "principal", "open"]


class Route(NamedTuple):
    """One row.

    who may: "owner" (the owner's own token), "principal" (any valid token; sees its own jobs), "open" (no token).
    query, body: struct of the parameters and of the JSON body. answer: type of the JSON body of success, or several;
    `media`: its content types where JSON is not the only one. errors: statuses beside those that every such route may
    answer.
    """

    method: str
    path: str
    handler: Callable[[Call], Awaitable[Response]]
    who: Who
    summary: str
    query: type[Any] = NoQuery
    body: type[Any] | None = None
    answer: Any = None
    media: tuple[str, ...] = ()
    status: int = 200
    errors: tuple[int, ...] = ()
