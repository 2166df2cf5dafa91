"""What an asked run contracts: a network for its amplitudes, or one for each Pauli string on its light cone.

Flow: Program (bound), want -> *networks_of* -> ranges. The program of a network is encoded and sent: a worker builds
the network from these bytes alone, so it must be the one that is looked at here.
"""

from __future__ import annotations

from typing import NamedTuple

from qcommons.base.errors import Unavailable
from qcommons.circuits.cone import FULL, Z, light_cone, strip_terminal
from qcommons.circuits.program import Op, Program
from qcommons.engines.records import Amplitudes, Expectations, Want
from qcommons.engines.tn_closed import Closed, amplitude, expectation

__all__ = ["Asked", "closed_of", "networks_of"]

NETWORKS_MAX = 16  # of a job: a tree is looked for in each; for many strings `lightcone` and `batch` are better

Paulis = tuple[tuple[int, str], ...]


class Asked(NamedTuple):
    """One network. program: unitary. bitstrings or paulis: as in `records.Slices`. coefficients: of this Pauli string
    in each observable of the want; of amplitudes none."""

    program: Program
    bitstrings: tuple[str, ...]
    paulis: Paulis
    coefficients: tuple[float, ...] = ()


def networks_of(program: Program, want: Want) -> tuple[Asked, ...]:
    """The networks of a bound program; a Pauli string without letters needs none.

    Raises:
        Unavailable: it has no such networks, or too many, with the numbers.
    """
    stripped, _ = strip_terminal(program)
    if any(not isinstance(op, Op) or op.gate in ("measure", "reset") for op in stripped.ops):
        raise Unavailable("slices need a circuit without mid-circuit measurement, reset or if")
    ops = tuple(op for op in stripped.ops if isinstance(op, Op) and op.gate != "barrier")
    if isinstance(want, Amplitudes):
        return (Asked(Program(program.n_qubits, (), ops), want.bitstrings, ()),)
    if not isinstance(want, Expectations) or want.shots is not None:
        raise Unavailable("slices give amplitudes and computed observables. Nearest: leave out the shots")
    rows: dict[Paulis, list[float]] = {}
    for number, observable in enumerate(want.observables):
        for term in observable.terms:
            if term.paulis:
                rows.setdefault(term.paulis, [0.0] * len(want.observables))[number] += term.coefficient
    if len(rows) > NETWORKS_MAX:
        raise Unavailable(f"{len(rows)} Pauli strings, a network each; at most {NETWORKS_MAX}")
    whole = Program(program.n_qubits, (), ops)
    return tuple(_on_cone(whole, paulis, tuple(coefficients)) for paulis, coefficients in rows.items())


def closed_of(asked: Asked) -> Closed:
    """The network as a worker builds it.

    Raises:
        Unavailable: it has too many tensors.
    """
    ops = [op for op in asked.program.ops if isinstance(op, Op)]
    if asked.paulis:
        return expectation(ops, asked.program.n_qubits, dict(asked.paulis))
    return amplitude(ops, asked.program.n_qubits, asked.bitstrings[0])


def _on_cone(program: Program, paulis: Paulis, coefficients: tuple[float, ...]) -> Asked:
    """A string with the operations it depends on, qubits numbered from 0."""
    needs = {qubit: Z if letter == "Z" else FULL for qubit, letter in paulis}
    ops = [op for op in light_cone(program, qubit_needs=needs, live_bits=()).ops if isinstance(op, Op)]
    used = sorted({q for op in ops for q in op.qubits} | needs.keys())
    place = {qubit: k for k, qubit in enumerate(used)}
    moved = tuple(Op(op.gate, tuple(place[q] for q in op.qubits), op.params, (), op.controls) for op in ops)
    return Asked(Program(len(used), (), moved), (), tuple((place[q], letter) for q, letter in paulis), coefficients)
