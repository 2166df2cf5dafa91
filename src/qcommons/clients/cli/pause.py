"""`qcommons pause` and `qcommons resume`: the owner's hand on the node. Both survive a restart.

Flow: options -> node -> Status -> its sentence.
"""

from __future__ import annotations

import argparse

from qcommons.clients.cli.asking import connect, say
from qcommons.clients.cli.options import JSON, NODE, Option, span

__all__ = ["WORDS"]


def _pause(args: argparse.Namespace) -> int:
    """Run nothing; what runs stops and starts anew afterwards, or may end with `--finish`."""
    with connect(args) as node:
        status = node.pause(vars(args)["for"], finish=args.finish)
    say(args, status, [status.sentence])
    return 0


def _resume(args: argparse.Namespace) -> int:
    """End the pause."""
    with connect(args) as node:
        status = node.resume()
    say(args, status, [status.sentence])
    return 0


WORDS = {
    "pause": (
        (
            Option("--for", "TIME", "Resume by itself after this time, as in 30m, 2h or 1d.", kind=span),
            Option("--finish", None, "Let running jobs end; else they stop now and start anew afterwards."),
            NODE,
            JSON,
        ),
        _pause,
    ),
    "resume": ((NODE, JSON), _resume),
}
