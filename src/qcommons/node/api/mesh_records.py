"""Nouns of the API about the mesh: who is there, how they are reached, whether this node can be.

Flow: mesh/door -> *these* -> JSON -> client. Every state that is not green carries cause, since when, and what to do.
Moments are nanoseconds since 1970 (`_ns`), apart from those that a record signs in seconds: `Window`, papers (`_s`).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

__all__ = [
    "AwayAsked", "AwayView", "Before", "InviteView", "JoinAsked", "Joined", "MeasureAsked", "Measured", "MeshSummary",
    "MeshView", "PapersView", "PeerRow", "PeerState", "ProbeAsked", "ProbeHeard", "Probed", "ReachView", "Relation",
    "SeverAsked", "Severed", "Verdict", "VerdictAsked", "Window", "is_near",
]  # fmt: skip

Level = Literal["green", "yellow", "red"]
Verdict = Literal["allow", "deny", "neither"]
PeerState = Literal["known", "alive", "suspect", "lost", "stopped", "away", "banned", "denied"]
Relation = Literal["own", "allowed", "invited", "stranger"]
INVITE_CHARS_MAX = 2048
WINDOWS_MAX = 8  # planned absences in a record (`mesh/records.py`)
REQUESTS_MAX = 10_000
BLOB_BYTES_MAX = 64 << 20


class _Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Requests: unknown fields are errors."""


class Window(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A planned absence, [from_s, until_s) in seconds since 1970."""

    from_s: int
    until_s: int


class Quarantine(msgspec.Struct, frozen=True, kw_only=True):
    """This node gives a peer no work before until_s (Unix seconds). verdict: SHA3-256 of the one that says why, hex."""

    until_s: int
    why: str
    verdict: str


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """A peer that gets no work of this node, in the status."""

    node: str
    until_s: int
    why: str


class PeerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One peer. state: known, alive, suspect, lost, stopped (it said goodbye), away, banned or denied.

    since_ns: 0 where it is not known. relation: own (this owner certifies it), allowed (the owner's word), invited (by
    its invitation, or its address in mesh.bootstrap, this node joined), else stranger. link: direct, relayed or none.
    relay: the node that relays. round_trip_s: None where not measured. bytes: of the link that stands. verdict: the
    owner's word. away: its next planned absence. quarantine: it gets no work of this node for now.
    """

    node: str
    level: Level
    state: PeerState
    cause: str
    since_ns: int
    action: str = ""
    relation: Relation = "stranger"
    round_trip_s: float | None = None
    link: Literal["direct", "relayed", "none"] = "none"
    relay: str | None = None
    neighbour: bool = False
    version: str = ""
    offers: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    bytes_in: int = 0
    bytes_out: int = 0
    blame: int = 0
    verdict: Verdict = "neither"
    away: Window | None = None
    quarantine: Quarantine | None = None


def is_near(row: PeerRow) -> bool:
    """Whether the owner chose the peer, a link with it stands or this node found it wanting: anybody else's troubles
    are their own."""
    return row.relation != "stranger" or row.link != "none" or row.quarantine is not None


class ReachView(msgspec.Struct, frozen=True, kw_only=True):
    """Whether others can dial this node. by: who tried last. one_way: peers that reach us but not we them."""

    state: Literal["yes", "no", "unknown"]
    cause: str
    since_ns: int
    action: str = ""
    address: str = ""
    by: str | None = None
    relays: tuple[str, ...] = ()
    one_way: tuple[str, ...] = ()


class MeshSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The mesh in the status. peers: state -> how many. strangers: of them, those that are neither chosen nor linked.
    quarantined: who gets no work of this node, the first to come back first; a few of them."""

    network: str
    peers: dict[str, int]
    strangers: dict[str, int]
    links: int
    neighbours: int
    reach: Literal["yes", "no", "unknown"]
    addresses: tuple[str, ...]
    quarantined: tuple[Quarantined, ...] = ()


class MeshView(msgspec.Struct, frozen=True, kw_only=True):
    """listening: host and port of each socket. addresses: what this node tells others of itself."""

    network: str
    node: str
    now_ns: int
    listening: tuple[str, ...]
    addresses: tuple[str, ...]
    mdns: bool
    reach: ReachView
    links: int
    neighbours: int
    peers: tuple[PeerRow, ...]
    away: tuple[Window, ...] = ()


class InviteView(msgspec.Struct, frozen=True, kw_only=True):
    """invite: one string, for `join`. note: what its holder should know, "" for nothing."""

    invite: str
    network: str
    node: str
    addresses: tuple[str, ...]
    note: str = ""


class JoinAsked(_Asked, frozen=True):
    """wait_s: how long to wait for the first link."""

    invite: Annotated[str, msgspec.Meta(min_length=1, max_length=INVITE_CHARS_MAX)]
    wait_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 10.0


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """linked: whether the inviting node answered within the time; it is tried further in any case."""

    node: str
    network: str
    linked: bool
    cause: str
    peers: int


class VerdictAsked(_Asked, frozen=True):
    verdict: Verdict


class MeasureAsked(_Asked, frozen=True):
    """size_bytes: of each echo. blob_bytes: also send a blob of so many bytes there; 0: none."""

    requests: Annotated[int, msgspec.Meta(ge=1, le=REQUESTS_MAX)] = 100
    size_bytes: Annotated[int, msgspec.Meta(ge=0, le=65_536)] = 1024
    blob_bytes: Annotated[int, msgspec.Meta(ge=0, le=BLOB_BYTES_MAX)] = 0


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Round trips of echoes, one after the other. failed: with the cause of the last one."""

    node: str
    requests: int
    failed: int
    cause: str
    p50_s: float | None
    p99_s: float | None
    least_s: float | None
    blob_bytes: int = 0
    blob_s: float | None = None


class Before(msgspec.Struct, frozen=True, kw_only=True):
    """A key that the node had before, up to `until_s` by its own clock."""

    node: str
    until_s: int


class PapersView(msgspec.Struct, frozen=True, kw_only=True):
    """What a peer showed, checked. owner: id of who certifies it, empty if nobody does. before: oldest first.
    prekey_until_s: until then boxes may be sealed to it. Seconds since 1970."""

    node: str
    owner: str
    owner_until_s: int | None
    before: tuple[Before, ...]
    prekey_until_s: int


class ProbeAsked(_Asked, frozen=True):
    """wait_s: how long to wait for answers."""

    wait_s: Annotated[float, msgspec.Meta(gt=0, le=30)] = 2.0


class ProbeHeard(msgspec.Struct, frozen=True, kw_only=True):
    """seconds: from the publication to the answer that came back; the news itself took less."""

    node: str
    seconds: float


class Probed(msgspec.Struct, frozen=True, kw_only=True):
    """silent: alive peers that did not answer in time. twice: peers that heard the news more than once."""

    heard: tuple[ProbeHeard, ...]
    silent: tuple[str, ...]
    p50_s: float | None
    p99_s: float | None
    twice: tuple[str, ...] = ()


class AwayAsked(_Asked, frozen=True):
    """They replace those of before."""

    windows: Annotated[tuple[Window, ...], msgspec.Meta(max_length=WINDOWS_MAX)]


class AwayView(msgspec.Struct, frozen=True, kw_only=True):
    windows: tuple[Window, ...]


class SeverAsked(_Asked, frozen=True):
    """Development nodes only: no byte passes between this node and these any more, as if the network were cut."""

    nodes: Annotated[tuple[str, ...], msgspec.Meta(max_length=1024)]


class Severed(msgspec.Struct, frozen=True, kw_only=True):
    nodes: tuple[str, ...]
