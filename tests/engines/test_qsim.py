"""The qsim engine beyond the conformance suite: no cirq, wide programs, single precision.

Modules: qsim_engine, qsim_circuit.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from qcommons.base.errors import UsageError
from qcommons.base.seeds import stream
from qcommons.circuits.observables import PauliSum, Term
from qcommons.circuits.program import Op, Program
from qcommons.engines.aer_engine import ENGINE as AER
from qcommons.engines.qsim_engine import ENGINE
from qcommons.engines.records import CapExceeded, Counts, Expectations, Limits, Statevector, Task

pytestmark = pytest.mark.skipif(ENGINE.installed() is None, reason=f"needs {ENGINE.install}")
LIMITS = Limits(memory_bytes=1 << 30, seconds=30.0)
METHOD = "statevector_f32"


def brickwork(n, depth):
    rng = stream(2, "test", "qsim")
    ops = []
    for layer in range(depth):
        ops += [Op("u", (q,), tuple(rng.uniform(0, 3, 3).tolist())) for q in range(n)]
        ops += [Op("cx", (q, q + 1)) for q in range(layer % 2, n - 1, 2)]
    ops.append(Op("swap", (0, 2, 4, n - 1), controls=2))
    return Program(n, (), tuple(ops))


def test_fused_brickwork_agrees_with_double_precision():
    """Above NARROW qubits gates are fused; a wrong fusing option would show here only."""
    program = brickwork(14, 12)
    found = np.array([complex(*a) for a in ENGINE.run(Task(program, Statevector(), METHOD, 1, LIMITS)).amplitudes])
    exact = np.array([complex(*a) for a in AER.run(Task(program, Statevector(), "statevector", 1, LIMITS)).amplitudes])
    assert np.abs(found - exact).max() < 2e-6
    assert abs(np.vdot(exact, found)) == pytest.approx(1, abs=1e-5)


def test_expectations_of_a_fused_state():
    terms = (Term(0.5, ((0, "X"), (13, "Z"))), Term(-1.5, ((3, "Y"), (4, "Y"), (9, "Z"))), Term(2.0, ()))
    want = Expectations((PauliSum(terms, "sum"), PauliSum((Term(3.0, ()),), "constant")))
    program = brickwork(14, 4)
    found = ENGINE.run(Task(program, want, METHOD, 1, LIMITS)).estimates
    exact = AER.run(Task(program, want, "statevector", 1, LIMITS)).estimates
    assert found[0].value == pytest.approx(exact[0].value, abs=2e-5)
    assert found[1].value == 3.0


def state(engine, method, program):
    pairs = engine.run(Task(program, Statevector(), method, 1, LIMITS)).amplitudes
    return np.array([complex(*pair) for pair in pairs])


def mixed(n, gates, rng):
    """Gates of every kind at random places; at least three qubits."""
    kinds = (("h", 1, 0), ("t", 1, 0), ("rx", 1, 1), ("rz", 1, 1), ("u", 1, 3), ("cx", 2, 0), ("cp", 2, 1),
             ("rzz", 2, 1), ("ccx", 3, 0))  # fmt: skip
    ops = []
    for kind in rng.integers(0, len(kinds), gates):
        name, width, params = kinds[kind]
        where = tuple(rng.permutation(n)[:width].tolist())
        ops.append(Op(name, where, tuple(rng.uniform(-7, 7, params).tolist())))
    return Program(n, (), tuple(ops))


def test_the_error_bound_holds_on_random_circuits():
    """40 circuits of 3 to 13 qubits and 3 to 1,000 gates; by the measurement of 200 the worst is at 0.3 of it."""
    rng = stream(3, "test", "qsim", "bound")
    for _ in range(40):
        program = mixed(int(rng.integers(3, 14)), int(3 * 333 ** rng.random()), rng)
        found = ENGINE.run(Task(program, Statevector(), METHOD, 1, LIMITS))
        off = np.linalg.norm(
            np.array([complex(*pair) for pair in found.amplitudes]) - state(AER, "statevector", program)
        )
        assert 0 < off < found.error_bound < 1e-4
        assert found.error_bound == pytest.approx(len(program.ops) * 2.0**-24)  # IEEE 754 binary32: 24 bits


@pytest.mark.parametrize(
    "ops",
    [
        (Op("h", (0,)),) * 3,
        (Op("rx", (0,), (0.3,)),) * 5_000,
        (Op("h", (0,)), *(Op("rz", (0,), (0.1,)),) * 5_000),
        (Op("u", (0,), (0.3, 1.1, 2.0)), Op("u", (1,), (0.3, 1.1, 2.0))) * 500,
        tuple(Op("h", (q,)) for q in range(12)) * 5,
    ],
    ids=["h", "rx", "rz", "u", "h everywhere"],
)
def test_the_error_bound_holds_where_roundings_add_up_in_step(ops):
    """One gate has the same rounding again and again: the error grows with the gates, not with their root."""
    program = Program(12 if len(ops) == 60 else 2, (), ops)
    off = np.linalg.norm(state(ENGINE, METHOD, program) - state(AER, "statevector", program))
    assert 0.04 * len(ops) * 2.0**-24 < off < ENGINE.run(Task(program, Statevector(), METHOD, 1, LIMITS)).error_bound


def test_the_error_bound_of_means_is_twice_the_norm_and_of_counts_the_states():
    program = Program(2, (("c", 1),), (Op("h", (0,)), Op("cx", (0, 1))))
    sums = (PauliSum((Term(0.5, ((0, "X"),)), Term(-2.0, ((1, "Z"),)), Term(9.0, ())), ""), PauliSum((), ""))
    means = ENGINE.run(Task(program, Expectations(sums), METHOD, 1, LIMITS))
    assert means.error_bound == 2 * 2 * 2.0**-24 * 2.5  # two gates, 2 |O| d; the constant 9 is not rounded
    ended = Program(2, (("c", 1),), (*program.ops, Op("measure", (0,), (), (0,))))
    assert ENGINE.run(Task(ended, Counts(5), METHOD, 1, LIMITS)).error_bound == 2 * 2.0**-24
    constant = Expectations((PauliSum((Term(9.0, ()),), ""),))
    assert ENGINE.run(Task(program, constant, METHOD, 1, LIMITS)).error_bound == 0


def test_running_imports_no_cirq():
    code = (
        "import sys; from qcommons.engines.qsim_engine import ENGINE; "
        "[ENGINE.run(task) for _, task, _ in ENGINE.probes()[:1]]; "
        "print('cirq' in sys.modules, 'qsimcirq' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_memory_is_refused_before_it_is_taken():
    program = Program(34, (("c", 1),), (Op("h", (0,)), Op("measure", (0,), (), (0,))))
    with pytest.raises(CapExceeded, match="137438953472 B for 34 qubits"):
        ENGINE.run(Task(program, Counts(1), METHOD, 1, LIMITS))


def test_a_statevector_wider_than_twenty_qubits_is_refused():
    with pytest.raises(UsageError, match="at most 20"):
        ENGINE.run(Task(Program(21, (), ()), Statevector(), METHOD, 1, LIMITS))


def test_a_run_leaves_the_process_with_standard_arithmetic() -> None:
    """qsim flushes subnormals (IEEE 754, 3.4) in the whole process while it runs; exact formats beside it need them."""
    program = Program(3, (("c", 1),), (Op("h", (0,)), Op("measure", (0,), (), (0,))))
    ENGINE.run(Task(program, Counts(1), METHOD, 1, LIMITS))
    smallest = float("5e-324")
    assert smallest * float("1") > 0.0
