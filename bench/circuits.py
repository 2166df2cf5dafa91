"""The circuits of the benches as OpenQASM 2 text, so that both sides of a claim get the same one."""

from __future__ import annotations

import math
from collections.abc import Iterable

from qcommons.base.seeds import stream

__all__ = ["brickwork", "clifford_t", "ghz", "ising", "qaoa", "small_task"]


def _qasm(n: int, lines: Iterable[str], measured: bool = True) -> str:
    head = ["OPENQASM 2.0;", 'include "qelib1.inc";', f"qreg q[{n}];"]
    body = list(lines)
    if measured:
        head.append(f"creg c[{n}];")
        body.append("measure q -> c;")
    return "\n".join(head + body) + "\n"


def ghz(n: int) -> str:
    """n qubits in a GHZ state."""
    return _qasm(n, ["h q[0];", *(f"cx q[{i}],q[{i + 1}];" for i in range(n - 1))])


def clifford_t(n: int, depth: int, t_gates: int, seed: int) -> str:
    """Random Clifford brickwork with `t_gates` T gates at random places."""
    rng = stream(seed, "clifford_t", n, depth)
    layers: list[str] = []
    for layer in range(depth):
        layers += [f"{('h', 's', 'x')[rng.integers(3)]} q[{i}];" for i in range(n)]
        layers += [f"cx q[{i}],q[{i + 1}];" for i in range(layer % 2, n - 1, 2)]
    for place in sorted((int(p) for p in rng.integers(len(layers), size=t_gates)), reverse=True):
        layers.insert(place, f"t q[{rng.integers(n)}];")
    return _qasm(n, layers)


def ising(n: int, steps: int, dt: float = 0.1) -> str:
    """First-order Trotter steps of H = -sum ZZ - sum X on a line, from all spins up."""
    lines: list[str] = []
    for _ in range(steps):
        for i in range(n - 1):
            lines += [f"cx q[{i}],q[{i + 1}];", f"rz({-2 * dt}) q[{i + 1}];", f"cx q[{i}],q[{i + 1}];"]
        lines += [f"rx({-2 * dt}) q[{i}];" for i in range(n)]
    return _qasm(n, lines)


def brickwork(n: int, depth: int, seed: int) -> str:
    """Layers of random u gates, then a row of cx."""
    rng = stream(seed, "brickwork", n, depth)
    lines: list[str] = []
    for layer in range(depth):
        for i in range(n):
            a, b, c = rng.uniform(-math.pi, math.pi, 3)
            lines.append(f"u3({a:.17g},{b:.17g},{c:.17g}) q[{i}];")
        lines += [f"cx q[{i}],q[{i + 1}];" for i in range(layer % 2, n - 1, 2)]
    return _qasm(n, lines)


def qaoa(n: int, rounds: int, seed: int) -> str:
    """QAOA for MaxCut on a ring with chords (i, i + n/2): three edges at each vertex."""
    rng = stream(seed, "qaoa", n, rounds)
    edges = [(i, (i + 1) % n) for i in range(n)] + [(i, i + n // 2) for i in range(n // 2)]
    lines = [f"h q[{i}];" for i in range(n)]
    for _ in range(rounds):
        gamma, beta = rng.uniform(0.2, 1.0, 2)
        for a, b in edges:
            lines += [f"cx q[{a}],q[{b}];", f"rz({gamma:.17g}) q[{b}];", f"cx q[{a}],q[{b}];"]
        lines += [f"rx({2 * beta:.17g}) q[{i}];" for i in range(n)]
    return _qasm(n, lines)


def small_task(index: int) -> str:
    """Five qubits, 38 gates: one of many small circuits of a variational loop."""
    rng = stream(index, "small_task")
    lines: list[str] = []
    for _ in range(4):
        lines += [f"ry({rng.uniform(-math.pi, math.pi):.17g}) q[{i}];" for i in range(5)]
        lines += [f"cx q[{i}],q[{i + 1}];" for i in range(4)]
    return _qasm(5, [*lines, "h q[0];", "h q[4];"])
