"""A program as a closed tensor network that every machine builds alike, slice by slice.

Flow: Program, Slices -> *amplitude*, *expectation* -> Closed -> tn_tree (a tree of that network?) -> tn_slices.
A slice fixes the values of some indices, so all who share the slices of one sum must mean the same thing by an index. A
singular value decomposition does not give that: cz has two equal singular values, whose vectors are any basis of a
plane, and which one depends on the processor. So two-qubit gates are split by elimination with complete pivoting, ties
broken by position (`_split`), and every index has dimension 2.

Tensors are contracted with a neighbour wherever the result is no larger than the larger of the two (`_reduced`).
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from qcommons.base.errors import Unavailable
from qcommons.circuits.gates import PAULI
from qcommons.circuits.program import Op
from qcommons.engines.mps_plan import Step
from qcommons.engines.records import TREE_MAX
from qcommons.engines.tn_network import steps_of

__all__ = ["Closed", "amplitude", "expectation"]

Tensor = NDArray[np.complex128]
PIVOT_TIE = 1e-6  # entries within this share of the largest count as equal to it: roundings must not choose the pivot
RANK_ZERO = 1e-12  # of the largest entry: what is left of a gate of rank 2 after two steps is rounding
KET = np.array([[1, 0], [0, 1]], dtype=np.complex128)


class Closed(msgspec.Struct, frozen=True):
    """Every index is on two tensors and has dimension 2.

    legs: of each tensor, its indices as bits of one integer. axes: the same, axis by axis. owners: of each tensor, the
    qubit it stands on: where to start looking for a tree. phase: factor of the contracted number.
    """

    legs: tuple[int, ...]
    axes: tuple[tuple[int, ...], ...]
    arrays: tuple[Tensor, ...]
    owners: tuple[int, ...]
    n_indices: int
    phase: complex

    @property
    def shape_id(self) -> str:
        """Of the tensors and their indices, not of the numbers: equal where slices and trees mean the same."""
        return hashlib.sha256(repr(self.axes).encode("ascii")).hexdigest()[:32]


def amplitude(gates: Sequence[Op], n_qubits: int, bits: str) -> Closed:
    """<bits| U |0..0>; the rightmost of `bits` is qubit 0. The shape is the same for all `bits`."""
    steps, phase = steps_of(gates, n_qubits)
    weaver = _Weaver(n_qubits, len(steps))
    for step in steps:
        weaver.step(step)
    for qubit, wire in enumerate(weaver.wires):
        weaver.add((wire,), KET[int(bits[n_qubits - 1 - qubit])], qubit)
    return _reduced(weaver, phase)


def expectation(gates: Sequence[Op], n_qubits: int, paulis: Mapping[int, str]) -> Closed:
    """<0| U^dagger P U |0> of a Pauli string, qubit -> letter."""
    steps, _ = steps_of(gates, n_qubits)
    weaver = _Weaver(n_qubits, 2 * len(steps))
    for step in steps:
        weaver.step(step)
    for qubit, letter in sorted(paulis.items()):
        weaver.step(((qubit,), PAULI[letter]))
    for qubits, matrix in reversed(steps):
        weaver.step((qubits, matrix.conj().T))
    for qubit, wire in enumerate(weaver.wires):
        weaver.add((wire,), KET[0], qubit)
    return _reduced(weaver, 1.0 + 0.0j)


class _Weaver:
    """Adds gates to open wires; indices are numbered in order.

    Raises:
        Unavailable: more tensors than a tree may have (`records.TREE_MAX`).
    """

    def __init__(self, n_qubits: int, n_steps: int) -> None:
        if 2 * (n_qubits + n_steps) > TREE_MAX:
            tensors = 2 * (n_qubits + n_steps)
            raise Unavailable(f"a tensor network of {tensors:,} tensors; at most {TREE_MAX:,}", limit=f"{TREE_MAX:,}")
        self.axes: list[tuple[int, ...]] = []
        self.arrays: list[Tensor] = []
        self.owners: list[int] = []
        self.n_indices = n_qubits
        self.wires = list(range(n_qubits))
        for wire in self.wires:
            self.add((wire,), KET[0], wire)

    def add(self, axes: tuple[int, ...], array: Tensor, owner: int) -> None:
        self.axes.append(axes)
        self.arrays.append(array)
        self.owners.append(owner)

    def fresh(self) -> int:
        self.n_indices += 1
        return self.n_indices - 1

    def step(self, step: Step) -> None:
        qubits, matrix = step
        before = [self.wires[q] for q in qubits]
        after = [self.fresh() for _ in qubits]
        if len(qubits) == 1:
            self.add((after[0], before[0]), matrix, qubits[0])
        else:
            # rows and columns of the matrix run over (b, a): the first qubit is least significant
            cube = matrix.reshape(2, 2, 2, 2)
            halves = _split(cube.transpose(1, 3, 0, 2).reshape(4, 4))  # (out_a, in_a) x (out_b, in_b)
            if halves is None:
                self.add((after[1], after[0], before[1], before[0]), cube, qubits[0])
            else:
                bond = (self.fresh(),) if halves[0].shape[2] == 2 else ()
                for k, half in enumerate(halves):
                    self.add((after[k], before[k], *bond), half if bond else half[..., 0], qubits[k])
        for q, wire in zip(qubits, after, strict=True):
            self.wires[q] = wire


def _split(pairs: Tensor) -> tuple[Tensor, Tensor] | None:
    """Two factors of operator Schmidt rank 1 or 2, shapes (2, 2, rank); None above.

    Gaussian elimination with complete pivoting: pairs = sum_k column_k row_k / pivot_k. Continuous in the entries, up
    to a choice of pivots that no rounding decides.
    """
    left, columns, rows = pairs.copy(), [], []
    top = float(np.abs(pairs).max())
    for _ in range(2):
        sizes = np.abs(left).ravel()
        if sizes.max() <= RANK_ZERO * top:
            break
        place = int(np.argmax(sizes >= (1 - PIVOT_TIE) * sizes.max()))
        r, c = divmod(place, 4)
        columns.append(left[:, c] / left[r, c])
        rows.append(left[r, :].copy())
        left = left - np.outer(columns[-1], rows[-1])
    if float(np.abs(left).max()) > RANK_ZERO * top:
        return None
    rank = len(rows)
    return np.array(columns).T.reshape(2, 2, rank), np.array(rows).T.reshape(2, 2, rank)


def _reduced(weaver: _Weaver, phase: complex) -> Closed:
    """Neighbours are contracted while no tensor grows: by shape alone, in a fixed order."""
    axes: dict[int, tuple[int, ...]] = dict(enumerate(weaver.axes))
    arrays: dict[int, Tensor] = dict(enumerate(weaver.arrays))
    owners: dict[int, int] = dict(enumerate(weaver.owners))
    holders: dict[int, set[int]] = {}
    for k, own in axes.items():
        for index in own:
            holders.setdefault(index, set()).add(k)
    todo, made = list(axes), len(axes)
    while todo:
        a = heapq.heappop(todo)
        b = _absorbed(a, axes, holders) if a in axes else None
        if b is None:
            continue
        shared = [index for index in axes[a] if index in axes[b]]
        axes[made] = tuple(index for index in (*axes[a], *axes[b]) if index not in shared)
        arrays[made] = np.tensordot(
            arrays[a], arrays[b], ([axes[a].index(i) for i in shared], [axes[b].index(i) for i in shared])
        )
        owners[made] = owners[a]
        for index in axes[made]:
            holders[index] = holders[index] - {a, b} | {made}
        for index in shared:
            del holders[index]
        for table in (axes, arrays, owners):
            del table[a], table[b]
        for neighbour in sorted({k for index in axes[made] for k in holders[index]}):
            heapq.heappush(todo, neighbour)
        made += 1
    kept = sorted(axes)
    number = {index: k for k, index in enumerate(sorted(holders))}
    named = tuple(tuple(number[index] for index in axes[k]) for k in kept)
    return Closed(
        legs=tuple(sum(1 << index for index in own) for own in named), axes=named,
        arrays=tuple(arrays[k] for k in kept), owners=tuple(owners[k] for k in kept), n_indices=len(number),
        phase=phase,
    )  # fmt: skip


def _absorbed(a: int, axes: Mapping[int, tuple[int, ...]], holders: Mapping[int, set[int]]) -> int | None:
    """The neighbour whose product with `a` is smallest, if it is no larger than the larger of the two."""
    found: list[tuple[int, int]] = []
    for b in {k for index in axes[a] for k in holders[index]} - {a}:
        rank = len(set(axes[a]) ^ set(axes[b]))
        if rank <= max(len(axes[a]), len(axes[b])):
            found.append((rank, b))
    return min(found, default=(0, None))[1]
