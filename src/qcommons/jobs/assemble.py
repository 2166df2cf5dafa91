"""From outcomes to results: each point of a job gets its outcome, its story and its labels.

Flow: JobEnded (machine) -> *assemble* -> Results. Error bars are computed where they are shown, from
the counts or estimates (`results.py`); nothing is rounded here.
"""

from __future__ import annotations

from collections.abc import Sequence

from qcommons.base.clock import elapsed_s
from qcommons.engines.records import Amplitudes, Counts, Expectations, Slices, Statevector, Want
from qcommons.jobs.machine import JobEnded
from qcommons.jobs.outcomes import Outcome
from qcommons.jobs.records import Job
from qcommons.jobs.results import Result, Results

__all__ = ["assemble"]

WANTED = {
    Counts: "counts", Expectations: "expectations", Amplitudes: "amplitudes", Statevector: "a statevector",
    Slices: "slices",
}  # fmt: skip


def assemble(job: Job, ended: JobEnded, accepted_ns: int, *, shape: Sequence[int], scalar: bool) -> Results:
    """Results of an ended job.

    shape: grid of the points. scalar: one observable was asked, not a list of them.
    """
    runs = [_result(job, index, outcome, scalar) for index, outcome in enumerate(ended.outcomes)]
    return Results(
        runs,
        job=job.id,
        seed=job.seed,
        status=ended.phase.state,
        cause=ended.phase.cause,
        seconds=elapsed_s(accepted_ns, ended.phase.since_ns),
        shape=tuple(shape),
    )


def _result(job: Job, index: int, outcome: Outcome, scalar: bool) -> Result:
    point = job.points[index]
    card, want = job.programs[point.program], job.wants[point.program]
    return Result(
        job=job.id,
        index=index,
        program=point.program,
        program_id=card.program_id,
        name=card.name,
        n_qubits=card.n_qubits,
        values=point.values,
        seed=point.seed,
        shots=_shots(want),
        observables=tuple(sum_.text for sum_ in want.observables) if isinstance(want, Expectations) else (),
        scalar=scalar,
        bitstrings=want.bitstrings if isinstance(want, Amplitudes) else (),
        wanted=WANTED[type(want)],
        outcome=outcome,
        parse_notes=card.notes,
    )


def _shots(want: Want) -> int | None:
    return want.shots if isinstance(want, Counts | Expectations) else None
