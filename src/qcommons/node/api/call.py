"""One request as the handlers see it: who asks, of which door, with which parameters and body.

Flow: Router -> *Call* -> handler -> Response. Parameters and bodies are decoded strictly into typed structs
before a handler acts: an unknown field, a wrong type or a value out of range is a UsageError whose `where` is the
path of the field ("$.programs[0].qasm") or "query.NAME". Nesting is bounded by the types: the decoder goes down
only where a field of the struct does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from qcommons.base.errors import UsageError
from qcommons.base.typed import described
from qcommons.jobs.outcomes import ErrorInfo
from qcommons.node.api.door import Door
from qcommons.node.api.problem import HttpFailure
from qcommons.node.api.records import JobView
from qcommons.node.api.values import check_values
from qcommons.node.turns import Turns

__all__ = ["JSON", "MSGPACK", "Call", "json_answer"]

T = TypeVar("T")
JSON = "application/json"
MSGPACK = "application/msgpack"
QUICK_S = 0.05  # within which nobody looks whether the caller is still there
INLINE_BYTES = 256 << 10  # longer bodies are decoded in a thread, so that others are served meanwhile


class Call:
    """door: the node. who: the principal, "" on open paths. path: the values in the path. closing: set when the
    server stops; long answers end then. turns: at threads, of all calls."""

    def __init__(
        self, request: Request, door: Door, who: str, path: dict[str, str], closing: asyncio.Event, turns: Turns
    ) -> None:
        self._turns = turns
        self.request = request
        self.door = door
        self.who = who
        self.path = path
        self.closing = closing

    def query(self, kind: type[T]) -> T:
        """The parameters after "?". Raises UsageError."""
        pairs = self.request.query_params.multi_items()
        given = dict(pairs)
        if len(given) < len(pairs):
            raise UsageError("a parameter is given twice; once is allowed", where="query")
        try:
            return msgspec.convert(given, described(kind), strict=False)
        except msgspec.ValidationError as error:
            what, where = _what_and_where(error, "query")
            raise UsageError(what, where=where.replace("$", "query")) from None

    async def body(self, kind: type[T]) -> T:
        """The JSON body; an empty one means every default, where all fields have one. Raises UsageError."""
        raw = await self.request.body()
        sent = self.request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
        if raw and sent != JSON:
            what = f"content-type {sent[:80]!r}; send {JSON}"
            raise HttpFailure(415, ErrorInfo(UsageError.who, what, "content-type"))
        if len(raw) > INLINE_BYTES:
            return await self.in_thread(partial(_decode, raw, kind))
        return _decode(raw or b"{}", kind)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """What takes longer than others should wait, when it is this caller's turn. Raises Unavailable."""
        return await self._turns.run(self.who, work)

    async def ended(self, job: str, wait_s: float) -> JobView:
        """The job once it has ended; as it is after `wait_s`, and at once if the caller goes or the server stops."""
        if wait_s <= 0:
            return self.door.job(job, self.who)
        view = await self._unless_over(self.door.ended(job, self.who, wait_s))
        return self.door.job(job, self.who) if view is None else view

    async def _unless_over(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What `work` returns; None if the caller went or the server stops before."""
        task = asyncio.ensure_future(work)
        tasks: list[asyncio.Future[Any]] = [task]
        try:
            await asyncio.wait(tasks, timeout=QUICK_S)
            if not task.done():
                tasks += [asyncio.ensure_future(self.gone()), self.closed()]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            if len(tasks) > 1 or not task.done():
                for one in tasks:
                    one.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def check_token(self) -> None:
        """For answers that go on. Raises UsageError if the token was revoked or has expired meanwhile."""
        if not self.request.scope["qcommons.valid"]():
            raise UsageError("the token was revoked or has expired", where="token")

    def closed(self) -> asyncio.Future[Any]:
        """Done when the server stops."""
        return asyncio.ensure_future(self.closing.wait())

    async def gone(self) -> None:
        """Returns when the caller has closed the connection."""
        await self.request.body()
        while (await self.request.receive())["type"] != "http.disconnect":
            pass


def json_answer(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type=JSON)


def _decode(raw: bytes, kind: type[T]) -> T:
    check_values(raw)
    try:
        return msgspec.json.decode(raw, type=described(kind))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:  # the first includes ValidationError
        what, where = _what_and_where(error, "body")
        raise UsageError(what, where=where) from None


def _what_and_where(error: Exception, default: str) -> tuple[str, str]:
    """msgspec says "Expected `int`, got `str` - at `$.shots`"."""
    what, found, place = str(error).rpartition(" - at `")
    return (what, place.rstrip("`")) if found else (str(error), default)
