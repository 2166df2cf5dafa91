"""Traps: circuits with a known answer that look like the job's own, for peers whose numbers do not repeat (QPUs).

Flow: the job's program -> *dress* (what is really sent) and *trap* (sent among them) -> counts -> *held* -> compare.

A trap has the layout of the job: the same two-qubit gates in the same places, and between them one `u` gate a qubit.
Its own one-qubit gates are Clifford, so that stim knows the answer; turns that commute with the two-qubit gates are
put in before and taken out after each of them (virtual Z on a control, McKay et al., Phys. Rev. A 96, 022330 (2017);
X on a target), and the job is dressed in the same way. One or two of the three angles of each gate are then as generic
as the job's; the others stay multiples of pi/2, for only one turn a side commutes.

What traps do not show: whoever looks for these angles, or takes the turns out again, sees which circuit is the trap,
and whoever runs Clifford circuits well and others badly passes all of them. The known proofs assume noise that does
not depend on the circuit's angles (Ferracin, Kapourniotis and Datta, New J. Phys. 21, 113038 (2019)), not an
adversary. So traps estimate the quality of hardware; they never clear a peer that others found wrong
(docs/decisions/0014-checks.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qcommons.base.errors import UsageError
from qcommons.circuits.gates import unitary
from qcommons.circuits.lower import euler, lower
from qcommons.circuits.program import Op, Operation, Program
from qcommons.verify.stabiliser import Facts, facts, final_stabilisers
from qcommons.verify.statistics import outcome_bits, terminal

__all__ = ["Trap", "dress", "held", "trap"]

Matrix = NDArray[np.complex128]
SENT = frozenset({"u", "cx"})  # any turn of one qubit, and one Clifford gate of two
AIMS = 64  # stabilisers drawn, of which those are kept that one setting of the measurement shows together
TRIES = 50  # draws of a trap until one has a parity that is certain
SAME = 1e-9


class Trap(NamedTuple):
    """program: what is sent. facts: parities that every shot of it must have."""

    program: Program
    facts: Facts


class _Layers(NamedTuple):
    """before: for each cx the turns of its two qubits and the gate. last: one turn a qubit before it is measured."""

    before: list[tuple[Matrix, Matrix, tuple[int, int]]]
    last: list[Matrix]


def dress(program: Program, rng: np.random.Generator) -> Program:
    """The same circuit over `u` and `cx`, with turns put in and taken out at random: equal but for the phase and for
    turns about Z before the measurements.

    Raises:
        UsageError: an input is not bound, or measurements, resets or branches come before the end.
    """
    return _written(_layers(program), program, rng)


def trap(program: Program, rng: np.random.Generator) -> Trap:
    """A trap of the layout of `dress(program)`: the same gates in the same places, other angles.

    Each turn is replaced by a random Clifford one; the last ones turn random elements of the state's stabiliser group
    into parities of the outcome. Raises as `dress`.
    """
    layers = _layers(program)
    where = terminal(program) or {}
    n_bits = outcome_bits(program)
    for _ in range(TRIES):
        before = [(_clifford(rng), _clifford(rng), on) for _, _, on in layers.before]
        still = [np.eye(2, dtype=np.complex128)] * program.n_qubits
        rows = final_stabilisers(_plain(_Layers(before, still), program))
        aim = _aim(rows or [], frozenset(where.values()), rng)
        last = [_to_z(aim.get(qubit, 0), rng) for qubit in range(program.n_qubits)]
        made = _Layers(before, last)
        found = facts(_plain(made, program))
        if found is not None and len(found.masks) > n_bits - len(set(where.values())):
            return Trap(_written(made, program, rng), found)
    raise UsageError(f"no trap in {TRIES} draws; use audit or replicate", where="trap")


def held(counts: Mapping[str, int], known: Facts) -> tuple[int, int]:
    """(shots in which every fact of a trap holds, shots)."""
    shots = sum(counts.values())
    return shots - known.broken(dict(counts)), shots


def _layers(program: Program) -> _Layers:
    if program.inputs:
        raise UsageError(f"inputs {', '.join(program.inputs[:8])} are not bound", where="program")
    if terminal(program) is None:
        what = "measurements, resets or branches before the end: no trap has their layout; use audit or replicate"
        raise UsageError(what, where="program")
    turns: list[Matrix] = [np.eye(2, dtype=np.complex128) for _ in range(program.n_qubits)]
    before: list[tuple[Matrix, Matrix, tuple[int, int]]] = []
    for op in lower(program, SENT, drop_phase=True).ops:
        assert isinstance(op, Op)
        if op.gate == "u":
            turns[op.qubits[0]] = unitary("u", _bound(op)) @ turns[op.qubits[0]]
        elif op.gate == "cx":
            a, b = op.qubits
            before.append((turns[a], turns[b], (a, b)))
            turns[a], turns[b] = np.eye(2, dtype=np.complex128), np.eye(2, dtype=np.complex128)
    return _Layers(before, turns)


def _bound(op: Op) -> tuple[float, ...]:
    params: Any = op.params
    return tuple(params)


def _plain(layers: _Layers, program: Program) -> Program:
    """As it is, without hiding anything: for stim."""
    ops: list[Operation] = []
    for first, second, (a, b) in layers.before:
        ops += [_turn(first, a), _turn(second, b), Op("cx", (a, b))]
    ops += [_turn(matrix, qubit) for qubit, matrix in enumerate(layers.last)]
    return Program(program.n_qubits, program.cregs, (*ops, *_ends(program)))


def _written(layers: _Layers, program: Program, rng: np.random.Generator) -> Program:
    """With turns put in before each cx and taken out after it, and turns about Z at both ends."""
    taken: list[Matrix] = [_rotation("rz", rng) for _ in range(program.n_qubits)]
    ops: list[Operation] = []
    for first, second, (a, b) in layers.before:
        z, x = _rotation("rz", rng), _rotation("rx", rng)
        ops += [_turn(z @ first @ taken[a], a, rng), _turn(x @ second @ taken[b], b, rng), Op("cx", (a, b))]
        taken[a], taken[b] = z.conj().T, x.conj().T
    ops += [_turn(_rotation("rz", rng) @ last @ taken[q], q, rng) for q, last in enumerate(layers.last)]
    return Program(program.n_qubits, program.cregs, (*ops, *_ends(program)))


def _ends(program: Program) -> list[Operation]:
    return [op for op in program.ops if isinstance(op, Op) and op.gate == "measure"]


def _turn(matrix: Matrix, qubit: int, rng: np.random.Generator | None = None) -> Op:
    """As a `u`. rng: where theta leaves one of the other angles free, it is drawn: a 0 would tell."""
    theta, phi, lam, _ = euler(matrix)
    if rng is not None and min(theta, math.pi - theta) < SAME:
        free = float(rng.uniform(-math.pi, math.pi))
        phi, lam = phi + free, lam + (free if theta > 1 else -free)
    return Op("u", (qubit,), (theta, math.remainder(phi, 2 * math.pi), math.remainder(lam, 2 * math.pi)))


def _rotation(gate: str, rng: np.random.Generator) -> Matrix:
    return unitary(gate, (float(rng.uniform(-math.pi, math.pi)),))


@lru_cache(maxsize=1)
def _cliffords() -> tuple[Matrix, ...]:
    """The 24 Clifford turns of one qubit, up to phase: products of h and s."""
    found = [np.eye(2, dtype=np.complex128)]
    for matrix in found:  # grows while it is walked
        for gate in ("h", "s"):
            new = unitary(gate) @ matrix
            if all(abs(abs(np.trace(new.conj().T @ old)) - 2) > SAME for old in found):
                found.append(new)
    return tuple(found)


@lru_cache(maxsize=4)
def _turners(letter: int) -> tuple[int, ...]:
    """Which of `_cliffords` take a Pauli (1 X, 2 Y, 3 Z; 0: any) to Z or -Z."""
    z, pauli = unitary("z"), unitary(("id", "x", "y", "z")[letter])
    turned = [matrix @ pauli @ matrix.conj().T for matrix in _cliffords()]
    return tuple(i for i, t in enumerate(turned) if not letter or abs(abs(np.trace(z @ t)) - 2) < SAME)


def _clifford(rng: np.random.Generator) -> Matrix:
    return _cliffords()[int(rng.integers(24))]


def _to_z(letter: int, rng: np.random.Generator) -> Matrix:
    ways = _turners(letter)
    return _cliffords()[ways[int(rng.integers(len(ways)))]]


def _aim(rows: list[Any], measured: frozenset[int], rng: np.random.Generator) -> dict[int, int]:
    """Qubit -> letter that its last turn takes to Z: of random stabilisers that do not ask for two letters of one."""
    aim: dict[int, int] = {}
    for _ in range(AIMS):
        element = None
        for row in rows:
            if rng.integers(2):
                element = row if element is None else element * row
        letters = {} if element is None else {q: int(element[q]) for q in element.pauli_indices()}
        if letters and letters.keys() <= measured and all(aim.get(q, p) == p for q, p in letters.items()):
            aim |= letters
    return aim
