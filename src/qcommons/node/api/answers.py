"""The answer of an ended job in the forms clients take: JSON for people and programs, msgpack for typed clients.

Flow: door -> KeptAnswer -> *AnswerResponse*, piece by piece -> connection. A run is decoded when its turn comes and
forgotten when it is sent; for msgpack it is passed on as it lies on disk. So an answer holds its bytes and one run, and
whoever reads slowly no more than that; how many bytes of answers may be held at once is the share of their reader.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from qcommons.jobs.assemble import assemble
from qcommons.jobs.machine import JobEnded
from qcommons.jobs.outcomes import Done
from qcommons.jobs.results import PHYSICS, Result, Results
from qcommons.jobs.schema import BatchObject, RunObject, run_object
from qcommons.node.answered import ROWS, AnsweredParts, KeptAnswer, opened, pairs_of
from qcommons.node.api.call import Call
from qcommons.node.api.records import AnsweredRuns
from qcommons.node.records import Answered, Spec

__all__ = ["AnswerResponse", "json_parts", "msgpack_parts"]

INLINE_BYTES = 1 << 16  # smaller answers are made at once (about a millisecond)
PIECE_BYTES = 1 << 18  # made in a thread while others are served
MSGPACK_ARRAY_32 = b"\xdd"
_json = msgspec.json.Encoder().encode
_pack = msgspec.msgpack.Encoder().encode

Parts = Callable[[Spec, Answered | AnsweredParts], Iterator[bytes]]


class AnswerResponse(Response):
    """kept: where the answer to this call lies. Takes its share for as long as it is sent (`scope["qcommons.taken"]`,
    see guard), and ends when the caller goes."""

    def __init__(self, kept: KeptAnswer, call: Call, *, media: str, msgpack: bool, location: str) -> None:
        super().__init__(b"", headers={"location": location}, media_type=media)
        self._kept, self._call = kept, call
        self._parts = msgpack_parts if msgpack else json_parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._kept.size_bytes <= INLINE_BYTES:
            self.body = b"".join(self._parts(*self._kept.read()))
            self.headers["content-length"] = str(len(self.body))
            await super().__call__(scope, receive, send)
            return
        with scope["qcommons.taken"]({"answer_bytes": self._kept.size_bytes}):
            pieces = await self._call.in_thread(partial(_begun, self._parts, self._kept))
            first = await self._call.in_thread(partial(next, pieces, b""))
            del self.headers["content-length"]
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            piece = b"" if scope["method"] == "HEAD" else first
            gone = asyncio.ensure_future(self._call.gone())
            try:
                while piece and not gone.done():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                    piece = await self._call.in_thread(partial(next, pieces, b""))
            finally:
                gone.cancel()
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def _begun(parts: Parts, kept: KeptAnswer) -> Iterator[bytes]:
    return _pieces(parts(*kept.read()))


def _pieces(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of about `PIECE_BYTES`, none of them empty."""
    gathered: list[bytes] = []
    size = 0
    for part in parts:
        gathered.append(part)
        size += len(part)
        if size >= PIECE_BYTES:
            yield b"".join(gathered)
            gathered, size = [], 0
    if size:
        yield b"".join(gathered)


def json_parts(spec: Spec, answered: Answered | AnsweredParts) -> Iterator[bytes]:
    """docs/schema/run.schema.json."""
    results = _results(spec, answered)
    if spec.form.single:
        yield from _run_json(results[0])
        return
    batch = BatchObject(
        job=results.job, status=results.status, cause=results.cause, shape=results.shape,  # type: ignore[arg-type]
        seed=results.seed, seconds=results.seconds, physics=PHYSICS, results=(),
    )  # fmt: skip
    yield _json(batch).removesuffix(b"]}")  # the last field are the results
    for place, result in enumerate(results):
        if place:
            yield b","
        yield from _run_json(result)
    yield b"]}"


def _run_json(result: Result) -> Iterator[bytes]:
    """One run; many amplitudes or counts apart from the rest, as many at once as `ROWS`."""
    outcome, packed = opened(result.outcome)
    result = msgspec.structs.replace(result, outcome=outcome)
    answer = outcome.execution.answer if isinstance(outcome, Done) else None
    if packed is not None:
        yield from _with_rows(result, "amplitudes", _amplitudes(result, packed))
    elif answer is not None and len(answer.counts or ()) > ROWS:
        yield from _with_rows(result, "counts", iter(result.counts.items()))
    else:
        yield _json(run_object(result))


def _with_rows(result: Result, name: str, rows: Iterator[tuple[str, Any]]) -> Iterator[bytes]:
    """The object of an answered run, with these rows where its field `name` is."""
    assert isinstance(result.outcome, Done)
    execution = result.outcome.execution
    bare = msgspec.structs.replace(execution, answer=msgspec.structs.replace(execution.answer, counts=None))
    shown = run_object(msgspec.structs.replace(result, outcome=Done(bare)))
    assert isinstance(shown, RunObject)
    place = b'"%s":{' % name.encode()  # in texts a quote is escaped, so this is the field
    head, _, tail = _json(msgspec.structs.replace(shown, **{name: {}})).partition(place)
    yield head + place
    first = True
    while some := dict(islice(rows, ROWS)):
        yield (b"" if first else b",") + _json(some)[1:-1]
        first = False
    yield tail


def _amplitudes(result: Result, packed: msgspec.Raw) -> Iterator[tuple[str, tuple[float, float]]]:
    """As `Result.amplitudes`, one after the other."""
    pairs = pairs_of(packed)
    if result.bitstrings:
        return zip(result.bitstrings, pairs, strict=True)
    return ((format(index, f"0{result.n_qubits}b"), pair) for index, pair in enumerate(pairs))


def msgpack_parts(spec: Spec, answered: Answered | AnsweredParts) -> Iterator[bytes]:
    """`AnsweredRuns`; the runs, its last field, one after the other."""
    results = _results(spec, answered)
    runs = AnsweredRuns(
        job=results.job, status=results.status, cause=results.cause, seed=results.seed, seconds=results.seconds,
        shape=results.shape, single=spec.form.single, runs=(),
    )  # fmt: skip
    yield _pack(runs)[:-1] + MSGPACK_ARRAY_32 + len(results).to_bytes(4)  # in place of the empty array
    for result in results:
        yield _pack(result)


def _results(spec: Spec, answered: Answered | AnsweredParts) -> Results:
    """Its runs have their outcomes as they are kept: decoded or not."""
    ended = JobEnded(answered.job_id, answered.outcomes, answered.phase)  # type: ignore[arg-type]
    return assemble(spec.job, ended, answered.submitted_ns, shape=spec.form.shape, scalar=spec.form.scalar)
