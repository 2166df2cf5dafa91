"""Lowering keeps the unitary, global phase included, whatever the gate set."""

import math

import numpy as np
import pytest

from qcommons.base.errors import UsageError
from qcommons.circuits.gates import GATES, NAMES, embed, unitary
from qcommons.circuits.lower import lower
from qcommons.circuits.program import Affine, Branch, Caps, Condition, Op, Program

PARAMS = (0.37, -1.2, 2.1, 0.6)
SETS = [
    "u cx", "rz sx x cx", "rz sx cz", "rz sx x ecr", "rz rx rzz", "p h cx", "ry rz rxx", "p sx cx", "rx ry rz rzx",
    "u cx ccx swap", "p rx ry cz",
]  # fmt: skip


def allowed(words: str) -> frozenset[str]:
    return frozenset(words.split()) | {"gphase"}


def matrix(program: Program) -> np.ndarray:
    full = np.eye(1 << program.n_qubits, dtype=complex)
    for op in program.ops:
        step = unitary(op.gate, op.params, op.controls)
        full = embed(step, op.qubits, program.n_qubits) @ full if op.qubits else step[0, 0] * full
    return full


def one(gate: str, params: tuple[float, ...], controls: int, spare: int = 0) -> Program:
    """The gate on shuffled qubits of a program with `spare` more of them."""
    k = GATES[gate].n_qubits + controls
    where = np.random.Generator(np.random.Philox(k + spare)).permutation(k + spare)[:k]
    return Program(k + spare, (), (Op(gate, tuple(where.tolist()), params, (), controls),))


def cx_count(program: Program) -> int:
    return sum(op.gate == "cx" for op in program.ops)


@pytest.mark.parametrize("words", SETS)
def test_every_row_lowers_exactly_to_every_set(words: str) -> None:
    for name in NAMES:
        for params in {PARAMS[: GATES[name].n_params], (math.pi, 0.0, -math.pi / 2, 0.0)[: GATES[name].n_params]}:
            program = one(name, params, 0)
            low = lower(program, allowed(words))
            assert {op.gate for op in low.ops} <= allowed(words)
            np.testing.assert_allclose(matrix(low), matrix(program), atol=1e-12, err_msg=f"{name}{params}")


@pytest.mark.parametrize("name", NAMES)
def test_every_row_under_controls_lowers_exactly(name: str) -> None:
    for controls in (1, 2, 3):
        if GATES[name].n_qubits + controls > 5:
            continue
        for spare in (0, 1):
            program = one(name, PARAMS[: GATES[name].n_params], controls, spare)
            low = lower(program, allowed("u cx"))
            assert all(op.gate in {"u", "cx", "gphase"} and not op.controls for op in low.ops)
            np.testing.assert_allclose(matrix(low), matrix(program), atol=1e-12, err_msg=f"{name}, {controls}")


@pytest.mark.parametrize(
    ("gate", "params"), [("x", ()), ("p", (0.7,)), ("p", (math.pi,)), ("rz", (0.4,)), ("ry", (2.0,))]
)
@pytest.mark.parametrize(("controls", "spare"), [(5, 0), (5, 1), (6, 0), (6, 1)])
def test_wide_gates_lower_exactly_and_give_borrowed_qubits_back(
    gate: str, params: tuple[float, ...], controls: int, spare: int
) -> None:
    program = one(gate, params, controls, spare)
    low = lower(program, allowed("h t tdg p rz ccx rccx cx s sdg"))
    np.testing.assert_allclose(matrix(low), matrix(program), atol=1e-11)


def test_a_chain_of_borrowed_qubits_lowers_exactly() -> None:
    program = one("x", (), 5, 3)
    np.testing.assert_allclose(matrix(lower(program, allowed("h t tdg cx ccx rccx"))), matrix(program), atol=1e-12)


def test_wide_gates_have_polynomial_size() -> None:
    # 12 k - 18 with k - 2 borrowed qubits, linear with one, quadratic with none; a Gray code has 2^(k+1)
    def count(gate: str, params: tuple[float, ...], k: int, spare: int) -> int:
        return cx_count(lower(one(gate, params, k, spare), allowed("u cx")))

    for k in (8, 16, 32):
        assert count("x", (), k, k - 2) == 12 * k - 18
        assert count("x", (), k, 1) <= 24 * k
        assert count("rz", (0.4,), k, 0) <= 24 * k
        assert count("p", (0.7,), k, 0) <= 12 * k * k


def test_a_row_is_preferred_to_a_decomposition() -> None:
    program = Program(
        4, (), (Op("x", (0, 1), (), (), 1), Op("x", (0, 1, 2), (), (), 2), Op("x", (0, 1, 2, 3), (), (), 3))
    )
    low = lower(program, frozenset({"cx", "ccx", "c3x"}))
    assert [op.gate for op in low.ops] == ["cx", "ccx", "c3x"] and all(op.controls == 0 for op in low.ops)


def test_controls_may_be_kept() -> None:
    program = Program(5, (), (Op("x", (0, 1, 2, 3, 4), (), (), 4), Op("c3x", (0, 1, 2, 3)), Op("h", (0, 1), (), (), 1)))
    low = lower(program, allowed("x ry p cx"), controls=True)
    assert low.ops[0] == program.ops[0]
    assert low.ops[1] == Op("x", (0, 1, 2, 3), (), (), 3)
    np.testing.assert_allclose(matrix(low), matrix(program), atol=1e-13)


def test_what_is_allowed_stays_untouched() -> None:
    ops = (Op("h", (0,)), Op("barrier", (0, 1)), Op("measure", (0,), (), (0,)), Op("reset", (1,)), Op("cx", (0, 1)))
    program = Program(2, (("c", 1),), ops)
    assert lower(program, frozenset({"h", "cx"})) == program


def test_branches_are_lowered_inside() -> None:
    branch = Branch(Condition((0,), "==", 1), (Op("swap", (0, 1)),), (Op("cz", (1, 0)),))
    low = lower(Program(2, (("c", 1),), (branch,)), frozenset({"cx", "h"}))
    assert low.ops == (
        Branch(
            branch.condition,
            (Op("cx", (0, 1)), Op("cx", (1, 0)), Op("cx", (0, 1))),
            (Op("h", (0,)), Op("cx", (1, 0)), Op("h", (0,))),
        ),
    )


def test_a_phase_is_never_lost_in_silence() -> None:
    program = Program(1, (), (Op("s", (0,)),))
    with pytest.raises(UsageError, match="phase"):
        lower(program, frozenset({"rz"}))
    assert lower(program, frozenset({"rz"}), drop_phase=True).ops == (Op("rz", (0,), (math.pi / 2,)),)
    assert lower(Program(1, (), (Op("gphase", (), (0.3,)),)), frozenset({"rz"}), drop_phase=True).ops == ()


@pytest.mark.parametrize("words", ["", "x", "cx", "h cx", "rz sx"])
def test_a_set_that_cannot_express_the_gate_is_refused(words: str) -> None:
    with pytest.raises(UsageError, match="crx"):
        lower(Program(2, (), (Op("crx", (0, 1), (0.3,)),)), frozenset(words.split()) | {"gphase"})


def test_unbound_inputs_are_refused_only_where_they_must_be_rewritten() -> None:
    free = Affine(0.0, (("theta", 1.0),))
    program = Program(1, (), (Op("rx", (0,), (free,)),), ("theta",))
    assert lower(program, frozenset({"rx"})) == program
    with pytest.raises(UsageError, match="unbound"):
        lower(program, frozenset({"u"}))


def test_the_size_of_the_result_is_capped() -> None:
    program = Program(30, (), tuple(Op("p", tuple(range(12)), (0.1 * i,), (), 11) for i in range(1, 5)))
    with pytest.raises(UsageError, match="operations after lowering") as caught:
        lower(program, allowed("u cx"), caps=Caps(operations_max=5000))
    assert caught.value.limit == "5000 operations"
