"""Numbers with units and angles as people type them.

Flow: option, environment variable or config file -> *quantity* -> bytes, seconds, radians.
"""

from __future__ import annotations

import math
import re

from qcommons.base.errors import UsageError
from qcommons.base.text import shown

__all__ = ["MEMORY_MIN_BYTES", "angle_rad", "memory_bytes", "seconds"]

# IEC 80000-13 prefixes are powers of 1024, SI prefixes powers of 1000.
BYTES = {
    "": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}  # fmt: skip
MEMORY_MIN_BYTES = 1 << 20  # no run fits in less, so a smaller number has lost its unit
SECONDS = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "m": 60.0, "min": 60.0, "h": 3600.0}

NUMBER = r"[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+\."
QUANTITY = re.compile(rf"\s*({NUMBER})\s*([A-Za-z]*)\s*")
ANGLE = re.compile(rf"\s*([+-]?)(?:({NUMBER})(?:\s*\*?\s*(pi))?|(pi))(?:\s*/\s*({NUMBER}))?\s*")


def memory_bytes(text: str, where: str) -> int:
    """Bytes of "4GiB", "500MB" or "123456".

    Raises:
        UsageError: not a number with one of the units of `BYTES`, or below `MEMORY_MIN_BYTES`.
    """
    value = _quantity(text, BYTES, where, "4GiB")
    if value < MEMORY_MIN_BYTES:
        raise UsageError(f"{shown(text)} is {value:.9g} B; allowed from 1 MiB: write 4GiB", where=where, limit="1 MiB")
    return int(value)


def seconds(text: str, where: str) -> float:
    """Seconds of "60s", "2m", "250ms" or "1.5".

    Raises:
        UsageError: not a number with one of the units of `SECONDS`, or zero.
    """
    value = _quantity(text, SECONDS, where, "60s")
    if value <= 0:
        raise UsageError(f"{shown(text)} is no time; allowed above 0 s: write 60s", where=where, limit="> 0 s")
    return value


def _quantity(text: str, units: dict[str, float] | dict[str, int], where: str, example: str) -> float:
    match = QUANTITY.fullmatch(text)
    if match is None or match[2] not in units:
        known = ", ".join(unit for unit in units if unit)
        raise UsageError(
            f"cannot read {shown(text)}; write a number and a unit ({known}), as in {example}", where=where
        )
    value = float(match[1]) * units[match[2]]
    if not math.isfinite(value):
        raise UsageError(f"{shown(text)} is too large", where=where)
    return value


def angle_rad(text: str, where: str) -> float:
    """Radians of "0.3", "-1e-3", "pi", "3*pi/4" or "2/3".

    Raises:
        UsageError: not of that form, divided by zero, or not finite.
    """
    match = ANGLE.fullmatch(text)
    divisor = float(match[5]) if match and match[5] else 1.0
    if match is None or divisor == 0.0:
        raise UsageError(f"cannot read the angle {shown(text)}; write radians, as in 0.3, pi/2 or -3*pi/4", where=where)
    value = (float(match[2]) if match[2] else 1.0) * (math.pi if match[3] or match[4] else 1.0) / divisor
    if not math.isfinite(value):
        raise UsageError(f"the angle {shown(text)} is not finite", where=where)
    return -value if match[1] == "-" else value
