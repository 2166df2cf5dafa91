"""Prices are those of the run itself, and cost no run."""

from __future__ import annotations

import pytest
from tests.jobs.plan.making import LIMITS, asked_of, brick, job_of, measured, random_sums, z

from qcommons.base.errors import Unavailable
from qcommons.base.seeds import stream
from qcommons.circuits.noise import parse_noise
from qcommons.circuits.observables import commuting_groups, parse_observable
from qcommons.circuits.program import Op, Program
from qcommons.engines.execute import Request, execute
from qcommons.engines.records import Amplitudes, Counts, Expectations, Want
from qcommons.engines.registry import load_engines
from qcommons.jobs.plan.pieces import ITEM_S, OP_S
from qcommons.jobs.plan.price import PASSES, VISIT_S, classes, of_groups, price_run
from qcommons.jobs.plan.whole import PRICED_MAX, shares, total

SMALL = brick(6, 3)
CASES: dict[str, tuple[Program, Want]] = {
    "counts": (measured(SMALL), Counts(1_000)),
    "exact observables": (SMALL, Expectations(random_sums(6, 3, 5, 1))),
    "sampled observables": (SMALL, Expectations(random_sums(6, 3, 5, 1), 500)),
    "amplitudes": (SMALL, Amplitudes(("000000", "010101"))),
    "two parts": (measured(Program(4, (), (*brick(2, 2).ops, Op("h", (3,)), Op("cx", (3, 2))))), Counts(100)),
}


def commuting_sets(want: Want) -> int:
    """Settings of sampled observables, 1 for the state that serves all exact ones, 0 for anything else."""
    if not isinstance(want, Expectations):
        return 0
    return 1 if want.shots is None else len(commuting_groups(want.observables))


def clock() -> int:
    return 0


@pytest.mark.parametrize("case", CASES)
def test_the_price_of_a_run_is_what_the_worker_predicts_when_it_runs_it(case: str) -> None:
    program, want = CASES[case]
    priced = price_run(program, want, None, load_engines(), {}, LIMITS, clock)
    ran = execute(Request(program=program, want=want, seed=1, limits=LIMITS), clock)
    assert priced.work_units == pytest.approx(ran.predicted.work_units, rel=1e-12)
    assert priced.memory_bytes == ran.predicted.memory_bytes
    reading_s = len(program.ops) * (OP_S + PASSES * VISIT_S * commuting_sets(want))
    assert priced.seconds == pytest.approx(ran.predicted.seconds + ITEM_S + reading_s, rel=1e-9)


def test_what_no_engine_takes_is_refused_with_numbers_and_without_allocating() -> None:
    wide = measured(brick(40, 60))
    with pytest.raises(Unavailable, match="40 qubits") as refused:
        price_run(wide, Counts(100), None, load_engines(), {}, LIMITS, clock, "qulacs")
    assert refused.value.limit is not None and refused.value.tried


def test_noise_is_priced() -> None:
    noise = parse_noise("depolarizing:0.01")
    program = measured(brick(5, 3))
    quiet, noisy = (price_run(program, Counts(100), n, load_engines(), {}, LIMITS, clock) for n in (None, noise))
    assert noisy.work_units > quiet.work_units


def test_many_strings_are_priced_by_some_of_them() -> None:
    rng = stream(3, "plan tests", "full strings")
    letters = ["".join("XYZ"[k] for k in rng.integers(3, size=10)) for _ in range(400)]
    sums = (parse_observable(" + ".join(letters), 10),)
    program = brick(10, 20)
    priced = price_run(program, Expectations(sums, 100), None, load_engines(), {}, LIMITS, clock)
    groups = len(commuting_groups(sums))
    one = price_run(program, Expectations((z(0),), 100), None, load_engines(), {}, LIMITS, clock)
    assert groups > 300  # almost no two of them agree on all qubits
    assert 0.3 * groups * one.work_units < priced.work_units < 3 * groups * one.work_units


def test_the_groups_of_a_part_of_the_terms_are_the_groups_of_the_whole() -> None:
    for seed in range(20):
        sums = random_sums(5, 3, 12, seed)
        groups = commuting_groups(sums)
        for inside in (groups[::2], groups[1:3]):
            part = of_groups(Expectations(sums), [group.terms for group in inside])
            again = commuting_groups(part)
            assert [group.basis for group in again] == [group.basis for group in inside]
            for old, new in zip(inside, again, strict=True):
                assert [sums[s].terms[t] for s, t in old.terms] == [part[s].terms[t] for s, t in new.terms]


def test_classes_hold_everything_once_and_weigh_what_it_costs() -> None:
    sizes = [float(1 + k % 7) for k in range(100)]
    rows = classes(sizes, 8)
    assert sorted(m for _, members, _ in rows for m in members) == list(range(100))
    assert sum(weight * sizes[largest] for largest, _, weight in rows) == pytest.approx(sum(sizes))
    assert classes([3.0, 1.0], 8) == [(1, (1,), 1.0), (0, (0,), 1.0)]


def test_a_job_of_many_programs_is_priced_by_a_few() -> None:
    few = [(measured(brick(4, 2, seed)), Counts(100)) for seed in range(3)]
    job = job_of(few * 30)
    rows = shares(asked_of(job))
    assert len(rows) <= PRICED_MAX
    assert sum(row.runs for row in rows) == total(rows).runs == 90
    alone = total(shares(asked_of(job_of(few))))
    assert total(rows).seconds == pytest.approx(30 * alone.seconds, rel=0.2)
