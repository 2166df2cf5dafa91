"""`qcommons why ID`: why a job is where it is, whose move it is, what to do.

Flow: id -> node -> Why -> *why* -> text or JSON.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from qcommons.clients.cli.asking import ago, connect, count, full_id, left, say
from qcommons.clients.cli.job import ID
from qcommons.clients.cli.mesh_job import mesh_lines
from qcommons.clients.cli.options import JSON, NODE

if TYPE_CHECKING:
    from qcommons.node.api.records import Why

__all__ = ["OPTIONS", "command"]

OPTIONS = (ID, NODE, JSON)


def command(args: argparse.Namespace) -> int:
    """Print the cause."""
    with connect(args) as node:
        why = node.job(full_id(node, args.id)).why()
    say(args, why, _lines(why))
    return 0


def _lines(why: Why) -> Iterator[str]:
    yield f"{why.job} is {why.state}: {why.cause}"
    yield from (f"  tried  {row.engine}/{row.method}: {row.why}" for row in why.tried)
    yield f"  since  {ago(why.since_ns)}"
    yield f"  up to  {why.who}"
    yield from mesh_lines(why.mesh, why.hired)
    if why.ahead is not None:
        yield f"  ahead  {count(why.ahead, 'job')}"
    if why.until_ns is not None:
        yield f"  until  {left(why.until_ns)} at the latest"
    if why.action:
        yield f"  next   {why.action}"
