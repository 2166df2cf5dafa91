"""Checks put to the runs of a lease: what is opened, computed again, judged, and which verdict follows."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest
from tests.jobs.meshwork import NETWORK, Meshwork, Worker, job, key, lie, run
from tests.jobs.test_leases import RECORD

from qcommons.jobs.checking import (
    NO_RESULT,
    Party,
    by_clock,
    judge_replicas,
    malformed,
    opens,
    own_found,
    party,
    recomputations,
    verdicts,
)
from qcommons.jobs.leases import LeaseRecord, piece_for
from qcommons.jobs.offer import task_of, work_bytes
from qcommons.jobs.outcomes import Outcome, Unserved
from qcommons.jobs.report import read_report
from qcommons.jobs.work import job_of
from qcommons.mesh.records import PeerId
from qcommons.pqc.commit import COMMITMENT_BYTES
from qcommons.pqc.identity import node_id_of_hash
from qcommons.verify.records import EVIDENCE_MAX, RUNS_MAX
from qcommons.verify.verdict import check_verdict, punishes, sign_verdict

JOB = job(6)
RUNS = (2, 3, 5)  # of the job, at places 0, 1, 2 of the work
ME = PeerId(key(200).hash)
NET = Meshwork()


def answered(number: int, *changes: Any, engine: str | None = "numpy", salt: bytes | None = None) -> Party:
    """What worker `number` reports; changes: of the outcome at each place, None leaves it honest."""
    worker = Worker(number, NET)
    lease = bytes([number]) * 16
    piece = piece_for(JOB, RUNS, "x", engine, engine and "dense")
    honest = [run(piece.programs[item.program], piece.wants[item.program], item.seed) for item in piece.items]
    outcomes: list[Outcome] = [change(one) if change else one for one, change in zip(honest, changes or (None,) * 3,
                                                                                   strict=True)]  # fmt: skip
    report, commitments = worker.report_of(lease, piece, outcomes, salt)
    record = msgspec.structs.replace(
        RECORD, lease=lease, holder=NET.me, job=JOB.id, peer=worker.peer,
        offer=msgspec.structs.replace(RECORD.offer, task=task_of(work_bytes(piece))), runs=RUNS,
        engine=piece.engine, method=piece.method, commitments=commitments,
    )  # fmt: skip
    return party(record, piece, read_report(report, piece, worker.key.public_key, NETWORK))


def fails(outcome: Outcome) -> Outcome:
    return Unserved("no memory left")


def own(*runs: int) -> dict[int, Any]:
    """What this node computes for these runs."""
    return {one: own_found(run(JOB.programs[0].wire, JOB.wants[0], JOB.points[one].seed), 100 + one) for one in runs}


# verdicts without a comparison


@pytest.mark.parametrize("kind", ["silent", "late"])
def test_a_verdict_by_the_clock_is_of_all_runs_and_rests_on_nothing_else(kind: Any) -> None:
    verdict = by_clock(RECORD, kind, 7)
    assert (verdict.kind, verdict.ground, verdict.evidence, verdict.judged_at_ns) == (kind, "clock", (), 7)
    assert verdict.runs == (0, 1) and verdict.lease == RECORD.lease.hex() and verdict.peer == RECORD.peer
    name = job_of(RECORD.lease, RECORD.holder, RECORD.offer.task)
    assert verdict.job_id == name, "as the peer knows it: its own job, not ours"
    assert not punishes(verdict) and by_clock(RECORD, kind, -5).judged_at_ns == 0


def test_what_is_malformed_says_where_in_plain_signs_and_can_be_signed() -> None:
    verdict = malformed(RECORD, "an escape \x1b[2J and \u202e, " + "long " * 60, "runs[0]", 10**18)
    (evidence,) = verdict.evidence
    assert evidence.method.startswith("malformed, runs[0]: an escape ?[2J and ?, long") and len(evidence.method) == 128
    assert punishes(verdict) and verdict.ground == "recomputed"
    file = sign_verdict(key(200), NETWORK, verdict)
    assert check_verdict(file, node_id_of_hash(ME), NETWORK) == verdict


def test_a_verdict_names_no_more_runs_than_one_may() -> None:
    record = msgspec.structs.replace(RECORD, runs=tuple(range(RUNS_MAX + 5)))
    assert by_clock(record, "late", 0).runs == tuple(range(RUNS_MAX))


# replicas


def test_what_was_committed_to_is_what_is_opened() -> None:
    salt = hashlib.sha3_256(b"salt").digest()
    told = answered(1, None, fails, None, salt=salt)
    assert opens(told.record, salt, told.reported) is None, "a run that could not be done is committed to as such"
    for place in range(3):
        at = COMMITMENT_BYTES * place
        other = told.record.commitments[:at] + NO_RESULT + told.record.commitments[at + COMMITMENT_BYTES :]
        broken: LeaseRecord = msgspec.structs.replace(told.record, commitments=other)
        assert opens(broken, salt, told.reported) == place
    assert opens(told.record, bytes(32), told.reported) == 0


def test_a_run_that_one_replica_alone_answered_cannot_be_judged_without_us() -> None:
    one, two = answered(1), answered(2, None, fails, None)
    assert sorted(judge_replicas([one, two], RUNS, b"s" * 32, {})) == [2, 5]
    judged = judge_replicas([one, two], RUNS, b"s" * 32, own(3))
    assert sorted(judged) == [2, 3, 5] and judged[3].kinds == {one.peer: "right"} and judged[3].chosen == one.peer


def test_the_gravest_that_was_found_of_a_party_is_its_verdict() -> None:
    honest, liar = answered(1), answered(2, None, lie, None)
    known = own(*RUNS)
    judged = judge_replicas([honest, liar], RUNS, b"s" * 32, known)
    assert all(one.chosen is not None for one in judged.values()) and judged[3].chosen == honest.peer
    found = {one.peer: verdict for one, verdict in verdicts(ME, [honest, liar], judged, known, 10**18)}
    assert found[honest.peer].kind == "right" and found[honest.peer].runs == (0, 1, 2)
    wrong = found[liar.peer]
    assert (wrong.kind, wrong.ground, wrong.runs) == ("wrong", "recomputed", (1,)), "and names no run that was right"
    (evidence,) = wrong.evidence
    assert evidence.found_by == ME and evidence.outcome == "differs" and punishes(wrong)
    assert evidence.claimed == liar.reported.runs[1].receipt.result_hash != evidence.found


def test_where_only_peers_contradict_a_peer_nobody_is_punished() -> None:
    parties = [answered(1), answered(2), answered(3, None, lie, None)]
    judged = judge_replicas(parties, RUNS, b"s" * 32, {})
    found = {one.peer: verdict for one, verdict in verdicts(ME, parties, judged, {}, 1)}
    liar = found[parties[2].peer]
    assert liar.kind == "wrong" and liar.ground == "majority" and not punishes(liar)
    assert judged[3].chosen in (parties[0].peer, parties[1].peer)


def test_evidence_is_bounded() -> None:
    found = verdicts(ME, [one := answered(1)], judge_replicas([one], RUNS, b"s" * 32, own(*RUNS)), own(*RUNS), 1)
    assert 0 < len(found[0][1].evidence) <= EVIDENCE_MAX


# what this node computes


def test_runs_are_computed_again_in_the_engine_of_the_lease_at_their_places() -> None:
    (piece,) = recomputations("audit.x", answered(1), [0, 2])
    assert (piece.id, piece.engine, piece.method) == ("audit.x.0", "numpy", "dense")
    assert [item.index for item in piece.items] == [0, 2] and [item.seed for item in piece.items] == [102, 105]
    assert len(piece.programs) == len(piece.wants) == 1


def test_where_the_lease_names_no_engine_the_one_that_the_peer_says_is_used() -> None:
    (piece,) = recomputations("audit.x", answered(1, engine=None), [1])
    assert (piece.engine, piece.method) == ("numpy", "dense")


def test_what_failed_here_is_no_answer() -> None:
    assert own_found(Unserved("no memory"), 1) is None
