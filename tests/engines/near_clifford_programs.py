"""Seeded random programs for the tests of the near-Clifford engines: static, dynamic, and large ones."""

from __future__ import annotations

import numpy as np

from qcommons.circuits.gates import GATES
from qcommons.circuits.observables import PauliSum, Term
from qcommons.circuits.program import RELATIONS, Branch, Condition, Op, Operation, Program
from qcommons.engines.records import Limits

CLIFFORD = ("h", "s", "cx", "cz", "x", "y", "z", "sx", "swap", "iswap", "ecr", "cy")
NEAR = ("h", "s", "cx", "cz", "x", "y", "t", "rx", "cp", "rzz", "sx", "swap", "ccx")
LIMITS = Limits(memory_bytes=1 << 30, seconds=10.0)


def random_gate(rng: np.random.Generator, n: int, names: tuple[str, ...]) -> Op:
    fitting = [name for name in names if GATES[name].n_qubits <= n]
    row = GATES[fitting[rng.integers(len(fitting))]]
    qubits = tuple(int(q) for q in rng.choice(n, row.n_qubits, replace=False))
    return Op(row.name, qubits, tuple(float(rng.uniform(-3, 3)) for _ in range(row.n_params)))


def _any(rng: np.random.Generator, n: int, bits: int, names: tuple[str, ...]) -> Op:
    kind = rng.random()
    if kind < 0.15:
        return Op("measure", (int(rng.integers(n)),), (), (int(rng.integers(bits)),))
    if kind < 0.3:
        return Op("reset", (int(rng.integers(n)),))
    return random_gate(rng, n, names)


def _branch(rng: np.random.Generator, n: int, bits: int, names: tuple[str, ...]) -> Branch:
    k = int(rng.integers(1, bits + 1))
    where = tuple(int(c) for c in rng.choice(bits, k, replace=False))
    condition = Condition(where, RELATIONS[rng.integers(len(RELATIONS))], int(rng.integers((1 << k) + 1)))
    then = tuple(_any(rng, n, bits, names) for _ in range(rng.integers(1, 3)))
    return Branch(condition, then, tuple(_any(rng, n, bits, names) for _ in range(rng.integers(0, 2))))


def dynamic_program(rng: np.random.Generator, n: int, length: int, names: tuple[str, ...], bits: int = 3) -> Program:
    """Gates, measurements, resets and branches in any order; bits may be overwritten or never written."""
    ops: list[Operation] = []
    for _ in range(length):
        kind = rng.random()
        if kind < 0.3:
            ops.append(_branch(rng, n, bits, names))
        elif kind < 0.5:
            ops.append(Op("measure", (int(rng.integers(n)),), (), (int(rng.integers(bits)),)))
        else:
            ops.append(_any(rng, n, bits, names) if kind > 0.9 else random_gate(rng, n, names))
    return Program(n, (("c", bits),), tuple(ops))


def static_program(rng: np.random.Generator, n: int, length: int, names: tuple[str, ...]) -> Program:
    """Gates, then measurements of some qubits in random order."""
    order = [int(q) for q in rng.permutation(n)[: rng.integers(1, n + 1)]]
    gates = tuple(random_gate(rng, n, names) for _ in range(length))
    return Program(n, (("c", n),), gates + tuple(Op("measure", (q,), (), (i,)) for i, q in enumerate(order)))


def random_observables(rng: np.random.Generator, n: int, how_many: int = 4) -> tuple[PauliSum, ...]:
    def term() -> Term:
        kept = [q for q in range(n) if rng.random() < 0.7]
        return Term(float(rng.uniform(-2, 2)), tuple((q, "XYZ"[rng.integers(3)]) for q in kept))

    return tuple(PauliSum((term(), term()), "") for _ in range(how_many))


def brickwork(n: int, depth: int, n_t: int, seed: int) -> Program:
    """Random one-qubit Cliffords and alternating cx/cz on a line, `n_t` T gates strewn in, all measured."""
    rng = np.random.default_rng(seed)
    ops: list[Op] = []
    for layer in range(depth):
        ops += [Op(("h", "s", "sx", "x", "z", "sdg")[rng.integers(6)], (q,)) for q in range(n)]
        ops += [Op(("cx", "cz")[rng.integers(2)], (q, q + 1)) for q in range(layer % 2, n - 1, 2)]
    for at in sorted(rng.choice(len(ops), n_t, replace=False).tolist(), reverse=True):
        ops.insert(at, Op("t", (int(rng.integers(n)),)))
    return Program(n, (("c", n),), (*ops, *(Op("measure", (q,), (), (q,)) for q in range(n))))
