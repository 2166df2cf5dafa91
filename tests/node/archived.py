"""Jobs with all that a node keeps of them, for the tests of archives: one done at home, one that peers did.

The job of the peers: two Bell circuits of 1,000 shots, the first in two shares of 500. An honest peer does both shares
under audit, a liar the second circuit, which another peer then does as a replica.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from tests.jobs.plan.making import card_of, run_all
from tests.node.making import BELL, TURN
from tests.node.small_world import Disk

from qcommons.base.effects import Store
from qcommons.base.seeds import derive, derive_each
from qcommons.circuits.observables import PauliSum, Term
from qcommons.engines.records import Answer, Counts, Expectations, Limits
from qcommons.jobs.leases import LeaseRecord, audit_commitment, key_of, piece_for
from qcommons.jobs.machine import verdict_of
from qcommons.jobs.offer import Offer, task_of, work_bytes
from qcommons.jobs.outcomes import Done, Outcome
from qcommons.jobs.place import Pick
from qcommons.jobs.plan.combine import combined
from qcommons.jobs.plan.records import CountsSum, Plan, Priced, Same
from qcommons.jobs.records import Job, Phase, Point
from qcommons.jobs.report import asked_of
from qcommons.jobs.work import job_of, salt_of
from qcommons.mesh.records import PeerId
from qcommons.node.archives import Archivist
from qcommons.node.keys import derived_key, receipt_key, result_key, spec_key
from qcommons.node.records import Answered, Entry, Form, Spec, chosen
from qcommons.node.sealing import Sealer
from qcommons.pqc.identity import NodeKey
from qcommons.verify.audit import FLOOR_PPM
from qcommons.verify.receipt import read_receipt, result_hash, sign_batch
from qcommons.verify.records import Comparison, Receipt, Verdict
from qcommons.verify.replicate import commit_to
from qcommons.verify.verdict import evidence_of, sign_verdict

NETWORK = "commons"
HOME_ID, MESH_ID = "job_aaaaaaaaaaaaaaaa", "job_bbbbbbbbbbbbbbbb"
ENDED_NS = 1_750_000_000_000_000_000
LIMITS = Limits(memory_bytes=1 << 30, seconds=60.0)


def key(name: str) -> NodeKey:
    return NodeKey(hashlib.sha3_256(name.encode()).digest())


ME, HONEST, LIAR, REPLICA = key("submitter"), key("honest"), key("liar"), key("replica")


def home_job() -> Job:
    """A sweep of three points of one program with an observable, and one run that fails."""
    z = PauliSum((Term(1.0, ((0, "Z"),)),), "Z")
    points = [{"theta": 0.0}, {"theta": 0.5}, {"theta": 1.0}]
    seeds = derive_each(9, "run", count=3)
    return Job(
        id=HOME_ID, programs=(msgspec.structs.replace(card_of(TURN), name="/home/augusta/secret/turn.qasm"),),
        wants=(Expectations((z,), None),), points=tuple(Point(0, v, s) for v, s in zip(points, seeds, strict=True)),
        seed=9, limits=LIMITS, deadline_s=60.0, principal="augusta",
    )  # fmt: skip


def mesh_job() -> tuple[Job, Plan]:
    seeds = list(derive_each(5, "run", count=2))
    card = card_of(BELL)
    asked = Job(
        id=MESH_ID, programs=(card,), wants=(Counts(1000),), points=tuple(Point(0, {}, seed) for seed in seeds), seed=5,
        limits=LIMITS, deadline_s=60.0, on="mesh", assurance="audit", egress="public",
    )  # fmt: skip
    shares = [derive(seeds[0], "batch", "shots", k) for k in range(2)]
    runs = msgspec.structs.replace(
        asked, programs=(card, card), wants=(Counts(500), Counts(1000)),
        points=(Point(0, {}, shares[0]), Point(0, {}, shares[1]), Point(1, {}, seeds[1])),
    )  # fmt: skip
    priced = (Priced(row="batch", applies=True, why="3 runs", seconds=float("inf"), runs=3),)
    return asked, Plan(row="batch", why="fastest", priced=priced, job=runs, parts=(CountsSum((0, 1)), Same(2)))


def lease(
    peer: NodeKey, serial: int, runs: tuple[int, ...], outcomes: Sequence[Outcome], job: Job, **more: Any
) -> LeaseRecord:
    """A lease with its report: receipts as an honest node signs them for these outcomes."""
    name = hashlib.sha3_256(f"lease {serial}".encode()).digest()
    lease_id, secret, salt = name[:16], name, hashlib.sha3_256(name).digest()
    piece = piece_for(job, runs, "p", None, None)
    work, asked = work_bytes(piece), asked_of(piece)
    receipts = [
        Receipt(
            job_id=job_of(lease_id, ME.hash, task_of(work)), run=place, program_id=asked[item.program].program_id,
            want="counts",
            engine=answer.engine, engine_version="2", method=answer.method, seed=item.seed,
            shots=getattr(piece.wants[item.program], "shots", None), work_units=10, duration_ns=1_000,
            result_hash=result_hash(answer), physics="emulated", status="done", ended_at_ns=ENDED_NS,
        )
        for place, (item, answer) in enumerate(zip(piece.items, map(answer_of, outcomes), strict=True))
    ]  # fmt: skip
    signed = sign_batch(peer, NETWORK, receipts, ENDED_NS)
    offer = Offer(
        lease=lease_id, job=job.id, piece="0", task=task_of(work), work_bytes=len(work), first=b"", within_ns=10**10,
        memory_bytes=1 << 30, commits=more.get("commits", False), price_max=0, ask=None,
        audit=audit_commitment(ME.hash, secret, salt), purpose="",
    )  # fmt: skip
    more.pop("commits", None)
    usual: dict[str, Any] = {
        "lease": lease_id, "job": job.id, "serial": serial, "peer": peer.hash, "node_id": peer.id, "holder": ME.hash,
        "public_key": peer.public_key, "offer": offer, "engine": None, "method": None, "pieces": ("p",), "runs": runs,
        "pick": Pick(peer=PeerId(peer.hash), x=(1.0, 0.0, 0.0), expected_s=0.1, prior=1.0, why="it is near"),
        "expected_s": 0.1, "work_units": 10, "audit_secret": secret, "audit_salt": salt, "rate_ppm": FLOOR_PPM,
        "receipts": tuple(one.receipt for one in signed), "signed_root": signed[0].signed_root, "state": "accepted",
        "accepted": runs, "times": (("offered", ENDED_NS - 9), ("accepted", ENDED_NS - 1)), "why": "used",
    }  # fmt: skip
    return LeaseRecord(**(usual | more))


def answer_of(outcome: Outcome) -> Answer:
    assert isinstance(outcome, Done)
    return outcome.execution.answer


def verdict(record: LeaseRecord, receipts: Sequence[Receipt], kind: str, claimed: Answer, found: Answer) -> bytes:
    outcome = "agrees" if kind == "right" else "differs"
    comparison = Comparison(outcome=outcome, method="counts, number by number", says="", value=3, unit="shots")  # type: ignore[arg-type]
    evidence = evidence_of(0, receipts[0], claimed, comparison, found, ME.hash)
    said = Verdict(
        lease=record.lease.hex(), job_id=record.hired_job, runs=(0,), peer=record.peer, kind=kind,  # type: ignore[arg-type]
        ground="recomputed", evidence=(evidence,), judged_at_ns=ENDED_NS,
    )  # fmt: skip
    return sign_verdict(ME, NETWORK, said)


def leases(job: Job, outcomes: Sequence[Outcome]) -> list[LeaseRecord]:
    lie = msgspec.structs.replace(answer_of(outcomes[2]), counts={"00": 1000})
    lied = Done(msgspec.structs.replace(outcomes[2].execution, answer=lie))  # type: ignore[union-attr]
    honest = lease(HONEST, 0, (0, 1), outcomes[:2], job)
    liar = lease(LIAR, 1, (2,), [lied], job, accepted=(), state="ended", why="it was found lying")
    replica = lease(REPLICA, 2, (2,), [outcomes[2]], job, commits=True, audit_secret=b"", checked=(2,))
    honest = msgspec.structs.replace(honest, checked=honest.runs)  # each of them was computed again
    said = verdict(
        honest, list(map(read_receipt, honest.receipts)), "right", answer_of(outcomes[0]), answer_of(outcomes[0])
    )
    wrong = verdict(liar, list(map(read_receipt, liar.receipts)), "wrong", lie, answer_of(outcomes[2]))
    return [
        msgspec.structs.replace(honest, verdicts=(said,)), msgspec.structs.replace(liar, verdicts=(wrong,)),
        _committed(replica),
    ]  # fmt: skip


def _committed(record: LeaseRecord) -> LeaseRecord:
    salt = hashlib.sha3_256(b"salt").digest()
    told = [
        commit_to(record.hired_job, place, record.peer, salt_of(salt, place), read_receipt(one).result_hash or b"")[0]
        for place, one in enumerate(record.receipts)
    ]
    return msgspec.structs.replace(record, commitments=b"".join(told), salt=salt)


def keep(disk: Disk, number: int, spec: Spec, outcomes: Sequence[Outcome], derived: Sequence[Outcome] = ()) -> Entry:
    state, cause = verdict_of(tuple(outcomes))
    phase = Phase(state, cause, ENDED_NS)
    answered = Answered(
        job_id=spec.job.id, outcomes=tuple(outcomes), phase=phase, submitted_ns=ENDED_NS - 10**9
    )  # fmt: skip
    rows = {spec_key(number): spec, result_key(number): answered}
    if derived:
        rows[derived_key(number)] = tuple(derived)  # type: ignore[assignment]
    disk.apply([Store(name, msgspec.msgpack.encode(value)) for name, value in rows.items()])
    sealed = Sealer(ME, NETWORK, disk).seal((number,), ENDED_NS)
    disk.apply([Store(receipt_key(number), sealed[number])])
    return Entry(
        number=number, id=spec.job.id, principal="home", state=state, cause=cause, since_ns=ENDED_NS,
        submitted_ns=ENDED_NS - 10**9, deadline_ns=ENDED_NS, ended_ns=ENDED_NS, runs=len(spec.job.points),
    )  # fmt: skip


def kept_home(disk: Disk, number: int = 0) -> Entry:
    job = home_job()
    found = run_all(job)
    return keep(disk, number, Spec(job, Form((3,), True, False)), [found[run] for run in range(3)])


def kept_mesh(disk: Disk, number: int = 1) -> Entry:
    job, plan = mesh_job()
    runs = run_all(plan.job)
    outcomes = [runs[run] for run in range(3)]
    asked = combined(plan, runs, partial=True)
    disk.apply(
        [Store(key_of(one), msgspec.msgpack.encode(one)) for one in leases(plan.job, outcomes)]
    )  # fmt: skip
    return keep(disk, number, Spec(job, Form((2,), True, False), chosen(plan, ())), [asked[0], asked[1]], outcomes)


def archivist(disk: Disk, folder: Path) -> Archivist:
    return Archivist(ME, NETWORK, disk, folder)
