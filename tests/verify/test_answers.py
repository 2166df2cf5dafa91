"""Answers: what can be no answer is found before anything is compared with it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from tests.verify.samples import question

from qcommons.circuits.observables import PauliSum, Term
from qcommons.engines.records import Amplitudes, Answer, Estimate, Expectations, Statevector
from qcommons.verify.answers import Question, engine_class, fault, overstated

Z = PauliSum((Term(1.0, ((0, "Z"),)),), "Z")
EXACT = Question(want=Expectations((Z, Z)), n_bits=2, n_qubits=2, n_ops=3)
SAMPLED = Question(want=Expectations((Z,), 100), n_bits=2, n_qubits=2, n_ops=3)
TWO = Question(want=Amplitudes(("00", "11")), n_bits=2, n_qubits=2, n_ops=3)
STATE = Question(want=Statevector(), n_bits=2, n_qubits=2, n_ops=3)


def said(**fields: Any) -> Answer:
    return Answer("qulacs", "statevector", **fields)


@pytest.mark.parametrize(
    ("answer", "asked"),
    [
        (said(counts={"00": 3, "11": 7}), question(10, 2)),
        (said(counts={"": 4}), question(4, 0)),
        (said(estimates=(Estimate(0.5), Estimate(-1.0))), EXACT),
        (said(estimates=(Estimate(0.5, 0.1, 100),)), SAMPLED),
        (said(amplitudes=((1.0, 0.0), (0.0, 0.0))), TWO),
        (said(amplitudes=((1.0, 0.0),) * 4), STATE),
    ],
)
def test_an_answer_of_the_right_form_has_no_fault(answer: Answer, asked: Question) -> None:
    assert fault(answer, asked) is None


@pytest.mark.parametrize(
    ("answer", "asked", "why"),
    [
        (said(), question(10, 2), "missing"),
        (said(counts={"00": 3, "11": 6}), question(10, 2), "9 shots; 10"),
        (said(counts={"00": 11, "11": -1}), question(10, 2), "-1"),
        (said(counts={"00": 10, "11": 0}), question(10, 2), "0 shots"),
        (said(counts={"000": 10}), question(10, 2), "'000'"),
        (said(counts={"0x": 10}), question(10, 2), "'0x'"),
        (said(counts={"0\n": 10}), question(10, 2), "outcome"),
        (said(counts={f"{k:04b}": 1 for k in range(16)}), question(10, 4), "16 outcomes of 10"),
        (said(counts={"00": True, "11": 9}), question(10, 2), "True"),
        (said(counts={"00": 10}, error_bound=math.nan), question(10, 2), "nan"),
        (said(counts={"00": 10}, error_bound=-1.0), question(10, 2), "-1"),
        (said(counts={"00": 10}, estimates=()), question(10, 2), "not asked"),
        (said(estimates=(Estimate(0.5),)), EXACT, "1 estimates; 2"),
        (said(estimates=(Estimate(0.5), Estimate(math.inf))), EXACT, "inf"),
        (said(estimates=(Estimate(0.5), Estimate(0.1, 0.1, 100))), EXACT, "computed one was asked"),
        (said(amplitudes=((1.0, 0.0),)), TWO, "1 amplitudes; 2"),
        (said(amplitudes=((1.0, 0.0), (math.nan, 0.0))), TWO, "nan"),
        (said(amplitudes=((1.0, 0.0),) * 3), STATE, "4 were asked"),
    ],
)
def test_what_can_be_no_answer_is_named(answer: Answer, asked: Question, why: str) -> None:
    assert why in (fault(answer, asked) or "")


@pytest.mark.parametrize(
    ("engine", "method", "precision", "repeats"),
    [
        ("qulacs", "statevector", "f64", True),
        ("numpy", "constant", "f64", True),
        ("stim", "tableau", "exact", False),
        ("qsim", "statevector_f32", "f32", False),
        ("aer", "mps", "f64", False),
        ("qulacs+stim", "statevector+tableau", "f64", False),
        ("qulacs+qsim", "statevector+statevector_f32", "f32", False),
        ("mystery", "method", "f32", False),
        ("qulacs", "mystery", "f32", False),
    ],
)
def test_only_known_f64_engines_are_compared_number_by_number(
    engine: str, method: str, precision: str, repeats: bool
) -> None:
    found = engine_class(engine, method)
    assert (found.precision, found.repeats) == (precision, repeats)


def test_more_work_than_the_model_says_is_overstated() -> None:
    assert not overstated(1000, 1000.0, True)
    assert overstated(1100, 1000.0, True)
    assert not overstated(3000, 1000.0, False)
    assert overstated(5000, 1000.0, False)
