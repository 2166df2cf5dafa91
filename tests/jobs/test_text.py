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
    assert lines[0].startswith("11") and lines[0].endswith(f"0.750 \u00b1 {stderr:.3f}")
    assert lines[1].startswith("00")


def test_digits_of_a_histogram_follow_each_error() -> None:
    """p = (k + 1) / (n + 2), sqrt(p (1 - p) / n): all shots alike, rare outcomes and a billion shots by hand."""
    assert next(histogram({"0": 1024})).endswith("1024  1.00000 \u00b1 0.00098")  # sqrt(1025/1026 / 1026 / 1024)
    assert next(histogram({"0": 10**9})).endswith("1.0000000000 \u00b1 0.0000000010")
    lines = list(histogram({"0": 4095, "1": 1}))
    # 2 / 4098 = 4.88e-4: sqrt(4.88e-4 / 4096) = 3.45e-4, for both outcomes
    assert [line.split("  ")[-1] for line in lines] == ["0.99976 \u00b1 0.00035", "0.00024 \u00b1 0.00035"]
    half = 500_000_000  # sqrt(0.25 / 1e9) = 1.58e-5
    assert next(histogram({"0": half, "1": half})).endswith("0.500000 \u00b1 0.000016")
    lines = list(histogram({"00": 3000, "01": 1090, "11": 6}))  # the signs stand in one column
    assert len({line.index("\u00b1") for line in lines}) == 1


def test_several_registers_are_named_above_their_bits_the_last_declared_leftmost() -> None:
    counts = {"0 1 10": 3, "1 0 01": 1}
    lines = list(histogram(counts, (("a", 2), ("b", 1), ("out", 1))))
    assert lines[0] == "out b  a"
    assert lines[1].startswith("  0 1 10  ")
    assert lines[2].startswith("  1 0 01  ")
    assert next(histogram({"10": 4}, (("c", 2),))).startswith("10")
    wide = list(histogram({f"1 {'0' * 90}": 4}, (("a", 90), ("flag", 1))))
    assert wide[0] == "registers from the left: flag[1] a[90]"


def test_a_sweep_says_once_how_its_registers_stand() -> None:
    rows = [{"name": "a", "size": 1}, {"name": "b", "size": 1}]
    lines = _batch(*[STORY | {"counts": {"0 1": 5}, "registers": rows}] * 2)
    assert [line for line in lines if "registers" in line] == ["registers  b a (from the left)"]


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
    assert value_text(12.345, 0.0996) == "12.35 \u00b1 0.10"
    assert value_text(1234.5, 12.3) == "1234 \u00b1 12"
    assert value_text(-1e-9, 1e-3) == "0.0000 \u00b1 0.0010"
    assert value_text(0.5, 0.0) == "0.5 (exact)"
    assert value_text(-0.0, 0.0) == value_text(6.1e-17, 0.0) == value_text(-1e-16, 0.0) == "0 (exact)"


def test_a_computed_value_is_exact_only_without_an_own_error() -> None:
    assert value_text(0.30030249, 0.0, 2e-6) == "0.3003025 \u00b1 2e-06 (computed, own error)"
    assert value_text(-13.856406461, 0.0, 3.4e-4) == "-13.85641 \u00b1 0.00034 (computed, own error)"
    assert value_text(0.7, 0.01, 2e-6) == "0.700 \u00b1 0.010"  # sampled: the own error has a line of its own
    run = STORY | {"expectations": [{"observable": "Z", "value": 0.25, "stderr": 0.0}], "error_bound": 2e-6}
    lines = render(run).splitlines()
    assert lines[0] == "<Z> = 0.2500000 \u00b1 2e-06 (computed, own error)"
    assert "own error  2e-06 (of any value: bound or estimate of the method's own error)" in lines


def test_amplitudes_have_as_many_digits_as_their_error_allows() -> None:
    run = STORY | {"amplitudes": {"0": [1 / 3, -1e-9]}}
    assert render(run).splitlines()[0] == "0  +0.333333333 -0.000000001i  probability 0.111111"
    rough = render(run | {"error_bound": 1.2e-5}).splitlines()[0]
    assert rough == "0  +0.333333 +0.000000i  probability 0.111111"


def test_the_counts_of_a_sweep_come_most_frequent_first() -> None:
    runs = [
        STORY | {"values": {"theta": theta}, "counts": counts}
        for theta, counts in ((0.5, {"00": 990, "11": 10}), (0.25, {"11": 505, "00": 495}))
    ]
    assert _batch(*runs)[:2] == [
        "0  theta=0.5   00 990 0.9900 \u00b1 0.0033  11  10 0.0100 \u00b1 0.0033",
        "1  theta=0.25  11 505 0.505 \u00b1 0.016  00 495 0.495 \u00b1 0.016",
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
        "1  b.qasm  101 6 0.29 \u00b1 0.10  100 5 0.238 \u00b1 0.096  011 4 0.190 \u00b1 0.090"
        "  010 3 0.143 \u00b1 0.083  ... and 2 more with 3 shots"
    )
    assert _batch(counts | {"program": "a.qasm"}, counts | {"program": "a.qasm"})[1].startswith("1  101 6 0.29")


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


def test_a_long_observable_of_a_sweep_stands_once_above_its_lines() -> None:
    long = " + ".join(f"0.5 Z{n} Z{n + 1}" for n in range(10))
    runs = [
        STORY | {"values": {"theta": t}, "expectations": [
            {"observable": text, "value": t, "stderr": 0.0} for text in (long, "X0")
        ]}
        for t in (0.1, 0.2)
    ]  # fmt: skip
    lines = _batch(*runs)
    assert lines[:3] == [f"O1 = {long}", "O2 = X0", ""]
    assert lines[3] == "0  theta=0.1  <O1> = 0.1 (exact)  <O2> = 0.1 (exact)"
    assert sum(long in line for line in lines) == 1
    short = _batch(*[run | {"expectations": run["expectations"][1:]} for run in runs])
    assert short[0] == "0  theta=0.1  <X0> = 0.1 (exact)"
