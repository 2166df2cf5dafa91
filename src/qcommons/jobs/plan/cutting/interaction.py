"""What a two-qubit gate does between its qubits: a sum of Pauli products between one-qubit gates.

Flow: Op -> *interaction_of* -> find (what a cut costs), exact and sampled (how it is made).

Every two-qubit unitary is (A2 x B2) N (A1 x B1) with N = sum_m u_m P_m x Q_m, at most four terms, letters of one side
distinct: an operator-Schmidt decomposition in unitaries. The |u_m| are its Schmidt coefficients, sum |u_m|^2 = 1, so
they do not depend on how it was found. Three ways, the neatest first, so that a Clifford gate leaves Clifford gates:
  Pauli      the gate is such a sum itself (rzz, swap, iswap, ecr, ...);
  controlled block-diagonal in one qubit, which leaves exp(i t/4 Z n.s) up to local gates (cx, cp, crx, cu, ...);
  any        through the magic basis, where local gates are real and N is diagonal.
Source: Kraus and Cirac, PRA 63, 062309 (2001) for the last; Schmitt, Piveteau and Sutter, arXiv:2312.11638, section 2,
for the role of u. Matrices are little-endian: the first qubit is the least significant.
"""

from __future__ import annotations

import cmath
import itertools
import math
from functools import lru_cache

import msgspec
import numpy as np

from qcommons.base.errors import Corrupt
from qcommons.circuits.gates import PAULI, Matrix, unitary
from qcommons.circuits.lower import euler
from qcommons.circuits.program import Op
from qcommons.jobs.plan.cutting.pauli import LETTERS

__all__ = ["Interaction", "interaction_of"]

ZERO = 1e-13  # rounding of the decompositions is a few 1e-16; a rotation by 1e-12 still counts
RIGHT = 1e-12  # largest entry of the difference to the gate that is taken for rounding
Local = tuple[float, float, float] | None  # angles of `u`; None: nothing to do

_SQ2 = 1 / math.sqrt(2)
MAGIC = _SQ2 * np.array([[1, 0, 0, 1j], [0, 1j, 1, 0], [0, 1j, -1, 0], [1, 0, 0, -1j]], dtype=np.complex128)


class Interaction(msgspec.Struct, frozen=True):
    """terms: (u, letter on the first qubit, letter on the second). before, after: `u` on (first, second), or None."""

    terms: tuple[tuple[complex, str, str], ...]
    before: tuple[Local, Local] = (None, None)
    after: tuple[Local, Local] = (None, None)

    @property
    def letters(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Of the first qubit and of the second, in the order of the terms."""
        return tuple(a for _, a, _ in self.terms), tuple(b for _, _, b in self.terms)

    @property
    def size(self) -> float:
        """sum |u|: 1 of a local gate, sqrt(2) of cx, 2 of swap."""
        return math.fsum(abs(u) for u, _, _ in self.terms)

    def local(self, when: str, side: int, qubit: int) -> tuple[Op, ...]:
        """The one-qubit gate "before" or "after" on side 0 or 1, applied to `qubit`."""
        angles = (self.before if when == "before" else self.after)[side]
        return () if angles is None else (Op("u", (qubit,), angles),)


def interaction_of(op: Op) -> Interaction:
    """Of a gate on two qubits (controls counted) with its parameters bound; global phase is left out."""
    return _interaction(op.gate, op.params, op.controls)


@lru_cache(maxsize=4096)
def _interaction(gate: str, params: tuple[float, ...], controls: int) -> Interaction:
    matrix = unitary(gate, params, controls)
    found = _as_paulis(matrix) or _as_controlled(matrix) or _any(matrix)
    off = _distance(_matrix(found), matrix)
    if off > RIGHT:
        raise Corrupt(f"{gate}{params}: its interaction is off by {off:.1e}, more than {RIGHT:.0e}")
    return found


def _pair(first: Matrix, second: Matrix) -> Matrix:
    return np.asarray(np.kron(second, first), dtype=np.complex128)


def _as_paulis(matrix: Matrix) -> Interaction | None:
    """The gate as it is, where each letter has at most one partner."""
    terms = []
    for a, b in itertools.product(LETTERS, LETTERS):
        u = complex(np.trace(_pair(PAULI[a], PAULI[b]) @ matrix)) / 4
        if abs(u) > ZERO:
            terms.append((u, a, b))
    if len({a for _, a, _ in terms}) < len(terms) or len({b for _, _, b in terms}) < len(terms):
        return None
    return Interaction(tuple(terms))


def _as_controlled(matrix: Matrix) -> Interaction | None:
    """P0 x V + P1 x W on either qubit: V, then exp(i phase) exp(-i t/2 n.s) = V^dag W controlled."""
    for side in (0, 1):
        blocks = matrix.reshape(2, 2, 2, 2).transpose((1, 3, 0, 2) if side == 0 else (0, 2, 1, 3))
        if max(np.abs(blocks[0, 1]).max(), np.abs(blocks[1, 0]).max()) > ZERO:
            continue
        first = blocks[0, 0]
        turn = first.conj().T @ blocks[1, 1]
        phase = cmath.phase(complex(np.linalg.det(turn))) / 2
        special = cmath.exp(-1j * phase) * turn
        cos = float(np.trace(special).real) / 2
        axis = [float((1j * np.trace(PAULI[letter] @ special)).real) / 2 for letter in "XYZ"]
        sin = math.hypot(*axis)
        if sin <= ZERO:
            return None
        return _controlled_turn(side, first, 2 * math.atan2(sin, cos), [part / sin for part in axis], phase)
    return None


def _controlled_turn(side: int, first: Matrix, angle: float, axis: list[float], phase: float) -> Interaction:
    """(1 x first) times the phase on the control, exp(-i angle/4 n.s) on the target, and exp(i angle/4 Z n.s)."""
    half = _turn(axis, angle / 2)
    along = [abs(part) > ZERO for part in axis]
    letter = "XYZ"[along.index(True)] if sum(along) == 1 else None
    before: Local = None
    after = first @ half
    sign = 1.0
    if letter is None:
        tilt = _tilt(axis)
        letter, before, after = "Z", _angles(tilt.conj().T), after @ tilt
    else:
        sign = math.copysign(1.0, axis["XYZ".index(letter)])
    u = 1j * sign * math.sin(angle / 4)
    control: Local = (0.0, 0.0, phase) if abs(phase) > ZERO else None
    if side == 0:
        terms = ((complex(math.cos(angle / 4)), "I", "I"), (u, "Z", letter))
        return Interaction(terms, (None, before), (control, _angles(after)))
    terms = ((complex(math.cos(angle / 4)), "I", "I"), (u, letter, "Z"))
    return Interaction(terms, (before, None), (_angles(after), control))


def _turn(axis: list[float], angle: float) -> Matrix:
    """exp(-i angle/2 n.s)."""
    inner = sum(part * PAULI[letter] for part, letter in zip(axis, "XYZ", strict=True))
    return np.asarray(math.cos(angle / 2) * PAULI["I"] - 1j * math.sin(angle / 2) * inner)


def _tilt(axis: list[float]) -> Matrix:
    """A unitary T with T Z T^dag = n.s."""
    theta = math.atan2(math.hypot(axis[0], axis[1]), axis[2])
    return unitary("u", (theta, math.atan2(axis[1], axis[0]), 0.0))


def _any(matrix: Matrix) -> Interaction:
    """Through the magic basis: U^T U there is symmetric, and a real rotation makes it diagonal."""
    inside = MAGIC.conj().T @ (matrix / np.linalg.det(matrix) ** 0.25) @ MAGIC
    right = _real_eigenvectors(inside.T @ inside)
    if np.linalg.det(right) < 0:
        right[:, 0] *= -1
    phases = np.angle(np.diag(right.T @ inside.T @ inside @ right)) / 2
    left = np.real(inside @ right * np.exp(-1j * phases))
    if np.linalg.det(left) < 0:
        phases[0] += math.pi
        left[:, 0] *= -1
    core = MAGIC @ np.diag(np.exp(1j * phases)) @ MAGIC.conj().T
    terms = [(complex(np.trace(_pair(PAULI[a], PAULI[a]) @ core)) / 4, a, a) for a in LETTERS]
    return Interaction(
        tuple(term for term in terms if abs(term[0]) > ZERO),
        _split(MAGIC @ right.T @ MAGIC.conj().T),
        _split(MAGIC @ left @ MAGIC.conj().T),
    )


def _real_eigenvectors(symmetric: Matrix) -> Matrix:
    """Real orthogonal P with P^T M P diagonal, M symmetric and unitary: its real and imaginary parts commute.

    Eigenvectors of one mixture of the two are those of both unless the mixture has equal eigenvalues that M has not:
    of the mixtures tried, the one that leaves least beside the diagonal.
    """
    best, rest = np.eye(4), math.inf
    for angle in (0.3, 1.1, 1.9, 2.7, 0.7, 1.5, 2.3, 3.1):
        _, vectors = np.linalg.eigh(math.cos(angle) * symmetric.real + math.sin(angle) * symmetric.imag)
        turned = vectors.T @ symmetric @ vectors
        beside = float(np.abs(turned - np.diag(np.diag(turned))).max())
        if beside < rest:
            best, rest = vectors, beside
    return best  # type: ignore[return-value]  # real


def _split(pair: Matrix) -> tuple[Local, Local]:
    """Angles of (first, second) of a product of two one-qubit gates."""
    tensor = pair.reshape(2, 2, 2, 2)  # second, first, second', first'
    i, j, k, m = np.unravel_index(int(np.abs(tensor).argmax()), tensor.shape)
    first, second = tensor[i, :, k, :], tensor[:, j, :, m]
    return _angles(_unit(first)), _angles(_unit(second))


def _unit(matrix: Matrix) -> Matrix:
    return np.asarray(matrix / np.sqrt(np.linalg.det(matrix)))


def _angles(matrix: Matrix) -> Local:
    """Of `u`, up to phase; None of the identity."""
    if max(abs(matrix[0, 1]), abs(matrix[1, 0]), abs(matrix[0, 0] - matrix[1, 1])) <= ZERO:
        return None
    return euler(matrix)[:3]


def _matrix(found: Interaction) -> Matrix:
    """What the interaction says, up to phase."""
    full = sum((u * _pair(PAULI[a], PAULI[b]) for u, a, b in found.terms), np.zeros((4, 4), dtype=np.complex128))
    before, after = (
        _pair(*[PAULI["I"] if angles is None else unitary("u", angles) for angles in side])
        for side in (found.before, found.after)
    )
    return np.asarray(after @ full @ before)


def _distance(a: Matrix, b: Matrix) -> float:
    """Largest entry of the difference after the best global phase."""
    overlap = complex(np.vdot(a, b))
    return float(np.abs(a * cmath.exp(1j * cmath.phase(overlap)) - b).max())
