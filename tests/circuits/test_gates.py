"""Loops over every row of the gate table and holds each column against an independent source."""

from pathlib import Path

import numpy as np
import pytest
import stim
from qiskit.circuit import library as qk
from qiskit.exceptions import QiskitError
from qiskit.quantum_info import Clifford, Operator

from qcommons.circuits.gates import ALIASES, CODES, GATES, NAMES, PAULI, embed, gray_phase, inverse, unitary
from qcommons.circuits.gates_page import page

PARAMS = (0.37, -1.2, 2.1, 0.6)  # generic: no row is special there
SETTINGS = (PARAMS, (0.0, 0.0, 0.0, 0.0), (np.pi, -np.pi / 2, np.pi / 2, np.pi), (7.5, -9.1, 4.4, -6.0))
ROWS = pytest.mark.parametrize("name", NAMES)
QISKIT = {
    "gphase": qk.GlobalPhaseGate, "id": qk.IGate, "x": qk.XGate, "y": qk.YGate, "z": qk.ZGate, "h": qk.HGate,
    "s": qk.SGate, "sdg": qk.SdgGate, "t": qk.TGate, "tdg": qk.TdgGate, "sx": qk.SXGate, "sxdg": qk.SXdgGate,
    "p": qk.PhaseGate, "rx": qk.RXGate, "ry": qk.RYGate, "rz": qk.RZGate, "r": qk.RGate, "u2": qk.U2Gate, "u": qk.UGate,
    "cx": qk.CXGate, "cy": qk.CYGate, "cz": qk.CZGate, "ch": qk.CHGate, "cs": qk.CSGate, "csdg": qk.CSdgGate,
    "csx": qk.CSXGate, "cp": qk.CPhaseGate, "crx": qk.CRXGate, "cry": qk.CRYGate, "crz": qk.CRZGate,
    "cu3": qk.CU3Gate, "cu": qk.CUGate, "swap": qk.SwapGate, "iswap": qk.iSwapGate, "dcx": qk.DCXGate,
    "dcxdg": lambda: qk.DCXGate().inverse(), "ecr": qk.ECRGate, "rxx": qk.RXXGate, "ryy": qk.RYYGate,
    "rzz": qk.RZZGate, "rzx": qk.RZXGate, "xx_plus_yy": qk.XXPlusYYGate, "xx_minus_yy": qk.XXMinusYYGate,
    "ccx": qk.CCXGate, "ccz": qk.CCZGate, "cswap": qk.CSwapGate, "rccx": qk.RCCXGate, "c3x": qk.C3XGate,
    "c3sx": qk.C3SXGate, "c3sxdg": lambda: qk.C3SXGate().inverse(), "rc3x": qk.RC3XGate,
    "rc3xdg": lambda: qk.RC3XGate().inverse(), "c4x": qk.C4XGate,
}  # fmt: skip
# The wire's gate codes, in order: a row may only ever be appended.
GOLDEN = (
    "gphase id x y z h s sdg t tdg sx sxdg p rx ry rz r u2 u cx cy cz ch cs csdg csx cp crx cry crz cu3 cu swap iswap "
    "dcx dcxdg ecr rxx ryy rzz rzx xx_plus_yy xx_minus_yy ccx ccz cswap rccx c3x c3sx c3sxdg rc3x rc3xdg c4x"
)


def settings(name: str) -> list[tuple[float, ...]]:
    n = GATES[name].n_params
    return [each[:n] for each in SETTINGS] if n else [()]


def steps_matrix(steps: list, n_qubits: int) -> np.ndarray:
    full = np.eye(1 << n_qubits, dtype=complex)
    for name, params, where in steps:
        full = embed(GATES[name].unitary(*params), where, n_qubits) @ full
    return full


def test_wire_codes_are_the_golden_ones() -> None:
    golden = GOLDEN.split()
    assert list(NAMES[: len(golden)]) == golden
    assert {name: CODES[name] for name in golden} == {name: code for code, name in enumerate(golden)}


@ROWS
def test_matrix_equals_qiskits(name: str) -> None:
    for params in settings(name):
        matrix = GATES[name].unitary(*params)
        assert matrix.shape == (1 << GATES[name].n_qubits,) * 2 and matrix.dtype == np.complex128
        np.testing.assert_allclose(matrix, Operator(QISKIT[name](*params)).data, atol=1e-14)


@ROWS
def test_inverse_is_exact_in_global_phase(name: str) -> None:
    for params in settings(name):
        back = unitary(*inverse(name, params))
        np.testing.assert_allclose(back @ unitary(name, params), np.eye(len(back)), atol=1e-14)


@ROWS
def test_definition_is_exact_in_global_phase_and_uses_known_rows(name: str) -> None:
    definition = GATES[name].definition
    if definition is None:
        assert GATES[name].n_qubits <= 1 or name == "cx" or GATES[name].pauli, "a wide row needs a definition"
        return
    for params in settings(name):
        np.testing.assert_allclose(
            steps_matrix(definition(*params), GATES[name].n_qubits), unitary(name, params), atol=1e-14
        )


def test_definitions_end_at_the_basis() -> None:
    def depth(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, f"{name} is defined by itself: {above}"
        definition = GATES[name].definition
        for step in definition(*PARAMS[: GATES[name].n_params]) if definition else ():
            depth(step[0], (*above, name))

    for name in NAMES:
        depth(name, ())


@ROWS
def test_stim_action_is_the_matrix_up_to_phase(name: str) -> None:
    row = GATES[name]
    if not row.stim:
        return
    circuit = stim.Circuit("\n".join(f"{gate} {' '.join(map(str, where))}" for gate, where in row.stim))
    theirs = stim.Tableau.from_circuit(circuit).to_unitary_matrix(endian="little")
    overlap = abs(np.vdot(theirs, row.unitary())) / len(theirs)
    assert overlap == pytest.approx(1, abs=1e-6)  # stim gives float32


@ROWS
def test_every_fixed_clifford_row_has_a_stim_action(name: str) -> None:
    row = GATES[name]
    if row.n_params or not row.n_qubits:
        return
    try:
        Clifford.from_matrix(row.unitary())
    except QiskitError:
        assert row.stim is None
    else:
        assert row.stim is not None


@ROWS
def test_pauli_axis_generates_the_rotation(name: str) -> None:
    row = GATES[name]
    if row.pauli is None:
        return
    theta = 0.83
    axis = np.eye(1)
    for letter in row.pauli:
        axis = np.kron(PAULI[letter], axis)
    values, vectors = np.linalg.eigh(axis)
    expected = vectors @ np.diag(np.exp(-0.5j * theta * values)) @ vectors.conj().T
    if name == "p":
        expected = expected * np.exp(0.5j * theta)
    np.testing.assert_allclose(row.unitary(theta), expected, atol=1e-14)


@ROWS
def test_diagonal_flag_is_true_exactly_for_diagonal_matrices(name: str) -> None:
    matrix = unitary(name, PARAMS[: GATES[name].n_params])
    assert GATES[name].diagonal == bool(np.allclose(matrix, np.diag(np.diag(matrix)), atol=1e-14))


def test_aliases_name_rows_and_hide_none() -> None:
    assert not set(ALIASES) & set(NAMES)
    assert {a: row.name for row in GATES.values() for a in row.aliases} == ALIASES
    assert (ALIASES["u1"], ALIASES["u3"], ALIASES["toffoli"], ALIASES["cnot"]) == ("p", "u", "ccx", "cx")


@pytest.mark.parametrize("controls", [1, 2, 3])
def test_controls_are_the_least_significant_qubits(controls: int) -> None:
    theirs = Operator(qk.RYGate(0.4).control(controls)).data
    np.testing.assert_allclose(unitary("ry", (0.4,), controls), theirs, atol=1e-14)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_gray_phase_turns_only_the_all_ones_state(k: int) -> None:
    expected = np.ones(1 << k, complex)
    expected[-1] = np.exp(0.9j)
    steps = gray_phase(0.9, k)
    np.testing.assert_allclose(steps_matrix(steps, k), np.diag(expected), atol=1e-13)
    assert sum(name == "cx" for name, _, _ in steps) == (1 << k) - 2


def test_gates_page_is_current() -> None:
    shown = Path(__file__).parents[2] / "docs" / "gates.md"
    assert shown.read_text(encoding="utf-8") == page(), "python -m qcommons.circuits.gates_page > docs/gates.md"
