"""Rules of the nouns: what `check` refuses, what `bind` fixes."""

import math

import pytest

from qcommons.base.errors import UsageError
from qcommons.circuits.program import Affine, Branch, Caps, Condition, Op, Program, bind, check, flat_ops

BITS = (("a", 2), ("b", 1))


def program(*ops: Op | Branch, n_qubits: int = 3, inputs: tuple[str, ...] = ()) -> Program:
    return Program(n_qubits, BITS, ops, inputs)


GOOD = (
    Op("h", (0,)),
    Op("x", (0, 1, 2), (), (), 2),
    Op("rz", (1,), (0.5,)),
    Op("gphase", (), (0.1,)),
    Op("gphase", (2,), (0.1,), (), 1),
    Op("barrier", ()),
    Op("barrier", (0, 2)),
    Op("reset", (1,)),
    Op("measure", (0,), (), (2,)),
    Branch(Condition((0, 1), ">=", 2), (Op("x", (0,)),), (Op("measure", (1,), (), (0,)),)),
)


def test_a_good_program_passes() -> None:
    check(program(*GOOD))
    assert [op.gate for op in flat_ops(GOOD)][-2:] == ["x", "measure"]


@pytest.mark.parametrize(
    "op",
    [
        Op("nosuch", (0,)),
        Op("h", (3,)),
        Op("h", (-1,)),
        Op("h", (0, 1)),
        Op("cx", (0, 0)),
        Op("cx", (0,)),
        Op("rz", (0,)),
        Op("rz", (0,), (math.nan,)),
        Op("rz", (0,), (math.inf,)),
        Op("rz", (0,), (Affine(0.0, (("theta", 1.0),)),)),
        Op("h", (0,), (), (0,)),
        Op("x", (0, 1), (), (), 2),
        Op("x", (0,), (), (), -1),
        Op("measure", (0,)),
        Op("measure", (0,), (), (3,)),
        Op("measure", (0, 1), (), (0, 1)),
        Op("measure", (0, 1), (), (0,), 1),
        Op("reset", (0,), (1.0,)),
        Op("barrier", (0,), (1.0,)),
        Branch(Condition((), "==", 0), ()),
        Branch(Condition((0, 0), "==", 0), ()),
        Branch(Condition((3,), "==", 0), ()),
        Branch(Condition((0,), "=", 0), ()),
        Branch(Condition((0,), "==", -1), ()),
        Branch(Condition((0,), "==", 1 << 63), ()),
        Branch(Condition((0,), "==", 1), (Op("h", (9,)),)),
        Branch(Condition((0,), "==", 1), (), (Op("rz", (0,), (math.nan,)),)),
    ],
)
def test_a_bad_operation_is_refused_with_its_index(op: Op | Branch) -> None:
    with pytest.raises(UsageError) as caught:
        check(program(Op("h", (0,)), op))
    assert caught.value.where is not None and caught.value.where.startswith("operation 1")


@pytest.mark.parametrize("cregs", [(("a", 1), ("a", 1)), (("a", 0),)])
def test_registers_need_distinct_names_and_bits(cregs: tuple[tuple[str, int], ...]) -> None:
    with pytest.raises(UsageError):
        check(Program(1, cregs, ()))


@pytest.mark.parametrize(
    ("caps", "words"),
    [
        (Caps(qubits_max=2), "qubits"),
        (Caps(clbits_max=2), "classical bits"),
        (Caps(operations_max=11), "operations"),
        (Caps(inputs_max=0), "inputs"),
    ],
)
def test_each_cap_is_named(caps: Caps, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        check(program(*GOOD, inputs=("theta",)), caps)
    assert words in (caught.value.limit or "")


def test_both_arms_of_a_branch_count_as_operations() -> None:
    check(program(*GOOD), Caps(operations_max=12))  # ten entries, two inner ones


@pytest.mark.parametrize(
    ("relation", "held"),
    [("==", {2}), ("!=", {0, 1, 3}), ("<", {0, 1}), ("<=", {0, 1, 2}), (">", {3}), (">=", {2, 3})],
)
def test_a_condition_reads_its_first_bit_as_the_least_significant(relation: str, held: set[int]) -> None:
    condition = Condition((4, 1), relation, 2)
    assert {v for v in range(4) if condition.holds({4: v & 1, 1: v >> 1})} == held


def test_bind_replaces_inputs_everywhere() -> None:
    angle = Affine(0.5, (("phi", -1.0), ("theta", 2.0)))
    inside = Branch(Condition((0,), "==", 1), (Op("rx", (0,), (angle,)),), (Op("ry", (0,), (angle,)),))
    free = program(Op("u", (0,), (angle, 0.25, angle)), inside, Op("h", (0,)), inputs=("theta", "phi"))
    check(free)
    bound = bind(free, {"theta": 1.0, "phi": 0.125})
    check(bound)
    assert bound.inputs == ()
    assert bound.ops == (
        Op("u", (0,), (2.375, 0.25, 2.375)),
        Branch(Condition((0,), "==", 1), (Op("rx", (0,), (2.375,)),), (Op("ry", (0,), (2.375,)),)),
        Op("h", (0,)),
    )


@pytest.mark.parametrize("values", [{}, {"theta": 1.0, "x": 2.0}, {"theta": math.nan}, {"theta": math.inf}])
def test_bind_names_what_is_wrong(values: dict[str, float]) -> None:
    free = program(Op("rz", (0,), (Affine(0.0, (("theta", 1.0),)),)), inputs=("theta",))
    with pytest.raises(UsageError) as caught:
        bind(free, values)
    assert "bind" in (caught.value.where or "")


def test_bind_without_inputs_returns_the_program_itself() -> None:
    fixed = program(*GOOD)
    assert bind(fixed, {}) is fixed
