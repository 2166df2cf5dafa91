"""The derived job: what is asked twice is run once, and samples are never shared."""

from __future__ import annotations

import msgspec
import pytest
from tests.jobs.plan.making import brick, job_of, measured, z

from qcommons.base.errors import Unavailable
from qcommons.engines.records import Counts, Expectations
from qcommons.jobs.outcomes import Misused
from qcommons.jobs.plan import runs as runs_module
from qcommons.jobs.plan.records import Same
from qcommons.jobs.plan.runs import Runs

A, B = brick(3, 1, seed=1), brick(3, 1, seed=2)
JOB = job_of([(A, Expectations((z(0),))), (measured(B), Counts(10))])


def test_exact_estimates_of_equal_programs_share_one_run() -> None:
    runs = Runs(JOB)
    number, first = runs.exact(A, (z(0), z(1)))
    again, second = runs.exact(brick(3, 1, seed=1), (z(1), z(2)))
    assert number == again and first == (0, 1) and second == (1, 2)
    assert runs.point(number, {}, 5, once=True) == runs.point(number, {}, 6, once=True) == 0
    made = runs.made(())
    assert made.job.wants == (Expectations((z(0), z(1), z(2))),)
    assert [point.seed for point in made.job.points] == [5]


def test_sampled_runs_of_one_program_stay_apart() -> None:
    runs = Runs(JOB)
    number = runs.program(measured(A), Counts(5))
    assert runs.program(measured(A), Counts(5)) == number
    assert runs.program(measured(A), Counts(6)) != number
    assert [runs.point(number, {}, seed) for seed in (1, 2)] == [0, 1]
    assert len(runs) == 2


def test_a_run_taken_over_keeps_program_want_seed_and_known_outcome() -> None:
    settled = Misused("no such gate")
    runs = Runs(msgspec.structs.replace(JOB, settled={1: settled}))
    assert (runs.same(1), runs.same(0)) == (Same(0), Same(1))
    job = runs.made((Same(1), Same(0))).job
    assert job.programs == (JOB.programs[1], JOB.programs[0])
    assert [point.seed for point in job.points] == [JOB.points[1].seed, JOB.points[0].seed]
    assert job.settled == {0: settled}
    assert (job.id, job.deadline_s, job.principal) == (JOB.id, JOB.deadline_s, JOB.principal)


def test_a_plan_of_too_many_runs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs_module, "RUNS_MAX", 2)
    runs = Runs(JOB)
    number = runs.program(measured(A), Counts(5))
    for seed in (1, 2):
        runs.point(number, {}, seed)
    with pytest.raises(Unavailable, match="more than 2 runs"):
        runs.point(number, {}, 3)
