"""Gates in qulacs' own terms: one row a gate that qulacs has, matrices for all others.

Flow: Op -> *add* (to a qulacs QuantumCircuit) <- qulacs_engine, qulacs_fusion. Global phases are
collected aside, since qulacs has no gate without qubits. qulacs' Rot gates and U1-U3 have our
signs; its RX, RY, RZ and Pauli rotations have the opposite ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcommons.circuits.gates import unitary
from qcommons.circuits.program import Op
from qcommons.engines.action import action_of

__all__ = ["CHEAP", "add", "compiled", "matrix_of", "phase_of"]

Adder = Callable[[Any, tuple[int, ...], tuple[Any, ...]], None]  # circuit, qubits, angles in radians

ADD: dict[str, Adder] = {
    "id": lambda c, q, p: None,
    "x": lambda c, q, p: c.add_X_gate(q[0]),
    "y": lambda c, q, p: c.add_Y_gate(q[0]),
    "z": lambda c, q, p: c.add_Z_gate(q[0]),
    "h": lambda c, q, p: c.add_H_gate(q[0]),
    "s": lambda c, q, p: c.add_S_gate(q[0]),
    "sdg": lambda c, q, p: c.add_Sdag_gate(q[0]),
    "t": lambda c, q, p: c.add_T_gate(q[0]),
    "tdg": lambda c, q, p: c.add_Tdag_gate(q[0]),
    "sx": lambda c, q, p: c.add_sqrtX_gate(q[0]),
    "sxdg": lambda c, q, p: c.add_sqrtXdag_gate(q[0]),
    "rx": lambda c, q, p: c.add_RotX_gate(q[0], p[0]),
    "ry": lambda c, q, p: c.add_RotY_gate(q[0], p[0]),
    "rz": lambda c, q, p: c.add_RotZ_gate(q[0], p[0]),
    "p": lambda c, q, p: c.add_U1_gate(q[0], p[0]),
    "u2": lambda c, q, p: c.add_U2_gate(q[0], p[0], p[1]),
    "u": lambda c, q, p: c.add_U3_gate(q[0], p[0], p[1], p[2]),
    "cx": lambda c, q, p: c.add_CNOT_gate(q[0], q[1]),
    "cz": lambda c, q, p: c.add_CZ_gate(q[0], q[1]),
    "swap": lambda c, q, p: c.add_SWAP_gate(q[0], q[1]),
    "rxx": lambda c, q, p: c.add_multi_Pauli_rotation_gate(list(q), [1, 1], -p[0]),
    "ryy": lambda c, q, p: c.add_multi_Pauli_rotation_gate(list(q), [2, 2], -p[0]),
    "rzz": lambda c, q, p: c.add_multi_Pauli_rotation_gate(list(q), [3, 3], -p[0]),
    "rzx": lambda c, q, p: c.add_multi_Pauli_rotation_gate(list(q), [3, 1], -p[0]),
}
# Rows whose own qulacs kernel is far below a dense product: ns an amplitude, AVX2, one thread, 21 qubits.
CHEAP: dict[str, float] = {
    "id": 0.0, "x": 0.9, "y": 0.9, "z": 0.8, "h": 1.5, "s": 1.0, "sdg": 1.0, "t": 1.2, "tdg": 1.2, "p": 2.3,
    "rz": 2.5, "cx": 0.8, "cz": 0.6, "swap": 0.8, "cp": 2.0, "cs": 2.0, "csdg": 2.0, "ccx": 1.5, "ccz": 1.0,
}  # fmt: skip


def add(circuit: Any, op: Op) -> complex:
    """Add one unitary operation to a qulacs QuantumCircuit; returns the phase factor left over."""
    adder = ADD.get(op.gate)
    if adder is not None and not op.controls:
        adder(circuit, op.qubits, op.params)
        return 1.0
    if op.gate == "gphase" and not op.controls:
        return phase_of(op)
    from qulacs import gate

    action = action_of(op)
    controls = [op.qubits[c] for c in action.controls]
    targets = [op.qubits[t] for t in action.targets]
    if not targets:  # a phase on the all-ones part of the controls
        made = gate.DenseMatrix(controls[0], np.diag([1, action.matrix[0, 0]]))
        controls = controls[1:]
    elif action.diagonal is not None and not controls:
        made = gate.DiagonalMatrix(targets, action.diagonal)
    elif len(targets) == 1:
        made = gate.DenseMatrix(targets[0], action.matrix)
    else:
        made = gate.DenseMatrix(targets, action.matrix)
    for qubit in controls:
        made.add_control_qubit(qubit, 1)
    circuit.add_gate(made)
    return 1.0


def phase_of(op: Op) -> complex:
    """The factor of a `gphase` without controls."""
    return complex(matrix_of(op)[0, 0])


def matrix_of(op: Op) -> NDArray[np.complex128]:
    """Shape (2**k, 2**k), little-endian, controls first."""
    return unitary(op.gate, op.params, op.controls)  # type: ignore[arg-type]  # tasks have no unbound inputs


def compiled(n: int, ops: Sequence[Op]) -> tuple[Any, complex]:
    """A qulacs circuit of the operations as they are, and the phase factor left over."""
    from qulacs import QuantumCircuit

    circuit = QuantumCircuit(n)
    phase: complex = 1.0
    for op in ops:
        adder = ADD.get(op.gate)
        if adder is not None and not op.controls:
            adder(circuit, op.qubits, op.params)
        else:
            phase *= add(circuit, op)
    return circuit, phase
