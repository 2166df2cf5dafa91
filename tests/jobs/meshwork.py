"""A small mesh for the tests of Spread: one submitter, workers that run circuits, lie, decline or fall silent, and an
exchange between them with delay, loss and duplicates, all under a virtual clock.

Everything that proves something is real: reports are signed and read as in a node,
verdicts are signed and checked. What is modelled is time: a run takes `run_s` at speed 1, a worker does one lease after
the other. The submitter's disk is a dict; `crash_at` stops it at the n-th Store, before anything that follows.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import msgspec
from tests.jobs.making import LIMITS
from tests.jobs.test_offer import BELL

from qcommons.base.effects import Note, Run, Send, Stop, Store, WakeAt, Woken
from qcommons.base.errors import PeerError
from qcommons.base.seeds import stream
from qcommons.base.units import NS_PER_S
from qcommons.circuits.wire import decode as decode_program
from qcommons.engines.execute import Request, execute
from qcommons.engines.records import Counts
from qcommons.jobs.asks import Ask, Lease
from qcommons.jobs.machine import Doubted, ItemsEnded, JobEnded, JobMachine, PieceEnded, Submitted
from qcommons.jobs.offer import PART_BYTES, Offer, parts_of, piece_of, read_offer, task_of, work_bytes
from qcommons.jobs.outcomes import Done, Outcome, Unserved
from qcommons.jobs.place import Candidate
from qcommons.jobs.plan.records import Price
from qcommons.jobs.records import Card, Job, Piece, Point
from qcommons.jobs.report import read_report, report_bytes
from qcommons.jobs.spread import Spread
from qcommons.jobs.work import (
    DROP,
    OFFER,
    OPEN,
    PART,
    VERDICT,
    Committed,
    Drop,
    Granted,
    LeaseRef,
    Opened,
    Over,
    Ready,
    Running,
    WantPart,
    job_of,
    read,
    said,
    salt_of,
)
from qcommons.jobs.work_events import (
    Came,
    Candidates,
    Heard,
    JobOver,
    ReadReport,
    ReportRead,
    ToMesh,
    Unwanted,
    Wanted,
)
from qcommons.mesh.events import Answer, Asked, Failed
from qcommons.mesh.records import PeerId
from qcommons.pqc.identity import NodeKey, node_id_of_hash
from qcommons.verify.receipt import result_hash, sign_batch
from qcommons.verify.records import Receipt, Verdict
from qcommons.verify.replicate import commit_to
from qcommons.verify.verdict import check_verdict, sign_verdict

NETWORK = "home"
START_S = 1_800_000_000
PROGRAM_ID = hashlib.sha3_256(BELL).hexdigest()
TEMPLATE = execute(
    Request(program=decode_program(BELL), want=Counts(64), seed=1, limits=LIMITS, engine="numpy", method="dense"),
    lambda: 0,
)
_KEYS: dict[int, NodeKey] = {}


def key(number: int) -> NodeKey:
    if number not in _KEYS:
        _KEYS[number] = NodeKey(bytes([number]) * 32)
    return _KEYS[number]


def job(runs: int, *, shots: int = 64, name: str = "a", **fields: Any) -> Job:
    """`runs` Bell pairs with seeds of their own."""
    usual: dict[str, Any] = {
        "id": "job_" + name * 16, "programs": (Card(BELL, PROGRAM_ID, 2, (("c", 2),), (), 4),),
        "wants": (Counts(shots),), "points": tuple(Point(0, {}, 100 + run) for run in range(runs)), "seed": 7,
        "limits": LIMITS, "deadline_s": 3_600.0, "on": "mesh", "egress": "public", "engine": "numpy", "method": "dense",
    }  # fmt: skip
    return Job(**(usual | fields))


def run(program: bytes, want: Any, seed: int) -> Outcome:
    """As the numpy engine answers a Bell pair, drawn from the seed: whoever runs it finds the same numbers."""
    ones = int(stream(seed, "bell").binomial(want.shots, 0.5))
    counts = {key: shots for key, shots in (("00", want.shots - ones), ("11", ones)) if shots}
    answer = msgspec.structs.replace(TEMPLATE.answer, counts=counts)
    return Done(msgspec.structs.replace(TEMPLATE, answer=answer))


def lie(outcome: Outcome) -> Outcome:
    """All shots on one outcome."""
    assert isinstance(outcome, Done)
    counts = outcome.execution.answer.counts or {}
    answer = msgspec.structs.replace(outcome.execution.answer, counts={"01": sum(counts.values())})
    return Done(msgspec.structs.replace(outcome.execution, answer=answer))


class Crash(Exception):
    """The submitter dies."""


class Worker:
    """One peer. answer: of a run, from the honest outcome, the number of its runs so far and its place; None: it fails.

    speed: how fast it is. units: of work that it names for a run. mute_after: so many leases, then it is silent.
    declines: what it says to offers.
    """

    def __init__(self, number: int, net: Meshwork, **how: Any) -> None:
        self.key, self.net = key(number), net
        self.peer = PeerId(self.key.hash)
        self.speed: float = how.pop("speed", 1.0)
        self.answer: Callable[[Outcome, int], Outcome] = how.pop("answer", lambda outcome, number: outcome)
        self.declines: Any = how.pop("declines", None)
        self.mute_after: int = how.pop("mute_after", 1 << 30)
        self.units: int = how.pop("units", 10)
        self.spoil: Callable[[bytes], bytes] = how.pop("spoil", lambda report: report)
        self.commits_to: Callable[[bytes], bytes] = how.pop("commits_to", lambda commitments: commitments)
        self.row: dict[str, Any] = {"state": "alive", "relation": "stranger", "places": 1, "ask": None} | how
        self.offers: dict[bytes, Offer] = {}
        self.reports: dict[bytes, bytes] = {}
        self.commitments: dict[bytes, bytes] = {}
        self.ready_ns: dict[bytes, int] = {}
        self.dropped: set[bytes] = set()
        self.verdicts: list[Verdict] = []
        self.free_ns = self.answered = 0
        self.is_up = True

    @property
    def ask(self) -> Ask | None:
        found: Ask | None = self.row["ask"]
        return found

    def candidate(self) -> Candidate:
        return Candidate(
            peer=self.peer, node_id=node_id_of_hash(self.peer), round_trip_ns=2_000_000, offers={"numpy": 12},
            **self.row,
        )  # fmt: skip

    def asked(self, protocol: str, body: bytes, answer: Callable[[bytes], None], until_ns: int) -> None:
        if not self.is_up:
            return
        if protocol == OFFER:
            self._offer(read_offer(body), answer)
        elif protocol == PART:
            want = read(WantPart, body)
            answer(parts_of(self.reports[want.lease])[want.number])
        elif protocol == VERDICT:
            self.verdicts.append(check_verdict(body, node_id_of_hash(self.net.me), NETWORK))
            answer(said(Over("noted", "")))
        elif protocol == DROP:
            self.dropped.add(read(Drop, body).lease)
            answer(said(Over("noted", "")))
        else:
            self._collect(protocol, read(LeaseRef, body).lease, answer, until_ns)

    def _offer(self, offer: Offer, answer: Callable[[bytes], None]) -> None:
        if offer.lease not in self.offers and self.declines is not None:
            return answer(said(self.declines))
        if offer.lease in self.offers:
            assert msgspec.structs.replace(offer, first=b"") == msgspec.structs.replace(
                self.offers[offer.lease], first=b""
            ), "an offer is repeated as it was"
        elif offer.work_bytes > PART_BYTES:
            return self.net.fetch_work(self, offer, lambda work: self._take(offer, work, answer))
        self._take(offer, offer.first, answer)

    def _take(self, offer: Offer, work: bytes, answer: Callable[[bytes], None]) -> None:
        if offer.lease not in self.offers:
            piece = piece_of(work, offer.task, "there.0", LIMITS)
            self.offers[offer.lease] = offer
            took_ns = int(len(piece.items) * self.net.run_s / self.speed * NS_PER_S)
            self.free_ns = max(self.free_ns, self.net.now_ns) + took_ns
            self.ready_ns[offer.lease] = self.free_ns
            self._work(offer, piece)
        now_s = self.net.now_ns // NS_PER_S + START_S
        answer(
            said(
                Granted(
                    Lease(
                        id=offer.lease, node=self.peer, holder=self.net.me, resource="work", units_max=1 << 40,
                        price_per_giga=offer.price_max, during="span", from_s=now_s,
                        until_s=now_s + max(1, offer.within_ns // NS_PER_S),
                        transferable=bool(self.ask and self.ask.transferable), ask=offer.ask,
                    )
                )
            )
        )  # fmt: skip

    def _work(self, offer: Offer, piece: Piece) -> None:
        outcomes = []
        for item in piece.items:
            honest = run(piece.programs[item.program], piece.wants[item.program], item.seed)
            outcomes.append(self.answer(honest, self.answered))
            self.answered += 1
        salt = hashlib.sha3_256(offer.lease).digest() if offer.commits else None
        report, commitments = self.report_of(offer.lease, piece, outcomes, salt)
        self.reports[offer.lease] = self.spoil(report)
        self.commitments[offer.lease] = self.commits_to(commitments)

    def report_of(self, lease: bytes, piece: Piece, outcomes: list[Outcome], salt: bytes | None) -> tuple[bytes, bytes]:
        """The signed report, and with a salt the commitments of a replica."""
        receipts = [self._receipt(lease, piece, place, outcome) for place, outcome in enumerate(outcomes)]
        signed = sign_batch(self.key, NETWORK, receipts, 10**18)
        report = report_bytes(outcomes, [one.receipt for one in signed], signed[0].signed_root)
        told = [] if salt is None else [
            commit_to(
                self.hired_job(lease, piece), place, self.peer, salt_of(salt, place), one.result_hash or bytes(32)
            )[0]
            for place, one in enumerate(receipts)
        ]  # fmt: skip
        return report, b"".join(told)

    def hired_job(self, lease: bytes, piece: Piece) -> str:
        return job_of(lease, self.net.me, task_of(work_bytes(piece)))

    def _receipt(self, lease: bytes, piece: Piece, place: int, outcome: Outcome) -> Receipt:
        item = piece.items[place]
        want = piece.wants[item.program]
        answer = outcome.execution.answer if isinstance(outcome, Done) else None
        took_ns = int(self.net.run_s / self.speed * NS_PER_S)
        return Receipt(
            job_id=self.hired_job(lease, piece), run=place,
            program_id=hashlib.sha3_256(piece.programs[item.program]).hexdigest(),
            want="counts", engine="numpy" if answer else "", engine_version=VERSION if answer else "",
            method="dense" if answer else "", seed=item.seed, shots=want.shots if answer else None,  # type: ignore[union-attr]
            work_units=self.units, duration_ns=took_ns, result_hash=result_hash(answer) if answer else None,
            physics="emulated" if answer else "none", status="done" if answer else "failed", ended_at_ns=10**18,
        )  # fmt: skip

    def _collect(self, protocol: str, lease: bytes, answer: Callable[[bytes], None], until_ns: int) -> None:
        if lease not in self.offers or lease in self.dropped:
            return answer(said(Over("unknown", "there is no such lease")))
        if list(self.offers).index(lease) >= self.mute_after:
            return
        if self.ready_ns[lease] > self.net.now_ns:
            at_ns = min(self.ready_ns[lease], until_ns - NS_PER_S)
            if at_ns < self.ready_ns[lease]:
                return self.net.at(at_ns, lambda: answer(said(Running(0, 1))))
            return self.net.at(at_ns, lambda: self._collect(protocol, lease, answer, until_ns) if self.is_up else None)
        report = self.reports[lease]
        digest, first = hashlib.sha3_256(report).digest(), report[:PART_BYTES]
        if protocol == OPEN:
            return answer(said(Opened(hashlib.sha3_256(lease).digest(), len(report), digest, first)))
        if self.offers[lease].commits:
            return answer(said(Committed(self.commitments[lease])))
        answer(said(Ready(len(report), digest, first)))


class Meshwork:
    """The submitter and its peers. jobs: machines by job id; results: of those that ended; notes: every Note."""

    def __init__(self, *, run_s: float = 0.01, delay_s: float = 0.001, loss: float = 0.0, twice: float = 0.0,
                 seed: int = 1, here: bool = True, priced_s: float | None = None) -> None:  # fmt: skip
        self.key = key(200)
        self.me = PeerId(self.key.hash)
        self.run_s, self.delay_ns, self.loss, self.twice = run_s, int(delay_s * NS_PER_S), loss, twice
        self.here, self.priced_s = here, priced_s if priced_s is not None else run_s
        self.rng = stream(seed, "meshwork")
        self.now_ns = 0
        self.crash_at = -1
        self.stores = 0
        self.disk: dict[str, bytes] = {}
        self.workers: dict[PeerId, Worker] = {}
        self.notes: list[Note] = []
        self.sent: list[ToMesh] = []
        self.own_runs: list[Piece] = []
        self.handed: Counter[tuple[str, int]] = Counter()
        self.doubted: list[Doubted] = []
        self.journal: dict[str, dict[int, Outcome]] = {}
        self.results: dict[str, JobEnded] = {}
        self.machines: dict[str, JobMachine] = {}
        self.spread = self._made()
        self._heap: list[tuple[int, int, int, Callable[[], None]]] = []
        self._count = self._life = 0

    def _made(self) -> Spread:
        return Spread(
            self.me, b"n" * 32, dict(self.disk), price=self._price,
            sign=lambda verdict: sign_verdict(self.key, NETWORK, verdict),
        )  # fmt: skip

    def _price(self, piece: Piece) -> Price:
        count = len(piece.items)
        return Price(seconds=count * self.priced_s, work_units=10 * count, memory_bytes=1 << 20, engines=("numpy",),
                     engine="numpy", method="dense", here=self.here)  # fmt: skip

    # time

    def at(self, at_ns: int, does: Callable[[], None], mine: bool = False) -> None:
        self._count += 1
        heapq.heappush(self._heap, (max(at_ns, self.now_ns), self._count, self._life if mine else -1, does))

    def go(self, until_s: float = 1e9, while_: Callable[[], bool] | None = None) -> None:
        while self._heap and self._heap[0][0] <= until_s * NS_PER_S and (while_ is None or while_()):
            self.now_ns, _, life, does = heapq.heappop(self._heap)
            if life not in (-1, self._life):
                continue
            try:
                does()
            except Crash:
                self.restart()

    def run_all(self, until_s: float = 1e6) -> None:
        """Until every job has its result."""
        self.go(until_s, lambda: len(self.results) < len(self.machines))

    # the submitter

    def add(self, number: int, **how: Any) -> Worker:
        worker = Worker(number, self, **how)
        self.workers[worker.peer] = worker
        return worker

    def tell(self) -> None:
        rows = tuple(worker.candidate() for worker in self.workers.values())
        self.give(Candidates(rows, START_S + self.now_ns // NS_PER_S))

    def submit(self, one: Job) -> None:
        self.journal.setdefault(one.id, {})
        self.machines[one.id] = JobMachine(one, self.now_ns, outcomes=self.journal[one.id])
        self._machine(one.id, Submitted(2))

    def give(self, event: Any) -> None:
        self._apply(self.spread.handle(event, self.now_ns))

    def start(self, *jobs: Job) -> Meshwork:
        self._apply(self.spread.begin(self.now_ns))
        self.tell()
        for one in jobs:
            self.submit(one)
        return self

    def restart(self) -> None:
        """As after a kill -9: what is on disk is all there is."""
        self._life += 1
        self.crash_at = -1
        self.spread = self._made()
        open_ = [machine.job for name, machine in self.machines.items() if name not in self.results]
        self._apply(self.spread.begin(self.now_ns))
        self.tell()
        for one in open_:
            self.submit(one)

    def _machine(self, name: str, event: Any) -> None:
        machine = self.machines[name]
        for effect in machine.handle(event, self.now_ns):
            match effect:
                case Run(_, piece):
                    until_ns = machine.history[0].since_ns + int(machine.job.deadline_s * NS_PER_S)
                    self.give(Wanted(machine.job, piece, until_ns))
                case Stop(piece_id):
                    self.give(Unwanted(piece_id))
                case Send(_, JobEnded() as ended):
                    self.results[name] = ended
                    self.give(JobOver(name))
                case WakeAt(at_ns, _):
                    self.at(at_ns, lambda: self._machine(name, Woken()) if not machine.ended else None, mine=True)

    def _apply(self, effects: Iterable[Any]) -> None:
        for effect in effects:
            match effect:
                case Store(name, value):
                    self.stores += 1
                    if value is None:
                        self.disk.pop(name, None)
                    else:
                        self.disk[name] = value
                    if self.stores == self.crash_at:
                        raise Crash
                case Send("jobs", message):
                    self._to_jobs(message)
                case Send("mesh", ToMesh() as message):
                    self._to_mesh(message)
                case Run(name, ReadReport() as asked):
                    self._read(name, asked)
                case Run(name, piece):
                    self._own(name, piece)
                case WakeAt(at_ns, token):
                    self.at(at_ns, partial(self.give, Woken(token)), mine=True)
                case Note():
                    self.notes.append(effect)

    def _to_jobs(self, message: Any) -> None:
        if isinstance(message, Doubted):
            self.doubted.append(message)
            for index in message.runs:
                self.journal[message.job_id].pop(index, None)
                self.handed[message.job_id, index] -= 1
            return self._machine(message.job_id, message)
        name = message.piece_id.partition(".")[0]
        if isinstance(message, ItemsEnded):
            self.journal[name].update(message.ends)
            self.handed.update((name, index) for index, _ in message.ends)
        self._machine(name, message)

    def _to_mesh(self, message: ToMesh) -> None:
        self.sent.append(message)
        if isinstance(message.message, Answer):
            answer = message.message
            return self._works.pop((answer.peer, answer.id))(answer)
        ask = message.message
        worker = self.workers[ask.to]
        until_ns = self.now_ns + ask.within_ns
        state = {"open": True}

        def heard(body: bytes = b"", failed: Failed | None = None) -> None:
            if state["open"]:
                state["open"] = False
                self.give(Heard(ask.ticket, body, failed))

        def answered(body: bytes) -> None:
            if self.rng.random() >= self.loss:
                self.at(self.now_ns + self.delay_ns, lambda: heard(body), mine=True)

        self.at(until_ns, lambda: heard(failed=Failed("unavailable", "no answer in time")), mine=True)
        for _ in range(1 + (self.rng.random() < self.twice)):
            if self.rng.random() >= self.loss:
                self.at(self.now_ns + self.delay_ns, lambda: worker.asked(ask.protocol, ask.body, answered, until_ns))

    _works: dict[tuple[PeerId, int], Callable[[Answer], None]]

    def fetch_work(self, worker: Worker, offer: Offer, then: Callable[[bytes], None]) -> None:
        parts = [offer.first]
        self._works = getattr(self, "_works", {})

        def next_() -> None:
            if sum(map(len, parts)) == offer.work_bytes:
                return then(b"".join(parts))
            self._count += 1
            number = self._count

            def came(answer: Answer) -> None:
                assert answer.failed is None
                parts.append(answer.body)
                self.at(self.now_ns + self.delay_ns, next_)

            self._works[worker.peer, number] = came
            body = said(WantPart(offer.lease, "work", len(parts)))
            self.give(Came(PART, Asked(worker.peer, number, body, self.now_ns + NS_PER_S)))

        next_()

    def _read(self, name: str, asked: ReadReport) -> None:
        public_key = self.workers[asked.peer].key.public_key
        try:
            reported, fault = read_report(asked.data, asked.piece, public_key, NETWORK), None
        except PeerError as error:
            reported, fault = None, (error.what, error.where or "report")
        event = ReportRead(asked.lease, reported, fault, public_key)
        self.at(self.now_ns + 1_000_000, lambda: self.give(event), mine=True)

    def _own(self, name: str, piece: Piece) -> None:
        self.own_runs.append(piece)
        ends: list[tuple[int, Outcome]] = []
        for item in piece.items:
            honest = run(piece.programs[item.program], piece.wants[item.program], item.seed)
            ends.append((item.index, honest if self.here else Unserved("not here")))
        took_ns = int(len(ends) * self.run_s * NS_PER_S)

        def over() -> None:
            self.give(ItemsEnded(name, tuple(ends)))
            self.give(PieceEnded(name))

        self.at(self.now_ns + took_ns, over, mine=True)

    # what is asserted

    def noted(self, name: str) -> list[Note]:
        return [one for one in self.notes if one.name == name]

    def lies(self, one: Job) -> int:
        """How many runs have an answer that no honest node gives; each run was handed back once, and answered."""
        wrong = 0
        for index, outcome in enumerate(self.results[one.id].outcomes):
            assert isinstance(outcome, Done), outcome
            counts = outcome.execution.answer.counts or {}
            honest = run(BELL, one.wants[0], one.points[index].seed)
            assert isinstance(honest, Done)
            same = counts == honest.execution.answer.counts
            wrong += not same if one.assurance != "replicate" else not set(counts) <= {"00", "11"}
            assert self.handed[one.id, index] == 1, f"run {index} was handed back {self.handed[one.id, index]} times"
        assert not self.noted("verdict_unsigned")
        return wrong

    def right(self, one: Job) -> bool:
        return not self.lies(one)


def _version() -> str:
    from qcommons.engines.registry import load_engines

    return load_engines()["numpy"].installed() or ""


VERSION = _version()
