"""`qcommons join INVITE`: become part of the mesh that an invitation leads to.

Flow: invitation -> node -> Joined -> a sentence. Exit code 4 where nobody answered yet; the node goes on trying.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from qcommons.clients.cli.asking import connect, count, say
from qcommons.clients.cli.options import JSON, NODE, Option, span
from qcommons.clients.cli.progress import patiently

if TYPE_CHECKING:
    from qcommons.node.api.mesh_records import Joined

__all__ = ["OPTIONS", "command"]

WAIT_S = 10.0
OPTIONS = (
    Option("invite", "INVITE", "What `qcommons invite` printed on the other machine."),
    Option("--wait", "TIME", "How long to wait for the first link (10s), 60s at most.", kind=span),
    NODE,
    JSON,
)


def command(args: argparse.Namespace) -> int:
    """Join; the invitation is kept until its node was reached."""
    wait_s = WAIT_S if args.wait is None else args.wait
    with (
        connect(args) as node,
        patiently(f"dialling the node of the invitation, for {wait_s:g} s at most", silent=args.json),
    ):
        joined = node.mesh.join("".join(args.invite.split()), wait_s)
    say(args, joined, _lines(joined))
    return 0 if joined.linked else 4


def _lines(joined: Joined) -> Iterator[str]:
    if joined.linked:
        yield f"Linked with {joined.node} in the network {joined.network!r}; {count(joined.peers, 'peer')} known."
        return
    yield f"{joined.node} was not reached yet: {joined.cause}"
    yield "The node goes on trying, also after a restart. See: qcommons status, qcommons doctor"
