"""Hire: verdicts about this node's work: by the holder of the lease alone, kept once, bounded."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from tests.jobs.hired_node import T0, HiredNode, S
from tests.jobs.hiring import (
    ME,
    OTHER,
    PEER,
    granted,
    lease_id,
)
from tests.jobs.test_offer import offer

from qcommons.base.errors import PeerError
from qcommons.jobs import hire_verdicts
from qcommons.jobs.hire_rows import KEPT_NS
from qcommons.jobs.work import (
    VERDICT,
    Over,
    job_of,
)
from qcommons.jobs.work_events import Sharing
from qcommons.mesh.records import PeerId
from qcommons.verify.records import Verdict


def verdict(number: int = 0, holder: PeerId = PEER, **changed: Any) -> Verdict:
    usual: dict[str, Any] = {
        "lease": lease_id(number).hex(), "job_id": job_of(lease_id(number), holder, offer().task), "runs": (0, 1),
        "peer": ME,
        "kind": "unproven", "ground": "majority", "evidence": (), "judged_at_ns": T0,
    }  # fmt: skip
    return Verdict(**(usual | changed))


class Judge:
    """Files are names here; who signed which is told beforehand. calls: signatures checked."""

    def __init__(self) -> None:
        self.files: dict[bytes, tuple[PeerId, Verdict]] = {}
        self.calls = 0

    def file(self, found: Verdict, by: PeerId = PEER, size: int = 8_000) -> bytes:
        file = len(self.files).to_bytes(4, "big").ljust(size, b".")
        self.files[file] = (by, found)
        return file

    def __call__(self, file: bytes, judge: PeerId) -> Verdict:
        self.calls += 1
        by, found = self.files.get(file, (None, None))
        if by != judge or found is None:
            raise PeerError("signed by somebody else", where="judge")
        return found


def test_a_verdict_by_the_holder_is_kept_once_and_shown() -> None:
    judge = Judge()
    node = HiredNode(ME, check_verdict=judge)
    granted(node)
    file = judge.file(verdict(kind="silent", ground="clock"))
    assert node.ask(VERDICT, file, PEER) == node.ask(VERDICT, file, PEER) == Over("noted", "")
    assert judge.calls == 1
    assert [key for key in node.disk if key.startswith("hired-verdict/")] == [
        f"hired-verdict/{bytes(16).hex()}/{hashlib.sha3_256(file).digest()[:16].hex()}"
    ]
    assert node.hire.view(node.now_ns)[0].verdicts == ("silent",)
    node.crash()
    assert node.hire.view(node.now_ns)[0].verdicts == ("silent",)
    node.run_until(10 * S + KEPT_NS + S)
    assert len(node.disk) == 1  # the lease is forgotten, the evidence stays


@pytest.mark.parametrize(
    ("changed", "where"),
    [({"job_id": "job_aaaaaaaaaaaaaaaa"}, "job_id"), ({"peer": OTHER}, "peer"), ({"runs": (0, 2)}, "runs")],
)
def test_a_verdict_about_something_else_is_refused(changed: dict[str, Any], where: str) -> None:
    judge = Judge()
    node = HiredNode(ME, check_verdict=judge)
    granted(node)
    answer = node.ask(VERDICT, judge.file(verdict(**changed)), PEER)
    assert (answer.who, answer.where) == ("usage", where)
    assert node.ask(VERDICT, judge.file(verdict(), by=OTHER), PEER).where == "judge"
    assert node.ask(VERDICT, judge.file(verdict(7)), PEER) == Over("unknown", "there is no such lease")
    assert node.ask(VERDICT, judge.file(verdict(lease="no hex at all")), PEER).kind == "unknown"
    assert len(node.disk) == 1


def test_the_first_verdicts_of_a_lease_stay_and_more_are_refused() -> None:
    judge = Judge()
    node = HiredNode(ME, check_verdict=judge)
    granted(node)
    for kind in ("late", *["unproven"] * (hire_verdicts.LEASE_MAX - 1)):
        assert node.ask(VERDICT, judge.file(verdict(kind=kind)), PEER) == Over("noted", "")
    refused = node.ask(VERDICT, judge.file(verdict(kind="unproven")), PEER)
    assert (refused.who, refused.where) == ("usage", "lease") and "4 verdicts" in refused.what
    assert node.hire.view(node.now_ns)[0].verdicts[0] == "late"


def test_no_signature_is_checked_for_who_holds_no_lease() -> None:
    judge = Judge()
    node = HiredNode(ME, check_verdict=judge)
    granted(node)
    assert node.ask(VERDICT, judge.file(verdict(), by=OTHER), OTHER).kind == "unknown"
    assert judge.calls == 0


def test_verdicts_are_bounded_of_a_lease_a_peer_and_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = Judge()
    monkeypatch.setattr(hire_verdicts, "PEER_BYTES_MAX", 60_000)
    monkeypatch.setattr(hire_verdicts, "BYTES_MAX", 100_000)
    node = HiredNode(ME, check_verdict=judge, sharing=Sharing(True, places=16))

    def kept() -> list[bytes]:
        return [raw for key, raw in node.disk.items() if key.startswith("hired-verdict/")]

    for number, peer in ((0, PEER), (1, PEER), (2, PEER), (10, OTHER), (11, OTHER), (12, OTHER)):
        granted(node, number, peer)
        for _ in range(9):
            node.ask(VERDICT, judge.file(verdict(number, peer), by=peer), peer)
            node.run_until(node.now_ns + 1)
        assert len(node.hire.view(node.now_ns)[-1].verdicts) == hire_verdicts.LEASE_MAX
        assert sum(map(len, kept())) <= (60_000 if peer == PEER else 100_000)
    assert len(kept()) == 12  # of 8,100 bytes
    node.crash()
    node.ask(VERDICT, judge.file(verdict(0)), PEER)
    assert sum(map(len, kept())) <= 100_000 and len(kept()) == 12
