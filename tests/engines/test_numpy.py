"""The numpy engine's dense and density methods against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qcommons.base.errors import UsageError
from qcommons.circuits.gates import GATES, unitary
from qcommons.circuits.noise import Channel, Noise, Rule
from qcommons.circuits.observables import PauliSum, Term
from qcommons.circuits.program import Branch, Condition, Op, Program
from qcommons.engines.action import action_of, action_of_matrix
from qcommons.engines.numpy_engine import ENGINE
from qcommons.engines.records import (
    Amplitudes,
    CapExceeded,
    Counts,
    Expectations,
    Limits,
    Statevector,
    Task,
)  # fmt: skip

LIMITS = Limits(memory_bytes=1 << 30, seconds=30)


def run(program, want, method="dense", noise=None, limits=LIMITS):
    return ENGINE.run(Task(program, want, method, 3, limits, noise))


def bare(n, *ops):
    return Program(n, (), ops)


def pauli(*paulis):
    return PauliSum((Term(1.0, paulis),), "P")


@pytest.mark.parametrize("method", ["dense", "sparse"])
def test_fourier_transform_has_the_dft_as_its_amplitudes(method):
    n, x = 11, 1234
    ops = [Op("x", (i,)) for i in range(n) if x >> i & 1]
    for i in reversed(range(n)):
        ops.append(Op("h", (i,)))
        ops += [Op("cp", (j, i), (math.pi / (1 << (i - j)),)) for j in range(i)]
    ops += [Op("swap", (i, n - 1 - i)) for i in range(n // 2)]
    found = np.array([complex(*a) for a in run(bare(n, *ops), Statevector(), method).amplitudes])
    exact = np.exp(2j * np.pi * x * np.arange(1 << n) / (1 << n)) / math.sqrt(1 << n)
    assert np.abs(found - exact).max() < 1e-12


@pytest.mark.parametrize("name", sorted(GATES))
def test_the_action_of_a_row_rebuilds_its_matrix(name):
    """Controls, targets and kind hold all there is in the matrix."""
    row = GATES[name]
    op = Op(name, tuple(range(row.n_qubits + 1)), tuple(0.3 + i for i in range(row.n_params)), controls=1)
    action = action_of(op)
    k = row.n_qubits + 1
    rebuilt = np.eye(1 << k, dtype=complex)
    on = [i for i in range(1 << k) if all(i >> c & 1 for c in action.controls)]
    local = [sum((i >> t & 1) << j for j, t in enumerate(action.targets)) for i in on]
    for i, a in zip(on, local, strict=True):
        for j, b in zip(on, local, strict=True):
            same = all((i >> q & 1) == (j >> q & 1) for q in range(k) if q not in action.targets)
            rebuilt[i, j] = action.matrix[a, b] if same else 0
    assert np.abs(rebuilt - unitary(name, op.params, 1)).max() < 1e-15


def test_rotations_by_pi_are_permutations_despite_rounding():
    assert action_of_matrix(unitary("rx", (math.pi,))).moves.tolist() == [1, 0]
    assert action_of_matrix(unitary("u", (0.0, 0.3, 0.4))).controls == (0,)  # u(0, ...) is a bare phase on |1>


def test_depolarized_bell_pair_keeps_one_minus_p_of_its_correlations():
    p = 0.3
    noise = Noise((Rule((Channel("depolarizing", (p,)),), gates=("cx",)),))
    program = bare(2, Op("h", (0,)), Op("cx", (0, 1)))
    answer = run(program, Expectations((pauli((0, "Z"), (1, "Z")), pauli((0, "X"), (1, "X")))), "density", noise)
    assert [e.value for e in answer.estimates] == pytest.approx([1 - p, 1 - p], abs=1e-12)


def test_relaxation_decays_with_t1_and_t2():
    t1, t2, t = 50e-6, 40e-6, 10e-6
    noise = Noise((Rule((Channel("relaxation", (t1, t2, t)),), gates=("id",)),))
    one = run(bare(1, Op("x", (0,)), Op("id", (0,))), Expectations((pauli((0, "Z")),)), "density", noise)
    plus = run(bare(1, Op("h", (0,)), Op("id", (0,))), Expectations((pauli((0, "X")),)), "density", noise)
    assert one.estimates[0].value == pytest.approx(1 - 2 * math.exp(-t / t1), abs=1e-12)
    assert plus.estimates[0].value == pytest.approx(math.exp(-t / t2), abs=1e-12)


def test_readout_errors_reach_the_condition():
    """|0> read wrongly with probability 0.25 triggers the correction: P(final 1) = 0.25."""
    noise = Noise((Rule((Channel("readout", (0.25, 0.0)),), qubits=(0,)),))
    branch = Branch(Condition((0,), "==", 1), (Op("x", (1,)),))
    program = Program(2, (("c", 2),), (Op("measure", (0,), clbits=(0,)), branch, Op("measure", (1,), clbits=(1,))))
    counts = run(program, Counts(40_000), "density", noise).counts
    assert set(counts) == {"00", "11"}
    assert abs(counts["11"] - 10_000) < 6 * math.sqrt(7500)  # 6 sigma: 2e-9


def test_exact_expectation_averages_over_histories():
    """A counterfeit coin: measure, then flip if heads: always |0> on the second qubit's Z, mixed first."""
    branch = Branch(Condition((0,), "==", 1), (Op("x", (0,)),))
    program = Program(1, (("c", 1),), (Op("ry", (0,), (1.1,)), Op("measure", (0,), clbits=(0,)), branch))
    for method in ("dense", "density", "sparse"):
        answer = run(program, Expectations((pauli((0, "Z")),)), method)
        assert answer.estimates[0].value == pytest.approx(1, abs=1e-12) and answer.facts["histories"] == 2


def test_final_measurements_do_not_disturb_exact_values():
    program = Program(
        2, (("c", 2),),
        (Op("h", (0,)), Op("cx", (0, 1)), Op("measure", (0,), clbits=(0,)), Op("measure", (1,), clbits=(1,))),
    )  # fmt: skip
    for method in ("dense", "density", "sparse"):
        assert run(program, Expectations((pauli((0, "X"), (1, "X")),)), method).estimates[0].value == pytest.approx(1)


def test_repeated_resets_run_one_history_a_shot_at_most():
    ops = [op for i in range(40) for op in (Op("h", (0,)), Op("cx", (0, 1)), Op("reset", (0,)))]
    program = Program(2, (("c", 2),), (*ops, Op("measure", (0,), clbits=(0,)), Op("measure", (1,), clbits=(1,))))
    answer = run(program, Counts(50))
    assert sum(answer.counts.values()) == 50 and answer.facts["histories"] <= 50
    assert all(key[1] == "0" for key in answer.counts)


@pytest.mark.parametrize("method, n", [("dense", 24), ("density", 12)])
def test_a_state_above_the_memory_limit_is_never_allocated(method, n):
    with pytest.raises(CapExceeded, match="memory_bytes"):
        run(bare(n, Op("h", (0,))), Expectations((pauli((0, "Z")),)), method, limits=Limits(1 << 24, 30))


def test_amplitudes_of_a_mixture_are_refused():
    program = Program(1, (("c", 1),), (Op("h", (0,)), Op("measure", (0,), clbits=(0,)), Op("h", (0,))))
    with pytest.raises(UsageError, match="pure"):
        run(program, Amplitudes(("0",)))
