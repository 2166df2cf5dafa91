"""Row `slice`: runs add up to what was asked, are equal in work, and each can be made again alone.

Modules: jobs/plan/slice, jobs/plan/slicing.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.engines.test_tn import grid
from tests.jobs.plan.making import LIMITS, asked_of, job_of, measured, run_all, values_of, z

from qcommons.base.errors import Unavailable
from qcommons.circuits.noise import Noise
from qcommons.circuits.observables import PauliSum, Term
from qcommons.circuits.program import Op, Program
from qcommons.engines.numpy_engine import ENGINE as NUMPY
from qcommons.engines.records import Amplitudes, Counts, Expectations, Limits, Statevector, Task
from qcommons.jobs.plan.choose import choose
from qcommons.jobs.plan.combine import combined
from qcommons.jobs.plan.records import Combine, SliceSum
from qcommons.jobs.plan.rows import load_rows
from qcommons.jobs.plan.slice import ROW
from qcommons.jobs.plan.slicing import ranges
from qcommons.jobs.plan.slicing.networks import closed_of, networks_of
from qcommons.jobs.records import Job

PROGRAM = grid(3, 3, 8)
BITS = ("011010110", "000000000")


@pytest.fixture(autouse=True)
def small_runs(monkeypatch):
    """Runs of a real size take seconds: here the smallest is worth it."""
    monkeypatch.setattr(ranges, "RUN_S", 0.0)
    monkeypatch.setattr(ranges, "_least", lambda multiplications, wanted: 4)


def dense(program):
    answer = NUMPY.run(Task(program, Statevector(), "dense", 1, LIMITS))
    return [complex(*pair) for pair in answer.amplitudes]


def quick(job: Job, parallel=2):
    return replace(asked_of(job, parallel=parallel), search_s=0.02)


def test_the_row_is_known_to_the_planner():
    assert load_rows()[0]["slice"] is ROW


def test_amplitudes_are_the_sums_of_their_slices():
    job = job_of([(measured(PROGRAM), Amplitudes(BITS))])
    plan = choose(quick(job), "slice")
    assert plan.parts == (SliceSum(tuple(range(len(plan.job.points)))),)
    assert len(plan.job.points) >= 8
    outcome = combined(plan, run_all(plan.job))[0]
    exact = dense(PROGRAM)
    found = [complex(*pair) for pair in outcome.execution.answer.amplitudes]
    assert found == pytest.approx([exact[int(bits, 2)] for bits in BITS], abs=1e-12)


def test_observables_are_sums_over_strings_and_slices_with_their_constants():
    sums = (
        PauliSum((Term(0.5, ((0, "Z"),)), Term(-2.0, ((4, "X"), (5, "Y"))), Term(3.0, ())), "a"),
        PauliSum((Term(1.5, ((0, "Z"),)),), "b"),
    )
    job = job_of([(PROGRAM, Expectations(sums))])
    plan = choose(quick(job), "slice")
    assert isinstance(plan.parts[0], Combine)
    whole = run_all(job)[0]
    found = combined(plan, run_all(plan.job))[0]
    assert values_of(found) == pytest.approx(values_of(whole), abs=1e-11)
    assert all(estimate.stderr == 0.0 for estimate in found.execution.answer.estimates)


def test_every_run_has_the_same_work_and_all_no_more_than_was_priced():
    job = job_of([(PROGRAM, Amplitudes(BITS))])
    circumstances = quick(job)
    priced = ROW.price(circumstances)
    made = ROW.make(circumstances).job
    assert len({want.multiplications for want in made.wants}) == 1
    assert sum(want.multiplications for want in made.wants) <= priced.work_units
    assert [want.first for want in made.wants] == [k * made.wants[0].count for k in range(len(made.wants))]
    want = made.wants[0]
    again = circumstances.cost(circumstances.program(0), want)  # what others think it takes
    assert again.work_units == want.multiplications
    assert again.memory_bytes <= job.limits.memory_bytes


def test_a_plan_follows_from_the_job_and_its_seed_alone():
    job = job_of([(PROGRAM, Amplitudes(BITS))])
    assert ROW.make(quick(job)) == ROW.make(quick(job))


def test_memory_decides_how_much_is_sliced():
    """A network whose tensors are of 2**width elements is sliced until a run fits."""
    program = grid(4, 5, 12)
    closed = closed_of(networks_of(program, Amplitudes(("0" * 20,)))[0])
    found = []
    for log2 in (30, 27):
        limits = Limits(memory_bytes=1 << log2, seconds=60.0)
        found.append(ranges.ranges_of(closed, ranges.Wanted(limits, 1, 1, 5, 30_000)))
        assert found[-1].slices.elements * 16 + ranges.FIXED_BYTES <= 1 << log2
    tight = Limits(memory_bytes=ranges.FIXED_BYTES + (1 << 16), seconds=60.0)
    small = ranges.ranges_of(closed, ranges.Wanted(tight, 1, 1, 5, 30_000))
    assert len(small.slices.sliced) > len(found[0].slices.sliced)
    assert small.slices.elements * 16 <= 1 << 16


REFUSED = {
    "counts": (job_of([(measured(PROGRAM), Counts(10))]), "computed observables"),
    "shots": (job_of([(PROGRAM, Expectations((z(0),), shots=100))]), "leave out the shots"),
    "noise": (job_of([(PROGRAM, Expectations((z(0),)))], noise=Noise(())), "without noise"),
    "resets": (
        job_of([(Program(1, (), (Op("h", (0,)), Op("reset", (0,)), Op("h", (0,)))), Amplitudes(("0",)))]),
        "without mid-circuit measurement",
    ),
    "many runs": (job_of([(PROGRAM, Amplitudes(BITS))] * 17), "17 runs; a tree is looked for in each, at most 16"),
    "many strings": (
        job_of([(PROGRAM, Expectations(tuple(PauliSum((Term(1.0, ((a, "X"), (b, "Z"))),), "")
                                             for a in range(6) for b in range(6, 9))))]),
        "18 Pauli strings, a network each; at most 16",
    ),
    "long programs": (job_of([(grid(4, 5, 200), Amplitudes(("0" * 20,)))]), "tensors; at most 16 and 4,000"),
    "no memory": (
        job_of([(PROGRAM, Amplitudes(BITS))], limits=Limits(memory_bytes=1 << 20, seconds=60.0)), "limit 1 MiB",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_sliced_is_refused_with_its_numbers(name):
    job, words = REFUSED[name]
    with pytest.raises(Unavailable, match=words):
        ROW.price(quick(job))


def test_a_run_of_another_program_than_its_tree_ends_as_misused():
    """A peer that mixes up programs gives no number at all."""
    job = job_of([(PROGRAM, Amplitudes(BITS))])
    made = ROW.make(quick(job)).job
    other = job_of([(grid(3, 3, 9), made.wants[0])])
    outcome = run_all(other)[0]
    assert "the slices are of" in outcome.what
