"""Offers: what is asked arrives whole and checked; what was never asked, or does not fit, is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.jobs.making import LIMITS

from qcommons.base.canonical import decode, encode
from qcommons.base.errors import PeerError, UsageError
from qcommons.circuits.noise import parse_noise
from qcommons.circuits.program import Affine, Op, Program
from qcommons.circuits.wire import encode as program_bytes
from qcommons.engines.records import Counts, Statevector
from qcommons.jobs.offer import (
    PART_BYTES,
    WORK_BYTES_MAX,
    Offer,
    offer_bytes,
    parts_of,
    piece_of,
    read_offer,
    task_of,
    work_bytes,
)
from qcommons.jobs.records import Item, Piece

BELL = program_bytes(
    Program(
        2, (("c", 2),), (Op("h", (0,)), Op("cx", (0, 1)), Op("measure", (0,), (), (0,)), Op("measure", (1,), (), (1,)))
    )
)
TURN = program_bytes(Program(1, (), (Op("rx", (0,), (Affine(0.0, (("theta", 1.0),)),)),), ("theta",)))
PIECE = Piece(
    id="job_aaaaaaaaaaaaaaaa.0", programs=(BELL, TURN), wants=(Counts(100), Statevector()),
    items=(Item(7, 0, {}, 11), Item(9, 1, {"theta": 0.5}, 12)), limits=LIMITS, noise=parse_noise("bit_flip:0.1"),
    engine="qulacs", method=None,
)  # fmt: skip
WORK = work_bytes(PIECE)


def offer(**changed: Any) -> Offer:
    usual: dict[str, Any] = {
        "lease": bytes(16), "job": "job_aaaaaaaaaaaaaaaa", "piece": "0", "task": task_of(WORK),
        "work_bytes": len(WORK), "first": WORK, "within_ns": 10**10, "memory_bytes": 1 << 30, "commits": False,
        "price_max": 0, "ask": None, "audit": None, "purpose": "",
    }  # fmt: skip
    return Offer(**(usual | changed))


def test_the_work_of_a_piece_arrives_with_its_runs_numbered_anew() -> None:
    found = piece_of(WORK, task_of(WORK), "here.0", LIMITS)
    assert found.id == "here.0" and [item.index for item in found.items] == [0, 1]
    assert [(i.program, i.values, i.seed) for i in found.items] == [(0, {}, 11), (1, {"theta": 0.5}, 12)]
    assert (found.programs, found.wants, found.engine, found.method) == (PIECE.programs, PIECE.wants, "qulacs", None)
    assert found.noise is not None and PIECE.noise is not None and found.noise.rules == PIECE.noise.rules


def test_the_same_work_is_the_same_task_wherever_it_stands_in_a_job() -> None:
    moved = tuple(msgspec.structs.replace(item, index=item.index + 100) for item in PIECE.items)
    assert work_bytes(msgspec.structs.replace(PIECE, id="other.3", items=moved, tries=1)) == WORK
    other = msgspec.structs.replace(PIECE, items=PIECE.items[:1])
    assert task_of(work_bytes(other)) != task_of(WORK)


def test_an_offer_arrives_and_longer_work_comes_in_parts() -> None:
    assert read_offer(offer_bytes(offer())) == offer()
    long = bytes(PART_BYTES * 2 + 1)
    parts = parts_of(long)
    assert [len(part) for part in parts] == [PART_BYTES, PART_BYTES, 1] and b"".join(parts) == long
    assert read_offer(offer_bytes(offer(work_bytes=len(long), first=parts[0]))).work_bytes == len(long)


@pytest.mark.parametrize(
    "changed",
    [
        {"lease": bytes(15)}, {"task": bytes(31)}, {"work_bytes": 0}, {"work_bytes": WORK_BYTES_MAX + 1},
        {"first": WORK[:-1]}, {"first": b""}, {"work_bytes": len(WORK) + 1}, {"within_ns": 0}, {"within_ns": 1 << 63},
        {"memory_bytes": 0}, {"price_max": -1}, {"purpose": "a\nb"}, {"purpose": "x" * 129}, {"job": "\x1b[2J"},
        {"commits": 1},
    ],
    ids=str,
)  # fmt: skip
def test_terms_that_cannot_be_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(PeerError):
        read_offer(offer_bytes(offer(**changed)))


def changed_work(place: int, value: Any) -> bytes:
    fields = decode(WORK, bytes_max=1 << 20, items_max=1000)
    fields[place] = value
    return encode(fields)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, "qcommons/work.2"), (1, []), (1, [BELL]), (1, [BELL, b"no program"]), (2, [["counts", 100]]),
        (2, [["counts", 0], ["statevector"]]), (3, []), (3, [[2, 1, {}]]), (3, [[0, -1, {}]]), (3, [[0, 1 << 63, {}]]),
        (3, [[0, 1, {"theta": 0.5}]]), (3, [[1, 1, {}]]), (3, [[1, 1, {"phi": 0.5}]]),
        (3, [[1, 1, {"theta": float("nan")}]]), (3, [[1, 1, {"theta": float("inf")}]]), (3, [[1, 1, {"theta": "0"}]]),
        (4, [[[], [], 0, [["nonsense", b""]]]]), (5, "a\nb"), (6, 3),
    ],
    ids=str,
)  # fmt: skip
def test_work_that_nobody_could_run_is_refused_before_it_is_a_job(place: int, value: Any) -> None:
    work = changed_work(place, value)
    with pytest.raises(PeerError):
        piece_of(work, task_of(work), "here.0", LIMITS)


def test_other_work_than_was_offered_is_refused() -> None:
    with pytest.raises(PeerError, match="not the task"):
        piece_of(changed_work(5, None), task_of(WORK), "here.0", LIMITS)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_work_is_refused_or_can_be_run(data: st.DataObject) -> None:
    raw = bytearray(WORK)
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = piece_of(bytes(raw), task_of(bytes(raw)), "here.0", LIMITS)
    except PeerError:
        return
    assert 0 < len(found.items) <= 10_000 and len(found.programs) == len(found.wants)


def test_work_that_is_too_long_is_refused_where_it_is_made() -> None:
    long = msgspec.structs.replace(PIECE, programs=(bytes(WORK_BYTES_MAX), TURN))
    with pytest.raises(UsageError, match="bytes of work"):
        work_bytes(long)
