"""Archives: one job with all that anybody needs to check it offline, as the nouns of its files.

Flow: node (what it kept of a job) -> *Contents* -> archive_files -> archive_zip -> one file => anybody: archive_zip ->
archive_files -> *Contents* -> archive_checks -> a table. docs/archive.md has the layout, and what it proves.

Nothing in it is secret or leads to anybody's machine: no tokens, no addresses, no paths, no names of principals; nodes
are named by their ids. What a person reads is JSON, bytes in it base64 (RFC 4648, section 4); what is signed or hashed
is kept as the bytes that were.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from qcommons.base.errors import PeerError
from qcommons.base.units import NS_PER_S
from qcommons.jobs.leases import LeaseRecord
from qcommons.jobs.outcomes import Outcome
from qcommons.jobs.plan.records import Part, Plan, Priced
from qcommons.jobs.records import Job
from qcommons.verify.merkle import levels, path
from qcommons.verify.records import PATH_MAX, Digest

__all__ = [
    "OBJECT_TYPE",
    "VERSION",
    "ArchiveRoot",
    "Audit",
    "Batch",
    "Contents",
    "JobFile",
    "Layout",
    "Leaf",
    "LeaseFile",
    "PeerRow",
    "PlanFile",
    "Replica",
    "RunLine",
    "SignedArchive",
    "Used",
    "Versions",
    "batch_of",
    "lease_file",
]  # fmt: skip

VERSION: Literal["qcommons/archive.1"] = "qcommons/archive.1"
OBJECT_TYPE = "qcommons/archive.1"  # of the signature under the list of files

Hex = Annotated[str, msgspec.Meta(pattern=r"^(?:[0-9a-f]{2})*\Z")]
UInt = Annotated[int, msgspec.Meta(ge=0)]
Ns = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]  # Unix time, to the year 2116


class Layout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the runs of a job are laid out for whoever asked: as `node.records.Form`."""

    shape: tuple[int, ...]
    scalar: bool
    single: bool


class JobFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """job.json: what was asked, of whom, and how it ended. job: its programs are the files that their ids name.

    state, cause: of the end. submitted_ns, ended_ns: Unix time by the node's clock. hired: the lease under which a peer
    had this node do it, in hex.
    """

    version: Literal["qcommons/archive.1"] = VERSION
    network: str
    node_id: str
    state: str
    cause: str
    submitted_ns: Ns
    ended_ns: Ns
    layout: Layout
    hired: Hex = ""
    job: Job


class PlanFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """plan.json: the ways that were priced, the one chosen, and how its runs make the runs that were asked. job: the
    runs of the plan, null where they are those that were asked."""

    row: str
    why: str
    priced: tuple[Priced, ...]
    job: Job | None
    parts: tuple[Part, ...]


class RunLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line of outcomes.jsonl: how one run of the plan ended."""

    run: UInt
    outcome: Outcome


class Leaf(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A receipt as it was signed, its place in its batch, and the digests that lead to the root."""

    receipt: bytes
    index: UInt
    path: Annotated[tuple[Digest, ...], msgspec.Meta(max_length=PATH_MAX)]


class Batch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """receipts/*.json: receipts of one node under one signature. With one leaf of it they are what `receipt check`
    takes (`verify.records.SignedReceipt`)."""

    node_id: str
    public_key: bytes
    signed_root: bytes
    leaves: tuple[Leaf, ...]


class Audit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The secret by which runs were chosen to be computed again, and what opens the commitment of the offer."""

    commitment: Hex
    secret: Hex
    salt: Hex
    rate_ppm: UInt


class Replica(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the peer committed to, 32 bytes a run, and the salt from which that of each run follows."""

    commitments: Hex
    salt: Hex


class LeaseFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """leases/*.json: one lease as its submitter kept it (`jobs.leases.LeaseRecord`), with names for people.

    runs: of the plan, in the order of the work; accepted, checked: of these. task: SHA3-256 of the work that was sent.
    ask: hash of the ask that was cited. helps: the lease whose runs were computed again under this one. nonce: from
    which the seeds of a replicated job follow, else "". units_max, from_s, until_s: agreed, 0 where
    nothing was. times: (state, Unix ns).
    """

    lease: Hex
    node_id: str
    serial: UInt
    state: str
    why: str
    runs: tuple[UInt, ...]
    accepted: tuple[UInt, ...]
    checked: tuple[UInt, ...]
    engine: str | None
    method: str | None
    task: Hex
    work_bytes: UInt
    within_ns: UInt
    memory_bytes: UInt
    price_max: UInt
    ask: Hex | None
    purpose: str
    commits: bool
    units_max: UInt
    from_s: int
    until_s: int
    helps: Hex
    nonce: Hex
    is_hedge: bool
    chosen_because: str
    expected_s: float
    work_units: UInt
    audit: Audit | None
    replica: Replica | None
    times: tuple[tuple[str, int], ...]


class Used(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An engine as receipts name it, by whom and for how many runs."""

    engine: str
    version: str
    method: str
    node_id: str
    runs: UInt


class Versions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """versions.json. qcommons, python, engines: of the node when it wrote the archive; used: when runs were done."""

    qcommons: str
    python: str
    engines: dict[str, str]
    used: tuple[Used, ...] = ()


class PeerRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line of peers.json. verdicts: how many of each kind."""

    node_id: str
    leases: UInt
    runs: UInt
    accepted: UInt
    verdicts: dict[str, int]


class ArchiveRoot(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What the submitting node signs: SHA3-256 of ro-crate-metadata.json, which names every other file's SHA-256."""

    metadata: Digest
    job_id: Annotated[str, msgspec.Meta(pattern=r"^job_[a-z2-7]{16}\Z")]
    node: Digest


class SignedArchive(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="qcommons/archive-file.1"
):
    """signature.cbor: a signed `ArchiveRoot` with the key of the node."""

    signed: bytes
    public_key: bytes


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What an archive says. plan: None where the runs are those that were asked and nobody chose. outcomes: one a run
    of the plan, in order. receipts: the submitting node's own, of the runs that were asked; None where it signed none.
    batches, verdicts: by lease, in hex; verdicts as they were signed. versions: `used` is filled in when it is
    written. result: as it was read; b"" where it is to be made."""

    head: JobFile
    plan: Plan | None
    outcomes: tuple[Outcome, ...]
    receipts: Batch | None
    leases: tuple[LeaseFile, ...]
    batches: dict[str, Batch]
    verdicts: dict[str, tuple[bytes, ...]]
    versions: Versions
    result: bytes = b""

    @property
    def runs(self) -> Job:
        """The job whose runs `outcomes` are of."""
        return self.head.job if self.plan is None else self.plan.job


# from what a node keeps


def batch_of(node_id: str, public_key: bytes, signed_root: bytes, receipts: tuple[bytes, ...]) -> Batch:
    """A whole batch: all receipts under one signature, in their order."""
    tree = levels(receipts)
    leaves = tuple(Leaf(receipt=one, index=place, path=path(tree, place)) for place, one in enumerate(receipts))
    return Batch(node_id=node_id, public_key=public_key, signed_root=signed_root, leaves=leaves)


def lease_file(record: LeaseRecord) -> LeaseFile:
    """A lease for an archive: its receipts and verdicts stand in files of their own."""
    offer, agreed = record.offer, record.agreed
    audit = replica = None
    if offer.audit is not None and record.audit_secret:
        audit = Audit(
            commitment=offer.audit.hex(), secret=record.audit_secret.hex(), salt=record.audit_salt.hex(),
            rate_ppm=record.rate_ppm,
        )  # fmt: skip
    if record.commitments and record.salt:
        replica = Replica(commitments=record.commitments.hex(), salt=record.salt.hex())
    return LeaseFile(
        lease=record.lease.hex(), node_id=record.node_id, serial=record.serial, state=record.state, why=record.why,
        runs=record.runs, accepted=record.accepted, checked=record.checked, engine=record.engine, method=record.method,
        task=offer.task.hex(), work_bytes=offer.work_bytes, within_ns=offer.within_ns, memory_bytes=offer.memory_bytes,
        price_max=offer.price_max, ask=None if offer.ask is None else offer.ask.hex(), purpose=offer.purpose,
        commits=offer.commits, units_max=0 if agreed is None else agreed.units_max,
        from_s=0 if agreed is None else agreed.from_s, until_s=0 if agreed is None else agreed.until_s,
        helps=record.helps.hex(), nonce=record.nonce.hex(), is_hedge=record.is_hedge, chosen_because=record.pick.why,
        expected_s=record.expected_s, work_units=record.work_units, audit=audit, replica=replica, times=record.times,
    )  # fmt: skip


def unhex(text: str, size: int, where: str) -> bytes:
    """Raises PeerError unless it is so many bytes."""
    data = bytes.fromhex(text)
    if len(data) != size:
        raise PeerError(f"{len(data)} bytes; {size} needed", where=where)
    return data


def date_text(at_ns: int) -> str:
    """UTC to the second (RFC 3339)."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at_ns // NS_PER_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
