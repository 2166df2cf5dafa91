"""The JSON form of results: what `--json` and `to_json` print, as structs, and its JSON Schema.

Flow: Result, Results -> *RunObject, BatchObject* -> JSON. `python -m qcommons.jobs.schema` prints the
schema; the file docs/schema/run.schema.json holds it, and a test keeps the two equal.
"""

from __future__ import annotations

import sys
from typing import Any, Literal

import msgspec

from qcommons.jobs.outcomes import Done, ErrorInfo
from qcommons.jobs.results import PHYSICS, Result, Results

__all__ = ["BatchObject", "Expectation", "FailedRun", "RunObject", "batch_object", "run_object", "schema_text"]

Physics = Literal["emulated", "hardware", "none"]


class Expectation(msgspec.Struct, frozen=True):
    """<observable> = value +- stderr.

    sampled: the value was estimated from shots; else it was computed and stderr is 0.
    exact: the value was computed and the method's own error, `error_bound` of the run, is 0: right up to the rounding
        of float64. Neither sampled nor exact: computed, off by at most `error_bound`.
    stderr: one standard error, from the spread of the shots. Where all n shots agreed on a term, that
        term adds 2 |coefficient| sqrt(p (1 - p) / n) with p = (n + 1) / (n + 2) instead of 0.
    """

    observable: str
    value: float
    stderr: float
    exact: bool
    sampled: bool


class Register(msgspec.Struct, frozen=True):
    """A classical register and its number of bits."""

    name: str
    size: int


class PredictedCost(msgspec.Struct, frozen=True):
    """Before the run: seconds on one core, bytes beyond the warm worker, machine-independent units."""

    seconds: float
    memory_bytes: int
    work_units: float
    certain: bool


class RunObject(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="status", tag="done"):
    """An answered run: exactly one of counts, expectations and amplitudes is there.

    counts: bitstring -> shots, classical bit 0 rightmost, registers separated by a space, the last declared leftmost.
    registers: those of the bitstrings of `counts`, in order of declaration.
    error_bound: bound or estimate of the method's own error, left out where it is 0: of any value, of the norm of the
        error of the amplitudes, of the total variation of the distribution that counts were drawn from.
    amplitudes: bitstring, qubit 0 rightmost -> [re, im].
    """

    job: str
    counts: dict[str, int] | None = None
    registers: tuple[Register, ...] = ()
    expectations: tuple[Expectation, ...] | None = None
    amplitudes: dict[str, tuple[float, float]] | None = None
    engine: str
    method: str
    reason: str
    predicted_cost: PredictedCost
    seconds: float
    physics: Physics
    program_id: str
    program: str = ""
    values: dict[str, float] = {}
    shots: int | None = None
    seed: int
    error_bound: float = 0.0
    facts: dict[str, float] = {}
    notes: tuple[str, ...] = ()


class _Ended(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="status"):
    job: str | None
    error: ErrorInfo
    program_id: str = ""
    program: str = ""
    values: dict[str, float] = {}
    seed: int | None = None
    notes: tuple[str, ...] = ()


class FailedRun(_Ended, frozen=True, tag="failed"):
    """A run that failed: `error` says who must act, what, where and which limit."""


class RefusedRun(_Ended, frozen=True, tag="refused"):
    """A run that was refused before it began; `error.what` holds the numbers."""


class CancelledRun(_Ended, frozen=True, tag="cancelled"):
    """A run that was stopped because somebody asked."""


KINDS: dict[str, type[FailedRun | RefusedRun | CancelledRun]] = {
    "failed": FailedRun, "refused": RefusedRun, "cancelled": CancelledRun,
}  # fmt: skip
AnyRun = RunObject | FailedRun | RefusedRun | CancelledRun


class BatchObject(msgspec.Struct, frozen=True, kw_only=True):
    """A sweep or a list of programs; `results` in row-major order of `shape`."""

    job: str
    status: Literal["done", "failed", "refused", "cancelled"]
    cause: str
    shape: tuple[int, ...]
    seed: int
    seconds: float
    physics: Physics
    results: tuple[AnyRun, ...]


def run_object(result: Result) -> AnyRun:
    """One run, whatever its end."""
    if not isinstance(result.outcome, Done):
        return _ended(result)
    execution = result.outcome.execution
    answer, cost = execution.answer, execution.predicted
    expectations = amplitudes = None
    if answer.estimates is not None:
        rows = zip(result.observables, answer.estimates, strict=True)
        sure = answer.error_bound == 0
        expectations = tuple(
            Expectation(text, e.value, e.stderr, exact=sure and e.shots is None, sampled=e.shots is not None)
            for text, e in rows
        )
    if answer.amplitudes is not None:
        amplitudes = {bits: (value.real, value.imag) for bits, value in result.amplitudes.items()}
    return RunObject(
        job=result.job,
        counts=None if answer.counts is None else result.counts,
        registers=tuple(Register(name, size) for name, size in execution.cregs),
        expectations=expectations,
        amplitudes=amplitudes,
        engine=answer.engine,
        method=answer.method,
        reason=execution.reason,
        predicted_cost=PredictedCost(cost.seconds, cost.memory_bytes, cost.work_units, cost.certain),
        seconds=execution.seconds,
        physics=PHYSICS,
        program_id=result.program_id,
        program=result.name,
        values=result.values,
        shots=result.shots,
        seed=result.seed,
        error_bound=answer.error_bound,
        facts=answer.facts,
        notes=result.notes,
    )


def _ended(result: Result) -> FailedRun | RefusedRun | CancelledRun:
    error = result.error
    if error is None:
        raise AssertionError("an outcome that is not Done has an error")
    return KINDS[result.status](
        job=result.job,
        error=error,
        program_id=result.program_id,
        program=result.name,
        values=result.values,
        seed=result.seed,
        notes=result.parse_notes,
    )


def batch_object(results: Results) -> BatchObject:
    """A batch with all its runs."""
    return BatchObject(
        job=results.job,
        status=results.status,  # type: ignore[arg-type]
        cause=results.cause,
        shape=results.shape,
        seed=results.seed,
        seconds=results.seconds,
        physics=PHYSICS,
        results=tuple(run_object(run) for run in results),
    )


def schema_text() -> str:
    """The JSON Schema (2020-12) of one run or one batch, as the file holds it."""
    (one, many), components = msgspec.json.schema_components((AnyRun, BatchObject), ref_template="#/$defs/{name}")
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "qcommons run",
        "description": "What `qcommons run --json` prints: one run, or a batch with its runs in `results`.",
        "anyOf": [one, many],
        "$defs": components,
    }
    return msgspec.json.format(msgspec.json.encode(schema, order="deterministic"), indent=2).decode() + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema_text())
