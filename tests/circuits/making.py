"""Random small programs with everything a program may hold: gates, controls, measurement, reset, branches."""

from __future__ import annotations

import numpy as np

from qcommons.circuits.gates import GATES
from qcommons.circuits.program import Branch, Condition, Op, Operation, Program

FIXED = ["x", "h", "s", "t", "y", "z", "sx", "id"]
ANGLED = ["rx", "ry", "rz", "p", "u", "u2"]
TWO = ["cx", "cz", "swap", "cp", "rzz", "crx", "cu", "iswap", "cy", "ch", "rzx", "csx", "crz", "ecr", "dcx"]
THREE = ["ccx", "cswap", "ccz", "rccx"]


def random_op(rng: np.random.Generator, n: int) -> Op:
    """One gate on random qubits; a fifth of the angles are multiples of pi, so that values stay known."""
    kinds = [FIXED, ANGLED, TWO, THREE] if n >= 3 else [FIXED, ANGLED, TWO]
    names = kinds[int(rng.integers(len(kinds)))]
    gate = names[int(rng.integers(len(names)))]
    row = GATES[gate]
    controls = int(rng.integers(0, n - row.n_qubits + 1)) if rng.random() < 0.15 else 0
    qubits = tuple(int(q) for q in rng.permutation(n)[: row.n_qubits + controls])
    params = tuple(float(rng.choice([np.pi, 0.0, rng.uniform(-3, 3), rng.uniform(-3, 3)])) for _ in range(row.n_params))
    return Op(gate, qubits, params, (), controls)


def random_program(rng: np.random.Generator, *, dynamic: bool, n_ops: int = 14) -> Program:
    """2 to 4 qubits, two registers of classical bits; ends in measurements of some qubits."""
    n = int(rng.integers(2, 5))
    bits = n + 1
    ops: list[Operation] = []
    for _ in range(n_ops):
        roll = rng.random()
        if not dynamic or roll < 0.7:
            ops.append(random_op(rng, n))
        elif roll < 0.8:
            ops.append(Op("measure", (int(rng.integers(n)),), (), (int(rng.integers(bits)),)))
        elif roll < 0.87:
            ops.append(Op("reset", (int(rng.integers(n)),)))
        else:
            ops.append(_branch(rng, n, bits))
    for q in range(n):
        if rng.random() < 0.7:
            ops.append(Op("measure", (q,), (), (q,)))
    return Program(n, (("a", n), ("b", 1)), tuple(ops))


def _branch(rng: np.random.Generator, n: int, bits: int) -> Branch:
    width = int(rng.integers(1, 3))
    clbits = tuple(int(c) for c in rng.permutation(bits)[:width])
    relation = str(rng.choice(["==", "!=", "<", ">="]))
    condition = Condition(clbits, relation, int(rng.integers(0, 1 << width)))
    then = [random_op(rng, n) for _ in range(int(rng.integers(1, 3)))]
    if rng.random() < 0.3:
        then.append(Op("measure", (int(rng.integers(n)),), (), (int(rng.integers(bits)),)))
    orelse = [random_op(rng, n)] if rng.random() < 0.5 else []
    return Branch(condition, tuple(then), tuple(orelse))
