"""The conformance suite itself: its reference against Qiskit, its programs against the rules of programs.

Modules: engine, engine_rules, programs, reference. That lying engines are caught stands in tests/engines.
"""

from __future__ import annotations

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.quantum_info import Statevector

from qcommons.circuits.program import Op, Program, check
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


def test_checks_have_distinct_names_and_say_what_they_hold() -> None:
    checks = engine_checks()
    assert len({c.name for c in checks}) == len(checks) and all(c.help for c in checks)
