"""Clifford frames: a near-Clifford program as a few Pauli rotations on a few active qubits.

Flow: Program -> circuits/clifford (Clifford steps and rotations) -> *pull back* -> `Reduced`
-> active_register (dense work on w qubits) -> frames_engine. `dry_width` stops after the first arrow
and serves the planner.

Write the program as C_m R_m ... C_1 R_1 C_0 with Clifford C_j and rotations R_j = exp(-i a_j/2 P_j).
Moving every Clifford to the left gives C (prod_j exp(-i a_j/2 Q_j)) |0..0> with C the product of
all Cliffords and Q_j = (C_{j-1}..C_0)^dag P_j (C_{j-1}..C_0): Pauli-based computation, Bravyi, Smith
and Smolin, Phys. Rev. X 6, 021043 (2016). Write Q_j = i^e X^x Z^z with bit vectors x, z. Let w be
the GF(2) rank of the vectors x. A CNOT network (a linear map of basis states that keeps |0..0>)
takes their span to the first w qubits; it maps X^x Z^z to X^(Ax) Z^(A^-T z) with no sign. Nothing
then ever flips the other n - w qubits, so they stay |0>, Z on them is 1, and

    |psi> = C A^-1 ( |phi> (x) |0..0> ),   |phi> = prod_j exp(-i a_j/2 Q'_j) |0^w>

is exact with |phi> on w qubits. The basis of the span grows in program order, so rotation j acts
on the qubits that are active by then. Any observable O is evaluated as A C^dag O C A^-1: where its
X part leaves the span its mean is 0, else it is a Pauli on the active qubits.

Bit order: bit q of an integer x or z belongs to qubit q; bit i of `cx`, `cz` to active qubit i.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from qcommons.circuits.clifford import Rotation, rotations
from qcommons.circuits.program import Op, Program
from qcommons.engines.branching import is_dynamic, split_terminal
from qcommons.engines.ch_form import ChForm
from qcommons.engines.defer import WIRES_MAX, defer
from qcommons.engines.records import CapExceeded, Expectations, Want

__all__ = [
    "ActivePauli",
    "Frame",
    "Pauli",
    "Paulis",
    "Reduced",
    "bit_rows",
    "dry_width",
    "multiply",
    "observed_by",
    "reduce_program",
]

Pauli = tuple[int, int, int]  # (x, z, e): the operator i^e X^x Z^z, e modulo 4
ActivePauli = tuple[int, int, int]  # the same on the active register
Paulis = tuple[tuple[int, str], ...]  # (qubit, letter)


def multiply(a: Pauli, b: Pauli) -> Pauli:
    """The product a b: Z^za X^xb = (-1)^(za.xb) X^xb Z^za."""
    return a[0] ^ b[0], a[1] ^ b[1], (a[2] + b[2] + 2 * (a[1] & b[0]).bit_count()) & 3


PRUNE_MAX = 1024  # rotations looked through for ones without effect; the test is quadratic: 0.05 s at most


@cache
def _inverse_tableau(name: str) -> Any:
    """stim.Tableau of the inverse of a named stim gate."""
    import stim

    return stim.Tableau.from_named_gate(name).inverse()


def _masks(string: Any) -> Pauli:
    """A stim.PauliString of real sign."""
    xs, zs = string.to_numpy(bit_packed=True)
    x = int.from_bytes(xs.tobytes(), "little")
    z = int.from_bytes(zs.tobytes(), "little")
    e = (x & z).bit_count() + (0 if string.sign == 1 else 2)  # Y = i X Z
    return x, z, e & 3


class Frame:
    """The Clifford part so far, and the span of X parts that rotations have used.

    width_cap: a rotation that would make the span larger raises CapExceeded.
    inverse: stim.Tableau of C^dag to start from (taken over); None for C = 1.
    """

    def __init__(self, n_qubits: int, width_cap: int, inverse: Any = None) -> None:
        import stim

        self.n_qubits = n_qubits
        self.width_cap = width_cap
        self._inverse = stim.Tableau(n_qubits) if inverse is None else inverse  # maps P to C^dag P C
        self._letters: dict[str, Callable[[int], Any]] = {
            "X": self._inverse.x_output,
            "Y": self._inverse.y_output,
            "Z": self._inverse.z_output,
        }
        self._basis: list[tuple[int, int]] = []  # (pivot bit, vector); later vectors lack earlier pivots

    @property
    def width(self) -> int:
        return len(self._basis)

    def images(self) -> list[Pauli]:
        """C X^b C^dag for each basis vector b of the span, in the order of the active qubits."""
        forward = self._inverse.inverse()
        columns: dict[int, Pauli] = {}
        images = []
        for _, vector in self._basis:
            image: Pauli = (0, 0, 0)
            for q in range(self.n_qubits):
                if vector >> q & 1:
                    if q not in columns:
                        columns[q] = _masks(forward.x_output(q))
                    image = multiply(image, columns[q])
            images.append(image)
        return images

    def clifford(self, name: str, qubits: Iterable[int]) -> None:
        """Apply the stim gate `name`: (G C)^dag P (G C) = C^dag (G^dag P G) C."""
        self._inverse.prepend(_inverse_tableau(name), qubits)

    def pull_back(self, paulis: Paulis) -> Pauli:
        """C^dag P C for P = product of (qubit, letter)."""
        product: Pauli = (0, 0, 0)
        for qubit, letter in paulis:
            product = multiply(product, _masks(self._letters[letter](qubit)))
        return product

    def activate(self, pauli: Pauli) -> ActivePauli:
        """The Pauli on the active register; the register grows by one if its X part needs it.

        Raises:
            CapExceeded: the register would pass `width_cap`.
        """
        cx, rest = self._coordinates(pauli[0])
        if rest:
            if self.width >= self.width_cap:
                raise CapExceeded(f"active width passes {self.width_cap} qubits")
            cx |= 1 << self.width
            self._basis.append((1 << (rest.bit_length() - 1), rest))
        return cx, self._z_coordinates(pauli[1]), pauli[2]

    def restrict(self, pauli: Pauli) -> tuple[ActivePauli, int]:
        """The Pauli on the active register, and what of its X part acts outside (0: nothing)."""
        cx, rest = self._coordinates(pauli[0])
        return (cx, self._z_coordinates(pauli[1]), pauli[2]), rest

    def _coordinates(self, x: int) -> tuple[int, int]:
        coordinates = 0
        for i, (pivot, vector) in enumerate(self._basis):
            if x & pivot:
                coordinates |= 1 << i
                x ^= vector
        return coordinates, x

    def _z_coordinates(self, z: int) -> int:
        """Dual coordinates: Z^z on a basis vector b gives (-1)^(z.b)."""
        coordinates = 0
        for i, (_, vector) in enumerate(self._basis):
            coordinates |= ((z & vector).bit_count() & 1) << i
        return coordinates


class Reduced(msgspec.Struct):
    """A program after pulling back.

    frame: holds C and the span at the end of the program.
    turns: (active Pauli, angle in radians) in program order; each is exp(-i angle/2 Q).
    measured: classical bit -> Z of the measured qubit pulled back (the last measurement of a bit
        counts); or position among the observed strings -> that string pulled back.
    phase: global phase beside the Clifford steps and the turns, radians (without dropped rotations).
    """

    frame: Frame
    turns: list[tuple[ActivePauli, float]]
    measured: dict[int, Pauli]
    phase: float = 0.0


def reduce_program(
    program: Program, width_cap: int, observed: Sequence[Paulis] | None = None, clifford: ChForm | None = None
) -> Reduced:
    """Pull every rotation and measurement back; dynamic programs are deferred first.

    A final measurement may stand anywhere: its Z commutes with all that follows on other qubits.

    Args:
        width_cap: largest active width.
        observed: None for the measured bits. Else Pauli strings whose means are asked, on the state
            before final measurements; every earlier measurement is copied out of its qubit.
        clifford: follows the Clifford steps too, for amplitudes; then the program must be static.

    Raises:
        CapExceeded: more than `width_cap` active qubits, or too many deferred measurements.
    """
    body, final = split_terminal(program)
    wires = tuple(range(program.n_qubits))
    state = observed is not None
    if is_dynamic(body):
        deferred = defer(msgspec.structs.replace(program, ops=body) if state else program, settle=state)
        program, wires = deferred.program, deferred.wires
        body, final = split_terminal(program)
    if program.n_qubits > WIRES_MAX:
        raise CapExceeded(f"a tableau of {program.n_qubits} qubits; at most {WIRES_MAX}")
    frame = Frame(program.n_qubits, width_cap)
    reduced = Reduced(frame, [], {})
    if observed is None:
        asked: dict[int, Paulis] = {bit: ((qubit, "Z"),) for bit, qubit in final.items()}
    else:
        asked = {i: tuple((wires[q], letter) for q, letter in paulis) for i, paulis in enumerate(observed)}
    waiting: list[tuple[Pauli, float]] = []
    prunes = 0 < len(asked) <= PRUNE_MAX  # nothing asked: the width of the whole state
    for op in body:
        assert isinstance(op, Op), "deferred programs have no branches"
        expansion = rotations(op)
        reduced.phase += expansion.phase
        for step in expansion.steps:
            if isinstance(step, Rotation):
                waiting.append((frame.pull_back(step.paulis), step.angle))
                if not prunes or len(waiting) > PRUNE_MAX:
                    prunes = False
                    _activate(reduced, waiting)
            else:
                frame.clifford(*step)
                if clifford is not None:
                    clifford.apply(*step)
    reduced.measured.update((key, frame.pull_back(paulis)) for key, paulis in asked.items())
    _activate(reduced, _felt(waiting, list(reduced.measured.values()), program.n_qubits) if prunes else waiting)
    return reduced


def _activate(reduced: Reduced, waiting: list[tuple[Pauli, float]]) -> None:
    for pauli, angle in waiting:
        turn = reduced.frame.activate(pauli)
        if turn[0] | turn[1]:
            reduced.turns.append((turn, angle))
        else:
            reduced.phase -= angle / 2 if turn[2] == 0 else -angle / 2
    waiting.clear()


def _felt(turns: list[tuple[Pauli, float]], measured: list[Pauli], n_qubits: int) -> list[tuple[Pauli, float]]:
    """The rotations that the measured operators can feel.

    One that commutes with every measured operator and with every later rotation that is kept moves to
    the very end and drops out of all means of products of the measured operators.
    """
    if not turns:
        return turns
    xs, zs = (bit_rows([p[k] for p, _ in turns], n_qubits).astype(np.float32) for k in (0, 1))
    mx, mz = (bit_rows([p[k] for p in measured], n_qubits).astype(np.float32) for k in (0, 1))
    odd = (xs @ mz.T + zs @ mx.T) % 2  # 1 where a rotation and a measured operator anticommute
    keep: NDArray[np.bool_] = odd.max(axis=1, initial=0) > 0
    clash = (xs @ zs.T + zs @ xs.T) % 2 > 0
    for j in range(len(turns) - 1, -1, -1):
        keep[j] = keep[j] or bool((clash[j, j + 1 :] & keep[j + 1 :]).any())
    return [turn for turn, kept in zip(turns, keep.tolist(), strict=True) if kept]


def bit_rows(masks: Sequence[int], width: int) -> NDArray[np.uint8]:
    """Bits of integers below 2**width, shape (len(masks), width), bit 0 first."""
    size = (width + 7) // 8
    raw = np.frombuffer(b"".join(mask.to_bytes(size, "little") for mask in masks), np.uint8)
    return np.unpackbits(raw.reshape(len(masks), size), axis=1, bitorder="little")[:, :width]


def observed_by(want: Want) -> list[Paulis] | None:
    """The distinct Pauli strings of exact expectation values, in order; None where bits are asked."""
    if not isinstance(want, Expectations):
        return None
    return list(dict.fromkeys(term.paulis for observable in want.observables for term in observable.terms))


def dry_width(program: Program, cap: int, observed: Sequence[Paulis] | None = None) -> int | None:
    """Active width from tableau work alone, no amplitudes; None above `cap`.

    Linear in the gates; a program of more than PRUNE_MAX rotations stops where it passes the cap.
    `observed` as for `reduce_program` (`observed_by(want)`): the width depends on what is asked.
    """
    try:
        return reduce_program(program, cap, observed).frame.width
    except CapExceeded:
        return None
