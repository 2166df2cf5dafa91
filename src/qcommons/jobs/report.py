"""Reports: what a worker answers for a lease, all runs at once, under one signature.

Flow: outcomes, signed receipts -> *report_bytes* => submitter: *read_report* -> Reported (an outcome and a receipt a
run) -> verify. Encoding: canonical CBOR, docs/protocol/work.md.

Reading proves that these answers are the ones that the peer signed for, and that each can be an answer to its run at
all. It does not prove them right.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Annotated, Literal, NamedTuple

import msgspec

from qcommons.base.canonical import decode_record, encode_record
from qcommons.base.errors import PeerError
from qcommons.circuits.columns import IF, MEASURE, Columns
from qcommons.circuits.wire import decode_columns
from qcommons.engines.execute import Execution
from qcommons.engines.records import Amplitudes, Answer, Cost, Counts, Expectations, Slices, Statevector
from qcommons.jobs.outcomes import Done, Misused, Outcome, Refused, Unserved, error_of, status_of
from qcommons.jobs.records import Item, Piece
from qcommons.jobs.wire import answer_of
from qcommons.pqc.signing import OVERHEAD_BYTES_MAX, verify
from qcommons.verify.answers import Question, fault
from qcommons.verify.merkle import levels, root
from qcommons.verify.receipt import OBJECT_TYPE, ROOT_BYTES_MAX, ROOT_ITEMS, answer_bytes, read_receipt
from qcommons.verify.records import BatchRoot, Receipt

__all__ = ["REPORT_BYTES_MAX", "Asked", "Reported", "Run", "asked_of", "read_report", "report_bytes"]

REPORT_BYTES_MAX = 64 << 20
RUNS_MAX = 10_000
TEXT_MAX = 1_000  # characters of a reason, a failure or a note
NOTES_MAX = 16
WANTS = {
    Counts: "counts", Expectations: "expectations", Amplitudes: "amplitudes", Statevector: "statevector",
    Slices: "slices",
}  # fmt: skip

Text = Annotated[str, msgspec.Meta(max_length=TEXT_MAX)]


class _Failure(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    kind: Literal["refused", "misused", "unserved", "failed", "cancelled"]
    what: Text


class _Row(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    receipt: Annotated[bytes, msgspec.Meta(max_length=1024)]
    answer: bytes | None
    reason: Text
    notes: Annotated[tuple[Text, ...], msgspec.Meta(max_length=NOTES_MAX)]
    failure: _Failure | None


class _Report(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    version: Literal["qcommons/report.1"]
    rows: Annotated[tuple[_Row, ...], msgspec.Meta(min_length=1, max_length=RUNS_MAX)]
    signed_root: Annotated[bytes, msgspec.Meta(max_length=ROOT_BYTES_MAX + OVERHEAD_BYTES_MAX)]


class Run(msgspec.Struct, frozen=True):
    """One run as it was reported. receipt_bytes: as they were signed, the leaf of the batch."""

    outcome: Outcome
    receipt: Receipt
    receipt_bytes: bytes


class Reported(msgspec.Struct, frozen=True):
    """runs: in the order of the piece's items. signed_root: the proof that the peer said so."""

    runs: tuple[Run, ...]
    signed_root: bytes


def report_bytes(outcomes: Sequence[Outcome], receipts: Sequence[bytes], signed_root: bytes) -> bytes:
    """outcomes, receipts: one a run, the receipts as they were signed: the leaves of a batch of their own."""
    rows = tuple(_row(outcome, receipt) for outcome, receipt in zip(outcomes, receipts, strict=True))
    return encode_record(_Report("qcommons/report.1", rows, signed_root))


def _row(outcome: Outcome, receipt: bytes) -> _Row:
    if isinstance(outcome, Done):
        execution = outcome.execution
        notes = tuple(one[:TEXT_MAX] for one in execution.notes[:NOTES_MAX])
        return _Row(receipt, answer_bytes(execution.answer), execution.reason[:TEXT_MAX], notes, None)
    error = error_of(outcome)
    what = "" if error is None else error.what
    kinds: dict[type, Literal["refused", "misused", "unserved"]] = {
        Refused: "refused", Misused: "misused", Unserved: "unserved",
    }  # fmt: skip
    status = status_of(outcome)
    kind = kinds.get(type(outcome)) or ("cancelled" if status == "cancelled" else "failed")
    return _Row(receipt, None, "", (), _Failure(kind, what[:TEXT_MAX]))


class Asked(NamedTuple):
    """One program of a piece as its runs are checked. registers: that the keys of its counts run over."""

    program_id: str
    question: Question
    registers: tuple[tuple[str, int], ...]


def asked_of(piece: Piece) -> tuple[Asked, ...]:
    """One a program. Raises PeerError where one is none."""
    engine = None if piece.engine is None or piece.method is None else (piece.engine, piece.method)
    found = []
    for program, want in zip(piece.programs, piece.wants, strict=True):
        columns = decode_columns(program)
        registers = _registers(columns)
        n_bits = sum(size for _, size in registers)
        question = Question(
            want=want, n_bits=n_bits, n_qubits=columns.n_qubits, n_ops=len(columns.opcodes), engine=engine
        )
        found.append(Asked(hashlib.sha3_256(program).hexdigest(), question, registers))
    return tuple(found)


def _registers(columns: Columns) -> tuple[tuple[str, int], ...]:
    """As `execute` answers counts: all qubits where nothing is measured, behind the bits that branches read."""
    own = tuple((name, int(size)) for name, size in zip(columns.creg_names, columns.creg_sizes, strict=True))
    if MEASURE in columns.opcodes:
        return own
    everything = ("meas", columns.n_qubits)
    return (*own, everything) if IF in columns.opcodes else (everything,)


# (public key, object type, network, signed object) -> its payload; raises PeerError
Check = Callable[[bytes, str, str, bytes], bytes]


def read_report(data: bytes, piece: Piece, public_key: bytes, network: str, check: Check = verify) -> Reported:
    """What a peer reports for `piece`. check: of its signature; a world has a double of it.

    Raises:
        PeerError: `where` names the step: report, signature, root, or the run ("runs[3], counts"). Whatever it is, no
            honest node sends it.
    """
    report = decode_record(data, _Report, bytes_max=REPORT_BYTES_MAX, items_max=16 + (8 + NOTES_MAX) * RUNS_MAX)
    if len(report.rows) != len(piece.items):
        raise PeerError(f"{len(report.rows)} runs; {len(piece.items)} were asked", where="report")
    payload = check(public_key, OBJECT_TYPE, network, report.signed_root)
    top = decode_record(payload, BatchRoot, bytes_max=ROOT_BYTES_MAX, items_max=ROOT_ITEMS)
    if top.size != len(report.rows) or top.root != root(levels([row.receipt for row in report.rows])):
        raise PeerError("the receipts are not those that were signed", where="root", evidence=report.signed_root)
    asked = asked_of(piece)
    runs = []
    for place, (row, item) in enumerate(zip(report.rows, piece.items, strict=True)):
        try:
            runs.append(_run(row, item, asked[item.program]))
        except PeerError as error:
            where = f"runs[{place}]" + (f", {error.where}" if error.where else "")
            raise PeerError(error.what, where=where, limit=error.limit, evidence=report.signed_root) from None
    return Reported(tuple(runs), report.signed_root)


def _run(row: _Row, item: Item, asked: Asked) -> Run:
    receipt = read_receipt(row.receipt)
    _fits(receipt, item, asked)
    if row.answer is None or row.failure is not None:
        if row.answer is not None or row.failure is None or receipt.status == "done":
            raise PeerError("either an answer or a failure, as the receipt says", where="status")
        return Run(_failed(row.failure), receipt, row.receipt)
    if receipt.status != "done":
        raise PeerError(f"an answer with status {receipt.status}", where="status")
    answer = answer_of(row.answer, receipt.engine, receipt.method)
    if hashlib.sha3_256(row.answer).digest() != receipt.result_hash:  # these very bytes encode the answer
        raise PeerError("the answer is not the one that the receipt names", where="result_hash")
    said = fault(answer, asked.question)
    if said is not None:
        raise PeerError(said, where="answer")
    return Run(Done(_execution(answer, row, receipt, asked)), receipt, row.receipt)


def _fits(receipt: Receipt, item: Item, asked: Asked) -> None:
    """A receipt of this very run. Raises PeerError."""
    want = asked.question.want
    shots = getattr(want, "shots", None) if receipt.status == "done" else receipt.shots
    needed = (
        ("run", receipt.run, item.index),
        ("program_id", receipt.program_id, asked.program_id),
        ("want", receipt.want, WANTS.get(type(want), type(want).__name__.lower())),
        ("seed", receipt.seed, item.seed),
        ("shots", receipt.shots, shots),
    )
    for name, found, value in needed:
        if found != value:
            raise PeerError(f"the receipt has {name} {found}; {value} was asked", where=name)


def _failed(failure: _Failure) -> Outcome:
    """As the submitter sees it: the peer's words, and that they are the peer's."""
    what = f"the peer says: {failure.what}"
    return (
        Misused(what) if failure.kind == "misused" else Refused(what) if failure.kind == "refused" else Unserved(what)
    )


def _execution(answer: Answer, row: _Row, receipt: Receipt, asked: Asked) -> Execution:
    seconds = receipt.duration_ns / 1e9
    return Execution(
        answer=answer, reason=row.reason, seconds=seconds, notes=row.notes,
        cregs=() if answer.counts is None else asked.registers,
        predicted=Cost(seconds=seconds, memory_bytes=0, work_units=float(receipt.work_units)),
    )  # fmt: skip
