"""`qcommons status`: one sentence first, then whatever is not green, what runs for whom, and the limits that are set.

Flow: node -> Status, settings -> *status* -> text or JSON. Exit code 0 while green or yellow, 4 where red or where
no node answers, so that it serves as a health check.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from qcommons.clients.cli.asking import ago, connect, count, lasting, left, say
from qcommons.clients.cli.attempts import attempt_lines
from qcommons.clients.cli.options import JSON, NODE

if TYPE_CHECKING:
    from qcommons.node.api.mesh_records import MeshSummary
    from qcommons.node.api.records import Now, SettingView, Status, Trouble

__all__ = ["OPTIONS", "command", "trouble_lines"]

OPTIONS = (NODE, JSON)
SHORT = 12  # characters of a node id that tell the peers of one mesh apart
MESH = ("mesh.", "share.")  # settings that the line of the mesh tells of
REACHED = {
    "yes": "others can reach it",
    "no": "others cannot reach it, see qcommons doctor",
    "unknown": "nobody has tried to reach it yet",
}


def command(args: argparse.Namespace) -> int:
    """Print how the node is."""
    with connect(args) as node:
        status = node.status()
        limits = [row for row in node.settings() if row.origin != "default"]
        limits = [row for row in limits if not row.key.startswith(MESH)]
    body = msgspec.to_builtins(status) | {"limits": msgspec.to_builtins(limits)}
    say(args, body, _lines(status, limits))
    return 4 if status.health == "red" else 0


def _lines(status: Status, limits: list[SettingView]) -> Iterator[str]:
    yield status.sentence
    for trouble in status.troubles:
        yield from trouble_lines(trouble, status.now_ns)
    for now in status.running:
        yield from _running(now, status.now_ns)
    if status.waiting:
        yield f"waiting  {count(status.waiting, 'job')}"
    if status.jobs:
        yield "jobs     " + ", ".join(f"{number} {state}" for state, number in sorted(status.jobs.items()))
    for row in limits:
        yield f"{'limit' if row.key.startswith('limits.') else 'setting':<8} {row.key} = {row.text} ({row.origin})"
    if status.mesh is not None:
        yield from _mesh(status.mesh)
    for name, rules in (("allow", status.policy.allow), ("deny", status.policy.deny)):
        if rules:
            yield f"{name:<8} {', '.join(rules)}"
    started = "" if status.workers_alive else "; they start with the first job"
    yield f"workers  {status.workers_alive} of {status.workers} alive{started}"
    yield f"node     {status.node_id}"
    yield f"         {status.url}, process {status.pid}, up {lasting(status.started_ns, status.now_ns)}"
    yield f"home     {status.home}"


def _mesh(mesh: MeshSummary) -> Iterator[str]:
    """Who is there, and whether this node can be reached."""
    gone = {state: number for state, number in mesh.strangers.items() if state != "alive"}
    near = {state: number - gone.get(state, 0) for state, number in sorted(mesh.peers.items())}
    peers = ", ".join(f"{number} {state}" for state, number in near.items() if number)
    yield f"mesh     {peers or 'no peer here yet'}; {mesh.links} linked, network {mesh.network!r}"
    if gone:
        yield f"         {count(sum(gone.values()), 'stranger')} known, but not here: qcommons peers --all"
    for one in mesh.quarantined:
        yield f"red      {one.node[:SHORT]} {one.why}"
    where = ", ".join(text.removeprefix("tcp/") for text in mesh.addresses) or "nowhere"
    yield f"         listens at {where}; {REACHED[mesh.reach]}"


def trouble_lines(trouble: Trouble, now_ns: int) -> Iterator[str]:
    """What is not green: cause, whose move it is, since when, what to do."""
    yield f"{trouble.level:<8} {trouble.what}, {lasting(trouble.since_ns, now_ns)}; up to: {trouble.who}"
    yield f"         cause: {trouble.cause}"
    if trouble.until_ns is not None:
        yield f"         ends:  {left(trouble.until_ns, now_ns)}"
    if trouble.action:
        yield f"         next:  {trouble.action}"


def _running(now: Now, now_ns: int) -> Iterator[str]:
    tags = f" [{', '.join(now.tags)}]" if now.tags else ""
    done = f"{now.answered} of {now.runs} runs" if now.runs > 1 else "1 run"
    yield f"runs     {now.job} for {now.principal}{tags}: {now.title}, {done}, began {ago(now.since_ns, now_ns)}"
    yield from (f"         at:    {text}" for text in attempt_lines(now.attempts, now.runs, now_ns))
