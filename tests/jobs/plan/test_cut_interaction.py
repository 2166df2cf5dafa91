"""What two-qubit gates do between their qubits: the table's unitary again, with the Schmidt numbers of the books."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.jobs.plan.cutting_making import TWO

from qcommons.base.seeds import stream
from qcommons.circuits.clifford import clifford_steps
from qcommons.circuits.gates import GATES, unitary
from qcommons.circuits.program import Op
from qcommons.jobs.plan.cutting.interaction import Interaction, interaction_of
from qcommons.testing.reference import PAULI

Complex = NDArray[np.complex128]
CLIFFORD = ("cx", "cy", "cz", "swap", "iswap", "dcx", "dcxdg", "ecr")


def matrix(found: Interaction) -> Complex:
    """The product as written, first qubit least significant."""
    full = sum(u * np.kron(PAULI[b], PAULI[a]) for u, a, b in found.terms)
    for angles, left in ((found.before, False), (found.after, True)):
        first, second = (np.eye(2) if a is None else unitary("u", a) for a in angles)
        local = np.kron(second, first)
        full = local @ full if left else full @ local
    return np.asarray(full)


def schmidt(gate: Complex) -> NDArray[np.float64]:
    """Operator-Schmidt coefficients by singular values, normalised: independent of any decomposition."""
    rows = gate.reshape(2, 2, 2, 2).transpose(1, 3, 0, 2).reshape(4, 4)
    return np.linalg.svd(rows, compute_uv=False) / 2


def ops() -> list[Op]:
    rng = stream(3, "cutting tests", "interaction")
    found = [
        Op(name, (0, 1), tuple(rng.uniform(-6, 6, GATES[name].n_params).tolist())) for name in TWO for _ in range(3)
    ]
    singles = [name for name, row in GATES.items() if row.n_qubits == 1]
    return found + [
        Op(name, (0, 1), tuple(rng.uniform(-6, 6, GATES[name].n_params).tolist()), (), 1) for name in singles
    ]


@pytest.mark.parametrize("op", ops(), ids=lambda op: f"{op.gate}/{op.controls}")
def test_an_interaction_is_its_gate_with_the_gate_s_schmidt_coefficients(op: Op) -> None:
    found = interaction_of(op)
    gate = unitary(op.gate, op.params, op.controls)  # type: ignore[arg-type]
    assert abs(abs(np.vdot(matrix(found), gate)) - 4) < 1e-12  # |tr(V^dag U)| = 4 only if U = V up to phase
    own = sorted((abs(u) for u, _, _ in found.terms), reverse=True)
    assert np.allclose(own + [0.0] * (4 - len(own)), schmidt(gate), atol=1e-12)
    for side in (1, 2):
        assert len({term[side] for term in found.terms}) == len(found.terms)


def test_sizes_are_those_of_the_literature() -> None:
    """sum |u|: gamma = 2 (sum |u|)^2 - 1 is 3 for cx, 7 for swap and iswap (arXiv:2312.11638, table 1)."""
    for gate, gamma in (("cx", 3.0), ("cz", 3.0), ("ecr", 3.0), ("swap", 7.0), ("iswap", 7.0), ("dcx", 7.0)):
        assert 2 * interaction_of(Op(gate, (0, 1))).size ** 2 - 1 == pytest.approx(gamma, abs=1e-12)
    theta = 0.2  # arXiv:1909.07534: rzz costs (1 + 2 |sin theta|)
    assert 2 * interaction_of(Op("rzz", (0, 1), (theta,))).size ** 2 - 1 == pytest.approx(1 + 2 * math.sin(theta))


@pytest.mark.parametrize("gate", CLIFFORD)
def test_a_cut_clifford_gate_leaves_clifford_gates(gate: str) -> None:
    found = interaction_of(Op(gate, (0, 1)))
    for when in ("before", "after"):
        for side in (0, 1):
            assert all(clifford_steps(op) is not None for op in found.local(when, side, side))


def test_a_gate_that_is_a_product_has_one_term() -> None:
    for op in (Op("rzz", (0, 1), (0.0,)), Op("cp", (0, 1), (0.0,)), Op("rxx", (0, 1), (2 * math.pi,))):
        assert len(interaction_of(op).terms) == 1


def test_nearly_equal_eigenvalues_do_not_spoil_the_magic_basis() -> None:
    """xx_plus_yy with a phase takes the general way; at tiny angles three eigenvalues nearly meet."""
    for angle in (1e-3, 1e-6, 1e-9):
        op = Op("xx_plus_yy", (0, 1), (angle, 0.7))
        gate = unitary(op.gate, op.params)  # type: ignore[arg-type]
        assert abs(abs(np.vdot(matrix(interaction_of(op)), gate)) - 4) < 1e-12
