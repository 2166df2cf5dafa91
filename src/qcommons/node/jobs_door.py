"""The door of the node: what the API asks, answered from the disk, the core's memory, and the shell.

Flow: api/routes -> *JobsDoor* (half of `api.door.Door`) -> shell -> core. What is ended is read from the disk; what
is open is shown as the core knows it now.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from functools import partial

import msgspec

from qcommons.base.clock import deadline_ns, left_s
from qcommons.base.errors import QCommonsError, Unavailable, UsageError
from qcommons.circuits.program import DEFAULT_CAPS
from qcommons.engines.records import Limits
from qcommons.engines.registry import EngineRow, describe
from qcommons.jobs.machine import ENDS
from qcommons.jobs.outcomes import Outcome, exception_of
from qcommons.jobs.records import Card, Job, Phase
from qcommons.node.api.door import OWNER
from qcommons.node.api.intake import Intake, intake
from qcommons.node.api.records import Accepted, EventView, JobList, JobView, Submission, Why
from qcommons.node.core import RUNNING_A_WORKER
from qcommons.node.keys import id_key, job_key, past, phases_of, receipt_key, request_key, result_key, spec_key
from qcommons.node.listeners import Listeners
from qcommons.node.memory import FreeMemory
from qcommons.node.messages import CancelJob, Refusal, Submit, Taken
from qcommons.node.recent import Recent
from qcommons.node.records import Answered, Entry, Form, Spec
from qcommons.node.recovery import decoded
from qcommons.node.sealing import signed_receipt
from qcommons.node.shell import Shell
from qcommons.node.sources import Reader
from qcommons.node.submission import positive
from qcommons.node.submission import submission as make_job
from qcommons.node.views import job_view, why_ended, why_running, why_waiting

__all__ = ["JobsDoor"]

TITLE_CHARACTERS = 60
PAGE = 200  # entries read at once while a page is filtered
ID_CHARACTERS_MAX = 64
STAY_S = 0.01  # a job that ends within it costs one transaction in place of two
INLINE_BYTES = 1 << 16  # smaller submissions of canonical bytes are checked on the loop


class JobsDoor:
    """The part of the door that is about jobs.

    settings: of now: default deadline in seconds, memory of a run in bytes (None: what is free, shared) and the cap
    on operations.
    """

    def __init__(
        self,
        shell: Shell,
        listeners: Listeners,
        recent: Recent,
        settings: Callable[[], tuple[float, int | None, int]],
    ) -> None:
        self._shell = shell
        self._recent = recent
        self._disk = shell.disk
        self._listeners = listeners
        self._defaults = settings
        self._free = FreeMemory()

    # submitting

    async def submit(self, submission: Submission, who: str, *, stays: bool = False) -> Accepted:
        text = any(program.qasm is not None for program in submission.programs)
        size = sum(len(program.qasm or program.wire or b"") for program in submission.programs)
        if text or size > INLINE_BYTES or submission.points is not None:
            known = self._known(submission, who)
            if known is not None:  # not worth reading again
                return Accepted(job=known.id, state=known.state, again=True)
            job, form = await asyncio.to_thread(self._read, submission, who)
        else:
            job, form = self._read(submission, who)
        title = _title(job)
        event = partial(
            Submit, job=job, form=form, tags=submission.tags, request=submission.request, title=title,
            known=self._known(submission, who),
        )  # fmt: skip
        answer = await self._shell.ask(lambda ticket: event(ticket=ticket), patience_s=STAY_S if stays else 0.0)
        if isinstance(answer, Refusal):
            raise _refused(answer)
        assert isinstance(answer, Taken)
        return Accepted(job=answer.entry.id, state=answer.entry.state, again=answer.again)

    def _known(self, submission: Submission, who: str) -> Entry | None:
        """The job that this request made before, if it is on disk."""
        if submission.request is None:
            return None
        number = self._disk.get(request_key(who, submission.request))
        return None if number is None else self._entry(msgspec.msgpack.decode(number, type=int))

    def _read(self, submission: Submission, who: str) -> tuple[Job, Form]:
        """The job of a submission; may wait for a worker that parses. Raises UsageError, Unavailable."""
        now_ns = self._shell.clock.now_ns
        taken: Intake = intake(submission)
        default_s, memory_bytes, operations_max = self._defaults()
        seconds = positive("deadline_s", default_s if submission.deadline_s is None else submission.deadline_s)
        until_ns = deadline_ns(now_ns(), min(seconds, 1e9))
        caps = msgspec.structs.replace(DEFAULT_CAPS, operations_max=operations_max)
        cards: list[Card | Outcome] = Reader(self._shell.pool, caps).cards(
            list(taken.circuits), deadline_ns(time.monotonic_ns(), min(seconds, 1e9)), seconds
        )
        parallel = min(self._shell.pool.size, len(cards) * len(taken.points))
        allowed = submission.memory_bytes if submission.memory_bytes is not None else memory_bytes
        limit_bytes = self._free.limit_bytes(parallel, now_ns()) if allowed is None else int(allowed)
        job = make_job(
            cards, taken.points, taken.asked, batch=taken.batch, seed=submission.seed, noise=taken.noise,
            engine=submission.engine, method=submission.method,
            limits=Limits(memory_bytes=limit_bytes, seconds=max(1e-3, left_s(until_ns, now_ns()))),
            deadline_s=seconds,
        )  # fmt: skip
        if taken.single and job.settled:
            _raise(job.settled[0])
        job = msgspec.structs.replace(job, principal=who, egress=submission.egress, purpose=submission.purpose)
        return job, Form(taken.grid, taken.asked.scalar, taken.single)

    # looking

    def jobs(self, who: str, *, state: str | None, tag: str | None, limit: int, before: int | None) -> JobList:
        found: list[JobView] = []
        last = past("job/") if before is None else job_key(before)
        while True:
            rows = self._disk.scan("job/", last, limit=PAGE, reverse=True)
            for key, value in rows:
                entry = self._live(decoded(key, value, Entry))
                if not _shown(entry, who) or (state and entry.state != state) or (tag and tag not in entry.tags):
                    continue
                if len(found) == limit:
                    return JobList(jobs=tuple(found), total=self._total(), more=entry.number + 1)
                found.append(self._view(entry))
            if len(rows) < PAGE:
                return JobList(jobs=tuple(found), total=self._total())
            last = rows[-1][0]

    def _total(self) -> int:
        newest = self._disk.scan("job/", past("job/"), limit=1, reverse=True)
        return decoded(newest[0][0], newest[0][1], Entry).number + 1 if newest else 0

    def job(self, job: str, who: str) -> JobView:
        entry = self._find(job, who)
        held, recent = self._shell.core.desk.held.get(job), self._recent.get(job)
        if held is not None:
            return self._view(entry, tuple(held.machine.history))
        if recent is not None:
            return job_view(entry, recent.history)
        folder = phases_of(entry.number)
        return job_view(entry, (decoded(key, value, Phase) for key, value in self._disk.scan(folder, past(folder))))

    async def ended(self, job: str, who: str, wait_s: float) -> JobView:
        if self._find(job, who).state not in ENDS and wait_s > 0:
            await self._shell.ended(job, wait_s, lambda: self._find(job, who).state in ENDS)
        return self.job(job, who)

    def result(self, job: str, who: str) -> tuple[Spec, Answered]:
        entry, recent = self._find(job, who), self._recent.get(job)
        if recent is not None:
            return recent.spec, recent.answered
        answered = self._disk.get(result_key(entry.number))
        if answered is None:
            why = self.why(job, who)
            raise Unavailable(f"{job} has no result yet: it is {why.state}; {why.cause}", where="result")
        spec = decoded(spec_key(entry.number), self._disk.get(spec_key(entry.number)), Spec)
        return spec, decoded(result_key(entry.number), answered, Answered)

    def receipt(self, job: str, who: str, run: int = 0) -> bytes:
        entry = self._find(job, who)
        kept = self._disk.get(receipt_key(entry.number))
        if kept is None:
            said = (
                "is signed within a second" if entry.state in ENDS else f"comes when it has ended; it is {entry.state}"
            )
            raise Unavailable(f"the receipt of {job} {said}", where="receipt")
        return signed_receipt(kept, run)

    def why(self, job: str, who: str) -> Why:
        entry = self._find(job, who)
        now_ns, core = self._shell.clock.now_ns(), self._shell.core
        held = core.desk.held.get(job)
        if held is None:
            answered = self._disk.get(result_key(entry.number))
            return why_ended(entry, decoded(result_key(entry.number), answered, Answered))
        if not core.desk.waits(job):
            return why_running(entry, len(self._shell.pool.pids()), now_ns, self._shell.attempts(job))
        places = RUNNING_A_WORKER * core.workers
        gate = core.gate.start(now_ns)
        return why_waiting(entry, gate, core.desk.ahead(held), len(core.desk.running), places, now_ns)

    async def cancel(self, job: str, who: str, cause: str) -> JobView:
        self._find(job, who)
        await self._shell.ask(lambda ticket: CancelJob(ticket, job, cause))
        return self.job(job, who)

    async def engines(self) -> list[EngineRow]:
        return list(await asyncio.to_thread(describe, self._shell.pool.constants))

    def next_seq(self) -> int:
        return self._listeners.next_seq

    def events(self, since: int, who: str) -> AsyncIterator[EventView | None]:
        return self._listeners.follow(since, who, OWNER)

    # inside

    def _entry(self, number: int) -> Entry:
        entry: Entry = decoded(job_key(number), self._disk.get(job_key(number)), Entry)
        return entry

    def _find(self, job: str, who: str) -> Entry:
        """Raises UsageError for an unknown job, and in the same words for somebody else's."""
        known = self._shell.core.desk.held.get(job) or self._recent.get(job)
        entry = None if known is None else known.entry
        if entry is None and len(job) < ID_CHARACTERS_MAX:
            number = self._disk.get(id_key(job))
            entry = None if number is None else self._entry(msgspec.msgpack.decode(number, type=int))
        if entry is None or not _shown(entry, who):
            raise UsageError(f"there is no job {job[:40]!r} here; see them: qcommons jobs", where="job")
        return entry

    def _live(self, entry: Entry) -> Entry:
        held = self._shell.core.desk.held.get(entry.id)
        return entry if held is None else held.entry

    def _view(self, entry: Entry, timeline: tuple[Phase, ...] = ()) -> JobView:
        cause, attempts = None, self._shell.attempts(entry.id)
        if self._shell.core.desk.waits(entry.id):
            gate = self._shell.core.gate.start(self._shell.clock.now_ns())
            cause = gate.cause if not gate.go else "waits for its turn"
        return job_view(entry, timeline, cause, attempts)


def _shown(entry: Entry, who: str) -> bool:
    return who in (OWNER, entry.principal)


def _title(job: Job) -> str:
    names = list(dict.fromkeys(card.name or card.program_id[:12] for card in job.programs))
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return names[0][-TITLE_CHARACTERS:] + more


def _refused(refusal: Refusal) -> Unavailable:
    """With numbers: 3 as on the command line; else nobody is at fault and later may do."""
    error = Unavailable(refusal.what, where=refusal.where, limit=refusal.limit)
    error.exit_code = 3 if refusal.who == "owner" else 4
    return error


def _raise(outcome: Outcome) -> None:
    error: QCommonsError | None = exception_of(outcome)
    if error is not None:
        raise error
