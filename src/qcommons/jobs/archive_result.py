"""The result of an archived job, derived again from the outcomes of its runs, and compared with the one that is shown.

Flow: Contents (plan, outcomes) -> combine -> assemble -> *result_of* -> JSON; *same* -> where two of them differ.

Sums and products of floats may differ in their last bits between processors (numpy adds in the order that suits
its vectors), so numbers agree within 1e-9; counts, texts and shapes are equal.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

import qcommons.base.text as text
from qcommons.base.errors import PeerError
from qcommons.base.typed import described
from qcommons.engines.records import Answer, Estimate, Want
from qcommons.jobs.archive import Contents
from qcommons.jobs.assemble import assemble
from qcommons.jobs.machine import JobEnded, verdict_of
from qcommons.jobs.outcomes import Done, Outcome
from qcommons.jobs.plan.combine import combined
from qcommons.jobs.records import Phase
from qcommons.jobs.schema import AnyRun, BatchObject, RunObject, batch_object, run_object

__all__ = ["answer_read", "check_shots", "read_result", "rederived", "result_bytes", "result_of", "same"]

RELATIVE, ABSOLUTE = 1e-9, 1e-12


def rederived(contents: Contents) -> tuple[Outcome, ...]:
    """Outcomes of the runs that were asked, from those of the plan's runs. Raises PeerError where some are missing."""
    count = len(contents.head.job.points)
    if len(contents.outcomes) != len(contents.runs.points):
        raise PeerError(
            f"{len(contents.outcomes)} outcomes of {len(contents.runs.points)} runs", where="outcomes.jsonl"
        )
    if contents.plan is None:
        return contents.outcomes
    found = combined(contents.plan, dict(enumerate(contents.outcomes)), partial=True)
    if sorted(found) != list(range(count)):
        raise PeerError(f"{len(found)} of {count} runs have an outcome", where="plan.json")
    return tuple(found[run] for run in range(count))


def result_of(contents: Contents) -> AnyRun | BatchObject:
    """What `qcommons job result --json` prints. Raises PeerError where it cannot be, or ended in another state."""
    head, outcomes = contents.head, rederived(contents)
    state, _ = verdict_of(outcomes)
    if state != head.state:
        raise PeerError(f"the outcomes say {state}; it ended as {head.state}", where="job.json")
    ended = JobEnded(head.job.id, outcomes, Phase(head.state, head.cause, head.ended_ns))
    results = assemble(head.job, ended, head.submitted_ns, shape=head.layout.shape, scalar=head.layout.scalar)
    return run_object(results[0]) if head.layout.single else batch_object(results)


def result_bytes(contents: Contents) -> bytes:
    return msgspec.json.encode(result_of(contents)) + b"\n"


def read_result(contents: Contents) -> tuple[AnyRun, ...]:
    """result.json, a run each. Raises PeerError."""
    try:
        if contents.head.layout.single:
            runs: tuple[AnyRun, ...] = (msgspec.json.decode(contents.result, type=described(AnyRun)),)
        else:
            runs = msgspec.json.decode(contents.result, type=described(BatchObject)).results
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PeerError(f"it is no result: {error}"[:300], where="result.json") from None
    if len(runs) != len(contents.head.job.points):
        raise PeerError(f"{len(runs)} runs; {len(contents.head.job.points)} were asked", where="result.json")
    return runs


def check_shots(counts: Mapping[str, int] | None, where: str) -> None:
    """Raises PeerError: a count that the bytes of an answer, 64 bits each, cannot hold."""
    for bits, shots in (counts or {}).items():
        if not 0 <= shots < 1 << 64:
            raise PeerError(f"{text.shown(shots)} shots of {text.shown(bits)}; allowed 0 to 2^64 - 1", where=where)


def answer_read(shown: AnyRun | Outcome, want: Want) -> Answer | None:
    """The numbers of a run as it is shown, or as it ended; None where there are none. Raises PeerError."""
    if isinstance(shown, Done):
        return shown.execution.answer
    if not isinstance(shown, RunObject):
        return None
    counts = None if shown.counts is None else {bits.replace(" ", ""): n for bits, n in shown.counts.items()}
    check_shots(counts, "counts")
    estimates = None
    if shown.expectations is not None:
        shots = getattr(want, "shots", None)
        estimates = tuple(Estimate(e.value, e.stderr, shots if e.sampled else None) for e in shown.expectations)
    amplitudes = None if shown.amplitudes is None else tuple(shown.amplitudes.values())
    return Answer(
        shown.engine, shown.method, counts=counts, estimates=estimates, amplitudes=amplitudes,
        error_bound=shown.error_bound,
    )  # fmt: skip


def same(again: Any, shown: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """(place, how they differ) of plain data; nothing where it is the same up to rounding."""
    if isinstance(again, dict) and isinstance(shown, dict):
        for key in sorted(again.keys() ^ shown.keys()):
            yield f"{where}.{key}"[:120], "it is in one of the two alone"
        for key in again.keys() & shown.keys():
            yield from same(again[key], shown[key], f"{where}.{key}")
    elif isinstance(again, list | tuple) and isinstance(shown, list | tuple):
        if len(again) != len(shown):
            yield where, f"{len(shown)} of them; {len(again)} follow"
        for place, (one, two) in enumerate(zip(again, shown, strict=False)):
            yield from same(one, two, f"{where}[{place}]")
    elif isinstance(again, float) or isinstance(shown, float):
        if not _close(again, shown):
            yield where, f"{str(shown)[:40]} is shown; {str(again)[:40]} follows"
    elif again != shown:
        yield where, f"{str(shown)[:80]!r} is shown; {str(again)[:80]!r} follows"


def _close(one: Any, two: Any) -> bool:
    numbers = all(type(value) in (int, float) for value in (one, two))
    return numbers and math.isclose(one, two, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
