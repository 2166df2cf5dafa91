"""Exact noisy Clifford means: against density matrices by definition and against closed forms.

Modules: heisenberg, and the way to it through stim_engine and execute.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

from qcommons.base.errors import UsageError
from qcommons.base.seeds import stream
from qcommons.circuits.noise import Channel, Noise, Rule, parse_noise
from qcommons.circuits.observables import parse_observable
from qcommons.circuits.program import Branch, Condition, Op, Program
from qcommons.engines.execute import Request, execute
from qcommons.engines.heisenberg import damped_means
from qcommons.engines.records import Expectations, Limits
from qcommons.testing import reference

LIMITS = Limits(memory_bytes=1 << 30, seconds=20)
GATES = ("h", "s", "sdg", "sx", "x", "y", "z", "cx", "cy", "cz", "swap", "iswap", "ecr")
TEXTS = ("Z0", "X1", "Y2", "Z0 Z1", "X0 Y1 Z2", "Y0 X2", "2.5 X0 X1 X2 - 0.5 Z2 + 1")


def random_clifford(rng: np.random.Generator, n: int, count: int) -> Program:
    ops: list[Op] = []
    for _ in range(count):
        gate = str(rng.choice((*GATES, "reset", "measure")))
        width = 2 if gate in ("cx", "cy", "cz", "swap", "iswap", "ecr") else 1
        qubits = tuple(int(q) for q in rng.permutation(n)[:width])
        ops.append(Op(gate, qubits, (), (0,) if gate == "measure" else ()))
    return Program(n, (("c", 1),), tuple(ops))


def random_noise(rng: np.random.Generator, n: int) -> Noise:
    rules = []
    for _ in range(int(rng.integers(1, 5))):
        p = float(rng.uniform(0, 0.3))
        channel = (
            Channel("depolarizing", (p,)), Channel("bit_flip", (p,)), Channel("phase_flip", (p,)),
            Channel("pauli", (p, p / 2, p / 5)),
        )[int(rng.integers(4))]  # fmt: skip
        gates = tuple(str(g) for g in rng.choice((*GATES, "reset", "measure"), 4)) if rng.random() < 0.5 else ()
        qubits = tuple(int(q) for q in rng.permutation(n)[: int(rng.integers(0, n))])
        rules.append(Rule((channel,), gates, qubits, int(rng.integers(0, 3))))
    return Noise(tuple(rules))


@pytest.mark.parametrize("seed", range(40))
def test_damped_means_are_those_of_the_density_matrix(seed: int) -> None:
    rng = stream(seed, "test", "heisenberg")
    program, noise = random_clifford(rng, 3, 14), random_noise(rng, 3)
    for text in TEXTS:
        observable = parse_observable(text, 3)
        means = damped_means(program.ops, 3, noise, [t.paulis for t in observable.terms])
        value = sum(t.coefficient * m for t, m in zip(observable.terms, means, strict=True))
        assert value == pytest.approx(reference.expectation(program, observable, noise), abs=1e-12), text


def ghz(n: int) -> Program:
    return Program(n, (), (Op("h", (0,)), *(Op("cx", (q, q + 1)) for q in range(n - 1))))


def ask(program: Program, noise: Noise, *texts: str):  # type: ignore[no-untyped-def]
    sums = tuple(parse_observable(t, program.n_qubits) for t in texts)
    request = Request(program=program, want=Expectations(sums), seed=1, limits=LIMITS, noise=noise)
    return execute(request, time.monotonic_ns).answer


def test_ends_of_a_noisy_ghz_state_lose_one_factor_a_gate() -> None:
    """Z0 Z29 walks back to Z0 Z28 Z29 ... : it meets each of the 29 cx once, and the h not at all (as I)."""
    answer = ask(ghz(30), parse_noise("depolarizing:0.01"), "Z0 Z29", "Z0")
    assert answer.estimates[0].value == pytest.approx(0.99**29, abs=1e-12)
    assert answer.estimates[1].value == 0 and answer.engine == "stim"


def test_parity_of_a_thousand_flipped_qubits_has_its_closed_form() -> None:
    """X on each of n qubits with probability p: <Z..Z> = (1 - 2p)^n after as many x gates, n even."""
    n = 1000
    program = Program(n, (), tuple(Op("x", (q,)) for q in range(n)))
    answer = ask(program, parse_noise("bit_flip:0.001"), " ".join(f"Z{q}" for q in range(n)))
    assert answer.estimates[0].value == pytest.approx((1 - 2e-3) ** n, rel=1e-9)


def test_readout_errors_are_left_out_of_exact_values() -> None:
    noise = parse_noise("depolarizing:0.01+readout:0.1")
    assert ask(ghz(30), noise, "Z0 Z29").estimates[0].value == pytest.approx(0.99**29, abs=1e-12)


def test_branches_are_refused_for_they_read_a_noisy_record() -> None:
    branch = Branch(Condition((0,), "==", 1), (Op("x", (1,)),))
    ops = (Op("h", (0,)), Op("measure", (0,), (), (0,)), branch)
    with pytest.raises(UsageError, match="without branches"):
        damped_means(ops, 2, parse_noise("bit_flip:0.1"), [((1, "Z"),)])
