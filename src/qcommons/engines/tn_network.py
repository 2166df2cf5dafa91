"""Circuits as tensor networks: amplitudes and expectation values as sums over shared indices.

Flow: gates -> fuse (mps_plan) -> *network* -> tn_engine, which plans and contracts. A two-qubit gate
is split into two tensors where its operator Schmidt rank is below 4 (cx, cz, rzz: 2; arXiv:0710.0692),
which halves the width that a contraction needs; one-qubit factors are absorbed by fusing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from qcommons.circuits.gates import PAULI, unitary
from qcommons.circuits.lower import lower_op
from qcommons.circuits.program import Op
from qcommons.engines.mps_plan import TWO_QUBIT, Step, fuse

__all__ = ["Network", "amplitude_network", "expectation_network", "steps_of"]

Tensor = NDArray[np.complex128]
RANK_ZERO = 1e-13  # operator Schmidt coefficients below this (of a unitary's 2) are rounding
KET0 = np.array([1, 0], dtype=np.complex128)


class Network(msgspec.Struct, frozen=True):
    """A closed network: every index is on two tensors.

    inputs: index numbers of each tensor, axis by axis. arrays: the tensors.
    ends: position in `arrays` of the tensor that closes each qubit (amplitude networks).
    """

    inputs: list[tuple[int, ...]]
    arrays: list[Tensor]
    ends: list[int]


class _Weaver:
    """Adds gates to open wires; index numbers are handed out in order."""

    def __init__(self, n_qubits: int) -> None:
        self.inputs: list[tuple[int, ...]] = []
        self.arrays: list[Tensor] = []
        self.wires = [self.fresh() for _ in range(n_qubits)]
        for wire in self.wires:
            self.add((wire,), KET0)

    def fresh(self) -> int:
        self.made = getattr(self, "made", -1) + 1
        return self.made

    def add(self, indices: tuple[int, ...], array: Tensor) -> None:
        self.inputs.append(indices)
        self.arrays.append(array)

    def step(self, step: Step) -> None:
        qubits, matrix = step
        if len(qubits) == 1:
            (q,) = qubits
            out = self.fresh()
            self.add((out, self.wires[q]), matrix)
            self.wires[q] = out
            return
        a, b = qubits
        out_a, out_b = self.fresh(), self.fresh()
        in_a, in_b = self.wires[a], self.wires[b]
        # rows and columns run over (b, a): the first qubit is least significant
        pairs = matrix.reshape(2, 2, 2, 2).transpose(1, 3, 0, 2).reshape(4, 4)  # (out_a, in_a) x (out_b, in_b)
        u, values, v = np.linalg.svd(pairs)
        rank = int((values > RANK_ZERO).sum())
        if rank < 4:
            bond = self.fresh()
            root = np.sqrt(values[:rank])
            self.add((out_a, in_a, bond), (u[:, :rank] * root).reshape(2, 2, rank))
            self.add((out_b, in_b, bond), (v[:rank].T * root).reshape(2, 2, rank))
        else:
            self.add((out_b, out_a, in_b, in_a), matrix.reshape(2, 2, 2, 2))
        self.wires[a], self.wires[b] = out_a, out_b


def steps_of(gates: Sequence[Op], n_qubits: int) -> tuple[list[Step], complex]:
    """Fused matrices on one or two qubits, and the global phase factor."""
    small: list[Step] = []
    phase = 0.0
    for op in gates:
        for part in lower_op(op, TWO_QUBIT, n_qubits):
            if part.gate == "gphase":
                phase += part.params[0]  # type: ignore[operator]  # bound programs only
            else:
                small.append((part.qubits, unitary(part.gate, part.params)))  # type: ignore[arg-type]
    return fuse(small), complex(np.exp(1j * phase))


def amplitude_network(gates: Sequence[Op], n_qubits: int) -> tuple[Network, complex]:
    """<0..0| U |0..0> and the global phase factor; replace `arrays[ends[q]]` by <1| for other bits."""
    steps, phase = steps_of(gates, n_qubits)
    weaver = _Weaver(n_qubits)
    for step in steps:
        weaver.step(step)
    ends = []
    for wire in weaver.wires:
        ends.append(len(weaver.arrays))
        weaver.add((wire,), KET0)
    return Network(weaver.inputs, weaver.arrays, ends), phase


def expectation_network(gates: Sequence[Op], n_qubits: int, paulis: Mapping[int, str]) -> Network:
    """<0| U^dagger P U |0> for a Pauli string, qubit -> letter."""
    steps, _ = steps_of(gates, n_qubits)
    weaver = _Weaver(n_qubits)
    for step in steps:
        weaver.step(step)
    for qubit, letter in paulis.items():
        weaver.step(((qubit,), PAULI[letter]))
    for qubits, matrix in reversed(steps):
        weaver.step((qubits, matrix.conj().T))
    for wire in weaver.wires:
        weaver.add((wire,), KET0)
    return Network(weaver.inputs, weaver.arrays, [])
