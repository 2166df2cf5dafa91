"""Unrolled loops: the short way of `loops.py` says what one pass after the other would say."""

from __future__ import annotations

import math
import time

import pytest

from qcommons.base.errors import UsageError
from qcommons.circuits.program import Affine, Branch, Condition, Op, Operation
from qcommons.circuits.qasm import parse

HEAD = 'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[6] q; bit[6] c; input float t; const int n = 2;\n'


def read(body: str) -> tuple[Operation, ...]:
    return parse(HEAD + body).program.ops


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("rx(i * 0.001) q[0];", [Op("rx", (0,), (i * 0.001,)) for i in range(6)]),
        ("rx(2 * pi * i / 7) q[i];", [Op("rx", (i,), (2 * math.pi * i / 7,)) for i in range(6)]),
        ("rx(i / n) q[-1 - i];", [Op("rx", (5 - i,), (i / 2,)) for i in range(6)]),
        ("cx q[i], q[(i + 1) % 6];", [Op("cx", (i, (i + 1) % 6)) for i in range(6)]),
        ("const int n = i; rx(n) q[n];", [Op("rx", (i,), (float(i),)) for i in range(6)]),
        ("rx(n) q[0]; const int n = i; rx(n) q[0];",
         [Op("rx", (0,), (a,)) for i in range(6) for a in (2.0, float(i))]),
        ("let a = q[i:5]; x a[0];", [Op("x", (i,)) for i in range(6)]),
        ("rz(n * t + i) q[0];", [Op("rz", (0,), (Affine(float(i), (("t", 2.0),)),)) for i in range(6)]),
        ("if (c[i]) x q[n];", [Branch(Condition((i,), "==", 1), (Op("x", (2,)),)) for i in range(6)]),
        ("for int n in [0:i] x q[n];", [Op("x", (k,)) for i in range(6) for k in range(i + 1)]),
        ("for int k in [0:5] rx(i - k * n) q[k];",
         [Op("rx", (k,), (float(i - 2 * k),)) for i in range(6) for k in range(6)]),
        ("x q[i:];", [Op("x", (k,)) for i in range(6) for k in range(i, 6)]),
        ("ctrl @ rx(i ** 2) q[0], q[n];", [Op("crx", (0, 2), (float(i * i),)) for i in range(6)]),
    ],
)  # fmt: skip
def test_each_pass_sees_its_own_values(body: str, expected: list[Operation]) -> None:
    assert list(read(f"for int i in [0:5] {{ {body} }}")) == expected


@pytest.mark.parametrize(
    ("body", "holds", "place"),
    [
        ("rx(1 / (i - 4)) q[0];", "1 / 0 divides by zero", "4:27"),
        ("x q[i + 1];", "index 6 into 'q' of size 6", "4:24"),
        ("cx q[i], q[5];", "needs distinct qubits", "4:22"),
        ("rx(i * nope) q[0];", "'nope' is not declared", "4:29"),
        ("rx(10.0 ** (i * 100)) q[0];", "is not a finite real number", "4:30"),
    ],
)
def test_the_pass_that_breaks_a_rule_is_refused_at_its_place(body: str, holds: str, place: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(f"{HEAD}for int i in [0:5] {{ {body} }}", filename="f")
    assert holds in str(caught.value)
    assert caught.value.where == f"f:{place}"


def test_a_long_loop_of_one_rotation_takes_microseconds_a_pass() -> None:
    """About 5 us here, 17 us where every pass looks everything up again; the bound leaves room for slow machines.

    Held against work of the same kind done in the same process: one Op made and kept by plain Python.
    """
    text = "for int i in [0:99999] { rx(i * 0.001) q[0]; }"
    start = time.process_time()
    kept = {("rx", (i * 0.001,), (0,), (), 0): Op("rx", (0,), (i * 0.001,)) for i in range(100_000)}
    plain_s = time.process_time() - start
    start = time.process_time()
    ops = read(text)[: len(kept)]
    assert time.process_time() - start < 12 * plain_s + 0.2
    assert ops[99_999] == Op("rx", (0,), (99_999 * 0.001,))


def test_nested_definitions_that_double_are_expanded_in_seconds() -> None:
    """2**20 rotations by 21 angles; each of the equal steps is one object."""
    text = "gate g0(u) a { rx(u) a; }\n"
    text += "".join(f"gate g{k}(u) a {{ g{k - 1}(u) a; g{k - 1}(u / 2) a; }}\n" for k in range(1, 21))
    start = time.process_time()
    ops = read(text + "g20(1) q[0];")
    assert time.process_time() - start < 5.0
    assert len(ops) == 1 << 20 and len(set(map(id, ops))) == 21
    # g_k(u) is sum over j of C(k, j) rotations by u / 2**j, so that all of them turn by 1.5**20
    assert math.fsum(op.params[0] for op in ops if isinstance(op, Op)) == pytest.approx(1.5**20, rel=1e-12)  # type: ignore[misc]


def test_definitions_on_crossed_qubits_are_expanded_alike() -> None:
    text = "gate g0(u) a, b { rx(u) a; cx a, b; } gate g1(u) a, b { g0(u) b, a; g0(u) a, b; g0(-u) b, a; } "
    once = [Op("rx", (1,), (0.5,)), Op("cx", (1, 2)), Op("rx", (2,), (0.5,)), Op("cx", (2, 1))]
    once += [Op("rx", (1,), (-0.5,)), Op("cx", (1, 2))]
    assert list(read(text + "g1(0.5) q[2], q[1];")) == once
