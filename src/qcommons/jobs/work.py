"""Work between nodes: what the two ends of a lease say to each other. docs/protocol/jobs.md has the CDDL and the rules.

Flow: Spread (who submits) -> *these bytes* over the mesh's exchange => Hire (who works) -> *these bytes* =>.

    protocol        asked                          answered
    work.offer/1    Offer (`offer.py`)             Granted | Declined
    work.part/1     WantPart                       the bytes of the part, as they are
    work.collect/1  LeaseRef, held open            Running | Committed | Ready | Over
    work.open/1     LeaseRef                       Opened | Over
    work.drop/1     Drop                           Over
    work.verdict/1  a verdict's file               Over

Parts are asked by whoever lacks them: the worker those of the work, the submitter those of the report. Whatever names a
lease is answered to the peer that holds it and to no other; anybody else hears that there is no such lease.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal, get_args

import msgspec

from qcommons.base.canonical import decode, encode, encode_record, to_record
from qcommons.base.errors import PeerError
from qcommons.base.ids import JobId, job_id
from qcommons.jobs.asks import Lease
from qcommons.jobs.offer import ITEMS_MAX, LEASE_BYTES, PART_BYTES, WORK_BYTES_MAX
from qcommons.jobs.report import REPORT_BYTES_MAX
from qcommons.pqc.commit import COMMITMENT_BYTES, SALT_BYTES

__all__ = [
    "COLLECT", "DECLINED_KINDS", "DROP", "OFFER", "OPEN", "PART", "PROTOCOLS", "TEXT_MAX", "VERDICT", "Collected",
    "Committed", "Declined", "DeclinedKind", "Drop", "Granted", "LeaseRef", "Message", "Opened", "Over", "Ready",
    "Running", "Text", "WantPart", "job_of", "part_count", "read", "said", "salt_of",
]  # fmt: skip

OFFER, PART, COLLECT = "work.offer/1", "work.part/1", "work.collect/1"
OPEN, DROP, VERDICT = "work.open/1", "work.drop/1", "work.verdict/1"
PROTOCOLS = (OFFER, PART, COLLECT, OPEN, DROP, VERDICT)

BYTES_MAX = PART_BYTES + ITEMS_MAX * COMMITMENT_BYTES + 8_192
ITEMS = 64
TEXT_MAX = 1_000

LeaseId = Annotated[bytes, msgspec.Meta(min_length=LEASE_BYTES, max_length=LEASE_BYTES)]
Text = Annotated[str, msgspec.Meta(max_length=TEXT_MAX)]
Part = Annotated[bytes, msgspec.Meta(max_length=PART_BYTES)]
Count = Annotated[int, msgspec.Meta(ge=0, le=ITEMS_MAX)]
Size = Annotated[int, msgspec.Meta(ge=1, le=max(WORK_BYTES_MAX, REPORT_BYTES_MAX))]
Digest = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


DeclinedKind = Literal["owner", "purpose", "busy", "terms", "work"]
DECLINED_KINDS: tuple[DeclinedKind, ...] = get_args(DeclinedKind)


class Message(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An array whose first item is its tag."""


class Granted(Message, frozen=True, tag="granted"):
    """The work is on the worker's disk and will be done. lease: what was agreed (`asks.check_lease`)."""

    lease: Lease


class Declined(Message, frozen=True, tag="declined"):
    """Nothing was kept. kind: "owner" (limits, policy, sharing), "purpose" (the campaign is refused by name), "busy"
    (no room now), "terms" (price, ask, deadline), "work" (it is malformed, or none of what it names is here).
    again_ns: a span after which it may be worth asking again, None where nothing is known."""

    kind: DeclinedKind
    what: Text
    again_ns: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)] | None = None


class LeaseRef(Message, frozen=True, tag="lease"):
    lease: LeaseId


class WantPart(Message, frozen=True, tag="part"):
    """number: from 0, of parts of 512 KiB. of: "work" is asked by the worker, "report" by the submitter."""

    lease: LeaseId
    of: Literal["work", "report"]
    number: Annotated[int, msgspec.Meta(ge=0, lt=REPORT_BYTES_MAX // PART_BYTES)]


class Running(Message, frozen=True, tag="running"):
    """Not done when the question had to be answered: ask again. answered: of `runs`, as far as it is known."""

    answered: Count
    runs: Count


class Committed(Message, frozen=True, tag="committed"):
    """A replica is done and waits for `work.open/1`. commitments: 32 bytes a run, joined, in the order of the runs."""

    commitments: Annotated[bytes, msgspec.Meta(max_length=ITEMS_MAX * COMMITMENT_BYTES)]


class Ready(Message, frozen=True, tag="report"):
    """digest: SHA3-256 of the whole report; first: its first part, the others come by `work.part/1`."""

    size_bytes: Size
    digest: Digest
    first: Part


class Opened(Message, frozen=True, tag="opened"):
    """A replica's report, and the salt from which that of each run follows (`salt_of`)."""

    salt: Annotated[bytes, msgspec.Meta(min_length=SALT_BYTES, max_length=SALT_BYTES)]
    size_bytes: Size
    digest: Digest
    first: Part


class Over(Message, frozen=True, tag="over"):
    """There is no such lease (any more), or what was told is noted. kind: "unknown", "dropped" (by the submitter),
    "given up" (by the worker's owner or node), "noted"."""

    kind: Literal["unknown", "dropped", "given up", "noted"]
    what: Text


class Drop(Message, frozen=True, tag="drop"):
    """The submitter no longer wants it; what is done is not paid beyond what was reported before."""

    lease: LeaseId
    why: Text


Collected = Running | Committed | Ready | Over
# protocol -> what may answer it, by tag (a part of `PART` is answered with its bytes)
_ANSWERS: dict[str, tuple[type[Message], ...]] = {
    OFFER: (Granted, Declined),
    COLLECT: (Running, Committed, Ready, Over),
    OPEN: (Opened, Over),
    DROP: (Over,),
    VERDICT: (Over,),
}
_BY_TAG = {protocol: {str(one.__struct_config__.tag): one for one in kinds} for protocol, kinds in _ANSWERS.items()}


def said(message: Message) -> bytes:
    """A message as it goes out."""
    return encode_record(message)


def read(kind: Any, data: bytes) -> Any:
    """The message in `data`. kind: the class that is asked for, or a protocol: then what answers it.

    Raises:
        PeerError: it is none of those, or breaks a rule of its fields.
    """
    value = decode(data, bytes_max=BYTES_MAX, items_max=ITEMS)
    wanted = _answer_of(kind, value) if isinstance(kind, str) else kind
    message = to_record(value, wanted)
    if said(message) != data:  # two spellings of one message
        raise PeerError("encoding the message again gives other bytes", where="message", evidence=data)
    return message


def _answer_of(protocol: str, value: Any) -> type[Message]:
    kinds = _BY_TAG[protocol]
    tag = value[0] if isinstance(value, list) and value else None
    found = kinds.get(tag) if isinstance(tag, str) else None
    if found is None:
        raise PeerError(f"{str(tag)[:40]!r} answers no {protocol}; allowed: {', '.join(kinds)}", where="message")
    return found


def job_of(lease: bytes, holder: bytes, task: bytes) -> JobId:
    """The id of the worker's job for a lease: its receipts name lease, holder (the submitter's node hash) and work by
    it. No older answer serves for it, and no other work brings a worker to sign a second receipt of one run."""
    return job_id(encode(["qcommons/hired.1", lease, holder, task]))


def salt_of(salt: bytes, run: int) -> bytes:
    """The salt of one run's commitment (`verify.replicate.commit_to` with the lease's job id)."""
    return hashlib.sha3_256(encode(["qcommons/salt.1", salt, run])).digest()


def part_count(size_bytes: int) -> int:
    return -(-size_bytes // PART_BYTES)
