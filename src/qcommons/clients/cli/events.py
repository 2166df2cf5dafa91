"""`qcommons events`: what happened on the node, each event with its number.

Flow: node (server-sent events) -> *events* -> a line each, or JSON. The number of an event plus one is where
`--since` goes on, so that nothing is seen twice and nothing lost.
"""

from __future__ import annotations

import argparse
import queue
import threading
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from qcommons.base.errors import QCommonsError, UsageError
from qcommons.base.text import json_printable
from qcommons.clients.cli.asking import clean, connect, fact, moment, say
from qcommons.clients.cli.options import JSON, NODE, Option, whole

if TYPE_CHECKING:
    from qcommons.clients.http.node import Node
    from qcommons.node.api.records import EventView

__all__ = ["OPTIONS", "command"]

OPTIONS = (
    Option("--since", "N", "Begin with event N; without it the newest 50, with -f what happens from now on.",
           kind=whole(0, (1 << 53) - 1, "2^53-1")),
    Option("--follow", None, "Go on with new events until Ctrl-C; with --json one object a line.", short="-f"),
    NODE,
    JSON,
)  # fmt: skip
LAST = 50
QUIET_S = 0.5  # the node sends what it has without a pause; then it waits for what happens


def command(args: argparse.Namespace) -> int:
    """Print events, oldest first."""
    with connect(args) as node:
        if args.follow:
            return _follow(args, node)
        events = _until_now(node, args.since)
        first = next(events, None)
        found = deque(() if first is None else (first, *events), maxlen=LAST if args.since is None else None)
    say(args, {"events": list(found)}, [*_older(first, found), *map(_line, found)])
    return 0


def _older(first: EventView | None, found: deque[EventView]) -> Iterator[str]:
    """Of events that are left out: a list that begins at 3 looks as if something were lost. first: that is kept."""
    if first is not None and found[0] is not first:
        yield f"older ones, from {first.seq} on: qcommons events --since {first.seq}"


def _follow(args: argparse.Namespace, node: Node) -> int:
    try:
        for event in node.events(-1 if args.since is None else args.since):
            text = json_printable(msgspec.json.encode(event).decode()) if args.json else clean(_line(event))
            print(text, flush=True)
    except KeyboardInterrupt:
        pass
    return 0


def _until_now(node: Node, since: int | None) -> Iterator[EventView]:
    """What the node has from `since` on (None: from the oldest it keeps)."""
    inbox: queue.SimpleQueue[EventView | QCommonsError] = queue.SimpleQueue()

    def read(first: int) -> None:
        try:
            for event in node.events(first):
                inbox.put(event)
        except QCommonsError as error:
            inbox.put(error)
        except RuntimeError:  # the connection was closed on this side: nobody reads on
            pass

    threading.Thread(target=read, args=(since or 0,), daemon=True).start()
    while True:
        try:
            item = inbox.get(timeout=QUIET_S)
        except queue.Empty:
            return
        oldest = _oldest(item) if since is None else None
        if oldest is not None:
            yield from _until_now(node, oldest)
            return
        if isinstance(item, QCommonsError):
            raise item
        yield item


def _oldest(item: EventView | QCommonsError) -> int | None:
    """The oldest event kept, where the node says that those before it are gone: its limit is "N or more"."""
    if isinstance(item, UsageError) and item.where == "since":
        number = (item.limit or "").partition(" ")[0]
        return int(number) if number.isdigit() else None
    return None


def _line(event: EventView) -> str:
    facts = " ".join(fact(key, value) for key, value in event.facts.items() if value is not None)
    return f"{event.seq:>6}  {moment(event.at_ns)}  {event.kind:<9} {facts}"
