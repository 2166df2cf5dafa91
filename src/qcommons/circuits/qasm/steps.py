"""Gate algebra: what modifiers do to a list of steps.

Flow: gatebook -> *steps* -> builder. A step is a row of the gate table on positions of an
imaginary register, with controls first. `ctrl`, `inv` and `pow` map lists of steps to lists of
steps, exactly in global phase: a `gphase` step under a control becomes a phase on the control.
Real powers are principal: U^r = exp(r Log U) with eigenphases in (-pi, pi] (OpenQASM 3.0, 4.3).
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from qcommons.circuits import gates
from qcommons.circuits.program import Affine, Param

__all__ = [
    "FOLDED",
    "Step",
    "controlled",
    "finite",
    "fold",
    "grows",
    "inverted",
    "matrix_of",
    "plus",
    "repeated",
    "rooted",
    "times",
    "turns",
]

Step = tuple[str, tuple[Param, ...], tuple[int, ...], int]  # row, parameters, positions, controls
Matrix = NDArray[np.complex128]

_UNFOLDED: dict[str, tuple[str, int]] = {
    "cx": ("x", 1), "ccx": ("x", 2), "c3x": ("x", 3), "c4x": ("x", 4), "cy": ("y", 1), "cz": ("z", 1),
    "ccz": ("z", 2), "ch": ("h", 1), "cs": ("s", 1), "csdg": ("sdg", 1), "csx": ("sx", 1), "c3sx": ("sx", 3),
    "c3sxdg": ("sxdg", 3), "cp": ("p", 1), "crx": ("rx", 1), "cry": ("ry", 1), "crz": ("rz", 1), "cu3": ("u", 1),
    "cswap": ("swap", 1),
}  # fmt: skip  # row -> (what it controls, number of controls)
FOLDED = {inner: row for row, inner in _UNFOLDED.items()}


def plus(left: Param, right: Param) -> Param:
    """Sum of two parameters."""
    if not isinstance(left, Affine):
        if not isinstance(right, Affine):
            return left + right
        return Affine(left + right.const, right.terms)
    if not isinstance(right, Affine):
        return Affine(left.const + right, left.terms)
    terms = dict(left.terms)
    for name, value in right.terms:
        terms[name] = terms.get(name, 0.0) + value
    kept = tuple(sorted((name, value) for name, value in terms.items() if value != 0.0))
    return Affine(left.const + right.const, kept) if kept else left.const + right.const


def times(factor: float, value: Param) -> Param:
    if not isinstance(value, Affine):
        return factor * value
    scaled = ((name, factor * term) for name, term in value.terms)
    kept = tuple((name, term) for name, term in scaled if term != 0.0)  # tiny ones may underflow
    return Affine(factor * value.const, kept) if kept else factor * value.const


def finite(value: Param) -> bool:
    """No infinity and no NaN in a parameter."""
    if isinstance(value, Affine):
        return math.isfinite(value.const) and all(math.isfinite(term) for _, term in value.terms)
    return math.isfinite(value)


class _Number:
    """A parameter with the three operators that the table's inverses use."""

    __slots__ = ("value",)

    def __init__(self, value: Param) -> None:
        self.value = value

    def __neg__(self) -> _Number:
        return _Number(times(-1.0, self.value))

    def __add__(self, other: float) -> _Number:
        return _Number(plus(self.value, other))

    def __sub__(self, other: float) -> _Number:
        return _Number(plus(self.value, -other))


def fold(row: str, params: tuple[Param, ...], controls: int) -> tuple[str, tuple[Param, ...], int]:
    """The same gate as the row with the fewest extra controls: (x, 2) is ccx, (ccx, 1) is c3x."""
    if not controls:
        return row, params, 0
    inner, own = _UNFOLDED.get(row, (row, 0))
    total = own + controls
    if inner == "gphase":  # controlled exp(i gamma) is a phase on the last control
        inner, total = "p", total - 1
    if not total:
        return inner, params, 0
    outer = FOLDED.get((inner, total))
    return (outer, params, 0) if outer else (inner, params, total)


def controlled(steps: Iterable[Step], signs: tuple[bool, ...]) -> tuple[Step, ...]:
    """One more control for each sign (True: acts on |1>), in front of the steps' positions."""
    n = len(signs)
    front = tuple(range(n))
    flips: list[Step] = [("x", (), (i,), 0) for i, sign in enumerate(signs) if not sign]
    inner: list[Step] = []
    for row, params, positions, controls in steps:
        moved = tuple(p + n for p in positions)
        if row == "barrier":
            inner.append((row, params, moved, 0))
            continue
        name, kept, total = fold(row, params, controls + n)
        inner.append((name, kept, front + moved, total))
    return (*flips, *inner, *flips)


def inverted(steps: Iterable[Step]) -> tuple[Step, ...]:
    """The inverse, steps in reverse order."""
    return tuple(map(_inverse, reversed(tuple(steps))))


def _inverse(step: Step) -> Step:
    row, params, positions, controls = step
    if row == "barrier":
        return step
    if not any(isinstance(p, Affine) for p in params):
        name, numbers = gates.inverse(row, params)  # type: ignore[arg-type]
        inverse: tuple[Param, ...] = numbers
    else:
        name, wrapped = gates.GATES[row].inverse(*map(_Number, params))
        inverse = tuple(w.value if isinstance(w, _Number) else w for w in wrapped)
    name, inverse, controls = fold(name, inverse, controls) if controls else (name, inverse, 0)
    return name, inverse, positions, controls


def repeated(steps: tuple[Step, ...], power: int) -> tuple[Step, ...]:
    """Integer power; of a lone rotation or phase by multiplying its angle. The caller checks the size."""
    if power < 0:
        steps, power = inverted(steps), -power
    if power > 1 and len(steps) == 1 and turns(steps[0][0]):
        row, params, positions, controls = steps[0]
        angle = times(float(power), params[0])
        return ((row, (angle,), positions, controls),)
    return steps * power


def grows(steps: tuple[Step, ...], power: int) -> int:
    """How many steps `repeated` makes."""
    one = len(steps) == 1 and turns(steps[0][0])
    return 1 if one and power else len(steps) * abs(power)


def turns(row: str) -> bool:
    """True for exp(i angle G): powers multiply the angle."""
    inner = _UNFOLDED.get(row, (row, 0))[0]
    return inner == "gphase" or (row != "barrier" and gates.GATES[inner].pauli is not None)


def rooted(steps: tuple[Step, ...], power: float) -> tuple[tuple[Step, ...], str] | None:
    """Principal real power and a note (may be empty), or None where there is no closed form here."""
    if not steps:
        return (), ""
    if len(steps) == 1 and (answer := _rooted_step(steps[0], power)) is not None:
        return answer
    one_qubit = all(set(positions) <= {0} for _, _, positions, _ in steps)
    if not one_qubit or any(isinstance(p, Affine) for _, params, _, _ in steps for p in params):
        return None
    return one_qubit_steps(_principal(matrix_of(steps, 1), power)), ""


def _rooted_step(step: Step, power: float) -> tuple[tuple[Step, ...], str] | None:
    row, params, positions, controls = step
    inner, own = _UNFOLDED.get(row, (row, 0))
    total = own + controls
    if inner in ("swap", "iswap"):
        found = _exchange_power(inner, power)
    elif turns(inner):
        answer = _turned(inner, params[0], power)
        if answer is None:
            return None
        found, note = answer
        return _placed(found, positions, total), note
    elif inner != "barrier" and gates.GATES[inner].n_qubits == 1 and total:
        if any(isinstance(p, Affine) for p in params):
            return None
        matrix = gates.unitary(inner, params)  # type: ignore[arg-type]
        found = one_qubit_steps(_principal(matrix, power))
    else:
        return None
    return _placed(found, positions, total), ""


def _placed(steps: tuple[Step, ...], positions: tuple[int, ...], controls: int) -> tuple[Step, ...]:
    """Steps over 0, 1, ... under `controls` controls, moved to `positions` (controls first)."""
    outer = controlled(steps, (True,) * controls)
    return tuple((row, params, tuple(positions[i] for i in own), more) for row, params, own, more in outer)


def _turned(row: str, angle: Param, power: float) -> tuple[tuple[Step, ...], str] | None:
    """Principal power of a phase (period 2 pi) or of a Pauli rotation (period 4 pi)."""
    where = tuple(range(gates.GATES[row].n_qubits))
    phase = row in ("gphase", "p")
    if isinstance(angle, Affine):
        bound = "pi" if phase else "2 pi"
        note = f"pow({power!r}) @ {row} of an input assumes an angle of magnitude below {bound}"
        return ((row, (times(power, angle),), where, 0),), note
    period = math.tau if phase else 2 * math.tau
    wrapped = math.remainder(angle, period)
    if abs(abs(wrapped) - period / 2) < 1e-12:  # eigenphase pi, the closed end of (-pi, pi]
        if not phase:
            return (("gphase", (math.pi * power,), (), 0),), ""
        wrapped = period / 2
    return ((row, (power * wrapped,), where, 0),), ""


def _exchange_power(row: str, power: float) -> tuple[Step, ...]:
    """swap = exp(i pi/4 (1 - XX - YY - ZZ)) and iswap = exp(i pi/4 (XX + YY)), all terms commuting."""
    both = (0, 1)
    if row == "iswap":
        angle = -math.pi / 2 * power
        return (("rxx", (angle,), both, 0), ("ryy", (angle,), both, 0))
    angle = math.pi / 2 * power
    turns: tuple[Step, ...] = tuple((name, (angle,), both, 0) for name in ("rxx", "ryy", "rzz"))
    return (("gphase", (angle / 2,), (), 0), *turns)


def matrix_of(steps: Iterable[Step], n_qubits: int) -> Matrix:
    """complex128 of shape (2**n, 2**n), little-endian, of steps with numeric parameters."""
    full: Matrix = np.eye(1 << n_qubits, dtype=np.complex128)
    for row, params, positions, controls in steps:
        if row != "barrier":
            own = gates.unitary(row, params, controls)  # type: ignore[arg-type]
            full = gates.embed(own, positions, n_qubits) @ full if positions else own[0, 0] * full
    return full


def _principal(matrix: Matrix, power: float) -> Matrix:
    """exp(power Log matrix) of a 2x2 unitary, eigenphases in (-pi, pi]."""
    # Times a phase it is cos(w) - i sin(w) K, and the eigenvectors of the Hermitian K are orthogonal to all
    # digits; those of the matrix itself are not where its eigenvalues nearly agree.
    special = matrix * cmath.exp(-0.5j * cmath.phase(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0]))
    _, vectors = np.linalg.eigh(0.5j * (special - special.conj().T))
    angles = np.angle(np.diag(vectors.conj().T @ matrix @ vectors))
    angles = np.where(angles < -math.pi + 1e-12, math.pi, angles)
    powered: Matrix = vectors @ np.diag(np.exp(1j * power * angles)) @ vectors.conj().T
    return powered


def one_qubit_steps(matrix: Matrix) -> tuple[Step, ...]:
    """A 2x2 unitary as one fixed gate, or as gphase and p or u; exact in global phase."""
    for row in ("id", "x", "y", "z", "h", "s", "sdg", "t", "tdg", "sx", "sxdg"):
        if np.allclose(matrix, gates.unitary(row), rtol=0, atol=1e-13):
            return ((row, (), (0,), 0),)
    a, b, c, d = complex(matrix[0, 0]), complex(matrix[0, 1]), complex(matrix[1, 0]), complex(matrix[1, 1])
    if abs(b) + abs(c) < 1e-14:
        own: Step = ("p", (cmath.phase(d / a),), (0,), 0)
        gamma = cmath.phase(a)
    else:
        theta = 2 * math.atan2(abs(c), abs(a))
        gamma = cmath.phase(a) if abs(a) > 1e-14 else cmath.phase(c)
        phi = cmath.phase(c) - gamma
        # the smaller entries' phases are the less certain ones; phi + lambda is the phase of d / a
        lam = cmath.phase(d / a) - phi if abs(a) > abs(c) else cmath.phase(-b) - gamma
        own = ("u", (theta, phi, lam), (0,), 0)
    return (("gphase", (gamma,), (), 0), own) if abs(gamma) > 1e-15 else (own,)
