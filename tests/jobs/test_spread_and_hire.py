"""Both ends of a lease talk to each other: Spread with workers that are `Hire`, through crashes of either."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.jobs.hired_node import T0, HiredNode, S
from tests.jobs.meshwork import NETWORK, Meshwork, Worker, job, run

from qcommons.jobs.outcomes import Done
from qcommons.jobs.work import said
from qcommons.mesh.events import Failed
from qcommons.pqc.identity import node_id_of_hash
from qcommons.verify.verdict import check_verdict

POLL_NS = S // 500


class HiredWorker(Worker):
    """A worker whose every answer comes from Hire; reports are those of `Worker`."""

    def __init__(self, number: int, net: Meshwork, takes_s: float = 0.1) -> None:
        super().__init__(number, net)
        self.node = HiredNode(
            self.peer, takes_s=takes_s, report=self._report,
            check_verdict=lambda file, judge: check_verdict(file, node_id_of_hash(judge), NETWORK),
        )  # fmt: skip
        net.workers[self.peer] = self

    def _report(self, lease: bytes, hired: Any, salt: bytes | None) -> tuple[bytes, bytes]:
        items = hired.piece.items
        outcomes = [run(hired.piece.programs[one.program], hired.piece.wants[one.program], one.seed) for one in items]
        return self.report_of(lease, hired.piece, outcomes, salt)

    def asked(self, protocol: str, body: bytes, answer: Callable[[bytes], None], until_ns: int) -> None:
        self.node.run_until(T0 + self.net.now_ns)
        number = self.node.came(protocol, body, self.net.me, within_s=(until_ns - self.net.now_ns) / S)

        def look() -> None:
            self.node.run_until(T0 + self.net.now_ns)
            if number in self.node.answers:
                told = self.node.answers[number]
                if not isinstance(told, Failed):
                    answer(told if isinstance(told, bytes) else said(told))
            elif self.net.now_ns < until_ns:
                self.net.at(self.net.now_ns + POLL_NS, look)

        look()


@pytest.mark.parametrize("assurance", ["none", "audit", "replicate"])
def test_a_job_over_hired_nodes_is_answered_checked_and_told(assurance: str) -> None:
    made = Meshwork()
    workers = [HiredWorker(number, made) for number in (1, 2, 3)]
    made.start(one := job(40, assurance=assurance))
    made.run_all()
    assert made.right(one) and not made.noted("peer_broke_the_protocol") and not made.noted("peer_struck")
    assert all(isinstance(outcome, Done) for outcome in made.results[one.id].outcomes)
    assert sum(worker.node.accepted for worker in workers) == len(made.spread.view(one.id, 0))


@pytest.mark.parametrize("assurance", ["none", "audit", "replicate"])
def test_either_end_may_die_at_any_moment(assurance: str) -> None:
    """The submitter at its third write, the first worker every 50 ms."""
    made = Meshwork()
    workers = [HiredWorker(number, made) for number in (1, 2, 3)]
    made.crash_at = 3
    for turn in range(1, 20):
        made.at(turn * S // 20, workers[0].node.crash)
    made.at(S // 4, lambda: made.restart() if len(made.results) < 1 else None)
    made.start(one := job(40, assurance=assurance))
    made.run_all()
    assert made.right(one)
    assert not made.noted("peer_broke_the_protocol")
