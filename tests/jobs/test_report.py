"""Reports: what a peer signed for and can be an answer is read; everything else is refused with its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.jobs.making import LIMITS
from tests.jobs.test_offer import BELL, TURN

from qcommons.base.canonical import encode_record
from qcommons.base.errors import PeerError
from qcommons.circuits.program import Branch, Condition, Op, Program
from qcommons.circuits.wire import decode as decode_program
from qcommons.circuits.wire import encode as program_bytes
from qcommons.circuits.wire import program_id
from qcommons.engines.execute import Request, execute
from qcommons.engines.records import Answer, Counts, Statevector
from qcommons.jobs.outcomes import Done, Outcome, PastDeadline, Refused
from qcommons.jobs.records import Item, Piece
from qcommons.jobs.report import Reported, asked_of, read_report, report_bytes
from qcommons.pqc.identity import NodeKey
from qcommons.verify.receipt import result_hash, sign_batch
from qcommons.verify.records import Receipt

KEY, NETWORK = NodeKey(bytes(range(32))), "home"
BOUND = msgspec.structs.replace(decode_program(TURN), inputs=(), ops=(Op("rx", (0,), (0.5,)),))
PIECE = Piece(
    id="here.0", programs=(BELL, program_bytes(BOUND)), wants=(Counts(100), Statevector()),
    items=(Item(0, 0, {}, 11), Item(1, 1, {}, 12), Item(2, 0, {}, 13)), limits=LIMITS,
)  # fmt: skip


def outcomes() -> list[Outcome]:
    programs = [decode_program(raw) for raw in PIECE.programs]
    return [
        Done(execute(Request(program=programs[item.program], want=PIECE.wants[item.program], seed=item.seed,
                             limits=LIMITS, engine="numpy"), lambda: 0))
        for item in PIECE.items
    ]  # fmt: skip


HONEST = outcomes()


def receipt(place: int, outcome: Outcome) -> Receipt:
    item = PIECE.items[place]
    want = PIECE.wants[item.program]
    answer = outcome.execution.answer if isinstance(outcome, Done) else None
    return Receipt(
        job_id="job_abcdefghijklmnop", run=place, program_id=program_id(decode_program(PIECE.programs[item.program])),
        want="counts" if isinstance(want, Counts) else "statevector", engine="numpy", engine_version="2",
        method="dense", seed=item.seed, shots=getattr(want, "shots", None) if answer else None, work_units=10,
        duration_ns=5_000_000, result_hash=result_hash(answer) if answer else None,
        physics="emulated" if answer else "none", status="done" if answer else "failed", ended_at_ns=10**18,
    )  # fmt: skip


def reported(said: Sequence[Outcome], receipts: Sequence[Receipt] | None = None, key: NodeKey = KEY) -> bytes:
    rows = list(receipts or [receipt(place, outcome) for place, outcome in enumerate(said)])
    signed = sign_batch(key, NETWORK, rows, 10**18)
    return report_bytes(said, [one.receipt for one in signed], signed[0].signed_root)


def read(data: bytes) -> Reported:
    return read_report(data, PIECE, KEY.public_key, NETWORK)


def test_what_was_answered_and_signed_for_is_read_as_it_was() -> None:
    found = read(reported(HONEST))
    for run, outcome in zip(found.runs, HONEST, strict=True):
        assert isinstance(run.outcome, Done) and isinstance(outcome, Done)
        got, gave = run.outcome.execution, outcome.execution
        assert result_hash(got.answer) == result_hash(gave.answer)
        assert (got.cregs, got.reason, got.seconds) == (gave.cregs, gave.reason, 0.005)
        assert got.predicted.work_units == run.receipt.work_units == 10


def test_failures_are_told_as_the_peers_words() -> None:
    said = [HONEST[0], Refused("needs 3 TiB; 1 GiB are allowed"), PastDeadline(3.0)]
    found = read(reported(said))
    assert [type(run.outcome).__name__ for run in found.runs] == ["Done", "Refused", "Unserved"]
    assert "the peer says: needs 3 TiB" in found.runs[1].outcome.what  # type: ignore[union-attr]


Q = Program(2, (("a", 1),), (Op("h", (0,)),))
COND = Program(2, (("a", 1),), (Branch(Condition((0,), "==", 1), (Op("x", (0,)),), ()),))


@pytest.mark.parametrize("program", [Q, COND, decode_program(BELL)], ids=["nothing measured", "branches", "measured"])
def test_the_registers_of_counts_are_those_that_execute_answers_with(program: Program) -> None:
    request = Request(program=program, want=Counts(10), seed=1, limits=LIMITS)
    piece = msgspec.structs.replace(PIECE, programs=(program_bytes(program),), wants=(Counts(10),), items=())
    assert asked_of(piece)[0].registers == execute(request, lambda: 0).cregs


def with_answer(place: int, change: Callable[[Answer], Answer]) -> bytes:
    """An answer that is changed, and signed for as it is."""
    said = list(HONEST)
    outcome = said[place]
    assert isinstance(outcome, Done)
    execution = msgspec.structs.replace(outcome.execution, answer=change(outcome.execution.answer))
    said[place] = Done(execution)
    return reported(said)


def moved(answer: Answer) -> Answer:
    counts = dict(answer.counts or {})
    counts["00"] = counts.get("00", 0) + 1
    return msgspec.structs.replace(answer, counts=counts)


def wide(answer: Answer) -> Answer:
    return msgspec.structs.replace(answer, counts={"000": 100})


def endless(answer: Answer) -> Answer:
    return msgspec.structs.replace(answer, amplitudes=((float("nan"), 0.0), (1.0, 0.0)))


def other(answer: Answer) -> Answer:
    return msgspec.structs.replace(answer, counts=None, amplitudes=((1.0, 0.0),) * 4)


@pytest.mark.parametrize(("place", "change"), [(0, moved), (0, wide), (1, endless), (2, other)])
def test_what_can_be_no_answer_is_refused_though_it_is_signed_for(place: int, change: Any) -> None:
    with pytest.raises(PeerError) as refused:
        read(with_answer(place, change))
    assert refused.value.where == f"runs[{place}], answer"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("run", 2),
        ("program_id", "ab" * 32),
        ("want", "counts"),
        ("seed", 99),
        ("shots", 100),
        ("result_hash", bytes(32)),
    ],
)
def test_a_receipt_of_another_run_is_refused(field: str, value: Any) -> None:
    receipts = [receipt(place, outcome) for place, outcome in enumerate(HONEST)]
    receipts[1] = msgspec.structs.replace(receipts[1], **{field: value})
    with pytest.raises(PeerError) as refused:
        read(reported(HONEST, receipts))
    assert refused.value.where == f"runs[1], {field}"


def test_another_signer_another_number_of_runs_and_an_answer_that_was_exchanged_are_refused() -> None:
    with pytest.raises(PeerError):
        read(reported(HONEST, key=NodeKey(b"\x01" * 32)))
    with pytest.raises(PeerError, match="2 runs"):
        read(reported(HONEST[:2], [receipt(place, outcome) for place, outcome in enumerate(HONEST[:2])]))
    receipts = [receipt(place, outcome) for place, outcome in enumerate(HONEST)]
    signed = sign_batch(KEY, NETWORK, receipts, 10**18)
    leaves = [one.receipt for one in signed]
    with pytest.raises(PeerError, match="not those that were signed"):
        read(report_bytes(HONEST, [leaves[0], leaves[2], leaves[1]], signed[0].signed_root))
    with pytest.raises(PeerError) as refused:  # the counts of run 2 under the receipt of run 0
        read(report_bytes([HONEST[2], HONEST[1], HONEST[0]], leaves, signed[0].signed_root))
    assert refused.value.where == "runs[0], result_hash"
    with pytest.raises(PeerError, match="either an answer or a failure"):
        read(report_bytes([Refused("no"), *HONEST[1:]], leaves, signed[0].signed_root))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_reports_are_refused(data: st.DataObject) -> None:
    raw = bytearray(REPORT)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = read(bytes(raw))
    except PeerError:
        return
    # only words for people can have changed: all else is under the signature
    assert [encode_record(run.receipt) for run in found.runs] == [
        encode_record(run.receipt) for run in read(REPORT).runs
    ]
    assert [result_hash(run.outcome.execution.answer) for run in found.runs] == [  # type: ignore[union-attr]
        result_hash(run.outcome.execution.answer)
        for run in read(REPORT).runs  # type: ignore[union-attr]
    ]


REPORT = reported(HONEST)
