"""Expectation values over light cones and parts: what their own errors add up to."""

from __future__ import annotations

import pytest

from qcommons.circuits.observables import PauliSum, Term
from qcommons.circuits.program import Op, Program
from qcommons.engines.execute import Request, execute
from qcommons.engines.qsim_engine import ENGINE as QSIM
from qcommons.engines.records import Answer, Expectations, Limits

LIMITS = Limits(memory_bytes=1 << 30, seconds=30.0)
ROUNDING = 2.0**-24  # of float32 (IEEE 754 binary32)
needs_qsim = pytest.mark.skipif(QSIM.installed() is None, reason=f"needs {QSIM.install}")


def ask(program: Program, *sums: PauliSum, engine: str | None = None, shots: int | None = None) -> Answer:
    want = Expectations(sums, shots)
    return execute(Request(program=program, want=want, seed=3, limits=LIMITS, engine=engine), lambda: 0).answer


def chains(count: int, length: int) -> Program:
    """Chains of rx and cx beside each other, nothing between them."""
    ops: list[Op] = []
    for chain in range(count):
        first = chain * length
        ops += [Op("rx", (first + k,), (0.3 + chain + k,)) for k in range(length)]
        ops += [Op("ry", (first + k,), (0.4,)) for k in range(length)]
        ops += [Op("cx", (first + k, first + k + 1)) for k in range(length - 1)]
    return Program(count * length, (), tuple(ops))


@needs_qsim
def test_own_errors_of_independent_chains_count_where_they_act() -> None:
    """Two chains of eight gates: <Z of one> has 2 x 8 roundings at most, times its coefficient; constants none."""
    near = PauliSum((Term(0.5, ((2, "Z"),)), Term(100.0, ())), "near")
    answer = ask(chains(2, 3), near, engine="qsim")
    assert 0 < answer.error_bound <= 0.5 * 2 * 8 * ROUNDING
    assert answer.estimates is not None
    exact = ask(chains(2, 3), near).estimates
    assert exact is not None
    assert abs(answer.estimates[0].value - exact[0].value) < answer.error_bound + 1e-13


@needs_qsim
def test_strings_do_not_pay_for_the_errors_of_parts_that_they_do_not_touch() -> None:
    """Eight chains beside each other: the error of a sum is the sum of what each string has alone."""
    program = chains(8, 3)
    terms = [Term(1.0, ((3 * chain + 1, "X"), (3 * chain + 2, "Z"))) for chain in range(8)]
    together = ask(program, PauliSum(tuple(terms), ""), engine="qsim").error_bound
    alone = [ask(program, PauliSum((term,), ""), engine="qsim").error_bound for term in terms]
    assert together == pytest.approx(sum(alone))
    assert 0 < max(alone) <= 2 * 8 * ROUNDING


@needs_qsim
def test_a_sampled_mean_has_twice_the_error_of_the_counts() -> None:
    program = Program(2, (), (Op("ry", (0,), (0.7,)), Op("rx", (1,), (0.4,)), Op("cx", (0, 1)), Op("ry", (0,), (0.9,))))
    answer = ask(program, PauliSum((Term(3.0, ((0, "Z"), (1, "Z"))), Term(7.0, ())), ""), engine="qsim", shots=100)
    assert answer.estimates is not None
    assert answer.estimates[0].shots == 100
    assert 0 < answer.error_bound <= 2 * 3.0 * 4 * ROUNDING


def test_what_double_precision_computes_has_no_own_error() -> None:
    answer = ask(chains(2, 3), PauliSum((Term(1.0, ((0, "Z"), (4, "X"))),), ""))
    assert answer.error_bound == 0
