"""Clerks: what peers send is read in threads, one paper a peer at a time; faults of ours are nobody's lie."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.jobs.making import LIMITS, done
from tests.node.small_world import Disk

from qcommons.base.effects import Note, Store
from qcommons.engines.records import Counts
from qcommons.jobs.offer import task_of, work_bytes
from qcommons.jobs.records import Item, Job, Phase, Piece, Point
from qcommons.jobs.work import job_of, salt_of
from qcommons.jobs.work_events import MakeReport, ReadReport, ReadWork, ReportMade, ReportRead
from qcommons.mesh.records import PeerId
from qcommons.node.card import card_of
from qcommons.node.clerks import NO_RESULT, Clerks, Paper
from qcommons.node.keys import id_key, receipt_key, result_key, spec_key
from qcommons.node.messages import WorkSeen
from qcommons.node.records import Answered, Form, Spec
from qcommons.node.sealing import Sealer
from qcommons.pqc.identity import NodeKey
from qcommons.verify.receipt import read_receipt
from qcommons.verify.replicate import commit_to

KEY = NodeKey(bytes(range(32)))
PEER = PeerId(KEY.hash)
OTHER = PeerId(bytes(32))
LEASE = b"lease-of-16bytes"
JOB = job_of(LEASE, b"h" * 32, b"t" * 32)
SALT = b"s" * 32


def bell() -> bytes:
    from qcommons.circuits.qasm import parse

    text = 'OPENQASM 3.0; include "stdgates.inc"; qubit[2] q; bit[2] c; h q[0]; cx q[0], q[1]; c = measure q;'
    return card_of(parse(text.encode()).program).wire


def piece(runs: int = 2) -> Piece:
    items = tuple(Item(place, 0, {}, 100 + place) for place in range(runs))
    return Piece(id="job_aaaaaaaaaaaaaaaa.0", programs=(bell(),), wants=(Counts(1000),), items=items, limits=LIMITS)


def worked(disk: Disk, runs: int = 2) -> None:
    """The disk of a worker whose job for LEASE has ended and is sealed."""
    from qcommons.node.card import card_of_wire

    asked = piece(runs)
    points = tuple(Point(0, {}, item.seed) for item in asked.items)
    job = Job(
        id=JOB, programs=(card_of_wire(asked.programs[0]),), wants=asked.wants, points=points, seed=1,
        limits=LIMITS, deadline_s=10.0,
    )  # fmt: skip
    outcomes = tuple(done({"00": 500, "11": 500}) for _ in range(runs))
    answered = Answered(job_id=job.id, outcomes=outcomes, phase=Phase("done", "", 5), submitted_ns=0)
    pack = msgspec.msgpack.encode
    records = {spec_key(0): Spec(job, Form()), result_key(0): answered, id_key(job.id): 0}
    disk.apply([Store(key, pack(record)) for key, record in records.items()])
    disk.apply([Store(receipt_key(0), Sealer(KEY, "commons", disk).seal((0,), 9)[0])])


def read(disk: Disk, *papers: Paper, key_of: Callable[[PeerId], bytes | None] = lambda peer: KEY.public_key) -> Any:
    """What comes of the papers, in the order in which it comes, and the notes."""

    async def play() -> tuple[list[Any], list[Note]]:
        loop = asyncio.get_running_loop()
        clerks, events, notes = Clerks(KEY.hash, "commons", disk), list[Any](), list[Note]()
        clerks.key_of, clerks.on_event, clerks.on_note = key_of, events.append, notes.append
        clerks.later = loop.call_soon_threadsafe
        for paper in papers:
            clerks.take(paper)
        while len(events) < len(papers):
            await asyncio.sleep(0.001)
        clerks.close()
        return events, notes

    return asyncio.run(asyncio.wait_for(play(), 20.0))


def report(disk: Disk) -> ReportMade:
    worked(disk)
    (made,), _ = read(disk, MakeReport(LEASE, PEER, JOB))
    return made


def test_a_report_is_made_from_what_is_on_disk_and_read_by_its_submitter() -> None:
    made = report(Disk())
    assert made.data is not None and made.digest == hashlib.sha3_256(made.data).digest()
    (found,), _ = read(Disk(), ReadReport(LEASE, made.data, piece(), PEER))
    assert found.fault is None and found.public_key == KEY.public_key
    assert [run.outcome.execution.answer.counts for run in found.reported.runs] == [{"00": 500, "11": 500}] * 2
    assert {run.receipt.job_id for run in found.reported.runs} == {JOB}


def test_a_report_is_the_same_each_time_it_is_made() -> None:
    disk = Disk()
    worked(disk)
    events, _ = read(disk, MakeReport(LEASE, PEER, JOB), MakeReport(LEASE, PEER, JOB))
    assert events[0] == events[1]


def test_a_replica_commits_to_each_of_its_results() -> None:
    disk = Disk()
    worked(disk)
    (made,), _ = read(disk, MakeReport(LEASE, PEER, JOB, SALT))
    (found,), _ = read(Disk(), ReadReport(LEASE, made.data, piece(), PEER))
    expected = b""
    for place, run in enumerate(found.reported.runs):
        digest = read_receipt(run.receipt_bytes).result_hash or NO_RESULT
        expected += commit_to(JOB, place, KEY.hash, salt_of(SALT, place), digest)[0]
    assert made.commitments == expected and len(expected) == 64


def test_a_job_that_is_not_there_has_no_report() -> None:
    (made,), notes = read(Disk(), MakeReport(LEASE, PEER, JOB))
    assert made == ReportMade(LEASE, None) and not notes


def test_work_is_read_with_its_cards_and_what_is_no_work_is_the_peers_fault() -> None:
    work = work_bytes(piece())
    good, bad = ReadWork(LEASE, PEER, work, task_of(work), LIMITS), ReadWork(LEASE, OTHER, work, bytes(32), LIMITS)
    events, notes = read(Disk(), good, bad)
    seen: WorkSeen = next(event for event in events if event.read.piece is not None)
    assert seen.read.fault is None and seen.read.piece is not None and seen.read.piece.items == piece().items
    assert [card.n_qubits for card in seen.cards] == [2]
    refused = next(event for event in events if event.read.piece is None)
    assert refused.read.fault[1] == "task" and not notes


def test_a_report_that_was_changed_on_the_way_is_the_peers_fault() -> None:
    made = report(Disk())
    assert made.data is not None
    changed = bytearray(made.data)
    changed[len(changed) // 2] ^= 1
    (found,), _ = read(Disk(), ReadReport(LEASE, bytes(changed), piece(), PEER))
    assert found.reported is None and found.fault is not None and found.fault[1] != "node"


def test_a_key_that_is_not_known_and_a_fault_of_ours_are_nobodys_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    made = report(Disk())
    assert made.data is not None
    paper = ReadReport(LEASE, made.data, piece(), PEER)
    (found,), notes = read(Disk(), paper, key_of=lambda peer: None)
    assert isinstance(found, ReportRead) and found.fault is not None and found.fault[1] == "node" and not notes

    def broken(*_: Any) -> Any:
        raise MemoryError("no room")

    monkeypatch.setattr("qcommons.node.clerks.read_report", broken)
    (found,), notes = read(Disk(), paper)
    assert found.fault[1] == "node" and [one.name for one in notes] == ["clerk_failed"]


def test_one_paper_a_peer_is_read_at_a_time_and_another_peer_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once: list[PeerId] = []
    most: list[int] = []
    lock = threading.Lock()
    gate = threading.Event()

    def slow(self: Clerks, paper: Paper, key: bytes | None) -> Any:
        with lock:
            at_once.append(paper.peer)
            most.append(at_once.count(paper.peer))
            if OTHER in at_once:
                gate.set()
        assert gate.wait(10.0), "the other peer never had its turn"
        with lock:
            at_once.remove(paper.peer)
        return ReportMade(paper.lease, None)

    monkeypatch.setattr(Clerks, "_read", slow)
    papers = [MakeReport(LEASE, PEER, JOB) for _ in range(5)]
    read(Disk(), *papers, MakeReport(LEASE, OTHER, JOB))
    assert set(most) == {1}
