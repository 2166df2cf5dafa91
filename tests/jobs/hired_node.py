"""A worker node around `Hire`: disk, jobs, threads and timers as plain data, under a clock that the test turns.

    node = HiredNode(ME)
    node.came(OFFER, offer_bytes(offer()), PEER)      # -> the number of the question
    node.run_until(2 * S)                             # whatever is due until then happens
    node.answers[number]                              # a message, Failed, or the bytes of a part

What was stored and the jobs that were accepted survive `crash()`; everything else is lost with it. `crash_at` counts
stores: the node dies right after that one, before whatever follows it.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
from collections.abc import Callable
from typing import Any

import msgspec

from qcommons.base.effects import Effect, Note, Run, Send, Store, WakeAt, Woken
from qcommons.base.errors import PeerError
from qcommons.base.units import NS_PER_S
from qcommons.jobs.hire import KEYS, Hire
from qcommons.jobs.hire_verdicts import Check
from qcommons.jobs.offer import piece_of
from qcommons.jobs.records import Piece
from qcommons.jobs.work import COLLECT, OFFER, OPEN, PROTOCOLS, Over, read
from qcommons.jobs.work_events import (
    HIRED,
    JOBS,
    MESH,
    Came,
    Dismiss,
    Engage,
    Engaged,
    Heard,
    HiredEnded,
    MakeReport,
    ReadWork,
    ReportMade,
    Sharing,
    Withdrew,
    WorkRead,
)
from qcommons.mesh.events import Answer, Ask, Asked, Failed, Got, Withdrawn
from qcommons.mesh.records import PeerId
from qcommons.pqc.commit import COMMITMENT_BYTES

__all__ = ["SECRET", "T0", "HiredNode", "S", "fake_report"]

S = NS_PER_S
T0 = 1_800_000_000 * S  # the event clock counts from 1970
SECRET = b"s" * 32


class Crash(Exception):
    """The node died here."""


class HiredJob(msgspec.Struct):
    """A job of this node. status: once it has ended."""

    peer: PeerId
    piece: Piece
    ends_ns: int
    deadline_ns: int
    status: str | None = None
    given_up: str | None = None


def fake_report(lease: bytes, job: HiredJob, salt: bytes | None) -> tuple[bytes, bytes]:
    """Not a report, but as deterministic as one: lease and status; 32 bytes a run as commitments."""
    runs = len(job.piece.items)
    made = [hashlib.sha3_256((salt or b"") + bytes([run % 256])).digest() for run in range(runs)]
    return b"report of " + lease + (job.status or "").encode(), b"" if salt is None else b"".join(made)


class HiredNode:
    """report: as `fake_report`. takes_s: how long a job runs. reads_s: how long a thread takes. refuse: what the node
    says to an Engage, None to take it. submitter: answers `Ask`s of this node (work parts): (peer, Ask) -> Got, Failed,
    or None to stay silent."""

    def __init__(
        self, me: PeerId, *, sharing: Sharing | None = None, now_ns: int = T0, takes_s: float = 1.0,
        reads_s: float = 0.01, report: Callable[..., tuple[bytes, bytes]] = fake_report,
        check_verdict: Check | None = None,
        submitter: Callable[[PeerId, Ask], Got | Failed | None] = lambda peer, ask: None,
    ) -> None:  # fmt: skip
        self.me, self.now_ns = me, now_ns
        self.sharing = sharing or Sharing(enabled=True)
        self.takes_ns, self.reads_ns = round(takes_s * S), round(reads_s * S)
        self.report, self.submitter = report, submitter
        self.check_verdict = check_verdict or _no_verdict
        self.refuse: tuple[str, str] | None = None
        self.disk: dict[str, bytes] = {}
        self.jobs: dict[bytes, HiredJob] = {}
        self.accepted = 0
        self.answers: dict[int, Any] = {}
        self.answered_ns: dict[int, int] = {}
        self.notes: list[Note] = []
        self.dismissed: list[bytes] = []
        self.stores = self.crashes = 0
        self.crash_at: int | None = None
        self._numbers = itertools.count(1)
        self._order = itertools.count()
        self._questions: dict[int, str] = {}
        self.start()

    # its life

    def start(self) -> None:
        self._later: list[tuple[int, int, Any]] = []
        kept = {key: raw for key, raw in self.disk.items() if key.startswith(KEYS)}
        self.hire = Hire(self.me, SECRET, kept, check_verdict=self.check_verdict)
        self._carry_out(self.hire.begin(self.now_ns))
        self.tell(self.sharing)
        for lease, job in self.jobs.items():
            if job.status is not None:
                self._later_on(0, HiredEnded(lease, job.status, job.given_up))
            else:
                self._later_on(max(0, job.ends_ns - self.now_ns), ("job", lease))

    def crash(self) -> None:
        """Everything but disk and jobs is lost; nobody hears from questions that were open."""
        self.crashes += 1
        self._questions.clear()
        self.start()

    def tell(self, event: Any) -> None:
        try:
            self._carry_out(self.hire.handle(event, self.now_ns))
        except Crash:
            self.crash()

    def run_until(self, at_ns: int) -> None:
        """at_ns: of the event clock, or since T0 where that is small."""
        at_ns = at_ns if at_ns >= T0 else T0 + at_ns
        while self._later and self._later[0][0] <= at_ns:
            due_ns, _, event = heapq.heappop(self._later)
            self.now_ns = max(self.now_ns, due_ns)
            self.tell(self._job_ended(event[1]) if isinstance(event, tuple) else event)
        self.now_ns = at_ns

    def lose(self, kind: type) -> list[Any]:
        """Events of a kind that are under way and will not come."""
        lost = [row for row in self._later if isinstance(row[2], kind)]
        self._later = sorted(row for row in self._later if not isinstance(row[2], kind))
        return [event for _, _, event in lost]

    # the mesh

    def came(
        self, protocol: str, body: bytes, peer: PeerId, *, within_s: float = 30, relation: str = "stranger"
    ) -> int:
        number = next(self._numbers)
        self._questions[number] = protocol
        asked = Asked(peer, number, body, self.now_ns + round(within_s * S))
        self.tell(Came(protocol, asked, relation))  # type: ignore[arg-type]
        return number

    def ask(self, protocol: str, body: bytes, peer: PeerId, *, within_s: float = 30, relation: str = "stranger") -> Any:
        """As `came`; the answer that came at once, None where there is none yet."""
        return self.answers.get(self.came(protocol, body, peer, within_s=within_s, relation=relation))

    def withdraw(self, number: int, peer: PeerId) -> None:
        self._questions.pop(number, None)
        self.tell(Withdrew(Withdrawn(peer, number, "gone")))

    # what it does

    def _later_on(self, in_ns: int, event: Any) -> None:
        heapq.heappush(self._later, (self.now_ns + in_ns, next(self._order), event))

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Store(key, value):
                    self._store(key, value)
                case WakeAt(at_ns, token):
                    self._later_on(max(0, at_ns - self.now_ns), Woken(token))
                case Run(_, ReadWork() as asked):
                    self._later_on(self.reads_ns, _read(asked))
                case Run(_, MakeReport(lease, _, _, salt)):
                    self._later_on(self.reads_ns, self._made(lease, salt))
                case Send(to, message) if to == JOBS:
                    self._jobs(message)
                case Send(to, message) if to == MESH:
                    assert message.egress == HIRED
                    self._mesh(message.message, message.holder)
                case Note():
                    self.notes.append(effect)
                case _:
                    raise AssertionError(effect)

    def _store(self, key: str, value: bytes | None) -> None:
        if value is None:
            del self.disk[key]
        else:
            self.disk[key] = value
        self.stores += 1
        if self.stores == self.crash_at:
            raise Crash

    def _jobs(self, message: Any) -> None:
        if isinstance(message, Dismiss):
            self.dismissed.append(message.lease)
            job = self.jobs.get(message.lease)
            if job is not None and job.status is None:
                job.status, job.given_up = "cancelled", message.why
                self._later_on(0, HiredEnded(message.lease, job.status, job.given_up))
            return
        assert isinstance(message, Engage) and message.offer.first == b""
        lease = message.offer.lease
        if self.refuse is not None:
            self._later_on(1, Engaged(lease, self.refuse))
            return
        job = self.jobs.get(lease)
        if job is None:
            self.accepted += 1
            deadline_ns = self.now_ns + round(message.deadline_s * S)
            self.jobs[lease] = HiredJob(message.peer, message.piece, self.now_ns + self.takes_ns, deadline_ns)
            self._later_on(self.takes_ns, ("job", lease))
        self._later_on(1, Engaged(lease))
        if job is not None and job.status is not None:
            self._later_on(2, HiredEnded(lease, job.status, job.given_up))

    def _job_ended(self, lease: bytes) -> HiredEnded:
        job = self.jobs[lease]
        if job.status is None:
            job.status = "done" if self.now_ns <= job.deadline_ns else "failed"
        return HiredEnded(lease, job.status, job.given_up)

    def _made(self, lease: bytes, salt: bytes | None) -> ReportMade:
        job = self.jobs.get(lease)
        if job is None or job.status is None:
            return ReportMade(lease, None)
        return ReportMade(lease, *self.report(lease, job, salt))

    def _mesh(self, message: Ask | Answer, holder: PeerId | None) -> None:
        if isinstance(message, Ask):
            assert holder == message.to
            told = self.submitter(message.to, message)
            if isinstance(told, Failed):
                self._later_on(1, Heard(message.ticket, failed=told))
            elif told is not None:
                self._later_on(1, Heard(message.ticket, told.body))
            return
        assert holder == message.peer
        protocol = self._questions.pop(message.id)  # each is answered once
        self.answers[message.id] = message.failed or _shown(protocol, message.body)
        self.answered_ns[message.id] = self.now_ns


def _read(asked: ReadWork) -> WorkRead:
    try:
        return WorkRead(asked.lease, piece_of(asked.work, asked.task, "here.0", asked.limits), None, 12_345)
    except PeerError as error:
        return WorkRead(asked.lease, None, (error.what, error.where or ""))


def _shown(protocol: str, body: bytes) -> Any:
    if protocol == "work.part/1":
        return body
    assert protocol in PROTOCOLS and (protocol in (OFFER, COLLECT, OPEN) or isinstance(read(protocol, body), Over))
    return read(protocol, body)


def _no_verdict(file: bytes, judge: PeerId) -> Any:
    raise PeerError("no verdict at all", where="length")


assert hashlib.sha3_256().digest_size == COMMITMENT_BYTES
