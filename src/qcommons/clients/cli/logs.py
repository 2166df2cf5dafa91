"""`qcommons logs`: the newest lines of the node's log.

Flow: the log file of this home, or a named node -> *logs* -> a readable line each, or JSON. This home's file is read
itself: a log is wanted most when the node does not answer, or is no more.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence

from qcommons.base.errors import Unavailable
from qcommons.base.text import json_printable
from qcommons.clients.cli.asking import clean, connect, fact, moment, say
from qcommons.clients.cli.options import JSON, NODE, Option, whole
from qcommons.node.home import home_path
from qcommons.node.logbook import newest

__all__ = ["OPTIONS", "command"]

OPTIONS = (
    Option("--last", "N", "The newest N lines (50).", kind=whole(1, 10_000), short="-n"),
    Option("--follow", None, "Go on with new lines until Ctrl-C; with --json one object a line.", short="-f"),
    NODE,
    JSON,
)  # fmt: skip
LAST = 50
FOLLOWED = 2_000  # lines looked at for news
PAUSE_S = 0.5


def command(args: argparse.Namespace) -> int:
    """Print the newest lines, oldest first."""
    last = args.last or LAST
    if args.node or os.environ.get("QCOMMONS_NODE"):
        with connect(args) as node:
            return _show(args, node.logs, last)
    path = home_path() / "node.log"
    if not path.exists():
        raise Unavailable("no node has run here, so there is no log; start one: qcommons up -d", where=str(path))
    return _show(args, lambda count: newest(path, count), last)


def _show(args: argparse.Namespace, read: Callable[[int], Sequence[str]], last: int) -> int:
    lines = read(last)
    if not args.follow:
        say(args, {"lines": [_parsed(line) for line in lines]}, map(_readable, lines))
        return 0
    seen = ""
    try:
        while True:
            for line in lines:
                print(json_printable(line) if args.json else clean(_readable(line)), flush=True)
            seen = lines[-1] if lines else seen
            time.sleep(PAUSE_S)
            lines = _after(seen, read(FOLLOWED))
    except KeyboardInterrupt:
        return 0


def _after(seen: str, lines: Sequence[str]) -> Sequence[str]:
    """The lines that follow the one seen last."""
    for place in range(len(lines) - 1, -1, -1):
        if lines[place] == seen:
            return lines[place + 1 :]
    return lines


def _parsed(line: str) -> object:
    try:
        return json.loads(line)
    except ValueError:  # a line that a crash cut short
        return {"event": "unreadable", "line": line}


def _readable(line: str) -> str:
    said = _parsed(line)
    if not isinstance(said, dict) or not isinstance(said.get("at_ns"), int):
        return line
    facts = " ".join(fact(key, value) for key, value in said.items() if key not in ("at_ns", "event"))
    return f"{moment(said['at_ns'])}  {said.get('event', ''):<12} {facts}"
