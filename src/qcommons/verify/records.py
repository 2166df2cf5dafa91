"""Nouns of the verifying room: what a node claims to have run, the proof that it said so, and what was found of it.

Flow: jobs -> *Receipt* -> merkle -> *BatchRoot* -> signature -> *SignedReceipt* -> check. Answers -> *Comparison* ->
*Evidence* -> *Verdict* -> signature -> *SignedVerdict*. Arrays on the wire, fields by place; integers and text, no
floats (docs/protocol/receipt.md, verdict.md). Limits are held when bytes are read.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from qcommons.pqc.identity import HASH_BYTES, PUBLIC_KEY_BYTES

__all__ = [
    "BATCH_MAX", "EVIDENCE_MAX", "PATH_MAX", "RUNS_MAX", "BatchRoot", "Comparison", "Digest", "Evidence", "Ground",
    "Kind", "Outcome", "Physics", "Receipt", "SignedReceipt", "SignedVerdict", "Status", "Verdict",
]  # fmt: skip

BATCH_MAX = 1 << 20  # receipts under one signature
PATH_MAX = 20  # digests that lead from one of them to the root

Digest = Annotated[bytes, msgspec.Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]  # SHA3-256
UInt = Annotated[int, msgspec.Meta(ge=0)]  # below 2^64: wider ones have no canonical form
Name = Annotated[str, msgspec.Meta(max_length=128, pattern=r"^[ -~]*\Z")]  # printable ASCII
Physics = Literal["emulated", "hardware", "none"]
Status = Literal["done", "failed", "refused", "cancelled"]

RUNS_MAX = 4096  # runs under one verdict: more are several verdicts
EVIDENCE_MAX = 64  # what each of them says takes at most 330 bytes: a payload stays below 64 KiB

Outcome = Literal["agrees", "differs", "cannot tell"]
Kind = Literal["right", "wrong", "late", "silent", "malformed", "unproven"]
Ground = Literal["recomputed", "majority", "record", "clock"]


class Receipt(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True):
    """What a node says about one run of one program.

    run: index among the runs of the job. want: "counts", "expectations", "amplitudes", "statevector".
    engine, engine_version, method: as the answer names them, "" where none ran.
    shots: None where the answer is exact or there is none.
    work_units: amplitude-updates or tensor flops of the cost model. duration_ns: measured, not paid for.
    result_hash: `receipt.result_hash` of the answer; None exactly where status is not "done".
    physics: "emulated" when any simulator took part, "hardware" when only hardware did, "none" without a quantum
        state. ended_at_ns: Unix time by the node's own clock.
    """

    job_id: Annotated[str, msgspec.Meta(pattern=r"^job_[a-z2-7]{16}\Z")]
    run: UInt
    program_id: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    want: Name
    engine: Name
    engine_version: Name
    method: Name
    seed: UInt
    shots: UInt | None
    work_units: UInt
    duration_ns: UInt
    result_hash: Digest | None
    physics: Physics
    status: Status
    ended_at_ns: UInt


class BatchRoot(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is signed for a batch: the root of the tree over `size` receipts of the node with hash `node`."""

    root: Digest
    size: Annotated[int, msgspec.Meta(ge=1, le=BATCH_MAX)]
    node: Digest
    signed_at_ns: UInt


class SignedReceipt(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="qcommons/receipt-file.1"
):
    """One receipt with all that is needed to check it offline.

    receipt: canonical bytes. index: its place in the batch. path: digests from the leaf up to the root.
    signed_root: a signed `BatchRoot`; public_key: of the node that signed it. Both are the same for a whole batch.
    """

    receipt: bytes
    index: Annotated[int, msgspec.Meta(ge=0, lt=BATCH_MAX)]
    path: Annotated[tuple[Digest, ...], msgspec.Meta(max_length=PATH_MAX)]
    signed_root: bytes
    public_key: Annotated[bytes, msgspec.Meta(min_length=PUBLIC_KEY_BYTES, max_length=PUBLIC_KEY_BYTES)]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """How two answers to one question compare.

    method: how they were compared ("malformed", "counts, number by number", "statistics", ...), test: which statistic.
    value: what was measured, limit: up to where it agrees (of a p-value: down to where it does not differ), in `unit`:
        "shots", "1" or "probability". false_alarm: bound of the probability that an honest answer differs.
    says: one clause for people.
    """

    outcome: Outcome
    method: str
    says: str
    test: str = ""
    value: float = 0.0
    limit: float = 0.0
    unit: str = "1"
    false_alarm: float = 0.0


class Evidence(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True):
    """What a verdict rests on, for one run.

    receipts: SHA3-256 of the receipts' canonical bytes: the peer's, or two of one run that contradict each other.
    claimed, found: result hashes of the peer's answer and of the one it was compared with; None where there was none.
    found_by: node hash of who made that one. outcome, method, value, limit, unit, false_alarm: of the comparison;
        shots are counted, all else in parts per trillion (ppt) and at most 2^63 - 1.
    """

    run: UInt
    receipts: Annotated[tuple[Digest, ...], msgspec.Meta(max_length=2)]
    claimed: Digest | None
    found: Digest | None
    found_by: Digest | None
    outcome: Outcome
    method: Name
    value: UInt
    limit: UInt
    unit: Literal["shots", "ppt"]
    false_alarm_ppt: UInt


class Verdict(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True):
    """What was found of a peer's work under one lease.

    lease: its id. runs: whose they are, rising. peer: its node hash.
    kind: "right" and "wrong" after a check; "late", "silent": by the clock; "malformed": what no honest node sends;
        "unproven": not used, and not proved wrong.
    ground: "recomputed" by who judges; "majority" of independent peers; "record": the peer's own signatures prove it;
        "clock". judged_at_ns: Unix time by the judge's clock.
    """

    lease: Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[ -~]*\Z")]
    job_id: Annotated[str, msgspec.Meta(pattern=r"^job_[a-z2-7]{16}\Z")]
    runs: Annotated[tuple[UInt, ...], msgspec.Meta(min_length=1, max_length=RUNS_MAX)]
    peer: Digest
    kind: Kind
    ground: Ground
    evidence: Annotated[tuple[Evidence, ...], msgspec.Meta(max_length=EVIDENCE_MAX)]
    judged_at_ns: UInt


class SignedVerdict(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="qcommons/verdict-file.1"
):
    """A signed `Verdict` with the key of the judge: all that is needed to check it offline."""

    signed: bytes
    public_key: Annotated[bytes, msgspec.Meta(min_length=PUBLIC_KEY_BYTES, max_length=PUBLIC_KEY_BYTES)]
