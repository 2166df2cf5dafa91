"""Integer instants and how durations read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcommons.base.clock import deadline_ns, duration_text, elapsed_s, is_past, left_s, seconds_text

WORDS_NS = {"d": 86_400e9, "h": 3_600e9, "min": 60e9, "s": 1e9, "ms": 1e6, "us": 1e3, "ns": 1.0}


def test_a_deadline_is_reached_at_its_own_instant() -> None:
    until = deadline_ns(5, 1.5)
    assert until == 1_500_000_005
    assert not is_past(until, until - 1)
    assert is_past(until, until)
    assert left_s(until, 5) == 1.5
    assert left_s(until, until + 7) == 0.0
    assert elapsed_s(5, until) == 1.5


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1_000, "1 us"),
        (1_250_000, "1.25 ms"),
        (999_999_999, "999 ms"),
        (59_990_000_000, "59.9 s"),
        (60_000_000_000, "1 min"),
        (7_500_000_000_000, "2 h 5 min"),
        (90_000_000_000_000, "1 d 1 h"),
        (-480, "-480 ns"),
    ],
)
def test_durations_read_well(ns: int, text: str) -> None:
    assert duration_text(ns) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(5.2e-5, "52 us"), (0.00123, "1.23 ms"), (3600.0, "1 h"), (3.1e8, "3.1e+08 s")]
)
def test_seconds_read_well_past_a_year_too(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


@given(st.integers(0, 10**18))
def test_a_duration_reads_true_to_a_hundredth_and_never_long(ns: int) -> None:
    """Two units or three digits: what is cut is below 1/60 (minutes of hours, hours of days: 1/24) of the text."""
    words = duration_text(ns).split()
    read = sum(float(number) * WORDS_NS[unit] for number, unit in zip(words[::2], words[1::2], strict=True))
    assert read <= ns * (1 + 1e-12)
    assert ns - read <= ns / 24 + 1e-6
