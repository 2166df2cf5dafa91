"""The step to form 2 of the database: the lists of each guest, made of the jobs and events that are there.

Flow: migrations -> *fill_own_lists* -> records under `own/` (`own_lists.py`). It reads what form 1 kept and nothing
that may have changed since: msgpack maps with a principal, in the order of their keys.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from typing import Any
from zlib import crc32

import msgspec

__all__ = ["fill_own_lists"]

OWNER = "home"
EVENTS_KEPT = 10_000  # of a guest
Row = tuple[str, bytes, int]


def fill_own_lists(connection: sqlite3.Connection) -> None:
    """Raises sqlite3.DatabaseError where a record is damaged."""
    rows = [*_jobs(connection), *_events(connection)]
    connection.executemany("REPLACE INTO records VALUES (?, ?, ?)", rows)


def _jobs(connection: sqlite3.Connection) -> Iterator[Row]:
    places: Counter[str] = Counter()
    for entry in _records(connection, "job"):
        who = entry["principal"]
        if who != OWNER:
            yield _row(f"own/{who}/job/{places[who]:012d}", entry["number"])
            places[who] += 1


def _events(connection: sqlite3.Connection) -> Iterator[Row]:
    of_guests: dict[str, list[dict[str, Any]]] = {}
    for event in _records(connection, "event"):
        who = event["facts"].get("principal", OWNER)
        if event["kind"] == "job" and who != OWNER:
            of_guests.setdefault(who, []).append(event)
    for who, events in of_guests.items():
        for place, event in enumerate(events[-EVENTS_KEPT:]):
            yield _row(f"own/{who}/event/{place:012d}", {**event, "seq": place})


def _records(connection: sqlite3.Connection, name: str) -> Iterator[dict[str, Any]]:
    found = connection.execute("SELECT key, value FROM records WHERE key >= ? AND key < ? ORDER BY key",
                               (f"{name}/", f"{name}0"))  # fmt: skip
    for key, value in found:
        try:
            yield msgspec.msgpack.decode(value)
        except msgspec.DecodeError as error:
            raise sqlite3.DatabaseError(f"the record {key} is damaged: {error}") from error


def _row(key: str, value: object) -> Row:
    packed = msgspec.msgpack.encode(value)
    return key, packed, crc32(packed, crc32(key.encode()))
