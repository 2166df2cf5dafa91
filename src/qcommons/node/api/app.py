"""The API as one ASGI application.

Flow: server -> *Api* = Problems(Guard(Router)) -> handler -> door.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from starlette.requests import Request
from starlette.routing import compile_path
from starlette.types import Receive, Scope, Send

from qcommons.base.errors import UsageError
from qcommons.base.ids import JOB
from qcommons.jobs.outcomes import ErrorInfo
from qcommons.node.api.call import Call
from qcommons.node.api.door import OWNER, Door
from qcommons.node.api.guard import BODY_BYTES_MAX, Guard
from qcommons.node.api.problem import HttpFailure, OnFault, Problems, log_fault, missing
from qcommons.node.api.queries import NoQuery
from qcommons.node.api.records import Submission
from qcommons.node.api.routes import EVENTS, ROUTES, Route
from qcommons.node.api.shares import SUBMISSION_BYTES_MAX
from qcommons.node.turns import Turns

__all__ = ["Api"]


class Api:
    """hosts: further names the node is called by (a public address needs them). on_fault: hears of every error that
    is ours, with the id the client got; by default the log does. `close` ends long answers (events, waits)."""

    def __init__(self, door: Door, *, hosts: Iterable[str] = (), on_fault: OnFault = log_fault) -> None:
        self._closing = asyncio.Event()
        self._router = router = Router(door, self._closing)
        guard = Guard(
            router,
            door.principal_of,
            open_paths=[row.path for row in ROUTES if row.who == "open"],
            streams=[row.path for row in ROUTES if EVENTS in row.media],
            body_bytes=_body_bytes,
            hosts=hosts,
        )
        self._app = Problems(guard, on_fault)

    def close(self) -> None:
        self._closing.set()
        self._router.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


SUBMISSION_PATHS = frozenset((row.method, row.path) for row in ROUTES if row.body is Submission)


def _body_bytes(method: str, path: str) -> int:
    return SUBMISSION_BYTES_MAX if (method, path) in SUBMISSION_PATHS else BODY_BYTES_MAX


THREADS = 3  # for long bodies and answers: one is always the owner's; more would only take the interpreter in turns


class Router:
    """ASGI: method and path to the row, the row's right checked, its handler called."""

    def __init__(self, door: Door, closing: asyncio.Event) -> None:
        self._door = door
        self._closing = closing
        self._turns = Turns(THREADS, "being answered")
        self._fixed: dict[str, dict[str, Route]] = {}
        self._patterns = []
        for path in dict.fromkeys(row.path for row in ROUTES):
            methods = {row.method: row for row in ROUTES if row.path == path}
            if "GET" in methods:
                methods["HEAD"] = methods["GET"]  # RFC 9110, 9.1: both or neither; the server drops the body
            if "{" in path:
                self._patterns.append((compile_path(path)[0], methods))
            else:
                self._fixed[path] = methods

    def close(self) -> None:
        self._turns.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        row, values = self._find(scope["method"], scope["path"])
        who: str | None = scope["qcommons.who"]
        if row.who == "owner" and who != OWNER:
            what = f"{row.method} {row.path} is for the owner of the node; this token is of {who!r}"
            raise HttpFailure(403, ErrorInfo(UsageError.who, what, "token"))
        call = Call(Request(scope, receive), self._door, who or "", values, self._closing, self._turns)
        if "job" in values and not JOB.fullmatch(values["job"]):
            raise missing(f"{values['job'][:80]!r} is no job id: job_ and 16 characters of a-z2-7", "job")
        if row.query is NoQuery:
            call.query(NoQuery)
        response = await row.handler(call)
        await response(scope, receive, send)

    def _find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        values: dict[str, str] = {}
        methods = self._fixed.get(path)
        if methods is None:
            for pattern, candidates in self._patterns:
                match = pattern.match(path)
                if match is not None:
                    methods, values = candidates, match.groupdict()
                    break
        if methods is None:
            raise missing(f"no path {path[:80]!r}; /openapi.json lists all", "path")
        row = methods.get(method)
        if row is None:
            allowed = ", ".join(sorted(methods))
            error = ErrorInfo(UsageError.who, f"{method[:20]} is not for {path[:80]}; allowed: {allowed}", "method")
            raise HttpFailure(405, error, [(b"allow", allowed.encode())])
        return row, values
