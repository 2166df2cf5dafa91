"""Small jobs and outcomes for the tests of this room."""

from __future__ import annotations

from qcommons.circuits.observables import PauliSum, Term
from qcommons.engines.execute import Execution
from qcommons.engines.records import Amplitudes, Answer, Cost, Counts, Estimate, Expectations, Limits, Want
from qcommons.jobs.outcomes import Done
from qcommons.jobs.records import Card, Job, Point

JOB_ID = "job_aaaaaaaaaaaaaaaa"
LIMITS = Limits(memory_bytes=1 << 30, seconds=10.0)


def card(n_qubits: int = 2, n_ops: int = 4, inputs: tuple[str, ...] = ()) -> Card:
    return Card(b"wire", "ab" * 32, n_qubits, (("c", n_qubits),), inputs, n_ops)


def job(points: int = 1, *, want: Want | None = None, deadline_s: float = 10.0, **card_fields: int) -> Job:
    """One program, `points` runs of it."""
    runs = tuple(Point(0, {}, 100 + index) for index in range(points))
    programs, wants = (card(**card_fields),), (want or Counts(1000),)
    return Job(
        id=JOB_ID, programs=programs, wants=wants, points=runs, seed=7, limits=LIMITS, deadline_s=deadline_s
    )  # fmt: skip


def done(
    counts: dict[str, int] | None = None,
    estimates: tuple[tuple[float, float], ...] | None = None,
    amplitudes: tuple[tuple[float, float], ...] | None = None,
    cregs: tuple[tuple[str, int], ...] = (("c", 2),),
    error_bound: float = 0.0,
) -> Done:
    pairs = None if estimates is None else tuple(Estimate(*pair, 1000 if pair[1] else None) for pair in estimates)
    answer = Answer(
        "numpy", "dense", counts=counts, estimates=pairs, amplitudes=amplitudes, error_bound=error_bound
    )  # fmt: skip
    registers = cregs if counts is not None else ()
    cost = Cost(1e-3, 64, 4.0)
    return Done(
        Execution(answer=answer, reason="small", predicted=cost, seconds=2e-3, notes=("a note",), cregs=registers)
    )


ZZ = PauliSum((Term(1.0, ((0, "Z"), (1, "Z"))),), "ZZ")
XI = PauliSum((Term(1.0, ((1, "X"),)),), "XI")
EXPECTATIONS = Expectations((ZZ, XI), 1000)
AMPLITUDES = Amplitudes(("00", "11"))
