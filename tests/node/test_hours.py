"""The week's schedule, against a table of 10,080 minutes made by walking the calendar day by day."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcommons.base.errors import UsageError
from qcommons.node.hours import MINUTES_A_WEEK, closed_for, is_open, minute_text, next_opening, read_hours

NAMES = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
MONDAY = datetime.datetime(2024, 1, 1)  # noqa: DTZ001  a Monday; local wall time has no zone here
MINUTE = datetime.timedelta(minutes=1)

# (days or None, range or None) as a person means them
ENTRIES = st.tuples(
    st.none() | st.tuples(st.integers(0, 6), st.integers(0, 6)),
    st.none() | st.tuples(st.integers(0, 1439), st.integers(1, 1440)).filter(lambda r: r[0] != r[1]),
).filter(lambda entry: entry != (None, None))


def _text(entry: tuple[tuple[int, int] | None, tuple[int, int] | None]) -> str:
    days, clock = entry
    words = [f"{NAMES[days[0]]}-{NAMES[days[1]]}"] if days else []
    words += ["-".join(f"{m // 60:02}:{m % 60:02}" for m in clock)] if clock else []
    return " ".join(words)


def _table(entries: list[tuple[tuple[int, int] | None, tuple[int, int] | None]]) -> list[bool]:
    """Open or not, minute by minute: each opening is walked on the calendar from its own day."""
    table = [False] * MINUTES_A_WEEK
    for days, clock in entries:
        day = days[0] if days else 0
        last = days[1] if days else 6
        while True:
            start, end = clock if clock else (0, 1440)
            at = MONDAY + datetime.timedelta(days=day, minutes=start)
            stop = MONDAY + datetime.timedelta(days=day + (end <= start), minutes=end)
            while at < stop:
                table[at.weekday() * 1440 + at.hour * 60 + at.minute] = True
                at += MINUTE
            if day == last:
                break
            day = (day + 1) % 7
    return table


@settings(max_examples=40, deadline=None)
@given(st.lists(ENTRIES, min_size=1, max_size=4), st.integers(0, MINUTES_A_WEEK - 1))
def test_the_schedule_is_what_the_calendar_says(entries: list, probe: int) -> None:
    text = ",".join(_text(entry) for entry in entries)
    table = _table(entries)
    assert [is_open(text, minute) for minute in range(MINUTES_A_WEEK)] == table
    ahead = table[probe:] + table[:probe]
    assert next_opening(text, probe) == ahead.index(True)
    behind = ahead[:1] + ahead[:0:-1]
    assert closed_for(text, probe) == max(0, behind.index(True) - 1)
    spelled = read_hours(text)
    assert read_hours(spelled) == spelled
    assert all(is_open(spelled, minute) == table[minute] for minute in range(0, MINUTES_A_WEEK, 7))


@pytest.mark.parametrize(
    ("hours", "moment", "open_", "opens"),
    [
        ("", "Wed 03:00", True, 0),
        ("Mon-Fri 18:00-08:00, Sat-Sun", "Fri 17:59", False, 1),
        ("Mon-Fri 18:00-08:00, Sat-Sun", "Sat 07:59", True, 0),
        ("Mon-Fri 18:00-08:00, Sat-Sun", "Mon 00:00", False, 18 * 60),  # no Sunday night was named
        ("Mon-Fri 18:00-08:00", "Sat 08:00", False, 2 * 1440 + 10 * 60),
        ("22:00-06:00", "Mon 05:59", True, 0),  # Sunday's night passes the end of the week
        ("22:00-06:00", "Thu 06:00", False, 16 * 60),
        ("Fri-Mon", "Mon 23:59", True, 0),
        ("Fri-Mon", "Tue 00:00", False, 3 * 1440),
        ("Sun 20:00-24:00", "Sun 23:59", True, 0),
        ("Sun 20:00-00:00", "Mon 00:00", False, 6 * 1440 + 20 * 60),
    ],
)
def test_examples(hours: str, moment: str, open_: bool, opens: int) -> None:
    day, clock = moment.split()
    minute = NAMES.index(day) * 1440 + int(clock[:2]) * 60 + int(clock[3:])
    assert minute_text(minute) == moment
    assert is_open(hours, minute) is open_
    assert next_opening(hours, minute) == opens


@pytest.mark.parametrize(
    ("text", "spelled"),
    [("mon-fri 8:00-9:30,SUN", "Mon-Fri 08:00-09:30, Sun"), ("  ", ""), ("22:00 - 6:00", "22:00-06:00"),
     ("Mon-Mon", "Mon"), ("Mon-Sun 10:00-00:00", "10:00-24:00"), ("Sat 00:00-24:00", "Sat"),
     ("00:00-00:00", "Mon-Sun")],
)  # fmt: skip
def test_there_is_one_spelling(text: str, spelled: str) -> None:
    assert read_hours(text) == spelled


@pytest.mark.parametrize(
    "text",
    ["always", "Mon-", "Montag", "8-18", "18:00", "24:00-06:00", "23:60-01:00", "10:00-24:01", "10:00-10:00",
     "Mon,,Tue", ",", "Mon Tue", "18:00-08:00 Mon", "Mon 1٢:00-13:00", "-1:00-02:00", "Mon," * 200],
)  # fmt: skip
def test_what_is_no_schedule_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_hours(text, "QCOMMONS_HOURS")
    assert caught.value.where == "QCOMMONS_HOURS"
    assert len(str(caught.value)) < 300
