"""The answer of an ended job in the forms clients take: JSON for people and programs, msgpack for typed clients.

Flow: door -> (Spec, Answered) -> jobs.assemble -> *run or batch object, AnsweredRuns* -> bytes. A large answer is
made in a thread, so that others are served meanwhile.
"""

from __future__ import annotations

import asyncio

import msgspec

from qcommons.jobs.assemble import assemble
from qcommons.jobs.machine import JobEnded
from qcommons.jobs.outcomes import Done
from qcommons.jobs.results import Results
from qcommons.jobs.schema import batch_object, run_object
from qcommons.node.api.records import AnsweredRuns
from qcommons.node.records import Answered, Spec

__all__ = ["as_json", "as_msgpack", "result_bytes"]

INLINE_NUMBERS = 1_000  # counts, estimates and amplitudes of an answer that is made at once (about a millisecond)


async def result_bytes(spec: Spec, answered: Answered, *, msgpack: bool) -> bytes:
    make = as_msgpack if msgpack else as_json
    if _numbers(answered) <= INLINE_NUMBERS:
        return make(spec, answered)
    return await asyncio.to_thread(make, spec, answered)


def as_json(spec: Spec, answered: Answered) -> bytes:
    """docs/schema/run.schema.json."""
    results = _results(spec, answered)
    return msgspec.json.encode(run_object(results[0]) if spec.form.single else batch_object(results))


def as_msgpack(spec: Spec, answered: Answered) -> bytes:
    """`AnsweredRuns`."""
    results = _results(spec, answered)
    runs = AnsweredRuns(
        job=results.job, status=results.status, cause=results.cause, seed=results.seed, seconds=results.seconds,
        shape=results.shape, single=spec.form.single, runs=tuple(results),
    )  # fmt: skip
    return msgspec.msgpack.encode(runs)


def _results(spec: Spec, answered: Answered) -> Results:
    ended = JobEnded(answered.job_id, answered.outcomes, answered.phase)
    return assemble(spec.job, ended, answered.submitted_ns, shape=spec.form.shape, scalar=spec.form.scalar)


def _numbers(answered: Answered) -> int:
    count = len(answered.outcomes)
    for outcome in answered.outcomes:
        if isinstance(outcome, Done):
            answer = outcome.execution.answer
            count += len(answer.counts or ()) + len(answer.estimates or ()) + len(answer.amplitudes or ())
    return count
