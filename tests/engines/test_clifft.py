"""The clifft engine, where its library is installed (Python >= 3.12); its refusals and costs anywhere."""

from __future__ import annotations

import numpy as np
import pytest
from tests.engines.near_clifford_programs import (
    LIMITS,
    NEAR,
    brickwork,
    dynamic_program,
    random_observables,
    static_program,
)

from qcommons.base.errors import UsageError
from qcommons.circuits.features import features
from qcommons.circuits.noise import Channel, Noise, Rule
from qcommons.circuits.program import Branch, Condition, Op, Program
from qcommons.engines.branching import split_terminal
from qcommons.engines.clifft_engine import ENGINE
from qcommons.engines.records import CapExceeded, Counts, Expectations, Limits, Statevector, Task, Unsuited
from qcommons.testing import reference
from qcommons.testing.engine import check_counts

needs_clifft = pytest.mark.skipif(
    ENGINE.installed() is None, reason="clifft is not installed; it has wheels for Python >= 3.12 only"
)


def test_what_it_does_not_give_is_refused_without_the_library():
    program = Program(1, (), (Op("h", (0,)),))
    with pytest.raises(UsageError):
        ENGINE.run(Task(program, Statevector(), "compiled", 1, LIMITS))
    with pytest.raises(UsageError, match="no method"):
        ENGINE.run(Task(program, Counts(1), "other", 1, LIMITS))


def test_cost_needs_the_active_width_of_a_program_that_is_not_clifford():
    cost = ENGINE.cost("compiled", features(brickwork(10, 5, 3, 1)), Counts(10), ENGINE.constants)
    assert isinstance(cost, Unsuited)
    assert "active width" in cost.reason


@needs_clifft
def test_random_static_and_dynamic_programs_follow_the_exact_distribution():
    # 60 programs of 3,000 shots; check_counts has a false alarm below 1e-9 each
    rng = np.random.default_rng(3)
    for turn in range(60):
        n = int(rng.integers(1, 4))
        make = dynamic_program if turn % 2 else static_program
        program = make(rng, n, int(rng.integers(2, 9)), NEAR)
        answer = ENGINE.run(Task(program, Counts(3000), "compiled", turn, LIMITS))
        check_counts(answer, program, 3000, reference.distribution(program), str(program.ops))


@needs_clifft
def test_means_of_static_programs_are_exact():
    rng = np.random.default_rng(4)
    for _ in range(20):
        program = static_program(rng, 4, 15, NEAR)
        program = Program(4, (), split_terminal(program)[0])
        observables = random_observables(rng, 4)
        answer = ENGINE.run(Task(program, Expectations(observables), "compiled", 1, LIMITS))
        exact = [reference.expectation(program, o) for o in observables]
        assert [e.value for e in answer.estimates] == pytest.approx(exact, abs=1e-9)


@needs_clifft
@pytest.mark.parametrize("readout", [(0.0, 0.0), (0.1, 0.1), (0.05, 0.3)], ids=str)
def test_noise_beside_rotations_and_feedback_follows_the_density_matrix(readout):
    noise = Noise((Rule((Channel("depolarizing", (0.2,)),)), Rule((Channel("readout", readout),))))
    program = Program(2, (("c", 3),), (
        Op("ry", (0,), (0.8,)), Op("cx", (0, 1)), Op("t", (1,)), Op("h", (1,)), Op("measure", (1,), (), (0,)),
        Op("crx", (0, 1), (0.9,)),
        *(Op("measure", (q,), (), (1 + q,)) for q in (0, 1)),
    ))  # fmt: skip
    answer = ENGINE.run(Task(program, Counts(6000), "compiled", 2, LIMITS, noise))
    check_counts(answer, program, 6000, reference.distribution(program, noise), "noise")


@needs_clifft
def test_noise_with_feedback_out_of_its_language_is_refused():
    noise = Noise((Rule((Channel("bit_flip", (0.1,)),)),))
    branch = Branch(Condition((0,), "==", 1), (Op("h", (0,)),))
    program = Program(1, (("c", 1),), (Op("h", (0,)), Op("measure", (0,), (), (0,)), branch))
    with pytest.raises(UsageError, match="branches"):
        ENGINE.run(Task(program, Counts(10), "compiled", 1, LIMITS, noise))


@needs_clifft
def test_width_and_memory_are_looked_at_before_running():
    program = brickwork(40, 20, 80, 5)
    with pytest.raises(CapExceeded, match="active width"):
        ENGINE.run(Task(program, Counts(10), "compiled", 1, Limits(1 << 30, 10.0, width_max=6)))
    with pytest.raises(CapExceeded):
        ENGINE.run(Task(program, Counts(10), "compiled", 1, Limits(1 << 14, 10.0)))
