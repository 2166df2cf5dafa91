"""Receipts: one a run, many jobs under one signature, each checked offline by anyone."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from tests.jobs.making import done, job
from tests.node.small_world import Disk

from qcommons.base.effects import Store
from qcommons.base.errors import PeerError, UsageError
from qcommons.jobs.outcomes import Outcome, Refused
from qcommons.jobs.records import Job, Phase
from qcommons.node.keys import result_key, spec_key
from qcommons.node.records import Answered, Form, Spec
from qcommons.node.sealing import Sealer, signed_receipt
from qcommons.pqc.identity import NodeKey
from qcommons.verify.receipt import check

KEY = NodeKey(hashlib.sha3_256(b"a node for tests").digest())


def keep(disk: Disk, number: int, made: Job, *outcomes: Outcome) -> None:
    answered = Answered(job_id=made.id, outcomes=outcomes, phase=Phase("done", "", 77), submitted_ns=5)
    disk.apply([Store(spec_key(number), msgspec.msgpack.encode(Spec(made, Form())))])
    disk.apply([Store(result_key(number), msgspec.msgpack.encode(answered))])


def test_receipts_of_two_jobs_stand_under_one_signature_and_check_offline() -> None:
    disk = Disk()
    keep(disk, 0, job(2), done({"00": 600, "11": 400}), Refused("needs 4 TiB"))
    keep(disk, 1, msgspec.structs.replace(job(1), id="job_bbbbbbbbbbbbbbbb"), done({"01": 1000}))
    sealed = Sealer(KEY, "commons", disk).seal((0, 1), now_ns=99)
    first = check(signed_receipt(sealed[0], 0), KEY.id, "commons")
    refused = check(signed_receipt(sealed[0], 1), KEY.id, "commons")
    other = check(signed_receipt(sealed[1], 0), KEY.id, "commons")
    assert (first.job_id, first.run, first.engine, first.shots, first.physics) == (
        job().id,
        0,
        "numpy",
        1000,
        "emulated",
    )
    assert first.seed == 100 and first.work_units == 4 and first.ended_at_ns == 77 and first.duration_ns == 2_000_000
    assert (refused.status, refused.result_hash, refused.physics, refused.shots) == ("refused", None, "none", None)
    assert other.job_id == "job_bbbbbbbbbbbbbbbb" and other.result_hash != first.result_hash


def test_a_receipt_means_nothing_in_another_network_or_from_another_node() -> None:
    disk = Disk()
    keep(disk, 0, job(1), done({"00": 1000}))
    file = signed_receipt(Sealer(KEY, "commons", disk).seal((0,), 99)[0], 0)
    with pytest.raises(PeerError, match="network"):
        check(file, KEY.id, "elsewhere")
    with pytest.raises(PeerError, match="signed by"):
        check(file, NodeKey(b"\x01" * 32).id, "commons")


def test_a_run_that_is_not_there_is_refused_with_the_range() -> None:
    disk = Disk()
    keep(disk, 0, job(1), done({"00": 1000}))
    with pytest.raises(UsageError, match="allowed 0 to 0"):
        signed_receipt(Sealer(KEY, "commons", disk).seal((0,), 99)[0], 1)
