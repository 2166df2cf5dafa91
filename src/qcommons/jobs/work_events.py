"""What the two machines of work between nodes are told and ask for: the contract of Spread and Hire with their node.

Flow: node core (or world) -> *event* -> Spread, Hire -> *effect* -> node core -> mesh, workers, threads, disk. Beside
these: `Run(id, Piece)` and its ItemsEnded, PieceEnded (own audits), Store, WakeAt and Woken (tokens are tuples that
begin with "spread" or "hire"), Note.

What a `Send` is for is said by `to`: MESH (another node), JOBS (the job machines of this node).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from qcommons.base.ids import JobId
from qcommons.engines.records import Limits
from qcommons.jobs.asks import Ask as WorkAsk
from qcommons.jobs.machine import Doubted
from qcommons.jobs.offer import Offer
from qcommons.jobs.place import Candidate
from qcommons.jobs.records import Job, Piece
from qcommons.jobs.report import Reported
from qcommons.mesh.events import Answer, Ask, Asked, Failed, Withdrawn
from qcommons.mesh.records import PeerId

__all__ = [
    "HIRED",
    "JOBS",
    "MESH",
    "Came",
    "Candidates",
    "Dismiss",
    "Doubted",
    "Engage",
    "Engaged",
    "Heard",
    "HiredEnded",
    "JobOver",
    "MakeReport",
    "Offline",
    "ReadReport",
    "ReadWork",
    "ReportMade",
    "ReportRead",
    "Sharing",
    "ToMesh",
    "Unwanted",
    "Wanted",
    "Withdrew",
    "WorkRead",
]  # fmt: skip

MESH, JOBS = "mesh", "jobs"
HIRED = "hired"  # egress of what a worker tells its submitter: to that peer and to no other


# both: to and from other nodes


class ToMesh(msgspec.Struct, frozen=True):
    """Send(MESH, ToMesh): for another node. egress: of the job it serves ("home", "peers", "public" or HIRED), held
    to where it leaves. holder: the only peer that it may go to where egress is HIRED."""

    message: Ask | Answer
    egress: str
    holder: PeerId | None = None


class Heard(msgspec.Struct, frozen=True):
    """The answer to an `Ask`. ticket: as in the Ask, beginning with "spread" or "hire". failed: instead of a body."""

    ticket: str
    body: bytes = b""
    failed: Failed | None = None


class Came(msgspec.Struct, frozen=True):
    """A peer asks in one of `work.PROTOCOLS`; answer with `Answer(peer, id, ...)` before asked.until_ns.

    relation: "own", "allowed" or "stranger" to this node's owner, whose policy decides."""

    protocol: str
    asked: Asked
    relation: Literal["own", "allowed", "stranger"] = "stranger"


class Withdrew(msgspec.Struct, frozen=True):
    """Whoever asked no longer waits."""

    withdrawn: Withdrawn


# Spread: the submitter's side


class Wanted(msgspec.Struct, frozen=True):
    """A job machine wants a piece run (its `Run`). until_ns: the job's deadline on the event clock. The answer comes as
    Send(JOBS, ItemsEnded | PieceEnded), whose outcomes have passed their check."""

    job: Job
    piece: Piece
    until_ns: int


class Unwanted(msgspec.Struct, frozen=True):
    """Its `Stop`: nobody waits for the piece any more."""

    piece_id: str


class JobOver(msgspec.Struct, frozen=True):
    """The job has its result: what is held of its leases is no longer needed, what peers still do is dropped."""

    job_id: str


class Candidates(msgspec.Struct, frozen=True):
    """The peers as they stand now, all of them; told whenever one of them changed. now_s: Unix seconds."""

    rows: tuple[Candidate, ...]
    now_s: int


class Offline(msgspec.Struct, frozen=True):
    """The mesh is off or stopped: nobody can be asked. why: for people."""

    why: str


class ReadReport(msgspec.Struct, frozen=True):
    """The piece of a `Run`: `report.read_report`, away from the loop. peer: whose key must have signed. is_checked: its
    answers will be compared with others."""

    lease: bytes
    data: bytes
    piece: Piece
    peer: PeerId
    is_checked: bool = False


class ReportRead(msgspec.Struct, frozen=True):
    """fault: (what, where) of the PeerError; None where it reads. where "node": trouble of this node, nobody's lie;
    "fault": a fault of this node that an answer of the lease met. public_key: of the peer, with which it was read."""

    lease: bytes
    reported: Reported | None
    fault: tuple[str, str] | None = None
    public_key: bytes = b""


# Hire: the worker's side


class Sharing(msgspec.Struct, frozen=True):
    """What the owner says of work for others: told after every start, and when it changes.

    why: of "not enabled", for people. ask: this node's own, None where it asks no price. strangers: their work is taken
    as well as that of own and allowed nodes. places: pieces at once, where the ask does not say fewer. memory_bytes:
    of one run at most, 0 for no limit. refuses: campaigns refused by name; allows: if there are any, only theirs."""

    enabled: bool
    why: str = ""
    ask: WorkAsk | None = None
    strangers: bool = True
    places: int = 1
    memory_bytes: int = 0
    refuses: frozenset[str] = frozenset()
    allows: frozenset[str] = frozenset()


class ReadWork(msgspec.Struct, frozen=True):
    """The piece of a `Run`: `offer.piece_of`, away from the loop. peer: who offers it."""

    lease: bytes
    peer: PeerId
    work: bytes
    task: bytes
    limits: Limits


class WorkRead(msgspec.Struct, frozen=True):
    """fault: as in `ReportRead`. work_units: predicted by this node's cost model, 0 where it cannot tell."""

    lease: bytes
    piece: Piece | None
    fault: tuple[str, str] | None = None
    work_units: int = 0


class Engage(msgspec.Struct, frozen=True):
    """Send(JOBS, Engage): make it a job of this node. The principal is the peer's node id, the job's id and its
    request are `work.job_of` lease, peer and task. Answered by `Engaged`. offer: without its first part."""

    peer: PeerId
    offer: Offer
    piece: Piece
    deadline_s: float


class Engaged(msgspec.Struct, frozen=True):
    """refused: (kind as in `work.Declined`, what); None: the job is on disk, or was there before; if it has ended,
    `HiredEnded` follows."""

    lease: bytes
    refused: tuple[str, str] | None = None


class Dismiss(msgspec.Struct, frozen=True):
    """Send(JOBS, Dismiss): cancel the job of this lease. job: its id here."""

    lease: bytes
    job: JobId
    why: str


class HiredEnded(msgspec.Struct, frozen=True):
    """The job of a lease has its result and its receipts on disk. status: of the job. given_up: it ended by this node's
    owner or for its own reasons (cancelled here, given up), so there is no report. Told again after every start."""

    lease: bytes
    status: str
    given_up: str | None = None


class MakeReport(msgspec.Struct, frozen=True):
    """The piece of a `Run`: the report of an ended job, from what is on disk. peer: for whom. job: its id here.
    salt: of a replica, from which the salts of its runs follow: then with commitments."""

    lease: bytes
    peer: PeerId
    job: JobId
    salt: bytes | None = None


class ReportMade(msgspec.Struct, frozen=True):
    """data: None where there is no such job, or no result. commitments: joined, of a replica. digest: SHA3-256 of data,
    taken where it was made, since 64 MiB take 0.3 s; b"" leaves it to who hears it."""

    lease: bytes
    data: bytes | None
    commitments: bytes = b""
    digest: bytes = b""
