"""A door that keeps all in memory, for tests of the API and of its clients. No engine: every job is answered with
the counts of a Bell pair once `finish` is called for it, or at once (`instant`)."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator
from typing import Any, BinaryIO

import msgspec
from tests.jobs.making import done
from tests.node.api.mesh_standin import MeshStandIn
from tests.node.api.quotes import a_quote

from qcommons.base.errors import Unavailable, UsageError
from qcommons.base.ids import job_id
from qcommons.engines.records import Counts, Limits
from qcommons.engines.registry import EngineRow
from qcommons.jobs.outcomes import Outcome
from qcommons.jobs.records import Card, Job, Phase
from qcommons.node.answered import KeptAnswer
from qcommons.node.api.door import OWNER
from qcommons.node.api.intake import intake
from qcommons.node.api.quote_records import Quote
from qcommons.node.api.records import (
    Accepted,
    EventView,
    JobList,
    JobView,
    NewToken,
    Pausing,
    PhaseView,
    PolicyChange,
    PolicyView,
    SettingView,
    Status,
    Submission,
    TokenGiven,
    TokenView,
    Why,
)
from qcommons.node.records import Answered, Form, Spec
from qcommons.node.submission import submission as make_job

TOKEN = "qc_owner_token"
GUEST_TOKEN = "qc_guest_token"
CARD = Card(b"wire", "ab" * 32, 2, (("c", 2),), (), 4)
NODE_ID = "qc1standin"


class StandIn:
    """Door. outcome: of every run. faults: method name -> the error it raises."""

    def __init__(self, *, instant: bool = True, outcome: Outcome | None = None) -> None:
        self.instant = instant
        self.outcome = outcome if outcome is not None else done({"00": 2, "11": 3})
        self.faults: dict[str, Exception] = {}
        self.submissions: list[Submission] = []
        self.views: dict[str, JobView] = {}
        self.answers: dict[str, tuple[Spec, Answered]] = {}
        self.requests: dict[str, str] = {}
        self.news: list[EventView] = []
        self.oldest = 0
        self.told = asyncio.Condition()
        self.allow: tuple[str, ...] = ()
        self.deny: tuple[str, ...] = ()
        self.kept: dict[str, str | None] = {"limits.seconds": None}
        self.given: dict[str, TokenView] = {}
        self.health: Any = "green"
        self.paused: Pausing | None = None
        self.draining = False
        self.heartbeat_s = 0.05
        self.mesh = MeshStandIn()
        self.quotes = a_quote()

    def _fault(self, name: str) -> None:
        if name in self.faults:
            raise self.faults[name]

    def principal_of(self, token: str) -> str | None:
        return {TOKEN: OWNER, GUEST_TOKEN: "guest"}.get(token)

    # jobs

    async def quote(self, submission: Submission, who: str) -> Quote:
        self._fault("quote")
        self.quoted = submission
        return self.quotes

    async def submit(self, submission: Submission, who: str, *, stays: bool = False) -> Accepted:
        self._fault("submit")
        if submission.request in self.requests:
            known = self.requests[submission.request or ""]
            return Accepted(job=known, state=self.views[known].state, again=True)
        taken = intake(submission)
        cards: list[Card | Outcome] = [card if isinstance(card, Card) else CARD for card in taken.circuits]
        asked = msgspec.structs.replace(taken.asked, observables=(), bitstrings=(), statevector=False)
        seed, limits = submission.seed or 7, Limits(1 << 30, 60.0)
        job = make_job(
            cards, taken.points, asked, batch=True, seed=seed, noise=taken.noise, engine=None, method=None,
            limits=limits, deadline_s=60.0,
        )  # fmt: skip
        assert isinstance(job.wants[0], Counts)
        now_ns = time.time_ns()
        view = JobView(
            id=job.id, state="running", cause="a worker has it", since_ns=now_ns, submitted_ns=now_ns, ended_ns=None,
            deadline_ns=now_ns + 60_000_000_000, principal=who, tags=submission.tags, title="bell",
            runs=len(job.points), answered=0, n_qubits=2, shots=1024,
            timeline=(PhaseView("accepted", "submitted", now_ns),),
        )  # fmt: skip
        self.views[job.id] = view
        self.submissions.append(submission)
        if submission.request is not None:
            self.requests[submission.request] = job.id
        self.answers[job.id] = self._answer(job, Form(taken.grid, taken.asked.scalar, taken.single), now_ns)
        if self.instant:
            await self.finish(job.id)
        return Accepted(job=job.id, state=self.views[job.id].state)

    def _answer(self, job: Job, form: Form, now_ns: int) -> tuple[Spec, Answered]:
        phase = Phase("done", "all runs answered", now_ns + 2_000_000)
        outcomes = (self.outcome,) * len(job.points)
        return Spec(job, form), Answered(job_id=job.id, outcomes=outcomes, phase=phase, submitted_ns=now_ns)

    async def finish(self, job: str, state: str = "done", cause: str = "all runs answered") -> None:
        now_ns = time.time_ns()
        self.views[job] = msgspec.structs.replace(
            self.views[job], state=state, cause=cause, since_ns=now_ns, ended_ns=now_ns, answered=self.views[job].runs
        )
        await self.tell("job_phase", job=job, state=state)

    async def jobs(self, who: str, *, state: str | None, tag: str | None, limit: int, before: int | None) -> JobList:
        mine = [view for view in self.views.values() if who in (OWNER, view.principal)]
        found = [view for view in mine if state in (None, view.state) and (tag is None or tag in view.tags)]
        end = len(found) if before is None else before
        page = found[max(0, end - limit) : end]
        return JobList(jobs=tuple(reversed(page)), total=len(mine), more=end - limit if end > limit else None)

    def job(self, job: str, who: str) -> JobView:
        self._fault("job")
        view = self.views.get(job)
        if view is None or who not in (OWNER, view.principal):
            raise UsageError(f"no job {job}", where="job")
        return view

    async def ended(self, job: str, who: str, wait_s: float) -> JobView:
        self.job(job, who)
        try:
            async with asyncio.timeout(wait_s), self.told:
                await self.told.wait_for(lambda: self.views[job].ended_ns is not None)
        except TimeoutError:
            pass
        return self.views[job]

    def result(self, job: str, who: str) -> KeptAnswer:
        self.job(job, who)
        return KeptAnswer(0, lambda: self.answers[job])

    def receipt(self, job: str, who: str, run: int = 0) -> bytes:
        if self.job(job, who).ended_ns is None:
            raise Unavailable("not signed yet", where="receipt")
        return b"\x86" + bytes([run])

    async def archive(self, job: str, who: str, licence: str = "") -> BinaryIO:
        if self.job(job, who).ended_ns is None:
            raise Unavailable("not ended yet", where="archive")
        self.archived = io.BytesIO(b"PK" * 300_000 + licence.encode())
        return self.archived

    async def cancel(self, job: str, who: str, cause: str) -> JobView:
        if self.job(job, who).ended_ns is None:
            await self.finish(job, "cancelled", cause)
        return self.views[job]

    def why(self, job: str, who: str) -> Why:
        view = self.job(job, who)
        return Why(job=job, state=view.state, cause=view.cause, who="nobody", since_ns=view.since_ns)

    # the node

    def status(self) -> Status:
        self._fault("status")
        now_ns = time.time_ns()
        return Status(
            health=self.health, sentence="all is well", troubles=(), node_id=NODE_ID, version="0", url="", home="",
            pid=1, started_ns=now_ns, now_ns=now_ns, running=(), waiting=0, jobs={}, workers=1, workers_alive=0,
            memory_bytes=1, policy=self.policy(), draining=self.draining,
        )  # fmt: skip

    async def pause(self, pausing: Pausing, who: str) -> Status:
        self.paused = pausing
        return self.status()

    async def resume(self, who: str) -> Status:
        self.paused = None
        return self.status()

    def policy(self) -> PolicyView:
        return PolicyView(self.allow, self.deny)

    async def set_policy(self, change: PolicyChange, who: str) -> PolicyView:
        self.allow = tuple(rule for rule in (*self.allow, *change.allow) if rule not in change.remove)
        self.deny = tuple(rule for rule in (*self.deny, *change.deny) if rule not in change.remove)
        return self.policy()

    def _setting(self, key: str) -> SettingView:
        value = self.kept[key]
        origin = "default" if value is None else "file"
        return SettingView(key=key, value=value or "3600", text=value or "1 h", unit="s", origin=origin, applies="now")

    def settings(self) -> list[SettingView]:
        return [self._setting(key) for key in self.kept]

    async def set_setting(self, key: str, value: str | None, who: str) -> SettingView:
        if key not in self.kept:
            raise UsageError(f"unknown setting {key!r}", where="setting")
        if value == "banana":
            raise UsageError("'banana' is no time", where=key)
        self.kept[key] = value
        return self._setting(key)

    def tokens(self) -> list[TokenView]:
        return list(self.given.values())

    async def new_token(self, asked: NewToken) -> TokenGiven:
        name = f"token{len(self.given)}"
        self.given[name] = TokenView(id=name, principal=asked.principal, made_ns=1, expires_ns=None)
        return TokenGiven(id=name, principal=asked.principal, token="qc_new", expires_ns=None)

    async def revoke_token(self, token_id: str) -> None:
        if self.given.pop(token_id, None) is None:
            raise UsageError(f"no token {token_id}", where="token")

    # events

    def next_seq(self, who: str) -> int:
        return len(self.news)

    async def tell(self, kind: str, **facts: str | int) -> None:
        async with self.told:
            self.news.append(EventView(seq=len(self.news), at_ns=time.time_ns(), kind=kind, facts=dict(facts)))
            self.told.notify_all()

    async def events(self, since: int, who: str) -> AsyncIterator[EventView | None]:
        if since < self.oldest:
            raise UsageError(f"events before {self.oldest} are gone", where="since")
        while True:
            for event in self.news[since : since + 500]:
                yield event
                since = event.seq + 1
            if not await self._more_than(since):
                yield None

    async def _more_than(self, seen: int) -> bool:
        try:
            async with asyncio.timeout(self.heartbeat_s), self.told:
                await self.told.wait_for(lambda: len(self.news) > seen)
        except TimeoutError:
            return False
        return True

    def log_lines(self, last: int) -> list[str]:
        return ['{"event":"started"}'][-last:]

    async def engines(self) -> list[EngineRow]:
        return []

    def metrics(self) -> str:
        return "# EOF\n"

    async def shut_down(self, drain_s: float) -> Status:
        self.draining = True
        return self.status()


def some_job_id() -> str:
    return job_id(b"a job that nobody ever submitted")
