"""Numbers with units and angles as people type them."""

from __future__ import annotations

import math

import pytest

from qcommons.base.errors import UsageError
from qcommons.base.quantities import angle_rad, memory_bytes, seconds


@pytest.mark.parametrize(
    ("text", "expected"), [("4GiB", 4 * 1024**3), ("500MB", 500_000_000), ("1048576", 1 << 20), (" 1.5 MiB ", 1572864)]
)
def test_memory_is_read_in_iec_and_si_units(text: str, expected: int) -> None:
    assert memory_bytes(text, "--memory") == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("60s", 60), ("2m", 120), ("250ms", 0.25), ("1.5", 1.5), ("1e2s", 100), ("1h", 3600)]
)
def test_seconds_are_read_with_their_unit(text: str, expected: float) -> None:
    assert seconds(text, "--deadline") == pytest.approx(expected)


@pytest.mark.parametrize("text", ["4", "0", "1023KiB", "0.5"])
def test_a_memory_without_its_unit_is_refused_with_the_way_to_write_it(text: str) -> None:
    with pytest.raises(UsageError, match="write 4GiB") as caught:
        memory_bytes(text, "--memory")
    assert (caught.value.where, caught.value.limit) == ("--memory", "1 MiB")


@pytest.mark.parametrize("text", ["", "GiB", "-1s", "0s", "4 parsecs", "nan", "inf", "1e999s"])
def test_a_bad_duration_names_its_option(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        seconds(text, "--deadline")
    assert caught.value.where == "--deadline"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0.3", 0.3), ("-1e-3", -1e-3), ("pi", math.pi), ("-pi/4", -math.pi / 4), ("3*pi/4", 3 * math.pi / 4),
     ("2pi", 2 * math.pi), ("1/3", 1 / 3), ("+.5", 0.5)],
)  # fmt: skip
def test_angles_may_use_pi_and_fractions(text: str, expected: float) -> None:
    assert angle_rad(text, "--bind") == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("text", ["", "nan", "inf", "1e999", "pi pi", "1/0", "__import__('os')", "2**9"])
def test_other_angle_texts_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        angle_rad(text, "--bind")
