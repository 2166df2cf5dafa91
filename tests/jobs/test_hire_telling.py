"""Hire: what submitters are told of their leases: running, reports in parts, commitments and openings."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import pytest
from tests.jobs.hired_node import SECRET, T0, HiredNode, S
from tests.jobs.hiring import (
    ME,
    OTHER,
    PEER,
    granted,
    lease_id,
    node_collect,
    part,
    ref,
)

from qcommons.jobs import hire_reports
from qcommons.jobs.hire_telling import MAKES_MAX, PARTS_HELD_MAX
from qcommons.jobs.offer import PART_BYTES
from qcommons.jobs.work import (
    COLLECT,
    DROP,
    OPEN,
    PART,
    VERDICT,
    Committed,
    Drop,
    Opened,
    Over,
    Ready,
    Running,
    said,
)
from qcommons.jobs.work_events import Sharing
from qcommons.mesh.events import Failed


@pytest.fixture
def node() -> HiredNode:
    return HiredNode(ME)


def test_a_job_that_still_runs_says_so_before_the_time_is_over_and_is_asked_again() -> None:
    node = HiredNode(ME, takes_s=100)
    granted(node)
    asked = node.came(COLLECT, ref(), PEER, within_s=30)
    node.run_until(40 * S)
    assert node.answers[asked] == Running(0, 2) and node.answered_ns[asked] == T0 + S // 10 + 29 * S
    asked = node.came(COLLECT, ref(), PEER, within_s=90)
    node.run_until(200 * S)
    assert isinstance(node.answers[asked], Ready)


def test_of_several_collects_the_newest_is_held() -> None:
    node = HiredNode(ME, takes_s=5)
    granted(node)
    asked = [node.came(COLLECT, ref(), PEER) for _ in range(3)]
    assert [node.answers.get(one) for one in asked] == [Running(0, 2), Running(0, 2), None]
    node.run_until(10 * S)
    assert isinstance(node.answers[asked[2]], Ready)


def test_a_collect_that_was_withdrawn_is_not_answered() -> None:
    node = HiredNode(ME, takes_s=5)
    granted(node)
    asked = node.came(COLLECT, ref(), PEER)
    node.withdraw(asked, PEER)
    node.run_until(60 * S)
    assert asked not in node.answers
    assert isinstance(node_collect(node, 0), Ready)  # it is still there


@pytest.mark.parametrize("known", [True, False])
def test_another_peers_lease_is_answered_as_if_there_were_none(node: HiredNode, known: bool) -> None:
    if known:
        granted(node, commits=True)
        node.run_until(2 * S)
    unknown = Over("unknown", "there is no such lease")
    assert node.ask(COLLECT, ref(), OTHER) == node.ask(OPEN, ref(), OTHER) == unknown
    assert node.ask(DROP, said(Drop(bytes(16), "mine")), OTHER) == unknown
    assert node.ask(VERDICT, b"file", OTHER) == unknown
    assert node.ask(PART, part(0), OTHER) == Failed("usage", "there is no such lease", "lease")
    assert node.dismissed == []
    if known:
        assert isinstance(node_collect(node, 0), Committed)


def long_report(lease: bytes, job: Any, salt: bytes | None) -> tuple[bytes, bytes]:
    return bytes(range(256)) * 5_000, b"" if salt is None else b"c" * 64


def test_a_long_report_comes_in_parts_and_is_reported_with_the_last() -> None:
    node = HiredNode(ME, report=long_report)
    granted(node)
    node.run_until(2 * S)
    ready = node_collect(node, 0)
    data, _ = long_report(b"", None, None)
    assert (ready.size_bytes, ready.digest) == (len(data), hashlib.sha3_256(data).digest())
    assert [row.state for row in node.hire.view(node.now_ns)] == ["ended"]
    assert ready.first + node.ask(PART, part(1), PEER) + node.ask(PART, part(2), PEER) == data
    assert [row.state for row in node.hire.view(node.now_ns)] == ["reported"]
    assert node.ask(PART, part(3), PEER) == Failed("usage", "part 3 of 3", "number", "0 to 2")
    assert node.ask(PART, part(0), PEER) == ready.first  # asked again
    assert node.ask(PART, part(0, of="work"), PEER).where == "lease"  # nothing of work is told here


def test_a_report_that_fell_out_of_memory_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    data, _ = long_report(b"", None, None)
    monkeypatch.setattr(hire_reports, "BYTES_MAX", 2 * len(data))
    node = HiredNode(ME, sharing=Sharing(True, places=4), report=long_report)
    for k, peer in ((0, PEER), (1, OTHER), (2, ME)):
        granted(node, k, peer)
    node.run_until(2 * S)
    for k, peer in ((0, PEER), (1, OTHER), (2, ME)):
        assert isinstance(node_collect(node, k, peer), Ready)
        assert node.hire._telling.size_bytes <= 2 * len(data)
    asked = node.came(PART, part(2), PEER)
    assert asked not in node.answers
    node.run_until(node.now_ns + S)
    assert node.answers[asked] == data[2 * PART_BYTES :]


def test_one_peers_reports_do_not_push_out_another_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    data, _ = long_report(b"", None, None)
    monkeypatch.setattr(hire_reports, "BYTES_MAX", 3 * len(data))
    monkeypatch.setattr(hire_reports, "PEER_BYTES_MAX", 2 * len(data))
    node = HiredNode(ME, sharing=Sharing(True, places=8), report=long_report)
    granted(node, 99, OTHER)
    for k in range(6):
        granted(node, k)
    node.run_until(3 * S)
    node_collect(node, 99, OTHER)
    for k in range(6):
        node_collect(node, k)
    assert node.ask(PART, part(1, lease_id(99)), OTHER) == data[PART_BYTES : 2 * PART_BYTES]  # at once


def test_parts_that_wait_for_a_report_are_bounded() -> None:
    node = HiredNode(ME, report=long_report)
    granted(node)
    node.run_until(2 * S)
    asked = [node.came(PART, part(k % 3), PEER) for k in range(PARTS_HELD_MAX + 2)]
    assert [node.answers[one].who for one in asked[:2]] == ["unavailable"] * 2
    node.run_until(3 * S)
    assert all(isinstance(node.answers[one], bytes) for one in asked[2:])


def test_a_report_is_made_a_bounded_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hire_reports, "BYTES_MAX", 1)  # nothing stays
    node = HiredNode(ME)
    granted(node)
    node.run_until(2 * S)
    answers = [node_collect(node, 0) for _ in range(MAKES_MAX + 1)]
    assert all(isinstance(one, Ready) for one in answers[:-1])
    assert answers[-1].who == "unavailable"


@pytest.mark.parametrize(
    ("data", "commitments", "says"),
    [(None, b"", "disk"), (b"", b"", "disk"), (b"x", b"", "0 bytes of commitments"), (b"x", b"c" * 63, "63 bytes")],
)
def test_a_report_that_cannot_be_told_is_given_up_with_the_reason(data: bytes, commitments: bytes, says: str) -> None:
    node = HiredNode(ME, report=lambda lease, job, salt: (data, commitments))
    granted(node, commits=True)
    asked = node.came(COLLECT, ref(), PEER)
    node.run_until(5 * S)
    assert node.answers[asked].kind == "given up" and says in node.answers[asked].what


def test_a_report_that_differs_from_the_one_told_before_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of one and half of the other would look like a lie."""
    monkeypatch.setattr(hire_reports, "BYTES_MAX", 1)
    made = itertools.count()
    node = HiredNode(ME, report=lambda lease, job, salt: (b"report %d" % next(made), b""))
    granted(node)
    node.run_until(2 * S)
    assert isinstance(node_collect(node, 0), Ready)
    assert node_collect(node, 0) == Over("given up", "its report was made twice and differs")


# replicas


def test_a_replica_commits_first_and_opens_when_asked_with_a_salt_that_survives_a_restart() -> None:
    node = HiredNode(ME)
    granted(node, commits=True)
    assert node.ask(OPEN, ref(), PEER).who == "unavailable"  # it still runs
    node.run_until(2 * S)
    committed = node_collect(node, 0)
    assert isinstance(committed, Committed) and len(committed.commitments) == 64
    assert node_collect(node, 0) == committed
    node.crash()
    node.run_until(3 * S)
    assert node_collect(node, 0) == committed  # which rest on the salt
    opened = node_collect(node, 0, protocol=OPEN)
    assert isinstance(opened, Opened) and opened.salt not in (SECRET, bytes(32))
    granted(node, 1, commits=True)
    node.run_until(node.now_ns + 2 * S)
    assert node_collect(node, 1, protocol=OPEN).salt != opened.salt
    assert [row.state for row in node.hire.view(node.now_ns)] == ["reported", "reported"]


def test_who_asked_for_no_commitment_cannot_open_one(node: HiredNode) -> None:
    granted(node)
    node.run_until(2 * S)
    assert node.ask(OPEN, ref(), PEER).who == "usage"
