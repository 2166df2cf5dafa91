"""Time as a value: integer nanoseconds that somebody else read from a clock.

Flow: the shell (monotonic clock) or a world (virtual clock) reads; cores take `now_ns`. Integers
compare exactly and have no ties from rounding; float seconds appear in formulas and reports only.
"""

from __future__ import annotations

from qcommons.base.units import NS_PER_S, ns_to_s, s_to_ns

__all__ = ["deadline_ns", "duration_text", "elapsed_s", "is_past", "left_s", "seconds_text"]

YEAR_S = 3.2e7  # longer durations are for nobody to wait out: two digits will do
# from this many nanoseconds on -> (nanoseconds a unit, unit); largest first
SCALES = (
    (86_400 * NS_PER_S, "d"),
    (3_600 * NS_PER_S, "h"),
    (60 * NS_PER_S, "min"),
    (NS_PER_S, "s"),
    (1_000_000, "ms"),
    (1_000, "us"),
)


def deadline_ns(now_ns: int, seconds: float) -> int:
    """The instant `seconds` after `now_ns`."""
    return now_ns + s_to_ns(seconds)


def elapsed_s(since_ns: int, now_ns: int) -> float:
    return ns_to_s(now_ns - since_ns)


def left_s(until_ns: int, now_ns: int) -> float:
    """Seconds until the deadline, 0.0 once it is reached."""
    return max(0.0, ns_to_s(until_ns - now_ns))


def is_past(until_ns: int, now_ns: int) -> bool:
    """The deadline is reached: an instant is past itself, so `WakeAt(t)` finds t past."""
    return now_ns >= until_ns


def duration_text(ns: int) -> str:
    """A duration for people, three digits or two units: "480 ns", "1.25 ms", "59.9 s", "2 h 5 min".

    Truncates (59.99 s is "59.9 s"): a duration is never shown longer than it is.
    """
    if ns < 0:
        return "-" + duration_text(-ns)
    for index, (scale, unit) in enumerate(SCALES):
        if ns < scale:
            continue
        if scale >= 60 * NS_PER_S:
            small_scale, small = SCALES[index + 1]
            rest = ns % scale // small_scale
            return f"{ns // scale} {unit} {rest} {small}" if rest else f"{ns // scale} {unit}"
        whole = ns // scale
        decimals = 3 - len(str(whole))
        digits = ns % scale * 10**decimals // scale
        text = f"{whole}.{digits:0{decimals}d}".rstrip("0").rstrip(".") if decimals > 0 else str(whole)
        return f"{text} {unit}"
    return f"{ns} ns"


def seconds_text(seconds: float) -> str:
    """The same from seconds: "5.2 ms", "1.25 s"; past a year in scientific notation, "3.1e+08 s"."""
    return duration_text(s_to_ns(seconds)) if seconds < YEAR_S else f"{seconds:.2g} s"
