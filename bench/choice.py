"""`python -m bench.choice [COUNT]`: is the chosen engine within 2x of the best by exhaustive trial?

200 mixed circuits: seeded families of our own, and those of MQT Bench (arXiv:2204.13719) where it is
installed. Each is run as chosen, and then with every engine and method, whatever its prediction. Every
trial has a process of its own, with 8 GiB, and is given up after three times the seconds of the chosen
one. Times are the least of three executions or more (what else the machine does only adds), after a
warm-up of the engine, reductions included on both sides. Bar: chosen within 2x of the best on >= 90 %,
none out of memory.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping

from bench.harness import ONE_THREAD

# As workers do; and GNU OpenMP, once it has had threads, waits for ever in a forked process.
os.environ.update(ONE_THREAD)

import numpy as np

from qcommons.base.errors import QCommonsError, UsageError
from qcommons.base.seeds import stream
from qcommons.circuits.gates import GATES
from qcommons.circuits.program import Op, Program
from qcommons.circuits.qasm import parse
from qcommons.engines.calibrate import calibrate
from qcommons.engines.engine import Engine
from qcommons.engines.execute import Request, execute
from qcommons.engines.records import Counts, Limits
from qcommons.engines.registry import load_engines

Rng = np.random.Generator
SHOTS = 1024
MEMORY_BYTES = 8 << 30
SECONDS_MAX = 60.0
REPEATS_S = 0.1
OPS_MAX = 20_000  # larger ones of MQT Bench (qwalk, grover at 20 qubits) would take the whole hour
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


def _own(index: int) -> tuple[str, Program]:
    rng = stream(2026, "choice", index)
    name = list(FAMILIES)[index % len(FAMILIES)]
    ops = FAMILIES[name](rng, int(rng.integers(4, 21)))
    n = 1 + max(q for op in ops for q in op.qubits)
    return name, Program(n, (("c", n),), (*ops, *(Op("measure", (q,), (), (q,)) for q in range(n))))


def _mqt(index: int) -> tuple[str, Program] | None:
    """A circuit of MQT Bench, 4 to 20 qubits; None where the family has none of that size or form."""
    from mqt.bench import BenchmarkLevel, get_benchmark
    from mqt.bench.benchmarks import get_available_benchmark_names
    from qiskit import qasm2, qasm3

    rng = stream(2026, "choice", "mqt", index)
    names = get_available_benchmark_names()
    name, size = names[index % len(names)], int(rng.integers(4, 21))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            circuit = get_benchmark(name, BenchmarkLevel.INDEP, size)
            try:
                text = qasm2.dumps(circuit)
            except qasm2.QASM2ExportError:  # dynamic ones
                text = qasm3.dumps(circuit)
        except (ValueError, TypeError):  # a size that the family does not have
            return None
    try:
        found = parse(text).program
    except UsageError:  # run-time arithmetic on bits
        return None
    return (f"mqt {name}", found) if len(found.ops) <= OPS_MAX else None


def mix(count: int) -> Iterator[tuple[str, Program]]:
    """`count` circuits, own and MQT's in turn."""
    other = importlib.util.find_spec("mqt") is not None
    if not other:
        print("MQT Bench is missing: own families alone. Install it with: pip install mqt.bench")
    own = foreign = 0
    for place in range(count):
        drawn = None
        while other and place % 2 and drawn is None:
            drawn = _mqt(foreign)
            foreign += 1
        if drawn is None:
            drawn = _own(own)
            own += 1
        yield drawn


def seconds(request: Request, patience_s: float) -> float | None:
    """Median of three executions in a forked process; None if it cannot, or not within `patience_s`."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        signal.setitimer(signal.ITIMER_REAL, 3 * patience_s + REPEATS_S + 1)  # its default action ends the process
        resource.setrlimit(resource.RLIMIT_AS, (2 * MEMORY_BYTES, resource.RLIM_INFINITY))
        took: list[float] = []
        try:
            while len(took) < 3 or (sum(took) < REPEATS_S and len(took) < 50):
                started = time.perf_counter()
                execute(request, time.monotonic_ns)
                took.append(time.perf_counter() - started)
            os.write(writer, json.dumps(min(took)).encode())
        except (QCommonsError, MemoryError):
            pass  # this method does not run it
        except Exception as error:
            print(f"{request.engine}/{request.method}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return float(said) if said else None


def warm_up(engines: Mapping[str, Engine]) -> None:
    """Import every engine's library and run it once: forked processes inherit that."""
    bell = Program(2, (("c", 2),), (Op("h", (0,)), Op("cx", (0, 1)), Op("measure", (0,), (), (0,))))
    for engine in engines.values():
        for method in engine.methods if engine.installed() else ():
            with contextlib.suppress(QCommonsError):
                execute(_asked(bell, 1, {}, engine.name, method.name), time.monotonic_ns)


def _asked(
    program: Program, seed: int, constants: dict[str, dict[str, float]], engine: str | None, method: str | None
) -> Request:
    limits = Limits(MEMORY_BYTES, SECONDS_MAX)
    return Request(
        program=program, want=Counts(SHOTS), seed=seed, constants=constants, limits=limits, engine=engine, method=method
    )


def main(words: list[str]) -> int:
    count = int(words[0]) if words else 200
    engines = load_engines()
    constants = calibrate(engines, time.monotonic_ns, budget_s=4.0)
    warm_up(engines)
    good, lost = 0, 0
    for index, (name, circuit) in enumerate(mix(count)):
        story = f"{index:>3} {name}, {circuit.n_qubits} qubits, {len(circuit.ops)} operations"
        chosen = seconds(_asked(circuit, index, constants, None, None), SECONDS_MAX)
        if chosen is None:
            lost += 1
            print(f"{story}: not run", flush=True)
            continue
        best, best_name = chosen, "chosen"
        for engine in engines.values():
            for method in engine.methods if engine.installed() else ():
                took = seconds(_asked(circuit, index, constants, engine.name, method.name), 3 * chosen)
                if took is not None and took < best:
                    best, best_name = took, f"{engine.name}/{method.name}"
        good += chosen <= 2 * best
        if chosen > 2 * best:
            print(f"{story}: {chosen:.4f} s, {best_name} {best:.4f} s", flush=True)
    print(f"chosen within 2x of the best on {good} of {count} ({100 * good / count:.1f} %; bar 90 %); not run: {lost}")
    return int(good < 0.9 * count or lost > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
