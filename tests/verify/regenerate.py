"""How `receipt.json` and `verdict.json` were made: answers and their bytes, receipts and verdicts with their files.

    python -m tests.verify.regenerate receipt verdict

Run it only with a new version of a format, and name that format. Signatures are hedged, so files differ each time.
`merkle.json` is kept by hand: its vectors are those of Certificate Transparency.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
from tests.pqc.regenerate import SEEDS, write

from qcommons.base.canonical import encode_record
from qcommons.engines.records import Answer, Estimate
from qcommons.pqc.identity import NodeKey
from qcommons.verify.receipt import answer_bytes, encode, result_hash, sign_batch
from qcommons.verify.records import Comparison, Receipt, Verdict
from qcommons.verify.verdict import evidence_of, sign_verdict

FILE = Path(__file__).parents[1] / "vectors" / "verify" / "receipt.json"
VERDICT_FILE = FILE.with_name("verdict.json")
NETWORK = "home"
SIGNED_AT_NS = 1_800_000_000_000_000_000

ANSWERS: dict[str, Answer] = {
    "counts": Answer("stim", "frames", counts={"11": 2, "00": 258}),
    "no bits": Answer("numpy", "constant", counts={"": 5}),
    "estimates": Answer("qulacs", "statevector", estimates=(Estimate(1.0), Estimate(-0.5, 0.125, 64))),
    "amplitudes": Answer("qulacs", "statevector", amplitudes=((1.0, -0.0), (0.0, 0.5)), error_bound=1e-9),
}

DONE = Receipt(
    job_id="job_abcdefghijklmnop",
    run=0,
    program_id="d46fd0f642e18e0c394689d01c832bd9de67dbdd7e5c324b28376f4fceeefee0",
    want="counts",
    engine="stim",
    engine_version="1.15.0",
    method="frames",
    seed=7,
    shots=260,
    work_units=12,
    duration_ns=1_234_567,
    result_hash=result_hash(ANSWERS["counts"]),
    physics="emulated",
    status="done",
    ended_at_ns=1_799_999_999_000_000_000,
)
REFUSED = msgspec.structs.replace(
    DONE, run=1, engine="", engine_version="", method="", shots=None, work_units=0, result_hash=None, physics="none",
    status="refused",
)  # fmt: skip
BATCH = (DONE, REFUSED, msgspec.structs.replace(DONE, run=2, seed=(1 << 64) - 1))


def vectors() -> dict[str, object]:
    key = NodeKey(SEEDS[1])
    return {
        "answers": [
            {"name": name, "bytes": answer_bytes(answer).hex(), "hash": result_hash(answer).hex()}
            for name, answer in ANSWERS.items()
        ],
        "network": NETWORK,
        "node_id": key.id,
        "receipts": [
            {"receipt": encode_record(receipt).hex(), "file": encode(signed).hex()}
            for receipt, signed in zip(BATCH, sign_batch(key, NETWORK, BATCH, SIGNED_AT_NS), strict=True)
        ],
    }


JUDGE = NodeKey(SEEDS[0])
DIFFERS = Comparison(
    outcome="differs", method="counts, number by number", says="", value=212, limit=4, unit="shots", false_alarm=3.2e-9
)
FIRST = Verdict(
    lease="lease-1", job_id=DONE.job_id, runs=(0, 2), peer=NodeKey(SEEDS[1]).hash, kind="wrong", ground="recomputed",
    evidence=(evidence_of(0, DONE, ANSWERS["counts"], DIFFERS, ANSWERS["no bits"], JUDGE.hash),),
    judged_at_ns=SIGNED_AT_NS,
)  # fmt: skip
AGREED = Comparison(
    outcome="agrees", method="statistics", test="parity", says="", value=0.25, limit=1e-6, false_alarm=1e-6
)
VERDICTS: dict[str, Verdict] = {
    "wrong": FIRST,
    "right": msgspec.structs.replace(
        FIRST, kind="right", ground="majority",
        evidence=(evidence_of(2, BATCH[2], ANSWERS["counts"], AGREED, ANSWERS["counts"], NodeKey(SEEDS[2]).hash),),
    ),
    "silent": msgspec.structs.replace(FIRST, kind="silent", ground="clock", evidence=()),
}  # fmt: skip


def verdicts() -> dict[str, object]:
    return {
        "network": NETWORK,
        "judge": JUDGE.id,
        "verdicts": [
            {"name": name, "verdict": encode_record(verdict).hex(), "file": sign_verdict(JUDGE, NETWORK, verdict).hex()}
            for name, verdict in VERDICTS.items()
        ],
    }


if __name__ == "__main__":
    if "receipt" in sys.argv:
        write(FILE, "Answers and signed receipts: docs/protocol/receipt.md.", vectors())
    if "verdict" in sys.argv:
        write(VERDICT_FILE, "Signed verdicts: docs/protocol/verdict.md.", verdicts())
