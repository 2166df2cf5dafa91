"""Rules of the nouns: what `check` refuses, what `bind` fixes."""

import math
from typing import Any

import numpy as np
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
    Op("barrier", (0,)),
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


ANGLE = Affine(0.0, (("theta", 1.0),))
ONE = Condition((0,), "==", 1)


@pytest.mark.parametrize(
    ("op", "where", "words", "limit"),
    [
        (Op("nosuch", (0,)), "operation 1", "'nosuch'", None),
        (Op("h", (3,)), "operation 1", "qubit 3; allowed 0 to 2", "0 to 2"),
        (Op("h", (10**5000,)), "operation 1", "16610 bits", "0 to 2"),  # 5000 log2(10) = 16609.6
        (Op("h", (True,)), "operation 1", "True is of type bool", None),
        (Op("h", (np.int64(1),)), "operation 1", "of type int64", None),
        (Op("h", [0]), "operation 1", "list; a tuple", None),
        (Op("cx", (1, 1)), "operation 1", "(1, 1): one occurs twice", None),
        (Op("cx", (1,)), "operation 1", "cx: number of qubits is 1; it takes 2", "2 qubits"),
        (Op("x", (0,), (), (), -1), "operation 1", "x: -1 controls on 1 qubits; allowed 0 to 1", "0 to 1"),
        (Op("x", (0, 1), (), (), True), "operation 1", "controls True is of type bool", None),
        (Op("rz", (0,), (math.nan,)), "operation 1", "rz: parameter nan", "finite"),
        (Op("rz", (0,), ("1",)), "operation 1", "rz: parameter '1' is of type str", None),
        (Op("rz", (0,), (2**53 + 1,)), "operation 1", "9007199254740993", "-2^53 to 2^53"),
        (Op("measure", (0,)), "operation 1", "measure: number of classical bits is 0; it takes 1", "1 classical bits"),
        (Op("measure", (0,), (), (3,)), "operation 1", "classical bit 3; allowed 0 to 2", "0 to 2"),
        (Op("barrier", ()), "operation 1", "barrier: number of qubits is 0; it takes 1", "1 qubits"),
        (Op("rz", (0,), (Affine(0.5, ()),)), "operation 1", "without terms", "1 term"),
        (Op("rz", (0,), (Affine(0.5, (("theta", 0.0),)),)), "operation 1", "coefficient 0 of 'theta'", None),
        (Op("rz", (0,), (Affine(0.5, ANGLE.terms * 2),)), "operation 1", "term 'theta' after 'theta'", None),
        (Op("rz", (0,), (Affine(0.5, (("x", 1.0),)),)), "operation 1", "'x' is no input; inputs: ['phi', ", None),
        (Branch(ONE, (Op("h", (0,)), Op("h", (4,)))), "operation 1, then[1]", "qubit 4", "0 to 2"),
        (Branch(ONE, (), (Op("h", (4,)),)), "operation 1, orelse[0]", "qubit 4", "0 to 2"),
        (Branch(ONE, (Branch(ONE, ()),)), "operation 1, then[0]", "Branch within a Branch", None),
        (Branch(ONE, [Op("h", (0,))]), "operation 1, then", "list; a tuple", None),
        (Branch(Condition((), "==", 0), ()), "operation 1", "at least 1 classical bit", "1 bit"),
        (Branch(Condition((0,), "=", 0), ()), "operation 1", "relation '='; allowed == != < <= > >=", None),
        (Branch(Condition((0,), "==", 1 << 63), ()), "operation 1", "allowed 0 to 2^63 - 1", "0 to 2^63 - 1"),
        (("h", (0,)), "operation 1", "of type tuple", None),
        (None, "operation 1", "of type NoneType", None),
    ],
)  # fmt: skip
def test_a_refusal_names_place_value_and_range(op: Any, where: str, words: str, limit: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        check(program(Op("h", (0,)), op, inputs=("theta", "phi")))
    assert caught.value.where == where
    assert words in caught.value.what
    assert limit is None or caught.value.limit == limit


@pytest.mark.parametrize(
    ("bad", "where", "words"),
    [
        (Program(1, (("a", 1), ("a", 1)), ()), "cregs", "'a' occurs twice"),
        (Program(1, (("a", 0),), ()), "cregs", "size 0"),
        (Program(1, (("a", True),), ()), "cregs", "size True"),
        (Program(1, (("", 1),), ()), "cregs", "'': a name is text of 1 to 100 characters"),
        (Program(1, (("a" * 101, 1),), ()), "cregs", "1 to 100 characters"),
        (Program(1, (("\x1b[2J", 1),), ()), "cregs", "control character"),
        (Program(1, (("\ud800", 1),), ()), "cregs", "surrogate"),
        (Program(1, ((3, 1),), ()), "cregs", "3: a name is text"),
        (Program(1, [("a", 1)], ()), "cregs", "list; a tuple"),
        (Program(1, ("ab",), ()), "cregs", "'ab' is no register"),
        (Program(1, (), (), ("a", "a")), "inputs", "'a' occurs twice"),
        (Program(1, (), (), "ab"), "inputs", "str; a tuple"),
        (Program(1.0, (), ()), "program", "n_qubits 1.0 is of type float"),
        (Program(-1, (), ()), "program", "-1 qubits; allowed 0 to 100000"),
        (Program(1, (), [Op("h", (0,))]), "program", "list; a tuple"),
        ([], "program", "of type list is no Program"),
    ],
)
def test_sizes_and_names_are_refused_by_field(bad: Any, where: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        check(bad)
    assert caught.value.where == where
    assert words in caught.value.what


def test_what_the_rules_leave_open_passes() -> None:
    check(Program(0, (), ()))
    check(Program(0, (("theta", 1), ("θ" * 100, 1)), (Branch(ONE, ()),), ("theta", "unused")))
    check(Program(1, (("c", 1),), (Branch(Condition((0,), "<", 2**63 - 1), ()),)))
    check(Program(1, (), (Op("rz", (0,), (np.float64(0.5),)), Op("rz", (0,), (-(2**53),)), Op("rz", (0,), (-0.0,)))))


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


@pytest.mark.parametrize(
    "values",
    [{}, {"theta": 1.0, "x": 2.0}, {"theta": 1.0, 3: 2.0}, {"theta": math.nan}, {"theta": math.inf}, {"theta": "1"},
     {"theta": None}, {"theta": 1j}, {"theta": 10**400}, {"theta": np.array([1.0, 2.0])}],
)  # fmt: skip
def test_bind_names_what_is_wrong(values: dict[str, float]) -> None:
    free = program(Op("rz", (0,), (Affine(0.0, (("theta", 1.0),)),)), inputs=("theta",))
    with pytest.raises(UsageError) as caught:
        bind(free, values)
    assert "bind" in (caught.value.where or "")


def test_bind_refuses_values_that_make_an_angle_infinite() -> None:
    free = program(Op("rz", (0,), (Affine(0.0, (("theta", 100.0),)),)), inputs=("theta",))
    with pytest.raises(UsageError, match=r"theta=1e\+308 makes the angle inf"):
        bind(free, {"theta": 1e308})


def test_bind_takes_any_real_number_and_makes_floats() -> None:
    free = program(Op("rz", (0,), (ANGLE,)), inputs=("theta",))
    for value in (2, np.int64(2), np.float32(2), np.array(2.0), True + 1):
        bound = bind(free, {"theta": value})
        check(bound)
        assert bound.ops == (Op("rz", (0,), (2.0,)),)


def test_bind_without_inputs_returns_the_program_itself() -> None:
    fixed = program(*GOOD)
    assert bind(fixed, {}) is fixed
