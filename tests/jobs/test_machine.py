"""The job machine, as conversations."""

from __future__ import annotations

import pytest
from tests.jobs.making import JOB_ID, done, job
from tests.playbook import at, play

from qcommons.base.effects import Effect, Run, Send, Stop, WakeAt, Woken
from qcommons.jobs.machine import (
    CancelAsked,
    Doubted,
    ItemsEnded,
    JobEnded,
    JobMachine,
    Overfull,
    PieceEnded,
    Submitted,
    SuspendAsked,
    verdict_of,
)
from qcommons.jobs.outcomes import (
    Cancelled,
    Crashed,
    Done,
    EngineFault,
    Killed,
    Misused,
    NotStarted,
    OutOfMemory,
    PastDeadline,
    Refused,
    TooLarge,
)  # fmt: skip
from qcommons.jobs.records import Phase, Piece

FIRST, SECOND, THIRD = (f"{JOB_ID}.{number}" for number in range(3))
DEADLINE = WakeAt(10_000_000_000, JOB_ID)
OK = done({"00": 1000})


def runs(piece_id: str, *indices: int, tries: int = 0):
    def matches(effect: Effect) -> bool:
        return (
            isinstance(effect, Run)
            and effect.piece_id == piece_id
            and isinstance(effect.piece, Piece)
            and tuple(item.index for item in effect.piece.items) == indices
            and effect.piece.tries == tries
        )

    return matches


def ended(state: str, *kinds: type):
    def matches(effect: Effect) -> bool:
        return (
            isinstance(effect, Send)
            and isinstance(effect.message, JobEnded)
            and effect.message.phase.state == state
            and tuple(map(type, effect.message.outcomes)) == kinds
        )

    return matches


def states(machine: JobMachine) -> list[str]:
    return [phase.state for phase in machine.history]


def test_a_job_goes_from_accepted_to_done_and_every_phase_has_cause_and_since() -> None:
    machine = JobMachine(job(2), now_ns=5)
    assert (
        play(machine, 5)
        >> at(10) >> Submitted(2) << WakeAt(10_000_000_005, JOB_ID) << runs(FIRST, 0, 1)
        >> at(20) >> ItemsEnded(FIRST, ((0, OK),))
        >> at(30) >> ItemsEnded(FIRST, ((1, OK),)) << ended("done", Done, Done)
        >> PieceEnded(FIRST)
    )  # fmt: skip
    assert states(machine) == ["accepted", "planned", "running", "assembling", "done"]
    assert [phase.since_ns for phase in machine.history] == [5, 10, 10, 30, 30]
    assert all(phase.cause for phase in machine.history)


def test_a_worker_that_died_under_several_items_runs_each_unfinished_one_alone() -> None:
    machine = JobMachine(job(4), 0)
    crash = Crashed(11, 0)
    assert (
        play(machine)
        >> Submitted(1) << DEADLINE << runs(FIRST, 0, 1, 2, 3)
        >> ItemsEnded(FIRST, ((0, OK), (1, OK)))
        >> PieceEnded(FIRST, crash) << runs(SECOND, 2) << runs(THIRD, 3)
        >> PieceEnded(SECOND, crash)
        >> ItemsEnded(THIRD, ((3, OK),)) << ended("failed", Done, Done, Crashed, Done)
    )  # fmt: skip
    assert "1 of 4" in machine.phase.cause


def test_a_worker_killed_from_outside_is_replaced_once_then_the_item_fails() -> None:
    killed = Killed(9)
    assert (
        play(JobMachine(job(), 0))
        >> Submitted(1) << DEADLINE << runs(FIRST, 0)
        >> PieceEnded(FIRST, killed) << runs(SECOND, 0, tries=1)
        >> PieceEnded(SECOND, killed) << ended("failed", Killed)
    )  # fmt: skip
    assert (
        play(JobMachine(job(), 0))
        >> Submitted(1) << DEADLINE << runs(FIRST, 0)
        >> PieceEnded(FIRST, killed) << runs(SECOND, 0, tries=1)
        >> ItemsEnded(SECOND, ((0, OK),)) << ended("done", Done)
    )  # fmt: skip


@pytest.mark.parametrize("death", [Crashed(11, 0), OutOfMemory(1), Killed(9, oom_kills=1), NotStarted("no")])
def test_a_death_that_is_the_items_own_fault_is_not_tried_again(death: object) -> None:
    assert (
        play(JobMachine(job(), 0))
        >> Submitted(1) << DEADLINE << runs(FIRST, 0)
        >> PieceEnded(FIRST, death) << ended("failed", type(death))
    )  # fmt: skip


def test_answers_that_take_all_room_stop_what_is_open() -> None:
    assert (
        play(JobMachine(job(2), 0))
        >> Submitted(2) << DEADLINE << runs(FIRST, 0, 1)
        >> ItemsEnded(FIRST, ((0, OK),))
        >> Overfull(1 << 20) << Stop(FIRST) << ended("failed", Done, TooLarge)
    )  # fmt: skip


def test_the_deadline_stops_open_pieces_and_keeps_what_was_answered() -> None:
    machine = JobMachine(job(2), 0)
    assert (
        play(machine)
        >> Submitted(2) << DEADLINE << runs(FIRST, 0, 1)
        >> ItemsEnded(FIRST, ((0, OK),))
        >> at(DEADLINE.at_ns) >> Woken(JOB_ID) << Stop(FIRST) << ended("failed", Done, PastDeadline)
        >> PieceEnded(FIRST, Cancelled("stopped by its job"))
    )  # fmt: skip
    assert machine.phase.since_ns == DEADLINE.at_ns


def test_cancelling_stops_open_pieces_and_later_events_are_ignored() -> None:
    assert (
        play(JobMachine(job(1), 0))
        >> Submitted(2) << DEADLINE << runs(FIRST, 0)
        >> CancelAsked("asked") << Stop(FIRST) << ended("cancelled", Cancelled)
        >> ItemsEnded(FIRST, ((0, OK),))
        >> Woken(JOB_ID)
        >> CancelAsked("again")
    )  # fmt: skip


def test_a_job_may_be_cancelled_before_it_is_submitted() -> None:
    assert play(JobMachine(job(1), 0)) >> CancelAsked("asked") << ended("cancelled", Cancelled)


@pytest.mark.parametrize(
    ("outcomes", "state"),
    [
        ((OK, Refused("too large")), "refused"),
        ((Refused("too large"), EngineFault("x")), "failed"),
        ((OK, OK), "done"),
    ],
)
def test_the_gravest_item_names_the_end_of_the_job(outcomes: tuple, state: str) -> None:
    machine = JobMachine(job(2), 0)
    machine.handle(Submitted(1), 0)
    machine.handle(ItemsEnded(FIRST, tuple(enumerate(outcomes))), 0)
    assert machine.phase.state == state


def test_an_outcome_once_kept_is_not_overwritten_by_a_late_copy() -> None:
    machine = JobMachine(job(2), 0)
    machine.handle(Submitted(1), 0)
    machine.handle(ItemsEnded(FIRST, ((0, OK), (0, EngineFault("late")))), 0)
    assert machine.outcomes[0] is OK
    assert machine.left == 1


def test_a_job_whose_programs_all_failed_to_parse_ends_without_running_anything() -> None:
    import msgspec

    settled = msgspec.structs.replace(job(1), settled={0: Refused("bad")})
    assert play(JobMachine(settled, 0)) >> Submitted(2) << ended("refused", Refused)


def test_a_piece_that_went_through_without_all_its_answers_is_our_own_fault() -> None:
    machine = JobMachine(job(2), 0)
    machine.handle(Submitted(1), 0)
    machine.handle(PieceEnded(FIRST), 0)
    assert machine.outcomes == [EngineFault("the worker answered 0 of 2 runs")] * 2
    assert machine.phase.state == "failed"


def test_a_suspended_job_gives_its_pieces_back_and_runs_only_the_rest_later() -> None:
    machine = JobMachine(job(2), 0)
    assert (
        play(machine)
        >> Submitted(1) << DEADLINE << runs(FIRST, 0, 1)
        >> ItemsEnded(FIRST, ((0, OK),))
        >> at(7) >> SuspendAsked("paused by home") << Stop(FIRST)
        >> ItemsEnded(FIRST, ((1, OK),))  # came too late
        >> at(9) >> Submitted(1) << DEADLINE << runs(SECOND, 1)
        >> ItemsEnded(SECOND, ((1, OK),)) << ended("done", Done, Done)
    )  # fmt: skip
    assert states(machine) == ["accepted", "planned", "running", "accepted", "planned", "running", "assembling", "done"]
    assert machine.history[3].cause == "paused by home"


def test_a_machine_made_from_what_was_kept_runs_what_has_no_outcome() -> None:
    history = (Phase("accepted", "submitted", 3), Phase("accepted", "the node was started again", 50))
    machine = JobMachine(job(3), 60, history, {1: OK})
    assert (
        play(machine, 60)
        >> Submitted(1) << WakeAt(10_000_000_003, JOB_ID) << runs(FIRST, 0, 2)
        >> ItemsEnded(FIRST, ((0, OK), (2, OK))) << ended("done", Done, Done, Done)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("outcomes", "cause"),
    [
        ((Refused("needs 4.1 TiB; limit 1 GiB"),), "needs 4.1 TiB; limit 1 GiB"),
        ((Misused("no such gate", "a.qasm:1:2"),), "a.qasm:1:2: no such gate"),
        ((Cancelled("cancelled by its owner"),), "cancelled by its owner"),
        ((OK, Refused("too large"), Refused("larger")), "2 of 3 runs refused, the first: too large"),
        ((Refused("x" * 500),), "x" * 157 + "..."),
    ],
)
def test_the_end_says_why_the_first_run_was_not_answered(outcomes: tuple, cause: str) -> None:
    assert verdict_of(outcomes)[1] == cause


def test_doubted_outcomes_are_forgotten_and_run_again() -> None:
    machine = JobMachine(job(3), 0)
    assert (
        play(machine)
        >> Submitted(1) << DEADLINE << runs(FIRST, 0, 1, 2)
        >> ItemsEnded(FIRST, ((0, OK), (1, OK)))
        >> Doubted(JOB_ID, (0, 2), "its peer lied") << runs(SECOND, 0)  # run 2 has no outcome that could be doubted
        >> ItemsEnded(FIRST, ((2, OK),))
        >> PieceEnded(FIRST)  # it no longer answers for run 0
        >> ItemsEnded(SECOND, ((0, OK),)) << ended("done", Done, Done, Done)
        >> Doubted(JOB_ID, (0,), "too late")
    )  # fmt: skip


def test_what_is_doubted_while_suspended_runs_with_the_rest() -> None:
    machine = JobMachine(job(2), 0)
    assert (
        play(machine)
        >> Submitted(1) << DEADLINE << runs(FIRST, 0, 1)
        >> ItemsEnded(FIRST, ((0, OK),))
        >> SuspendAsked("paused") << Stop(FIRST)
        >> Doubted(JOB_ID, (0,), "its peer lied")
        >> Submitted(1) << DEADLINE << runs(SECOND, 0, 1)
        >> ItemsEnded(SECOND, ((0, OK), (1, OK))) << ended("done", Done, Done)
    )  # fmt: skip
