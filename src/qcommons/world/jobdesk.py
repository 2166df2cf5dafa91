"""The desk of a world's node: its own jobs and those it was hired for, on its disk; what `node.core` does, in small.

Flow: Submit -> *Desk* -> JobMachine -> Wanted -> Spread; Spread -> ItemsEnded -> JobMachine -> Store. Hire -> Engage
-> *Desk* -> (virtual time) -> outcomes on disk -> HiredEnded; MakeReport -> report. The machines are the real ones;
workers answer by a table, or as their trade lies (`trades.py`).

    work/job/ID        number of the job, when it was accepted (event clock)
    work/run/ID/N      its outcome
    work/over/ID       it has ended
    work/hired/LEASE   who holds it, the piece, when the work is done (event clock)
    work/did/LEASE     its outcomes and when it ended
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from qcommons.base.effects import Effect, Store
from qcommons.base.ids import job_id
from qcommons.base.typed import described
from qcommons.base.units import NS_PER_S
from qcommons.circuits.wire import encode
from qcommons.engines.execute import Execution
from qcommons.engines.records import Cost, Counts, Limits
from qcommons.jobs.machine import JobEnded, JobMachine, Submitted
from qcommons.jobs.outcomes import Done, Outcome
from qcommons.jobs.plan.records import Price
from qcommons.jobs.records import Card, Item, Job, Phase, Piece, Point
from qcommons.jobs.report import report_bytes
from qcommons.jobs.work import salt_of
from qcommons.jobs.work_events import Dismiss, Engage, Engaged, HiredEnded, MakeReport, ReportMade
from qcommons.mesh.events import Crypto
from qcommons.mesh.records import PeerId
from qcommons.verify.receipt import OBJECT_TYPE, batch, result_hash
from qcommons.verify.records import Receipt
from qcommons.verify.replicate import commit_to
from qcommons.world import trades
from qcommons.world.host import After
from qcommons.world.zoo import Asked

__all__ = ["DEADLINE_S", "KEY", "Desk", "HiredDone", "Submit", "done", "job_number", "price_of"]

KEY = "work/"
RUN_S = 0.02  # predicted and taken by an honest worker, a run
UNITS = 1_000
SHOTS = 256
DEADLINE_S = 40.0
LIMITS = Limits(memory_bytes=1 << 28, seconds=10.0)


class Submit(msgspec.Struct, frozen=True):
    """A wish of the node's owner: the job of this number."""

    number: int
    runs: int
    assurance: str


class HiredDone(msgspec.Struct, frozen=True):
    """The worker has computed all runs of a lease."""

    lease: bytes


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    number: int
    runs: int
    assurance: str
    since_ns: int


class _Hired(msgspec.Struct, frozen=True, array_like=True):
    peer: bytes
    piece: Piece
    done_ns: int


class _Did(msgspec.Struct, frozen=True, array_like=True):
    outcomes: tuple[Outcome, ...]
    status: str
    given_up: str | None
    ended_ns: int


def job_number(seed: int, submit: Submit) -> Job:
    """The same job each time that it is asked for."""
    programs = trades.programs()
    wires = [encode(program) for program in programs]
    cards = tuple(
        Card(wire, hashlib.sha3_256(wire).hexdigest(), program.n_qubits, program.cregs, (), len(program.ops))
        for wire, program in zip(wires, programs, strict=True)
    )
    points = tuple(Point(run % len(cards), {}, 1_000_003 * submit.number + run) for run in range(submit.runs))
    return Job(
        id=job_id(f"qcommons/world/job {seed} {submit.number}".encode()), programs=cards,
        wants=(Counts(SHOTS),) * len(cards), points=points, seed=submit.number, limits=LIMITS,
        deadline_s=DEADLINE_S, assurance=submit.assurance, egress="public", on="mesh",
    )  # fmt: skip


def price_of(piece: Piece) -> Price:
    runs = len(piece.items)
    return Price(
        seconds=RUN_S * runs, work_units=UNITS * runs, memory_bytes=1 << 20, engines=(trades.ENGINE,),
        engine=trades.ENGINE, method=trades.METHOD,
    )  # fmt: skip


class Desk:
    """seed: of the world. me, crypto: of this node. trade: how it works for others. lied: told of each false answer:
    (lease, place). kept: what is on disk under KEY."""

    def __init__(
        self, seed: int, me: PeerId, crypto: Crypto, trade: trades.Trade, lied: Callable[[bytes, int], None],
        kept: Iterable[tuple[str, bytes]],
    ) -> None:  # fmt: skip
        self.jobs: dict[str, JobMachine] = {}
        self.trade = trade
        self._seed, self._me, self._crypto, self._lied = seed, me, crypto, lied
        self._answered = 0
        self._hired: dict[bytes, _Hired] = {}
        self._did: dict[bytes, _Did] = {}
        self._kept = dict(kept)

    # a start

    def begin(self, now_ns: int) -> tuple[list[Effect | After], list[JobMachine]]:
        """What was kept: effects of the hired jobs, and the own jobs that have not ended, to be submitted again."""
        effects: list[Effect | After] = []
        for key, raw in sorted(self._kept.items()):
            what, _, name = key.removeprefix(KEY).partition("/")
            if what == "hired":
                lease = bytes.fromhex(name)
                self._hired[lease] = hired = msgspec.msgpack.decode(raw, type=described(_Hired))
                did = self._kept.get(f"{KEY}did/{name}")
                if did is not None:
                    self._did[lease] = msgspec.msgpack.decode(did, type=described(_Did))
                    effects.append(After(0, self._ended(lease)))
                elif self.trade.takes:
                    effects.append(After(max(0, hired.done_ns - now_ns), HiredDone(lease)))
        own = [self._revived(name, raw) for name, raw in self._rows("job") if f"{KEY}over/{name}" not in self._kept]
        self._kept = {}
        return effects, own

    def _rows(self, what: str) -> list[tuple[str, bytes]]:
        head = f"{KEY}{what}/"
        return [(key.removeprefix(head), raw) for key, raw in sorted(self._kept.items()) if key.startswith(head)]

    def _revived(self, name: str, raw: bytes) -> JobMachine:
        kept = msgspec.msgpack.decode(raw, type=described(_Kept))
        job = job_number(self._seed, Submit(kept.number, kept.runs, kept.assurance))
        outcomes = {
            int(run): msgspec.msgpack.decode(value, type=described(Outcome))
            for run, value in self._rows(f"run/{name}")
        }  # fmt: skip
        machine = JobMachine(job, kept.since_ns, [Phase("accepted", "kept", kept.since_ns)], outcomes)
        self.jobs[job.id] = machine
        return machine

    # own jobs

    def submit(self, event: Submit, now_ns: int) -> tuple[Store, JobMachine]:
        """It is on disk before it begins."""
        job = job_number(self._seed, event)
        machine = self.jobs[job.id] = JobMachine(job, now_ns)
        row = _Kept(event.number, event.runs, event.assurance, now_ns)
        return Store(f"{KEY}job/{job.id}", msgspec.msgpack.encode(row)), machine

    def kept(self, job: str, ends: Iterable[tuple[int, Outcome]]) -> list[Store]:
        return [Store(f"{KEY}run/{job}/{run}", msgspec.msgpack.encode(outcome)) for run, outcome in ends]

    def forgotten(self, job: str, runs: Iterable[int]) -> list[Store]:
        return [Store(f"{KEY}run/{job}/{run}", None) for run in runs]

    def over(self, ended: JobEnded) -> Store:
        return Store(f"{KEY}over/{ended.job_id}", ended.phase.state.encode())

    def start(self, machine: JobMachine, now_ns: int) -> list[Effect]:
        return machine.handle(Submitted(1), now_ns)

    # hired

    def engage(self, event: Engage, now_ns: int) -> list[Effect | After]:
        lease = event.offer.lease
        if lease in self._hired:
            told: list[Effect | After] = [After(0, Engaged(lease))]
            return [*told, After(0, self._ended(lease))] if lease in self._did else told
        takes_ns = int(RUN_S * len(event.piece.items) * self.trade.takes * NS_PER_S)
        hired = self._hired[lease] = _Hired(event.peer, event.piece, now_ns + takes_ns)
        stored = Store(f"{KEY}hired/{lease.hex()}", msgspec.msgpack.encode(hired))
        work = [After(takes_ns, HiredDone(lease))] if self.trade.takes else []
        return [stored, After(0, Engaged(lease)), *work]

    def dismiss(self, event: Dismiss, now_ns: int) -> list[Effect | After]:
        if event.lease not in self._hired or event.lease in self._did:
            return []
        return self._end(event.lease, _Did((), "cancelled", event.why, now_ns))

    def done(self, event: HiredDone, now_ns: int) -> list[Effect | After]:
        """All its runs are computed: on disk first."""
        if event.lease in self._did or event.lease not in self._hired:
            return []
        items = enumerate(self._hired[event.lease].piece.items)
        outcomes = tuple(self._outcome(event.lease, place, item) for place, item in items)
        return self._end(event.lease, _Did(outcomes, "done", None, now_ns))

    def _end(self, lease: bytes, did: _Did) -> list[Effect | After]:
        self._did[lease] = did
        return [Store(f"{KEY}did/{lease.hex()}", msgspec.msgpack.encode(did)), After(0, self._ended(lease))]

    def _ended(self, lease: bytes) -> HiredEnded:
        did = self._did[lease]
        return HiredEnded(lease, did.status, did.given_up)

    def _outcome(self, lease: bytes, place: int, item: Item) -> Outcome:
        piece = self._hired[lease].piece
        program, want = trades.read(piece.programs[item.program]), piece.wants[item.program]
        honest = trades.answer(program, want, item.seed)
        answer = honest
        if self.trade.answer is not None:
            answer = self.trade.answer(Asked(program, want, item.seed, trades.answer, self._answered))
        self._answered += 1
        if answer.counts != honest.counts or answer.error_bound:
            self._lied(lease, place)
        return done(answer)

    def report(self, event: MakeReport) -> ReportMade:
        """From what is on disk: the same bytes each time."""
        hired, did = self._hired.get(event.lease), self._did.get(event.lease)
        if hired is None or did is None or not did.outcomes:
            return ReportMade(event.lease, None)
        receipts = [
            self._receipt(event.job, place, hired.piece, item, outcome, did.ended_ns)
            for place, (item, outcome) in enumerate(zip(hired.piece.items, did.outcomes, strict=True))
        ]
        payload, leaves, _ = batch(receipts, self._me, did.ended_ns)
        data = report_bytes(did.outcomes, leaves, self._crypto.sign(OBJECT_TYPE, payload))
        if self.trade.report is not None:
            data = self.trade.report(data)
        return ReportMade(event.lease, data, self._commitments(event, did))

    def _commitments(self, event: MakeReport, did: _Did) -> bytes:
        if event.salt is None:
            return b""
        salt = event.salt if self.trade.opens else bytes(len(event.salt))
        job, told = event.job, []
        for place, outcome in enumerate(did.outcomes):
            assert isinstance(outcome, Done)
            digest = result_hash(outcome.execution.answer)
            told.append(commit_to(job, place, self._me, salt_of(salt, place), digest)[0])
        return b"".join(told)

    def _receipt(self, job: str, place: int, piece: Piece, item: Item, outcome: Outcome, ended_ns: int) -> Receipt:
        assert isinstance(outcome, Done)
        answer = outcome.execution.answer
        want = piece.wants[item.program]
        engine, method = self.trade.claims or (answer.engine, answer.method)
        return Receipt(
            job_id=job, run=place, program_id=hashlib.sha3_256(piece.programs[item.program]).hexdigest(),
            want="counts", engine=engine, engine_version=trades.version(), method=method, seed=item.seed,
            shots=want.shots if isinstance(want, Counts) else None, work_units=UNITS,
            duration_ns=int(RUN_S * NS_PER_S), result_hash=result_hash(answer), physics="emulated", status="done",
            ended_at_ns=ended_ns,
        )  # fmt: skip


def done(answer: Any) -> Done:
    """An answer as a worker's outcome."""
    cost = Cost(seconds=RUN_S, memory_bytes=1 << 20, work_units=float(UNITS))
    cregs = (("c", trades.N_QUBITS),)
    return Done(Execution(answer=answer, reason="by the table", predicted=cost, seconds=RUN_S, cregs=cregs))
