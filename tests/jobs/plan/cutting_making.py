"""Programs to cut, labels to cut them by, and drafts evaluated without the planner or its combine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from qcommons.base.seeds import stream
from qcommons.circuits.gates import GATES, PAULI, unitary
from qcommons.circuits.observables import PauliSum, Term
from qcommons.circuits.program import Op, Operation, Program
from qcommons.jobs.plan.cutting.draft import Draft, DraftRun
from qcommons.jobs.plan.cutting.fragments import Labels
from qcommons.jobs.plan.cutting.wires import Wires

TWO = tuple(name for name, row in GATES.items() if row.n_qubits == 2)
Complex = NDArray[np.complex128]
ONE = ("h", "t", "u", "rx", "sx")


def random_program(n: int, gates: int, seed: int) -> Program:
    """Two-qubit gates of every row between random pairs, with random one-qubit gates before each."""
    rng = stream(seed, "cutting tests", "program")
    ops: list[Operation] = []
    for _ in range(gates):
        a, b = rng.choice(n, size=2, replace=False).tolist()
        for q in (a, b):
            ops.append(_op(ONE[int(rng.integers(len(ONE)))], (q,), rng))
        ops.append(_op(TWO[int(rng.integers(len(TWO)))], (a, b), rng))
    ops += [_op("u", (q,), rng) for q in range(n)]
    return Program(n, (), tuple(ops))


def _op(gate: str, qubits: tuple[int, ...], rng: np.random.Generator) -> Op:
    return Op(gate, qubits, tuple(rng.uniform(0.2, 2.9, GATES[gate].n_params).tolist()))


def random_labels(wires: Wires, seed: int, most: int) -> Labels:
    """Labels 0 and 1 with at most `most` cuts, gates and wires mixed: flips are kept that take none away and fit."""
    rng = stream(seed, "cutting tests", "labels")
    labels: list[tuple[int, int]] = [(0, 0)] * len(wires.gates)
    flips = [(gate, side) for gate in range(len(labels)) for side in (0, 1)]
    for at in rng.permutation(len(flips)).tolist() * 2:
        gate, side = flips[at]
        changed = list(labels)
        ends = list(labels[gate])
        ends[side] = 1 - ends[side]
        changed[gate] = (ends[0], ends[1])
        if n_cuts(wires, tuple(labels)) <= n_cuts(wires, tuple(changed)) <= most:
            labels = changed
    return tuple(labels)


def n_cuts(wires: Wires, labels: Labels) -> int:
    """A swap-like gate, with more than two terms, counts as two."""
    along = [[labels[gate][side] for gate, side in chain] for chain in wires.chains]
    gates = sum(1 + (len(each.terms) > 2) for each, (a, b) in zip(wires.interactions, labels, strict=True) if a != b)
    return gates + sum(a != b for row in along for a, b in pairwise(row))


def state(program: Program) -> Complex:
    """Amplitudes of a program of gates, measurements at the end left out: the table's matrices, gate by gate."""
    n = program.n_qubits
    psi = np.zeros((2,) * n, dtype=np.complex128)
    psi[(0,) * n] = 1.0
    for op in program.ops:
        assert isinstance(op, Op)
        if op.gate != "measure":
            psi = _applied(psi, unitary(op.gate, op.params, op.controls), op.qubits)  # type: ignore[arg-type]
    return psi


def _applied(psi: Complex, matrix: Complex, qubits: Sequence[int]) -> Complex:
    """Axis k of psi is qubit n - 1 - k; the matrix's first qubit is its least significant."""
    k, n = len(qubits), psi.ndim
    axes = [n - 1 - q for q in reversed(qubits)]
    moved = np.tensordot(matrix.reshape((2,) * (2 * k)), psi, axes=(range(k, 2 * k), axes))
    return np.asarray(np.moveaxis(moved, range(k), axes))


def mean(psi: Complex, one: PauliSum) -> float:
    """<psi|O|psi>."""
    total = 0.0
    for term in one.terms:
        phi = psi
        for q, letter in term.paulis:
            phi = _applied(phi, PAULI[letter], (q,))
        total += term.coefficient * float(np.vdot(psi, phi).real)
    return total


def reference(program: Program, sums: Sequence[PauliSum]) -> list[float]:
    psi = state(program)
    return [mean(psi, one) for one in sums]


def parity(program: Program, psi: Complex, bits: Sequence[int]) -> float:
    """Mean of (-1)^(ones among the measured `bits`)."""
    read = {op.clbits[0]: op.qubits[0] for op in program.ops if isinstance(op, Op) and op.gate == "measure"}
    return mean(psi, PauliSum((Term(1.0, tuple((read[bit], "Z") for bit in bits)),), ""))


class Evaluator:
    """Drafts with every factor at its exact value, what any number of shots aims at; states are kept."""

    def __init__(self) -> None:
        self.states: dict[Program, Complex] = {}
        self.known: dict[tuple[Program, object], float] = {}

    def of(self, draft: Draft) -> list[float]:
        """The sums."""
        return [
            math.fsum(
                c * math.prod(self.factor(draft.runs[run], which) for run, which in factors) for c, factors in terms
            )
            for terms in draft.sums
        ]

    def factor(self, run: DraftRun, which: tuple[int, ...]) -> float:
        key = (run.program, which if run.shots else run.observables[which[0]])
        if key not in self.known:
            if run.program not in self.states:
                self.states[run.program] = state(run.program)
            psi = self.states[run.program]
            self.known[key] = parity(run.program, psi, which) if run.shots else mean(psi, run.observables[which[0]])
        return self.known[key]


def evaluated(draft: Draft) -> list[float]:
    """The sums of one draft, exactly."""
    return Evaluator().of(draft)


def widest(runs: Sequence[DraftRun]) -> int:
    return max(run.program.n_qubits for run in runs)


def strings(n: int, *texts: str) -> tuple[PauliSum, ...]:
    """Sums of strings of n letters, the rightmost on qubit 0, each with coefficient 1."""
    sums = []
    for text in texts:
        terms = [
            Term(1.0, tuple((q, letter) for q, letter in enumerate(reversed(word)) if letter != "I"))
            for word in text.split(" + ")
        ]
        assert all(len(word) == n for word in text.split(" + "))
        sums.append(PauliSum(tuple(terms), text))
    return tuple(sums)
