"""Answers for people: lines from the JSON object of a run or a batch."""

from __future__ import annotations

import io
import math
import sys
from typing import Any

import pytest

from qcommons.jobs.text import histogram, printable, render, shortened, value_text

STORY: dict[str, Any] = {
    "status": "done", "engine": "qulacs", "method": "statevector", "reason": "two qubits", "seconds": 0.0012,
    "predicted_cost": {"seconds": 1e-4, "memory_bytes": 4096, "work_units": 10.0, "certain": True},
    "physics": "emulated", "seed": 7, "notes": ["a note"],
}  # fmt: skip
REFUSED = {"status": "refused", "values": {"theta": 0.4}, "error": {"what": "needs 4.1 TiB", "where": None}}


def _batch(*runs: dict[str, Any]) -> list[str]:
    return render({"results": runs, "status": "done", "seed": 11, "physics": "emulated"}).splitlines()


def test_histogram_gives_binomial_standard_errors() -> None:
    lines = list(histogram({"00": 25, "11": 75}))
    p = 76 / 102
    stderr = math.sqrt(p * (1 - p) / 100)  # binomial proportion, p by the rule of succession
    assert lines[0].startswith("11") and "0.7500" in lines[0] and f"{stderr:.4f}" in lines[0]
    assert lines[1].startswith("00")


def test_histogram_stops_after_twenty_outcomes_and_counts_the_rest() -> None:
    counts = {format(k, "06b"): 100 - k for k in range(50)}
    lines = list(histogram(counts))
    assert len(lines) == 21
    assert lines[0].startswith("000000")
    assert lines[-1] == f"... and 30 more outcomes with {sum(100 - k for k in range(20, 50))} shots"


def test_long_bitstrings_are_shortened_with_their_length() -> None:
    assert shortened("01" * 30) == "01" * 30
    assert "..." in shortened("0" * 500) and "(500 bits)" in shortened("0" * 500)


def test_digits_follow_the_standard_error() -> None:
    assert value_text(0.703125, 0.0071) == "0.7031 \u00b1 0.0071"
    assert value_text(0.5, 0.0) == "0.5 (exact)"
    assert value_text(-0.0, 0.0) == value_text(6.1e-17, 0.0) == value_text(-1e-16, 0.0) == "0 (exact)"


def test_the_counts_of_a_sweep_stand_in_columns() -> None:
    runs = [
        STORY | {"values": {"theta": theta}, "counts": counts}
        for theta, counts in ((0.5, {"00": 990, "11": 10}), (0.25, {"11": 505, "00": 495}))
    ]
    assert _batch(*runs)[:2] == [
        "0  theta=0.5   00 990 0.9900 \u00b1 0.0033  11  10 0.0100 \u00b1 0.0033",
        "1  theta=0.25  00 495 0.4950 \u00b1 0.0158  11 505 0.5050 \u00b1 0.0158",
    ]


def test_the_story_says_engine_reason_costs_and_physics() -> None:
    text = render(STORY | {"counts": {"0": 1}})
    for fact in ("qulacs", "statevector", "two qubits", "100 us", "4 KiB", "1.2 ms", "emulated", "7", "a note"):
        assert fact in text


def test_of_many_amplitudes_the_largest_are_shown_and_the_rest_counted() -> None:
    amplitudes = {format(k, "05b"): [k / 102.0, 0.0] for k in range(32)}  # sum of k^2 below 32: 10416 = 102.06^2
    lines = render(STORY | {"amplitudes": amplitudes}).splitlines()
    assert lines[0] == "11111  +0.303921569 +0.000000000i  probability 0.0923683"
    assert lines[20] == "... and 12 more amplitudes, none larger"


def test_a_run_that_was_not_answered_is_one_line_with_its_place() -> None:
    error = {"what": "no gate hh", "where": "a.qasm:1:2", "limit": None, "who": "caller"}
    assert render({"status": "failed", "error": error}) == "failed: a.qasm:1:2: no gate hh"


def test_a_sweep_has_a_line_for_each_run_failed_ones_too() -> None:
    done = STORY | {"values": {"theta": 0.3}, "expectations": [{"observable": "Z", "value": 0.5, "stderr": 0.0}]}
    lines = _batch(done, REFUSED)
    assert lines[0] == "0  theta=0.3  <Z> = 0.5 (exact)"
    assert lines[1] == "1  theta=0.4  refused: needs 4.1 TiB"
    assert lines[3] == "runs       1 of 2 done, 1.2 ms in all; the last one:"
    assert "seed       11" in lines  # of the batch, which repeats it; not of its last run
    assert lines[-1] == "note       a note"


def test_runs_of_several_programs_are_named() -> None:
    counts = STORY | {"counts": {format(k, "03b"): k + 1 for k in range(6)}}
    assert _batch(counts | {"program": "a.qasm"}, counts | {"program": "b.qasm"})[1] == (
        "1  b.qasm  010 3 0.1429 \u00b1 0.0827  011 4 0.1905 \u00b1 0.0900  100 5 0.2381 \u00b1 0.0958"
        "  101 6 0.2857 \u00b1 0.1004  ..."
    )
    assert _batch(counts | {"program": "a.qasm"}, counts | {"program": "a.qasm"})[1].startswith("1  010 3 0.1429")


def test_a_batch_without_answers_and_one_of_many_runs_read_well() -> None:
    assert _batch(REFUSED)[1:3] == ["", "runs       0 of 1 done, 0 ns in all"]
    lines = _batch(*[REFUSED] * 1_500)
    assert lines[999].startswith(" 999  theta=0.4")
    assert lines[1000] == "... and 500 more runs"


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("utf-8", "\u0398=1 \u2588 \u00b1 1"), ("cp437", "\u0398=1 \u2588 \u00b1 1"), ("ascii", "\\u0398=1 # +- 1"),
     ("latin-1", "\\u0398=1 # +- 1"), (None, "\\u0398=1 # +- 1")],
)  # fmt: skip
def test_a_terminal_is_given_what_it_can_show(
    encoding: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdout = io.StringIO() if encoding is None else io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stdout)
    assert printable("\u0398=1 \u2588 \u00b1 1") == expected
    print(printable("\u0398=1 \u2588 \u00b1 1"), flush=True)
