"""Casts and typed constants: two's complement, worked out by hand from the OpenQASM 3.0 specification.

"Integers", "Casting specifics" and "Built-in constant expression functions" of the live specification.
"""

from __future__ import annotations

import pytest

from qcommons.base.errors import UsageError
from qcommons.circuits.program import Branch, Condition, Op, check
from qcommons.circuits.qasm import parse
from qcommons.circuits.qasm.conditions import compare_signed

HEAD = 'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[4] q; bit[2] c; bit[3] d; bit e;\n'
X = Op("x", (0,))


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("uint[2](c) < 2", Condition((0, 1), "<", 2)),
        ("uint(c) < 2", Condition((0, 1), "<", 2)),
        ("int[2](c) == -1", Condition((0, 1), "==", 3)),
        ("int[2](c) != -2", Condition((0, 1), "!=", 2)),
        ("int[2](c) == 1", Condition((0, 1), "==", 1)),
        ("int[3](d) < 0", Condition((4,), "==", 1)),
        ("int[3](d) >= 0", Condition((4,), "==", 0)),
        ("0 > int[3](d)", Condition((4,), "==", 1)),
        ("int[3](d) <= -4", Condition((2, 3, 4), "==", 4)),
        ("int[3](d) > 2", Condition((2, 3, 4), "==", 3)),
        ("int[1](e) == -1", Condition((5,), "==", 1)),
        ("int[2](c)", Condition((0, 1), "!=", 0)),
        ("uint[2](int[2](c)) > 2", Condition((0, 1), ">", 2)),
    ],
)
def test_bits_cast_to_an_integer_keep_width_and_sign(condition: str, expected: Condition) -> None:
    program = parse(f"{HEAD}if ({condition}) x q[0];").program
    check(program)
    assert program.ops == (Branch(expected, (X,)),)


@pytest.mark.parametrize(
    ("condition", "always"),
    [("int[2](c) < 2", True), ("int[2](c) == 2", False), ("int[2](c) != 3", True), ("int[3](d) < 5", True),
     ("int[3](d) > 3", False), ("-5 <= int[3](d)", True), ("int[1](e) == 1", False)],
)  # fmt: skip
def test_what_every_number_of_the_type_answers_alike_is_decided_at_once(condition: str, always: bool) -> None:
    """int[2] is -2 .. 1 and int[3] is -4 .. 3."""
    assert parse(f"{HEAD}if ({condition}) x q[0]; else h q[0];").program.ops == ((X,) if always else (Op("h", (0,)),))


@pytest.mark.parametrize("relation", ["==", "!=", "<", "<=", ">", ">="])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("width", [1, 2, 3])
def test_signed_comparisons_hold_for_the_same_bits_as_in_python(relation: str, mirrored: bool, width: int) -> None:
    """Every pattern of the bits and every constant around them, against Python's own integers."""
    python = {"==": int.__eq__, "!=": int.__ne__, "<": int.__lt__, "<=": int.__le__, ">": int.__gt__, ">=": int.__ge__}
    said = 0
    for value in range(-(1 << width), (1 << width) + 1):
        found = compare_signed(tuple(range(width)), relation, value, mirrored=mirrored)
        said += found is not None
        for pattern in range(1 << width):
            number = pattern - (1 << width) if pattern >> (width - 1) else pattern
            wanted = python[relation](value, number) if mirrored else python[relation](number, value)
            if isinstance(found, Condition):
                assert found.holds([pattern >> i & 1 for i in range(width)]) == wanted, (value, pattern)
            elif found is not None:
                assert found == wanted, (value, pattern)
    assert said >= (2 << width) - (1 << width) // 2  # few orderings need more than one comparison


@pytest.mark.parametrize(
    ("angle", "expected"),
    [
        ("int[2](3)", -1.0),
        ("uint[8](-1)", 255.0),
        ("int[8](uint[8](-56))", -56.0),
        ("int[8](300)", 44.0),
        ("int[8](2.9)", 2.0),
        ("int(-2.9)", -2.0),
        ("uint[70](5)", 5.0),
        ("popcount(11)", 3.0),
        ("popcount(uint[4](-1))", 4.0),
        ("mod(9007199254740993, 2)", 1.0),
    ],
)
def test_casts_of_constants_keep_the_lowest_bits(angle: str, expected: float) -> None:
    assert parse(f"{HEAD}rx({angle}) q[0];").program.ops == (Op("rx", (0,), (expected,)),)


@pytest.mark.parametrize(
    ("text", "holds", "place"),
    [
        ("if (int[3](d) < 2) x q[0];", "int[3] of bits ordered against 2", "4:15"),
        ("if (int[3](c) < 2) x q[0];", "2 bit(s) cast to int[3]", "4:5"),
        ("if (uint[1](c) == 1) x q[0];", "2 bit(s) cast to uint[1]", "4:5"),
        ("if (int(c) < 2) x q[0];", "allowed int[2], which has a sign, and uint[2]", "4:5"),
        ('if (int[2](c) == "01") x q[0];', "not with a string", "4:15"),
        ("if (int[0](c) == 1) x q[0];", "a type of 0 bits", "4:9"),
        ("rx(popcount(1.5)) q[0];", "popcount(1.5)", "4:4"),
        ("rx(popcount(-3)) q[0];", "popcount(-3)", "4:4"),
        ("rx(int[8](300.5)) q[0];", "holds -2^7 to 2^7-1", "4:4"),
        ("rx(uint(-1)) q[0];", "holds 0 to 2^64-1", "4:4"),
        ("const int[2] n = 3;", "'n' = 3; int of 2 bits holds -2^1 to 2^1-1", "4:7"),
        ("const uint n = -1;", "'n' = -1; uint of 64 bits", "4:7"),
        ("for uint[2] i in [0:4] x q[0];", "'i' takes the value 4; uint of 2 bits", "4:"),
        ("for int i in {0, 0.5} x q[0];", "'i' takes the value 0.5", "4:"),
    ],
)
def test_what_a_type_cannot_hold_is_refused_at_its_place(text: str, holds: str, place: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(HEAD + text, filename="f")
    assert holds in str(caught.value), str(caught.value)
    assert (caught.value.where or "").startswith(f"f:{place}"), str(caught.value)


@pytest.mark.parametrize("value", [10**400, -(10**5000), float("inf"), "2", 1j], ids=range(5))
def test_values_of_inputs_that_are_no_finite_numbers_are_refused(value: object) -> None:
    for kind in ("float", "int"):
        with pytest.raises(UsageError, match="is not finite") as caught:
            parse(f"OPENQASM 3.0;\ninput {kind} t; qubit q;", values={"t": value}, filename="f")  # type: ignore[dict-item]
        assert caught.value.where == "f:2:1"


def test_values_of_integer_inputs_are_held_against_the_width() -> None:
    text = HEAD + "input uint[2] n; x q[n];"
    assert parse(text, values={"n": 3}).program.ops == (Op("x", (3,)),)
    for value in (4, -1):
        with pytest.raises(UsageError, match="uint of 2 bits holds 0 to"):
            parse(text, values={"n": value})
