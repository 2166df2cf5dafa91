"""Answers for people."""

from __future__ import annotations

import math

from qcommons.clients.cli.text import histogram, render, render_sweep, shortened, value_text

STORY = {
    "status": "done", "engine": "qulacs", "method": "statevector", "reason": "two qubits", "seconds": 0.0012,
    "predicted_cost": {"seconds": 1e-4, "memory_bytes": 4096, "work_units": 10.0, "certain": True},
    "physics": "emulated", "seed": 7, "notes": ["a note"],
}  # fmt: skip


def test_histogram_gives_binomial_standard_errors() -> None:
    lines = list(histogram({"00": 25, "11": 75}))
    stderr = math.sqrt(0.75 * 0.25 / 100)  # binomial proportion
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
    assert value_text(0.703125, 0.0071) in ("0.7031 \u00b1 0.0071", "0.7031 +- 0.0071")
    assert value_text(0.5, 0.0) == "0.5 (exact)"
    assert value_text(-0.0, 0.0) == "0 (exact)"


def test_the_story_says_engine_reason_costs_and_physics() -> None:
    text = render(STORY | {"counts": {"0": 1}})
    for fact in ("qulacs", "statevector", "two qubits", "100 us", "1.2 ms", "emulated", "7", "a note"):
        assert fact in text


def test_a_sweep_has_a_line_for_each_point_failed_ones_too() -> None:
    done = STORY | {"values": {"theta": 0.3}, "expectations": [{"observable": "Z", "value": 0.5, "stderr": 0.0}]}
    refused = {"status": "refused", "values": {"theta": 0.4}, "error": {"what": "needs 4.1 TiB"}}
    lines = render_sweep([done, refused]).splitlines()
    assert lines[0] == "theta=0.3  <Z> = 0.5 (exact)"
    assert lines[1] == "theta=0.4  refused: needs 4.1 TiB"
    assert "1 of 2 done" in lines[3]
