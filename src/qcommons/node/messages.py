"""What the core is told and what it says: events in, messages of `Send` out.

Flow: shell -> *event* -> core -> Send(to, *message*) -> shell. A ticket is the shell's name for whoever waits for
the answer; "" where nobody does.
"""

from __future__ import annotations

import msgspec

from qcommons.base.effects import Woken
from qcommons.jobs.machine import ItemsEnded, PieceEnded
from qcommons.jobs.outcomes import Outcome
from qcommons.jobs.plan.records import Plan
from qcommons.jobs.records import Card, Job, Phase
from qcommons.jobs.work_events import (
    Came,
    Candidates,
    Doubted,
    Heard,
    HiredEnded,
    Offline,
    ReportMade,
    ReportRead,
    Sharing,
    Withdrew,
    WorkRead,
)
from qcommons.node.owner import OwnerLimits, Pause, Policy, Sense
from qcommons.node.records import Answered, Chosen, Entry, Form, Spec

__all__ = [
    "Begin", "CancelJob", "Combine", "Combined", "Drain", "Drained", "Ended", "Event", "HiredJob", "Kept", "LimitsSet",
    "OpenJob", "PauseAsked", "PolicySet", "Refusal", "ResumeAsked", "Seal", "Sealed", "Sensed", "Submit", "Taken",
    "WorkEvent", "WorkSeen",
]  # fmt: skip


class OpenJob(msgspec.Struct, frozen=True):
    """A job as it was kept when the node ended before it did. ends: by run of `spec.runs`."""

    entry: Entry
    spec: Spec
    history: tuple[Phase, ...]
    ends: tuple[tuple[int, Outcome], ...]
    ends_kept: int


class HiredJob(msgspec.Struct, frozen=True):
    """What became of the job of a hired lease. entry: None where there is none. sealed: it has its receipts."""

    lease: bytes
    entry: Entry | None = None
    sealed: bool = False


class Begin(msgspec.Struct, frozen=True):
    """First event after every start. unsealed: numbers of ended jobs without receipts.

    next_number, next_seq: of the next job and event. events_from: the oldest event that is kept.
    clean: the node ended by itself the last time. work: rows of what work between nodes keeps, key and value.
    hired: a row for each hired lease that is kept. own: where the lists of each guest go on (`own_lists.py`).
    """

    jobs: tuple[OpenJob, ...]
    next_number: int
    next_seq: int
    events_from: int
    unsealed: tuple[int, ...]
    pause: Pause | None
    policy: Policy
    clean: bool
    work: tuple[tuple[str, bytes], ...] = ()
    hired: tuple[HiredJob, ...] = ()
    own: dict[str, tuple[int, int]] = {}


class Submit(msgspec.Struct, frozen=True, kw_only=True):
    """A checked job. known: the entry that this request made before, if the shell found one. plan: of a job on the
    mesh. lease: of a job that a peer hired, in hexadecimal."""

    ticket: str
    job: Job
    form: Form
    tags: tuple[str, ...] = ()
    request: str | None = None
    title: str = ""
    known: Entry | None = None
    plan: Chosen | None = None
    lease: str = ""


class CancelJob(msgspec.Struct, frozen=True):
    ticket: str
    job_id: str
    cause: str


class PauseAsked(msgspec.Struct, frozen=True):
    ticket: str
    pause: Pause


class ResumeAsked(msgspec.Struct, frozen=True):
    ticket: str
    by: str


class PolicySet(msgspec.Struct, frozen=True):
    ticket: str
    policy: Policy


class LimitsSet(msgspec.Struct, frozen=True):
    limits: OwnerLimits


class Sensed(msgspec.Struct, frozen=True):
    sense: Sense


class Sealed(msgspec.Struct, frozen=True):
    """Signed receipts by number of the job; a job missing from it could not be sealed now."""

    asked: tuple[int, ...]
    receipts: dict[int, bytes]


class Drain(msgspec.Struct, frozen=True):
    until_ns: int


class Combined(msgspec.Struct, frozen=True):
    """The outcomes of the runs that were asked, in order."""

    job_id: str
    outcomes: tuple[Outcome, ...]


class WorkSeen(msgspec.Struct, frozen=True):
    """A peer's work was read. cards: its programs as a job of this node carries them. known: its job, where it is on
    disk already."""

    read: WorkRead
    cards: tuple[Card, ...] = ()
    known: Entry | None = None


# to Spread and Hire
WorkEvent = (
    Came | Withdrew | Heard | Candidates | Offline | Sharing | ReportRead | WorkSeen | ReportMade | HiredEnded
)  # fmt: skip

Event = (
    Begin | Submit | CancelJob | PauseAsked | ResumeAsked | PolicySet | LimitsSet | Sensed | ItemsEnded | PieceEnded
    | Doubted | Woken | Sealed | Combined | Drain | WorkEvent
)  # fmt: skip


class Taken(msgspec.Struct, frozen=True):
    """The job is on disk. again: the request had made it before."""

    entry: Entry
    again: bool = False


class Refusal(msgspec.Struct, frozen=True):
    """Not taken, and nothing kept. who: "owner", "resources" or "caller"."""

    who: str
    what: str
    where: str | None = None
    limit: str | None = None


class Kept(msgspec.Struct, frozen=True):
    """What was asked is on disk."""


class Ended(msgspec.Struct, frozen=True):
    """The job has its result, which is on disk."""

    entry: Entry
    spec: Spec
    history: tuple[Phase, ...]
    answered: Answered


class Drained(msgspec.Struct, frozen=True):
    """Nothing runs; the process may end."""


class Seal(msgspec.Struct, frozen=True):
    """The piece of a `Run`: sign the receipts of these jobs together."""

    numbers: tuple[int, ...]


class Combine(msgspec.Struct, frozen=True):
    """The piece of a `Run`: put together what was asked from the outcomes of the plan's runs. Then: `Combined`."""

    job_id: str
    plan: Plan
    outcomes: tuple[Outcome, ...]
