"""Kept leases: ids that a restart repeats, records that come back as they were, seeds of replicas."""

from __future__ import annotations

import msgspec
import pytest
from tests.jobs.meshwork import job
from tests.jobs.test_offer import offer

from qcommons.base.effects import Store
from qcommons.base.errors import Corrupt
from qcommons.jobs.leases import LeaseRecord, audit_commitment, lease_id, moved, piece_for, read_kept, row_of, stored
from qcommons.jobs.offer import work_bytes
from qcommons.jobs.place import Pick
from qcommons.mesh.records import PeerId
from qcommons.pqc.commit import Opening, check_opening

SECRET = b"s" * 32
PEER = PeerId(b"p" * 32)
RECORD = LeaseRecord(
    holder=b"h" * 32,
    lease=b"l" * 16, job="job_" + "a" * 16, serial=3, peer=PEER, node_id="qn1", offer=offer(first=b""), engine="numpy",
    method=None, pieces=("job_aaaaaaaaaaaaaaaa.0",), runs=(4, 5), expected_s=0.5, work_units=20,
    pick=Pick(peer=PEER, x=(1.0, 0.5, 0.0), expected_s=0.5, prior=0.4, why="best of 1"),
)  # fmt: skip


def test_a_record_comes_back_as_it_was() -> None:
    effect = stored(moved(RECORD, "accepted", 7, "used", receipts=(b"r",), verdicts=(b"v",), accepted=(4,)))
    assert isinstance(effect, Store) and effect.value is not None
    assert effect.key == f"lease/{RECORD.job}/{RECORD.lease.hex()}"
    found = read_kept(effect.value)
    assert (found.state, found.why, found.times, found.offer) == ("accepted", "used", (("accepted", 7),), RECORD.offer)
    assert stored(found) == effect and row_of(found).accepted == 1


@pytest.mark.parametrize("raw", [b"", b"\xc1", b"\x90", msgspec.msgpack.encode(["qcommons/lease-kept.2"])])
def test_what_is_no_record_is_corrupt(raw: bytes) -> None:
    with pytest.raises(Corrupt):
        read_kept(raw)


def test_an_id_is_repeated_by_its_secret_job_number_and_task_and_nothing_else() -> None:
    one = lease_id(SECRET, "job_a", 1, b"t" * 32)
    others = [
        lease_id(b"u" * 32, "job_a", 1, b"t" * 32), lease_id(SECRET, "job_b", 1, b"t" * 32),
        lease_id(SECRET, "job_a", 2, b"t" * 32), lease_id(SECRET, "job_a", 1, b"u" * 32),
    ]  # fmt: skip
    assert one == lease_id(SECRET, "job_a", 1, b"t" * 32) and len({one, *others}) == 5 and len(one) == 16


def test_the_secret_of_an_audit_opens_what_went_out_with_the_offer() -> None:
    told = audit_commitment(PEER, SECRET, b"x" * 32)
    assert check_opening(told, Opening("audit", PEER, b"x" * 32, SECRET), "audit", PEER) == SECRET


def test_a_piece_has_the_seeds_of_its_runs_whatever_it_is_called() -> None:
    one = job(10)
    first = piece_for(one, (7, 8), "x", None, None)
    assert [item.seed for item in first.items] == [107, 108]
    assert [item.index for item in first.items] == [0, 1]
    assert work_bytes(first) == work_bytes(piece_for(one, (7, 8), "another name", None, None))
