"""The conformance suite itself: its reference against Qiskit, its programs against the rules of programs.

Modules: engine, engine_rules, programs, reference. That lying engines are caught stands in tests/engines.
"""

from __future__ import annotations

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.quantum_info import Statevector

from qcommons.base.seeds import stream
from qcommons.circuits.noise import Channel, Noise, Rule
from qcommons.circuits.observables import parse_observable
from qcommons.circuits.program import Op, Program, check
from qcommons.engines.numpy_engine import ENGINE as NUMPY
from qcommons.engines.records import Expectations, Limits, Task
from qcommons.testing import engine_checks, reference
from qcommons.testing.programs import bit_programs, control_programs, dynamic_programs, gate_programs


def test_reference_statevector_is_qiskits() -> None:
    """A circuit with every bit order in it: asymmetric gates on unsorted qubits."""
    circuit = QuantumCircuit(3)
    circuit.h(1)
    circuit.cu(0.3, 0.2, 0.1, 0.4, 2, 0)
    circuit.cx(1, 2)
    circuit.rzx(0.7, 2, 1)
    ops = (Op("h", (1,)), Op("cu", (2, 0), (0.3, 0.2, 0.1, 0.4)), Op("cx", (1, 2)), Op("rzx", (2, 1), (0.7,)))
    assert np.allclose(reference.statevector(Program(3, (), ops)), Statevector(circuit).data, atol=1e-12)


@pytest.mark.parametrize("clifford", [True, False])
def test_every_program_of_the_suite_is_valid(clifford: bool) -> None:
    for _, program in (*gate_programs(clifford), *control_programs(clifford), *dynamic_programs()):
        check(program)


def test_bit_programs_give_their_one_bitstring_in_the_reference() -> None:
    for name, program, bits in bit_programs():
        exact = reference.distribution(program)
        assert exact[bits] == pytest.approx(1.0), name


def random_rule(rng: np.random.Generator) -> Rule:
    """Channels of every kind but readout, on some gates, some of 3 qubits, some number of qubits."""
    values = {
        "depolarizing": (0.2,), "bit_flip": (0.1,), "phase_flip": (0.3,), "pauli": (0.1, 0.2, 0.05),
        "amplitude_damping": (0.3,), "relaxation": (1e-4, 1.5e-4, 5e-5),
    }  # fmt: skip
    kinds = [str(k) for k in rng.permutation(list(values))[: int(rng.integers(1, 3))]]
    gates = tuple(str(g) for g in rng.permutation(("h", "cx", "ccx", "reset"))[: int(rng.integers(0, 4))])
    qubits = tuple(int(q) for q in rng.permutation(3)[: int(rng.integers(0, 4))])
    return Rule(tuple(Channel(k, values[k]) for k in kinds), gates, qubits, int(rng.integers(0, 4)))


@pytest.mark.parametrize("seed", range(25))
def test_reference_and_engine_read_random_noise_rules_alike(seed: int) -> None:
    """Two implementations of the rule: a one-qubit channel acts on the qubits inside, a joint one on all or none."""
    rng = stream(seed, "test", "rules")
    noise = Noise(tuple(random_rule(rng) for _ in range(3)))
    ops = []
    for _ in range(10):
        gate = str(rng.choice(("h", "t", "cx", "ccx", "reset")))
        width = {"cx": 2, "ccx": 3}.get(gate, 1)
        ops.append(Op(gate, tuple(int(q) for q in rng.permutation(3)[:width])))
    program = Program(3, (), tuple(ops))
    sums = tuple(parse_observable(text, 3) for text in ("Z0", "X1", "Y2 X0", "Z0 Z1 Z2"))
    limits = Limits(memory_bytes=1 << 30, seconds=10)
    answer = NUMPY.run(Task(program, Expectations(sums), "density", 1, limits, noise))
    for observable, estimate in zip(sums, answer.estimates or (), strict=True):
        assert estimate.value == pytest.approx(reference.expectation(program, observable, noise), abs=1e-10)


def test_a_one_qubit_channel_acts_on_the_inner_qubit_of_a_wider_gate() -> None:
    """cx from qubit 1, in |0>: bit_flip 0.1 on qubit 1 alone leaves <Z1> = 1 - 0.2 and <Z0> = -1."""
    noise = Noise((Rule((Channel("bit_flip", (0.1,)),), ("cx",), (1,)),))
    program = Program(2, (), (Op("x", (0,)), Op("cx", (1, 0))))
    assert reference.expectation(program, parse_observable("Z1", 2), noise) == pytest.approx(0.8)
    assert reference.expectation(program, parse_observable("Z0", 2), noise) == pytest.approx(-1)


def test_checks_have_distinct_names_and_say_what_they_hold() -> None:
    checks = engine_checks()
    assert len({c.name for c in checks}) == len(checks) and all(c.help for c in checks)
