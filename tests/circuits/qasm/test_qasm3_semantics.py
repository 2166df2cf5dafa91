"""OpenQASM 3 means what its specification says: unitaries worked out by hand with numpy.

Expected matrices are built from the formulas of the OpenQASM 3.0 specification (arXiv:2104.14722)
with `kron` and `expm`-free arithmetic, never with the gate table.
"""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest
import scipy.linalg

from qcommons.base.errors import UsageError
from qcommons.circuits.gates import embed, unitary
from qcommons.circuits.program import Affine, Branch, Condition, Op, Program, bind, check
from qcommons.circuits.qasm import parse

HEAD = 'OPENQASM 3.0;\ninclude "stdgates.inc";\n'
I2 = np.eye(2, dtype=complex)
X = np.array([[0, 1], [1, 0]], dtype=complex)
Z = np.diag([1, -1]).astype(complex)
H = np.array([[1, 1], [1, -1]], dtype=complex) / math.sqrt(2)
SX = np.array([[1 + 1j, 1 - 1j], [1 - 1j, 1 + 1j]]) / 2
SWAP = np.eye(4, dtype=complex)[[0, 2, 1, 3]]


def spec_u(theta: float, phi: float, lam: float) -> np.ndarray:
    """U of OpenQASM 3.0, "Quantum gates": global phase included."""
    e = cmath.exp
    return 0.5 * np.array(
        [
            [1 + e(1j * theta), -1j * e(1j * lam) * (1 - e(1j * theta))],
            [1j * e(1j * phi) * (1 - e(1j * theta)), e(1j * (phi + lam)) * (1 + e(1j * theta))],
        ]
    )


def u3(theta: float, phi: float, lam: float) -> np.ndarray:
    """gate u3(t, p, l) q { gphase(-(p + l + t)/2); U(t, p, l) q; } of stdgates.inc."""
    return cmath.exp(-0.5j * (phi + lam + theta)) * spec_u(theta, phi, lam)


def rx(theta: float) -> np.ndarray:
    return math.cos(theta / 2) * I2 - 1j * math.sin(theta / 2) * X


def control(inner: np.ndarray, on: int = 1) -> np.ndarray:
    """Control on the least significant bit, active at `on`."""
    full = np.eye(2 * len(inner), dtype=complex)
    chosen = [2 * i + on for i in range(len(inner))]
    full[np.ix_(chosen, chosen)] = inner
    return full


def matrix(program: Program) -> np.ndarray:
    n = program.n_qubits
    full = np.eye(1 << n, dtype=complex)
    for op in program.ops:
        assert isinstance(op, Op)
        if op.gate != "barrier":
            own = unitary(op.gate, op.params, op.controls)  # type: ignore[arg-type]
            full = embed(own, op.qubits, n) @ full if op.qubits else own[0, 0] * full
    return full


def read(body: str, n: int, head: str = HEAD) -> Program:
    program = parse(f"{head}qubit[{n}] q;\n{body}").program
    check(program)
    return program


ONE_AND_TWO: list[tuple[str, int, np.ndarray]] = [
    ("U(0.3, 0.7, -1.1) q[0];", 1, spec_u(0.3, 0.7, -1.1)),
    ("ctrl @ U(0.3, 0.7, -1.1) q[0], q[1];", 2, control(spec_u(0.3, 0.7, -1.1))),
    ("negctrl @ U(0.3, 0.7, -1.1) q[0], q[1];", 2, control(spec_u(0.3, 0.7, -1.1), 0)),
    ("u3(0.3, 0.7, -1.1) q[0];", 1, u3(0.3, 0.7, -1.1)),
    ("u2(0.7, -1.1) q[0];", 1, u3(math.pi / 2, 0.7, -1.1)),
    ("ctrl @ u2(0.7, -1.1) q[0], q[1];", 2, control(u3(math.pi / 2, 0.7, -1.1))),
    ("ctrl @ u3(0.3, 0.7, -1.1) q[0], q[1];", 2, control(u3(0.3, 0.7, -1.1))),
    ("gphase(0.4);", 1, cmath.exp(0.4j) * I2),
    ("ctrl @ gphase(0.4) q[0];", 1, np.diag([1, cmath.exp(0.4j)])),
    ("negctrl @ gphase(0.4) q[0];", 1, np.diag([cmath.exp(0.4j), 1])),
    ("ctrl(2) @ gphase(0.4) q[0], q[1];", 2, np.diag([1, 1, 1, cmath.exp(0.4j)])),
    ("ctrl @ x q[0], q[1];", 2, control(X)),
    ("ctrl @ ctrl @ x q[0], q[1], q[2];", 3, control(control(X))),
    ("ctrl @ negctrl @ x q[0], q[1], q[2];", 3, control(control(X, 0), 1)),
    ("negctrl @ ctrl @ x q[0], q[1], q[2];", 3, control(control(X, 1), 0)),
    ("ctrl @ swap q[0], q[1], q[2];", 3, control(SWAP)),
    ("pow(1/2) @ x q[0];", 1, SX),
    ("pow(0.5) @ z q[0];", 1, np.diag([1, 1j])),
    ("inv @ pow(1/2) @ z q[0];", 1, np.diag([1, -1j])),
    ("pow(-1/2) @ z q[0];", 1, np.diag([1, -1j])),
    ("pow(1/2) @ inv @ z q[0];", 1, np.diag([1, 1j])),  # inv z = z, and the power is principal
    ("ctrl @ pow(1/2) @ x q[0], q[1];", 2, control(SX)),
    ("pow(1/2) @ ctrl @ x q[0], q[1];", 2, control(SX)),
    ("pow(1/2) @ cx q[0], q[1];", 2, control(SX)),
    ("pow(3) @ sx q[0];", 1, SX @ SX @ SX),
    ("pow(-2) @ sx q[0];", 1, np.linalg.inv(SX @ SX)),
    ("pow(0) @ h q[0];", 1, I2),
    ("pow(0.5) @ rx(0.6) q[0];", 1, rx(0.3)),
    ("pow(1000000000) @ rx(0.6e-9) q[0];", 1, rx(0.6)),
    ("inv @ U(0.3, 0.7, -1.1) q[0];", 1, spec_u(0.3, 0.7, -1.1).conj().T),
    ("inv @ ctrl @ U(0.3, 0.7, -1.1) q[0], q[1];", 2, control(spec_u(0.3, 0.7, -1.1)).conj().T),
    ("gate g(a) p, r { h p; ctrl @ rx(a) p, r; gphase(a); } ctrl @ g(0.8) q[0], q[1], q[2];", 3,
     control(cmath.exp(0.8j) * control(rx(0.8)) @ np.kron(I2, H))),
    ("gate g(a) p, r { h p; ctrl @ rx(a) p, r; gphase(a); } inv @ g(0.8) q[0], q[1];", 2,
     (cmath.exp(0.8j) * control(rx(0.8)) @ np.kron(I2, H)).conj().T),
    ("gate g(a) p { U(a, 0.2, 0.1) p; } pow(0.5) @ pow(2) @ g(0.4) q[0];", 1, spec_u(0.4, 0.2, 0.1)),
    ("cu(0.3, 0.7, -1.1, 0.5) q[0], q[1];", 2,
     control(cmath.exp(1j * (0.5 - 0.3 / 2)) * spec_u(0.3, 0.7, -1.1))),
    ("gate two a, b { for int i in [0:2] { rx(0.1 * i) a; } cx a, b; } two q[0], q[1];", 2,
     control(X) @ np.kron(I2, rx(0.3))),
    ("rx(0.1) q;", 2, np.kron(rx(0.1), rx(0.1))),
    ("for int i in [0:2] { rx(0.1 * i) q[0]; }", 1, rx(0.3)),
    ("for float a in {0.1, 0.25} rx(a) q[0];", 1, rx(0.35)),
    ("for int i in [2:-1:0] { pow(i) @ rx(0.1) q[0]; }", 1, rx(0.3)),
    ("const float a = pi / 4; const int n = 2; rx(n * a + 0.1) q[0];", 1, rx(math.pi / 2 + 0.1)),
    ("rx(arccos(0.2) + 2 ** 3 % 5 - sqrt(2) * log(euler)) q[0];", 1, rx(math.acos(0.2) + 3 - math.sqrt(2))),
    ("rx(-2 ** 2 + τ - 2 * π) q[0];", 1, rx(-4.0)),
    ("let a = q[1:2] ++ q[{0}]; x a[0]; h a[2];", 3, np.kron(np.kron(I2, X), H)),
    ("x q[-1];", 3, np.kron(np.kron(X, I2), I2)),
    ("x q[0:2:2];", 3, np.kron(np.kron(X, I2), X)),
    ("x q[{1, 2}];", 3, np.kron(np.kron(X, X), I2)),
    ("cx q[0], q[1:2];", 3, np.kron(I2, control(X)) @ embed(control(X), (0, 2), 3)),
    ("#pragma nothing\n@note\nx q[0]; delay[100ns] q; barrier q;", 1, X),
    ("if (1 + 1 == 2) { x q[0]; } else { h q[0]; }", 1, X),
]  # fmt: skip


@pytest.mark.parametrize(("body", "n", "expected"), ONE_AND_TWO, ids=[row[0][:40] for row in ONE_AND_TWO])
def test_unitary_is_the_specification_s(body: str, n: int, expected: np.ndarray) -> None:
    np.testing.assert_allclose(matrix(read(body, n)), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("body", "op"),
    [
        ("ctrl @ x q[1], q[0];", Op("cx", (1, 0))),
        ("ctrl(2) @ x q[0], q[1], q[2];", Op("ccx", (0, 1, 2))),
        ("ctrl @ cx q[0], q[1], q[2];", Op("ccx", (0, 1, 2))),
        ("ctrl(5) @ x q[0], q[1], q[2], q[3], q[4], q[5];", Op("x", (0, 1, 2, 3, 4, 5), (), (), 5)),
        ("ctrl @ p(0.5) q[0], q[1];", Op("cp", (0, 1), (0.5,))),
        ("ctrl(2) @ gphase(0.5) q[0], q[1];", Op("cp", (0, 1), (0.5,))),
        ("pow(1/2) @ x q[0];", Op("sx", (0,))),
        ("inv @ t q[0];", Op("tdg", (0,))),
        ("ctrl @ s q[0], q[1];", Op("cs", (0, 1))),
    ],
)
def test_modified_gates_become_rows(body: str, op: Op) -> None:
    assert read(body, 6).ops == (op,)


def test_inputs_stay_affine_and_bind_to_the_same_circuit() -> None:
    text = f"{HEAD}input float[64] theta;\ninput array[float[64], 2] v;\nqubit[2] q;\n"
    text += "rx(2 * theta - v[1] / 4 + pi) q[0]; ctrl @ rz(-theta) q[0], q[1]; inv @ p(theta) q[1];"
    free = parse(text).program
    assert free.inputs == ("theta", "v[0]", "v[1]")
    assert free.ops[0] == Op("rx", (0,), (Affine(math.pi, (("theta", 2.0), ("v[1]", -0.25))),))
    assert free.ops[2] == Op("p", (1,), (Affine(0.0, (("theta", -1.0),)),))
    values = {"theta": 0.3, "v[0]": 9.0, "v[1]": 0.8}
    bound = parse(text, values=values).program
    assert bound.inputs == ()
    np.testing.assert_allclose(matrix(bound), matrix(bind(free, values)), atol=1e-12)
    np.testing.assert_allclose(matrix(bound)[0, 0], np.cos((0.6 - 0.2 + math.pi) / 2), atol=1e-12)


def test_values_open_what_is_not_affine() -> None:
    text = f"{HEAD}input float a;\ninput uint n;\nqubit[4] q;\nrx(sin(a)) q[n];"
    program = parse(text, values={"a": 0.4, "n": 2}).program
    assert program.ops == (Op("rx", (2,), (math.sin(0.4),)),)
    with pytest.raises(UsageError, match="no inputs"):
        parse(text, values={"a": 0.4, "n": 2, "b": 1.0})


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("c[1]", Condition((1,), "==", 1)),
        ("!c[1]", Condition((1,), "==", 0)),
        ("c[0] == 1", Condition((0,), "==", 1)),
        ("c[0] == true", Condition((0,), "==", 1)),
        ("c == 3", Condition((0, 1, 2), "==", 3)),
        ("3 > c", Condition((0, 1, 2), "<", 3)),
        ("c >= 2", Condition((0, 1, 2), ">=", 2)),
        ('c == "011"', Condition((0, 1, 2), "==", 3)),
        ("c", Condition((0, 1, 2), "!=", 0)),
        ("c[1:2] != 2", Condition((1, 2), "!=", 2)),
        ("c[{2, 0}] == 1", Condition((2, 0), "==", 1)),
        ("uint[3](c) < 5", Condition((0, 1, 2), "<", 5)),
        ("flag", Condition((3,), "==", 1)),
        ("c[0] && !c[2]", Condition((0, 2), "==", 1)),
        ("c[0] || c[2]", Condition((0, 2), "!=", 0)),
        ("!(c == 3)", Condition((0, 1, 2), "!=", 3)),
        ("true && c[0]", Condition((0,), "==", 1)),
    ],
)
def test_conditions_become_one_comparison(condition: str, expected: Condition) -> None:
    text = f"{HEAD}qubit q; bit[3] c; bit flag;\nif ({condition}) {{ x q; }} else {{ h q; }}"
    assert parse(text).program.ops == (Branch(expected, (Op("x", (0,)),), (Op("h", (0,)),)),)


@pytest.mark.parametrize("relation", ["==", "!="])
@pytest.mark.parametrize("value", [1 << 69, (1 << 63) - 1, 5 << 60, (1 << 70) + 1])
def test_a_wide_register_is_compared_with_any_of_its_values(value: int, relation: str) -> None:
    """One condition whose number fits 63 bits, true exactly for the value: Python's own integers decide."""
    branch = parse(f"{HEAD}qubit q; bit[70] c;\nif (c {relation} {value}) {{ x q; }}").program.ops[0]
    assert isinstance(branch, Branch) and branch.condition.value < 1 << 63
    for number in (value & (1 << 70) - 1, 0, 1 << 69, 5 << 60, (1 << 70) - 1, 1):
        bits = [number >> i & 1 for i in range(70)]
        assert branch.condition.holds(bits) == ((number == value) == (relation == "=="))


@pytest.mark.parametrize("condition", ["c[0] && !c[2]", "c[0] || c[2]", "!(c == 3)", "3 > c", "!c", 'c != "011"'])
def test_conditions_hold_for_the_same_bits_as_in_python(condition: str) -> None:
    """All eight values of three bits against Python's own logic."""
    text = f"{HEAD}qubit q; bit[3] c;\nif ({condition}) {{ x q; }}"
    branch = parse(text).program.ops[0]
    assert isinstance(branch, Branch)
    python = condition.replace("&&", " and ").replace("||", " or ").replace("!=", "~").replace("!", " not ")
    python = python.replace("~", "!=").replace('"011"', "3")

    class Number(int):
        def __getitem__(self, i: int) -> bool:
            return bool(int(self) >> i & 1)

    for value in range(8):
        bits = {i: value >> i & 1 for i in range(3)}
        expected = bool(eval(python, {"c": Number(value)}))  # a test's own fixed text
        assert branch.condition.holds(bits) == expected, (value, python)


def test_else_if_on_other_values_of_the_same_bits_becomes_two_branches() -> None:
    text = f"{HEAD}qubit q; bit[2] c;\nif (c == 1) x q; else if (c == 2) h q;"
    one, two = parse(text).program.ops
    assert one == Branch(Condition((0, 1), "==", 1), (Op("x", (0,)),))
    assert two == Branch(Condition((0, 1), "==", 2), (Op("h", (0,)),))
    for bad in ("c == 1) c[0] = measure q; else if (c == 2", "c == 1) x q; else if (c == 1"):
        with pytest.raises(UsageError, match="one level"):
            parse(f"{HEAD}qubit q; bit[2] c;\nif ({bad}) h q;")


def test_measurement_in_all_its_forms() -> None:
    text = (
        f"{HEAD}qubit[2] q; bit[2] c; bit d = measure q[0];\nc = measure q; measure q[1] -> c[0]; c[1] = measure q[0];"
    )
    where = [(op.qubits, op.clbits) for op in parse(text).program.ops if isinstance(op, Op)]
    assert where == [((0,), (2,)), ((0,), (0,)), ((1,), (1,)), ((1,), (0,)), ((0,), (1,))]


def test_physical_qubits_are_indices() -> None:
    program = parse(f"{HEAD}bit c;\ncx $3, $1; c = measure $1;").program
    assert (program.n_qubits, program.ops[0]) == (4, Op("cx", (3, 1)))


def test_version_is_guessed_and_said() -> None:
    assert parse("qubit q; U(0, 0, 0) q;").version == "3"
    old = parse("qreg q[1]; x q[0];")
    assert old.version == "2"
    assert any("no OPENQASM line" in note for note in old.notes)
    assert any("no include" in note for note in old.notes)


def test_equal_definitions_are_recognised_and_others_expanded() -> None:
    same = "gate rzz(a) p, r { cx p, r; rz(a) r; cx p, r; } rzz(0.3) q[0], q[1];"
    assert read(same, 2).ops == (Op("rzz", (0, 1), (0.3,)),)
    other = "gate rzz(a) p, r { cx p, r; rz(2 * a) r; cx p, r; } rzz(0.3) q[0], q[1];"
    assert read(other, 2).ops == (Op("cx", (0, 1)), Op("rz", (1,), (0.6,)), Op("cx", (0, 1)))


def test_a_new_definition_takes_over_from_there_on() -> None:
    """The text of the second call is remembered from the first; its meaning must not be."""
    program = parse('OPENQASM 2.0; include "qelib1.inc"; qreg q[1]; h q[0]; gate h a {x a;} h q[0];').program
    assert program.ops == (Op("h", (0,)), Op("x", (0,)))


def test_a_definition_that_agrees_at_some_angles_alone_is_not_taken_for_the_row() -> None:
    body = "gate p(a) x { u1(a + (a - 0.37) * (a + 1.13)) x; }\nqubit q;\np(1) q;"
    found = matrix(parse("OPENQASM 3.0;\n" + 'include "stdgates.inc";\n' + body).program)
    angle = 1 + (1 - 0.37) * (1 + 1.13)
    assert found[1, 1] / found[0, 0] == pytest.approx(cmath.exp(1j * angle), abs=1e-12)


@pytest.mark.parametrize("theta", [0.0, 1e-16, 6.684400013627085e-13, 1e-9, 1e-5, 0.1])
@pytest.mark.parametrize("power", [0.5, 1 / 3, 2.5, -0.25])
def test_a_power_is_exact_where_eigenvalues_nearly_agree(theta: float, power: float) -> None:
    """Held against scipy's Schur form, whose vectors are unitary; u3(t, p, -p) is close to the identity."""
    phi = 1.685261327460136
    own = u3(theta, phi, -phi)
    values, vectors = scipy.linalg.schur(own, output="complex")
    wanted = vectors @ np.diag(np.exp(1j * power * np.angle(np.diag(values)))) @ vectors.conj().T
    text = f"qubit q;\npow({power!r}) @ u3({theta!r}, {phi!r}, {-phi!r}) q;"
    found = matrix(parse("OPENQASM 3.0;\n" + 'include "stdgates.inc";\n' + text).program)
    np.testing.assert_allclose(found, wanted, atol=1e-12)


@pytest.mark.parametrize(
    ("body", "angles"),
    [
        ("gate g(pi) a { rx(pi) a; rx(2 * pi) a; } g(0.5) q; rx(pi) q;", [0.5, 1.0, math.pi]),
        ("gate g(tau) a { rx(tau / 4) a; } g(1) q; rx(tau) q;", [0.25, math.tau]),
        ("for int pi in [0:1] { rx(pi) q; } rx(pi) q;", [0.0, 1.0, math.pi]),
        ("if (true) { const float pi = 1.5; rx(pi) q; rx(2*pi) q; } rx(pi) q;", [1.5, 3.0, math.pi]),
    ],
)
def test_a_built_in_constant_may_be_hidden_in_an_inner_scope(body: str, angles: list[float]) -> None:
    """OpenQASM 3.0, "Variable scope": parameters, loop variables and names of a block hide outer ones."""
    assert [op.params for op in parse(f"{HEAD}qubit q; {body}").program.ops if isinstance(op, Op)] == [
        (angle,) for angle in angles
    ]


def test_integers_beyond_64_bits_are_refused_inside_and_outside_a_loop_alike() -> None:
    for body in ("rx(18446744073709551616) q;", "for int i in [0:9] { rx(18446744073709551616) q; }"):
        with pytest.raises(UsageError, match="65 bits"):
            parse(f"{HEAD}qubit q; {body}")
