"""Answers as they are read again: run by run, amplitudes as they lie on disk, sizes known before a run."""

from __future__ import annotations

import struct

import msgspec
import pytest
from tests.jobs.making import AMPLITUDES, EXPECTATIONS, done, job

from qcommons.base.errors import Unavailable
from qcommons.engines.records import Counts, Statevector
from qcommons.jobs.outcomes import Done, ErrorInfo, Outcome, Refused
from qcommons.jobs.records import Phase
from qcommons.node.answered import (
    ANSWER_BYTES_MAX,
    GUEST_ANSWER_BYTES_MAX,
    RECORD_BYTES_MAX,
    ROWS,
    AnsweredParts,
    answer_bytes,
    binary64_of,
    check_answer,
    errors_of,
    opened,
    pairs_of,
    read_answered,
)
from qcommons.node.records import Answered
from qcommons.node.store import VALUE_BYTES_MAX
from qcommons.verify.receipt import result_hash

PAIRS = tuple((index / 7, -index / 3) for index in range(ROWS + 1))


def stored(*outcomes: Outcome) -> AnsweredParts:
    whole = Answered(job_id="job_a", outcomes=outcomes, phase=Phase("done", "all", 5), submitted_ns=1)
    return read_answered("result/0", msgspec.msgpack.encode(whole))


def test_many_amplitudes_stay_packed_and_say_the_same() -> None:
    small, large = done(amplitudes=PAIRS[:4]), done(amplitudes=PAIRS)
    parts = stored(small, large)
    assert opened(parts.outcomes[0]) == (small, None)
    outcome, packed = opened(parts.outcomes[1])
    assert isinstance(outcome, Done) and packed is not None and outcome.execution.answer.amplitudes is None
    assert msgspec.structs.replace(outcome.execution.answer, amplitudes=PAIRS) == large.execution.answer
    assert tuple(pairs_of(packed)) == PAIRS
    assert binary64_of(packed) == b"".join(struct.pack("<dd", *pair) for pair in PAIRS)
    assert result_hash(outcome.execution.answer, binary64_of(packed)) == result_hash(large.execution.answer)


def test_errors_are_found_beside_answers() -> None:
    refused = Refused("too wide", "qubits", "20 qubits")
    assert list(errors_of(stored(done({"00": 3}), refused))) == [
        ErrorInfo("resources", "too wide", "qubits", "20 qubits")
    ]
    assert list(errors_of(stored(done({"00": 3})))) == []


@pytest.mark.parametrize("n_qubits", [10, 14])
def test_what_is_predicted_holds_what_is_written(n_qubits: int) -> None:
    """Beside the story of a run, which takes less than a kilobyte."""
    amplitudes = tuple((0.1, -0.2) for _ in range(1 << n_qubits))
    counts = {format(index, f"0{n_qubits}b"): 1 for index in range(1 << n_qubits)}
    for outcome, want in ((done(amplitudes=amplitudes), Statevector()), (done(counts), Counts(10**9))):
        size = len(msgspec.msgpack.encode(outcome))
        said = answer_bytes(job(want=want, n_qubits=n_qubits))
        assert said - 7 * (1 << n_qubits) < size < said + 1024  # small numbers take a byte
    assert answer_bytes(job(3, want=AMPLITUDES)) == 3 * answer_bytes(job(want=AMPLITUDES)) > 0
    assert answer_bytes(job(want=EXPECTATIONS)) > 0


def test_a_guests_sweep_of_statevectors_is_refused_before_it_runs_and_one_is_not() -> None:
    sweep = msgspec.structs.replace(job(4, want=Statevector(), n_qubits=20), principal="eve")
    with pytest.raises(Unavailable, match=r"76 MiB \(4 runs\); a job of a guest may take 32 MiB") as refused:
        check_answer(sweep)
    assert refused.value.exit_code == 3 and refused.value.limit == "32 MiB"
    check_answer(msgspec.structs.replace(sweep, points=sweep.points[:1]))
    check_answer(msgspec.structs.replace(sweep, principal="home"))
    assert answer_bytes(sweep) > GUEST_ANSWER_BYTES_MAX


def test_an_answer_that_the_store_does_not_take_is_refused_to_the_owner_too() -> None:
    sweep = job(14, want=Statevector(), n_qubits=20)
    assert answer_bytes(sweep) > ANSWER_BYTES_MAX
    with pytest.raises(Unavailable, match="one job may take 192 MiB"):
        check_answer(sweep)
    check_answer(job(100_000, want=Counts(10**9), n_qubits=30))  # most circuits give few bitstrings


def test_shots_of_a_guest_count_as_if_all_bitstrings_differed() -> None:
    many = msgspec.structs.replace(job(1000, want=Counts(1024), n_qubits=30), principal="eve")
    with pytest.raises(Unavailable):
        check_answer(many)
    check_answer(msgspec.structs.replace(job(1000, want=Counts(1024), n_qubits=5), principal="eve"))


def test_what_is_kept_of_a_job_fits_a_record_of_the_store() -> None:
    assert ANSWER_BYTES_MAX < RECORD_BYTES_MAX == VALUE_BYTES_MAX
