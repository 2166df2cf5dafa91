"""One worker process seen by its parent: frames, the real worker, and how deaths are told apart."""

from __future__ import annotations

import struct
import sys

import msgspec
import pytest

from qcommons.engines.records import Counts, Limits
from qcommons.jobs.outcomes import CpuLimit, Crashed, EngineFault, Killed, Misused, Outcome, OutOfMemory
from qcommons.jobs.records import Card, Item, Piece
from qcommons.node.frames import Calibrate, Calibration, Call, Ended, Parse, RunPiece, Source, Value, pack
from qcommons.node.process import WorkerProcess

GOOD = Source(b"OPENQASM 3.0; input float a; qubit[3] q; bit[2] b; U(a, 0, 0) q[0]; b[0] = measure q[0];", "good.qasm")
BAD = Source(b"OPENQASM 3.0;\nqubit[2 q;", "bad.qasm")


def python(script: str) -> WorkerProcess:
    return WorkerProcess((sys.executable, "-c", f"import os, signal, sys, time; {script}"))


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("sys.stderr.write('words'); sys.exit(3)", Crashed(0, 3, "words")),
        ("os.kill(os.getpid(), signal.SIGABRT)", Crashed(6, 0)),
        ("os.kill(os.getpid(), signal.SIGTERM)", Killed(15)),
        ("os.kill(os.getpid(), signal.SIGXCPU)", CpuLimit(2.0)),
        ("raise MemoryError", OutOfMemory(77)),
        ("os.close(1); time.sleep(60)", Killed(9)),  # lives but says nothing: ended by the parent
        ("os.write(1, b'\\xff' * 4); time.sleep(60)", Killed(9)),  # announces a frame of 4 GiB
    ],
)
def test_deaths_are_told_apart(script: str, expected: Outcome) -> None:
    process = python(script)
    assert process.receive() is None
    assert process.death(memory_bytes=77, cpu_s=2.0) == expected
    process.bury()
    assert not process.alive
    process.bury()


def test_only_the_end_of_what_a_worker_says_is_kept() -> None:
    process = python("sys.stderr.write('a' * 1_000_000 + 'the end')")
    assert process.receive() is None
    process.death(0, 0.0)
    assert process.last_words.endswith("the end")
    assert len(process.last_words) == 2_000
    process.bury()


def test_sending_to_a_dead_worker_says_so() -> None:
    process = python("pass")
    assert process.receive() is None
    process.death(0, 0.0)  # waits for its end
    assert not process.send(Parse((), 1, 1, 1.0))
    process.bury()


def test_a_frame_is_its_length_and_its_body() -> None:
    frame = pack(Ended((), last=True))
    assert struct.unpack("<I", frame[:4]) == (len(frame) - 4,)


@pytest.fixture(scope="module")
def worker():
    process = WorkerProcess()
    yield process
    process.bury()


def ask(worker: WorkerProcess, call: Call) -> list[Value]:
    """Every value of a call, which comes in one reply or in several."""
    assert worker.send(call)
    values: list[Value] = []
    while (ended := worker.receive()) is not None:
        values += [value for _, value in ended.ends]
        if ended.last:
            return values
    raise AssertionError(worker.last_words)


def test_the_real_worker_parses_each_source_by_itself(worker: WorkerProcess) -> None:
    bad, good = ask(worker, Parse((BAD, GOOD), 1_000, 1 << 30, 10.0))
    assert isinstance(bad, Misused)
    assert bad.where == "bad.qasm:2:9"
    assert isinstance(good, Card)
    assert (good.n_qubits, good.cregs, good.inputs, good.name) == (3, (("b", 2),), ("a",), "good.qasm")


def test_a_source_with_more_operations_than_allowed_is_refused_with_the_limit(worker: WorkerProcess) -> None:
    many = Source(b"OPENQASM 3.0; qubit q; for int i in [1:5000] { U(0, 0, 0) q; }", "many.qasm")
    (outcome,) = ask(worker, Parse((many,), 1_000, 1 << 30, 10.0))
    assert isinstance(outcome, Misused)
    assert outcome.limit == "1000 operations"


def test_bytes_that_are_no_program_are_an_outcome_not_a_death(worker: WorkerProcess) -> None:
    limits = Limits(memory_bytes=1 << 28, seconds=5.0)
    piece = Piece(id="p", programs=(b"junk",), wants=(Counts(1),), items=(Item(0, 0, {}, 1),), limits=limits)
    (outcome,) = ask(worker, RunPiece(piece))
    assert isinstance(outcome, EngineFault)
    assert worker.alive


def test_calibration_measures_unless_what_is_known_still_holds(worker: WorkerProcess) -> None:
    (measured,) = ask(worker, Calibrate(0.02))
    assert isinstance(measured, Calibration)
    assert "numpy" in measured.engines
    assert ask(worker, Calibrate(60.0, measured)) == [measured]  # at once: nothing is measured
    other = msgspec.structs.replace(measured, machine="another processor")
    (again,) = ask(worker, Calibrate(0.02, other))
    assert isinstance(again, Calibration)
    assert again.machine == measured.machine
