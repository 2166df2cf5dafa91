"""The node's core: a router over one machine a job, the gate that its owner controls, and work between nodes. Pure.

Flow: api, pool, timers, sensors -> shell -> event -> *NodeCore* -> effects -> shell -> store, pool, api.

    event         answer
    Begin         what was kept before the last end: open jobs are accepted again, with their outcomes
    Submit        refused by limits, policy or a full queue: says so, keeps nothing. A request that was seen before:
                  the job it made. Else kept whole, then acknowledged, then started if the gate is open
    CancelJob     to the job's machine
    PauseAsked    kept; without `finish` running jobs are suspended. ResumeAsked: forgotten
    PolicySet     kept
    LimitsSet,    the gate is looked at again: waiting jobs start, running ones may be suspended
    Sensed
    ItemsEnded,   to the job's machine; what it answered is kept
    PieceEnded
    Woken         a job's deadline, the end of a pause, time to seal, the end of a drain
    Sealed        receipts are kept
    Combined      the answers that were asked, of a job whose plan has other runs: it ends with them
    Doubted       outcomes are taken back and their runs done again
    of the mesh   to Spread and Hire (`dealing.py`), which also own the runs of jobs on the mesh
    Drain         nothing starts any more; `Drained` when nothing runs, or at the deadline: what runs then is
                  suspended and goes on after the next start. Nobody waits for jobs on the mesh: they go on then too

Every `Store` precedes the `Send`s that rest on it, so nobody hears of what a crash could undo.
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from qcommons.base.effects import Effect, Run, Send, Store, WakeAt, Woken, note
from qcommons.base.errors import Corrupt
from qcommons.base.units import bytes_text
from qcommons.jobs.machine import (
    CancelAsked,
    ItemsEnded,
    JobEnded,
    JobMachine,
    Overfull,
    PieceEnded,
    Submitted,
    SuspendAsked,
    verdict_of,
)
from qcommons.jobs.machine import Event as JobEvent
from qcommons.jobs.records import Phase
from qcommons.jobs.work_events import Doubted
from qcommons.node.answered import ANSWER_BYTES_MAX, RECORD_BYTES_MAX, fitting
from qcommons.node.dealing import SELF, Dealing
from qcommons.node.desk import Desk, Held
from qcommons.node.gate import Gate, shots_of
from qcommons.node.journal import Journal, spec_bytes
from qcommons.node.keys import PAUSE, POLICY
from qcommons.node.messages import (
    Begin,
    CancelJob,
    Combine,
    Combined,
    Drain,
    Drained,
    Ended,
    Event,
    Kept,
    LimitsSet,
    OpenJob,
    PauseAsked,
    PolicySet,
    Refusal,
    ResumeAsked,
    Seal,
    Sealed,
    Sensed,
    Submit,
    Taken,
)
from qcommons.node.own_lists import OwnLists
from qcommons.node.owner import OwnerLimits, Sense
from qcommons.node.records import Answered, Entry, Spec, plan_of

__all__ = ["SHELL", "NodeCore"]

SHELL = "shell"  # who gets `Ended` and `Drained`
SEAL_AFTER_NS = 500_000_000  # receipts of half a second share one signature
CRASHES_MAX = 25  # a job that was running at so many unclean ends of the node is not tried again
REQUESTS_MAX = 10_000  # more than can be between acceptance and disk
RUNNING_A_WORKER = 2  # so that a worker finds its next piece at once
SEAL, RESUME, DRAIN = "seal", "resume", "drain"  # tokens of `WakeAt` beside job ids


class NodeCore:
    """workers: processes of the pool. limits: the owner's, as the settings say at the start. sense: the sensors' first
    look. dealing: work between nodes; without it there is none."""

    def __init__(self, workers: int, limits: OwnerLimits, sense: Sense, dealing: Dealing | None = None) -> None:
        self.workers = workers
        self.dealing = Dealing() if dealing is None else dealing
        self.gate = Gate(limits, sense)
        self.desk = Desk()
        self.journal = Journal()
        self._next_number = 0
        self._unsealed: list[int] = []
        self._sealing = False
        self._drained = False
        self._begun = False
        self._requests: OrderedDict[tuple[str, str], Entry] = OrderedDict()

    def handle(self, event: Event, now_ns: int) -> list[Effect]:
        if not self._begun and not isinstance(event, Begin):
            raise Corrupt(f"{type(event).__name__} before Begin")
        effects = self.dealing.take(event, now_ns)
        if effects is None:
            effects = self._handle(event, now_ns)
        return self.dealing.settle(effects, self.desk.abroad, self._handle, now_ns)

    def _handle(self, event: Event, now_ns: int) -> list[Effect]:
        effects: list[Effect] = []
        match event:
            case Begin():
                effects = self._begin(event, now_ns)
            case Submit():
                return self._submit(event, now_ns)
            case CancelJob():
                return self._cancel(event, now_ns)
            case PauseAsked(ticket, pause):
                self.gate.pause = pause
                effects = [
                    Store(PAUSE, msgspec.msgpack.encode(pause)),
                    *self.journal.event("paused", now_ns, by=pause.by, finish=pause.finish, until_ns=pause.until_ns),
                    *([] if pause.until_ns is None else [WakeAt(pause.until_ns, RESUME)]),
                ]
                return [*effects, *self._look(now_ns), Send(ticket, Kept())]
            case ResumeAsked(ticket, by):
                return [*self._resume(by, now_ns), Send(ticket, Kept())]
            case PolicySet(ticket, policy):
                self.gate.policy = policy
                kept = Store(POLICY, msgspec.msgpack.encode(policy))
                return [kept, *self.journal.event("policy", now_ns), Send(ticket, Kept())]
            case LimitsSet(limits):
                self.gate.limits = limits
                effects = self._look(now_ns)
            case Sensed(sense):
                self.gate.sense = sense
                effects = self._look(now_ns)
            case ItemsEnded(piece_id) | PieceEnded(piece_id):
                return self._piece(piece_id.partition(".")[0], event, now_ns)
            case Doubted(job_id):
                return self._piece(job_id, event, now_ns)
            case Combined():
                return self._combined(event, now_ns)
            case Woken(token):
                effects = self._woken(token, now_ns)
            case Sealed():
                return self._sealed(event, now_ns)
            case Drain(until_ns):
                self.gate.draining_ns = now_ns
                effects = [*self.journal.event("draining", now_ns), WakeAt(until_ns, DRAIN), *self._drain_if_idle()]
        return effects

    # what was kept

    def _begin(self, kept: Begin, now_ns: int) -> list[Effect]:
        self._begun = True
        self.journal = Journal(kept.next_seq, kept.events_from, OwnLists(kept.own))
        self._next_number = kept.next_number
        self.gate.pause, self.gate.policy = kept.pause, kept.policy
        effects = self.journal.event("started", now_ns, clean=kept.clean, open_jobs=len(kept.jobs))
        effects += self.dealing.begin(kept, now_ns)
        for job in sorted(kept.jobs, key=lambda job: job.entry.number):
            effects += self._recover(job, kept.clean, now_ns)
        if kept.pause is not None and kept.pause.until_ns is not None:
            effects.append(WakeAt(kept.pause.until_ns, RESUME))
        for number in kept.unsealed:
            effects += [] if self.dealing.is_hired(number) else self._unseal(number, now_ns)
        return [*effects, *self._look(now_ns)]

    def _recover(self, kept: OpenJob, clean: bool, now_ns: int) -> list[Effect]:
        """The job is accepted again; one that was running too often when the node died is given up."""
        was = kept.history[-1].state if kept.history else "accepted"
        abroad = kept.entry.on == "mesh"  # its runs are no worker's, so they crash nothing here
        crashes = kept.entry.crashes + (was != "accepted" and not clean and not abroad)
        held_back = f"{len(kept.ends)} of {len(kept.spec.runs.points)} runs kept"
        history = kept.history
        if was != "accepted":
            again = Phase("accepted", f"the node was started again while it was {was}: {held_back}", now_ns)
            history = (*history, again)
        machine = JobMachine(kept.spec.runs, now_ns, history, dict(kept.ends))
        entry = msgspec.structs.replace(kept.entry, crashes=crashes)
        held = Held(entry, machine, kept.spec, len(kept.history), kept.ends_kept)
        self._remember(entry)
        effects: list[Effect] = [WakeAt(entry.deadline_ns, entry.id)]
        if abroad:
            self.desk.send(held)
            return [*effects, *self._keep(held), *self._tell(held, Submitted(self.workers), now_ns)]
        self.desk.put(held)
        if crashes >= CRASHES_MAX:
            cause = f"the node ended {crashes} times while this job ran: given up"
            return [*effects, *self._tell(held, CancelAsked(cause), now_ns)]
        return [*effects, *self._keep(held)]

    # jobs

    def _submit(self, asked: Submit, now_ns: int) -> list[Effect]:
        job = asked.job
        known = self._known(asked)
        if known is not None:
            return [Send(asked.ticket, Taken(known, again=True))]
        spec = Spec(job, asked.form, asked.plan)
        packed = spec_bytes(spec)
        refusal = self._refusal(asked, len(packed))
        if refusal is not None:
            return [
                note("job_refused", principal=job.principal, why=refusal.what, where=refusal.where),
                Send(asked.ticket, refusal),
            ]
        machine = JobMachine(spec.runs, now_ns)
        entry = Entry(
            number=self._next_number, id=job.id, principal=job.principal, tags=asked.tags, request=asked.request,
            title=asked.title, state="accepted", cause="submitted", since_ns=now_ns, submitted_ns=now_ns,
            deadline_ns=now_ns + round(job.deadline_s * 1e9), runs=len(job.points), answered=len(job.settled),
            n_qubits=max(card.n_qubits for card in job.programs), size_bytes=len(packed), shots=shots_of(asked),
            on=job.on, parts=0 if spec.runs is job else len(spec.runs.points), lease=asked.lease,
        )  # fmt: skip
        self._next_number += 1
        self._remember(entry)
        held = Held(entry, machine, spec)
        effects = [*self.journal.accepted(entry, packed), *self._keep(held)]
        if job.on == "mesh":
            self.desk.send(held)
            started = self._tell(held, Submitted(self.workers), now_ns)
        else:
            self.desk.put(held)
            started = self._start(now_ns)
        taken = Send(asked.ticket, Taken(held.entry))
        return [*effects, *started, taken, WakeAt(entry.deadline_ns, job.id)]

    def _known(self, asked: Submit) -> Entry | None:
        """The job that it asks for, if it is here: one id has one job, whose receipts would else contradict each
        other. What is in memory is newer than what was read from disk."""
        held = self.desk.held.get(asked.job.id)
        if held is not None:
            return held.entry
        return self._requests.get((asked.job.principal, asked.request or "")) or asked.known

    def _remember(self, entry: Entry) -> None:
        """Requests of the last jobs, whose entries may not be on disk yet: a twin must not make another job."""
        if entry.request is not None:
            self._requests[(entry.principal, entry.request)] = entry
            if len(self._requests) > REQUESTS_MAX:
                self._requests.popitem(last=False)

    def _refusal(self, asked: Submit, size_bytes: int) -> Refusal | None:
        if size_bytes > RECORD_BYTES_MAX:
            most = bytes_text(RECORD_BYTES_MAX)
            what = f"its programs and points take {bytes_text(size_bytes)} on disk; allowed {most}; submit it in parts"
            return Refusal("resources", what, "circuits", most)
        if self.gate.draining:
            return Refusal("resources", "the node is shutting down; submit again when it is up", "node")
        if asked.job.on == "mesh":
            return self.dealing.refusal(asked.job, len(self.desk.abroad)) or self.gate.admit(asked)
        return self.desk.full(asked.job.principal, size_bytes) or self.gate.admit(asked)

    def _cancel(self, asked: CancelJob, now_ns: int) -> list[Effect]:
        held = self.desk.held.get(asked.job_id)
        told = [] if held is None else self._tell(held, CancelAsked(asked.cause), now_ns)
        return [*told, Send(asked.ticket, Kept()), *self._start(now_ns)]

    def _piece(self, job_id: str, event: ItemsEnded | PieceEnded | Doubted, now_ns: int) -> list[Effect]:
        held = self.desk.running.get(job_id) or self.desk.abroad.get(job_id)
        if held is None:  # of a job that has ended or was suspended meanwhile
            return []
        effects = self._tell(held, event, now_ns)
        return effects if held.entry.id in self.desk.held else [*effects, *self._start(now_ns)]

    def _tell(self, held: Held, event: JobEvent, now_ns: int) -> list[Effect]:
        """Give the job's machine an event; keep what came of it before anything else is done."""
        if held.combining:  # its runs have ended: whatever comes is too late
            return []
        told: list[Effect] = []
        ended: JobEnded | None = None
        for effect in held.machine.handle(event, now_ns):
            if isinstance(effect, Send):
                ended = effect.message
            else:
                told.append(effect)
        if ended is not None:
            whole = held.spec.plan is None or not held.spec.plan.parts
            return [*told, *(self._end(held, ended, now_ns) if whole else self._combine(held, ended))]
        kept: list[Effect] = []
        if isinstance(event, ItemsEnded) and event.ends:
            kept = self.journal.ends(held.entry, held.ends_kept, event.ends)
            if held.grown(_bytes(kept)) > ANSWER_BYTES_MAX:
                return [*told, *self._tell(held, Overfull(ANSWER_BYTES_MAX), now_ns)]
        elif isinstance(event, Doubted) and event.runs:
            kept = self.journal.ends(held.entry, held.ends_kept, tuple((run, None) for run in event.runs))
            held.kept_bytes = None
        held.ends_kept += len(kept)
        answered = len(held.machine.outcomes) - held.machine.left
        fields = {"parts_answered": answered} if held.entry.parts else {"answered": answered}
        held.entry = msgspec.structs.replace(held.entry, **fields)
        return [*kept, *self._keep(held), *told]

    def _keep(self, held: Held) -> list[Effect]:
        """Store the entry and the phases that are not on disk; nothing where there are none."""
        fresh = list(enumerate(held.machine.history))[held.phases_kept :]
        if not fresh:
            return []
        held.phases_kept += len(fresh)
        phase = fresh[-1][1]
        changes = {"state": phase.state, "cause": phase.cause, "since_ns": phase.since_ns}
        held.entry = msgspec.structs.replace(held.entry, **changes)
        return self.journal.phases(held.entry, fresh)

    def _combine(self, held: Held, ended: JobEnded) -> list[Effect]:
        """Every run of the plan has its outcome; how the job ends is said by the answers that they give together."""
        held.combining = True
        held.machine.history.pop()
        held.entry = msgspec.structs.replace(held.entry, parts_answered=held.entry.parts)
        outcomes, derived = ended.outcomes, self.journal.derived(held.entry, ended.outcomes)
        if _bytes(derived) > RECORD_BYTES_MAX:
            outcomes = fitting(outcomes)
            derived = self.journal.derived(held.entry, outcomes)
        kept = [*derived, *self._keep(held)]
        piece = Combine(held.entry.id, plan_of(held.spec), outcomes)
        return [*kept, Run(f"combine.{held.entry.id}", piece)]

    def _combined(self, event: Combined, now_ns: int) -> list[Effect]:
        held = self.desk.held.get(event.job_id)
        if held is None or not held.combining:
            return []
        phase = Phase(*verdict_of(event.outcomes), now_ns)
        held.machine.history.append(phase)
        return self._end(held, JobEnded(event.job_id, event.outcomes, phase), now_ns)

    def _end(self, held: Held, ended: JobEnded, now_ns: int) -> list[Effect]:
        self.desk.drop(held)
        runs = len(ended.outcomes)
        held.entry = msgspec.structs.replace(held.entry, ended_ns=now_ns, answered=runs)
        answered = Answered(
            job_id=ended.job_id, outcomes=ended.outcomes, phase=ended.phase, submitted_ns=held.entry.submitted_ns
        )
        result = self.journal.result(held.entry, answered, held.ends_kept)
        if _bytes(result) > RECORD_BYTES_MAX:
            outcomes = fitting(ended.outcomes)
            phase = held.machine.history[-1] = Phase(*verdict_of(outcomes), now_ns)
            answered = msgspec.structs.replace(answered, outcomes=outcomes, phase=phase)
            result = self.journal.result(held.entry, answered, held.ends_kept)
        kept = [*result, *self._keep(held)]
        if (held.entry.principal, held.entry.request or "") in self._requests:
            self._remember(held.entry)
        said = Send(SHELL, Ended(held.entry, held.spec, tuple(held.machine.history), answered))
        if held.entry.lease:
            after = self.dealing.hired_over(held.entry)
        else:
            over = self.dealing.over(held.entry.id, now_ns) if held.entry.on == "mesh" else []
            after = [*over, *self._unseal(held.entry.number, now_ns)]
        return [*kept, said, *after, *self._drain_if_idle()]

    # the gate

    def _look(self, now_ns: int) -> list[Effect]:
        """Suspend what may not go on, start what may."""
        stop = self.gate.stop(now_ns)
        effects: list[Effect] = []
        if stop is not None:
            for held in list(self.desk.running.values()):
                effects += self._suspend(held, stop.cause, now_ns)
        return [*effects, *self._start(now_ns)]

    def _suspend(self, held: Held, cause: str, now_ns: int) -> list[Effect]:
        self.desk.put(held, front=True)
        return self._tell(held, SuspendAsked(cause), now_ns)

    def _start(self, now_ns: int) -> list[Effect]:
        effects: list[Effect] = []
        most = RUNNING_A_WORKER * self.workers
        while len(self.desk.running) < most and self.desk.waiting and self.gate.start(now_ns).go:
            held = self.desk.next()
            if held is not None:
                effects += self._tell(held, Submitted(self.workers), now_ns)
        return effects

    def _resume(self, by: str, now_ns: int) -> list[Effect]:
        self.gate.pause = None
        return [Store(PAUSE, None), *self.journal.event("resumed", now_ns, by=by), *self._look(now_ns)]

    def _woken(self, token: object, now_ns: int) -> list[Effect]:
        if token == RESUME:
            pause = self.gate.pause
            over = pause is not None and pause.until_ns is not None and pause.until_ns <= now_ns
            return self._resume("its end", now_ns) if over else []
        if token == SEAL:
            numbers, self._unsealed, self._sealing = tuple(self._unsealed), [], False
            # by way of the disk: the last of them may have ended just now, and what is signed must lie there
            return [Send(SELF, Woken((SEAL, numbers)))] if numbers else []
        if isinstance(token, tuple) and token[0] == SEAL:
            return [Run(f"seal.{token[1][0]}", Seal(token[1]))]
        if token == DRAIN:
            effects: list[Effect] = []
            for held in list(self.desk.running.values()):
                effects += self._suspend(held, "the node was shut down while it ran", now_ns)
            return [*effects, *self._drain_if_idle()]
        held_job = self.desk.held.get(str(token))
        if held_job is None or now_ns < held_job.entry.deadline_ns:
            return []
        return [*self._tell(held_job, Woken(token), now_ns), *self._start(now_ns)]

    def _drain_if_idle(self) -> list[Effect]:
        if not self.gate.draining or self.desk.running or self._drained:
            return []
        self._drained = True
        return [Send(SHELL, Drained())]

    # receipts

    def _unseal(self, number: int, now_ns: int) -> list[Effect]:
        self._unsealed.append(number)
        if self._sealing:
            return []
        self._sealing = True
        return [WakeAt(now_ns + SEAL_AFTER_NS, SEAL)]

    def _sealed(self, event: Sealed, now_ns: int) -> list[Effect]:
        kept = [effect for number, signed in event.receipts.items() for effect in self.journal.sealed(number, signed)]
        missing = len(set(event.asked) - set(event.receipts))
        said: list[Effect] = [note("receipts_not_sealed", jobs=missing)] if missing else []
        return [*kept, *said, *self.dealing.sealed(event)]


def _bytes(effects: list[Effect]) -> int:
    """Of the largest record that is to be stored."""
    return max((len(effect.value or b"") for effect in effects if isinstance(effect, Store)), default=0)
