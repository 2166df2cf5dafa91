"""`qcommons jobs`: the jobs of the node, newest first.

Flow: options -> node -> JobList -> *jobs* -> a line each, or JSON.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from qcommons.clients.cli.asking import ago, connect, say
from qcommons.clients.cli.attempts import attempt_short
from qcommons.clients.cli.options import JSON, NODE, Option, whole

if TYPE_CHECKING:
    from qcommons.node.api.records import JobList

__all__ = ["OPTIONS", "command"]

STATES = ("accepted", "planned", "running", "assembling", "done", "failed", "refused", "cancelled")
OPTIONS = (
    Option("--state", "STATE", f"Only jobs in this state: {', '.join(STATES)}.", choices=STATES),
    Option("--tag", "TAG", "Only jobs with this tag."),
    Option("--last", "N", "The newest N (20).", kind=whole(1, 1000), short="-n"),
    NODE,
    JSON,
)
LAST = 20


def command(args: argparse.Namespace) -> int:
    """Print the newest jobs."""
    with connect(args) as node:
        found = node.jobs(state=args.state, tag=args.tag, limit=args.last or LAST)
    say(args, found, _lines(found))
    return 0


def _lines(found: JobList) -> Iterator[str]:
    now_ns = time.time_ns()
    if not found.jobs:
        yield "no such job" if found.total else "no job yet; submit one: qcommons run FILE --detach"
    for job in found.jobs:
        tags = f" [{', '.join(job.tags)}]" if job.tags else ""
        runs = f", {job.answered} of {job.runs} runs" if job.runs > 1 else ""
        cause = "" if job.state == "done" else f" ({job.cause})"
        if job.state == "running":
            cause = attempt_short(job.attempts, now_ns)
        yield f"{job.id}  {job.state:<10} {ago(job.since_ns):<16} {job.principal}{tags}: {job.title}{runs}{cause}"
    if found.more is not None:
        yield f"... of {found.total} in all; -n shows more"
