"""Which steps need a control, held against the controlled matrix; sizes of the primitives."""

import math

import numpy as np
import pytest

from qcommons.circuits.controlled import controlled_phase, controlled_rz, controlled_x, split_row, under_control
from qcommons.circuits.gates import GATES, NAMES, embed, unitary

PARAMS = (0.37, -1.2, 2.1, 0.6)
PRIMITIVES = {"x", "p", "rz", "gphase"}


def product(steps: list, n: int) -> np.ndarray:
    full = np.eye(1 << n, dtype=complex)
    for gate, params, where, controls in steps:
        full = embed(unitary(gate, params, controls), where, n) @ full
    return full


@pytest.mark.parametrize("name", [n for n in NAMES if split_row(n)[0] == n and n not in PRIMITIVES])
def test_controlling_the_marked_steps_controls_the_gate(name: str) -> None:
    params = PARAMS[: GATES[name].n_params]
    n = GATES[name].n_qubits + 1
    steps = []
    for marked, (gate, angles, where, inner) in under_control(name, params):
        shifted = tuple(q + 1 for q in where)
        steps.append((gate, angles, (0, *shifted) if marked else shifted, inner + marked))
    np.testing.assert_allclose(product(steps, n), unitary(name, params, 1), atol=1e-13)


def test_controls_of_rows_and_of_ops_add_up() -> None:
    assert split_row("c3x", 2) == ("x", 5)
    assert split_row("cswap") == ("swap", 1)
    assert split_row("cu", 1) == ("cu", 1)  # its phase is no part of a target row


@pytest.mark.parametrize("k", [2, 3, 4, 5])
def test_controlled_rz_is_exact(k: int) -> None:
    np.testing.assert_allclose(product(controlled_rz(0.7, k), k + 1), unitary("rz", (0.7,), k), atol=1e-13)


@pytest.mark.parametrize(("k", "n_spare"), [(5, 1), (5, 3), (6, 1)])
@pytest.mark.parametrize("toffoli", [True, False])
def test_controlled_x_gives_borrowed_qubits_back(k: int, n_spare: int, toffoli: bool) -> None:
    n = k + 1 + n_spare
    expected = embed(unitary("x", (), k), tuple(range(k + 1)), n)
    np.testing.assert_allclose(product(controlled_x(k, n_spare, toffoli), n), expected, atol=1e-12)


@pytest.mark.parametrize(("lam", "k", "n_spare"), [(0.7, 2, 0), (0.7, 5, 0), (0.7, 7, 0), (-math.pi, 5, 1)])
def test_controlled_phase_is_exact(lam: float, k: int, n_spare: int) -> None:
    n = k + 1 + n_spare
    expected = embed(unitary("p", (lam,), k), tuple(range(k + 1)), n)
    np.testing.assert_allclose(product(controlled_phase(lam, k, n_spare), n), expected, atol=1e-12)
