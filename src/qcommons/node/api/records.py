"""Nouns of the API: what travels between a node and its clients, as JSON. OpenAPI is made from them.

Flow: client -> *Submission* -> routes -> edge -> Job -> core; core -> *JobView, Why, Status* -> client.
Moments are integer nanoseconds since 1970 (UTC), `_ns`. A field that is not named here is refused in requests.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from qcommons.circuits.noise import Noise
from qcommons.circuits.observables import PauliSum
from qcommons.jobs.outcomes import ErrorInfo, Tried
from qcommons.jobs.results import Result
from qcommons.node.api.mesh_records import MeshSummary
from qcommons.node.api.work_records import HiredWork, MeshWork

__all__ = [
    "Accepted", "AnsweredRuns", "AttemptView", "Cancel", "EventView", "Failure", "Health", "JobList", "JobView",
    "LogLines", "NewToken", "Now", "Pausing", "PhaseView", "PolicyChange", "PolicyView", "ProgramText",
    "SettingChange", "SettingView", "ShutDown", "Status", "Submission", "TokenGiven", "TokenView", "Trouble", "Why",
]  # fmt: skip

Axis = Annotated[int, msgspec.Meta(ge=1, le=(1 << 31) - 1)]
Tag = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Text = Annotated[str, msgspec.Meta(max_length=4096)]
PROGRAMS_MAX = 1_000
SUMS_MAX, BITSTRINGS_MAX = 10_000, 1 << 16  # as between nodes (`jobs/wire.py`)
POINTS_MAX = 100_000
AXES_MAX = 32
WAIT_S_MAX = 300.0  # of one long poll; ask again for more


class _Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Requests: unknown fields are errors."""


class ProgramText(_Asked, frozen=True):
    """One program: OpenQASM 2 or 3 as text, or canonical bytes (docs/protocol/program.md) in base64.

    name: how messages call it.
    """

    qasm: str | None = None
    wire: bytes | None = None
    name: Annotated[str, msgspec.Meta(max_length=4096)] = ""


class Submission(_Asked, frozen=True):
    """A job. The fields mean what the arguments of `qcommons.run` mean (docs/python.md).

    programs: with `batch` the results are a list even of one. points: values of the inputs, one run of each
    program for each; `shape` lays them out. observables: text as in "ZZI + 0.5 XXI", or the terms. noise:
    "depolarizing:0.01+readout:0.02"; or noise_profile: the text of a device profile (TOML); or noise_model: its
    rules. request: your own name for this submission, so that asking twice makes one job. on: "mesh" has peers run it;
    then assurance says how they are checked (audit), egress who may get it (peers: own and allowed nodes; public:
    anybody's), peers how many at most, budget what they may be paid (base units), plan which row of the planner.
    """

    programs: Annotated[tuple[ProgramText, ...], msgspec.Meta(min_length=1, max_length=PROGRAMS_MAX)]
    batch: bool = False
    shots: int | None = None
    observables: Annotated[tuple[str | PauliSum, ...], msgspec.Meta(max_length=SUMS_MAX)] | None = None
    scalar: bool = False
    amplitudes: Annotated[tuple[str, ...], msgspec.Meta(max_length=BITSTRINGS_MAX)] | None = None
    statevector: bool = False
    points: Annotated[tuple[dict[str, float], ...], msgspec.Meta(min_length=1, max_length=POINTS_MAX)] | None = None
    shape: Annotated[tuple[Axis, ...], msgspec.Meta(max_length=AXES_MAX)] | None = None
    noise: Text | None = None
    noise_profile: str | None = None
    noise_model: Noise | None = None
    seed: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)] | None = None
    engine: Text | None = None
    method: Text | None = None
    deadline_s: float | None = None
    memory_bytes: int | None = None
    tags: Annotated[tuple[Tag, ...], msgspec.Meta(max_length=16)] = ()
    purpose: Text | None = None
    egress: Literal["home", "peers", "public"] | None = None
    on: Literal["here", "mesh"] = "here"
    assurance: Literal["none", "audit", "replicate"] | None = None
    peers: Annotated[int, msgspec.Meta(ge=1, le=1_000)] | None = None
    budget: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)] | None = None
    plan: Text | None = None
    request: Annotated[str, msgspec.Meta(min_length=1, max_length=128)] | None = None


class Failure(msgspec.Struct, frozen=True):
    """The body of every answer that is not 2xx.

    error.who must act: caller, resources, peer or qcommons; error.where names the field, parameter or place.
    """

    error: ErrorInfo


class PhaseView(msgspec.Struct, frozen=True):
    """A state of the job: accepted, planned, running, assembling, done, failed, refused or cancelled."""

    state: str
    cause: str
    since_ns: int


class AttemptView(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is at now: one run of a job, by one method of an engine, since `since_ns`.

    run: its place in the job, from 0. predicted_s: seconds that the cost model expects of this attempt; certain: False
    where they depend on the state, so that another method may follow it.
    """

    run: int
    engine: str
    method: str
    predicted_s: float
    certain: bool
    since_ns: int


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """A job as the node knows it; `timeline` only where one job was asked for. attempts: what workers are at for it;
    runs of less than a quarter of a second do not appear. on: "here" or "mesh". mesh, hired: where one job was asked
    for, of work between nodes."""

    id: str
    state: str
    cause: str
    since_ns: int
    submitted_ns: int
    ended_ns: int | None
    deadline_ns: int
    principal: str
    tags: tuple[str, ...]
    title: str
    runs: int
    answered: int
    n_qubits: int
    shots: int
    timeline: tuple[PhaseView, ...] = ()
    attempts: tuple[AttemptView, ...] = ()
    on: str = "here"
    mesh: MeshWork | None = None
    hired: HiredWork | None = None


class JobList(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first. more: pass it as `before` for the next page; None at the end."""

    jobs: tuple[JobView, ...]
    total: int
    more: int | None = None


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """The job is on disk and will end. again: this request was known, the job is the one it made before."""

    job: str
    state: str
    again: bool = False


class AnsweredRuns(msgspec.Struct, frozen=True, kw_only=True):
    """The results for typed clients (msgpack): what `jobs.results.Results` is made of."""

    job: str
    status: str
    cause: str
    seed: int
    seconds: float
    shape: tuple[int, ...]
    single: bool
    runs: tuple[Result, ...]


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """Why a job is where it is. who: whose move it is (owner, caller, resources, peers, qcommons, nobody).

    action: what to do, "" if there is nothing to do. ahead: jobs before it in the queue, None unless it waits.
    until_ns: when that is known to change by itself. tried: of a refusal, each method that might have answered and why
    it could not. mesh: of a job on the mesh; hired: of one that a peer hired.
    """

    job: str
    state: str
    cause: str
    who: str
    since_ns: int
    action: str = ""
    ahead: int | None = None
    until_ns: int | None = None
    tried: tuple[Tried, ...] = ()
    mesh: MeshWork | None = None
    hired: HiredWork | None = None


class Cancel(_Asked, frozen=True):
    cause: Annotated[str, msgspec.Meta(max_length=500)] = "asked by the caller"


class Pausing(_Asked, frozen=True):
    """finish: running jobs may end; else they stop and start anew after. for_s: None until `resume`."""

    finish: bool = False
    for_s: Annotated[float, msgspec.Meta(gt=0, le=31_622_400)] | None = None


class ShutDown(_Asked, frozen=True):
    """drain_s: running jobs may end within this; what is left starts anew when the node does."""

    drain_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 30.0


class PolicyChange(_Asked, frozen=True):
    """Rules `principal:NAME`, `tag:NAME`, `purpose:NAME` or `*`. remove: rules to take out of both lists."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


class PolicyView(msgspec.Struct, frozen=True):
    """Whose work is taken: deny wins; an empty `allow` means everybody. The owner's own work (`principal:home`) is
    taken whatever `allow` says; only `deny` holds it back."""

    allow: tuple[str, ...]
    deny: tuple[str, ...]


class SettingChange(_Asked, frozen=True):
    """value None: back to the default."""

    value: str | None


class SettingView(msgspec.Struct, frozen=True, kw_only=True):
    """origin: flag, environment, file or default. applies: "now", or "restart" where it needs one."""

    key: str
    value: float | str
    text: str
    unit: str
    origin: str
    applies: str


class NewToken(_Asked, frozen=True):
    """A token for somebody else's jobs on this node. for_s: until it expires; None: until revoked."""

    principal: Tag
    for_s: Annotated[float, msgspec.Meta(gt=0, le=315_360_000)] | None = None


class TokenGiven(msgspec.Struct, frozen=True, kw_only=True):
    """token: shown this once; the node keeps its hash only."""

    id: str
    principal: str
    token: str
    expires_ns: int | None


class TokenView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    principal: str
    made_ns: int
    expires_ns: int | None


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not green. level: "yellow" (works, but) or "red" (does not work)."""

    level: Literal["yellow", "red"]
    what: str
    cause: str
    who: str
    since_ns: int
    action: str
    until_ns: int | None = None


class Now(msgspec.Struct, frozen=True, kw_only=True):
    """One job that runs now, and for whom."""

    job: str
    principal: str
    tags: tuple[str, ...]
    title: str
    since_ns: int
    runs: int
    answered: int
    attempts: tuple[AttemptView, ...] = ()


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """health: "green", "yellow" or "red"; `sentence` says it in words; `troubles`: a row for whatever is not green."""

    health: Literal["green", "yellow", "red"]
    sentence: str
    troubles: tuple[Trouble, ...]
    node_id: str
    version: str
    url: str
    home: str
    pid: int
    started_ns: int
    now_ns: int
    running: tuple[Now, ...]
    waiting: int
    jobs: dict[str, int]
    workers: int
    workers_alive: int
    memory_bytes: int
    policy: PolicyView
    draining: bool = False
    mesh: MeshSummary | None = None


class EventView(msgspec.Struct, frozen=True, kw_only=True):
    """One event; `seq` is the cursor to continue from."""

    seq: int
    at_ns: int
    kind: str
    facts: dict[str, str | int | float | bool | None]


class LogLines(msgspec.Struct, frozen=True):
    """The newest lines of the node's log, oldest first; each is a JSON object as text."""

    lines: tuple[str, ...]


class Health(msgspec.Struct, frozen=True):
    """For health checks of containers: 200 while green or yellow, 503 where red."""

    health: Literal["green", "yellow"]
