"""`python -m bench.choice [COUNT]`: is the chosen engine within 2x of the best by exhaustive trial?

200 mixed circuits from seeded families of our own generator. Each is run as
chosen, and then with every engine and method that takes it; times are the median of three executions in this
process, reductions included on both sides. Bar: chosen within 2x of the best on >= 90 %, none out of memory.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
from msgspec.structs import replace

from qcommons.base.errors import QCommonsError
from qcommons.base.seeds import stream
from qcommons.circuits.gates import GATES
from qcommons.circuits.program import Op, Program
from qcommons.engines.calibrate import calibrate
from qcommons.engines.execute import Request, execute
from qcommons.engines.records import Counts, Limits
from qcommons.engines.registry import load_engines

Rng = np.random.Generator
SHOTS = 1024
CLIFFORDS = ("h", "s", "cx", "cz", "sx", "swap")
FAMILIES: dict[str, Callable[[Rng, int], list[Op]]] = {}


def family(maker: Callable[[Rng, int], list[Op]]) -> Callable[[Rng, int], list[Op]]:
    """Register a row of the generator under its function's name."""
    FAMILIES[maker.__name__] = maker
    return maker


def _cliffords(rng: Rng, n: int, count: int) -> list[Op]:
    ops = []
    for _ in range(count):
        gate = CLIFFORDS[int(rng.integers(len(CLIFFORDS)))]
        ops.append(Op(gate, tuple(int(q) for q in rng.permutation(n)[: GATES[gate].n_qubits])))
    return ops


@family
def ghz(rng: Rng, n: int) -> list[Op]:
    n *= int(rng.integers(1, 12))
    return [Op("h", (0,)), *(Op("cx", (q, q + 1)) for q in range(n - 1))]


@family
def clifford(rng: Rng, n: int) -> list[Op]:
    return _cliffords(rng, 3 * n, 60 * n)


@family
def clifford_t(rng: Rng, n: int) -> list[Op]:
    wide = 2 * n
    ops = _cliffords(rng, wide, 30 * n)
    for _ in range(int(rng.integers(2, 14))):
        ops += [Op("t", (int(rng.integers(wide)),)), *_cliffords(rng, wide, 20)]
    return ops


@family
def brickwork(rng: Rng, n: int) -> list[Op]:
    ops = []
    for layer in range(int(rng.integers(3, 16))):
        ops += [Op("u", (q,), tuple(float(a) for a in rng.uniform(0, 3, 3))) for q in range(n)]
        ops += [Op("cz", (q, q + 1)) for q in range(layer % 2, n - 1, 2)]
    return ops


@family
def ising(rng: Rng, n: int) -> list[Op]:
    n *= int(rng.integers(1, 4))
    ops = []
    for _ in range(int(rng.integers(2, 8))):
        ops += [Op("rzz", (q, q + 1), (0.2,)) for q in range(n - 1)]
        ops += [Op("rx", (q,), (0.3,)) for q in range(n)]
    return ops


@family
def qaoa(rng: Rng, n: int) -> list[Op]:
    ops = [Op("h", (q,)) for q in range(n)]
    for _ in range(2):
        for q in range(n):
            ops.append(Op("rzz", (q, (q + 1 + int(rng.integers(n - 1))) % n), (float(rng.uniform(0, 1)),)))
        ops += [Op("rx", (q,), (0.7,)) for q in range(n)]
    return ops


@family
def qft_of_superposition(rng: Rng, n: int) -> list[Op]:
    ops = [Op("ry", (q,), (float(rng.uniform(0, 3)),)) for q in range(n)]
    for q in reversed(range(n)):
        ops.append(Op("h", (q,)))
        ops += [Op("cp", (k, q), (np.pi / 2 ** (q - k),)) for k in range(q)]
    return ops


@family
def adder(rng: Rng, n: int) -> list[Op]:
    """Cuccaro ripple carry (arXiv:quant-ph/0410184) on a small superposition of inputs."""
    wide = 2 * n + 1
    ops = [Op("h", (int(q),)) for q in rng.permutation(wide)[: int(rng.integers(1, 8))]]
    for q in range(0, wide - 2, 2):
        ops += [Op("cx", (q + 2, q + 1)), Op("cx", (q + 2, q)), Op("ccx", (q, q + 1, q + 2))]
    return ops


@family
def w_state(rng: Rng, n: int) -> list[Op]:
    n *= 2
    ops = [Op("x", (0,))]
    for q in range(n - 1):
        ops += [Op("cry", (q, q + 1), (2 * float(np.arccos(np.sqrt(1 / (n - q)))),)), Op("cx", (q + 1, q))]
    return ops


@family
def hidden_string(rng: Rng, n: int) -> list[Op]:
    ops = [Op("x", (n,)), *(Op("h", (q,)) for q in range(n + 1))]
    ops += [Op("cx", (q, n)) for q in range(n) if rng.random() < 0.5]
    return [*ops, *(Op("h", (q,)) for q in range(n))]


def program(index: int) -> tuple[str, Program]:
    """The index-th circuit of the mix."""
    rng = stream(2026, "choice", index)
    name = list(FAMILIES)[index % len(FAMILIES)]
    ops = FAMILIES[name](rng, int(rng.integers(4, 21)))
    n = 1 + max(q for op in ops for q in op.qubits)
    return name, Program(n, (("c", n),), (*ops, *(Op("measure", (q,), (), (q,)) for q in range(n))))


def seconds(request: Request) -> float | None:
    """Median of up to three executions; None if it cannot."""
    took = []
    while len(took) < 3 and sum(took) < 1.0:
        started = time.perf_counter()
        try:
            execute(request, time.monotonic_ns)
        except QCommonsError:
            return None
        took.append(time.perf_counter() - started)
    return statistics.median(took)


def main(words: list[str]) -> int:
    count = int(words[0]) if words else 200
    engines = load_engines()
    constants = calibrate(engines, time.monotonic_ns, budget_s=4.0)
    good, lost, slow = 0, 0, []
    for index in range(count):
        name, circuit = program(index)
        base = Request(program=circuit, want=Counts(SHOTS), seed=index, constants=constants, limits=Limits(8 << 30, 30))
        chosen = seconds(base)
        if chosen is None:
            lost += 1
            slow.append(f"{index} {name} {circuit.n_qubits}: not run")
            continue
        best, best_name = chosen, "chosen"
        patience = Limits(8 << 30, max(2 * chosen, 0.05))
        for engine in engines.values():
            for method in engine.methods if engine.installed() else ():
                forced = replace(base, limits=patience, engine=engine.name, method=method.name)
                took = seconds(forced)
                if took is not None and took < best:
                    best, best_name = took, f"{engine.name}/{method.name}"
        good += chosen <= 2 * best
        if chosen > 2 * best:
            slow.append(f"{index} {name} {circuit.n_qubits} qubits: {chosen:.4f} s, {best_name} {best:.4f} s")
    print("\n".join(slow))
    print(f"chosen within 2x of the best on {good} of {count} ({100 * good / count:.1f} %; bar 90 %); not run: {lost}")
    return int(good < 0.9 * count or lost > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
