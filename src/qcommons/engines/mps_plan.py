"""A circuit as steps between neighbours on a line: what a matrix product state is fed.

Flow: gates -> lower to two qubits -> fuse -> *route* -> fuse -> aer_mps. Fusing multiplies all gates
that follow each other on one pair into one 4 x 4 matrix, so that a pair costs one decomposition;
routing brings distant pairs together by swaps, which fuse into the gates beside them. All of it is
exact; the order of the qubits drifts and is given back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from qcommons.circuits.gates import GATES, SWAP, unitary
from qcommons.circuits.lower import lower_op
from qcommons.circuits.program import Op

__all__ = ["LinePlan", "plan_line"]

Matrix = NDArray[np.complex128]
Step = tuple[tuple[int, ...], Matrix]  # one or two labels, first least significant
TWO_QUBIT = frozenset(name for name, row in GATES.items() if row.n_qubits <= 2)
LOOK_AHEAD = 24  # later gates that a choice of meeting point looks at
DECAY = 0.8  # weight of each later gate against the one before
IDENTITY_WITHIN = 1e-14  # rounding of a product of tens of matrices
EYE2, EYE4 = np.eye(2, dtype=np.complex128), np.eye(4, dtype=np.complex128)


class LinePlan(msgspec.Struct, frozen=True):
    """steps: matrices on one site, or on two neighbouring sites (left one least significant).

    order: the qubit at each site at the end. phase: a global phase factor of modulus 1.
    """

    steps: list[Step]
    order: tuple[int, ...]
    phase: complex


def plan_line(gates: Sequence[Op], order: Sequence[int]) -> LinePlan:
    """Steps for the gates (unitary, any width); `order[site]` is the qubit there at the start."""
    phase = 1.0 + 0j
    small: list[Step] = []
    for op in gates:
        for inner in lower_op(op, TWO_QUBIT, len(order)):
            if inner.gate == "gphase":
                phase *= np.exp(1j * inner.params[0])  # type: ignore[operator]  # bound programs only
            else:
                small.append((inner.qubits, unitary(inner.gate, inner.params)))  # type: ignore[arg-type]
    steps, after = route(fuse(small), order)
    return LinePlan(fuse(steps), after, complex(phase))


def fuse(steps: Iterable[Step]) -> list[Step]:
    """Multiply what acts on the same pair with nothing in between; one-qubit matrices join a pair.

    Pairs that end up as the identity are dropped; each pair comes out with its smaller label first.
    """
    blocks: list[list[Step]] = []  # cells, so that a block can still grow after later ones opened
    open_block: dict[int, list[Step]] = {}
    single: dict[int, Matrix] = {}
    for labels, matrix in steps:
        if len(labels) == 1:
            cell = open_block.get(labels[0])
            if cell is None:
                single[labels[0]] = matrix @ single.get(labels[0], EYE2)
            else:
                pair, whole = cell[0]
                cell[0] = (pair, _after(whole, matrix, labels[0] == pair[0]))
            continue
        pair = (min(labels), max(labels))
        ordered = matrix if labels == pair else _exchange(matrix)
        cell = open_block.get(pair[0])
        if cell is None or cell is not open_block.get(pair[1]):
            whole = EYE4
            for label in pair:
                if label in single:
                    whole = _after(whole, single.pop(label), label == pair[0])
            cell = [(pair, ordered @ whole)]
            blocks.append(cell)
            open_block[pair[0]] = open_block[pair[1]] = cell
        else:
            cell[0] = (pair, ordered @ cell[0][1])
    fused = [cell[0] for cell in blocks if np.abs(cell[0][1] - EYE4).max() > IDENTITY_WITHIN]
    return fused + [((label,), matrix) for label, matrix in single.items()]


def _after(whole: Matrix, matrix: Matrix, first: bool) -> Matrix:
    """A 4 x 4 matrix followed by a one-qubit matrix on its first or second qubit (np.kron is ten times slower)."""
    tall: Matrix = np.matmul(matrix, whole.reshape(2, 2, 4)) if first else matrix @ whole.reshape(2, 8)
    return tall.reshape(4, 4)


def _exchange(matrix: Matrix) -> Matrix:
    """The same two-qubit matrix with its qubits named the other way round."""
    return matrix.reshape(2, 2, 2, 2).transpose(1, 0, 3, 2).reshape(4, 4)


def route(steps: Sequence[Step], order: Sequence[int]) -> tuple[list[Step], tuple[int, ...]]:
    """Steps over neighbouring sites, swaps put in; `order[site]` is the qubit there at the start.

    Returns:
        the steps, and the qubit at each site at the end.
    """
    at = list(order)
    site = [0] * len(at)
    for position, qubit in enumerate(at):
        site[qubit] = position
    later = [labels for labels, _ in steps if len(labels) == 2]
    out: list[Step] = []
    done = 0
    for labels, matrix in steps:
        if len(labels) == 1:
            out.append(((site[labels[0]],), matrix))
            continue
        done += 1
        a, b = labels
        low, high = sorted((site[a], site[b]))
        if high - low > 1:
            meet = _meeting_point(low, high, at, site, later[done : done + LOOK_AHEAD])
            for k in range(low, meet):
                _swap(out, at, site, k)
            for k in range(high - 1, meet, -1):
                _swap(out, at, site, k)
        out.append(((site[a], site[b]), matrix))
    return out, tuple(at)


def _swap(out: list[Step], at: list[int], site: list[int], k: int) -> None:
    out.append(((k, k + 1), SWAP))
    at[k], at[k + 1] = at[k + 1], at[k]
    site[at[k]], site[at[k + 1]] = k, k + 1


def _meeting_point(low: int, high: int, at: list[int], site: list[int], later: Sequence[tuple[int, ...]]) -> int:
    """Left site where the two ends meet: all choices cost the same now, so the coming gates decide."""
    moving = (at[low], at[high])
    best, best_cost = low, float("inf")
    for meet in sorted({low, (low + high) // 2, high - 1}):

        def place(qubit: int, meet: int = meet) -> int:
            s = site[qubit]
            if qubit == moving[0]:
                return meet
            if qubit == moving[1]:
                return meet + 1
            if low < s <= meet:
                return s - 1
            return s + 1 if meet < s < high else s

        weight, cost = 1.0, 0.0
        for a, b in later:
            if (a in moving) or (b in moving) or low < site[a] < high or low < site[b] < high:
                cost += weight * abs(place(a) - place(b))
            weight *= DECAY
        if cost < best_cost:
            best, best_cost = meet, cost
    return best
