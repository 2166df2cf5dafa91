"""Offers: a piece of work with its conditions, as one node asks another to run it.

Flow: Piece -> *work_of* -> Work -> *Offer* -> bytes => peer: *read_offer, read_work* -> Piece -> a job of that node.
Encoding: canonical CBOR, docs/protocol/work.md. The work travels apart from the offer's terms: it may be longer than a
message, and then comes in parts. Its SHA3-256 is the *task*: what a lease, a receipt's seed and a replica rest on.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

import msgspec

from qcommons.base.canonical import decode, decode_record, encode, encode_record, to_record
from qcommons.base.errors import PeerError, UsageError
from qcommons.circuits.columns import Columns
from qcommons.circuits.wire import decode_columns
from qcommons.engines.records import Limits
from qcommons.jobs.records import Item, Piece
from qcommons.jobs.wire import noise_of, noise_value, want_of, want_value

__all__ = [
    "LEASE_BYTES", "OFFER_BYTES_MAX", "PART_BYTES", "WORK_BYTES_MAX", "Offer", "offer_bytes", "parts_of", "piece_of",
    "read_offer", "task_of", "work_bytes",
]  # fmt: skip

LEASE_BYTES = 16
PART_BYTES = 512 << 10  # of work or of a report: half of what a request holds
WORK_BYTES_MAX = 16 << 20
PROGRAMS_MAX = 1_000
ITEMS_MAX = 10_000  # runs of one offer
VALUES_MAX = 200_000  # bound inputs of all runs
WANT_ITEMS_MAX = 100_000  # data items of all wants and of the noise
OFFER_BYTES_MAX = PART_BYTES + 4096
NAME_MAX = 128
SEED_MAX = (1 << 63) - 1

LeaseId = Annotated[bytes, msgspec.Meta(min_length=LEASE_BYTES, max_length=LEASE_BYTES)]
Task = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Name = Annotated[str, msgspec.Meta(max_length=NAME_MAX, pattern=r"^[ -~]*\Z")]
Positive = Annotated[int, msgspec.Meta(ge=1, le=(1 << 63) - 1)]


class Offer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True):
    """The terms of one lease.

    lease: drawn by the submitter; an offer that repeats it means the same. job, piece: names at the submitter, for
    people. task: SHA3-256 of the work. work_bytes: its length; first: its first part, at most 512 KiB; what follows
    comes as "work.part/1". within_ns: a span, until when the answer is of use. memory_bytes: of one run.
    commits: the worker first commits to its answer and opens it when asked (replicas).
    price_max: base units for 10^9 work units. ask: hash of the worker's ask that is cited, None to work without one.
    audit: commitment to the secret by which runs are chosen to be computed again (`verify.audit.choose`), None where
    none will be. purpose: a campaign's name, "" for none.
    """

    lease: LeaseId
    job: Name
    piece: Name
    task: Task
    work_bytes: Annotated[int, msgspec.Meta(ge=1, le=WORK_BYTES_MAX)]
    first: Annotated[bytes, msgspec.Meta(max_length=PART_BYTES)]
    within_ns: Positive
    memory_bytes: Positive
    commits: bool
    price_max: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
    ask: Task | None
    audit: Task | None
    purpose: Name


class _Run(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    program: Annotated[int, msgspec.Meta(ge=0, lt=PROGRAMS_MAX)]
    seed: Annotated[int, msgspec.Meta(ge=0, le=SEED_MAX)]
    values: dict[str, float]


class _Work(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    version: Literal["qcommons/work.1"]
    programs: Annotated[tuple[bytes, ...], msgspec.Meta(min_length=1, max_length=PROGRAMS_MAX)]
    wants: tuple[Any, ...]
    runs: Annotated[tuple[_Run, ...], msgspec.Meta(min_length=1, max_length=ITEMS_MAX)]
    noise: Any
    engine: Name | None
    method: Name | None


def work_bytes(piece: Piece) -> bytes:
    """What a piece asks for, whoever runs it. Runs are numbered by their place, not by their index in the job.

    Raises:
        UsageError: it is longer than 16 MiB, or a want has no wire form.
    """
    runs = [
        [item.program, item.seed, {name: float(value) for name, value in item.values.items()}] for item in piece.items
    ]
    wants = [want_value(want) for want in piece.wants]
    data = encode(
        ["qcommons/work.1", list(piece.programs), wants, runs, noise_value(piece.noise), piece.engine, piece.method]
    )
    if len(data) > WORK_BYTES_MAX:
        limit = f"{WORK_BYTES_MAX} bytes"
        raise UsageError(f"{len(data)} bytes of work in one piece; allowed {limit}", where="piece", limit=limit)
    return data


def task_of(work: bytes) -> bytes:
    return hashlib.sha3_256(work).digest()


def parts_of(data: bytes) -> list[bytes]:
    """In order, 512 KiB each but the last."""
    return [data[at : at + PART_BYTES] for at in range(0, len(data), PART_BYTES)]


def read_offer(data: bytes) -> Offer:
    """The offer of a peer. Raises PeerError."""
    offer = decode_record(data, Offer, bytes_max=OFFER_BYTES_MAX, items_max=16)
    if len(offer.first) != min(offer.work_bytes, PART_BYTES):
        raise PeerError(f"a first part of {len(offer.first)} bytes of {offer.work_bytes}", where="first")
    return offer


def offer_bytes(offer: Offer) -> bytes:
    return encode_record(offer)


def piece_of(work: bytes, task: bytes, name: str, limits: Limits) -> Piece:
    """The piece that a peer's work asks for: checked so far that nothing but running it can fail.

    Args:
        task: as the offer names it. name: of the piece here. limits: of each run here.

    Raises:
        PeerError: another task, a program that is none, a want that does not fit, an unbound or unknown input.
    """
    if task_of(work) != task:
        raise PeerError("the work is not the task that was offered", where="task", evidence=task)
    items_max = 16 + 2 * PROGRAMS_MAX + 4 * ITEMS_MAX + 2 * VALUES_MAX + WANT_ITEMS_MAX
    read = to_record(decode(work, bytes_max=WORK_BYTES_MAX, items_max=items_max), _Work)
    if len(read.wants) != len(read.programs):
        raise PeerError(f"{len(read.wants)} wants of {len(read.programs)} programs", where="wants")
    columns = [decode_columns(program) for program in read.programs]
    wants = tuple(want_of(want, one.n_qubits) for want, one in zip(read.wants, columns, strict=True))
    widest = max(one.n_qubits for one in columns)
    items = tuple(_item(place, run, columns) for place, run in enumerate(read.runs))
    if sum(len(item.values) for item in items) > VALUES_MAX:
        raise PeerError("too many bound inputs", where="runs", limit=f"{VALUES_MAX}")
    return Piece(
        id=name, programs=read.programs, wants=wants, items=items, limits=limits,
        noise=noise_of(read.noise, widest), engine=read.engine, method=read.method,
    )  # fmt: skip


def _item(place: int, run: _Run, columns: list[Columns]) -> Item:
    where = f"runs[{place}]"
    if run.program >= len(columns):
        raise PeerError(f"program {run.program} of {len(columns)}", where=where)
    needed = columns[run.program].inputs
    if set(run.values) != set(needed):
        raise PeerError(f"inputs {sorted(run.values)[:5]}; the program has {sorted(needed)[:5]}", where=where)
    if not all(map(_finite, run.values.values())):
        raise PeerError("a bound input is not a finite number", where=where)
    return Item(place, run.program, dict(run.values), run.seed)


def _finite(value: float) -> bool:
    return value - value == 0.0
