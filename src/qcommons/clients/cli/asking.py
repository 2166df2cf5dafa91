"""What every command that asks a node shares: the connection, short ids, times for people, safe lines.

Flow: command -> *connect* -> clients.http.Node -> answer -> *say* -> one JSON object, or lines of text.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from qcommons.base.clock import duration_text
from qcommons.base.errors import UsageError
from qcommons.base.text import json_printable
from qcommons.base.text import line as clean

if TYPE_CHECKING:
    from qcommons.clients.http.node import Node

__all__ = ["ago", "clean", "connect", "count", "fact", "full_id", "lasting", "left", "moment", "say"]

ID = re.compile(r"(?:job_)?([a-z2-7]{1,16})")
ID_CHARACTERS = 16
INSTANT_NS = 10**18  # September 2001; a duration beyond it would be 31 years
RECENT = 1000  # jobs among which a shortened id is looked up: one page of the API


def connect(args: argparse.Namespace) -> Node:
    """The node of `--node`, of QCOMMONS_NODE, or of this home. Raises Unavailable where none answers."""
    from qcommons.clients.http.node import Node

    return Node.connect(args.node)


def full_id(node: Node, text: str) -> str:
    """A job's id from the beginning of it, with or without "job_", if only one recent job begins so.

    Raises:
        UsageError: no id, none of the newest `RECENT` jobs, or several.
    """
    match = ID.fullmatch(text)
    if match is None:
        raise UsageError(f"{text[:40]!r} is no job id; see them: qcommons jobs")
    head = f"job_{match[1]}"
    if len(match[1]) == ID_CHARACTERS:
        return head
    found = [view.id for view in node.jobs(limit=RECENT).jobs if view.id.startswith(head)]
    if not found:
        raise UsageError(f"no job among the newest {RECENT} begins with {head}; see them: qcommons jobs")
    if len(found) > 1:
        shown = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
        raise UsageError(f"{len(found)} jobs begin with {head}: {shown}; write more of it")
    return found[0]


def ago(at_ns: int, now_ns: int | None = None) -> str:
    """ "12.3 s ago" of a time in ns since 1970. now_ns: the node's clock where it said so."""
    return f"{duration_text(max(0, (time.time_ns() if now_ns is None else now_ns) - at_ns))} ago"


def lasting(since_ns: int, now_ns: int) -> str:
    """ "for 12.3 s" of what has been so since then; "" where the time was not kept (0)."""
    return f"for {duration_text(max(0, now_ns - since_ns))}" if since_ns else ""


def left(until_ns: int, now_ns: int | None = None) -> str:
    """ "in 2 h 5 min"."""
    return f"in {duration_text(max(0, until_ns - (time.time_ns() if now_ns is None else now_ns)))}"


def moment(at_ns: int) -> str:
    """Local time with its offset, to the millisecond (RFC 3339)."""
    from datetime import datetime

    return datetime.fromtimestamp(at_ns / 1e9).astimezone().isoformat(" ", "milliseconds")


def count(number: int, noun: str) -> str:
    """ "1 job", "2 jobs"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def fact(name: str, value: object) -> str:
    """ "name=value" of an event or a log line; instants and durations in ns as people read them, without the `_ns`."""
    if name.endswith("_ns") and isinstance(value, int) and not isinstance(value, bool):
        text = moment(value) if value > INSTANT_NS else duration_text(value)
        return f"{name.removesuffix('_ns')}={text}"
    return f"{name}={value}"


def say(args: argparse.Namespace, body: Any, lines: Iterable[str]) -> None:
    """The body as one JSON object where JSON is asked for, else the lines."""
    if args.json:
        print(json_printable(msgspec.json.encode(body).decode()))
        return
    from qcommons.jobs.text import printable

    for line in lines:
        print(printable(clean(line)))
