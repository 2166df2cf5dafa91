"""The Clifford view is exact: steps and rotations multiply to the gate, global phase included."""

import math

import numpy as np
import pytest
import stim

from qcommons.base.errors import UsageError
from qcommons.circuits.clifford import Expansion, Rotation, clifford_steps, rotations, stim_matrix
from qcommons.circuits.gates import GATES, NAMES, embed, pauli_matrix, unitary
from qcommons.circuits.program import Op

# fmt: off
STIM_NAMES = [
    "I", "X", "Y", "Z", "H", "H_YZ", "S", "S_DAG", "SQRT_X", "SQRT_X_DAG", "SQRT_Y", "SQRT_Y_DAG", "CX", "CY", "CZ",
    "SWAP", "ISWAP", "SQRT_XX", "SQRT_XX_DAG", "SQRT_YY", "SQRT_YY_DAG", "SQRT_ZZ", "SQRT_ZZ_DAG",
]
# fmt: on
ROWS = pytest.mark.parametrize("name", NAMES)


def matrix_of(expansion: Expansion, n: int) -> np.ndarray:
    full = np.exp(1j * expansion.phase) * np.eye(1 << n, dtype=complex)
    for step in expansion.steps:
        if isinstance(step, Rotation):
            assert list(step.paulis) == sorted(step.paulis) and step.paulis
            letters = dict(step.paulis)
            axis = pauli_matrix("".join(letters.get(q, "I") for q in range(n)))
            full = math.cos(step.angle / 2) * full - 1j * math.sin(step.angle / 2) * axis @ full
        else:
            full = embed(stim_matrix(step[0]), step[1], n) @ full
    return full


def cases(name: str, controls: int, seed: int) -> list[Op]:
    """Generic angles, angles on the grid of pi/2, and mixtures of both, on shuffled qubits."""
    rng = np.random.Generator(np.random.Philox(seed))
    k = GATES[name].n_params
    n = GATES[name].n_qubits + controls
    ops = []
    for kind in range(6 if k else 1):
        free, grid = rng.uniform(-7, 7, k), rng.integers(-9, 9, k) * math.pi / 2
        on_grid = [np.zeros(k, bool), np.ones(k, bool), np.ones(k, bool), np.ones(k, bool)]
        pick = on_grid[kind] if kind < 4 else rng.random(k) < 0.5
        params = tuple(np.where(pick, grid, free).tolist())
        ops.append(Op(name, tuple(rng.permutation(n).tolist()), params, (), controls))
    return ops


@pytest.mark.parametrize("name", STIM_NAMES)
def test_stim_matrix_is_stims(name: str) -> None:
    # unitary_matrix is big-endian: all gates but the controlled ones are symmetric under exchange
    theirs = stim.gate_data(name).unitary_matrix
    if name in ("CX", "CY"):
        theirs = theirs.reshape(2, 2, 2, 2).transpose(1, 0, 3, 2).reshape(4, 4)
    little = stim.Tableau.from_named_gate(name).to_unitary_matrix(endian="little")
    assert abs(np.vdot(little, stim_matrix(name))) == pytest.approx(len(little), abs=1e-5)
    phase = np.vdot(theirs, stim_matrix(name)) / len(theirs)
    if name not in ("CX", "CY"):
        assert phase == pytest.approx(1, abs=1e-6)  # stim gives float32


@ROWS
@pytest.mark.parametrize("controls", [0, 1, 2])
def test_expansion_is_exactly_the_gate(name: str, controls: int) -> None:
    n = GATES[name].n_qubits + controls
    for op in cases(name, controls, seed=7):
        one = unitary(name, op.params, controls)
        expected = embed(one, op.qubits, n) if n else one
        np.testing.assert_allclose(matrix_of(rotations(op), n), expected, atol=1e-11, err_msg=str(op))


@ROWS
def test_clifford_steps_are_the_rotations_where_all_are_clifford(name: str) -> None:
    for controls in (0, 1):
        for op in cases(name, controls, seed=8):
            steps = rotations(op).steps
            is_clifford = not any(isinstance(step, Rotation) for step in steps)
            assert clifford_steps(op) == (steps if is_clifford else None)


@ROWS
def test_no_clifford_gate_is_missed(name: str) -> None:
    """Against the matrix: it maps the X and Z of each qubit to Pauli strings."""
    from qiskit.exceptions import QiskitError
    from qiskit.quantum_info import Clifford

    for controls in (0, 1):
        if not GATES[name].n_qubits + controls:
            continue
        for op in cases(name, controls, seed=9):
            try:
                Clifford.from_matrix(unitary(name, op.params, controls))
                known = True
            except QiskitError:
                known = False
            assert (clifford_steps(op) is not None) == known, op


@pytest.mark.parametrize(
    ("op", "count"),
    [
        (Op("t", (0,)), 1),
        (Op("p", (0,), (0.3,)), 1),
        (Op("rzz", (0, 1), (0.3,)), 1),
        (Op("u2", (0,), (0.1, 0.2)), 2),
        (Op("u", (0,), (0.3, 0.1, 0.2)), 3),
        (Op("u", (0,), (0.0, 0.1, 0.2)), 1),  # one turn about Z
        (Op("u", (0,), (math.pi, 0.1, 0.2)), 1),
        (Op("u", (0,), (0.0, 0.1, -0.1)), 0),
        (Op("cp", (0, 1), (0.3,)), 3),
        (Op("crx", (0, 1), (0.3,)), 2),
        (Op("cry", (0, 1), (0.3,)), 2),
        (Op("cs", (0, 1)), 3),  # T-count 3: Amy, Maslov, Mosca and Roetteler, arXiv:1206.0758
        (Op("ch", (0, 1)), 2),  # T-count 2: the same
        (Op("ccx", (0, 1, 2)), 7),  # T-count 7: Gosset et al., arXiv:1308.4134
        (Op("ccz", (0, 1, 2)), 7),
        (Op("cswap", (0, 1, 2)), 7),
        (Op("rccx", (0, 1, 2)), 4),  # Margolus: 4 T gates
        (Op("x", (0, 1, 2), (), (), 2), 7),
        (Op("swap", (0, 1, 2), (), (), 1), 7),
        (Op("crx", (0, 1), (math.pi,)), 0),
        (Op("cu", (0, 1), (0.0, math.pi / 2, math.pi / 2, 0.0)), 0),  # controlled Z
    ],
)
def test_number_of_rotations(op: Op, count: int) -> None:
    assert sum(isinstance(step, Rotation) for step in rotations(op).steps) == count


def test_t_is_an_eighth_turn_about_z() -> None:
    assert rotations(Op("t", (3,))) == Expansion((Rotation(((3, "Z"),), math.pi / 4),), math.pi / 8)
    assert rotations(Op("rzx", (5, 2), (0.25,))).steps == (Rotation(((2, "X"), (5, "Z")), 0.25),)


def test_the_grid_has_a_width_of_1e_12() -> None:
    assert clifford_steps(Op("rz", (0,), (math.pi / 2 + 5e-13,))) == (("S", (0,)),)
    assert clifford_steps(Op("rz", (0,), (math.pi / 2 + 5e-12,))) is None
    assert clifford_steps(Op("u", (0,), (math.pi / 2, 0.0, math.pi + 5e-12))) is None


def test_identities_have_no_steps() -> None:
    for op in (Op("id", (0,)), Op("rx", (0,), (0.0,)), Op("gphase", (), (0.3,)), Op("rzz", (0, 1), (4 * math.pi,))):
        assert clifford_steps(op) == ()
    assert abs(rotations(Op("rx", (0,), (2 * math.pi,))).phase) == pytest.approx(math.pi)


def test_plain_names_for_plain_gates() -> None:
    """Feed-forward in stim recognises Paulis by name."""
    assert clifford_steps(Op("x", (4,))) == (("X", (4,)),)
    assert clifford_steps(Op("ry", (4,), (math.pi,))) == (("Y", (4,)),)
    assert clifford_steps(Op("rzz", (4, 1), (math.pi,))) == (("Z", (4,)), ("Z", (1,)))
    assert clifford_steps(Op("x", (4, 1), (), (), 1)) == (("CX", (4, 1)),)


def test_many_controls_stay_polynomial() -> None:
    steps = rotations(Op("x", tuple(range(8)), (), (), 7)).steps
    assert len(steps) < 2000  # 2^8 - 1 = 255 directly; lowered and quadratic beyond
    assert len(rotations(Op("rz", tuple(range(13)), (0.3,), (), 12)).steps) < 2500  # 2^12 directly
    op = Op("p", (0, 1, 2, 3, 4, 5, 6), (0.3,), (), 6)
    np.testing.assert_allclose(matrix_of(rotations(op), 7), unitary("p", (0.3,), 6), atol=1e-10)


def test_a_gate_with_very_many_controls_is_answered_at_once() -> None:
    wide = tuple(range(5001))
    assert clifford_steps(Op("x", wide, (), (), 5000)) is None
    assert clifford_steps(Op("rx", wide, (0.0,), (), 5000)) == ()
    with pytest.raises(UsageError, match="5000 controls"):
        rotations(Op("x", wide, (), (), 5000))
