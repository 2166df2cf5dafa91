"""One sentence on how the node is, and a row for whatever is not green: cause, who, since when, what to do.

Flow: core, disk, clock, workers -> *troubles* -> status, `qcommons status`, /metrics. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from qcommons.base.clock import duration_text
from qcommons.node.api.mesh_records import PeerRow
from qcommons.node.api.records import Trouble
from qcommons.node.owner import OwnerLimits, Sense, Verdict, unchecked

__all__ = [
    "JUMP_NS", "Pending", "clock_trouble", "disk_trouble", "gate_trouble", "invite_trouble", "lost_trouble", "sentence",
    "unchecked_troubles", "worst",
]  # fmt: skip

JUMP_NS = 5_000_000_000  # drift of a clock is no jump
GONE_NS = 86_400 * 10**9  # a peer that is lost for longer is no news; `qcommons peers` still shows it

PATIENCE_NS = 15 * 10**9  # an invitation is dialled several times within it
SHORT = 16  # characters of a node id that commands take for the whole


def worst(troubles: tuple[Trouble, ...]) -> Literal["green", "yellow", "red"]:
    levels = {trouble.level for trouble in troubles}
    return "red" if "red" in levels else "yellow" if levels else "green"


def sentence(troubles: tuple[Trouble, ...], running: int, waiting: int, now_ns: int) -> str:
    """What a person wants to know first."""
    work = f"{running} running, {waiting} waiting" if running or waiting else "no job runs or waits"
    if not troubles:
        return f"All is well: {work}."
    first = next((trouble for trouble in troubles if trouble.level == "red"), troubles[0])
    more = f" (and {len(troubles) - 1} more)" if len(troubles) > 1 else ""
    since = duration_text(max(0, now_ns - first.since_ns))
    return f"{first.what[0].upper()}{first.what[1:]} for {since}: {first.cause}{more}; {work}."


def gate_trouble(verdict: Verdict) -> Trouble | None:
    """The owner's limits hold work back: not green, though nobody is at fault."""
    if verdict.go:
        return None
    what = {"pause": "paused", "drain": "shutting down"}.get(verdict.rule, f"held back by limits.{verdict.rule}")
    return Trouble(
        level="yellow", what=what, cause=verdict.cause, who=verdict.who, since_ns=verdict.since_ns,
        action=verdict.action, until_ns=verdict.until_ns,
    )  # fmt: skip


def disk_trouble(kind: str, cause: str, since_ns: int, action: str) -> Trouble:
    what = "the database is damaged" if kind == "corrupt" else "nothing can be written"
    who = "qcommons" if kind == "corrupt" else "owner"
    return Trouble(level="red", what=what, cause=cause, who=who, since_ns=since_ns, action=action)


def clock_trouble(jumped_ns: int, set_back_ns: int, started_ns: int, now_ns: int) -> Trouble | None:
    """The system's clock was set while the node ran, or back before it started."""
    if abs(jumped_ns) > JUMP_NS:
        way = "forward" if jumped_ns > 0 else "back"
        cause = f"the system's clock was set {way} by {duration_text(abs(jumped_ns))} while the node ran"
        action = "deadlines are not affected; restart the node to take the new time: qcommons down, qcommons up -d"
        return Trouble(
            level="yellow", what="the clock jumped", cause=cause, who="machine", since_ns=now_ns, action=action
        )
    if set_back_ns > JUMP_NS:
        cause = f"the system's clock is {duration_text(set_back_ns)} behind the newest record on disk"
        action = "set the system's clock right, then restart the node"
        return Trouble(
            level="yellow",
            what="the clock was set back",
            cause=cause,
            who="machine",
            since_ns=started_ns,
            action=action,
        )
    return None


def unchecked_troubles(limits: OwnerLimits, sense: Sense, now_ns: int) -> list[Trouble]:
    """Limits that are set but that this machine cannot tell; they hold nothing back."""
    return [
        Trouble(level="yellow", what="a limit cannot be checked", cause=said, who="machine", since_ns=now_ns,
                action=f"unset it: qcommons config unset {said.split()[0]}")
        for said in unchecked(limits, sense)
    ]  # fmt: skip


class Pending(msgspec.Struct, frozen=True):
    """An invitation that was taken, but whose node was not reached yet. since_ns: when it was taken, or this start."""

    node: str
    addresses: tuple[str, ...]
    since_ns: int


def lost_trouble(peers: Iterable[PeerRow], now_ns: int) -> Trouble | None:
    """Chosen peers that vanished without a word. One that was stopped, planned its absence or is long gone is no
    trouble, nor is a stranger: in a mesh of many some come and go all the time."""
    gone = [row for row in peers if row.state == "lost" and row.relation != "stranger"]
    gone = sorted((row for row in gone if now_ns - row.since_ns < GONE_NS), key=lambda row: (row.since_ns, row.node))
    if not gone:
        return None
    first = gone[0]
    what = "a peer is lost" if len(gone) == 1 else f"{len(gone)} peers are lost"
    more = f" (and {len(gone) - 1} more: qcommons peers)" if len(gone) > 1 else ""
    shown = first.node[:SHORT]
    return Trouble(
        level="yellow", what=what, cause=f"{shown}: {first.cause}{more}", who="peers", since_ns=first.since_ns,
        action=f"its owner sees why with qcommons doctor there; gone for good: qcommons peers forget {shown}",
    )  # fmt: skip


def invite_trouble(pending: Iterable[Pending], now_ns: int) -> Trouble | None:
    """Invitations that nobody answered, once there was time to."""
    waiting = [one for one in pending if now_ns - one.since_ns > PATIENCE_NS]
    if not waiting:
        return None
    first = waiting[0]
    more = f" (and {len(waiting) - 1} more)" if len(waiting) > 1 else ""
    where = ", ".join(address.removeprefix("tcp/") for address in first.addresses)
    cause = f"{first.node[:SHORT]} was not reached at {where}{more}; it is tried further, also after a restart"
    action = "see that its node runs and can be reached (qcommons doctor there), or join by another member's invitation"
    return Trouble(
        level="yellow", what="an invitation is not answered", cause=cause, who="peers", since_ns=first.since_ns,
        action=action,
    )  # fmt: skip
