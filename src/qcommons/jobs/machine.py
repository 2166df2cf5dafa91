"""One job from acceptance to its end: every event in every state, nothing else.

Flow: edge -> Job -> *JobMachine* -> Run(piece) -> workers -> ItemsEnded, PieceEnded -> JobEnded.

    accepted --Submitted--> planned -> running --last item ended--> assembling -> done
        any of these -> failed | refused | cancelled, by the outcomes of the items

    event        answer
    Submitted    plan; Run every piece; WakeAt the deadline
    ItemsEnded   keep the outcomes
    PieceEnded   finished: nothing more. Died: what was unfinished runs again alone, once more if the
                 worker was killed from outside; an item that kills its worker when alone is guilty
    Woken        past the deadline: Stop every open piece, unfinished items are PastDeadline
    CancelAsked  Stop every open piece, unfinished items are Cancelled
    Overfull     Stop every open piece, unfinished items are TooLarge
    SuspendAsked Stop every open piece; back to accepted, with the outcomes so far: `Submitted` starts the rest
    Doubted      forget the outcomes of these runs; Run them again, where the job runs

A machine can also be made from what was kept of one (`history`, `outcomes`), as after a crash: it is accepted then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from qcommons.base.clock import deadline_ns
from qcommons.base.effects import Effect, Run, Send, Stop, WakeAt, Woken, note
from qcommons.base.ids import piece_number
from qcommons.engines.select import plural
from qcommons.jobs.outcomes import (
    WORKER_DEATHS,
    Cancelled,
    EngineFault,
    Killed,
    Misused,
    Outcome,
    PastDeadline,
    TooLarge,
    error_of,
    status_of,
)
from qcommons.jobs.plan.pieces import alone, plan
from qcommons.jobs.records import Item, Job, Phase, Piece

__all__ = [
    "ENDS", "CancelAsked", "Doubted", "Event", "ItemsEnded", "JobEnded", "JobMachine", "Overfull", "PieceEnded",
    "Submitted", "SuspendAsked", "verdict_of",
]  # fmt: skip

REASON_CHARS = 160  # of the cause of a phase, which is kept and told many times
KILLED_TRIES = 2  # a worker killed from outside is no fault of the piece: once more, then give up
ENDS = frozenset({"done", "failed", "refused", "cancelled"})


class Submitted(msgspec.Struct, frozen=True):
    """Start; `workers` is how many the pool has, for planning."""

    workers: int


class ItemsEnded(msgspec.Struct, frozen=True):
    """Some items of a piece have their outcomes: (index of the point in the job, outcome)."""

    piece_id: str
    ends: tuple[tuple[int, Outcome], ...]


class PieceEnded(msgspec.Struct, frozen=True):
    """The worker call is over: `death` None when it went through, else what ended it."""

    piece_id: str
    death: Outcome | None = None


class CancelAsked(msgspec.Struct, frozen=True):
    cause: str


class Overfull(msgspec.Struct, frozen=True):
    """The answers so far take all that is kept of one job: no more are wanted."""

    limit_bytes: int


class SuspendAsked(msgspec.Struct, frozen=True):
    """Give the workers back for now; `cause` says who or what wants that."""

    cause: str


class Doubted(msgspec.Struct, frozen=True):
    """Outcomes that came before are not to be used: who gave them was proved to lie since. runs: indices of points."""

    job_id: str
    runs: tuple[int, ...]
    why: str


Event = Submitted | ItemsEnded | PieceEnded | CancelAsked | Overfull | SuspendAsked | Doubted | Woken


class JobEnded(msgspec.Struct, frozen=True):
    """Sent to the job's principal: one outcome a point, in order, and the last phase."""

    job_id: str
    outcomes: tuple[Outcome, ...]
    phase: Phase


class JobMachine:
    """One job. `history` holds every phase; `left` the number of points without outcome."""

    def __init__(
        self, job: Job, now_ns: int, history: Sequence[Phase] = (), outcomes: Mapping[int, Outcome] | None = None
    ) -> None:
        """history, outcomes: what was kept of an earlier machine of this job; the last phase is accepted."""
        self.job = job
        known = job.settled | dict(outcomes or {})
        self.outcomes: list[Outcome | None] = [known.get(index) for index in range(len(job.points))]
        self.left = self.outcomes.count(None)
        self.history = list(history) or [Phase("accepted", "submitted", now_ns)]
        self._open: dict[str, Piece] = {}
        self._pieces = 0

    @property
    def phase(self) -> Phase:
        return self.history[-1]

    @property
    def ended(self) -> bool:
        return self.phase.state in ENDS

    def handle(self, event: Event, now_ns: int) -> list[Effect]:
        if self.ended:
            return [note("job_event_ignored", job=self.job.id, event=type(event).__name__)]
        match event:
            case Submitted(workers):
                return self._start(workers, now_ns)
            case ItemsEnded(piece_id, ends):
                return self._keep(piece_id, ends, now_ns)
            case PieceEnded(piece_id, death):
                return self._piece_ended(piece_id, death, now_ns)
            case CancelAsked(cause):
                return self._abandon(Cancelled(cause), now_ns)
            case Overfull(limit_bytes):
                return self._abandon(TooLarge(limit_bytes), now_ns)
            case SuspendAsked(cause):
                return self._suspend(cause, now_ns)
            case Doubted(_, runs, why):
                return self._doubt(runs, why)
            case Woken():
                return self._abandon(PastDeadline(self.job.deadline_s), now_ns)

    def _start(self, workers: int, now_ns: int) -> list[Effect]:
        if self.phase.state != "accepted":
            return [note("job_event_ignored", job=self.job.id, event="Submitted")]
        known = {index for index, outcome in enumerate(self.outcomes) if outcome is not None}
        pieces = plan(self.job, workers, known, self._pieces)
        effects = [self._enter("planned", f"{plural(self.left, 'run')} in {plural(len(pieces), 'piece')}", now_ns)]
        if not pieces:
            return effects + self._finish(now_ns)
        effects.append(self._enter("running", "pieces handed to the workers", now_ns))
        effects.append(WakeAt(deadline_ns(self.history[0].since_ns, self.job.deadline_s), self.job.id))
        return effects + self._run(pieces)

    def _run(self, pieces: list[Piece]) -> list[Effect]:
        self._open.update((piece.id, piece) for piece in pieces)
        self._pieces = max([self._pieces, *(piece_number(piece.id) + 1 for piece in pieces)])
        return [Run(piece.id, piece) for piece in pieces]

    def _keep(self, piece_id: str, ends: tuple[tuple[int, Outcome], ...], now_ns: int) -> list[Effect]:
        if piece_id not in self._open:
            return [note("job_event_ignored", job=self.job.id, event="ItemsEnded", piece=piece_id)]
        for index, outcome in ends:
            if self.outcomes[index] is None:
                self.outcomes[index] = outcome
                self.left -= 1
        return [] if self.left else self._finish(now_ns)

    def _piece_ended(self, piece_id: str, death: Outcome | None, now_ns: int) -> list[Effect]:
        piece = self._open.pop(piece_id, None)
        if piece is None:
            return [note("job_event_ignored", job=self.job.id, event="PieceEnded", piece=piece_id)]
        items = [item for item in piece.items if self.outcomes[item.index] is None]
        if not items:
            return []
        if death is None:
            death = EngineFault(f"the worker answered {len(piece.items) - len(items)} of {len(piece.items)} runs")
        return self._after_death(piece, items, death, now_ns)

    def _after_death(self, piece: Piece, items: list[Item], death: Outcome, now_ns: int) -> list[Effect]:
        said = note("worker_died", job=self.job.id, piece=piece.id, how=type(death).__name__, unfinished=len(items))
        if isinstance(death, WORKER_DEATHS) and len(items) > 1:
            return [said, *self._run(alone(self.job, piece, items, self._pieces))]
        if isinstance(death, Killed) and not death.oom_kills and piece.tries + 1 < KILLED_TRIES:
            again = alone(self.job, msgspec.structs.replace(piece, tries=piece.tries + 1), items, self._pieces)
            return [said, *self._run(again)]
        for item in items:
            self.outcomes[item.index] = death
        self.left -= len(items)
        return [said] if self.left else [said, *self._finish(now_ns)]

    def _doubt(self, runs: tuple[int, ...], why: str) -> list[Effect]:
        again = [run for run in runs if self.outcomes[run] is not None and run not in self.job.settled]
        if not again:
            return [note("job_event_ignored", job=self.job.id, event="Doubted")]
        for run in again:
            self.outcomes[run] = None
        self.left += len(again)
        doubted = set(again)
        for piece_id, piece in self._open.items():  # an open piece no longer answers for them
            if any(item.index in doubted for item in piece.items):
                items = tuple(item for item in piece.items if item.index not in doubted)
                self._open[piece_id] = msgspec.structs.replace(piece, items=items)
        said = note("job_doubted", job=self.job.id, runs=len(again), why=why)
        if self.phase.state != "running":  # suspended: what is left starts with the rest
            return [said]
        known = set(range(len(self.outcomes))).difference(again)
        return [said, *self._run(plan(self.job, 1, known, self._pieces))]

    def _suspend(self, cause: str, now_ns: int) -> list[Effect]:
        effects: list[Effect] = [Stop(piece_id) for piece_id in self._open]
        self._open.clear()
        if self.phase.state == "accepted":
            return [note("job_event_ignored", job=self.job.id, event="SuspendAsked")]
        return [*effects, self._enter("accepted", cause, now_ns)]

    def _abandon(self, outcome: Outcome, now_ns: int) -> list[Effect]:
        effects: list[Effect] = [Stop(piece_id) for piece_id in self._open]
        self._open.clear()
        self.outcomes = [outcome if known is None else known for known in self.outcomes]
        self.left = 0
        return effects + self._finish(now_ns)

    def _finish(self, now_ns: int) -> list[Effect]:
        outcomes = tuple(outcome for outcome in self.outcomes if outcome is not None)
        effects = [self._enter("assembling", "every run has its outcome", now_ns)]
        effects.append(self._enter(*verdict_of(outcomes), now_ns))
        return [*effects, Send(self.job.principal, JobEnded(self.job.id, outcomes, self.phase))]

    def _enter(self, state: str, cause: str, now_ns: int) -> Effect:
        self.history.append(Phase(state, cause, now_ns))
        return note("job_phase", job=self.job.id, state=state, cause=cause)


def verdict_of(outcomes: tuple[Outcome, ...]) -> tuple[str, str]:
    """State and cause of a job from its items: done if all are; else the gravest, failed first."""
    statuses = [status_of(outcome) for outcome in outcomes]
    for status in ("failed", "cancelled", "refused"):
        count = statuses.count(status)
        if count:
            which = f"{count} of {len(outcomes)} runs {status}, the first: " if len(outcomes) > 1 else ""
            return status, which + _reason(outcomes[statuses.index(status)])
    return "done", "the run was answered" if len(outcomes) == 1 else f"all {len(outcomes)} runs answered"


def _reason(outcome: Outcome) -> str:
    """Why a run was not answered, short enough for a line of a list; `why` and the result say all of it."""
    error = error_of(outcome)
    assert error is not None, "a run that was answered has no reason"
    place = f"{error.where}: " if isinstance(outcome, Misused) and error.where else ""
    what = outcome.cause if isinstance(outcome, Cancelled) else place + error.what
    return what if len(what) <= REASON_CHARS else what[: REASON_CHARS - 3] + "..."
