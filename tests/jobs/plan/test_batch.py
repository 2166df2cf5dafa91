"""Runs side by side: what is taken apart, what never is, and that nothing is lost by it."""

from __future__ import annotations

import math

import pytest
from tests.jobs.plan.making import asked_of, brick, job_of, measured, random_sums, run_all, values_of

from qcommons.circuits.noise import parse_noise
from qcommons.circuits.observables import PauliSum, Term
from qcommons.circuits.program import Op, Program
from qcommons.engines.records import Counts, Expectations
from qcommons.jobs.outcomes import Done
from qcommons.jobs.plan import batch
from qcommons.jobs.plan.batch import ROW
from qcommons.jobs.plan.combine import combined
from qcommons.jobs.plan.records import Combine, CountsSum, Plan
from qcommons.jobs.plan.row import Asked
from qcommons.testing.reference import expectation

NOISE = parse_noise("depolarizing:0.02")


def plan_of(asked: Asked) -> Plan:
    priced = ROW.price(asked)
    assert priced.applies, priced.why
    made = ROW.make(asked)
    return Plan(row="batch", why="", priced=(priced,), job=made.job, parts=made.parts)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take apart whatever can be: a place costs nothing."""
    monkeypatch.setattr(batch, "SPLIT_PLACES", 0.0)
    monkeypatch.setattr(batch, "SHOTS_MIN", 10)
    monkeypatch.setattr(batch, "SHOT_SHARE", 0.0)


def test_points_are_spread_as_they_are() -> None:
    job = job_of([(measured(brick(3, 2)), Counts(100))] * 4)
    plan = plan_of(asked_of(job))
    assert plan.job == job and plan.parts == ()
    assert plan.priced[0].runs == 4


def test_noiseless_shots_are_never_split_and_the_price_says_why(eager: None) -> None:
    priced = ROW.price(asked_of(job_of([(measured(brick(10, 4)), Counts(1_000_000))])))
    assert not priced.applies
    assert "one state gives all of them" in priced.why and "1,000,000 shots" in priced.why


def test_shots_of_a_noisy_run_that_mostly_pays_for_its_state_stay_together() -> None:
    """A density matrix of 4 qubits gives a million shots as it gives one."""
    job = job_of([(measured(brick(4, 2)), Counts(1_000_000))], noise=NOISE)
    priced = ROW.price(asked_of(job, place_s=1e-5))
    assert not priced.applies and "stay together: only" in priced.why


def test_exact_observables_stay_together(eager: None) -> None:
    priced = ROW.price(asked_of(job_of([(brick(6, 3), Expectations(random_sums(6, 9, 9, 1)))])))
    assert not priced.applies and "one state serves them all" in priced.why


def dynamic(n: int, rounds: int) -> Program:
    """Rounds of measured and fed-back qubits after a random state: no two shots share a state for long."""
    ops = list(brick(n, 3).ops)
    for k in range(rounds):
        q = k % n
        ops += [Op("measure", (q,), clbits=(k,)), Op("u", (q,), (0.7, 0.1 * k, 0.3)), Op("cz", (q, (q + 1) % n))]
    return Program(n, (("c", rounds),), tuple(ops))


def test_costly_shots_are_shared_out_and_add_up(eager: None) -> None:
    job = job_of([(dynamic(4, 8), Counts(1_001))])
    plan = plan_of(asked_of(job))
    (part,) = plan.parts
    assert isinstance(part, CountsSum) and len(part.points) > 1
    shots = [plan.job.wants[plan.job.points[p].program].shots for p in part.points]  # type: ignore[union-attr]
    assert sum(shots) == 1_001 and max(shots) - min(shots) <= 1
    seeds = [plan.job.points[p].seed for p in part.points]
    assert len(set(seeds)) == len(seeds)
    outcome = combined(plan, run_all(plan.job))[0]
    assert isinstance(outcome, Done)
    counts = outcome.execution.answer.counts or {}
    assert sum(counts.values()) == 1_001
    assert outcome.execution.cregs == (("c", 8),)


def test_exact_answers_beside_split_runs_equal_the_whole_on_a_hundred_circuits(eager: None) -> None:
    runs = [(brick(2 + seed % 4, 1 + seed % 5, seed), random_sums(2 + seed % 4, 2, 4, seed)) for seed in range(100)]
    split = (dynamic(4, 8), Counts(500))
    job = job_of([split, *((program, Expectations(sums)) for program, sums in runs)])
    plan = plan_of(asked_of(job, parallel=1_000))
    assert isinstance(plan.parts[0], CountsSum) and len(plan.job.points) > len(job.points)
    outcomes = combined(plan, run_all(plan.job))
    for index, (program, sums) in enumerate(runs, start=1):
        expected = [expectation(program, one) for one in sums]
        assert values_of(outcomes[index]) == pytest.approx(expected, abs=1e-9)


def test_settings_in_bundles_give_the_estimates_of_the_whole(eager: None) -> None:
    """Same settings, same shots: the mean of each is within 5 sigma of the truth (1 in 1.7 million a number), and the
    standard errors are those of the whole run within their own spread (about 1 / sqrt(2 shots) = 2 %, bound 30 %)."""
    program, sums = brick(5, 3), random_sums(5, 4, 10, 2)
    job = job_of([(program, Expectations(sums, 1_000))])
    plan = plan_of(asked_of(job))
    assert isinstance(plan.parts[0], Combine) and len(plan.job.points) > 1
    outcome, whole = combined(plan, run_all(plan.job))[0], run_all(job)[0]
    assert isinstance(outcome, Done) and isinstance(whole, Done)
    for sum_, own, other in zip(
        sums, outcome.execution.answer.estimates or (), whole.execution.answer.estimates or (), strict=True
    ):
        assert own.shots == 1_000
        assert abs(own.value - expectation(program, sum_)) < 5 * own.stderr
        assert own.stderr == pytest.approx(other.stderr, rel=0.3)


def test_a_constant_is_no_run_and_has_no_error(eager: None) -> None:
    constant = PauliSum((Term(2.5, ()),), "2.5")
    job = job_of([(brick(5, 3), Expectations((constant, *random_sums(5, 2, 10, 4)), 100))])
    plan = plan_of(asked_of(job))
    outcome = combined(plan, run_all(plan.job))[0]
    assert values_of(outcome)[0] == 2.5
    assert isinstance(outcome, Done) and outcome.execution.answer.estimates is not None
    assert (outcome.execution.answer.estimates[0].stderr, outcome.execution.answer.estimates[0].shots) == (0.0, None)


def test_noisy_estimates_in_shares_are_right_within_their_errors(eager: None) -> None:
    """5 sigma a number: 1 in 1.7 million."""
    program, sums = brick(4, 2), random_sums(4, 3, 6, 5)
    job = job_of([(program, Expectations(sums, 4_000))], noise=NOISE)
    plan = plan_of(asked_of(job))
    outcome = combined(plan, run_all(plan.job))[0]
    assert isinstance(outcome, Done)
    for sum_, own in zip(sums, outcome.execution.answer.estimates or (), strict=True):
        # X and Y are turned into Z by gates that are noisy too: each letter loses at most 2 p of its size
        slack = sum(abs(t.coefficient) * 2 * 0.02 * 2 * len(t.paulis) for t in sum_.terms)
        assert abs(own.value - expectation(program, sum_, NOISE)) < 5 * own.stderr + slack
        assert own.stderr < 3 * math.sqrt(sum(t.coefficient**2 for t in sum_.terms) / 4_000) * len(sum_.terms)


def test_any_share_can_be_made_again_alone(eager: None) -> None:
    job = job_of([(dynamic(4, 8), Counts(500)), (measured(brick(3, 1)), Counts(7))])
    plan, again = plan_of(asked_of(job)), plan_of(asked_of(job))
    assert plan.job == again.job and plan.parts == again.parts
