"""The step to form 2: each guest's lists are made of what is there, once, whatever happens on the way."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from qcommons.node import old_lists
from qcommons.node.keys import event_key, job_key, past
from qcommons.node.migrations import MIGRATIONS, Migration, backup_path
from qcommons.node.old_lists import EVENTS_KEPT, fill_own_lists
from qcommons.node.own_lists import OWN_EVENTS_KEPT, owned
from qcommons.node.owner import HOME
from qcommons.node.store import Store

# Form 1 as it was written: plain maps, whatever the records are today.
JOB = {"number": 0, "id": "job_a", "principal": "eve", "state": "done", "cause": "", "since_ns": 1, "runs": 1}
EVENT = {"seq": 0, "at_ns": 5, "kind": "job", "facts": {"job": "job_a", "state": "done", "principal": "eve"}}


def old_home(path: Path, jobs: list[str], events: list[tuple[str, str]]) -> Path:
    """A database of form 1. jobs: whose, in their order; events: kind and whose."""
    pack = msgspec.msgpack.encode
    rows = [(job_key(number), pack({**JOB, "number": number, "principal": who})) for number, who in enumerate(jobs)]
    for seq, (kind, who) in enumerate(events):
        facts = {**EVENT["facts"], "principal": who}  # type: ignore[dict-item]
        rows.append((event_key(seq), pack({**EVENT, "seq": seq, "kind": kind, "facts": facts})))
    with Store(path, migrations=MIGRATIONS[:1]) as table:
        table.apply(rows)
    return path


def lists(path: Path, folder: str) -> list[Any]:
    with Store(path) as table:
        return [msgspec.msgpack.decode(value) for _, value in table.scan(folder, past(folder))]


def form(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()[0])


def test_each_guest_has_its_jobs_and_events_in_their_order_and_the_owner_none(tmp_path: Path) -> None:
    whose = ["eve", HOME, "bob", "eve"]
    path = old_home(tmp_path / "node.db", whose, [("job", who) for who in whose] + [("paused", "eve")])
    with Store(path) as table:
        assert owned(table) == {"bob": (1, 1), "eve": (2, 2)}
        assert not table.scan(f"own/{HOME}/", past(f"own/{HOME}/"))
    assert lists(path, "own/eve/job/") == [0, 3] and lists(path, "own/bob/job/") == [2]
    assert [event["seq"] for event in lists(path, "own/eve/event/")] == [0, 1], "numbered for themselves"
    assert form(path) == "2" and form(backup_path(path, 2)) == "1"


def test_a_step_that_was_interrupted_leaves_the_old_form_and_is_done_at_the_next_start(tmp_path: Path) -> None:
    """The node dies when some of the lists are written: none of it is there, and nothing is lost."""
    path = old_home(tmp_path / "node.db", ["eve", "bob"], [("job", "eve")])

    def dies(connection: sqlite3.Connection) -> None:
        fill_own_lists(connection)
        assert connection.execute("SELECT count(*) FROM records WHERE key LIKE 'own/%'").fetchone() == (3,)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Store(path, migrations=(MIGRATIONS[0], Migration(2, "dies", dies)))
    assert form(path) == "1"
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM records WHERE key LIKE 'own/%'").fetchone() == (0,)
    with Store(path) as table:
        assert owned(table) == {"bob": (1, 0), "eve": (1, 1)}


def test_the_step_done_twice_makes_the_same_lists(tmp_path: Path) -> None:
    """As after a copy from before it was put back: it replaces, and adds nothing."""
    path = old_home(tmp_path / "node.db", ["eve", "bob", "eve"], [("job", "eve"), ("job", "bob")])
    Store(path).close()
    with closing(sqlite3.connect(path)) as connection:
        before = connection.execute("SELECT * FROM records ORDER BY key").fetchall()
        fill_own_lists(connection)
        assert connection.execute("SELECT * FROM records ORDER BY key").fetchall() == before
        connection.rollback()


def test_no_more_events_of_a_guest_are_taken_than_are_kept_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert EVENTS_KEPT == OWN_EVENTS_KEPT and old_lists.OWNER == HOME
    monkeypatch.setattr(old_lists, "EVENTS_KEPT", 2)
    path = old_home(tmp_path / "node.db", [], [("job", "eve")] * 5)
    with Store(path) as table:
        kept = [msgspec.msgpack.decode(value) for _, value in table.scan("own/eve/event/", past("own/eve/event/"))]
    assert [event["seq"] for event in kept] == [0, 1] and [event["at_ns"] for event in kept] == [5, 5]


def test_a_home_without_guests_gets_no_lists(tmp_path: Path) -> None:
    path = old_home(tmp_path / "node.db", [HOME], [("job", HOME), ("started", HOME)])
    with Store(path) as table:
        assert owned(table) == {} and not table.scan("own/", past("own/"))
