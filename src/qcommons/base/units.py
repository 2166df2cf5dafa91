"""Units: one home unit a quantity, and conversions named both ways.

A name ends in its unit (`deadline_ns`, `loss_db_per_km`, `limit_bytes`, `fidelity_ppm`); a value
crosses a function boundary in its home unit only. Bytes are counted in powers of 1024 (IEC 80000-13).
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

__all__ = [
    "BYTES_PER_GIB",
    "BYTES_PER_MIB",
    "HOME_UNITS",
    "NS_PER_S",
    "PPM",
    "bytes_text",
    "bytes_to_gib",
    "fraction_to_ppm",
    "gib_to_bytes",
    "ns_to_s",
    "ppm_to_fraction",
    "s_to_ns",
]

# quantity -> (suffix of names, home unit, type)
HOME_UNITS: dict[str, tuple[str, str, type]] = {
    "time on the event clock": ("_ns", "nanosecond", int),
    "duration in formulas and reports": ("_s", "second", float),
    "memory and sizes": ("_bytes", "byte", int),
    "probability and fidelity in signed records": ("_ppm", "part per million", int),
    "angle": ("", "radian", float),
    "work": ("_units", "amplitude-update or tensor flop", float),
}

NS_PER_S = 1_000_000_000
PPM = 1_000_000
BYTES_PER_MIB = 1 << 20
BYTES_PER_GIB = 1 << 30
BINARY_PREFIXES = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")


def _whole(value: float, scale: int) -> int:
    """value * scale to the nearest integer, ties to even; exact where a float product would round."""
    return int((Decimal(value) * scale).to_integral_value(ROUND_HALF_EVEN))


def s_to_ns(seconds: float) -> int:
    """Seconds to the nearest nanosecond (ties to even). Raises OverflowError for infinities, ValueError for NaN."""
    return _whole(seconds, NS_PER_S)


def ns_to_s(ns: int) -> float:
    """Nanoseconds to seconds; exact to a nanosecond below 2**53 ns (104 days)."""
    return ns / NS_PER_S


def fraction_to_ppm(fraction: float) -> int:
    """A probability or fidelity to the nearest part per million (ties to even)."""
    return _whole(fraction, PPM)


def ppm_to_fraction(ppm: int) -> float:
    return ppm / PPM


def gib_to_bytes(gib: float) -> int:
    return _whole(gib, BYTES_PER_GIB)


def bytes_to_gib(n_bytes: int) -> float:
    return n_bytes / BYTES_PER_GIB


def bytes_text(n_bytes: float) -> str:
    """For people, at most four digits: 17 -> "17 bytes", 12 * 2**30 -> "12 GiB", 4.5e12 -> "4.1 TiB".

    n_bytes: >= 0; past YiB in scientific notation.
    """
    size, power = float(n_bytes), 0
    while size >= 1023.95 and power < len(BINARY_PREFIXES) - 1:  # 1023.95 would print as "1024.0"
        size, power = size / 1024, power + 1
    unit = BINARY_PREFIXES[power]
    if size >= 1e4:
        return f"{size:.1e} {unit}"
    number = f"{size:.0f}" if power == 0 else f"{size:.1f}".removesuffix(".0")
    return f"{number} {unit}"
