"""Nouns of the verifying room: what a node claims to have run, and the proof that it said so.

Flow: jobs -> *Receipt* -> merkle -> *BatchRoot* -> signature -> *SignedReceipt* -> check. Arrays on the wire,
fields by place; integers and text, no floats (docs/protocol/receipt.md). Limits are held when bytes are read.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from qcommons.pqc.identity import HASH_BYTES, PUBLIC_KEY_BYTES

__all__ = ["BATCH_MAX", "PATH_MAX", "BatchRoot", "Digest", "Physics", "Receipt", "SignedReceipt", "Status"]

BATCH_MAX = 1 << 20  # receipts under one signature
PATH_MAX = 20  # digests that lead from one of them to the root

Digest = Annotated[bytes, msgspec.Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]  # SHA3-256
UInt = Annotated[int, msgspec.Meta(ge=0)]  # below 2^64: wider ones have no canonical form
Name = Annotated[str, msgspec.Meta(max_length=128, pattern=r"^[ -~]*\Z")]  # printable ASCII
Physics = Literal["emulated", "hardware", "none"]
Status = Literal["done", "failed", "refused", "cancelled"]


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
