"""Branching: which measurements are final, how histories split, how few states are held."""

from __future__ import annotations

import pytest

from qcommons.base.seeds import stream
from qcommons.circuits.program import Branch, Condition, Op, Program
from qcommons.engines import branching
from qcommons.engines.dense import DenseState
from qcommons.engines.records import CapExceeded


def m(qubit, clbit):
    return Op("measure", (qubit,), clbits=(clbit,))


def program(n, bits, *ops):
    return Program(n, (("c", bits),), ops)


def test_measurements_at_the_end_are_final_and_barriers_vanish():
    body, measured = branching.split_terminal(program(2, 2, Op("h", (0,)), m(0, 1), Op("barrier", (0, 1)), m(1, 0)))
    assert [op.gate for op in body] == ["h"] and measured == {0: 1, 1: 0}


def test_a_measured_qubit_that_is_used_again_is_not_final():
    body, measured = branching.split_terminal(program(1, 2, m(0, 0), Op("h", (0,)), m(0, 1)))
    assert [op.gate for op in body] == ["measure", "h"] and measured == {1: 0}


def test_a_bit_that_a_condition_reads_is_not_final():
    branch = Branch(Condition((0,), "==", 1), (Op("x", (1,)),))
    body, measured = branching.split_terminal(program(2, 1, m(0, 0), branch))
    assert len(body) == 2 and not measured


def test_a_final_measurement_overwritten_by_one_on_the_way_is_not_final():
    ops = (m(1, 0), m(0, 0), Op("h", (0,)))
    body, measured = branching.split_terminal(program(2, 1, *ops))
    assert [op.gate for op in body] == ["measure", "measure", "h"] and not measured


def test_the_quick_split_agrees_with_the_general_one_or_declines():
    simple = program(2, 2, Op("h", (0,)), m(0, 1), m(1, 0))
    body, measured = branching.split_terminal(simple)
    quick = branching.straight(simple)
    assert quick is not None and quick[0] == body and dict(sorted(quick[1].items())) == measured
    assert branching.straight(program(1, 1, m(0, 0), Op("h", (0,)))) is None
    assert branching.straight(program(1, 1, Op("reset", (0,)))) is None


class Counting(DenseState):
    """Counts the states alive at once."""

    alive = peak = copies = 0

    def copy(self):
        other = super().copy()
        other.__class__ = Counting
        Counting.copies += 1
        Counting.alive += 1
        Counting.peak = max(Counting.peak, Counting.alive)
        return other


def coins(flips):
    return program(1, flips, *(op for i in range(flips) for op in (Op("h", (0,)), m(0, i))), Op("h", (0,)))


def test_at_most_log2_shots_states_wait_and_every_shot_ends_once():
    Counting.alive = Counting.peak = Counting.copies = 0
    body, _ = branching.split_terminal(coins(30))
    code = branching.compile_ops(body, lambda ops: ops)
    seen = 0
    for _, _, shots in branching.leaves(code, Counting(1), 30, 1000, branching.binomial_split(stream(1, "t"))):
        seen += shots
        Counting.alive -= 1
    assert seen == 1000 and Counting.peak <= 10  # log2(1000) = 9.97
    assert Counting.copies < 1000  # a single shot is a trajectory: never copied


def test_exact_weights_add_up_to_one_and_too_many_histories_are_refused():
    body, _ = branching.split_terminal(coins(5))
    code = branching.compile_ops(body, lambda ops: ops)
    weights = [w for _, _, w in branching.leaves(code, DenseState(1), 5, 1.0, branching.exact_split)]
    assert len(weights) == 32 and sum(weights) == pytest.approx(1.0, abs=1e-12)
    body, _ = branching.split_terminal(coins(14))
    code = branching.compile_ops(body, lambda ops: ops)
    with pytest.raises(CapExceeded, match="histories"):
        list(branching.leaves(code, DenseState(1), 14, 1.0, branching.exact_split))


def test_conditions_read_the_recorded_bit_not_the_outcome():
    """A readout that always lies: |0> is recorded 1, so the branch runs."""
    branch = Branch(Condition((0,), "==", 1), (Op("x", (1,)),))
    body, _ = branching.split_terminal(program(2, 1, m(0, 0), branch))
    code = branching.compile_ops(body, lambda ops: ops)
    found = list(branching.leaves(code, DenseState(2), 1, 1.0, branching.exact_split, {0: (1.0, 0.0)}))
    [(state, bits, weight)] = found
    assert bits == [1] and weight == 1.0 and abs(state.psi[0b10]) == pytest.approx(1)
