"""`qcommons dev up -n 5`: some real nodes on this machine that form a mesh of their own, to try things on.

Flow: options -> homes under one folder (settings, development keys) -> `start`, all at once -> what each says of
itself. The nodes listen on loopback alone; their keys come from one seed in that folder (`node/dev.py` marks such
homes), so they are good for nothing else. `dev down` stops them, `dev status` says how they are.
"""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qcommons.base.clock import duration_text
from qcommons.base.errors import QCommonsError, UsageError
from qcommons.clients.cli.asking import count, say
from qcommons.clients.cli.dev_nodes import each, know_each_other, node_at, started, stopped
from qcommons.clients.cli.options import JSON, Option, span, whole
from qcommons.clients.cli.progress import patiently
from qcommons.node.home import home_path

__all__ = ["WORDS"]

NODES = 5
NODES_MAX = 64
FOLDER = "dev"
WAIT_S = 30.0  # until each knows all
FOLDER_OPTION = Option("--folder", "PATH", "Where their homes are (dev in the home of this user's node).")


def _up(args: argparse.Namespace) -> int:
    """Make what is missing, start what does not run, wait until each node knows all."""
    from qcommons.node.dev import DevFolder

    start_ns = time.monotonic_ns()
    many = args.nodes or NODES
    folder = DevFolder(_folder(args))
    homes = folder.make(many, seed=args.seed, workers=args.workers or 1, liars=dict(_liars(args.liar, many)))
    with patiently(f"starting {count(many, 'node')}", silent=args.json):
        ready = each(homes, started)
    with patiently("waiting until each knows all", silent=args.json):
        known = know_each_other(homes, WAIT_S if args.wait is None else args.wait)
    took = duration_text(time.monotonic_ns() - start_ns)
    all_known = min(known) >= many - 1  # more where others of the folder run as well
    knows = "each knows all others" if all_known else f"one knows only {min(known)} of {many - 1} others yet"
    lines = [
        f"{count(many, 'node')} of the network {folder.network!r} up after {took}; {knows}.",
        *(f"  {row['node_id'][:12]}  {row['url']:<24} process {row['pid']:<8} {row['home']}" for row in ready),
        f"Ask one: QCOMMONS_HOME={shlex.quote(str(homes[0]))} qcommons peers",
        f"Stop them: qcommons dev down{_named(args)}",
    ]
    say(args, {"folder": str(folder.path), "network": folder.network, "nodes": ready, "known": known}, lines)
    return 0 if all_known else 4


def _status(args: argparse.Namespace) -> int:
    """Print each node; 4 where one does not run."""
    rows = [_row(home) for home in _homes(args)]
    say(args, {"nodes": rows}, _status_lines(rows, _named(args)))
    return 0 if all(row["state"] != "down" for row in rows) else 4


def _row(home: Path) -> dict[str, Any]:
    try:
        with node_at(home) as node:
            status, view = node.status(), node.mesh.view()
    except QCommonsError as error:
        return {"home": str(home), "state": "down", "cause": error.what}
    return {
        "home": str(home), "state": status.health, "cause": status.sentence, "url": status.url, "pid": status.pid,
        "node_id": status.node_id, "token_file": str(home / "token"), "addresses": view.addresses,
        "alive": sum(peer.state == "alive" for peer in view.peers), "links": view.links,
    }  # fmt: skip


def _status_lines(rows: list[dict[str, Any]], named: str) -> Iterator[str]:
    """named: as `_named`."""
    for row in rows:
        if row["state"] == "down":
            yield f"down    {row['home']}: {row['cause']}"
        else:
            peers = f"{count(row['alive'], 'peer')} alive, {count(row['links'], 'link')}"
            yield f"{row['state']:<7} {row['node_id'][:12]}  {row['url']:<24} {peers}; {row['cause']}"
    if not rows:
        yield f"There are no development nodes here; make some: qcommons dev up{named}"


def _down(args: argparse.Namespace) -> int:
    """Stop them all; with --remove, delete their homes."""
    from qcommons.node.dev import DevFolder

    homes = _homes(args)
    with patiently("stopping them", silent=args.json):
        ran = sum(each(homes, stopped))
    removed = bool(args.remove and homes)
    if removed:
        DevFolder(_folder(args)).remove()
    told = f"{ran} of {count(len(homes), 'development node')} ran and {'is' if ran == 1 else 'are'} stopped."
    say(args, {"stopped": ran, "removed": removed}, [told + (" The homes are deleted." if removed else "")])
    return 0


def _folder(args: argparse.Namespace) -> Path:
    return Path(args.folder) if args.folder else home_path() / FOLDER


def _named(args: argparse.Namespace) -> str:
    """The words that name the folder in the next command, where it is not the usual one."""
    return f" --folder {shlex.quote(args.folder)}" if args.folder else ""


def _homes(args: argparse.Namespace) -> list[Path]:
    from qcommons.node.dev import DevFolder

    return DevFolder(_folder(args)).homes()


def _seed(text: str) -> str:
    if not text or len(text) > 64 or not text.isprintable():
        raise UsageError("a seed is a text of 1 to 64 characters", where="--seed")
    return text


def _liars(said: list[str] | None, many: int) -> Iterator[tuple[int, str]]:
    """Nodes from 0 and the row of the zoo each is to lie by, from "NODE=ROW". Raises UsageError."""
    from qcommons.world.lying_worker import row_of

    for text in said or ():
        node, _, row = text.partition("=")
        if not node.isdecimal() or not 1 <= int(node) <= many:
            limit = f"NODE=ROW with a node from 1 to {many}"
            raise UsageError(f"{text[:80]!r} names no node", where="--liar", limit=limit)
        try:
            yield int(node) - 1, "" if row == "honest" else row_of(row).name
        except LookupError as error:
            raise UsageError(f"{error}; or honest", where="--liar") from None


WORDS = {
    "dev up": (
        (
            Option("--nodes", "N", f"How many ({NODES}), {NODES_MAX} at most.", kind=whole(1, NODES_MAX), short="-n"),
            Option("--seed", "TEXT", "Keys and network from this text, the same each time; else a fresh one.",
                   kind=_seed),
            Option("--workers", "N", "Worker processes of each node (1).", kind=whole(1, 64)),
            Option("--wait", "TIME", "How long to wait until each node knows all (30s).", kind=span),
            Option("--liar", "NODE=ROW", "Let the workers of a node (from 1) cheat, from its next start on, to see it "
                   "caught; rows as in docs/verify.md.", repeat=True),
            FOLDER_OPTION,
            JSON,
        ),
        _up,
    ),
    "dev status": ((FOLDER_OPTION, JSON), _status),
    "dev down": ((Option("--remove", None, "Also delete their homes."), FOLDER_OPTION, JSON), _down),
}  # fmt: skip
