"""Measurements that reductions leave in odd places: overwritten records, last ones under an observable."""

from __future__ import annotations

import time

import pytest

from qcommons.circuits.observables import parse_observable
from qcommons.circuits.qasm import parse
from qcommons.engines.execute import Request, execute
from qcommons.engines.records import Counts, Expectations, Limits, Want

HEAD = 'OPENQASM 3.0; include "stdgates.inc"; '


def _answer(text: str, want: Want):  # type: ignore[no-untyped-def]
    request = Request(program=parse(HEAD + text).program, want=want, seed=5, limits=Limits(1 << 30, 60.0))
    return execute(request, time.monotonic_ns).answer


@pytest.mark.parametrize(
    "text",
    [
        "qubit q; bit c; h q; c = measure q; reset q; c = measure q;",
        "qubit[2] q; bit c; h q[0]; reset q[1]; c = measure q[0]; c = measure q[1];",
        "qubit[2] q; bit c; h q[0]; c = measure q[0]; if (c == 1) { x q[0]; } c = measure q[1];",
    ],
)
def test_a_record_that_a_known_value_overwrites_is_the_known_value(text: str) -> None:
    assert _answer(text, Counts(300)).counts == {"0": 300}


def test_an_overwritten_record_is_still_read_by_the_condition_before() -> None:
    text = "qubit[3] q; bit[2] c; h q[0]; c[0] = measure q[0]; if (c[0] == 1) { x q[1]; } c[0] = measure q[2];"
    counts = _answer(text + "c[1] = measure q[1];", Counts(400)).counts
    assert set(counts) == {"00", "10"}
    assert 120 < counts["10"] < 280  # 8 sigma of 400 fair flips: 1e-15


@pytest.mark.parametrize("turn", ["rx(0)", "rx(2*pi)", "ry(0)", "U(0, 0.3, 0.4)", "u3(0, 0.3, 0.4)"])
def test_a_turn_by_nothing_is_not_taken_for_a_flip(turn: str) -> None:
    text = f"qubit[2] q; bit c; h q[0]; cx q[0], q[1]; {turn} q[1]; cx q[0], q[1]; reset q[0]; c = measure q[1];"
    assert _answer(text, Counts(200)).counts == {"0": 200}


def test_a_flip_behind_a_reset_is_still_followed() -> None:
    text = "qubit[2] q; bit c; h q[0]; cx q[0], q[1]; rx(pi) q[1]; cx q[0], q[1]; reset q[0]; c = measure q[1];"
    assert _answer(text, Counts(200)).counts == {"1": 200}


@pytest.mark.parametrize(
    ("tail", "observable"),
    [
        ("if (c[0] == 1) { x q[1]; }", "IX"),
        ("id q[0];", "IX"),
        ("cz q[0], q[1];", "IX"),
        ("if (c[1] == 1) { x q[0]; }", "IX"),
        ("if (c[1] == 0) { z q[1]; }", "IY"),
        ("swap q[0], q[1];", "XI"),
    ],
)
def test_a_measured_qubit_has_no_coherence_left(tail: str, observable: str) -> None:
    """|+> measured is a mixture: <X> = <Y> = 0, whatever acts beside it."""
    text = f"qubit[2] q; bit[2] c; h q[0]; c[0] = measure q[0]; {tail}"
    answer = _answer(text, Expectations((parse_observable(observable, 2),)))
    assert answer.estimates[0].value == pytest.approx(0.0, abs=1e-12)


def test_the_other_factors_of_a_sum_keep_their_values() -> None:
    text = "qubit[2] q; bit[2] c; h q[0]; c[0] = measure q[0]; if (c[0] == 1) { x q[1]; }"
    answer = _answer(text, Expectations((parse_observable("0.5 ZZ + 2 IX + XX", 2), parse_observable("IZ", 2))))
    assert [e.value for e in answer.estimates] == pytest.approx([0.5, 0.0], abs=1e-12)
