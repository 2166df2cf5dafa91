"""Fuzz target: `check`, the wire and the OpenQASM writer accept exactly the same programs.

Sound programs are spoilt in one to three places: any field, entry or whole noun is replaced by a value
of another kind or just out of range, repeated, dropped or turned into a list. Then `check` and `encode`
both pass or both raise UsageError, whatever the object; what passes comes back equal from its bytes and
from its OpenQASM text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.circuits.test_wire import programs
from tests.vectors.regenerate import PROGRAMS

from qcommons.base.errors import UsageError
from qcommons.circuits import wire
from qcommons.circuits.gates import GATES
from qcommons.circuits.program import DEFAULT_CAPS, Affine, Branch, Condition, Op, Program, check
from qcommons.circuits.qasm import dumps, parse

FUZZ = settings(max_examples=400, deadline=None)
Path = tuple[int, ...]


def children(value: Any) -> tuple[Any, ...]:
    if isinstance(value, msgspec.Struct):
        return tuple(getattr(value, name) for name in value.__struct_fields__)
    return value if isinstance(value, tuple) else ()


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Paths of the value and of everything in it; a step is the number of a field or an entry."""
    yield path
    for step, child in enumerate(children(value)):
        yield from places(child, (*path, step))


def changed(value: Any, path: Path, change: Callable[[Any], Any]) -> Any:
    """A copy in which `change` was applied at the path."""
    if not path:
        return change(value)
    if isinstance(value, msgspec.Struct):
        name = value.__struct_fields__[path[0]]
        return msgspec.structs.replace(value, **{name: changed(getattr(value, name), path[1:], change)})
    return (*value[: path[0]], changed(value[path[0]], path[1:], change), *value[path[0] + 1 :])


class Odd(int):
    pass


ONE = Condition((0,), "==", 1)
NUMBERS: list[Any] = [
    0, 1, 2, 3, 5, -1, 255, 256, 100_000, 2**31, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**4000,
    True, False, Odd(1), np.int64(1), np.uint8(0), 1.0, 0.0, -0.0, 0.5, 5e-324, 1e308, math.nan, math.inf, -math.inf,
    np.float64(0.25), np.float64(math.nan), np.float32(0.5), Fraction(1, 2), 1j, np.array([0, 1]), np.array(0.5),
]  # fmt: skip
TEXTS: list[Any] = [
    "", "c", "d", "theta", "phi", "zeta", "q", "x", "if", "==", "=", ">=", "a b", "\n", "\x1b[2J", "\x85", "\ud800",
    "a" * 100, "a" * 101, "θ" * 100, "qc_name_61", "v[0]", b"x", np.str_("h"), np.str_("c"), *GATES, "measure",
    "reset", "barrier",
]  # fmt: skip
GROUPS: list[Any] = [
    (), (0,), (1,), (0, 1), (1, 0), (0, 0), (0, 1, 2), (0.5,), ("theta",), (("c", 1),), (("theta", 1.0),),
    (("theta", 0.0),), (("theta", 1.0), ("phi", 2.0)), (("phi", 1.0), ("theta", 2.0)), (("theta", 1.0),) * 2,
    None, [], [0], [0, 1], {}, {0}, frozenset({0}), range(2), iter(()), Op, Program,
]  # fmt: skip
NOUNS: list[Any] = [
    Op("h", (0,)), Op("barrier", (0,)), Op("measure", (0,), (), (0,)), Op("reset", (0,)),
    Op("x", (0, 1), (), (), 1), Branch(ONE, (Op("x", (0,)),)), Branch(ONE, ()), ONE, Condition((), "==", 0),
    Affine(0.5, (("theta", 1.0),)), Affine(0.5, ()), Affine(math.nan, (("theta", 1.0),)), Program(1, (), ()),
]  # fmt: skip
HUGE = 10**5000  # Python refuses to print it, so that hypothesis could not either
UNPRINTABLE: list[Any] = [HUGE, -HUGE, (HUGE,), [HUGE], ("c", HUGE), Op("h", (HUGE,)), Condition((0,), "==", HUGE)]
VALUES = [*NUMBERS, *TEXTS, *GROUPS, *NOUNS]


def listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else [value]


def doubled(value: Any) -> Any:
    return value + value if isinstance(value, tuple) else (value, value)


def shorter(value: Any) -> Any:
    return value[:-1] if isinstance(value, tuple) else ()


def reversed_(value: Any) -> Any:
    return value[::-1] if isinstance(value, tuple) else value


def nested(value: Any) -> Any:
    return Branch(ONE, (value,)) if isinstance(value, Op | Branch) else (value,)


CHANGES: list[Callable[[Any], Any]] = [listed, doubled, shorter, reversed_, nested]


@st.composite
def spoilt(draw: st.DrawFn) -> Any:
    program: Any = draw(st.sampled_from([*PROGRAMS.values()]) | programs())
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(program))))
        if draw(st.booleans()):
            value = draw(st.sampled_from(VALUES))
            program = changed(program, path, lambda _, value=value: value)
        else:
            program = changed(program, path, draw(st.sampled_from(CHANGES)))
    return program


def passes(judge: Callable[[Any], object], program: Any) -> bool:
    try:
        judge(program)
    except UsageError as error:
        assert error.where and error.what and len(str(error)) < 500
        return False
    return True


def agree(program: Any) -> None:
    good = passes(check, program)
    assert passes(lambda one: wire.encode(one, DEFAULT_CAPS), program) == good
    assert passes(dumps, program) == good
    if good:
        data = wire.encode(program)
        again = wire.decode(data)
        assert again == program
        assert wire.encode(again) == data
        assert wire.program_of(wire.decode_columns(data)) == again
        assert parse(dumps(program)).program == program


@FUZZ
@given(spoilt())
def test_check_and_wire_and_openqasm_agree_on_what_is_a_program(program: Any) -> None:
    agree(program)


def test_every_single_replacement_in_a_program_that_holds_everything() -> None:
    """Exhaustive where hypothesis samples: each value at each place, and each change."""
    angle = Affine(0.5, (("phi", -1.0), ("theta", 2.0)))
    branch = Branch(Condition((0, 1), ">=", 2), (Op("x", (0,)),), (Op("measure", (1,), (), (0,)),))
    ops = (Op("x", (0, 1, 2), (), (), 2), Op("rzz", (0, 1), (angle,)), Op("barrier", (0, 1)), branch)
    program = Program(3, (("c", 1), ("d", 1)), ops, ("theta", "phi"))
    agree(program)
    for path in places(program):
        for value in VALUES:
            agree(changed(program, path, lambda _, value=value: value))
        for value in UNPRINTABLE:
            agree(changed(program, path, lambda _, value=value: value))
        for change in CHANGES:
            agree(changed(program, path, change))
