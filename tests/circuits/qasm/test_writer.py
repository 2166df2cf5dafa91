"""The writer: reading what was written gives the very same Program, and others can read it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcommons.base.errors import UsageError
from qcommons.circuits.gates import GATES, embed
from qcommons.circuits.program import Affine, Branch, Condition, Op, Program, check
from qcommons.circuits.qasm import dumps, parse
from qcommons.circuits.qasm.names import decoded, encoded
from qcommons.circuits.qasm.wrappers import DEFINITIONS, definition

N = 7
FINITE = st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.one_of(
    st.sampled_from(
        ["c", "q", "x", "measure", "pi", "a b", " ", "qc_name_", "qc_name_61", "bits_0", "θ", "theta[0]", "qc_u2"]
    ),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6),
)
INPUTS = st.lists(
    st.one_of(st.sampled_from(["theta", "v[0]", "v[1]", "v", "w[0]", "w[1]", "w[2]", "q", "gphase"]), NAMES),
    max_size=6, unique=True,
)  # fmt: skip


@st.composite
def ops(draw: st.DrawFn, n_clbits: int, inputs: list[str]) -> Op:
    name = draw(st.sampled_from([*GATES, "measure", "reset", "barrier"]))
    order = draw(st.permutations(range(N)))
    if name == "measure":
        clbit = draw(st.integers(0, n_clbits - 1)) if n_clbits else 0
        return Op("measure", (order[0],), (), (clbit,)) if n_clbits else Op("reset", (order[0],))
    if name == "reset":
        return Op("reset", (order[0],))
    if name == "barrier":
        return Op("barrier", tuple(order[: draw(st.integers(1, N))]))
    row = GATES[name]
    controls = draw(st.sampled_from([0, 0, 0, 1, 2, N - row.n_qubits]))
    controls = min(controls, N - row.n_qubits)
    number = FINITE.map(float)
    if inputs:
        terms = st.dictionaries(st.sampled_from(inputs), FINITE.filter(bool), min_size=1, max_size=3)
        affine = st.builds(lambda c, t: Affine(c, tuple(sorted(t.items()))), FINITE, terms)
        number = st.one_of(number, affine)
    params = tuple(draw(number) for _ in range(row.n_params))
    return Op(name, tuple(order[: row.n_qubits + controls]), params, (), controls)


@st.composite
def programs(draw: st.DrawFn) -> Program:
    names = draw(st.lists(NAMES, max_size=3, unique=True))
    cregs = tuple((name, draw(st.integers(1, 4))) for name in names)
    inputs = draw(INPUTS)
    n_clbits = sum(size for _, size in cregs)
    plain = ops(n_clbits, inputs)
    body: list[Op | Branch] = []
    for _ in range(draw(st.integers(0, 6))):
        if n_clbits and draw(st.booleans()):
            bits = tuple(draw(st.lists(st.integers(0, n_clbits - 1), min_size=1, unique=True)))
            relation = draw(st.sampled_from(["==", "!=", "<", "<=", ">", ">="]))
            condition = Condition(bits, relation, draw(st.one_of(st.integers(0, 9), st.integers(0, 2**63 - 1))))
            then, orelse = (tuple(draw(st.lists(plain, max_size=3))) for _ in range(2))
            body.append(Branch(condition, then, orelse))
        else:
            body.append(draw(plain))
    return Program(N, cregs, tuple(body), tuple(inputs))


@given(programs())
@settings(max_examples=120, deadline=None, derandomize=True)
def test_reading_what_was_written_gives_the_same_program(program: Program) -> None:
    check(program)
    text = dumps(program)
    parsed = parse(text)
    assert parsed.program == program, text
    assert dumps(parsed.program) == text


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("controls", [0, 1, 2, 3])
def test_every_row_and_its_controlled_forms_survive(name: str, controls: int) -> None:
    row = GATES[name]
    params = (0.1, -2.5, 1e-300, 3.0)[: row.n_params]
    n = row.n_qubits + controls
    program = Program(n, (), (Op(name, tuple(reversed(range(n))), params, (), controls),))
    assert parse(dumps(program)).program == program


@pytest.mark.parametrize("name", DEFINITIONS)
def test_written_definitions_have_the_row_s_unitary(name: str) -> None:
    """Expanded under another name, multiplied with numpy, against the gate table; phase included."""
    row = GATES[name]
    params = (0.7, -1.9, 2.3, 0.4)[: row.n_params]
    before = "".join(definition(other) + "\n" for other in DEFINITIONS[name][0])
    text = definition(name).replace(f"gate {name}", "gate other", 1)
    arguments = f"({', '.join(map(repr, params))})" if params else ""
    operands = ", ".join(f"q[{i}]" for i in range(row.n_qubits))
    source = (
        f'OPENQASM 3.0; include "stdgates.inc"; {before} {text} qubit[{row.n_qubits}] q; other{arguments} {operands};'
    )
    program = parse(source).program
    full = np.eye(1 << row.n_qubits, dtype=complex)
    for op in program.ops:
        assert isinstance(op, Op)
        own = row_unitary(op)
        full = embed(own, op.qubits, row.n_qubits) @ full if op.qubits else own[0, 0] * full
    np.testing.assert_allclose(full, row.unitary(*params), atol=1e-12)


def row_unitary(op: Op) -> np.ndarray:
    from qcommons.circuits.gates import unitary

    return unitary(op.gate, op.params, op.controls)  # type: ignore[arg-type]


def test_a_program_that_fails_check_is_not_written() -> None:
    with pytest.raises(UsageError, match="operation 0: barrier"):
        dumps(Program(1, (), (Op("barrier", ()),)))


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20))
@settings(deadline=None, derandomize=True)
def test_names_come_back(name: str) -> None:
    assert decoded(encoded(name)) == name
    assert encoded(name).isidentifier() and encoded(name).isascii()


def test_a_plain_program_reads_as_a_person_would_write_it() -> None:
    program = Program(2, (("c", 2),), (Op("h", (0,)), Op("cx", (0, 1)), Op("measure", (1,), (), (0,))))
    assert dumps(program) == (
        'OPENQASM 3.0;\ninclude "stdgates.inc";\nbit[2] c;\nqubit[2] q;\n'
        "h q[0];\ncx q[0], q[1];\nc[0] = measure q[1];\n"
    )  # fmt: skip
