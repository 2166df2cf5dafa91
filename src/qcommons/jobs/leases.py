"""Leases as their submitter keeps them: what was offered to whom, what came of it, and all that proves it later.

Flow: issuing -> *LeaseRecord* -> Store "lease/JOB/LEASE" -> offer -> ... -> the same record, with receipts and verdicts
-> archive. A record is on disk before its offer goes out, so that after a crash the same lease is asked for, not run
again. Ids and secrets are derived from a secret of the node, so a restart repeats them.

    state      means                                       then
    offered    on disk, the offer is out                   leased, ended (declined, unreachable)
    leased     the peer has the work on its disk           committed, reported, ended (silent, given up, dropped)
    committed  a replica is fixed and not shown yet        reported, ended
    reported   signed for, read, being checked             accepted, ended (malformed, wrong)
    accepted   the job took outcomes from it               ended (doubted: the peer was proved to lie)
    ended      it came to nothing; `why` says why
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from qcommons.base.canonical import encode
from qcommons.base.effects import Effect, Store
from qcommons.base.errors import Corrupt
from qcommons.base.ids import JobId
from qcommons.base.typed import described
from qcommons.base.units import NS_PER_S
from qcommons.jobs.asks import Lease
from qcommons.jobs.offer import LEASE_BYTES, Offer
from qcommons.jobs.place import Pick
from qcommons.jobs.records import Item, Job, Piece
from qcommons.jobs.work import job_of
from qcommons.jobs.work_views import LeaseRow
from qcommons.pqc.commit import Opening, commitment
from qcommons.verify.records import Kind

__all__ = [
    "KEY", "LeaseRecord", "State", "audit_commitment", "derived", "key_of", "lease_id", "moved", "piece_for",
    "read_kept", "row_of", "stored",
]  # fmt: skip

KEY = "lease/"
AUDIT = "audit"  # purpose of the commitment to a secret, docs/protocol/verdict.md
State = Literal["offered", "leased", "committed", "reported", "accepted", "ended"]


class LeaseRecord(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """All that is kept of one lease, for a restart and for an archive.

    serial: of the job's leases, from 0. peer: node hash; holder: this node's. public_key: of the peer, once a report
    was read with it. offer: its terms, the first part of the work left out. agreed: what the peer granted. engine,
    method: as the lease
    names them. pieces, runs: of the job, in the order of the work; helps: the lease whose runs are computed again, b""
    where the runs are wanted for themselves. nonce: of a replicated job (`replicate.nonce_of`), else b"".
    pick: why this peer. expected_s, work_units: predicted. audit_secret, audit_salt: open the commitment in the offer.
    commitments, salt: of a replica, as told and opened. receipts, signed_root: as they were signed; verdicts: files,
    ours; found: their kinds. checked: runs of the job that were compared; accepted: whose outcomes came from here.
    times: (state, Unix ns). overstated: work units that its receipts name, where the cost model says less; else 0.
    """

    version: Literal["qcommons/lease-kept.1"] = "qcommons/lease-kept.1"
    lease: bytes
    job: str
    serial: int
    peer: bytes
    node_id: str
    public_key: bytes = b""
    offer: Offer
    agreed: Lease | None = None
    engine: str | None
    method: str | None
    pieces: tuple[str, ...]
    runs: tuple[int, ...]
    helps: bytes = b""
    nonce: bytes = b""
    is_hedge: bool = False
    pick: Pick
    expected_s: float
    work_units: int
    audit_secret: bytes = b""
    audit_salt: bytes = b""
    rate_ppm: int = 0
    commitments: bytes = b""
    salt: bytes = b""
    receipts: tuple[bytes, ...] = ()
    signed_root: bytes = b""
    verdicts: tuple[bytes, ...] = ()
    checked: tuple[int, ...] = ()
    accepted: tuple[int, ...] = ()
    times: tuple[tuple[str, int], ...] = ()
    state: State = "offered"
    why: str = ""
    found: tuple[Kind, ...] = ()
    overstated: int = 0
    holder: bytes

    @property
    def hired_job(self) -> JobId:
        """The id of its job at the peer: what receipts and verdicts name."""
        return job_of(self.lease, self.holder, self.offer.task)


# what is derived


def derived(secret: bytes, purpose: str, *path: str | int | bytes) -> bytes:
    """32 bytes for one purpose, from the node's secret: nobody else can make them, and a restart makes them again."""
    return hashlib.sha3_256(encode(["qcommons/spread.1", purpose, secret, *path])).digest()


def lease_id(secret: bytes, job: str, serial: int, task: bytes) -> bytes:
    return derived(secret, "lease", job, serial, task)[:LEASE_BYTES]


def audit_commitment(me: bytes, secret: bytes, salt: bytes) -> bytes:
    """What goes out with the offer; the secret is shown with the verdict."""
    return commitment(Opening(AUDIT, me, salt, secret))


def piece_for(job: Job, runs: tuple[int, ...], name: str, engine: str | None, method: str | None) -> Piece:
    """These runs of a job as one piece whose items are numbered by their place: what a peer is asked, and what its
    report is read against. Equal arguments, equal bytes of work."""
    places: dict[int, int] = {}
    items = []
    for place, run in enumerate(runs):
        point = job.points[run]
        program = places.setdefault(point.program, len(places))
        items.append(Item(place, program, point.values, point.seed))
    return Piece(
        id=name,
        programs=tuple(job.programs[program].wire for program in places),
        wants=tuple(job.wants[program] for program in places),
        items=tuple(items), limits=job.limits, noise=job.noise, engine=engine, method=method,
    )  # fmt: skip


# what is kept


def key_of(record: LeaseRecord) -> str:
    return f"{KEY}{record.job}/{record.lease.hex()}"


def stored(record: LeaseRecord) -> Effect:
    return Store(key_of(record), msgspec.msgpack.encode(record))


def moved(record: LeaseRecord, state: State, at_ns: int, why: str = "", **changed: object) -> LeaseRecord:
    """The record in another state. at_ns: Unix."""
    times = (*record.times, (state, at_ns))
    return msgspec.structs.replace(record, state=state, times=times, why=why, **changed)


def read_kept(raw: bytes) -> LeaseRecord:
    """What `stored` wrote. Raises Corrupt."""
    try:
        return msgspec.msgpack.decode(raw, type=described(LeaseRecord))
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Corrupt(f"a kept lease cannot be read: {error}", where=KEY) from error


def row_of(record: LeaseRecord, answered: int = 0) -> LeaseRow:
    """For people."""
    is_open = record.state in ("offered", "leased", "committed", "reported")
    return LeaseRow(
        lease=record.lease.hex(), peer=record.node_id, state=record.state,
        since_s=record.times[-1][1] // NS_PER_S if record.times else 0, runs=len(record.runs),
        answered=len(record.runs) if record.receipts else answered, accepted=len(record.accepted),
        is_hedge=record.is_hedge, role="computes again" if record.helps else "runs",
        price_per_giga=record.offer.price_max, why=record.why or (record.pick.why if is_open else ""),
        verdicts=len(record.verdicts), checked=len(record.checked), found=record.found,
        work_units=record.work_units, overstated=record.overstated,
    )  # fmt: skip
