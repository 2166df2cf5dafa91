"""The desk: principals take turns, suspended jobs come first among their own."""

from __future__ import annotations

import msgspec
from tests.jobs.making import job

from qcommons.jobs.machine import JobMachine
from qcommons.node.desk import Desk, Held
from qcommons.node.records import Entry, Form, Spec


def held(number: int, who: str = "home") -> Held:
    made = msgspec.structs.replace(job(1), id=f"job{number}", principal=who)
    entry = Entry(
        number=number, id=made.id, principal=who, state="accepted", cause="", since_ns=0, submitted_ns=0, deadline_ns=0,
        runs=1, size_bytes=10,
    )  # fmt: skip
    return Held(entry, JobMachine(made, 0), Spec(made, Form()))


def order(desk: Desk) -> list[str]:
    taken = []
    while (one := desk.next()) is not None:
        taken.append(one.entry.id)
    return taken


def test_principals_take_turns_each_in_order_of_acceptance() -> None:
    desk = Desk()
    for one in (held(0), held(1), held(2), held(3, "alice"), held(4, "alice"), held(5, "bob")):
        desk.put(one)
    assert desk.waiting == 6 and desk.waiting_bytes == 60
    assert order(desk) == ["job0", "job3", "job5", "job1", "job4", "job2"]
    assert desk.waiting == desk.waiting_bytes == 0 and len(desk.running) == 6


def test_ahead_counts_the_turns_of_others() -> None:
    desk = Desk()
    last = held(2)
    for one in (held(0), held(1), last, held(3, "alice")):
        desk.put(one)
    assert desk.ahead(last) == 3


def test_a_suspended_job_goes_before_the_others_of_its_principal() -> None:
    desk = Desk()
    first = held(0)
    desk.put(first)
    desk.put(held(1))
    assert desk.next() is first and not desk.waits("job0")
    desk.put(first, front=True)
    assert desk.waits("job0") and order(desk) == ["job0", "job1"]


def test_what_has_ended_is_gone_wherever_it_was() -> None:
    desk = Desk()
    running, waiting = held(0), held(1)
    desk.put(running)
    desk.put(waiting)
    desk.next()
    desk.drop(running)
    desk.drop(waiting)
    assert not desk.held and not desk.running and desk.waiting == desk.waiting_bytes == 0 and desk.next() is None
