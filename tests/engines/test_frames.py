"""The frames engine: pulling back, active width, outcome map, deferral, against dense references.

Modules: frames_engine, frames, active_register, frames_amplitudes, ch_form, defer.
"""

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
from qcommons.circuits.clifford import stim_matrix
from qcommons.circuits.gates import PAULI
from qcommons.circuits.noise import Channel, Noise, Rule
from qcommons.circuits.program import RELATIONS, Branch, Condition, Op, Program
from qcommons.engines.active_register import BLOCK_LOG2, OutcomeMap, combine, evolve, mean
from qcommons.engines.branching import split_terminal
from qcommons.engines.ch_form import EXACT, ChForm
from qcommons.engines.defer import cubes, defer
from qcommons.engines.frames import dry_width, multiply, reduce_program
from qcommons.engines.frames_engine import ENGINE
from qcommons.engines.records import Amplitudes, CapExceeded, Counts, Expectations, Limits, Task
from qcommons.testing import reference
from qcommons.testing.engine import check_counts


def exact_outcomes(program: Program) -> dict[str, float]:
    """The outcome map's full distribution: every index, every coin toss."""
    reduced = reduce_program(program, 24)
    outcomes = OutcomeMap(reduced.frame, reduced.measured)
    phi, parities = outcomes.diagonalise(evolve(reduced.turns, reduced.frame.width))
    found: dict[str, float] = {}
    for index, weight in enumerate(np.abs(phi) ** 2):
        for coins in range(1 << outcomes.n_coins):
            bits = ["0"] * program.n_clbits
            for bit, (coin_mask, rows, constant) in zip(outcomes.bits, outcomes._outcomes, strict=True):
                value = constant ^ (coin_mask & coins).bit_count() & 1
                for i, (mask, sign) in enumerate(parities):
                    value ^= (sign ^ (mask & index).bit_count() & 1) if rows >> i & 1 else 0
                bits[bit] = str(value)
            key = "".join(reversed(bits))
            found[key] = found.get(key, 0.0) + weight / (1 << outcomes.n_coins)
    return {k: p for k, p in found.items() if p > 1e-12}


def matrix_of(x: int, z: int, e: int, width: int) -> np.ndarray:
    """i^e X^x Z^z, qubit 0 least significant."""
    full = np.eye(1, dtype=np.complex128)
    for q in range(width):
        factor = (PAULI["X"] if x >> q & 1 else PAULI["I"]) @ (PAULI["Z"] if z >> q & 1 else PAULI["I"])
        full = np.kron(factor, full)
    return 1j**e * full


def test_multiply_is_the_matrix_product():
    rng = np.random.default_rng(1)
    for _ in range(50):
        a, b = (tuple(int(v) for v in rng.integers((8, 8, 4))) for _ in range(2))
        np.testing.assert_allclose(matrix_of(*multiply(a, b), 3), matrix_of(*a, 3) @ matrix_of(*b, 3), atol=1e-12)


@pytest.mark.parametrize("width", [1, 3, BLOCK_LOG2 + 2])
def test_combine_and_mean_agree_with_the_definition(width):
    rng = np.random.default_rng(width)
    phi = rng.normal(size=1 << width) + 1j * rng.normal(size=1 << width)
    phi /= np.linalg.norm(phi)
    index = np.arange(1 << width)
    for _ in range(6):
        cx, cz = (int(v) for v in rng.integers(1 << width, size=2))
        e = (cx & cz).bit_count() & 1  # Hermitian
        turned = np.zeros_like(phi)
        turned[index ^ cx] = 1j**e * (1 - 2.0 * (np.bitwise_count(index & cz) & 1)) * phi
        assert mean(phi, (cx, cz, e)) == pytest.approx(np.vdot(phi, turned).real, abs=1e-12)
        found = phi.copy()
        combine(found, (cx, cz, e), 0.6, -0.8j)
        np.testing.assert_allclose(found, 0.6 * phi - 0.8j * turned, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_all_outcome_probabilities_are_exact_on_random_programs(seed):
    rng = np.random.default_rng(seed)
    for _ in range(40):
        program = static_program(rng, int(rng.integers(1, 6)), int(rng.integers(1, 25)), NEAR)
        exact = {k: p for k, p in reference.distribution(program).items() if p > 1e-12}
        assert exact_outcomes(program) == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_means_are_exact_on_random_programs(seed):
    rng = np.random.default_rng(50 + seed)
    for _ in range(30):
        n = int(rng.integers(1, 6))
        program = static_program(rng, n, int(rng.integers(1, 25)), NEAR)
        program = Program(n, (), split_terminal(program)[0])
        observables = random_observables(rng, n)
        answer = ENGINE.run(Task(program, Expectations(observables), "frames", 1, LIMITS))
        exact = [reference.expectation(program, o) for o in observables]
        assert [e.value for e in answer.estimates] == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_dynamic_programs_are_exact_by_deferral(seed):
    # 30 programs of 3,000 shots; check_counts has a false alarm below 1e-9 each
    rng = np.random.default_rng(200 + seed)
    for _ in range(30):
        n = int(rng.integers(1, 4))
        program = dynamic_program(rng, n, int(rng.integers(2, 9)), NEAR)
        answer = ENGINE.run(Task(program, Counts(3000), "frames", seed, LIMITS))
        check_counts(answer, program, 3000, reference.distribution(program), str(program.ops))
        before_final = Program(n, program.cregs, split_terminal(program)[0])
        observables = random_observables(rng, n, 2)
        means = ENGINE.run(Task(program, Expectations(observables), "frames", 1, LIMITS)).estimates
        exact = [reference.expectation(before_final, o) for o in observables]
        assert [e.value for e in means] == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("holds", [True, False])
def test_cubes_split_a_condition_into_disjoint_patterns(relation, holds):
    for value in range(10):
        condition = Condition((0, 1, 2), relation, value)
        patterns = cubes(condition, holds)
        for number in range(8):
            bits = [number >> i & 1 for i in range(3)]
            fitting = [c for c in patterns if all(bits[i] == v for i, v in c)]
            assert len(fitting) == (condition.holds(bits) == holds)


def test_terminal_measurements_and_fresh_resets_defer_for_free():
    ops = (Op("reset", (0,)), Op("h", (0,)), Op("measure", (0,), (), (0,)), Op("reset", (0,)), Op("h", (0,)))
    deferred = defer(Program(1, (("c", 1),), ops))
    assert deferred.program.n_qubits == 2  # only the reset after the measurement takes a new qubit
    assert deferred.wires == (1,)


def test_clifford_programs_need_no_active_qubit_and_t_on_zero_neither():
    assert dry_width(brickwork(20, 10, 0, 1), 0) == 0
    assert dry_width(Program(2, (("c", 1),), (Op("t", (0,)), Op("h", (1,)), Op("measure", (1,), (), (0,)))), 0) == 0


def test_rotations_that_no_measured_bit_feels_cost_nothing():
    ops = (Op("h", (0,)), Op("t", (0,)), Op("h", (0,)), Op("t", (0,)))
    measured = Program(1, (("c", 1),), (*ops, Op("measure", (0,), (), (0,))))
    assert len(reduce_program(measured, 5).turns) == 1
    assert len(reduce_program(measured, 5, [((0, "X"),)]).turns) == 2
    blind = Program(1, (("c", 1),), (*ops[:2], Op("measure", (0,), (), (0,))))
    assert dry_width(blind, 0) == 0  # T commutes with the measured Z
    assert dry_width(blind, 0, [((0, "X"),)]) is None


def test_width_is_the_rank_over_distinct_rotations():
    # all five rotations pull back to Z- or X-strings spanned by two X vectors
    ops = [Op("h", (0,)), Op("h", (1,))]
    ops += [Op("rz", (0,), (0.3,)), Op("rz", (1,), (0.4,)), Op("rzz", (0, 1), (0.5,)), Op("rz", (0,), (0.1,))]
    ops += [Op("h", (0,)), Op("h", (1,)), *(Op("measure", (q,), (), (q,)) for q in (0, 1))]
    assert dry_width(Program(2, (("c", 2),), tuple(ops)), 24) == 2


def test_sixty_qubits_with_t_gates_match_an_independent_light_cone_calculation():
    # the mean of Z_q of the first qubits depends on few gates: dense reference on the first 6 qubits
    program = brickwork(60, 2, 30, 4)
    near = tuple(op for op in program.ops if op.gate != "measure" and all(q < 6 for q in op.qubits))
    small = Program(6, (), near)
    for q in range(3):  # depth 2: Z on qubit q <= 2 sees qubits up to q + 2 only
        z = random_observables(np.random.default_rng(q), 3, 1)
        answer = ENGINE.run(Task(program, Expectations(z), "frames", 1, LIMITS))
        assert answer.estimates[0].value == pytest.approx(reference.expectation(small, z[0]), abs=1e-9)


def test_caps_stop_before_the_register_is_made():
    program = brickwork(30, 20, 60, 5)
    assert dry_width(program, 10) is None
    with pytest.raises(CapExceeded, match="active width passes 10"):
        ENGINE.run(Task(program, Counts(10), "frames", 1, Limits(1 << 30, 10.0, width_max=10)))
    wide = brickwork(60, 20, 24, 3)
    with pytest.raises(CapExceeded, match="bytes; limit 65536"):
        ENGINE.run(Task(wide, Counts(10), "frames", 1, Limits(1 << 16, 10.0)))


def test_many_conditions_in_one_program_keep_their_bits_apart():
    teleport = (
        Op("ry", (0,), (0.7,)), Op("h", (1,)), Op("cx", (1, 2)), Op("cx", (0, 1)), Op("h", (0,)),
        Op("measure", (0,), (), (0,)), Op("measure", (1,), (), (1,)),
        Branch(Condition((1,), "==", 1), (Op("x", (2,)),)), Branch(Condition((0,), "==", 1), (Op("z", (2,)),)),
        Op("measure", (2,), (), (2,)),
    )  # fmt: skip
    program = Program(3, (("c", 3),), teleport)
    counts = ENGINE.run(Task(program, Counts(20_000), "frames", 5, LIMITS)).counts
    ones = sum(v for k, v in counts.items() if k[0] == "1")
    p = np.sin(0.35) ** 2  # closed form: the teleported qubit reads 1 with sin^2(theta/2)
    assert abs(ones - 20_000 * p) < 6.5 * np.sqrt(20_000 * p * (1 - p))  # 6.5 sigma: 1e-10


@pytest.mark.parametrize("seed", range(3))
def test_amplitudes_carry_the_exact_global_phase(seed):
    rng = np.random.default_rng(300 + seed)
    for _ in range(25):
        n = int(rng.integers(1, 6))
        program = Program(n, (), split_terminal(static_program(rng, n, int(rng.integers(1, 30)), (*NEAR, "p")))[0])
        bits = tuple(format(i, f"0{n}b") for i in range(1 << n))
        found = ENGINE.run(Task(program, Amplitudes(bits), "frames", 1, LIMITS)).amplitudes
        np.testing.assert_allclose([complex(*a) for a in found], reference.statevector(program), atol=1e-9)


@pytest.mark.parametrize("name", EXACT)
def test_ch_form_follows_stims_matrices_phase_included(name):
    rng = np.random.default_rng(4)
    for length in (0, 3, 12, 20):
        form, psi = ChForm(3), np.eye(8, dtype=np.complex128)[0]
        for gate in [*rng.choice(["H", "S", "CX", "CZ"], length), name]:
            qubits = tuple(rng.choice(3, stim_matrix(gate).shape[0].bit_length() - 1, replace=False).tolist())
            form.apply(gate, qubits)
            psi = reference.full(stim_matrix(gate), qubits, 3) @ psi
        rows = (np.arange(8)[:, None] >> np.arange(3)) & 1 > 0
        np.testing.assert_allclose(form.amplitudes(rows), psi, atol=1e-12)


def test_amplitudes_of_independent_blocks_multiply():
    # a wide program whose exact amplitude is a product of dense five-qubit references
    rng = np.random.default_rng(8)
    blocks = [static_program(rng, 5, 20, ("h", "s", "cx", "t", "sx")) for _ in range(4)]
    ops, exact, text = [], 1.0 + 0j, ""
    for k, block in enumerate(blocks):
        body, _ = split_terminal(block)
        psi = reference.statevector(Program(5, (), body))
        exact *= psi[np.argmax(np.abs(psi))]
        ops += [Op(op.gate, tuple(q + 5 * k for q in op.qubits), op.params) for op in body]
        best = format(int(np.argmax(np.abs(psi))), "05b")
        text = best + text
    found = ENGINE.run(Task(Program(20, (), tuple(ops)), Amplitudes((text,)), "frames", 1, LIMITS)).amplitudes[0]
    assert complex(*found) == pytest.approx(exact, abs=1e-10)


def test_noise_is_refused():
    noise = Noise((Rule((Channel("bit_flip", (0.1,)),)),))
    program = Program(1, (("c", 1),), (Op("measure", (0,), (), (0,)),))
    with pytest.raises(UsageError, match="noiseless"):
        ENGINE.run(Task(program, Counts(1), "frames", 1, LIMITS, noise))
