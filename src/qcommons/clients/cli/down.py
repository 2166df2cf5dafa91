"""`qcommons down`: running jobs may end, then the node stops; what is left is kept for the next start.

Flow: options -> *down* -> shut_down -> the lock of the home is free (or nobody answers) -> what was left. No node:
that is what was wanted, exit code 0. With --now a node that does not answer, or does not end, is ended (`ending`).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from qcommons.base.clock import deadline_ns, duration_text, left_s, seconds_text
from qcommons.base.errors import QCommonsError, Unavailable, UsageError
from qcommons.clients.cli.asking import count, say
from qcommons.clients.cli.ending import end
from qcommons.clients.cli.options import JSON, NODE, Option, span
from qcommons.node.home import DRAIN_S, LOCK_FILE, home_path
from qcommons.node.lock import Holder, read_lock
from qcommons.node.logbook import newest

if TYPE_CHECKING:
    from qcommons.clients.http.node import Node
    from qcommons.node.api.records import Status

__all__ = ["OPTIONS", "command"]

OPTIONS = (
    Option("--drain", "TIME", "Running jobs may end within this time (30s); what is left starts anew next time.",
           kind=span),
    Option("--now", None, "Do not wait for running jobs; a node that does not end by itself is killed."),
    NODE,
    JSON,
)  # fmt: skip
STOP_S = 30.0  # beyond the drain: ending workers and closing the database
STOP_NOW_S = 10.0  # the same with --now, before the process is ended
PAUSE_S = 0.05
LOG_LINES = 2_000  # more than what a drain writes at its end
ENDS = ("done", "failed", "refused", "cancelled")
NEWS_NS = 1_000_000_000  # between two lines of progress on a terminal, and before the first
LOG_NS = 5_000_000_000  # elsewhere


def command(args: argparse.Namespace) -> int:
    """Stop the node and say what it had left to do; 0 where none runs."""
    if args.now and args.drain is not None:
        raise UsageError("--now and --drain say opposite things; leave one out", where="--now")
    home = home_path()
    named = args.node or os.environ.get("QCOMMONS_NODE")
    holder = None if named else read_lock(home / LOCK_FILE)
    if not named and holder is None:
        say(args, {"stopped": False, "home": str(home)}, [f"No node runs for {home}."])
        return 0
    from qcommons.clients.http.node import Node

    drain_s = 0.0 if args.now else DRAIN_S if args.drain is None else args.drain
    start_ns = time.monotonic_ns()
    try:
        with Node.connect(args.node) as node:
            last = _wait(node, node.shut_down(drain_s), drain_s, STOP_NOW_S if args.now else STOP_S, named=bool(named))
    except Unavailable as error:
        if holder is None:
            raise
        if args.now:
            return _ended(args, home, holder, error, start_ns)
        what = f"the node does not answer, or does not end ({error.what}); end it: qcommons down --now"
        raise Unavailable(what, where=str(home)) from None
    took_ns = time.monotonic_ns() - start_ns
    left = _left(last, None if named else home / "node.log")
    body = {"stopped": True, "home": last.home, "seconds": took_ns / 1e9, "left": left}
    kept = (
        f"Open jobs, kept for the next start: {left}{' at most' if named else ''}." if left else "No job was left open."
    )
    say(args, body, [f"The node stopped after {duration_text(took_ns)}.", kept])
    return 0


def _ended(args: argparse.Namespace, home: Path, holder: Holder, error: Unavailable, start_ns: int) -> int:
    """The node was asked in vain: its process is ended. Raises Unavailable where that is not this user's to do."""
    how = end(home / LOCK_FILE, holder)
    took_ns = time.monotonic_ns() - start_ns
    body = {"stopped": True, "home": str(home), "seconds": took_ns / 1e9, "left": None, "by": how}
    lines = [
        f"The node did not end when asked ({error.what}).",
        f"Its process {holder.pid} ended by {how} after {duration_text(took_ns)}.",
        "What it had acknowledged is on disk; open jobs go on with the next start: qcommons up -d",
    ]
    say(args, body, lines)
    return 0


def _left(last: Status, log: Path | None) -> int:
    """How many jobs are still open. The node stops as soon as the last one has ended, so its log has the last word."""
    ended = set()
    for line in () if log is None else newest(log, LOG_LINES):
        with contextlib.suppress(ValueError):  # a line that was cut short
            said = json.loads(line)
            if said.get("state") in ENDS:
                ended.add(said.get("job"))
    return last.waiting + sum(now.job not in ended for now in last.running)


def _wait(node: Node, status: Status, drain_s: float, stop_s: float, *, named: bool) -> Status:
    """Until the process is gone; the last status it gave. Raises Unavailable where it stays."""
    from qcommons.clients.http import calls

    until_ns = deadline_ns(time.monotonic_ns(), drain_s + stop_s)
    news = News()
    lock, pid = home_path() / LOCK_FILE, status.pid
    serving = True
    while left_s(until_ns, time.monotonic_ns()) > 0:
        if serving:
            try:
                status = node.send(calls.status(), again=False) if status.running else status
            except QCommonsError:
                serving = False
        if not named:
            holder = read_lock(lock)
            if holder is None or holder.pid not in (0, pid):
                break
        elif not _answers(node):
            break
        if status.running and serving:
            news.say(len(status.running), max(0.0, left_s(until_ns, time.monotonic_ns()) - stop_s))
        time.sleep(PAUSE_S)
    else:
        news.clear()
        what = f"process {pid} has not ended {stop_s:g} s after the drain; see qcommons logs"
        raise Unavailable(what, where=status.url)
    news.clear()
    return status


class News:
    """How many jobs the drain waits for: on a terminal one line, written over; in a log a line when the number
    changes, at most one in `LOG_NS`."""

    def __init__(self) -> None:
        self._terminal = sys.stderr is not None and sys.stderr.isatty()
        self._next_ns = time.monotonic_ns() + NEWS_NS
        self._said = -1

    def say(self, running: int, rest_s: float) -> None:
        now_ns = time.monotonic_ns()
        if now_ns < self._next_ns or (running == self._said and not self._terminal):
            return
        self._next_ns, self._said = now_ns + (NEWS_NS if self._terminal else LOG_NS), running
        verb = "runs" if running == 1 else "run"
        text = f"qcommons: {count(running, 'job')} still {verb}, for {seconds_text(round(rest_s))} at most"
        if self._terminal:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._terminal and self._said >= 0:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _answers(node: Node) -> bool:
    from qcommons.clients.http import calls

    try:
        node.send(calls.hello(), again=False)
    except QCommonsError:
        return False
    return True
