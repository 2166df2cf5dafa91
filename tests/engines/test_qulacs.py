"""The qulacs engine: fusion is exact in phase, states are not shared, small tasks stay cheap.

Modules: qulacs_engine, qulacs_fusion, qulacs_gates.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from qcommons.base.seeds import stream
from qcommons.circuits.gates import ROWS
from qcommons.circuits.program import Op, Program
from qcommons.engines import qulacs_engine
from qcommons.engines.numpy_engine import ENGINE as NUMPY
from qcommons.engines.qulacs_engine import ENGINE
from qcommons.engines.qulacs_fusion import fused
from qcommons.engines.records import CapExceeded, Counts, Limits, Statevector, Task

pytest.importorskip("qulacs")
LIMITS = Limits(memory_bytes=1 << 30, seconds=30)


def state(engine, method, program):
    answer = engine.run(Task(program, Statevector(), method, 1, LIMITS))
    return np.array([complex(*a) for a in answer.amplitudes])


def random_program(seed, n):
    """Every row of the table twice, in random order, some with extra controls."""
    rng = stream(seed, "test", "qulacs")
    ops = []
    for row in [*ROWS, *ROWS]:
        controls = int(rng.integers(0, 3)) if row.n_qubits < 3 and rng.random() < 0.3 else 0
        qubits = tuple(int(q) for q in rng.permutation(n)[: row.n_qubits + controls])
        ops.append(Op(row.name, qubits, tuple(rng.normal(size=row.n_params).tolist()), controls=controls))
    order = rng.permutation(len(ops))
    return Program(n, (), tuple(ops[i] for i in order))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("fuse_from", [1, 99])
def test_fused_and_plain_circuits_equal_numpy_phase_included(monkeypatch, seed, fuse_from):
    monkeypatch.setattr(qulacs_engine, "FUSE_FROM", fuse_from)
    program = random_program(seed, 5 + seed % 3)
    assert np.abs(state(ENGINE, "statevector", program) - state(NUMPY, "dense", program)).max() < 1e-13


def test_a_brickwork_layer_becomes_one_matrix_a_pair():
    layer = [Op("u", (q,), (0.1, 0.2, 0.3)) for q in range(6)] + [Op("cx", (q, q + 1)) for q in (0, 2, 4)]
    circuit, phase = fused(6, layer)
    assert circuit.get_gate_count() == 3 and phase == 1


def test_many_zz_rotations_gather_in_few_diagonals():
    ring = [Op("rzz", (q, (q + 1) % 12), (0.3,)) for q in range(12)]
    circuit, _ = fused(12, ring)
    assert circuit.get_gate_count() <= 3


def test_gates_with_cheap_kernels_are_left_alone():
    circuit, _ = fused(4, [Op("cx", (0, 1)), Op("cx", (2, 3)), Op("swap", (1, 2))])
    assert sorted(circuit.get_gate(i).get_name() for i in range(3)) == ["CNOT", "CNOT", "SWAP"]


def test_spare_states_are_not_shared_between_threads_or_tasks():
    """Flat and peaked tasks of one width interleaved: each peaked one must start from |0...0>."""
    measures = tuple(Op("measure", (q,), clbits=(q,)) for q in range(4))
    flat = Program(4, (("c", 4),), (*(Op("h", (q,)) for q in range(4)), *measures))
    peak = Program(4, (("c", 4),), (Op("x", (2,)), *measures))

    def one(i):
        return ENGINE.run(Task((flat, peak)[i % 2], Counts(20), "statevector", i, LIMITS)).counts

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(one, range(400)))
    assert all(answer == {"0100": 20} for answer in answers[1::2])
    assert all(sum(answer.values()) == 20 for answer in answers[::2])


def test_fused_sampling_of_a_14_qubit_ghz_state():
    n = 14
    ops = [Op("h", (0,)), *(Op("cx", (q, q + 1)) for q in range(n - 1)), *(Op("rz", (q,), (0.4,)) for q in range(n))]
    measures = tuple(Op("measure", (q,), clbits=(q,)) for q in range(n))
    counts = ENGINE.run(Task(Program(n, (("c", n),), (*ops, *measures)), Counts(4000), "statevector", 2, LIMITS)).counts
    assert set(counts) == {"0" * n, "1" * n}
    assert abs(counts["0" * n] - 2000) < 6 * math.sqrt(1000)  # 6 sigma: 2e-9


def test_a_state_above_the_memory_limit_is_never_allocated():
    program = Program(30, (("c", 1),), (Op("h", (0,)), Op("measure", (0,), clbits=(0,))))
    with pytest.raises(CapExceeded, match="memory_bytes"):
        ENGINE.run(Task(program, Counts(1), "statevector", 1, LIMITS))
