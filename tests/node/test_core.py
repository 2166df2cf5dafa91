"""The node's core under a virtual clock: what is acknowledged is kept, whatever happens."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.jobs.making import done
from tests.jobs.making import job as make_job
from tests.node.small_world import ANY_TIME, Crash, Disk, S, SmallWorld

from qcommons.base.effects import Run, Send, Woken
from qcommons.base.errors import Corrupt
from qcommons.base.ids import job_id
from qcommons.base.seeds import stream
from qcommons.jobs.outcomes import Done, Killed, TooLarge
from qcommons.jobs.records import Job, Phase
from qcommons.node import answered as answers
from qcommons.node import core
from qcommons.node.core import CRASHES_MAX, NodeCore
from qcommons.node.dealing import SELF
from qcommons.node.keys import job_key, past, result_key
from qcommons.node.messages import (
    CancelJob,
    Drain,
    Drained,
    Kept,
    LimitsSet,
    PauseAsked,
    PolicySet,
    Refusal,
    ResumeAsked,
    Seal,
    Sensed,
    Submit,
    Taken,
)
from qcommons.node.owner import OwnerLimits, Pause, Policy, Sense
from qcommons.node.records import Answered, Entry, Form


def a_job(number: int, runs: int = 1, principal: str = "home", deadline_s: float = 1000.0) -> Job:
    made = make_job(runs, deadline_s=deadline_s)
    return msgspec.structs.replace(made, id=job_id(b"%016d" % number), principal=principal)


def submit(number: int, runs: int = 1, **fields: Any) -> Submit:
    made = a_job(number, runs, fields.pop("principal", "home"), fields.pop("deadline_s", 1000.0))
    return Submit(ticket=f"t{number}", job=made, form=Form(), **fields)


def entry(disk: Disk, number: int) -> Entry:
    return msgspec.msgpack.decode(disk.table[job_key(number)], type=Entry)


def answered(disk: Disk, number: int) -> Answered:
    return msgspec.msgpack.decode(disk.table[result_key(number)], type=Answered)


def timeline(disk: Disk, number: int) -> list[tuple[str, str]]:
    folder = f"phase/{number:012d}/"
    phases = [msgspec.msgpack.decode(value, type=Phase) for _, value in disk.scan(folder, past(folder))]
    return [(phase.state, phase.cause) for phase in phases]


def test_what_is_signed_has_passed_the_disk_first() -> None:
    """The timer may fire just after a job ended, whose result is on its way to the disk: an event for the core itself
    comes once what stands before it lies there."""
    world = SmallWorld(Disk())
    world.give(submit(0))
    while result_key(0) not in world.disk.table:
        world.run(world.now_ns + S // 100)
    (leaving,) = world.core.handle(Woken(core.SEAL), world.now_ns)
    assert isinstance(leaving, Send) and leaving.to == SELF
    (seal,) = world.core.handle(leaving.message, world.now_ns)
    assert isinstance(seal, Run) and seal.piece == Seal((0,))
    assert world.core.handle(Woken(core.SEAL), world.now_ns) == [], "once"


def test_a_job_is_on_disk_before_it_is_acknowledged_and_ends_with_one_result_and_a_receipt() -> None:
    world = SmallWorld(Disk())
    effects = world.give(submit(0, runs=3))
    kinds = [type(effect).__name__ for effect in effects]
    assert kinds.index("Send") > max(place for place, kind in enumerate(kinds) if kind == "Store")
    (taken,) = world.answers("t0")
    assert isinstance(taken, Taken) and taken.entry.state == "running"
    world.run()
    assert entry(world.disk, 0).state == "done" and len(answered(world.disk, 0).outcomes) == 3
    assert world.disk.table["receipt/000000000000"] == b"signed"
    assert not world.disk.scan("open/", past("open/")) and not world.disk.scan("ends/", past("ends/"))
    assert [state for state, _ in timeline(world.disk, 0)] == ["accepted", "planned", "running", "assembling", "done"]


def test_the_same_request_makes_one_job_even_before_the_first_is_on_disk() -> None:
    world = SmallWorld(Disk())
    world.give(submit(0, request="mine"))
    world.give(submit(1, request="mine"))
    first, again = world.answers("t0")[0], world.answers("t1")[0]
    assert again.again and again.entry.id == first.entry.id
    world.give(submit(2, request="mine", principal="other"))
    assert not world.answers("t2")[0].again
    world.run()
    assert len(world.disk.scan("result/", past("result/"))) == 2


def test_principals_take_turns() -> None:
    world = SmallWorld(Disk(), workers=1)
    for number in range(8):
        world.give(submit(number))
    world.give(submit(8, principal="guest"))
    world.run()
    ended = sorted((entry(world.disk, number).ended_ns, number) for number in range(9))
    assert [number for _, number in ended].index(8) <= 4  # two run, the one of the guest is among the next


def test_pause_suspends_what_runs_and_resume_starts_it_again_with_the_runs_it_had() -> None:
    world = SmallWorld(Disk(), take_ns=lambda piece: 10 * S * len(piece.items))
    world.give(submit(0, runs=4))
    world.run(until_ns=25 * S)
    world.give(PauseAsked("p", Pause(world.now_ns, None, False, "home")))
    assert not world.busy and world.answers("p") == [Kept()]
    assert entry(world.disk, 0).state == "accepted" and "paused" in entry(world.disk, 0).cause
    world.run(until_ns=500 * S)
    assert entry(world.disk, 0).state == "accepted"
    before = len(world.ran)
    world.give(ResumeAsked("r", "home"))
    again = {item for _, item in world.ran[before:]}
    assert again and not again & {item for _, item in world.ran[:before]}, "new pieces have new names"
    world.run()
    assert entry(world.disk, 0).state == "done" and world.disk.writes[result_key(0)] == 1


def test_pause_with_finish_lets_running_jobs_end_and_starts_no_other() -> None:
    world = SmallWorld(Disk(), workers=1)
    for number in range(4):
        world.give(submit(number))
    world.give(PauseAsked("", Pause(0, 100 * S, True, "home")))
    world.run(until_ns=50 * S)
    assert [entry(world.disk, number).state for number in range(4)] == ["done", "done", "accepted", "accepted"]
    world.run()
    assert entry(world.disk, 3).state == "done" and entry(world.disk, 3).ended_ns > 100 * S, "it ends by itself"


def test_a_pause_outlives_a_crash() -> None:
    disk = Disk()
    SmallWorld(disk).give(PauseAsked("", Pause(0, 200 * S, False, "home")))
    world = SmallWorld(disk, now_ns=10 * S)
    world.give(submit(0))
    world.run(until_ns=199 * S)
    assert entry(disk, 0).state == "accepted"
    world.run()
    assert entry(disk, 0).state == "done"


def test_closed_hours_hold_jobs_back_until_they_open() -> None:
    noon = Sense(minute_of_week=12 * 60)
    world = SmallWorld(Disk(), limits=OwnerLimits(hours="18:00-08:00"), sense=noon)
    world.give(submit(0))
    world.run(until_ns=10 * S)
    assert entry(world.disk, 0).state == "accepted" and not world.ran
    world.give(Sensed(Sense(minute_of_week=18 * 60)))
    world.run()
    assert entry(world.disk, 0).state == "done"


def test_a_restart_outside_the_hours_starts_nothing_that_was_kept() -> None:
    """The sensors look before what was kept is taken up."""
    disk, limits, noon = Disk(), OwnerLimits(hours="18:00-08:00"), Sense(minute_of_week=12 * 60)
    SmallWorld(disk, limits=limits, sense=noon).give(submit(0))
    world = SmallWorld(disk, now_ns=S, limits=limits, sense=noon)
    world.run(until_ns=10 * S)
    assert entry(disk, 0).state == "accepted" and not world.ran


def test_limits_and_policy_refuse_with_numbers_and_keep_nothing() -> None:
    world = SmallWorld(Disk())
    before = dict(world.disk.table)
    world.give(LimitsSet(OwnerLimits(qubits_max=1)))
    world.give(submit(0))
    (refusal,) = world.answers("t0")
    assert isinstance(refusal, Refusal) and "2 qubits" in refusal.what and refusal.limit == "1 qubits"
    world.give(LimitsSet(OwnerLimits()))
    assert world.disk.table == before
    world.give(PolicySet("", Policy(deny=("tag:mining",))))
    world.give(submit(1, tags=("mining",)))
    assert isinstance(world.answers("t1")[0], Refusal)
    again = SmallWorld(world.disk)
    again.give(submit(2, tags=("mining",)))
    assert isinstance(again.answers("t2")[0], Refusal), "the policy outlives the node"


def test_a_waiting_job_can_be_cancelled_and_passes_its_deadline_where_it_waits() -> None:
    world = SmallWorld(Disk())
    world.give(PauseAsked("", Pause(0, None, False, "home")))
    world.give(submit(0))
    world.give(submit(1, deadline_s=5.0))
    world.give(CancelJob("c", a_job(0).id, "no longer needed"))
    assert world.answers("c") == [Kept()] and entry(world.disk, 0).state == "cancelled"
    world.run(until_ns=10 * S)
    assert entry(world.disk, 1).state == "failed" and "within the deadline" in entry(world.disk, 1).cause


def test_draining_ends_when_nothing_runs_and_suspends_what_is_late() -> None:
    world = SmallWorld(Disk(), take_ns=lambda piece: 100 * S)
    world.give(submit(0))
    world.give(Drain(world.now_ns + 30 * S))
    world.give(submit(1))
    assert isinstance(world.answers("t1")[0], Refusal)
    assert world.answers("shell") == []
    world.run(until_ns=40 * S)
    assert world.answers("shell") == [Drained()]
    assert entry(world.disk, 0).state == "accepted"
    again = SmallWorld(world.disk, now_ns=50 * S).run()
    assert entry(again.disk, 0).state == "done"


def test_a_job_that_runs_at_every_crash_of_the_node_is_given_up() -> None:
    disk = Disk()
    SmallWorld(disk, take_ns=lambda piece: 1000 * S).give(submit(0))
    for restart in range(CRASHES_MAX):
        SmallWorld(disk, now_ns=restart * S, take_ns=lambda piece: 1000 * S)
    assert entry(disk, 0).state == "cancelled" and f"{CRASHES_MAX} times" in str(answered(disk, 0))


def test_nothing_is_handled_before_what_was_kept_is_known() -> None:
    with pytest.raises(Corrupt):
        NodeCore(1, OwnerLimits(), ANY_TIME).handle(Drain(0), 0)


# Crashes at every step of a busy half minute.


def busy(world: SmallWorld, seed: int) -> None:
    """Jobs of one to six runs, two principals, a pause, a cancelled one, repeated requests."""
    rng = stream(seed, "busy")
    for number in range(6):
        who = ("home", "guest")[int(rng.integers(2))]
        runs = int(rng.integers(1, 7))
        event = submit(number, runs, principal=who, request=f"r{number}")
        world.at(int(rng.integers(0, 10)) * S, event)
        world.at(int(rng.integers(10, 20)) * S, msgspec.structs.replace(event, ticket=f"again{number}"))
    world.at(4 * S, PauseAsked("p", Pause(4 * S, 7 * S, False, "home")))
    world.at(8 * S, CancelJob("c", a_job(2).id, "asked"))


def to_the_end(seed: int, crash_at: int | None) -> tuple[Disk, list[Send], bool]:
    """The scenario, with a crash and a restart on the same disk if `crash_at` is reached."""
    disk, sent = Disk(), []
    pace = lambda piece: S // 2 * len(piece.items)  # noqa: E731
    crashed = False
    world = None
    try:
        world = SmallWorld(disk, crash_at=crash_at, take_ns=pace)
        busy(world, seed)
        world.run(until_ns=30 * S)
    except Crash:
        crashed = True
    now_ns = 0 if world is None else world.now_ns
    sent += [] if world is None else [send for _, send in world.sent]
    if crashed:
        try:  # and once more soon after, where it hurts: while the first crash is being repaired
            again = int(stream(seed, "again", crash_at or 0).integers(40))
            world = SmallWorld(disk, now_ns=now_ns + S, take_ns=pace, crash_at=again)
            world.run(until_ns=30 * S)
        except Crash:
            world = SmallWorld(disk, now_ns=now_ns + 40 * S, take_ns=pace)
    assert world is not None
    world.crash_at = None
    world.run()
    return disk, sent, crashed


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_after_a_crash_at_any_step_every_acknowledged_job_ends_with_exactly_one_result(seed: int) -> None:
    step, crashed = 0, True
    while crashed:
        disk, sent, crashed = to_the_end(seed, step)
        acknowledged = {send.message.entry.number for send in sent if isinstance(send.message, Taken)}
        entries = [msgspec.msgpack.decode(value, type=Entry) for _, value in disk.scan("job/", past("job/"))]
        assert acknowledged <= {one.number for one in entries}, f"step {step}: an acknowledged job is lost"
        for one in entries:
            assert one.state in ("done", "cancelled"), f"step {step}: {one}"
            assert disk.writes[result_key(one.number)] == 1, f"step {step}: not one result: {one}"
            assert len(answered(disk, one.number).outcomes) == one.runs
            assert f"receipt/{one.number:012d}" in disk.table
        ids = [one.id for one in entries]
        assert len(ids) == len(set(ids)), f"step {step}: a repeated request made a second job"
        assert not disk.scan("open/", past("open/")) and not disk.scan("ends/", past("ends/"))
        seqs = [int(key.split("/")[1]) for key, _ in disk.scan("event/", past("event/"))]
        assert seqs == list(range(len(seqs))), "events have no gap"
        step += 1
    assert step > 60, "the scenario is long enough to mean something"


def test_a_worker_killed_from_outside_is_given_its_piece_again() -> None:
    world = SmallWorld(Disk(), outcome=lambda index: Killed(9))
    world.give(submit(0))
    world.run()
    assert entry(world.disk, 0).state == "failed"  # an outcome that came is an outcome


def test_guests_that_fill_their_part_of_the_queue_leave_room_for_each_other_and_for_the_owner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("qcommons.node.desk.WAITING_MAX", 16)
    world = SmallWorld(Disk())
    world.give(PauseAsked("p", Pause(0, None, False, "home")))
    taken: dict[str, int] = {}
    for number in range(40):
        who = ("greedy", "other", "third", "fourth", "fifth")[number // 8]
        world.give(submit(number, principal=who))
        (answer,) = world.answers(f"t{number}")
        taken[who] = taken.get(who, 0) + isinstance(answer, Taken)
    assert taken == {"greedy": 2, "other": 2, "third": 2, "fourth": 2, "fifth": 0}
    assert isinstance(answer, Refusal) and "guests' half" in answer.what and answer.where == "queue"
    for number in range(40, 50):
        world.give(submit(number))
    assert [isinstance(world.answers(f"t{number}")[0], Taken) for number in range(40, 50)] == [True] * 8 + [False] * 2


def test_a_sweep_whose_answers_are_more_than_is_kept_is_stopped_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """What came before is kept; what runs is stopped, since nobody could have its answer."""
    one = len(msgspec.msgpack.encode(done({"00": 1000})))
    monkeypatch.setattr(core, "ANSWER_BYTES_MAX", 8 * one)
    world = SmallWorld(Disk(), take_ns=lambda piece: S * len(piece.items))
    world.give(submit(0, runs=40))
    world.run()
    ended, outcomes = entry(world.disk, 0), answered(world.disk, 0).outcomes
    kept = [outcome for outcome in outcomes if isinstance(outcome, Done)]
    assert ended.state == "failed" and "what a node keeps of one job" in ended.cause
    assert 0 < len(kept) < 40 and outcomes.count(TooLarge(8 * one)) == 40 - len(kept)
    assert not world.core.desk.held and not world.busy


@pytest.mark.parametrize("runs", [1, 3])
def test_a_result_that_the_store_would_not_take_is_a_failed_job(runs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fits in the order of the runs is kept; no record that is written is larger than the store takes."""
    monkeypatch.setattr(core, "RECORD_BYTES_MAX", 3000)
    monkeypatch.setattr(answers, "ANSWER_BYTES_MAX", 2500)
    small, large = done({"00": 1000}), done({format(bits, "09b"): 1 for bits in range(512)})
    world = SmallWorld(Disk(), workers=1, outcome=lambda index: small if index else large)
    world.give(submit(0, runs=runs))
    world.run()
    outcomes = answered(world.disk, 0).outcomes
    assert outcomes == (TooLarge(2500), *(small,) * (runs - 1))
    assert entry(world.disk, 0).state == answered(world.disk, 0).phase.state == "failed"
    assert timeline(world.disk, 0)[-1][0] == "failed"
    assert world.disk.table["receipt/000000000000"] == b"signed"


def test_a_job_that_is_too_large_to_be_kept_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "RECORD_BYTES_MAX", 1000)
    world = SmallWorld(Disk())
    world.give(submit(0, runs=100))
    (refused,) = world.answers("t0")
    assert isinstance(refused, Refusal) and refused.who == "resources" and "allowed 1000 bytes" in refused.what
    assert not world.disk.scan("job/", past("job/"))
