"""What commands print with `--json` where no record of the API describes it: one type a body.

Flow: *these* -> rows of `schema` -> docs/schema/cli.schema.json, to which the tests hold what commands print.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from qcommons.engines.registry import EngineRow
from qcommons.node.api.ask_records import OwnAsk
from qcommons.node.api.mesh_records import Measured
from qcommons.node.api.records import EventView, SettingView, Status, TokenView

__all__ = [
    "Completion",
    "Demo",
    "DemoCase",
    "DemoMesh",
    "DemoMeshCase",
    "DemoMeshNode",
    "Detached",
    "DevDown",
    "DevNode",
    "DevRow",
    "DevStatus",
    "DevUp",
    "Doctor",
    "Down",
    "EngineListed",
    "Engines",
    "ErrorObject",
    "Events",
    "Failed",
    "FindingShown",
    "Lines",
    "MeasuredRate",
    "OwnAsks",
    "PeerForgotten",
    "ReceiptChecked",
    "ReceiptFile",
    "SettingChanged",
    "SettingShown",
    "SettingsShown",
    "StatusLimits",
    "TokenRevoked",
    "Tokens",
    "Tried",
    "Up",
    "Version",
    "WorldFault",
    "WorldLists",
    "WorldRule",
    "WorldScenario",
]

Level = Literal["green", "yellow", "red"]


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What the bodies that no record of the API describes have in common."""


class Tried(Shape, frozen=True):
    """Of a refusal: an engine, its method, and why not."""

    engine: str
    method: str
    why: str


class ErrorObject(Shape, frozen=True):
    """who must act: caller, resources, peer or qcommons. tried: of a refusal, each engine and why not."""

    who: str
    what: str
    where: str | None
    limit: str | None
    tried: tuple[Tried, ...]


class Failed(Shape, frozen=True):
    """What a command prints that did not do what it was asked. job: where one was submitted."""

    job: str | None
    status: Literal["failed", "refused", "cancelled"]
    error: ErrorObject


class Detached(Shape, frozen=True):
    """`run --detach`: the job is on disk."""

    job: str
    status: Literal["accepted"]
    node: str


class ReceiptFile(Shape, frozen=True):
    """`job receipt`: where the signed receipt was written, and its size."""

    job: str
    run: int
    file: str
    bytes: int


class ArchiveFile(Shape, frozen=True):
    """`job export`: where the archive was written, and its size."""

    job: str
    file: str
    bytes: int


class ArchiveCheck(Shape, frozen=True):
    """checked: how many things. faults: the first ones, "where: what"; fault_count: of all. note: one clause."""

    name: str
    says: str
    checked: int
    fault_count: int
    faults: tuple[str, ...]
    note: str


class ArchiveVerified(Shape, frozen=True):
    """`verify`: valid: no check has a fault. node_id: who made it. state, ended_ns: of the job."""

    valid: bool
    job: str
    node_id: str
    network: str
    state: str
    ended_ns: int
    checks: tuple[ArchiveCheck, ...]


class Up(Shape, frozen=True):
    """already: it ran before."""

    url: str
    token_file: str
    pid: int
    home: str
    node_id: str
    already: bool


class Down(Shape, frozen=True):
    """stopped False: none ran. left: jobs that go on with the next start. seconds: it took. by: the signal that ended a
    node that did not end when it was asked; then nothing says how many jobs are left."""

    stopped: bool
    home: str
    seconds: float | UnsetType = UNSET
    left: int | UnsetType | None = UNSET
    by: str | UnsetType = UNSET


class StatusLimits(Status, frozen=True):
    """limits: settings that are not their defaults."""

    limits: tuple[SettingView, ...]


class Lines(Shape, frozen=True):
    """Lines of the log, oldest first; with `-f` one such object a line, without the list."""

    lines: tuple[dict[str, Any], ...]


class Events(Shape, frozen=True):
    """Oldest first; with `-f` one event a line, without the list."""

    events: tuple[EventView, ...]


class Tokens(Shape, frozen=True):
    """`token list`."""

    tokens: tuple[TokenView, ...]


class TokenRevoked(Shape, frozen=True):
    """`token revoke`: the token's id."""

    revoked: str


class SettingShown(Shape, frozen=True):
    """A setting, its unit and who set it."""

    value: str | float | bool
    unit: str
    origin: str


class SettingsShown(Shape, frozen=True):
    """errors: what is wrong with the file or the environment."""

    file: str
    settings: dict[str, SettingShown]
    errors: tuple[ErrorObject, ...]


class SettingChanged(SettingView, frozen=True):
    """says: when it holds."""

    says: str


class PeerForgotten(Shape, frozen=True):
    """`peers forget`."""

    forgotten: str


class OwnAsks(Shape, frozen=True):
    """`ask show`: what this node offers, or did."""

    own: tuple[OwnAsk, ...]


class MeasuredRate(Measured, frozen=True):
    """mib_per_s: of the blob, if one was sent."""

    mib_per_s: float | None


class DevNode(Shape, frozen=True):
    """A development node."""

    url: str
    token_file: str
    pid: int
    home: str
    node_id: str


class DevUp(Shape, frozen=True):
    """known: how many alive peers each node knows."""

    folder: str
    network: str
    nodes: tuple[DevNode, ...]
    known: tuple[int, ...]


class DevRow(Shape, frozen=True):
    """state: a health, or down; then there is only the cause."""

    home: str
    state: Literal["green", "yellow", "red", "down"]
    cause: str
    url: str | UnsetType = UNSET
    pid: int | UnsetType = UNSET
    node_id: str | UnsetType = UNSET
    token_file: str | UnsetType = UNSET
    addresses: tuple[str, ...] | UnsetType = UNSET
    alive: int | UnsetType = UNSET
    links: int | UnsetType = UNSET


class DevStatus(Shape, frozen=True):
    """`dev status`."""

    nodes: tuple[DevRow, ...]


class DevDown(Shape, frozen=True):
    """`dev down`: how many ran."""

    stopped: int
    removed: bool


class WorldScenario(Shape, frozen=True):
    """A scenario of `world`."""

    name: str
    help: str
    nodes: int
    for_s: float


class WorldFault(Shape, frozen=True):
    """A fault, with its knobs."""

    name: str
    help: str
    kind: str
    knobs: tuple[dict[str, Any], ...]


class WorldRule(Shape, frozen=True):
    """What a world is checked for."""

    name: str
    help: str


class WorldLists(Shape, frozen=True):
    """`world --list`."""

    scenarios: tuple[WorldScenario, ...]
    faults: tuple[WorldFault, ...]
    rules: tuple[WorldRule, ...]


class FindingShown(Shape, frozen=True):
    """One thing that `doctor` looked at."""

    name: str
    state: Level
    value: str
    cause: str
    action: str


class Doctor(Shape, frozen=True):
    """state: the worst of the findings."""

    state: Level
    findings: tuple[FindingShown, ...]


class EngineListed(EngineRow, frozen=True, kw_only=True):
    """measured: its constants are this machine's."""

    measured: bool


class Engines(Shape, frozen=True):
    """`engines`."""

    engines: tuple[EngineListed, ...]


class DemoCase(Shape, frozen=True):
    """known: the known answer; agrees: whether the answer is that. The rest is as in run.schema.json, null where it was
    refused."""

    title: str
    file: str
    answer: str
    known: str
    agrees: bool
    engine: str | None
    method: str | None
    reason: str | None
    seconds: float | None
    physics: str | None
    error: dict[str, Any] | None


class Demo(Shape, frozen=True):
    """`demo --alone`."""

    status: Literal["done", "failed"]
    cases: tuple[DemoCase, ...]
    receipts_checked: int
    node_id: str


class DemoMeshCase(DemoCase, frozen=True):
    """A job on the mesh. ran: runs whose answers were used, by node ("node 2"); also_ran: who answered the same beside
    these. checked: runs that were compared. caught: runs whose answers were not used, by the node that was found wrong.
    killed: the node that was killed meanwhile, lost_runs: what it had to do."""

    assurance: Literal["audit", "replicate"]
    job: str | None
    ran: dict[str, int]
    also_ran: tuple[str, ...]
    checked: int
    caught: dict[str, int]
    killed: str | None
    lost_runs: int


class DemoMeshNode(Shape, frozen=True):
    """receipts: of it that check. right, wrong: runs of it that were compared. lies, killed: as it was planned.
    caught: where, and on what that rests; quarantine: why node 1 gives it no more work."""

    name: str
    node_id: str
    receipts: int
    right: int
    wrong: int
    lies: bool
    killed: bool
    quarantine: str | None
    caught: str | None


class DemoMesh(Shape, frozen=True):
    """`demo`. archives_checked: that hold offline; faults: of others, by title. punished: nodes without fault that were
    found wanting all the same."""

    status: Literal["done", "failed"]
    cases: tuple[DemoMeshCase, ...]
    nodes: tuple[DemoMeshNode, ...]
    archives_checked: int
    receipts_checked: int
    faults: dict[str, tuple[str, ...]]
    liar_caught: bool
    killed: str | None
    punished: tuple[str, ...]


class ReceiptChecked(Shape, frozen=True):
    """receipt: its fields (docs/protocol/receipt.md), the hash of the result in hex. node_id_from: "option", or "file"
    where the file itself named its signer."""

    valid: bool
    node_id: str
    node_id_from: Literal["option", "file"]
    receipt: dict[str, Any]


class Completion(Shape, frozen=True):
    """`completion`."""

    shell: str
    script: str


class Version(Shape, frozen=True):
    """`version`."""

    qcommons: str
    python: str
