"""What submitters are told of their leases once they are granted: that they run, how they ended, and the report.

    asked     engaged                       ended, reported                        over
    collect   held; Running in the end      Ready; Committed by a replica          Over, with the reason
    open      failed: it runs still         Opened, by a replica only              Over
    part      failed: it runs still         the part                               failed

Flow: Hire -> *Telling* -> Run(MakeReport) -> ReportMade -> *Telling* -> Hire. A question that waits for the report is
held while it is made. Of collect and open the newest of a lease is held, of parts PARTS_HELD_MAX.
"""

from __future__ import annotations

import hashlib

from qcommons.base.canonical import encode
from qcommons.base.effects import Effect, Run, note
from qcommons.base.text import line
from qcommons.jobs.hire_reports import Made, Reports
from qcommons.jobs.hire_rows import Ended, Hired, Rows
from qcommons.jobs.hire_terms import said_of
from qcommons.jobs.hire_waiting import Question, Waiting, answer
from qcommons.jobs.report import REPORT_BYTES_MAX
from qcommons.jobs.work import (
    COLLECT,
    OPEN,
    PART,
    Committed,
    LeaseRef,
    Message,
    Opened,
    Over,
    Ready,
    Running,
    WantPart,
    part_count,
    read,
)
from qcommons.jobs.work_events import MakeReport, ReportMade
from qcommons.mesh.events import Asked, Failed
from qcommons.pqc.commit import COMMITMENT_BYTES

__all__ = ["MAKES_MAX", "NO_LEASE", "PARTS_HELD_MAX", "UNKNOWN", "Telling", "question_of", "refused"]

PARTS_HELD_MAX = 8
MAKES_MAX = 64  # times that one report is made from disk in one life of the node
UNKNOWN = Over("unknown", "there is no such lease")
NO_LEASE = Failed("usage", "there is no such lease", "lease")
LATER = Failed("unavailable", "the same was asked again since: the later question is answered", "lease")
RUNS_STILL = Failed("unavailable", "it still runs: collect it first", "lease")
NOT_READ = Failed("unavailable", "the report was not read from disk in the time for an answer: ask again", "lease")


class Telling:
    """State: the reports in memory. rows, waiting: shared with `Hire`. secret: of the node; salts follow from it."""

    def __init__(self, secret: bytes, rows: Rows, waiting: Waiting) -> None:
        self._secret = secret
        self._rows = rows
        self._waiting = waiting
        self._reports = Reports()

    @property
    def size_bytes(self) -> int:
        """Of the reports in memory."""
        return self._reports.size_bytes

    # questions

    def collect(self, asked: Asked, now_ns: int) -> list[Effect]:
        """Raises PeerError, as `open` and `part` do, where the question is malformed."""
        hired = self._rows.held_by(asked.peer, read(LeaseRef, asked.body).lease)
        if hired is None:
            return refused(asked, UNKNOWN)
        if hired.row.state == "over":
            return [answer(question_of(asked), hired.over())]
        return self._wanted(hired, asked, COLLECT, 0, now_ns)

    def open(self, asked: Asked, now_ns: int) -> list[Effect]:
        hired = self._rows.held_by(asked.peer, read(LeaseRef, asked.body).lease)
        if hired is None:
            return refused(asked, UNKNOWN)
        if hired.row.state == "over":
            return [answer(question_of(asked), hired.over())]
        if not hired.row.commits:
            return refused(asked, Failed("usage", "its offer asked for no commitment: collect it", "lease"))
        if hired.is_open:
            return refused(asked, RUNS_STILL)
        return self._wanted(hired, asked, OPEN, 0, now_ns)

    def part(self, asked: Asked, now_ns: int) -> list[Effect]:
        want = read(WantPart, asked.body)
        hired = self._rows.held_by(asked.peer, want.lease) if want.of == "report" else None
        if hired is None:
            return refused(asked, NO_LEASE)
        if hired.row.state == "over":
            return [answer(question_of(asked), Failed("usage", hired.over().what, "lease"))]
        if hired.is_open:
            return refused(asked, RUNS_STILL)
        return self._wanted(hired, asked, PART, want.number, now_ns)

    def _wanted(self, hired: Hired, asked: Asked, protocol: str, number: int, now_ns: int) -> list[Effect]:
        """Answer from the report, or hold the question until it is there."""
        lease = hired.row.lease.id
        question = Question(asked.peer, asked.id, lease, protocol, number)
        made = None if hired.is_open else self._reports.get(lease)
        if made is not None:
            return self._tell(hired, question, made)
        if not hired.is_open and not hired.making and hired.makes >= MAKES_MAX:
            return refused(asked, Failed("unavailable", f"its report was made {MAKES_MAX} times already", "lease"))
        return [*self._room(hired, protocol), *self._waiting.hold(asked, question, now_ns), *self._make(hired)]

    def _room(self, hired: Hired, protocol: str) -> list[Effect]:
        """The oldest of a kind is answered where too many would be held."""
        held = self._waiting.of(hired.row.lease.id, protocol)
        if len(held) < (PARTS_HELD_MAX if protocol == PART else 1):
            return []
        oldest = self._waiting.withdrawn(held[0].peer, held[0].id)
        assert oldest is not None
        return [answer(oldest, _running(hired) if protocol == COLLECT else LATER)]

    def late(self, question: Question) -> list[Effect]:
        """A question that must be answered now."""
        hired = self._rows.get(question.lease)
        if question.protocol == COLLECT and hired is not None:
            return [answer(question, _running(hired))]
        return [answer(question, NOT_READ)]

    # the report

    def ended(self, hired: Hired) -> list[Effect]:
        """Its job has: whoever waits gets the report."""
        return self._make(hired) if self._waiting.of(hired.row.lease.id, COLLECT) else []

    def _make(self, hired: Hired) -> list[Effect]:
        if hired.is_open or hired.making:
            return []
        hired.making = True
        hired.makes += 1
        lease = hired.row.lease.id
        salt = self._salt(lease) if hired.row.commits else None
        return [Run(f"hire.report.{lease.hex()}", MakeReport(lease, hired.peer, hired.row.hired_job, salt))]

    def made(self, event: ReportMade) -> list[Effect]:
        hired = self._rows.get(event.lease)
        if hired is None or not hired.making:
            return [note("hire_event_ignored", event="ReportMade", lease=event.lease.hex())]
        hired.making = False
        if hired.row.state == "over":
            return []
        data = event.data or b""
        digest = event.digest or hashlib.sha3_256(data).digest()
        why = _fault(hired, event, digest)
        if why:
            return self.end(hired, "given up", why)
        hired.digest = digest
        made = Made(hired.peer, data, digest, event.commitments)
        self._reports.put(event.lease, made)
        effects: list[Effect] = []
        for question in self._waiting.take(event.lease):
            effects += self._tell(hired, question, made)
        return effects

    def _tell(self, hired: Hired, question: Question, made: Made) -> list[Effect]:
        size_bytes, digest, first = len(made.data), made.digest, made.part(0)
        last = part_count(size_bytes) - 1
        told: Message | Failed | bytes
        match question.protocol:
            case "work.open/1":
                told = Opened(self._salt(question.lease), size_bytes, digest, first)
            case "work.part/1" if question.number > last:
                told = Failed("usage", f"part {question.number} of {last + 1}", "number", f"0 to {last}")
            case "work.part/1":
                told = made.part(question.number)
            case _ if hired.row.commits:
                told = Committed(made.commitments)
            case _:
                told = Ready(size_bytes, digest, first)
        number = question.number if question.protocol == PART else 0
        is_whole = not isinstance(told, Committed | Failed) and number == last
        kept = self._rows.become(hired, "reported") if is_whole and hired.row.state == "ended" else []
        return [*kept, answer(question, told)]

    def _salt(self, lease: bytes) -> bytes:
        """From which those of a replica's commitments follow: the same after a restart, known to nobody before."""
        return hashlib.sha3_256(encode(["qcommons/hired-salt.1", self._secret, lease])).digest()

    # the end

    def end(self, hired: Hired, end: Ended, why: str) -> list[Effect]:
        """It is over: kept, and told to whoever waits."""
        kept = self._rows.become(hired, "over", end, said_of(why))
        facts = {"peer": hired.peer.hex(), "lease": hired.row.lease.id.hex()}
        return [
            note("hired_over", **facts, end=end, why=line(why)),
            *kept,
            *self.gone(hired.row.lease.id, hired.over()),
        ]

    def gone(self, lease: bytes, told: Over = UNKNOWN) -> list[Effect]:
        """Nothing is held of it any more; who waits hears what `told` says."""
        self._reports.forget(lease)
        failed = Failed("usage", told.what, "lease")
        return [
            answer(one, failed if one.protocol == PART else told)
            for one in self._waiting.take(lease, COLLECT, OPEN, PART)
        ]


def _fault(hired: Hired, event: ReportMade, digest: bytes) -> str:
    """Why a report cannot be told: something is wrong at this node. Whoever got the first part of one report and the
    second of another would take this node for a liar."""
    row = hired.row
    if not event.data:
        return "its result is not on this node's disk any more"
    if len(event.data) > REPORT_BYTES_MAX:
        return f"its report has {len(event.data)} bytes; {REPORT_BYTES_MAX} can be told: offer it in smaller pieces"
    if len(event.commitments) != (COMMITMENT_BYTES * row.runs if row.commits else 0):
        return f"{len(event.commitments)} bytes of commitments to {row.runs} runs"
    if hired.digest is not None and hired.digest != digest:
        return "its report was made twice and differs"
    return ""


def _running(hired: Hired) -> Running:
    """answered is what is sure: none before the job has ended, since its receipts share one signature."""
    return Running(0 if hired.is_open else hired.row.runs, hired.row.runs)


def refused(asked: Asked, told: Over | Failed) -> list[Effect]:
    """Answered at once, and noted."""
    said = note(
        "hire_refused", peer=asked.peer.hex(), why=told.what, where=told.where if isinstance(told, Failed) else ""
    )
    return [said, answer(question_of(asked), told)]


def question_of(asked: Asked) -> Question:
    """Of what is answered at once, by whichever protocol it came."""
    return Question(asked.peer, asked.id, b"", "")
