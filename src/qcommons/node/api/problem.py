"""Failures as HTTP: which status an error gets, and the body that says who must act.

Flow: handlers, guard -> error -> *Problems* -> status and `Failure` as JSON, with the security headers of every
answer. Outermost of the app, so that nothing else ever answers. Statuses: RFC 9110, section 15.

    UsageError           400; 404 where what was named is not there
    Unavailable          503 with Retry-After; 422 where numbers refuse it (exit code 3); 409 not ended yet
    Corrupt, anything    500 with an id that stands in the log; the reason is told to the owner only
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Sequence

import msgspec
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from qcommons.base.errors import Corrupt, QCommonsError, Unavailable, UsageError
from qcommons.jobs.outcomes import ErrorInfo, Tried
from qcommons.node.api.door import OWNER
from qcommons.node.api.records import Failure

__all__ = ["STATUSES", "HttpFailure", "Problems", "failure_of", "log_fault", "missing"]

Headers = list[tuple[bytes, bytes]]
OnFault = Callable[[str, BaseException], None]  # id, what happened
NOT_THERE = frozenset({"job", "peer", "token", "setting"})  # `where` of a UsageError that means 404
REFUSED_EXIT_CODE = 3
RETRY_AFTER_S = 2
PIECE_BYTES = 1 << 16  # at once to the connection, which waits until each is taken (`connections.Bounds.unread_s`)
LINGER_S = 2.0  # a refused upload is read and thrown away this long, so that its sender sees the answer
STATUSES = {
    400: "the request is not what it should be; `where` names the field",
    401: "no token, or a wrong or expired one",
    403: "this token may not do that, or the request came from another site",
    404: "there is no such thing",
    405: "the path has no such method",
    409: "the job has not ended yet",
    413: "the body is too long",
    415: "the body is not JSON",
    422: "refused with numbers: limits, policy or the planner",
    429: "this guest has its share of requests, event streams or uploads already; `limit` says how much that is",
    500: "the node's own fault; the id stands in its log",
    503: "not now: the node drains, its queue is full, its disk is",
}
SECURITY: Headers = [
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]


class HttpFailure(Exception):
    """An answer that is no success: `status` with its error and headers."""

    def __init__(self, status: int, error: ErrorInfo, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(error.what)
        self.status = status
        self.error = error
        self.headers = list(headers)


def missing(what: str, where: str) -> HttpFailure:
    return HttpFailure(404, ErrorInfo(UsageError.who, what, where))


def log_fault(fault_id: str, error: BaseException) -> None:
    """Where a fault goes unless the shell says otherwise: the log, with its traceback."""
    logging.getLogger("qcommons.api").error("fault %s", fault_id, exc_info=error)


def failure_of(error: Exception, *, owner: bool, on_fault: OnFault) -> HttpFailure:
    """What the client is told of an error. owner: whether it may hear what broke inside."""
    match error:
        case HttpFailure():
            return error
        case UsageError():
            return HttpFailure(404 if error.where in NOT_THERE else 400, _info(error))
        case Unavailable() if error.exit_code == REFUSED_EXIT_CODE:
            return HttpFailure(422, _info(error))
        case Unavailable():
            return HttpFailure(503, _info(error), [(b"retry-after", str(RETRY_AFTER_S).encode())])
        case _:
            fault_id = f"fault_{secrets.token_hex(8)}"
            on_fault(fault_id, error)
            known = isinstance(error, Corrupt) and owner
            what = str(error) if known else "the node failed; look for this id in its log (`qcommons logs`)"
            return HttpFailure(500, ErrorInfo(Corrupt.who, f"{what} [{fault_id}]", fault_id))


def _info(error: QCommonsError) -> ErrorInfo:
    return ErrorInfo(error.who, error.what, error.where, error.limit, tuple(Tried(*row) for row in error.tried))


class Problems:
    """ASGI: runs `app`; every answer gets the security headers, every error becomes a `Failure`."""

    def __init__(self, app: ASGIApp, on_fault: OnFault = log_fault) -> None:
        self._app = app
        self._on_fault = on_fault

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = _Exchange(scope, receive, send)
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            return
        except Exception as error:
            owner = scope.get("qcommons.who") == OWNER
            failure = failure_of(error, owner=owner, on_fault=self._on_fault)
            if exchange.started:
                raise ConnectionAbortedError("the answer broke off") from error  # the server closes the connection
            await exchange.fail(failure)


class _Exchange:
    """One request and its answer: what of them has been seen."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.started = False
        self._receive = receive
        self._send = send
        self._unread = any(
            name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0"))
            for name, value in scope["headers"]
        )

    async def receive(self) -> Message:
        message = await self._receive()
        self._unread = self._unread and message["type"] == "http.request" and message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            message["headers"] = [*message["headers"], *SECURITY]
        body = message.get("body", b"")
        for start in range(0, len(body) - PIECE_BYTES, PIECE_BYTES):
            await self._send({**message, "body": body[start : start + PIECE_BYTES], "more_body": True})
        if len(body) > PIECE_BYTES:
            message["body"] = body[-(len(body) % PIECE_BYTES or PIECE_BYTES) :]
        await self._send(message)

    async def fail(self, failure: HttpFailure) -> None:
        body = msgspec.json.encode(Failure(failure.error))
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if self._unread:
            headers.append((b"connection", b"close"))
        start = {"type": "http.response.start", "status": failure.status, "headers": [*headers, *failure.headers]}
        await self.send(start)
        await self.send({"type": "http.response.body", "body": body, "more_body": self._unread})
        if self._unread:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER_S):
                    while self._unread:
                        await self.receive()
            await self.send({"type": "http.response.body", "body": b"", "more_body": False})
