"""Slices of tensor networks: the sum is the amplitude, a slice is the same anywhere, a lying range is refused.

Modules: tn_closed, tn_tree, tn_search, tn_slices, tn_sliced.
"""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from tests.engines.test_tn import grid

from qcommons.base.errors import Unavailable, UsageError
from qcommons.circuits.program import Op, Program
from qcommons.engines.numpy_engine import ENGINE as NUMPY
from qcommons.engines.records import Amplitudes, CapExceeded, Expectations, Limits, Slices, Statevector, Task
from qcommons.engines.tn_closed import amplitude, expectation
from qcommons.engines.tn_search import Finder
from qcommons.engines.tn_sliced import run_slices
from qcommons.engines.tn_slices import contract
from qcommons.engines.tn_tree import read_tree
from qcommons.testing.reference import statevector

LIMITS = Limits(memory_bytes=1 << 30, seconds=30.0)
PROGRAM = grid(3, 3, 8)
BITS = "011010110"


def still():
    return 0


def dense(program):
    answer = NUMPY.run(Task(program, Statevector(), "dense", 1, LIMITS))
    return [complex(*pair) for pair in answer.amplitudes]


def sliced_tree(closed, count, seed=1):
    finder = Finder(closed.legs, closed.owners, seed)
    finder.anneal(50)
    finder.slice_to(0, 4, count)
    return read_tree(closed.legs, finder.pairs(), finder.ordered())


def want_of(closed, tree, first=0, count=None, **fields):
    count = tree.n_slices if count is None else count
    return Slices(
        tree=tree.pairs, sliced=tree.sliced, first=first, count=count, shape=closed.shape_id,
        multiplications=tree.multiplications(first, count), elements=tree.peak_elements(), **fields,
    )  # fmt: skip


@pytest.fixture(scope="module")
def planned():
    closed = amplitude(PROGRAM.ops, 9, BITS)
    return closed, sliced_tree(closed, 4)


@pytest.mark.parametrize(("precision", "within"), [("f64", 1e-12), ("f32", 1e-6)])
def test_all_slices_add_up_to_the_dense_amplitude(planned, precision, within):
    closed, tree = planned
    exact = dense(PROGRAM)[int(BITS, 2)]
    alone = sum(contract(closed, tree, k, 1, precision) for k in range(tree.n_slices))
    assert tree.n_slices == 16
    assert abs(alone - exact) < within
    assert abs(contract(closed, tree, 0, 16, precision) - exact) < within


def test_a_range_is_the_sum_of_its_slices_wherever_it_starts(planned):
    closed, tree = planned
    alone = [contract(closed, tree, k, 1, "f64") for k in range(16)]
    for first, count in ((0, 3), (5, 6), (7, 1), (3, 13)):
        assert contract(closed, tree, first, count, "f64") == pytest.approx(
            sum(alone[first : first + count]), abs=1e-14
        )


def test_a_tree_says_the_multiplications_that_are_made(planned, monkeypatch):
    closed, tree = planned
    made = []
    product = np.tensordot

    def counted(a, b, axes):
        made.append(a.size * b.size // 2 ** len(axes[0]))
        return product(a, b, axes)

    monkeypatch.setattr(np, "tensordot", counted)
    for first, count in ((0, 1), (0, 16), (5, 6)):
        made.clear()
        contract(closed, tree, first, count, "f64")
        assert sum(made) == tree.multiplications(first, count)


def test_single_slices_do_not_depend_on_the_last_bits_of_a_gate(planned):
    """Two machines differ in roundings; the singular vectors of cz, of equal values, would differ wholly."""
    closed, tree = planned
    nudged = tuple(
        Op(op.gate, op.qubits, tuple(p * (1 + 4e-16 * (k % 3 - 1)) for p in op.params))
        for k, op in enumerate(PROGRAM.ops)
    )
    other = amplitude(nudged, 9, BITS)
    assert other.shape_id == closed.shape_id
    for k in range(tree.n_slices):
        assert contract(other, tree, k, 1, "f64") == pytest.approx(contract(closed, tree, k, 1, "f64"), abs=1e-13)


def test_the_network_has_one_shape_for_all_bitstrings_and_another_for_another_program(planned):
    assert amplitude(PROGRAM.ops, 9, "0" * 9).shape_id == planned[0].shape_id
    assert amplitude(PROGRAM.ops[:-10], 9, BITS).shape_id != planned[0].shape_id


@pytest.mark.parametrize("gate", ["swap", "iswap", "cx", "cz", "rzz", "ch", "ccx"])
def test_gates_of_any_rank_are_woven_right(gate):
    from qcommons.circuits.gates import GATES

    if gate not in GATES:
        pytest.skip(f"no gate {gate}")
    row = GATES[gate]
    ops = [Op("u", (q,), (0.3 + q, 0.5, 1.1 * q)) for q in range(4)]
    ops += [
        Op(gate, (2, 0, 3)[: row.n_qubits], (0.7,) * row.n_params),
        Op("cx", (0, 1)),
        Op("u", (2,), (0.2, 1.0, 2.0)),
    ]
    exact = statevector(Program(4, (), tuple(ops)))
    for index in (0, 5, 11):
        closed = amplitude(ops, 4, format(index, "04b"))
        tree = sliced_tree(closed, 0)
        assert contract(closed, tree, 0, 1, "f64") == pytest.approx(exact[index], abs=1e-13)


def test_pauli_slices_add_up_to_the_expectation_value():
    paulis = ((2, "X"), (4, "Z"))
    from qcommons.circuits.observables import PauliSum, Term

    exact = NUMPY.run(Task(PROGRAM, Expectations((PauliSum((Term(1.0, paulis),), ""),)), "dense", 1, LIMITS))
    closed = expectation(PROGRAM.ops, 9, dict(paulis))
    tree = sliced_tree(closed, 3)
    answers = [
        run_slices(PROGRAM, want_of(closed, tree, k, 2, paulis=paulis), LIMITS, still)
        for k in range(0, tree.n_slices, 2)
    ]
    total = sum(answer.estimates[0].value for answer in answers)
    assert total == pytest.approx(exact.estimates[0].value, abs=1e-12)


def test_several_bitstrings_are_answered_in_the_order_asked(planned):
    closed, tree = planned
    want = want_of(closed, tree, bitstrings=(BITS, "0" * 9))
    want = msgspec.structs.replace(want, multiplications=2 * want.multiplications)
    exact = dense(PROGRAM)
    answer = run_slices(PROGRAM, want, LIMITS, still)
    assert [complex(*a) for a in answer.amplitudes] == pytest.approx([exact[int(BITS, 2)], exact[0]], abs=1e-13)


LIES = {
    "fewer multiplications": ({"multiplications": 10.0}, "multiplications, said were 10"),
    "fewer elements": ({"elements": 2.0}, "elements, said were 2"),
    "another network": ({"shape": "0" * 32}, "the slices are of 0000"),
    "a tensor used twice": ({"tree": ((0, 1), (0, 2))}, "pairs; a tree of"),
    "slices that do not exist": ({"first": 15, "count": 2}, "slices 15 to 16; there are 16"),
    "a negative slice": ({"first": -1}, "there are 16"),
    "an index twice": ({"sliced": (1, 1, 2, 3)}, "at most 40 different"),
    "an index far away": ({"sliced": (1, 2, 3, 1 << 30)}, "is not one of the network's"),
    "an unknown precision": ({"precision": "f16"}, "precision 'f16'"),
    "no number": ({"multiplications": float("nan")}, "no finite number"),
    "nothing asked": ({"bitstrings": ()}, "bitstrings or of one Pauli string"),
    "too short a bitstring": ({"bitstrings": ("01",)}, "bitstring of 9 characters"),
    "a qubit too far": ({"bitstrings": (), "paulis": ((9, "X"),)}, "Pauli string of X, Y, Z"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_range_is_refused_before_anything_is_contracted(planned, monkeypatch, lie):
    closed, tree = planned
    monkeypatch.setattr(np, "tensordot", None) if "network" not in lie else None
    fields, words = LIES[lie]
    want = msgspec.structs.replace(want_of(closed, tree, bitstrings=(BITS,)), **fields)
    monkeypatch.undo()
    with pytest.raises(UsageError, match=words):
        run_slices(PROGRAM, want, LIMITS, still)


def test_pairs_that_are_no_tree_are_refused(planned):
    closed, tree = planned
    for pair in ((0, 0), (-1, 2), (0, 10**9), tree.pairs[0]):
        with pytest.raises(UsageError, match="two different tensors not yet used"):
            read_tree(closed.legs, (*tree.pairs[:-1], pair), tree.sliced)


def test_a_tree_too_wide_for_any_float_is_refused_by_its_cost():
    """2,000 pairs of tensors, first one of each pair joined: the product has 2,000 indices."""
    legs = [1 << k for k in range(2_000)] * 2
    pairs = [(0, 1)] + [(k, 3_998 + k) for k in range(2, 4_000)]
    tree = read_tree(legs, pairs, ())
    assert tree.width == 2_000
    assert 2.0**500 <= tree.multiplications() < float("inf")
    assert 2.0**500 <= tree.peak_elements() < float("inf")


def test_a_range_beyond_the_limits_is_refused_with_the_numbers(planned):
    closed, tree = planned
    large = msgspec.structs.replace(want_of(closed, tree, bitstrings=(BITS,)), elements=2.0**80)
    with pytest.raises(Unavailable, match="limit 1,073,741,824 B"):
        run_slices(PROGRAM, large, LIMITS, still)
    long = msgspec.structs.replace(large, elements=100.0, multiplications=1e15)
    with pytest.raises(Unavailable, match="limit 30"):
        run_slices(PROGRAM, long, LIMITS, still)


def test_a_range_past_its_time_stops_between_slices(planned):
    closed, tree = planned
    with pytest.raises(CapExceeded, match="slice 2 of 16"):
        seen = iter((False, False, True))
        contract(closed, tree, 0, 16, "f64", lambda: next(seen))


def test_slices_cross_the_pipe_as_any_want():
    """Slices cross the pipe as any want."""
    want = Slices(tree=((0, 1),), sliced=(3,), first=0, count=1, shape="a", multiplications=4.0, elements=4.0)
    for one in (want, Amplitudes(("0",)), Statevector()):
        again = msgspec.msgpack.decode(msgspec.msgpack.encode(one), type=Amplitudes | Statevector | Slices)
        assert again == one
