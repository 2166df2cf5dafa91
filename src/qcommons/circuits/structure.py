"""What a gate does to basis states, read off its row once and cached.

Flow: gates -> *structure* -> propagate, cone, features. Three facts drive every exact reduction:
which qubits an operation is diagonal in, whether it maps basis states to basis states, and which
row is left when one of its controls is known.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from qcommons.circuits.gates import GATES
from qcommons.circuits.program import Affine, Op

__all__ = ["CONTROLLED", "controlled_op", "diagonal_positions", "is_monomial", "split_controls"]

# row -> (row of the target part, number of leading control qubits)
CONTROLLED: dict[str, tuple[str, int]] = {
    "cx": ("x", 1), "cy": ("y", 1), "cz": ("z", 1), "ch": ("h", 1), "cs": ("s", 1), "csdg": ("sdg", 1),
    "csx": ("sx", 1), "cp": ("p", 1), "crx": ("rx", 1), "cry": ("ry", 1), "crz": ("rz", 1), "cu3": ("u", 1),
    "ccx": ("x", 2), "ccz": ("z", 2), "cswap": ("swap", 1), "c3x": ("x", 3), "c4x": ("x", 4),
    "c3sx": ("sx", 3), "c3sxdg": ("sxdg", 3),
}  # fmt: skip
_ROW_OF = {parts: row for row, parts in CONTROLLED.items()}
_ZERO = 1e-15  # cos(pi/2) in float64 is 6e-17; anything larger is a real amplitude


def split_controls(op: Op) -> tuple[str, int]:
    """(target row, number of leading controls) with controls of the row and of the op together."""
    base, inside = CONTROLLED.get(op.gate, (op.gate, 0))
    return base, inside + op.controls


def controlled_op(base: str, controls: int, qubits: tuple[int, ...], params: tuple[float | Affine, ...]) -> Op:
    """The op for `base` under `controls` leading controls, as a row of its own where there is one."""
    row = _ROW_OF.get((base, controls))
    if controls == 0 or row is not None:
        return Op(row or base, qubits, params)
    return Op(base, qubits, params, (), controls)


@lru_cache(maxsize=65536)
def is_monomial(gate: str, params: tuple[float | Affine, ...]) -> bool:
    """True if the gate maps every basis state to one basis state (times a phase)."""
    row = GATES[gate]
    if row.diagonal:
        return True
    if any(isinstance(p, Affine) for p in params):
        return False
    if gate == "u" or (row.pauli is not None and len(params) == 1):  # a turn: most of many angles end here
        turn: Any = params[0]
        return min(abs(math.cos(turn / 2)), abs(math.sin(turn / 2))) <= _ZERO
    matrix = np.abs(row.unitary(*params))
    return bool(np.all((matrix > _ZERO).sum(axis=0) == 1))


@lru_cache(maxsize=65536)
def diagonal_positions(gate: str, controls: int) -> tuple[bool, ...]:
    """For each qubit of the op: is the unitary block-diagonal in that qubit's Z basis?"""
    row = GATES[gate]
    k = row.n_qubits
    if row.diagonal:
        inner = (True,) * k
    elif gate in CONTROLLED:
        n = CONTROLLED[gate][1]
        inner = (True,) * n + (False,) * (k - n)
    elif gate == "cu":
        inner = (True, False)
    elif row.pauli is not None:
        inner = tuple(letter == "Z" for letter in row.pauli)
    else:
        inner = (False,) * k
    return (True,) * controls + inner


@lru_cache(maxsize=65536)
def image_of(gate: str, params: tuple[float | Affine, ...], value: int) -> int | None:
    """For a one-qubit gate: the basis state that |value> is mapped to, None if a superposition."""
    if any(isinstance(p, Affine) for p in params):
        return value if GATES[gate].diagonal else None
    column = np.abs(GATES[gate].unitary(*params)[:, value])
    if column[1] <= _ZERO:
        return 0
    return 1 if column[0] <= _ZERO else None
