"""How `tests/vectors/jobs/work.json` was made: work, offers, every message between nodes, a report, a replica.

    python -m tests.jobs.work_vectors

Run it only with a new version of the format, and name that format. Signatures are hedged, so the report differs each
time.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.pqc.regenerate import SEEDS, write

from qcommons.base.canonical import encode_record
from qcommons.circuits.noise import parse_noise
from qcommons.circuits.observables import PauliSum, Term
from qcommons.circuits.program import Affine, Op, Program
from qcommons.circuits.wire import encode as program_bytes
from qcommons.engines.execute import Execution
from qcommons.engines.records import (
    Amplitudes,
    Answer,
    Cost,
    Counts,
    Estimate,
    Expectations,
    Limits,
    Statevector,
    Want,
)
from qcommons.jobs.asks import Lease
from qcommons.jobs.offer import Offer, offer_bytes, task_of, work_bytes
from qcommons.jobs.outcomes import Done, Outcome, Refused
from qcommons.jobs.records import Item, Piece
from qcommons.jobs.report import report_bytes
from qcommons.jobs.work import (
    COLLECT,
    DROP,
    OFFER,
    OPEN,
    PART,
    Committed,
    Declined,
    Drop,
    Granted,
    LeaseRef,
    Message,
    Opened,
    Over,
    Ready,
    Running,
    WantPart,
    job_of,
    said,
    salt_of,
)
from qcommons.pqc.identity import NodeKey
from qcommons.verify.receipt import result_hash, sign_batch
from qcommons.verify.records import Receipt
from qcommons.verify.replicate import commit_to

FILE = Path(__file__).parents[1] / "vectors" / "jobs" / "work.json"
NETWORK = "home"
WORKER, SUBMITTER = NodeKey(SEEDS[1]), NodeKey(SEEDS[2])
NOW_S = 1_800_000_000
LEASE_ID = bytes(range(16))
SALT = bytes(range(100, 132))
ROOT_HALF = 0.7071067811865476

BELL = program_bytes(
    Program(
        2, (("c", 2),), (Op("h", (0,)), Op("cx", (0, 1)), Op("measure", (0,), (), (0,)), Op("measure", (1,), (), (1,)))
    )
)
TURN = program_bytes(Program(1, (), (Op("rx", (0,), (Affine(0.0, (("theta", 1.0),)),)),), ("theta",)))
PLUS = program_bytes(Program(1, (), (Op("h", (0,)),)))
SUM = PauliSum((Term(0.5, ((0, "Z"),)), Term(-2.0, ())), "stays at home")
PROGRAMS: tuple[tuple[bytes, Want], ...] = (
    (BELL, Counts(100)),
    (TURN, Expectations((SUM,), None)),
    (PLUS, Statevector()),
    (PLUS, Amplitudes(("0", "1"))),
)
PIECE = Piece(
    id="job_aaaaaaaaaaaaaaaa.3", programs=tuple(raw for raw, _ in PROGRAMS), wants=tuple(want for _, want in PROGRAMS),
    items=(Item(7, 0, {}, 11), Item(8, 1, {"theta": 0.5}, 12), Item(9, 2, {}, 13), Item(10, 3, {}, (1 << 63) - 1),
           Item(11, 0, {}, 14)),
    limits=Limits(memory_bytes=1 << 30, seconds=10.0), engine="numpy", method="dense",
)  # fmt: skip
NOISY = Piece(
    id="job_aaaaaaaaaaaaaaaa.4", programs=(BELL,), wants=(Counts(10),), items=(Item(0, 0, {}, 1),),
    limits=PIECE.limits, noise=parse_noise("bit_flip:0.125"),
)  # fmt: skip
WORKS = {"four kinds of want": work_bytes(PIECE), "noise, and any engine": work_bytes(NOISY)}
WORK = WORKS["four kinds of want"]

PLAIN = Offer(
    lease=LEASE_ID, job="job_aaaaaaaaaaaaaaaa", piece="3", task=task_of(WORK), work_bytes=len(WORK), first=WORK,
    within_ns=60 * 10**9, memory_bytes=1 << 30, commits=False, price_max=0, ask=None, audit=None, purpose="",
)  # fmt: skip
REPLICA = Offer(
    lease=bytes(range(16, 32)), job="job_aaaaaaaaaaaaaaaa", piece="4", task=task_of(WORKS["noise, and any engine"]),
    work_bytes=len(WORKS["noise, and any engine"]), first=WORKS["noise, and any engine"], within_ns=1,
    memory_bytes=(1 << 63) - 1, commits=True, price_max=250, ask=bytes(32), audit=b"\xff" * 32, purpose="protein-7",
)  # fmt: skip
JOB_ID = job_of(LEASE_ID, SUBMITTER.hash, task_of(WORK))
OFFERS = {"without an ask": PLAIN, "a replica under an ask": REPLICA}

LEASE = Lease(
    id=LEASE_ID, node=WORKER.hash, holder=SUBMITTER.hash, resource="work", units_max=4_096, price_per_giga=0,
    during="span", from_s=NOW_S, until_s=NOW_S + 60, transferable=False, ask=None,
)  # fmt: skip
DIGEST = hashlib.sha3_256(b"report").digest()
# name -> (protocol, "asked" or "answered", message)
MESSAGES: dict[str, tuple[str, str, Message]] = {
    "granted": (OFFER, "answered", Granted(LEASE)),
    "declined by the owner": (OFFER, "answered", Declined("owner", "sharing is off")),
    "declined, come again": (OFFER, "answered", Declined("busy", "2 leases of yours are open here", 5 * 10**9)),
    "declined campaign": (OFFER, "answered", Declined("purpose", "the purpose 'x' is refused")),
    "declined terms": (OFFER, "answered", Declined("terms", "price", (1 << 63) - 1)),
    "declined work": (OFFER, "answered", Declined("work", "")),
    "a part of the work": (PART, "asked", WantPart(LEASE_ID, "work", 31)),
    "a part of the report": (PART, "asked", WantPart(LEASE_ID, "report", 0)),
    "collect": (COLLECT, "asked", LeaseRef(LEASE_ID)),
    "running": (COLLECT, "answered", Running(0, 5)),
    "committed": (COLLECT, "answered", Committed(bytes(range(64)))),
    "ready": (COLLECT, "answered", Ready(6, DIGEST, b"report")),
    "unknown": (COLLECT, "answered", Over("unknown", "there is no such lease")),
    "given up": (COLLECT, "answered", Over("given up", "cancelled by the owner")),
    "open": (OPEN, "asked", LeaseRef(LEASE_ID)),
    "opened": (OPEN, "answered", Opened(SALT, 6, DIGEST, b"report")),
    "drop": (DROP, "asked", Drop(LEASE_ID, "another was first")),
    "dropped": (DROP, "answered", Over("dropped", "another was first")),
    "noted": ("work.verdict/1", "answered", Over("noted", "")),
}


def answers() -> list[Outcome]:
    """What a worker might say; nothing is run."""
    said_it = (
        Answer("numpy", "dense", counts={"00": 52, "11": 48}),
        Answer("numpy", "dense", estimates=(Estimate(-1.5, 0.0, None),)),
        Answer("numpy", "dense", amplitudes=((ROOT_HALF, 0.0), (ROOT_HALF, 0.0))),
        Answer("numpy", "dense", amplitudes=((ROOT_HALF, 0.0), (ROOT_HALF, 0.0)), error_bound=0.0),
    )
    done = [
        Done(Execution(answer=answer, reason="small", predicted=Cost(1e-3, 64, 4.0), seconds=2e-3))
        for answer in said_it
    ]
    return [*done, Refused("needs 3 TiB; 1 GiB are allowed")]


def receipts() -> list[Receipt]:
    """One a run of LEASE_ID."""
    rows = []
    names = {Counts: "counts", Expectations: "expectations", Statevector: "statevector", Amplitudes: "amplitudes"}
    for run, (item, outcome) in enumerate(zip(PIECE.items, answers(), strict=True)):
        raw, want = PROGRAMS[item.program]
        answer = outcome.execution.answer if isinstance(outcome, Done) else None
        rows.append(
            Receipt(
                job_id=JOB_ID, run=run, program_id=hashlib.sha3_256(raw).hexdigest(), want=names[type(want)],
                engine="numpy" if answer else "", engine_version="2.0" if answer else "",
                method="dense" if answer else "", seed=item.seed,
                shots=want.shots if answer and isinstance(want, Counts) else None, work_units=4 if answer else 0,
                duration_ns=2_000_000, result_hash=result_hash(answer) if answer else None,
                physics="emulated" if answer else "none", status="done" if answer else "refused",
                ended_at_ns=NOW_S * 10**9,
            )
        )  # fmt: skip
    return rows


def report() -> bytes:
    signed = sign_batch(WORKER, NETWORK, receipts(), NOW_S * 10**9)
    return report_bytes(answers(), [one.receipt for one in signed], signed[0].signed_root)


def replica() -> dict[str, object]:
    """Commitments to the runs of the report, as if its offer had asked for them; a run without a result commits to 32
    zero bytes."""
    runs = [one.result_hash or bytes(32) for one in receipts()]
    return {
        "lease": LEASE_ID.hex(),
        "holder": SUBMITTER.hash.hex(),
        "task": task_of(WORK).hex(),
        "job_id": JOB_ID,
        "node": WORKER.hash.hex(),
        "salt": SALT.hex(),
        "result_hashes": [one.hex() for one in runs],
        "salts": [salt_of(SALT, run).hex() for run in range(len(runs))],
        "commitments": [
            commit_to(JOB_ID, run, WORKER.hash, salt_of(SALT, run), digest)[0].hex() for run, digest in enumerate(runs)
        ],
    }


def vectors() -> dict[str, object]:
    return {
        "network": NETWORK,
        "worker": WORKER.id,
        "worker_key": WORKER.public_key.hex(),
        "works": [{"name": name, "work": raw.hex(), "task": task_of(raw).hex()} for name, raw in WORKS.items()],
        "offers": [{"name": name, "offer": offer_bytes(offer).hex()} for name, offer in OFFERS.items()],
        "messages": [
            {"name": name, "protocol": protocol, "is": side, "bytes": said(message).hex()}
            for name, (protocol, side, message) in MESSAGES.items()
        ],
        "report": {
            "of": "four kinds of want",
            "receipts": [encode_record(one).hex() for one in receipts()],
            "report": report().hex(),
        },
        "replica": replica(),
    }


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    write(FILE, "Work, offers, messages, a report, commitments: docs/protocol/jobs.md and work.md.", vectors())
