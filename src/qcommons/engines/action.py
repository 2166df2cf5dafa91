"""Actions: what a gate does to basis states, split into controls, targets and the kind of matrix.

Flow: Op -> *Action* -> dense, sparse. Controls are found in the matrix itself (`cp`, `ccz`, `cu` ...
as much as explicit ones), so each engine touches only the amplitudes that a gate changes.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from qcommons.circuits.gates import GATES
from qcommons.circuits.program import Op

__all__ = ["Action", "action_of", "action_of_matrix"]

Matrix = NDArray[np.complex128]
ROUNDING = float(np.finfo(np.float64).eps)  # entries below one ulp of 1 are rounding: cos(pi/2) = 6e-17


class Action(msgspec.Struct, frozen=True):
    """A gate on its own qubits, by position in `Op.qubits`.

    controls: positions that must read 1. targets: the others, first is least significant.
    matrix: complex128, shape (2**t, 2**t); t = 0 is a bare phase on the controlled part.
    diagonal: shape (2**t,) or None. moves: for a permutation with phases, where each basis state
        goes, shape (2**t,), and `phases` by old state, or None where all are 1.
    """

    controls: tuple[int, ...]
    targets: tuple[int, ...]
    matrix: Matrix
    diagonal: Matrix | None = None
    moves: NDArray[np.int64] | None = None
    phases: Matrix | None = None


def action_of(op: Op) -> Action:
    """The action of one unitary operation (memoised by gate, parameters and controls)."""
    return _cached(op.gate, op.params, op.controls)


@lru_cache(maxsize=16384)
def _cached(gate: str, params: tuple[float, ...], controls: int) -> Action:
    inner = action_of_matrix(GATES[gate].unitary(*params))
    explicit = tuple(range(controls))
    return msgspec.structs.replace(
        inner,
        controls=explicit + tuple(c + controls for c in inner.controls),
        targets=tuple(t + controls for t in inner.targets),
    )


def action_of_matrix(matrix: Matrix) -> Action:
    """The action of a unitary of shape (2**k, 2**k), little-endian."""
    if matrix.shape == (2, 2):
        return _of_one_qubit(matrix)
    matrix = np.where(np.abs(matrix) < ROUNDING, 0, matrix)
    targets = list(range(matrix.shape[0].bit_length() - 1))
    controls: list[int] = []
    at = 0
    while at < len(targets):
        smaller = _without_control(matrix, at)
        if smaller is None:
            at += 1
        else:
            controls.append(targets.pop(at))
            matrix = smaller
    where, when = tuple(controls), tuple(targets)
    filled = matrix != 0
    if not np.all(filled.sum(axis=0) == 1):
        return Action(where, when, matrix)
    moves = filled.argmax(axis=0)
    values = matrix[moves, np.arange(matrix.shape[0])]
    if np.array_equal(moves, np.arange(matrix.shape[0])):
        return Action(where, when, matrix, diagonal=values)
    return Action(where, when, matrix, moves=moves, phases=None if np.all(values == 1) else values)


def _of_one_qubit(matrix: Matrix) -> Action:
    """The same for the commonest size, five times quicker: every rotation angle comes through here once."""
    a, b, c, d = (0 if abs(entry) < ROUNDING else entry for entry in matrix.ravel().tolist())
    if b == 0 and c == 0:
        if a == 1:
            phase = np.array([d], dtype=np.complex128)
            return Action((0,), (), phase.reshape(1, 1), diagonal=phase)
        return Action((), (0,), np.diag((a, d)), diagonal=np.array((a, d)))
    matrix = np.array(((a, b), (c, d)), dtype=np.complex128)
    if a == 0 and d == 0:
        phases = None if b == 1 and c == 1 else np.array((c, b), dtype=np.complex128)
        return Action((), (0,), matrix, moves=np.array((1, 0)), phases=phases)
    return Action((), (0,), matrix)


def _without_control(matrix: Matrix, position: int) -> Matrix | None:
    """The block where qubit `position` reads 1 if that qubit is a control, else None."""
    index = np.arange(matrix.shape[0])
    on = index[(index >> position) & 1 == 1]
    off = index[(index >> position) & 1 == 0]
    mixes = matrix[np.ix_(on, off)].any() or matrix[np.ix_(off, on)].any()
    if mixes or not np.array_equal(matrix[np.ix_(off, off)], np.eye(len(off))):
        return None
    return matrix[np.ix_(on, on)]
