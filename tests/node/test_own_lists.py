"""A guest's own lists: numbered from 0 whatever others do, go on after a start, are found without a look at others'."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest
from tests.node.small_world import Disk

from qcommons.base.effects import Effect, Store
from qcommons.node import own_lists
from qcommons.node.journal import Journal
from qcommons.node.keys import event_key, job_key, own_events_of, own_jobs_of, own_key, past
from qcommons.node.migrations import MIGRATIONS, backup_path
from qcommons.node.own_lists import OwnLists, next_place, owned
from qcommons.node.records import Entry, NodeEvent
from qcommons.node.store import Store as Table

EVENT = {"job": "job_a", "state": "accepted", "cause": "submitted", "principal": "eve"}


def entry(number: int, who: str, lease: str = "") -> Entry:
    return Entry(number=number, id=f"job_{number}", principal=who, state="accepted", cause="", since_ns=1,
                 submitted_ns=1, deadline_ns=2, runs=1, lease=lease)  # fmt: skip


def apply(disk: Disk, effects: list[Effect]) -> None:
    disk.apply([effect for effect in effects if isinstance(effect, Store)])


def places(disk: Disk, folder: str) -> list[object]:
    return [msgspec.msgpack.decode(value) for _, value in disk.scan(folder, past(folder))]


def test_jobs_of_guests_are_numbered_by_themselves_and_the_owners_and_hired_ones_not_at_all() -> None:
    disk, own = Disk(), OwnLists()
    for number, who in enumerate(["home", "eve", "home", "bob", "eve", "home"]):
        apply(disk, own.job(entry(number, who)))
    assert places(disk, own_jobs_of("eve")) == [1, 4] and places(disk, own_jobs_of("bob")) == [3]
    assert own.job(entry(7, "home")) == own.job(entry(8, "qn1peer", lease="ab")) == []
    assert owned(disk) == {"bob": (1, 0), "eve": (2, 0)}


def test_the_lists_go_on_after_a_start() -> None:
    disk, journal = Disk(), Journal()
    apply(disk, journal.accepted(entry(0, "eve"), b"spec"))
    own = OwnLists(owned(disk))
    apply(disk, own.job(entry(1, "eve")))
    apply(disk, own.event(entry(1, "eve"), "job", 5, dict(EVENT)))
    assert places(disk, own_jobs_of("eve")) == [0, 1] and owned(disk) == {"eve": (2, 1)}


def test_the_oldest_events_of_a_guest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_lists, "OWN_EVENTS_KEPT", 3)
    disk, own = Disk(), OwnLists()
    for at_ns in range(5):
        apply(disk, own.event(entry(0, "eve"), "job", at_ns, dict(EVENT)))
    folder = own_events_of("eve")
    assert [key for key, _ in disk.scan(folder, past(folder))] == [own_key(folder, place) for place in (2, 3, 4)]
    assert next_place(disk, folder) == 5


def test_a_home_of_form_1_gets_its_lists(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    pack = msgspec.msgpack.encode
    with Table(path, migrations=MIGRATIONS[:1]) as table:
        rows = [(job_key(number), pack(entry(number, who))) for number, who in enumerate(["eve", "home", "eve"])]
        for seq, who in enumerate(["home", "eve", "eve", None]):
            facts = {**EVENT, "principal": who} if who else {}
            event = NodeEvent(seq=seq, at_ns=seq, kind="job" if who else "started", facts=facts)
            rows.append((event_key(seq), pack(event)))
        table.apply(rows)
    with Table(path) as table:
        assert owned(table) == {"eve": (2, 2)}
        events = [
            msgspec.msgpack.decode(value, type=NodeEvent)
            for _, value in table.scan("own/eve/event/", past("own/eve/event/"))
        ]
        assert [(event.seq, event.at_ns) for event in events] == [(0, 1), (1, 2)]
        jobs = [msgspec.msgpack.decode(value) for _, value in table.scan("own/eve/job/", past("own/eve/job/"))]
        assert jobs == [0, 2]
    assert backup_path(path, 2).exists()


def test_a_damaged_job_stops_the_step_and_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    with Table(path, migrations=MIGRATIONS[:1]) as table:
        table.apply([(job_key(0), b"\xc1")])
    with pytest.raises(Exception, match="job/000000000000 is damaged"):
        Table(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone() == ("1",)
    connection.close()
