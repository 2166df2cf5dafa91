"""Reference: the slow, plain answer that conformance checks compare engines with.

Density matrices and every measured history straight from definitions: full matrices by index
arithmetic, no code of the engines, channels written from their formulas and not from the tables of
`circuits.noise`. At most 6 qubits. Qubit 0 is the least significant bit of an index.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from qcommons.circuits.gates import unitary
from qcommons.circuits.noise import Noise, Rule
from qcommons.circuits.observables import PauliSum
from qcommons.circuits.program import Branch, Op, Operation, Program

__all__ = ["distribution", "expectation", "histories", "statevector"]

Matrix = NDArray[np.complex128]
PAULI: dict[str, Matrix] = {
    "I": np.eye(2, dtype=np.complex128),
    "X": np.array([[0, 1], [1, 0]], dtype=np.complex128),
    "Y": np.array([[0, -1j], [1j, 0]], dtype=np.complex128),
    "Z": np.array([[1, 0], [0, -1]], dtype=np.complex128),
}


def full(matrix: Matrix, qubits: Sequence[int], n: int) -> Matrix:
    """`matrix` on `qubits` (first is its least significant) of n, as a (2**n, 2**n) matrix."""
    index = np.arange(1 << n)
    local = sum((((index >> q) & 1) << j for j, q in enumerate(qubits)), np.zeros_like(index))
    rest = index & ~sum(1 << q for q in qubits)
    same = rest[:, None] == rest[None, :]
    return np.where(same, matrix[local[:, None], local[None, :]], 0)


def statevector(program: Program) -> Matrix:
    """Amplitudes of a program of unitary operations, shape (2**n,); measurements are left out."""
    psi = np.zeros(1 << program.n_qubits, dtype=np.complex128)
    psi[0] = 1
    for op in program.ops:
        if isinstance(op, Op) and op.gate not in ("measure", "barrier"):
            psi = _gate(op, program.n_qubits) @ psi
    return psi


def distribution(program: Program, noise: Noise | None = None) -> dict[str, float]:
    """Exact probability of each bitstring over all classical bits (bit 0 rightmost)."""
    found: dict[str, float] = {}
    for bits, rho in histories(program, noise).items():
        key = "".join(str(b) for b in reversed(bits))
        found[key] = found.get(key, 0.0) + float(np.trace(rho).real)
    return found


def expectation(program: Program, observable: PauliSum, noise: Noise | None = None) -> float:
    """Tr(rho O) of the final state, summed over histories."""
    n = program.n_qubits
    matrix = np.zeros((1 << n, 1 << n), dtype=np.complex128)
    for term in observable.terms:
        product: Matrix = np.eye(1 << n, dtype=np.complex128)
        for qubit, letter in term.paulis:
            product = full(PAULI[letter], [qubit], n) @ product
        matrix += term.coefficient * product
    return float(sum(np.trace(rho @ matrix).real for rho in histories(program, noise).values()))


def histories(program: Program, noise: Noise | None = None) -> dict[tuple[int, ...], Matrix]:
    """Classical bits -> unnormalised density matrix, shape (2**n, 2**n)."""
    dim = 1 << program.n_qubits
    rho = np.zeros((dim, dim), dtype=np.complex128)
    rho[0, 0] = 1
    states = {(0,) * program.n_clbits: rho}
    for op in program.ops:
        states = _step(states, op, program.n_qubits, noise)
    return states


States = dict[tuple[int, ...], Matrix]


def _step(states: States, op: Operation, n: int, noise: Noise | None) -> States:
    out: States = {}
    for bits, rho in states.items():
        if isinstance(op, Branch):
            inner: States = {bits: rho}
            for step in op.then if op.condition.holds(list(bits)) else op.orelse:
                inner = _step(inner, step, n, noise)
        else:
            inner = _apply(bits, rho, op, n, noise)
        for key, part in inner.items():
            out[key] = out[key] + part if key in out else part
    return out


def _apply(bits: tuple[int, ...], rho: Matrix, op: Op, n: int, noise: Noise | None) -> States:
    if op.gate == "barrier":
        return {bits: rho}
    if op.gate not in ("measure", "reset"):
        matrix = _gate(op, n)
        return {bits: _noisy(matrix @ rho @ matrix.conj().T, op, n, noise)}
    out: States = {}
    for outcome in (0, 1):
        to = 0 if op.gate == "reset" else outcome
        kraus = np.zeros((2, 2), dtype=np.complex128)
        kraus[to, outcome] = 1
        matrix = full(kraus, op.qubits, n)
        part = _noisy(matrix @ rho @ matrix.conj().T, op, n, noise)
        reads = [(bits, 1.0)]
        if op.gate == "measure":
            flip = _readout(op, noise)[outcome]
            reads = [(_with(bits, op.clbits[0], outcome ^ wrong), flip if wrong else 1 - flip) for wrong in (0, 1)]
        for key, probability in reads:
            out[key] = out.get(key, np.zeros_like(rho)) + probability * part
    return out


def _with(bits: tuple[int, ...], at: int, value: int) -> tuple[int, ...]:
    return (*bits[:at], value, *bits[at + 1 :])


def _gate(op: Op, n: int) -> Matrix:
    return full(unitary(op.gate, tuple(float(p) for p in op.params), op.controls), op.qubits, n)  # type: ignore[arg-type]


def _matches(rule: Rule, op: Op) -> bool:
    by_gate = op.gate in rule.gates if rule.gates else op.gate not in ("measure", "reset")
    return by_gate and rule.arity in (0, len(op.qubits))


def _readout(op: Op, noise: Noise | None) -> tuple[float, float]:
    """Chance that a 0 reads 1 and that a 1 reads 0; several readout channels follow one another."""
    one_given = [0.0, 1.0]
    for rule in noise.rules if noise else ():
        by_gate = not rule.gates or "measure" in rule.gates
        if by_gate and (not rule.qubits or op.qubits[0] in rule.qubits) and rule.arity in (0, 1):
            for channel in rule.channels:
                if channel.kind == "readout":
                    up, down = channel.values
                    one_given = [p * (1 - down) + (1 - p) * up for p in one_given]
    return one_given[0], 1 - one_given[1]


def _noisy(rho: Matrix, op: Op, n: int, noise: Noise | None) -> Matrix:
    for rule in noise.rules if noise else ():
        if not _matches(rule, op) or not op.qubits:
            continue
        inside = [qubit for qubit in op.qubits if not rule.qubits or qubit in rule.qubits]
        for channel in rule.channels:
            if channel.kind == "depolarizing":  # joint: on all qubits of the operation or not at all
                if len(inside) == len(op.qubits):
                    rho = _depolarized(rho, channel.values[0], op.qubits, n)
            elif channel.kind != "readout":
                for qubit in inside:
                    kraus = [full(k, [qubit], n) for k in KRAUS[channel.kind](*channel.values)]
                    rho = sum((k @ rho @ k.conj().T for k in kraus), np.zeros_like(rho))
    return rho


def _depolarized(rho: Matrix, p: float, qubits: Sequence[int], n: int) -> Matrix:
    """(1 - p) rho + p I/2^k (x) Tr_k(rho): the partial trace as the average over all matrix units."""
    k = len(qubits)
    mixed = np.zeros_like(rho)
    for i in range(1 << k):
        for j in range(1 << k):
            unit = np.zeros((1 << k, 1 << k), dtype=np.complex128)
            unit[i, j] = 1
            wide = full(unit, qubits, n)
            mixed += wide @ rho @ wide.conj().T
    return (1 - p) * rho + p * mixed / (1 << k)


def _mixture(*weights: tuple[float, str]) -> list[Matrix]:
    rest = 1 - sum(p for p, _ in weights)
    return [math.sqrt(rest) * PAULI["I"], *(math.sqrt(p) * PAULI[letter] for p, letter in weights)]


def _damping(gamma: float) -> list[Matrix]:
    """Nielsen & Chuang (2010), 8.3.5."""
    low = np.array([[1, 0], [0, math.sqrt(1 - gamma)]], dtype=np.complex128)
    return [low, np.array([[0, math.sqrt(gamma)], [0, 0]], dtype=np.complex128)]


def _relaxation(t1_s: float, t2_s: float, duration_s: float) -> list[Matrix]:
    """Decay exp(-t/T1) of |1>, coherence exp(-t/T2): damping, then the dephasing that is left over."""
    damping = _damping(1 - math.exp(-duration_s / t1_s))
    keep = math.exp(-duration_s / t2_s + duration_s / (2 * t1_s))
    return [d @ k for d in _mixture(((1 - keep) / 2, "Z")) for k in damping]


KRAUS: dict[str, Callable[..., list[Matrix]]] = {
    "bit_flip": lambda p: _mixture((p, "X")),
    "phase_flip": lambda p: _mixture((p, "Z")),
    "pauli": lambda px, py, pz: _mixture((px, "X"), (py, "Y"), (pz, "Z")),
    "amplitude_damping": _damping,
    "relaxation": _relaxation,
}
