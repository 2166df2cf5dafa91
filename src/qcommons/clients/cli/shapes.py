"""What commands print with `--json` where no record of the API describes it: one type a body.

Flow: *these* -> rows of `schema` -> docs/schema/cli.schema.json, to which the tests hold what commands print.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from qcommons.engines.registry import EngineRow
from qcommons.node.api.mesh_records import Measured
from qcommons.node.api.records import EventView, SettingView, Status, TokenView

__all__ = [
    "CertificateAccepted",
    "CertificateShown",
    "CertificatesRevoked",
    "Certified",
    "Completion",
    "Demo",
    "DemoCase",
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
    "Followed",
    "KeyRestored",
    "KeyRotated",
    "KeyShown",
    "KeysShown",
    "Lines",
    "MeasuredRate",
    "OwnerShown",
    "PeerForgotten",
    "ReceiptChecked",
    "ReceiptFile",
    "RevocationsAccepted",
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


class Up(Shape, frozen=True):
    """already: it ran before."""

    url: str
    token_file: str
    pid: int
    home: str
    node_id: str
    already: bool


class Down(Shape, frozen=True):
    """stopped False: none ran. left: jobs that go on with the next start. seconds: it took."""

    stopped: bool
    home: str
    seconds: float | UnsetType = UNSET
    left: int | UnsetType = UNSET


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


class KeyShown(Shape, frozen=True):
    """light: its passphrase is stretched less than is usual today."""

    id: str
    sealed_by: str
    light: bool
    file: str


class Followed(Shape, frozen=True):
    """A key that another one followed, and when."""

    of: Literal["node", "owner"]
    old: str
    new: str
    at_ns: int


class KeysShown(Shape, frozen=True):
    """`keys show`: None where there is no such key yet."""

    node: KeyShown | None
    owner: KeyShown | None
    successions: tuple[Followed, ...]


class KeyRestored(Shape, frozen=True):
    """kept_as: the file of the key that was there before. warning: what to do before it is used, "" for nothing."""

    id: str
    sealed_by: str | None
    was_there: bool
    kept_as: str | None
    warning: str


class KeyRotated(Shape, frozen=True):
    """`keys rotate`. record: the succession's file. kept_as: the old key's file."""

    old: str
    new: str
    record: str
    kept_as: str


class CertificateShown(Shape, frozen=True):
    """A certificate that this owner signed."""

    id: str
    owner: str
    node: str
    from_ns: int
    until_ns: int
    revoked: bool


class Certified(CertificateShown, frozen=True):
    """file: where it was written. accepted: it is of this home's node, which shows it from now on."""

    file: str | None
    accepted: bool


class OwnerShown(Shape, frozen=True):
    """`owner show`: the owner of this home, and the owner that its node shows."""

    owner: str | None
    node_owner: str | None
    certificates: tuple[CertificateShown, ...]


class CertificateAccepted(Shape, frozen=True):
    """`owner accept` of a certificate."""

    owner: str
    node: str
    until_ns: int


class RevocationsAccepted(Shape, frozen=True):
    """`owner accept` of a list of revocations."""

    owner: str
    seq: int
    revoked: tuple[str, ...]


class CertificatesRevoked(Shape, frozen=True):
    """`owner revoke`: ids of certificates, and the sequence of the list."""

    revoked: tuple[str, ...]
    seq: int
    file: str | None


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
    """`demo`."""

    status: Literal["done", "failed"]
    cases: tuple[DemoCase, ...]
    receipts_checked: int
    node_id: str


class ReceiptChecked(Shape, frozen=True):
    """receipt: its fields (docs/protocol/receipt.md), the hash of the result in hex."""

    valid: bool
    node_id: str
    receipt: dict[str, Any]


class Completion(Shape, frozen=True):
    """`completion`."""

    shell: str
    script: str


class Version(Shape, frozen=True):
    """`version`."""

    qcommons: str
    python: str
