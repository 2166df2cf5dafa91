"""The door of the node: what the API asks, answered from the disk, the core's memory, and the shell.

Flow: api/routes -> *JobsDoor* (half of `api.door.Door`) -> shell -> core. What is ended is read from the disk; what
is open is shown as the core knows it now.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import BinaryIO

import msgspec

from qcommons.base.clock import deadline_ns, left_s
from qcommons.base.errors import QCommonsError, Unavailable, UsageError
from qcommons.base.typed import described
from qcommons.circuits.program import DEFAULT_CAPS
from qcommons.engines.records import Limits
from qcommons.engines.registry import EngineRow, describe
from qcommons.jobs.leases import read_kept, row_of
from qcommons.jobs.machine import ENDS
from qcommons.jobs.outcomes import CpuLimit, Outcome, PastDeadline, exception_of
from qcommons.jobs.records import Card, Job, Phase
from qcommons.node.answered import AnsweredParts, KeptAnswer, check_answer, errors_of, read_answered
from qcommons.node.api.door import OWNER
from qcommons.node.api.intake import Intake, intake
from qcommons.node.api.quote_records import Quote
from qcommons.node.api.records import Accepted, EventView, JobList, JobView, Submission, Why
from qcommons.node.api.work_records import HiredWork, MeshWork
from qcommons.node.archives import Archivist
from qcommons.node.core import RUNNING_A_WORKER
from qcommons.node.keys import (
    id_key,
    job_key,
    number_of,
    own_jobs_of,
    own_key,
    past,
    phases_of,
    receipt_key,
    request_key,
    result_key,
    spec_key,
)
from qcommons.node.listeners import Listeners
from qcommons.node.memory import FreeMemory
from qcommons.node.messages import CancelJob, Refusal, Submit, Taken
from qcommons.node.own_lists import next_place
from qcommons.node.planner import Planner
from qcommons.node.quoting import looked, mesh_quote, quote_here
from qcommons.node.recent import Recent
from qcommons.node.records import Answered, Chosen, Entry, Form, Spec
from qcommons.node.recovery import LEASES, decoded
from qcommons.node.sealing import signed_receipt
from qcommons.node.shell import Shell
from qcommons.node.sources import GUESTS, OWN, Reader, Reading
from qcommons.node.submission import positive, replicated
from qcommons.node.submission import submission as make_job
from qcommons.node.turns import Turns
from qcommons.node.views import job_view, why_ended, why_running, why_waiting
from qcommons.node.work_views import hired_work, mesh_work, why_abroad

__all__ = ["JobsDoor"]

TITLE_CHARACTERS = 60
PAGE = 200  # entries read at once while a page is filtered
ID_CHARACTERS_MAX = 64
STAY_S = 0.01  # a job that ends within it costs one transaction in place of two
INLINE_BYTES = 1 << 16  # smaller submissions of canonical bytes are checked on the loop
LEASES_SHOWN_MAX = 1_000  # of a job that ended before the last start
READING_PLACES = 2  # as many as the pool has spare workers (`workers.SPARE_MAX`): one is always the owner's
BOUND_MAX = 2_000_000  # about 200 MB
EXIT_REFUSED = 3  # with numbers (docs/cli.md)


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
        archivist: Archivist,
    ) -> None:
        self._shell = shell
        self._recent = recent
        self._disk = shell.disk
        self._listeners = listeners
        self._defaults = settings
        self._archivist = archivist
        self._free = FreeMemory()
        self._planner = Planner(shell.pool)
        self._reading = Turns(READING_PLACES, "reading programs")

    def close(self) -> None:
        """No more programs are read."""
        self._reading.close()

    # submitting

    async def submit(self, submission: Submission, who: str, *, stays: bool = False) -> Accepted:
        if _is_light(submission):
            job, form, plan = self._read(submission, who)
        else:
            known = self._known(submission, who)
            if known is not None:  # not worth reading again
                return Accepted(job=known.id, state=known.state, again=True)
            job, form, plan = await self._reading.run(who, partial(self._read, submission, who))
        title = _title(job)
        event = partial(
            Submit, job=job, form=form, tags=submission.tags, request=submission.request, title=title,
            known=self._known(submission, who), plan=plan,
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
        return None if number is None else self._entry(msgspec.msgpack.decode(number, type=described(int)))

    def _read(self, submission: Submission, who: str) -> tuple[Job, Form, Chosen | None]:
        """The job of a submission, and its plan if it is for the mesh; may wait for a worker that parses or plans.
        Raises UsageError, Unavailable."""
        job, taken, is_fixed = self._asked(submission, who)
        plan: Chosen | None = None
        if job.on == "mesh":
            job, plan = self._plan(job, taken.terms.plan, is_fixed=is_fixed)
        return job, Form(taken.grid, taken.asked.scalar, taken.single), plan

    def _asked(self, submission: Submission, who: str) -> tuple[Job, Intake, bool]:
        """The job as it was asked, and whether it says how much memory a run may take. Raises as `_read`."""
        now_ns = self._shell.clock.now_ns
        taken: Intake = intake(submission)
        default_s, memory_bytes, operations_max = self._defaults()
        seconds = positive("deadline_s", default_s if submission.deadline_s is None else submission.deadline_s)
        until_ns = deadline_ns(now_ns(), min(seconds, 1e9))
        caps = msgspec.structs.replace(DEFAULT_CAPS, operations_max=operations_max)
        reading = OWN if who == OWNER else GUESTS
        read_s = seconds if reading.all_s is None else min(seconds, reading.all_s)
        cards: list[Card | Outcome] = Reader(self._shell.pool, caps, reading).cards(
            list(taken.circuits), deadline_ns(time.monotonic_ns(), min(read_s, 1e9)), read_s
        )
        _check_read(cards, reading)
        _check_bound(cards, len(taken.points))
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
        terms = taken.terms
        job = msgspec.structs.replace(
            job, principal=who, egress=terms.egress, purpose=terms.purpose, on=terms.on, assurance=terms.assurance,
            peers=terms.peers, budget=terms.budget,
        )  # fmt: skip
        if job.assurance == "replicate":
            job = replicated(job)
        check_answer(job)
        return job, taken, allowed is not None

    def _plan(self, job: Job, row: str | None, *, is_fixed: bool) -> tuple[Job, Chosen]:
        """Raises Unavailable where the mesh cannot take it, or no row answers it."""
        core = self._shell.core
        refusal = core.dealing.refusal(job, len(core.desk.abroad))
        if refusal is not None:
            raise _refused(refusal)
        return self._planner.chosen(job, row, core.dealing.candidates, is_fixed=is_fixed)

    async def quote(self, submission: Submission, who: str) -> Quote:
        core = self._shell.core
        job, taken, is_fixed = await self._reading.run(who, partial(self._asked, submission, who))
        if job.settled:
            _raise(next(iter(job.settled.values())))
        workers = self._shell.pool.size
        if job.on == "here":
            return await self._reading.run(who, partial(quote_here, self._planner, job, workers))
        refusal = core.dealing.refusal(job, len(core.desk.abroad))
        peers = () if core.dealing.offline else core.dealing.candidates
        chosen = partial(self._planner.chosen, job, taken.terms.plan, peers, is_fixed=is_fixed, every=True)
        planned, plan = await self._reading.run(who, chosen)
        spec = Spec(planned, Form(taken.grid, taken.asked.scalar, taken.single), plan)
        seen = looked(core.dealing, spec, self._shell.clock.now_ns())
        return await self._reading.run(who, partial(mesh_quote, spec, seen, workers, refusal.what if refusal else ""))

    # looking

    async def jobs(self, who: str, *, state: str | None, tag: str | None, limit: int, before: int | None) -> JobList:
        folder = "job/" if who == OWNER else own_jobs_of(who)
        total, found = next_place(self._disk, folder), list[JobView]()
        last = past(folder) if before is None else own_key(folder, before)
        while True:
            rows = self._disk.scan(folder, last, limit=PAGE, reverse=True)
            for key, value in rows:
                entry = self._live(
                    decoded(key, value, Entry) if who == OWNER else self._entry(decoded(key, value, int))
                )
                if (state and entry.state != state) or (tag and tag not in entry.tags):
                    continue
                if len(found) == limit:
                    return JobList(jobs=tuple(found), total=total, more=number_of(key) + 1)
                found.append(self._view(entry))
            if len(rows) < PAGE:
                return JobList(jobs=tuple(found), total=total)
            last = rows[-1][0]
            await asyncio.sleep(0)  # others have their turn

    def job(self, job: str, who: str) -> JobView:
        entry = self._find(job, who)
        view = self._job(job, entry)
        if entry.on != "mesh" and not entry.lease:
            return view
        return msgspec.structs.replace(view, mesh=self._mesh_work(entry), hired=self._hired_work(entry))

    def _job(self, job: str, entry: Entry) -> JobView:
        held, recent = self._shell.core.desk.held.get(job), self._recent.get(job)
        if held is not None:
            return self._view(entry, tuple(held.machine.history))
        if recent is not None:
            return job_view(entry, recent.history)
        folder = phases_of(entry.number)
        return job_view(entry, (decoded(key, value, Phase) for key, value in self._disk.scan(folder, past(folder))))

    def _mesh_work(self, entry: Entry) -> MeshWork | None:
        """Plan and leases of a job on the mesh; of one that ended before the last start, as they are on disk."""
        if entry.on != "mesh":
            return None
        core, now_ns = self._shell.core, self._shell.clock.now_ns()
        held = core.desk.held.get(entry.id)
        key = spec_key(entry.number)
        spec = held.spec if held is not None else decoded(key, self._disk.get(key), Spec)
        leases = core.dealing.leases(entry.id, now_ns)
        if not leases:
            folder = f"{LEASES}{entry.id}/"
            kept = (read_kept(value) for _, value in self._disk.scan(folder, past(folder), limit=LEASES_SHOWN_MAX))
            leases = tuple(row_of(record) for record in sorted(kept, key=lambda record: record.serial))
        considered = core.dealing.considered(spec, now_ns) if held is not None else ()
        return mesh_work(spec, entry, leases, considered)

    def _hired_work(self, entry: Entry) -> HiredWork | None:
        if not entry.lease:
            return None
        return hired_work(entry.lease, self._shell.core.dealing.hired(self._shell.clock.now_ns()))

    async def ended(self, job: str, who: str, wait_s: float) -> JobView:
        if self._find(job, who).state not in ENDS and wait_s > 0:
            await self._shell.ended(job, wait_s, lambda: self._find(job, who).state in ENDS)
        return self.job(job, who)

    def result(self, job: str, who: str) -> KeptAnswer:
        entry, recent = self._find(job, who), self._recent.get(job)
        if recent is not None:
            return KeptAnswer(0, lambda: (recent.spec, recent.answered))
        size_bytes = self._disk.size(result_key(entry.number))
        if size_bytes is None:
            why = self.why(job, who)
            raise Unavailable(f"{job} has no result yet: it is {why.state}; {why.cause}", where="result")
        return KeptAnswer(size_bytes + entry.size_bytes, partial(self._stored, entry.number))

    def _stored(self, number: int) -> tuple[Spec, Answered | AnsweredParts]:
        spec = decoded(spec_key(number), self._disk.get(spec_key(number)), Spec)
        return spec, read_answered(result_key(number), self._disk.get(result_key(number)))

    def receipt(self, job: str, who: str, run: int = 0) -> bytes:
        entry = self._find(job, who)
        kept = self._disk.get(receipt_key(entry.number))
        if kept is None:
            said = (
                "is signed within a second" if entry.state in ENDS else f"comes when it has ended; it is {entry.state}"
            )
            raise Unavailable(f"the receipt of {job} {said}", where="receipt")
        return signed_receipt(kept, run)

    async def archive(self, job: str, who: str, licence: str = "") -> BinaryIO:
        entry = self._find(job, who)
        if entry.state not in ENDS:
            raise Unavailable(f"{job} has not ended: it is {entry.state}; its archive comes then", where="archive")
        return await self._reading.run(who, partial(self._archivist.write, entry, licence))

    def why(self, job: str, who: str) -> Why:
        entry = self._find(job, who)
        work, hired = self._mesh_work(entry), self._hired_work(entry)
        if work is not None and job in self._shell.core.desk.abroad:
            return msgspec.structs.replace(why_abroad(entry, work, self._shell.clock.now_ns()), mesh=work)
        return msgspec.structs.replace(self._why(job, entry), mesh=work, hired=hired)

    def _why(self, job: str, entry: Entry) -> Why:
        now_ns, core = self._shell.clock.now_ns(), self._shell.core
        held = core.desk.held.get(job)
        if held is None:
            if entry.state == "done":  # nothing to explain, and its answer may be large
                return why_ended(entry, [])
            key = result_key(entry.number)
            return why_ended(entry, list(errors_of(read_answered(key, self._disk.get(key)))))
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

    def next_seq(self, who: str) -> int:
        return self._listeners.next_seq(who)

    def events(self, since: int, who: str) -> AsyncIterator[EventView | None]:
        return self._listeners.follow(since, who)

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
            entry = None if number is None else self._entry(msgspec.msgpack.decode(number, type=described(int)))
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


def _is_light(submission: Submission) -> bool:
    """A few canonical bytes, nothing beside them that could be long, and run here."""
    long = (submission.points, submission.observables, submission.amplitudes, submission.noise_model)
    texts = (submission.noise, submission.noise_profile, *(program.qasm for program in submission.programs))
    size_bytes = sum(len(program.wire or b"") for program in submission.programs)
    is_small = size_bytes <= INLINE_BYTES and all(one is None for one in (*long, *texts))
    return is_small and submission.on == "here"  # a plan is waited for


def _check_read(cards: list[Card | Outcome], reading: Reading) -> None:
    """A guest's programs that were not read in the time for it are refused as a whole."""
    if reading.all_s is not None and any(isinstance(card, PastDeadline | CpuLimit) for card in cards):
        what = f"reading these programs took longer than {reading.all_s:g} s, which is what a guest has for it"
        limit = f"{reading.all_s:g} s"
        error = Unavailable(f"{what}: send fewer, or shorter loops", where="programs", limit=limit)
        error.exit_code = EXIT_REFUSED
        raise error


def _check_bound(cards: list[Card | Outcome], points: int) -> None:
    """Every run has the values of its inputs to itself."""
    values = points * sum(len(card.inputs) for card in cards if isinstance(card, Card))
    if values > BOUND_MAX:
        what = f"{points} points bind {values} inputs of these programs; several jobs may do that"
        raise UsageError(what, where="points", limit=f"{BOUND_MAX} inputs")


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
