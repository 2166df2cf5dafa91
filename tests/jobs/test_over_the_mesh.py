"""Spread and Hire together: whatever is lost, repeated, late or killed between them, each run is answered once, and
right, and both ends know the same of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.jobs.hired_node import T0, HiredJob, HiredNode
from tests.jobs.meshwork import NETWORK, START_S, Meshwork, Worker, job, lie, run

from qcommons.base.units import NS_PER_S
from qcommons.jobs import fetching, hire_offers, hire_reports, offer, spread_leases, work
from qcommons.jobs.records import Job
from qcommons.jobs.report import report_bytes
from qcommons.jobs.work import PART, salt_of
from qcommons.jobs.work_events import Came, Engage, Heard, Sharing
from qcommons.mesh.events import Answer, Ask, Asked
from qcommons.mesh.records import PeerId
from qcommons.pqc.identity import node_id_of_hash
from qcommons.verify.receipt import sign_batch
from qcommons.verify.replicate import commit_to
from qcommons.verify.verdict import check_verdict

assert T0 == START_S * NS_PER_S  # both clocks are one


class Node(HiredNode):
    """A `HiredNode` whose questions and answers travel through a Meshwork, and whose time is its."""

    def __init__(self, worker: HireWorker, sharing: Sharing) -> None:
        self.worker = worker
        self.calls: dict[int, Callable[[bytes], None]] = {}
        self.early: dict[int, bytes] = {}
        super().__init__(
            worker.peer, sharing=sharing, reads_s=0.001, report=worker.report,
            check_verdict=lambda file, judge: check_verdict(file, node_id_of_hash(judge), NETWORK),
        )  # fmt: skip

    def crash(self) -> None:
        self.calls.clear()
        super().crash()

    def _jobs(self, message: Any) -> None:
        if isinstance(message, Engage):
            net = self.worker.net
            self.takes_ns = int(len(message.piece.items) * net.run_s / self.worker.speed * NS_PER_S)
        super()._jobs(message)

    def _mesh(self, message: Ask | Answer, holder: PeerId | None) -> None:
        assert holder == self.worker.net.me
        if isinstance(message, Ask):
            self.worker.ask_of_us(message)
        elif message.failed is None:  # a failure looks like silence to the asker of this Meshwork
            call = self.calls.pop(message.id, None)
            if call is None:
                self.early[message.id] = message.body
            else:
                call(message.body)


class HireWorker(Worker):
    """A worker whose side of the work is Hire itself."""

    def __init__(self, number: int, net: Meshwork, **how: Any) -> None:
        sharing = how.pop("sharing", Sharing(True, places=4))
        super().__init__(number, net, **how)
        self.made: dict[bytes, tuple[bytes, list[bytes]]] = {}
        self.hired = Node(self, sharing)

    def asked(self, protocol: str, body: bytes, answer: Callable[[bytes], None], until_ns: int) -> None:
        node = self.hired
        self.step()
        number = node.came(protocol, body, self.net.me, within_s=(until_ns - self.net.now_ns) / NS_PER_S)
        if number in node.early:
            answer(node.early.pop(number))
        else:
            node.calls[number] = answer
        self.step()

    def ask_of_us(self, ask: Ask) -> None:
        """A part of the work."""
        net = self.net
        net._works = getattr(net, "_works", {})
        net._count += 1
        number = net._count

        def came(answer: Answer) -> None:
            net.at(net.now_ns + net.delay_ns, lambda: self.tell(Heard(ask.ticket, answer.body, answer.failed)))

        net._works[self.peer, number] = came
        asked = Asked(self.peer, number, ask.body, net.now_ns + ask.within_ns)
        net.at(net.now_ns + net.delay_ns, lambda: net.give(Came(PART, asked)))

    def tell(self, event: Any) -> None:
        self.step()
        self.hired.tell(event)
        self.step()

    def step(self) -> None:
        """What is due has happened; the next is in the calendar."""
        node = self.hired
        node.run_until(T0 + self.net.now_ns)
        if node._later:
            self.net.at(node._later[0][0] - T0, self.step)

    def report(self, lease: bytes, hired: HiredJob, salt: bytes | None) -> tuple[bytes, bytes]:
        """Made once, as if it lay on disk: signatures differ each time."""
        piece = hired.piece
        if lease not in self.made:
            outcomes = []
            for item in piece.items:
                honest = run(piece.programs[item.program], piece.wants[item.program], item.seed)
                outcomes.append(self.answer(honest, self.answered))
                self.answered += 1
            rows = [self._receipt(lease, piece, place, outcome) for place, outcome in enumerate(outcomes)]
            signed = sign_batch(self.key, NETWORK, rows, 10**18)
            data = report_bytes(outcomes, [one.receipt for one in signed], signed[0].signed_root)
            self.made[lease] = (data, [one.result_hash or bytes(32) for one in rows])
        data, digests = self.made[lease]
        if salt is None:
            return data, b""
        told = [
            commit_to(self.hired_job(lease, piece), place, self.peer, salt_of(salt, place), digest)[0]
            for place, digest in enumerate(digests)
        ]
        return data, b"".join(told)


def mesh(*hows: dict[str, Any], **faults: Any) -> Meshwork:
    net = Meshwork(**faults)
    for number, how in enumerate(hows):
        worker = HireWorker(number + 1, net, **how)
        net.workers[worker.peer] = worker
    return net


def workers(net: Meshwork) -> list[HireWorker]:
    return [worker for worker in net.workers.values() if isinstance(worker, HireWorker)]


def ends_right(net: Meshwork, one: Job) -> None:
    """Every run is answered once, and right; each lease was one job at most; only jobs were signed for."""
    net.run_all()
    assert net.results[one.id].phase.state == "done"
    assert net.right(one)
    for worker in workers(net):
        assert worker.hired.accepted == len(worker.hired.jobs)
        assert set(worker.made) <= set(worker.hired.jobs)


ASSURANCES = ["none", "audit", "replicate"]


@pytest.mark.parametrize("assurance", ASSURANCES)
def test_a_job_is_run_by_peers_that_hire_it(assurance: str) -> None:
    net, one = mesh({}, {}, {}), job(40, assurance=assurance)
    ends_right(net.start(one), one)
    assert sum(len(worker.made) > 0 for worker in workers(net)) >= 2
    kinds = [kind for worker in workers(net) for row in worker.hired.hire.view(net.now_ns) for kind in row.verdicts]
    assert set(kinds) <= {"right"} and bool(kinds) == (assurance != "none")


@pytest.mark.parametrize("assurance", ASSURANCES)
@pytest.mark.parametrize("seed", range(6))
def test_a_job_ends_right_though_messages_are_lost_and_repeated(assurance: str, seed: int) -> None:
    net, one = mesh({}, {"speed": 0.2}, {}, loss=0.1, twice=0.2, seed=seed), job(24, assurance=assurance)
    ends_right(net.start(one), one)


@pytest.mark.parametrize("assurance", ASSURANCES)
@pytest.mark.parametrize("crash_at", [1, 2, 3, 4, 5])
def test_a_job_ends_right_though_a_worker_dies_after_any_store(assurance: str, crash_at: int) -> None:
    net, one = mesh({}, {}, {}), job(24, assurance=assurance)
    for worker in workers(net):
        worker.hired.crash_at = crash_at
    ends_right(net.start(one), one)
    assert crash_at > 2 or any(worker.hired.crashes for worker in workers(net))  # a lease stores twice, or three times


@pytest.mark.parametrize("assurance", ASSURANCES)
@pytest.mark.parametrize("crash_at", [1, 2, 3, 5, 8])
def test_a_job_ends_right_though_the_submitter_dies_after_any_store(assurance: str, crash_at: int) -> None:
    net, one = mesh({}, {}, {}), job(24, assurance=assurance)
    net.crash_at = crash_at
    ends_right(net.start(one), one)
    assert net.crash_at == -1  # it has died


@pytest.mark.parametrize("seed", range(8))
def test_a_job_ends_right_though_everything_happens_at_once(seed: int) -> None:
    hows = ({}, {"answer": lambda outcome, number: lie(outcome)}, {"speed": 0.1}, {})
    net = mesh(*hows, loss=0.05, twice=0.1, seed=seed, run_s=0.05)
    one = job(30, assurance=("audit", "replicate")[seed % 2], deadline_s=36_000.0)
    net.crash_at = 2 + 3 * seed
    for place, worker in enumerate(workers(net)):
        worker.hired.crash_at = 1 + (seed + place) % 5
    net.start(one)
    net.run_all()
    assert net.results[one.id].phase.state == "done"
    assert all(count == 1 for count in net.handed.values())
    if one.assurance == "audit":  # a lie may pass unaudited; what came of a caught liar is doubted
        assert net.lies(one) < 30


def test_longer_work_and_reports_come_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 128 bytes instead of 512 KiB."""
    for kind in (offer.Offer, work.WantPart):  # msgspec reads the limits of fields at the first use: not these
        msgspec.msgpack.Decoder(kind)
    for module in (offer, work, hire_offers, hire_reports, fetching, spread_leases):
        monkeypatch.setattr(module, "PART_BYTES", 128)
    net, one = mesh({}, {}), job(200, assurance="audit")
    ends_right(net.start(one), one)
    asked = [told.message.body for told in net.sent if isinstance(told.message, Ask) and told.message.protocol == PART]
    assert {work.read(work.WantPart, body).number for body in asked} >= {1, 2, 3}
    answered = [told.message for told in net.sent if isinstance(told.message, Answer)]
    assert answered and all(len(one.body) <= 128 for one in answered)


def test_a_liar_is_caught_and_has_the_verdict_on_its_own_disk() -> None:
    net, one = mesh({}, {"answer": lambda outcome, number: lie(outcome)}, {}), job(60, assurance="audit")
    ends_right(net.start(one), one)
    net.go(net.now_ns / NS_PER_S + 10)
    liar = workers(net)[1].hired
    assert "wrong" in {kind for row in liar.hire.view(net.now_ns) for kind in row.verdicts}
    assert any(key.startswith("hired-verdict/") for key in liar.disk)


def test_who_shares_nothing_or_refuses_the_campaign_has_no_part_in_it() -> None:
    off, refusing = Sharing(False, "sharing is off"), Sharing(True, refuses=frozenset({"protein-7"}))
    net = mesh({"sharing": off}, {"sharing": refusing}, {})
    one = job(20, purpose="protein-7")
    ends_right(net.start(one), one)
    assert [len(worker.hired.jobs) > 0 for worker in workers(net)] == [False, False, True]


def test_what_the_owner_of_a_worker_ends_is_done_elsewhere() -> None:
    net, one = mesh({}, {}, {}, run_s=0.5), job(20)
    net.start(one)
    net.go(0.5)
    first = workers(net)[0].hired
    for lease, hired in list(first.jobs.items()):
        if hired.status is None:
            hired.status, hired.given_up = "cancelled", "the owner needs the machine"
            workers(net)[0].tell(first._job_ended(lease))
    ends_right(net, one)
