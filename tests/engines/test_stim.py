"""The stim engine: text of circuits, feed-forward, noise conventions, histories, exact means."""

from __future__ import annotations

import numpy as np
import pytest
from tests.engines.near_clifford_programs import CLIFFORD, LIMITS, dynamic_program, random_observables

from qcommons.base.errors import UsageError
from qcommons.circuits.noise import Channel, Noise, Rule
from qcommons.circuits.observables import PauliSum, Term
from qcommons.circuits.program import Branch, Condition, Op, Program
from qcommons.engines.branching import split_terminal
from qcommons.engines.records import Amplitudes, Counts, Expectations, Task
from qcommons.engines.stim_circuit import flat_circuit
from qcommons.engines.stim_engine import ENGINE
from qcommons.testing import reference
from qcommons.testing.engine import check_counts


def counts(program, shots, seed=1, noise=None):
    return ENGINE.run(Task(program, Counts(shots), "tableau", seed, LIMITS, noise)).counts


def when(bits, value, *then, orelse=(), relation="=="):
    return Branch(Condition(bits, relation, value), then, orelse)


def test_ghz_of_500_qubits_gives_only_its_two_outcomes():
    n = 500
    ops = [Op("h", (0,)), *(Op("cx", (0, i)) for i in range(1, n)), *(Op("measure", (i,), (), (i,)) for i in range(n))]
    found = counts(Program(n, (("c", n),), tuple(ops)), 1024)
    assert set(found) == {"0" * n, "1" * n}
    # binomial(1024, 1/2): 6.5 standard deviations of 16, false alarm 1e-10
    assert abs(found["0" * n] - 512) < 104


def test_single_bit_pauli_feedback_is_one_stim_circuit():
    program = Program(3, (("c", 2),), (
        Op("h", (0,)), Op("measure", (0,), (), (0,)), when((0,), 1, Op("x", (1,)), orelse=(Op("z", (2,)),)),
        Op("measure", (1,), (), (1,)),
    ))  # fmt: skip
    flat = flat_circuit(program.ops, None)
    assert flat is not None
    assert "CX rec[-1] 1" in flat.text
    assert set(counts(program, 200)) == {"00", "11"}


@pytest.mark.parametrize(
    "branch",
    [when((0, 1), 3, Op("x", (2,))), when((0,), 1, Op("h", (2,))), when((0,), 1, Op("reset", (0,)))],
    ids=["two live bits", "a Clifford that is no Pauli", "reset in the branch"],
)
def test_other_feedback_follows_histories(branch):
    ops = (Op("h", (0,)), Op("h", (1,)), Op("measure", (0,), (), (0,)), Op("measure", (1,), (), (1,)), branch)
    program = Program(3, (("c", 5),), (*ops, *(Op("measure", (q,), (), (2 + q,)) for q in range(3))))
    assert flat_circuit(program.ops, None) is None
    exact = reference.distribution(program)
    check_counts(ENGINE.run(Task(program, Counts(4000), "tableau", 3, LIMITS)), program, 4000, exact, "histories")


@pytest.mark.parametrize("seed", range(4))
def test_random_dynamic_programs_follow_the_exact_distribution(seed):
    # check_counts: false alarm below 1e-9 a program, 30 programs of 3,000 shots
    rng = np.random.default_rng(seed)
    for _ in range(30):
        program = dynamic_program(rng, int(rng.integers(1, 4)), int(rng.integers(2, 10)), CLIFFORD)
        answer = ENGINE.run(Task(program, Counts(3000), "tableau", seed, LIMITS))
        check_counts(answer, program, 3000, reference.distribution(program), str(program.ops))


@pytest.mark.parametrize("seed", range(2))
def test_random_dynamic_programs_have_exact_means(seed):
    rng = np.random.default_rng(100 + seed)
    for _ in range(30):
        n = int(rng.integers(1, 4))
        program = dynamic_program(rng, n, int(rng.integers(2, 8)), CLIFFORD)
        before_final = Program(n, program.cregs, split_terminal(program)[0])
        observables = random_observables(rng, n)
        answer = ENGINE.run(Task(program, Expectations(observables), "tableau", 1, LIMITS))
        exact = [reference.expectation(before_final, o) for o in observables]
        assert [e.value for e in answer.estimates] == pytest.approx(exact, abs=1e-9)


NOISES = {
    "depolarizing on one, two and three qubits": Rule((Channel("depolarizing", (0.3,)),)),
    "pauli": Rule((Channel("pauli", (0.05, 0.1, 0.2)),)),
    "after measure": Rule((Channel("bit_flip", (0.25,)),), gates=("measure",)),
}


@pytest.mark.parametrize("readout", [(0.0, 0.0), (0.1, 0.1), (0.05, 0.3)], ids=str)
@pytest.mark.parametrize("rule", NOISES.values(), ids=NOISES.keys())
def test_noise_follows_the_density_matrix(rule, readout):
    noise = Noise((rule, Rule((Channel("readout", readout),))))
    head = (Op("h", (0,)), Op("cx", (0, 1)), Op("cz", (1, 2)), Op("id", (2,)))
    # a three-qubit Clifford: cz controlled by nothing more than an empty identity
    wide = (Op("x", (0,)), Op("id", (0, 1, 2), controls=2), Op("measure", (0,), (), (0,)))
    for branch in (when((0,), 1, Op("x", (1,))), when((0,), 1, Op("h", (1,)))):
        program = Program(3, (("c", 3),), (*head, *wide, branch, *(Op("measure", (q,), (), (q,)) for q in (1, 2))))
        exact = reference.distribution(program, noise)
        # false alarm below 1e-9 (check_counts)
        answer = ENGINE.run(Task(program, Counts(3000), "tableau", 9, LIMITS, noise))
        check_counts(answer, program, 3000, exact, "noise")


def test_depolarizing_1_leaves_the_maximally_mixed_state():
    # stim's DEPOLARIZE1(0.75) is the same channel; with stim's own convention p = 1 would not be allowed
    noise = Noise((Rule((Channel("depolarizing", (1.0,)),)),))
    found = counts(Program(1, (("c", 1),), (Op("x", (0,)), Op("measure", (0,), (), (0,)))), 10_000, noise=noise)
    assert abs(found["0"] - 5000) < 6.5 * 50  # binomial, 6.5 sigma: 1e-10


def test_many_feed_forwards_share_their_prefix():
    ops: list[object] = []
    for i in range(10):
        ops += [Op("h", (0,)), Op("measure", (0,), (), (i,)), when((i,), 1, Op("h", (1,)), Op("cx", (1, 2)))]
    program = Program(3, (("c", 12),), (*ops, Op("measure", (1,), (), (10,)), Op("measure", (2,), (), (11,))))
    found = counts(program, 1024)
    assert sum(found.values()) == 1024
    ones = sum(v for k, v in found.items() if k[-1] == "1")
    assert abs(ones - 512) < 104  # the first bit is a fair coin; 6.5 sigma


def test_a_gate_that_is_not_clifford_is_refused_by_name():
    program = Program(1, (("c", 1),), (Op("t", (0,)), Op("measure", (0,), (), (0,))))
    with pytest.raises(UsageError, match="t is not a Clifford gate"):
        counts(program, 10)


def test_amplitudes_are_refused():
    program = Program(1, (), (Op("h", (0,)),))
    with pytest.raises(UsageError):
        ENGINE.run(Task(program, Amplitudes(("0",)), "tableau", 1, LIMITS))


def test_a_flip_damps_the_mean_of_the_flipped_qubit():
    """X with probability 0.1 after x: <Z> = -(1 - 2 * 0.1)."""
    program = Program(1, (), (Op("x", (0,)),))
    noise = Noise((Rule((Channel("bit_flip", (0.1,)),)),))
    z = PauliSum((Term(1.0, ((0, "Z"),)),), "Z")
    answer = ENGINE.run(Task(program, Expectations((z,)), "tableau", 1, LIMITS, noise))
    assert answer.estimates[0].value == pytest.approx(-0.8, abs=1e-12)
