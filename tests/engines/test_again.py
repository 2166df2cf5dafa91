"""A program run many times: to the bit what `execute` answers for each run, or left to `execute`."""

from __future__ import annotations

import time

import msgspec
import pytest

from qcommons.base.errors import UsageError
from qcommons.circuits.noise import Noise
from qcommons.circuits.program import bind
from qcommons.circuits.qasm import parse
from qcommons.engines.again import again
from qcommons.engines.execute import Execution, Request, execute
from qcommons.engines.records import Counts, Limits, Statevector

pytest.importorskip("qulacs")
HEAD = 'OPENQASM 3.0; include "stdgates.inc"; '
SWEPT = "input float t; input float s; qubit[3] q; "
ANSATZ = "h q[0]; ry(t) q[1]; cx q[0], q[1]; rz(2*s) q[2]; rx(t) q[2]; ccx q[0], q[1], q[2]; "
VALUES = {"t": 0.3, "s": -1.1}


def request(text: str, shots: int = 500, **fields: object) -> Request:
    usual = {"want": Counts(shots), "seed": 5, "limits": Limits(1 << 30, 60.0)}
    return Request(program=parse(HEAD + text).program, **(usual | fields))  # type: ignore[arg-type]


def told(execution: Execution) -> Execution:
    """Without what was measured of time."""
    attempts = tuple(msgspec.structs.replace(one, seconds=0.0) for one in execution.attempts)
    return msgspec.structs.replace(execution, seconds=0.0, attempts=attempts)


@pytest.mark.parametrize(
    "text",
    [
        SWEPT + "bit[3] c; " + ANSATZ + "c = measure q;",
        SWEPT + ANSATZ,  # measures nothing: all qubits are, and the inputs stay inputs
        SWEPT + "bit[2] c; " + ANSATZ + "c[1] = measure q[0]; c[0] = measure q[2];",
        "qubit[2] q; bit[2] c; h q[0]; cx q[0], q[1]; c = measure q;",  # no inputs: seeds alone differ
    ],
)
def test_each_run_is_answered_as_execute_answers_it(text: str) -> None:
    asked = request(text)
    repeated = again(asked, time.monotonic_ns)
    assert repeated is not None
    for seed, step in ((5, 0.0), (6, 0.7), (2**62, 3.1)):
        values = {name: VALUES[name] + step for name in asked.program.inputs}
        one = msgspec.structs.replace(asked, program=bind(asked.program, values), seed=seed)
        assert told(repeated.run(values, seed, time.monotonic_ns)) == told(execute(one, time.monotonic_ns))


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (SWEPT + ANSATZ, {"want": Statevector()}),
        (SWEPT + ANSATZ, {"noise": Noise(())}),
        (SWEPT + ANSATZ, {"engine": "numpy"}),
        ("qubit[30] q; h q[0]; cx q[0], q[29];", {}),
        (SWEPT + "bit c; " + ANSATZ + "c = measure q[0]; if (c == 1) { x q[1]; } c = measure q[1];", {}),
        (SWEPT + ANSATZ + "gphase(0.3);", {}),
    ],
    ids=["want", "noise", "engine", "wide", "branch", "phase"],
)
def test_what_needs_more_thought_is_left_to_execute(text: str, fields: dict[str, object]) -> None:
    assert again(request(text, **fields), time.monotonic_ns) is None


def test_values_that_are_not_the_inputs_are_the_callers_error() -> None:
    repeated = again(request(SWEPT + ANSATZ), time.monotonic_ns)
    assert repeated is not None
    for values in ({"t": 0.1}, VALUES | {"u": 1.0}, {}):
        with pytest.raises(UsageError, match="cannot bind"):
            repeated.run(values, 1, time.monotonic_ns)
