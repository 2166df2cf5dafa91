"""The week's schedule: when the owner lets work run.

Flow: text of `limits.hours` -> *spans of minutes in the week* -> owner (verdicts), status ("opens Mon 18:00").

A minute of the week is 0 for Monday 00:00 and 10,079 for Sunday 23:59, local time of the machine. The text is a
list with commas; each entry has days, a range of the clock, or both, and stands alone:

    entry        open
    Sat-Sun      both days whole; Fri-Mon passes the end of the week
    22:00-06:00  every night; past midnight the range goes on into the next day
    Mon-Fri 18:00-08:00   from Monday 18:00, the last time until Saturday 08:00
    (empty)      always

On the night the clock is put forward or back an opening that lies behind the change comes an hour early or late in
`next_opening`, never in `is_open`: whoever waits asks again when the time has come.
"""

from __future__ import annotations

import functools
import re

from qcommons.base.errors import UsageError

__all__ = ["MINUTES_A_WEEK", "closed_for", "is_open", "minute_text", "next_opening", "read_hours"]

Spans = tuple[tuple[int, int], ...]  # (first minute, minute after the last), sorted, apart, within one week

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MINUTES_A_DAY = 24 * 60
MINUTES_A_WEEK = 7 * MINUTES_A_DAY
CHARS_MAX = 500  # seven entries need 150
DAY = "|".join(DAYS)
CLOCK = r"([0-9]{1,2}):([0-9]{2})"
ENTRY = re.compile(rf"(?:({DAY})(?:\s*-\s*({DAY}))?)?\s*(?:{CLOCK}\s*-\s*{CLOCK})?", re.IGNORECASE | re.ASCII)
FORM = 'write days, a range of the clock or both, as in "Mon-Fri 18:00-08:00, Sat-Sun" or "22:00-06:00"'


def read_hours(text: str, where: str = "limits.hours") -> str:
    """The same schedule in one spelling: "mon-fri 8:00-9:30,sun" -> "Mon-Fri 08:00-09:30, Sun".

    Raises:
        UsageError: not of the form above, a time past 24:00, or a range that ends where it starts; `where` is kept.
    """
    if len(text) > CHARS_MAX:
        raise UsageError(f"the hours have {len(text)} characters; {FORM}", where=where, limit=f"{CHARS_MAX} characters")
    if not text.strip():
        return ""
    return ", ".join(_spelled(*_entry(part.strip(), where)) for part in text.split(","))


def is_open(hours: str, minute_of_week: int) -> bool:
    return any(start <= minute_of_week % MINUTES_A_WEEK < end for start, end in _spans(hours))


def next_opening(hours: str, minute_of_week: int) -> int:
    """Minutes until work may run: 0 while it may. Every schedule opens at some time."""
    if is_open(hours, minute_of_week):
        return 0
    return min((start - minute_of_week) % MINUTES_A_WEEK for start, _ in _spans(hours))


def closed_for(hours: str, minute_of_week: int) -> int:
    """Minutes since the last closing: 0 while open, and in the first minute after it."""
    if is_open(hours, minute_of_week):
        return 0
    return min((minute_of_week - end) % MINUTES_A_WEEK for _, end in _spans(hours))


def minute_text(minute_of_week: int) -> str:
    """For people: 1080 -> "Mon 18:00"."""
    day, minute = divmod(minute_of_week % MINUTES_A_WEEK, MINUTES_A_DAY)
    return f"{DAYS[day]} {minute // 60:02}:{minute % 60:02}"


def _entry(text: str, where: str) -> tuple[int, int, int, int]:
    """(first day, days, start, end) in days and minutes of the day; end 1 to 1440, before the start past midnight."""
    match = ENTRY.fullmatch(text)
    if match is None or not text:
        raise UsageError(f"cannot read {text[:60]!r}; {FORM}", where=where)
    first = DAYS.index(match[1].capitalize()) if match[1] else 0
    last = DAYS.index(match[2].capitalize()) if match[2] else first
    count = (last - first) % 7 + 1 if match[1] else 7
    if match[3] is None:
        return first, count, 0, MINUTES_A_DAY
    start = _minute(match[3], match[4], MINUTES_A_DAY - 1, text, where)
    end = _minute(match[5], match[6], MINUTES_A_DAY, text, where) or MINUTES_A_DAY
    if start == end % MINUTES_A_DAY and end - start != MINUTES_A_DAY:
        raise UsageError(f"{text!r} ends where it starts; for the whole day leave the clock out", where=where)
    return first, count, start, end


def _minute(hour: str, minute: str, limit: int, text: str, where: str) -> int:
    value = int(hour) * 60 + int(minute)
    if int(minute) > 59 or value > limit:
        at_most = f"{limit // 60:02}:{limit % 60:02}"
        raise UsageError(f"no time of the day in {text!r}: {hour}:{minute}; at most {at_most}", where=where)
    return value


def _spelled(first: int, count: int, start: int, end: int) -> str:
    days = DAYS[first] if count == 1 else f"{DAYS[first]}-{DAYS[(first + count - 1) % 7]}"
    if (start, end) == (0, MINUTES_A_DAY):
        return days
    clock = f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"
    return clock if count == 7 else f"{days} {clock}"


@functools.lru_cache(maxsize=16)
def _spans(hours: str) -> Spans:
    """The open minutes, merged. Raises UsageError as `read_hours` does."""
    if not hours.strip():
        return ((0, MINUTES_A_WEEK),)
    pieces: list[tuple[int, int]] = []
    for part in hours.split(","):
        first, count, start, end = _entry(part.strip(), "limits.hours")
        length = end - start if end > start else end - start + MINUTES_A_DAY
        for day in range(first, first + count):
            opens = (day * MINUTES_A_DAY + start) % MINUTES_A_WEEK
            closes = opens + length
            pieces.append((opens, min(closes, MINUTES_A_WEEK)))
            if closes > MINUTES_A_WEEK:  # Sunday night belongs to Monday as well
                pieces.append((0, closes - MINUTES_A_WEEK))
    merged: list[tuple[int, int]] = []
    for opens, closes in sorted(pieces):
        if merged and opens <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], closes))
        else:
            merged.append((opens, closes))
    return tuple(merged)
