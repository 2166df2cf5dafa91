"""How many values a JSON text holds, counted before any of them is made.

Flow: Call.body -> *check_values* -> msgspec. The decoder holds the interpreter, and tells a cap on a list only after
the list is built: 64 MiB of "{}," kept every other request waiting for 10 s and took 1.6 GB. Counting what separates
values (RFC 8259, section 2), outside strings, bounds both for a fraction of that, and others are served in between.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from qcommons.base.errors import UsageError

__all__ = ["VALUES_MAX", "check_values", "values_in"]

VALUES_MAX = 1 << 19  # 100,000 points of five inputs; the slowest ones (a key each, all different) decode in 0.25 s
STEP_BYTES = 1 << 18  # looked at in about a millisecond
COMMA, OBJECT, ARRAY, QUOTE, BACKSLASH = b',{["\\'

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Marks = np.ndarray[Any, np.dtype[np.bool_]]
Places = np.ndarray[Any, np.dtype[np.int64]]


def check_values(raw: bytes) -> None:
    """Raises UsageError where `raw` holds more values than any submission needs."""
    if len(raw) <= VALUES_MAX or sum(raw.count(one) for one in (COMMA, OBJECT, ARRAY)) < VALUES_MAX:
        return
    found = values_in(raw, VALUES_MAX)
    if found > VALUES_MAX:
        what = f"more than {VALUES_MAX} values; send fewer points, or several jobs"
        raise UsageError(what, where="body", limit=f"{VALUES_MAX} values")


def values_in(raw: bytes, most: int) -> int:
    """At least as many values as a decoder makes of `raw` until its end, or its first error; counts up to about `most`.

    Each value but the first follows a comma or the opening of an array or object. Texts (programs) are passed over.
    """
    found, inside, escaped = 1, False, False
    for start in range(0, len(raw), STEP_BYTES):
        part: Bytes = np.frombuffer(raw, np.uint8, min(STEP_BYTES, len(raw) - start), start)
        quotes: Marks = part == QUOTE
        backslashes: Places = np.flatnonzero(part == BACKSLASH)
        if escaped or len(backslashes):
            escaped = _drop_escaped(quotes, backslashes, escaped)
        within: Marks = np.logical_xor.accumulate(quotes) ^ inside
        inside = bool(within[-1])
        marks = (part == COMMA) | (part == OBJECT) | (part == ARRAY)
        found += int(np.count_nonzero(marks & ~within))
        if found > most:
            break
    return found


def _drop_escaped(quotes: Marks, backslashes: Places, escaped: bool) -> bool:
    r"""Unmark the quotes that a backslash escapes: in a run of backslashes the first, third, ... escape what follows.

    escaped: the byte before this part escapes its first one. Returns the same for the next part.
    """
    if escaped:
        quotes[0] = False
        backslashes = backslashes[1:] if len(backslashes) and backslashes[0] == 0 else backslashes
    if not len(backslashes):
        return False
    first = np.concatenate(([True], np.diff(backslashes) != 1))  # of its run
    starts = backslashes[first][np.cumsum(first) - 1]
    acting = backslashes[(backslashes - starts) % 2 == 0]
    after = acting + 1
    quotes[after[after < len(quotes)]] = False
    return bool(after[-1] == len(quotes))
