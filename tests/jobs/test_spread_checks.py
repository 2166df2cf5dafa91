"""From a report to what is handed back: which runs are used, which go elsewhere, and what the lease's record says."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest
from tests.jobs.meshwork import Meshwork, Worker, job, lie

from qcommons.jobs.leases import KEY, LeaseRecord, read_kept
from qcommons.jobs.offer import Offer
from qcommons.jobs.outcomes import Outcome, Unserved
from qcommons.jobs.plan.records import Price
from qcommons.jobs.records import Job, Piece
from qcommons.jobs.spread_checks import DONE_IN, TRIES_MAX, Checks
from qcommons.mesh.records import PeerId
from qcommons.verify.records import Receipt


def played(one: Job, *workers: dict[str, Any], **net: Any) -> Meshwork:
    made = Meshwork(**net)
    for number, how in enumerate(workers, 1):
        made.add(number, **how)
    made.start(one)
    made.run_all()
    return made


def of(made: Meshwork, place: int) -> list[LeaseRecord]:
    """Records of the leases of one worker, in the order in which they were given out."""
    peer = list(made.workers)[place]
    kept = [read_kept(raw) for name, raw in made.disk.items() if name.startswith(KEY)]
    return sorted((record for record in kept if record.peer == peer), key=lambda record: record.serial)


def fails(outcome: Outcome, number: int) -> Outcome:
    return Unserved("no memory left")


def lies(outcome: Outcome, number: int) -> Outcome:
    return lie(outcome)


def test_without_checks_a_report_is_used_whole_and_its_record_says_so() -> None:
    made = played(one := job(30), {})
    assert made.right(one) and not made.own_runs
    for record in of(made, 0):
        assert (record.state, record.why) == ("accepted", DONE_IN) and record.accepted == record.runs
        assert record.checked == () and record.verdicts == ()


def test_of_a_report_that_failed_in_part_the_rest_is_used_and_the_failures_go_elsewhere() -> None:
    """Every third run fails at the first peer: its other runs are not done twice."""
    broken = {"answer": lambda outcome, number: Unserved("no memory left") if number % 3 == 0 else outcome}
    made = played(one := job(30), broken, {"speed": 0.01})
    assert made.right(one), "each run handed back once, and answered"
    first, second = (Counter(run for record in of(made, place) for run in record.accepted) for place in (0, 1))
    assert first and second and not first & second and len(first | second) == 30
    failed = [run for record in of(made, 0) for run in record.runs if run not in record.accepted]
    assert failed and set(failed) <= set(second)


def test_a_run_that_fails_wherever_it_is_tried_ends_with_what_the_peers_said() -> None:
    made = played(one := job(2, deadline_s=600.0), {"answer": fails}, {"answer": fails})
    outcomes = made.results[one.id].outcomes
    assert all(isinstance(outcome, Unserved) and "no memory left" in outcome.what for outcome in outcomes)
    rows = made.spread.view(one.id, made.now_ns)
    assert {row.peer for row in rows} == {made.workers[peer].candidate().node_id for peer in made.workers}
    assert len(rows) <= TRIES_MAX


def test_of_a_liar_nothing_is_used_and_its_record_names_what_was_compared() -> None:
    made = played(one := job(60, assurance="audit"), {}, {"answer": lies})
    assert made.right(one)
    caught = [record for record in of(made, 1) if "wrong" in record.found]
    assert caught
    for record in caught:
        assert record.state == "ended" and record.accepted == () and record.verdicts
        assert record.why == "it was found lying: none of its runs is used" and set(record.checked) <= set(record.runs)


def test_replicas_say_whose_answer_stands_and_that_the_others_were_compared() -> None:
    made = played(one := job(20, assurance="replicate"), {}, {}, {})
    assert made.right(one)
    records = [record for place in range(3) for record in of(made, place) if record.state == "accepted"]
    assert Counter(run for record in records for run in record.accepted) == Counter(range(20))
    assert Counter(run for record in records for run in record.checked) == Counter(dict.fromkeys(range(20), 2))
    assert {record.why for record in records} <= {DONE_IN, "it was a replica of the answers used"}


def test_a_replica_that_lied_is_told_so_in_its_record() -> None:
    made = played(one := job(20, assurance="replicate"), {}, {"answer": lies}, {})
    assert made.right(one)
    assert any(record.why == "its answer was found wrong" for record in of(made, 1))


def test_an_audit_that_this_node_cannot_do_is_asked_of_a_third(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that it could (`price.here`), and its engine fails: the third answers the same question."""
    real = Checks.own_ended
    monkeypatch.setattr(
        Checks, "own_ended", lambda self, piece, ends: real(self, piece, [(run, Unserved("broken")) for run, _ in ends])
    )
    made = played(one := job(40, assurance="audit"), {}, {})
    assert made.right(one) and made.noted("own_audit_failed")
    helped = [record for place in (0, 1) for record in of(made, place) if record.helps]
    assert helped and all(record.state == "accepted" and not record.accepted for record in helped)
    assert not made.noted("peer_struck")


def test_where_nobody_else_can_compute_it_again_what_is_in_question_is_not_used() -> None:
    made = played(job(40, assurance="audit", deadline_s=120.0), {}, here=False)
    asked = [record for record in of(made, 0) if record.checked]
    assert asked and not any(record.accepted for record in asked), "no run of such a lease is better than the others"
    assert not made.noted("peer_struck"), "it proves nothing against the peer"


class Blind(Worker):
    """Lies in its own leases and fails whatever it is asked to compute again for an audit."""

    def _work(self, offer: Offer, piece: Piece) -> None:
        helps = self.net.spread._board.leases[offer.lease].parcel.helps
        self.answer = (lambda outcome, number: Unserved("no engine today")) if helps else lambda one, _: lie(one)
        super()._work(offer, piece)


def test_a_third_that_merely_fails_proves_nothing_and_nothing_of_the_lease_is_used() -> None:
    made = Meshwork(here=False, run_s=0.001)
    for number in (1, 2):
        worker = Blind(number, made, places=8)
        made.workers[worker.peer] = worker
    made.start(job(100, assurance="audit", deadline_s=600.0))
    made.run_all()
    asked = [record for place in (0, 1) for record in of(made, place) if record.checked]
    assert asked and not any(record.accepted for record in asked)
    assert not made.noted("peer_struck")


class Elsewhere(Meshwork):
    """No lease names an engine; this node has one, and another one, which the worker names, fails here."""

    def _price(self, piece: Piece) -> Price:
        return msgspec.structs.replace(super()._price(piece), here=True, engine=None, method=None)

    def _own(self, name: str, piece: Piece) -> None:
        self.here = piece.engine != "aer"
        super()._own(name, piece)


class Boaster(Worker):
    def _receipt(self, *of: Any) -> Receipt:
        receipt = super()._receipt(*of)
        return msgspec.structs.replace(receipt, engine="aer", method="mps", engine_version="9")


def test_a_lie_said_to_be_of_an_engine_that_is_not_here_is_found_by_statistics() -> None:
    made = Elsewhere(run_s=0.001)
    worker = Boaster(1, made, answer=lambda outcome, _: lie(outcome))
    made.workers[worker.peer] = worker
    made.start(job(40, assurance="audit", engine=None, method=None))
    made.run_all()
    assert {piece.engine for piece in made.own_runs} == {"aer", None}
    assert made.spread.quarantine.standing(worker.peer).lies == 1


def test_what_was_used_of_a_peer_that_lied_later_is_taken_back_in_its_record() -> None:
    late = {"answer": lambda outcome, number: lie(outcome) if number > 100 else outcome}
    made = played(one := job(600, assurance="audit"), {}, late, {})
    liar: PeerId = list(made.workers)[1]
    assert made.lies(one) == 0 and made.doubted
    doubted = {run for said in made.doubted for run in said.runs}
    unchecked = {run for record in of(made, 1) for run in record.accepted if run not in record.checked}
    assert not doubted & unchecked and made.spread.quarantine.barred(liar, made.spread._board.peers.wall_s(made.now_ns))
    taken = [record for record in of(made, 1) if "taken back" in record.why]
    assert taken and all(set(record.accepted) <= set(record.checked) for record in taken)
