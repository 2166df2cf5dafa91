"""Fusion for qulacs: many small gates become few matrices before the state is touched.

Flow: run of operations -> *fused* -> qulacs QuantumCircuit -> qulacs_engine.

On large states a gate costs one pass over memory, and qulacs' two-qubit dense product costs about as
much as its one-qubit one (5-7 ns an amplitude), a diagonal on ten qubits as much as on one (2-4 ns;
one thread, AVX2). So one-qubit gates wait and go into the next two-qubit matrix on their qubit,
or into the last one; waiting gates that nothing takes are paired; diagonal gates gather in
diagonals of up to DIAGONAL_QUBITS qubits. A block whose gates have cheap kernels of their own
(CX, CZ, SWAP, X, H ...) is left as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcommons.circuits.program import Op
from qcommons.engines.action import action_of
from qcommons.engines.qulacs_gates import CHEAP, add, matrix_of, phase_of

__all__ = ["fused"]

Matrix = NDArray[np.complex128]
DIAGONAL_QUBITS = 10  # 1,024 factors, 16 KiB: the table stays in the first-level cache
DENSE_ONE, DENSE_TWO = 5.0, 6.3  # ns an amplitude, as in CHEAP
SWAP_ORDER = np.array([0, 2, 1, 3])
EYE = np.eye(2, dtype=np.complex128)


class _Block:
    """Gates that are applied together. kind: "ops" (as they are), "dense" (<= 2 qubits) or "diagonal"."""

    __slots__ = ("kind", "ops", "qubits", "values")

    def __init__(self, kind: str, qubits: list[int], ops: list[Op], values: Matrix) -> None:
        self.kind, self.qubits, self.ops, self.values = kind, qubits, ops, values


class _Fuser:
    """Blocks in order, and what is still open.

    last: index of the last block on a qubit. waiting: a qubit's one-qubit gates after that block.
    held: the open diagonals on a qubit. Those commute with one another, so each stays open, behind all
    blocks, until something that is not diagonal touches one of its qubits. A qubit is never both
    waiting and held: what comes second closes the first.
    """

    def __init__(self) -> None:
        self.blocks: list[_Block] = []
        self.last: dict[int, int] = {}
        self.waiting: dict[int, list[Op]] = {}
        self.held: dict[int, list[_Block]] = {}
        self.open: list[_Block] = []
        self.phase: complex = 1.0

    def take(self, op: Op) -> None:
        width = len(op.qubits)
        if op.gate == "gphase" and not width:
            self.phase *= phase_of(op)
        elif width == 1:
            self._one(op)
        elif action_of(op).diagonal is not None:
            self._diagonal(op)
        elif width == 2:
            self._two(op)
        else:
            self._close(op.qubits)
            self._push(_Block("ops", list(op.qubits), [op], EYE))

    def _one(self, op: Op) -> None:
        qubit = op.qubits[0]
        if self.held.get(qubit):
            if action_of(op).diagonal is not None:
                self._join(self.held[qubit][0], op)
                return
            self._emit(qubit)
        if qubit not in self.waiting and qubit in self.last:
            block = self.blocks[self.last[qubit]]
            if block.kind == "dense" and len(block.qubits) == 2:
                matrix = matrix_of(op)
                wide = np.kron(EYE, matrix) if block.qubits[0] == qubit else np.kron(matrix, EYE)
                block.values = wide @ block.values
                block.ops.append(op)
                return
        self.waiting.setdefault(qubit, []).append(op)

    def _same_pair(self, qubits: Sequence[int]) -> _Block | None:
        """The open two-qubit block on exactly these qubits, nothing waiting on them."""
        a, b = qubits
        if (
            any(q in self.waiting or self.held.get(q) for q in qubits)
            or a not in self.last
            or self.last[a] != self.last.get(b)
        ):
            return None
        block = self.blocks[self.last[a]]
        return block if block.kind == "dense" and len(block.qubits) == 2 else None

    def _two(self, op: Op) -> None:
        matrix = matrix_of(op)
        block = self._same_pair(op.qubits)
        if block is None:
            for qubit in op.qubits:
                self._emit(qubit)
            self._new_pair(list(op.qubits), [op], matrix)
            return
        if block.qubits[0] != op.qubits[0]:
            matrix = matrix[np.ix_(SWAP_ORDER, SWAP_ORDER)]
        block.values = matrix @ block.values
        block.ops.append(op)

    def _new_pair(self, qubits: list[int], ops: list[Op], matrix: Matrix) -> None:
        """A two-qubit block that swallows what waits on its qubits."""
        before = [self.waiting.pop(q, []) for q in qubits]
        if any(before):
            low, high = (_product(b) for b in before)
            matrix = matrix @ np.kron(high, low)
        self._push(_Block("dense", qubits, [*before[0], *before[1], *ops], matrix))

    def _diagonal(self, op: Op) -> None:
        waits = [q for q in op.qubits if q in self.waiting]
        if len(op.qubits) == 2 and (len(waits) == 2 or self._same_pair(op.qubits) is not None):
            self._two(op)
            return
        for qubit in waits:
            if qubit in self.waiting:  # not if it went along with an earlier one
                self._flush(qubit)
        if len(op.qubits) > DIAGONAL_QUBITS:
            self._close(op.qubits)
            self._push(_Block("ops", list(op.qubits), [op], EYE))
            return
        own = set(op.qubits)
        fitting = [block for block in self.open if len(own.union(block.qubits)) <= DIAGONAL_QUBITS]
        if fitting:
            block = max(fitting, key=lambda block: len(own.intersection(block.qubits)))
        else:
            block = _Block("diagonal", [], [], np.ones(1, dtype=np.complex128))
            self.open.append(block)
        self._join(block, op)

    def _join(self, block: _Block, op: Op) -> None:
        for qubit in op.qubits:
            if qubit not in block.qubits:
                block.qubits.append(qubit)
                self.held.setdefault(qubit, []).append(block)
                block.values = np.concatenate((block.values, block.values))
        index = np.arange(block.values.shape[0])
        action = action_of(op)
        local = np.zeros_like(index)
        for j, t in enumerate(action.targets):
            local |= ((index >> block.qubits.index(op.qubits[t])) & 1) << j
        factors = action.matrix.diagonal()[local]
        for c in action.controls:
            factors = np.where((index >> block.qubits.index(op.qubits[c])) & 1, factors, 1)
        block.values = block.values * factors
        block.ops.append(op)

    def _emit(self, qubit: int) -> None:
        """Put the open diagonals on a qubit behind the blocks: something else follows there."""
        for block in list(self.held.get(qubit, ())):
            for other in block.qubits:
                self.held[other].remove(block)
            self.open.remove(block)
            self._push(block)

    def _close(self, qubits: Sequence[int]) -> None:
        """Emit all that is open or waiting on some qubits."""
        for qubit in qubits:
            self._emit(qubit)
            if qubit in self.waiting:
                self._flush(qubit)

    def _flush(self, qubit: int) -> None:
        """Emit what waits on a qubit; if it is dear, another waiting qubit comes along for free."""
        ops = self.waiting[qubit]
        if _dear(ops):
            partner = next((q for q, more in self.waiting.items() if q != qubit and _dear(more)), None)
            if partner is not None:
                self._new_pair([qubit, partner], [], np.eye(4, dtype=np.complex128))
                return
        del self.waiting[qubit]
        self._push(_Block("dense", [qubit], ops, _product(ops)))

    def _push(self, block: _Block) -> None:
        for qubit in block.qubits:
            self.last[qubit] = len(self.blocks)
        self.blocks.append(block)

    def finish(self) -> list[_Block]:
        while self.waiting:
            self._flush(next(iter(self.waiting)))
        for block in self.open:
            self._push(block)
        return self.blocks


def _product(ops: list[Op]) -> Matrix:
    matrix = EYE
    for op in ops:
        matrix = matrix_of(op) @ matrix
    return matrix


def _price(ops: list[Op]) -> float:
    """ns an amplitude of the gates as they are."""
    dense = (DENSE_ONE, DENSE_ONE, DENSE_TWO)
    return sum(CHEAP.get(op.gate, dense[min(len(op.qubits), 2)]) if not op.controls else 3.0 for op in ops)


def _dear(ops: list[Op]) -> bool:
    return _price(ops) > 0.7 * DENSE_ONE


def fused(n: int, ops: Sequence[Op]) -> tuple[Any, complex]:
    """A qulacs circuit equal to the operations, and the phase factor left over."""
    from qulacs import QuantumCircuit, gate

    fuser = _Fuser()
    for op in ops:
        fuser.take(op)
    circuit = QuantumCircuit(n)
    for block in fuser.finish():
        price = DENSE_ONE if len(block.qubits) == 1 else DENSE_TWO if block.kind == "dense" else 3.5
        if block.kind == "ops" or _price(block.ops) <= price:
            for op in block.ops:
                fuser.phase *= add(circuit, op)
        elif block.kind == "diagonal":
            circuit.add_gate(gate.DiagonalMatrix(block.qubits, block.values))
        elif len(block.qubits) == 1:
            circuit.add_gate(gate.DenseMatrix(block.qubits[0], block.values))
        else:
            circuit.add_gate(gate.DenseMatrix(block.qubits, block.values))
    return circuit, fuser.phase
