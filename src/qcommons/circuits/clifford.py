"""The Clifford view: every gate as Clifford steps and Pauli rotations, exactly.

Flow: Program -> *clifford_steps* / *rotations* -> features, stim and frames engines.

Any gate is written as a sequence of exp(-i angle/2 P) with Pauli strings P. Turns on the grid of
pi/2 are Clifford; they are moved to the end, past a rotation about Q by Q -> C Q C^dag, and equal
axes that meet are added up. Under controls, exp(-i a/2 P) becomes rotations about Z_S P over all
subsets S of the controls, angle a (-1)^|S| / 2^c, because the projector on |1..1> is the product of
(1 - Z)/2: seven rotations by pi/4 for ccx, ccz and cswap, three for cp, two for crz.
Source: Litinski, Quantum 3, 128 (2019), section 1; Bravyi, Smith and Smolin, PRX 6, 021043 (2016).

Names of Clifford steps are stim's (stim gate reference); their matrices are stim's too, so the phase is exact.
"""

from __future__ import annotations

import cmath
import math
from functools import lru_cache
from typing import Any, cast

import msgspec
import numpy as np

from qcommons.base.errors import UsageError
from qcommons.circuits.controlled import ControlledStep, split_row, under_control
from qcommons.circuits.gates import GATES, PAULI, Matrix, embed, pauli_matrix, unitary
from qcommons.circuits.lower import lower
from qcommons.circuits.program import Op, Program
from qcommons.circuits.structure import CONTROLLED

__all__ = ["CliffordStep", "Expansion", "Rotation", "clifford_steps", "rotations", "stim_matrix"]

CliffordStep = tuple[str, tuple[int, ...]]
"""(stim gate name, qubits)."""
PI = math.pi
HALF_PI = math.pi / 2
GRID = 1e-12  # radians: angles this close to a multiple of pi/2 are Clifford
CONTROLS_MAX = 64  # lowered to about 50 k**2 steps
DIRECT_CONTROLS_MAX = 5  # 2**c rotations a controlled rotation; above, lowered with polynomially many
BASIS = frozenset({"rz", "rx", "ry", "p", "h", "s", "sdg", "cx", "ccx", "rccx", "gphase", "t", "tdg", "x", "z"})


class Rotation(msgspec.Struct, frozen=True, gc=False):
    """exp(-i angle/2 P), P the product of `paulis` = (qubit, letter), sorted by qubit; angle in radians."""

    paulis: tuple[tuple[int, str], ...]
    angle: float


class Expansion(msgspec.Struct, frozen=True, gc=False):
    """exp(i phase) times the steps in time order is the gate, exactly."""

    steps: tuple[CliffordStep | Rotation, ...]
    phase: float = 0.0


# A Pauli axis on the gate's own qubits: bit masks (x, z); both bits set is Y (Hermitian, sign kept apart).
_Axis = tuple[int, int]
_Turn = tuple[_Axis, float]
_LETTERS = {"I": (0, 0), "X": (1, 0), "Y": (1, 1), "Z": (0, 1)}
_LETTER_OF = {bits: letter for letter, bits in _LETTERS.items()}
_ROW_OF = {parts: row for row, parts in CONTROLLED.items()}
# Rows that are no rotation by themselves: turns (letters from position 0 on, angle) and phase, in time order.
_TURNS: dict[str, tuple[tuple[tuple[str, float], ...], float]] = {
    "id": ((), 0.0),
    "x": ((("X", PI),), PI / 2), "y": ((("Y", PI),), PI / 2), "z": ((("Z", PI),), PI / 2),
    "s": ((("Z", PI / 2),), PI / 4), "sdg": ((("Z", -PI / 2),), -PI / 4),
    "t": ((("Z", PI / 4),), PI / 8), "tdg": ((("Z", -PI / 4),), -PI / 8),
    "sx": ((("X", PI / 2),), PI / 4), "sxdg": ((("X", -PI / 2),), -PI / 4),
    "h": ((("Z", PI / 2), ("X", PI / 2), ("Z", PI / 2)), PI / 2),
    "swap": ((("XX", PI / 2), ("YY", PI / 2), ("ZZ", PI / 2)), PI / 4),
    "iswap": ((("XX", -PI / 2), ("YY", -PI / 2)), 0.0),
}  # fmt: skip


def _axis(letters: str, positions: tuple[int, ...]) -> _Axis:
    x = z = 0
    for letter, position in zip(letters, positions, strict=True):
        bits = _LETTERS[letter]
        x |= bits[0] << position
        z |= bits[1] << position
    return x, z


class _Turns:
    """A gate as turns being collected in time order; `phase` in radians."""

    def __init__(self) -> None:
        self.turns: list[_Turn] = []
        self.phase = 0.0

    def gate(self, gate: str, params: tuple[float, ...], where: tuple[int, ...], controls: int) -> None:
        """Append a gate on positions `where`, controls first."""
        base, c = split_row(gate, controls)
        on, own = where[:c], where[c:]
        row = GATES[base]
        if base == "gphase":
            self.phase_if(params[0], on)
        elif row.pauli is not None:
            self.turn(_axis(row.pauli, own), params[0], on)
            if base == "p":
                self.phase_if(params[0] / 2, on)
        elif base in _TURNS and (c == 0 or base != "h"):
            turns, phase = _TURNS[base]
            for letters, angle in turns:
                self.turn(_axis(letters, own), angle, on)
            self.phase_if(phase, on)
        elif c == 0:
            assert row.definition is not None
            for name, angles, at in row.definition(*params):
                self.gate(name, angles, tuple(own[i] for i in at), 0)
        else:
            for marked, step in under_control(base, params):
                self._step(marked, step, on, own)

    def _step(self, marked: bool, step: ControlledStep, on: tuple[int, ...], own: tuple[int, ...]) -> None:
        name, angles, at, inner = step
        where = tuple(own[i] for i in at)
        self.gate(name, angles, (*on, *where) if marked else where, inner + (len(on) if marked else 0))

    def turn(self, axis: _Axis, angle: float, on: tuple[int, ...]) -> None:
        """exp(-i angle/2 P) if all of `on` read 1."""
        for subset in range(1 << len(on)):
            z = axis[1]
            for i, q in enumerate(on):
                if subset >> i & 1:
                    z ^= 1 << q
            sign = -1 if subset.bit_count() % 2 else 1
            self.turns.append(((axis[0], z), sign * angle / (1 << len(on))))

    def phase_if(self, phase: float, on: tuple[int, ...]) -> None:
        """exp(i phase) if all of `on` read 1: exp(-i angle/2 Z_S) with angle = -2 phase (-1)^|S| / 2^c."""
        if not on:
            self.phase += phase
        elif phase:
            self.phase += phase / (1 << len(on))
            start = len(self.turns)
            self.turn((0, 0), -2 * phase, on)
            del self.turns[start]  # the empty subset is the phase added above

    def settled(self) -> tuple[list[_Turn], list[_Turn]]:
        """(rotations off the grid, Clifford turns after them), equal axes that meet added up."""
        free: list[_Turn] = []
        tail: list[_Turn] = []
        for axis, angle in self.turns:
            if _quarters(angle) is not None:
                self._add(tail, axis, angle)
                continue
            for clifford, quarter in reversed(tail):  # R_Q C = C R_(C^dag Q C): the rotation goes first
                axis, angle = _conjugated(axis, angle, clifford, -round(quarter / HALF_PI))
            self._add(free, axis, angle)
        loose = [turn for turn in free if _quarters(turn[1]) is not None]
        if loose:  # sums that landed on the grid: once more, now as Clifford turns
            again = _Turns()
            again.turns = [*free, *tail]
            again.phase = self.phase
            result = again.settled()
            self.phase = again.phase
            return result
        return free, tail

    def _add(self, turns: list[_Turn], axis: _Axis, angle: float) -> None:
        """Append, or add to an equal axis that it commutes up to. A zero axis is a phase."""
        if axis == (0, 0):
            self.phase -= angle / 2
            return
        for i in range(len(turns) - 1, -1, -1):
            other, before = turns[i]
            if other == axis:
                total = before + angle
                turns[i] = (axis, total)
                quarters = _quarters(total)
                if quarters is not None and quarters % 4 == 0:
                    self.phase += PI * (quarters // 4 % 2)  # a full turn is -1
                    del turns[i]
                return
            if _anticommute(axis, other):
                break
        turns.append((axis, angle))


def _anticommute(a: _Axis, b: _Axis) -> bool:
    return ((a[0] & b[1]).bit_count() + (a[1] & b[0]).bit_count()) % 2 == 1


def _conjugated(axis: _Axis, angle: float, by: _Axis, quarters: int) -> _Turn:
    """C exp(-i angle/2 Q) C^dag for C = exp(-i quarters pi/4 B): Q -> -Q, or -+i B Q, where they anticommute."""
    quarters %= 4
    if quarters == 0 or not _anticommute(axis, by):
        return axis, angle
    if quarters == 2:
        return axis, -angle
    x, z = by[0] ^ axis[0], by[1] ^ axis[1]
    # B Q = i^e (BQ as Hermitian letters); with Y = i X Z every string is i^(x.z) X^x Z^z
    e = (by[0] & by[1]).bit_count() + (axis[0] & axis[1]).bit_count() - (x & z).bit_count()
    e = (e + 2 * (by[1] & axis[0]).bit_count()) % 4
    e = (e + (3 if quarters == 1 else 1)) % 4  # times -i, or +i for three quarters
    return (x, z), angle if e == 0 else -angle


def _quarters(angle: float) -> int | None:
    """Multiple of pi/2 within `GRID`, None off the grid."""
    nearest = round(angle / HALF_PI)
    return nearest if abs(angle - nearest * HALF_PI) <= GRID else None


_ONE_TURN = {
    (letter, k): name
    for letter in "XYZ"
    for k, name in ((1, f"SQRT_{letter}"), (2, letter), (3, f"SQRT_{letter}_DAG"))
} | {("Z", 1): "S", ("Z", 3): "S_DAG"}  # fmt: skip
_PAIRS = frozenset({"XX", "YY", "ZZ"})
_TO_Z = {"X": "H", "Y": "H_YZ"}  # self-inverse gates that exchange the letter with Z


def _clifford_turn(paulis: tuple[tuple[int, str], ...], quarters: int) -> tuple[tuple[CliffordStep, ...], float]:
    """exp(-i quarters pi/4 P) as stim steps and the phase beside them: exp(-i pi/4 P) = exp(-i pi/4) SQRT_P."""
    phase = -quarters * PI / 4
    k = quarters % 4
    letters = "".join(letter for _, letter in paulis)
    if k == 0:
        return (), phase
    if k == 2:
        return tuple([(letter, (q,)) for q, letter in paulis]), phase
    if len(paulis) == 1:
        return ((_ONE_TURN[letters, k], (paulis[0][0],)),), phase
    qubits = tuple(q for q, _ in paulis)
    if letters in _PAIRS:
        return ((f"SQRT_{letters}" + ("_DAG" if k == 3 else ""), qubits),), phase
    around: list[CliffordStep] = [(_TO_Z[letter], (q,)) for q, letter in paulis if letter != "Z"]
    ladder: list[CliffordStep] = [("CX", (q, qubits[-1])) for q in qubits[:-2]]
    middle: CliffordStep = ("SQRT_ZZ" + ("_DAG" if k == 3 else ""), qubits[-2:])
    return (*around, *ladder, middle, *reversed(ladder), *around), phase


# stim's matrices of the names used here, little-endian: the row of the same action.
_STIM_ROW = {
    "I": "id", "X": "x", "Y": "y", "Z": "z", "H": "h", "S": "s", "S_DAG": "sdg", "SQRT_X": "sx",
    "SQRT_X_DAG": "sxdg", "CX": "cx", "CY": "cy", "CZ": "cz", "SWAP": "swap", "ISWAP": "iswap",
}  # fmt: skip


@lru_cache(maxsize=256)
def stim_matrix(name: str) -> Matrix:
    """complex128, little-endian: the matrix that stim gives to a gate that this module names."""
    if name in _STIM_ROW:
        return unitary(_STIM_ROW[name])
    if name == "H_YZ":
        return (PAULI["Y"] + PAULI["Z"]) / math.sqrt(2)
    root, _, inverse = name.removeprefix("SQRT_").partition("_")  # SQRT_P = (1+i)/2 + (1-i)/2 P
    axis = pauli_matrix(root)
    matrix: Matrix = (0.5 + 0.5j) * np.eye(len(axis)) + (0.5 - 0.5j) * axis
    return matrix.conj().T if inverse else matrix


@lru_cache(maxsize=1024)
def _fixed_clifford(gate: str) -> Expansion:
    """A row with a Clifford action of its own: its steps, and the phase by comparing matrices."""
    row = GATES[gate]
    steps = tuple(step for step in row.stim or () if step[0] != "I")
    product = np.eye(1 << row.n_qubits, dtype=np.complex128)
    for name, where in steps:
        product = embed(stim_matrix(name), where, row.n_qubits) @ product
    ratio = complex(np.vdot(product, row.unitary()))
    return Expansion(steps, cmath.phase(ratio))


@lru_cache(maxsize=65536)
def _template(gate: str, params: tuple[float, ...], controls: int) -> Expansion:
    """The expansion on positions 0, 1, ... of the operation."""
    base, c = split_row(gate, controls)
    row = _ROW_OF.get((base, c), base if c == 0 else None)
    if row is not None and GATES[row].stim is not None and not params:
        return _fixed_clifford(row)
    n = c + GATES[base].n_qubits
    turns = _Turns()
    if c > CONTROLS_MAX:
        raise UsageError(
            f"{gate} with {c} controls as Pauli rotations; allowed {CONTROLS_MAX}",
            where="rotations",
            limit=f"{CONTROLS_MAX} controls",
        )
    if c <= DIRECT_CONTROLS_MAX:
        turns.gate(gate, params, tuple(range(n)), controls)
    else:
        for op in lower(Program(n, (), (Op(gate, tuple(range(n)), params, (), controls),)), BASIS).ops:
            assert isinstance(op, Op)
            bound: tuple[Any, ...] = op.params
            turns.gate(op.gate, bound, op.qubits, 0)
    free, tail = turns.settled()
    steps: list[CliffordStep | Rotation] = [Rotation(_paulis(axis, n), angle) for axis, angle in free]
    for axis, angle in tail:
        quarters = _quarters(angle)
        assert quarters is not None
        more, phase = _clifford_turn(_paulis(axis, n), quarters)
        steps += more
        turns.phase += phase
    return Expansion(tuple(steps), math.remainder(turns.phase, 2 * PI))


def _paulis(axis: _Axis, n: int) -> tuple[tuple[int, str], ...]:
    x, z = axis
    return tuple([(q, _LETTER_OF[x >> q & 1, z >> q & 1]) for q in range(n) if (x | z) >> q & 1])


def _place(expansion: Expansion, qubits: tuple[int, ...]) -> Expansion:
    """The template on the operation's qubits."""
    steps: list[CliffordStep | Rotation] = []
    for step in expansion.steps:
        if isinstance(step, Rotation):
            steps.append(Rotation(tuple(sorted([(qubits[p], letter) for p, letter in step.paulis])), step.angle))
        else:
            steps.append((step[0], tuple([qubits[p] for p in step[1]])))
    return Expansion(tuple(steps), expansion.phase)


@lru_cache(maxsize=65536)
def _placed(gate: str, params: tuple[float, ...], controls: int, qubits: tuple[int, ...]) -> Expansion:
    return _place(_template(gate, params, controls), qubits)


@lru_cache(maxsize=65536)
def _all_clifford(gate: str, params: tuple[float, ...], controls: int) -> bool:
    if controls > DIRECT_CONTROLS_MAX:  # three or more controls on anything but the identity are not Clifford
        matrix = unitary(gate, params)
        return bool(np.abs(matrix - np.eye(len(matrix))).max() <= GRID)
    return not any(isinstance(step, Rotation) for step in _template(gate, params, controls).steps)


def rotations(op: Op) -> Expansion:
    """A unitary operation as Pauli rotations, then Clifford steps, and a phase: exactly the gate.

    Parameters must be bound. An op with more than `DIRECT_CONTROLS_MAX` controls is written with
    polynomially many steps.

    Raises:
        UsageError: more than `CONTROLS_MAX` controls.
    """
    params: tuple[Any, ...] = op.params
    if not op.controls and len(params) == 1:
        row = GATES[op.gate]
        if row.pauli is not None:  # the common case: one turn of its own, and often one of many angles
            angle = params[0]
            if abs(angle - round(angle / HALF_PI) * HALF_PI) > GRID:
                paulis = tuple(zip(op.qubits, row.pauli, strict=True))
                if len(paulis) > 1 and op.qubits[0] > op.qubits[1]:
                    paulis = paulis[::-1]
                return Expansion((Rotation(paulis, angle),), angle / 2 if op.gate == "p" else 0.0)
    return _placed(op.gate, params, op.controls, op.qubits)


def clifford_steps(op: Op) -> tuple[CliffordStep, ...] | None:
    """A unitary operation as stim gates in time order, up to global phase; None if it is not Clifford.

    Angles count as Clifford within 1e-12 rad of the grid of pi/2 after exact expansion. An identity
    (or a bare phase) is the empty tuple.
    """
    params: tuple[Any, ...] = op.params
    if not op.controls and (op.gate == "u" or (len(params) == 1 and GATES[op.gate].pauli is not None)):
        angle = params[0]  # of u: how far it turns the Z axis; most random ones end here, uncompiled
        if abs(angle - round(angle / HALF_PI) * HALF_PI) > GRID:
            return None
    if not _all_clifford(op.gate, params, op.controls):
        return None
    if op.controls > DIRECT_CONTROLS_MAX:
        return ()
    steps: Any = _placed(op.gate, params, op.controls, op.qubits).steps
    return cast("tuple[CliffordStep, ...]", steps)
