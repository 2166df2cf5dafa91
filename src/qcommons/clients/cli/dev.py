"""`qcommons dev up -n 5`: some real nodes on this machine that form a mesh of their own, to try things on.

Flow: options -> homes under one folder (settings, development keys) -> `start`, all at once -> what each says of
itself. The nodes listen on loopback alone; their keys come from one seed in that folder (`node/dev.py` marks such
homes), so they are good for nothing else. `dev down` stops them, `dev status` says how they are.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from qcommons.base.clock import deadline_ns, duration_text, left_s
from qcommons.base.errors import QCommonsError, Unavailable, UsageError
from qcommons.clients.cli.asking import count, say
from qcommons.clients.cli.options import JSON, Option, span, whole
from qcommons.clients.cli.progress import patiently
from qcommons.node.home import LOCK_FILE, home_path
from qcommons.node.lock import read_lock

if TYPE_CHECKING:
    from qcommons.clients.http.node import Node

__all__ = ["WORDS"]

T = TypeVar("T")
NODES = 5
NODES_MAX = 64
FOLDER = "dev"
WAIT_S = 30.0  # until each knows all
POLL_S = 0.1
STOP_S = 30.0
STARTS_AT_ONCE = 8  # more processes than cores at once only wait for each other
FOLDER_OPTION = Option("--folder", "PATH", "Where their homes are (dev in the home of this user's node).")


def _up(args: argparse.Namespace) -> int:
    """Make what is missing, start what does not run, wait until each node knows all."""
    from qcommons.node.dev import DevFolder

    start_ns = time.monotonic_ns()
    many = args.nodes or NODES
    folder = DevFolder(_folder(args))
    homes = folder.make(many, seed=args.seed, workers=args.workers or 1)
    with patiently(f"starting {count(many, 'node')}"):
        ready = _each(homes, _started)
    with patiently("waiting until each knows all"):
        known = _know_each_other(homes, WAIT_S if args.wait is None else args.wait)
    took = duration_text(time.monotonic_ns() - start_ns)
    all_known = min(known) >= many - 1  # more where others of the folder run as well
    knows = "each knows all others" if all_known else f"one knows only {min(known)} of {many - 1} others yet"
    lines = [
        f"{count(many, 'node')} of the network {folder.network!r} up after {took}; {knows}.",
        *(f"  {row['node_id'][:12]}  {row['url']:<24} process {row['pid']:<8} {row['home']}" for row in ready),
        f"Ask one: QCOMMONS_HOME={homes[0]} qcommons peers. Stop them: qcommons dev down",
    ]
    say(args, {"folder": str(folder.path), "network": folder.network, "nodes": ready, "known": known}, lines)
    return 0 if all_known else 4


def _started(home: Path) -> dict[str, Any]:
    """Its url, token_file, pid, home, node_id; a node that runs already is left as it is."""
    from qcommons.clients.cli.start import start

    holder = read_lock(home / LOCK_FILE)
    if holder is not None and holder.url:
        with _node(home) as node:
            status = node.status()
        facts = {name: getattr(status, name) for name in ("url", "pid", "home", "node_id")}
        return {**facts, "token_file": str(home / "token")}
    return start({}, home, None, plain=True)


def _know_each_other(homes: list[Path], wait_s: float) -> list[int]:
    """How many alive peers each node knows, once that is all or `wait_s` is over."""
    until_ns = deadline_ns(time.monotonic_ns(), wait_s)
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(_node(home)) for home in homes]
        while True:
            known = [sum(row.state == "alive" for row in node.mesh.view().peers) for node in nodes]
            if min(known) >= len(homes) - 1 or left_s(until_ns, time.monotonic_ns()) <= 0:
                return known
            time.sleep(POLL_S)


def _status(args: argparse.Namespace) -> int:
    """Print each node; 4 where one does not run."""
    rows = [_row(home) for home in _homes(args)]
    say(args, {"nodes": rows}, _status_lines(rows))
    return 0 if all(row["state"] != "down" for row in rows) else 4


def _row(home: Path) -> dict[str, Any]:
    try:
        with _node(home) as node:
            status, view = node.status(), node.mesh.view()
    except QCommonsError as error:
        return {"home": str(home), "state": "down", "cause": error.what}
    return {
        "home": str(home), "state": status.health, "cause": status.sentence, "url": status.url, "pid": status.pid,
        "node_id": status.node_id, "token_file": str(home / "token"), "addresses": view.addresses,
        "alive": sum(peer.state == "alive" for peer in view.peers), "links": view.links,
    }  # fmt: skip


def _status_lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        if row["state"] == "down":
            yield f"down    {row['home']}: {row['cause']}"
        else:
            peers = f"{count(row['alive'], 'peer')} alive, {count(row['links'], 'link')}"
            yield f"{row['state']:<7} {row['node_id'][:12]}  {row['url']:<24} {peers}; {row['cause']}"
    if not rows:
        yield "There are no development nodes here; make some: qcommons dev up"


def _down(args: argparse.Namespace) -> int:
    """Stop them all; with --remove, delete their homes."""
    from qcommons.node.dev import DevFolder

    homes = _homes(args)
    with patiently("stopping them"):
        stopped = sum(_each(homes, _stopped))
    removed = bool(args.remove and homes)
    if removed:
        DevFolder(_folder(args)).remove()
    told = f"{stopped} of {count(len(homes), 'development node')} ran and {'is' if stopped == 1 else 'are'} stopped."
    say(args, {"stopped": stopped, "removed": removed}, [told + (" The homes are deleted." if removed else "")])
    return 0


def _stopped(home: Path) -> bool:
    """Whether it ran. Raises Unavailable where it does not end."""
    if read_lock(home / LOCK_FILE) is None:
        return False
    with contextlib.suppress(Unavailable), _node(home) as node:
        node.shut_down(0.0)
    until_ns = deadline_ns(time.monotonic_ns(), STOP_S)
    while (holder := read_lock(home / LOCK_FILE)) is not None:
        if left_s(until_ns, time.monotonic_ns()) <= 0:
            raise Unavailable(f"process {holder.pid} does not end; end it: kill {holder.pid}", where=str(home))
        time.sleep(POLL_S / 2)
    return True


def _each(homes: list[Path], do: Callable[[Path], T]) -> list[T]:
    """Of all homes at once, in their order. Raises the first error after all have ended."""
    with ThreadPoolExecutor(STARTS_AT_ONCE) as pool:
        return [future.result() for future in [pool.submit(do, home) for home in homes]]


def _node(home: Path) -> Node:
    """By its own lock: what the environment says is about another node."""
    from qcommons.clients.http.node import Node

    holder = read_lock(home / LOCK_FILE)
    if holder is None or not holder.url:
        raise Unavailable("no node runs here", where=str(home))
    return Node.connect(holder.url, token=(home / "token").read_text(encoding="ascii"), home=home)


def _folder(args: argparse.Namespace) -> Path:
    return Path(args.folder) if args.folder else home_path() / FOLDER


def _homes(args: argparse.Namespace) -> list[Path]:
    from qcommons.node.dev import DevFolder

    return DevFolder(_folder(args)).homes()


def _seed(text: str) -> str:
    if not text or len(text) > 64 or not text.isprintable():
        raise UsageError("a seed is a text of 1 to 64 characters", where="--seed")
    return text


WORDS = {
    "dev up": (
        (
            Option("--nodes", "N", f"How many ({NODES}), {NODES_MAX} at most.", kind=whole(1, NODES_MAX), short="-n"),
            Option("--seed", "TEXT", "Keys and network from this text, the same each time; else a fresh one.",
                   kind=_seed),
            Option("--workers", "N", "Worker processes of each node (1).", kind=whole(1, 64)),
            Option("--wait", "TIME", "How long to wait until each node knows all (30s).", kind=span),
            FOLDER_OPTION,
            JSON,
        ),
        _up,
    ),
    "dev status": ((FOLDER_OPTION, JSON), _status),
    "dev down": ((Option("--remove", None, "Also delete their homes."), FOLDER_OPTION, JSON), _down),
}  # fmt: skip
