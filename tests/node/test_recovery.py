"""What a start reads from disk: open jobs whole, damage named. With `journal` and `keys`, which wrote it."""

from __future__ import annotations

import msgspec
import pytest
from tests.jobs.making import done, job
from tests.node.small_world import Disk

from qcommons.base.effects import Store
from qcommons.base.errors import Corrupt
from qcommons.jobs.records import Phase
from qcommons.node.journal import EVENTS_KEPT, Journal, spec_bytes
from qcommons.node.keys import event_key, job_key, number_of, past, phase_key, spec_key
from qcommons.node.records import Answered, Entry, Form, Spec
from qcommons.node.recovery import kept

ENTRY = Entry(
    number=3, id=job().id, principal="home", request="mine", state="running", cause="", since_ns=0, submitted_ns=0,
    deadline_ns=9, runs=2,
)  # fmt: skip


def a_running_job() -> Disk:
    disk, journal = Disk(), Journal()
    made = job(2)
    effects = journal.accepted(ENTRY, spec_bytes(Spec(made, Form((2,), True, False))))
    effects += journal.phases(ENTRY, [(0, Phase("accepted", "submitted", 1)), (1, Phase("running", "", 2))])
    effects += journal.ends(ENTRY, 0, ((1, done({"00": 1000})),))
    disk.apply([effect for effect in effects if isinstance(effect, Store)])
    return disk


def test_an_empty_disk_begins_at_zero() -> None:
    begin = kept(Disk(), clean=True)
    assert (begin.jobs, begin.next_number, begin.next_seq, begin.unsealed, begin.pause) == ((), 0, 0, (), None)


def test_an_open_job_comes_back_with_its_history_and_its_outcomes() -> None:
    begin = kept(a_running_job(), clean=False)
    (found,) = begin.jobs
    assert found.entry == ENTRY and found.spec == Spec(job(2), Form((2,), True, False))
    assert [phase.state for phase in found.history] == ["accepted", "running"]
    assert [index for index, _ in found.ends] == [1] and found.ends_kept == 1
    assert (begin.next_number, begin.next_seq, begin.events_from) == (4, 2, 0)


def test_an_ended_job_is_not_read_again_but_is_to_be_sealed() -> None:
    disk = a_running_job()
    answered = Answered(job_id=ENTRY.id, outcomes=(), phase=Phase("done", "", 3), submitted_ns=0)
    disk.apply([effect for effect in Journal().result(ENTRY, answered, 1) if isinstance(effect, Store)])
    begin = kept(disk, clean=True)
    assert begin.jobs == () and begin.unsealed == (3,) and not disk.scan("ends/", past("ends/"))
    disk.apply([effect for effect in Journal().sealed(3, b"signed") if isinstance(effect, Store)])
    assert kept(disk, clean=True).unsealed == ()


@pytest.mark.parametrize("key", [spec_key(3), job_key(3), phase_key(3, 1)])
def test_a_damaged_record_is_named(key: str) -> None:
    disk = a_running_job()
    disk.table[key] = b"\xc1"
    with pytest.raises(Corrupt) as caught:
        kept(disk, clean=True)
    assert caught.value.where == key


def test_a_missing_record_is_named() -> None:
    disk = a_running_job()
    del disk.table[spec_key(3)]
    with pytest.raises(Corrupt, match="missing"):
        kept(disk, clean=True)


def test_the_oldest_events_are_forgotten_and_numbers_go_on() -> None:
    journal = Journal(next_seq=EVENTS_KEPT, first_seq=0)
    stores = [effect for effect in journal.event("x", 0) if isinstance(effect, Store)]
    assert [(store.key, store.value is None) for store in stores] == [
        (event_key(EVENTS_KEPT), False),
        (event_key(0), True),
    ]
    assert journal.first_seq == 1 and journal.next_seq == EVENTS_KEPT + 1


def test_keys_of_a_kind_are_in_the_order_of_their_numbers() -> None:
    keys = [job_key(number) for number in (9, 10, 99, 100, 10**11)]
    assert keys == sorted(keys) and [number_of(key) for key in keys] == [9, 10, 99, 100, 10**11]
    assert all("job/" <= key < past("job/") for key in keys) and not "job/" <= "job0" < past("job/")


def test_what_is_stored_is_what_is_read() -> None:
    entry = msgspec.msgpack.decode(msgspec.msgpack.encode(ENTRY), type=Entry)
    assert entry == ENTRY
