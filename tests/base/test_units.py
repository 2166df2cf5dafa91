"""Conversions are exact where integers are, and each undoes the other."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcommons.base.units import (
    bytes_text,
    bytes_to_gib,
    fraction_to_ppm,
    gib_to_bytes,
    ns_to_s,
    ppm_to_fraction,
    s_to_ns,
)


@given(st.integers(0, 2**52))
def test_nanoseconds_survive_seconds(ns: int) -> None:
    """Below 2**52 ns (52 days) a float of seconds resolves half a nanosecond."""
    assert s_to_ns(ns_to_s(ns)) == ns


@given(st.floats(0, 1e12))
def test_seconds_round_to_the_nearest_nanosecond(seconds: float) -> None:
    assert s_to_ns(seconds) == round(Fraction(seconds) * 10**9)  # rational arithmetic; ties to even as well


@given(st.integers(0, 1_000_000))
def test_ppm_survive_fractions(ppm: int) -> None:
    assert fraction_to_ppm(ppm_to_fraction(ppm)) == ppm


@given(st.integers(0, 2**53))
def test_bytes_survive_gibibytes(n_bytes: int) -> None:
    assert gib_to_bytes(bytes_to_gib(n_bytes)) == n_bytes


def test_times_that_are_no_numbers_are_errors() -> None:
    for value in (math.inf, math.nan):
        with pytest.raises((OverflowError, ValueError)):
            s_to_ns(value)


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (2**20 - 1, "1 MiB"),  # rounds up to the next unit, never "1024.0 KiB"
        (12 << 30, "12 GiB"),
        (16 << 38, "4 TiB"),
        (4.5e12, "4.1 TiB"),
        (16 * 2.0**100, "1.7e+07 YiB"),
        (math.inf, "inf YiB"),
    ],
)
def test_bytes_read_well(n_bytes: float, text: str) -> None:
    assert bytes_text(n_bytes) == text
