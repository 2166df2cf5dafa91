"""The checks of `qcommons doctor` that look at the node: does it answer, its key, its token, its database, the clock.

Flow: home, lock, log, the node where one runs -> *checks* -> findings. A home without a node is well: nothing is made.
Where QCOMMONS_NODE names a node, it is the one that is asked, as by every other command; key, token, database and
clock are those of this home.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable
from typing import Any

from qcommons.base.clock import duration_text
from qcommons.base.errors import QCommonsError, UsageError
from qcommons.base.units import bytes_text
from qcommons.clients.cli.findings import Finding
from qcommons.node.home import home_path
from qcommons.node.lock import read_lock

__all__ = ["NODE_CHECKS", "named_node"]

JUMP_NS = 5_000_000_000  # a record this far in the future was written by another clock
LOG_LINES = 2_000


def named_node() -> str:
    """The node that the environment names in place of this home's own; "" for none."""
    return os.environ.get("QCOMMONS_NODE", "")


def _node() -> Finding:
    holder, named = read_lock(home_path() / "node.lock"), named_node()
    if holder is None and not named:
        return Finding("node", "green", "none runs here; start one: qcommons up -d")
    from qcommons.clients.http.node import Node

    try:
        with Node.connect() as node:
            start_ns = time.monotonic_ns()
            status = node.status()
            took = duration_text(time.monotonic_ns() - start_ns)
    except QCommonsError as error:
        if named or isinstance(error, UsageError) or holder is None:
            which = f"{named}, as QCOMMONS_NODE says," if named else "the node of this home"
            action = "correct QCOMMONS_NODE and QCOMMONS_TOKEN, or unset them to ask the node of this home"
            return Finding("node", "red", f"{which} cannot be asked", str(error), action)
        action = f"see qcommons logs; end it: kill {holder.pid}"
        return Finding("node", "red", f"process {holder.pid} does not answer", str(error), action)
    origin = " (QCOMMONS_NODE)" if named else ""
    value = f"{status.url}{origin}, process {status.pid}, answers in {took}: {status.sentence}"
    if status.troubles:
        first = status.troubles[0]
        return Finding("node", first.level, value, first.cause, first.action or "wait")
    return Finding("node", "green", value)


def _key() -> Finding:
    from qcommons.node.dev import MARK_FILE
    from qcommons.pqc.keyfile import key_facts

    facts = key_facts(home_path() / "keys")
    if facts is None:
        return Finding("key", "green", "none yet; the first start of a node makes it")
    value = f"{facts.node}, sealed by a {facts.sealed_by}"
    if (home_path() / MARK_FILE).exists():
        cause = "whoever knows the seed of the development nodes has this key"
        return Finding(
            "key", "yellow", f"{facts.node}, a development key", cause, "for a real node use a home of its own"
        )
    if facts.sealed_by == "machine key":
        cause = "who copies this home has the node's key; a backup of it is as secret as the key"
        action = "keep the home to yourself; for a passphrase, start a new home with QCOMMONS_PASSPHRASE set"
        return Finding("key", "yellow", value, cause, action)
    if facts.light:
        cause = "its passphrase is stretched less than is usual today, so it can be guessed faster"
        return Finding("key", "yellow", value, cause, "start a new home: its key is stretched as is usual today")
    return Finding("key", "green", value)


def _token() -> Finding:
    path = home_path() / "token"
    used = "; commands use QCOMMONS_TOKEN in its place" if os.environ.get("QCOMMONS_TOKEN") else ""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return Finding("token", "green", f"none yet; the first start of a node makes it{used}")
    if mode & 0o077:
        cause = f"its permissions are {mode:o}: others of this machine can act as the owner"
        action = f"chmod 600 {path}; if others may have read it, stop the node, delete the file, start again"
        return Finding("token", "red", str(path), cause, action)
    return Finding("token", "green", f"{path}, for its owner alone{used}")


def _database() -> Finding:
    path = home_path() / "node.db"
    if not path.exists():
        return Finding("database", "green", "none yet; the first start of a node makes it")
    parts = [path, *(path.with_name(f"{path.name}-{part}") for part in ("wal", "shm"))]
    value = bytes_text(sum(part.stat().st_size for part in parts if part.exists()))
    troubles = [line for line in _log() if line.get("event") == "store" and line.get("kind") != "none"]
    if not troubles:
        return Finding("database", "green", f"{value}, no trouble in the log")
    last = troubles[-1]
    since = duration_text(max(0, time.time_ns() - last["at_ns"]))
    return Finding("database", "green", f"{value}; the last trouble was {since} ago: {last.get('cause')}")


def _clock() -> Finding:
    """The newest line of the log must not be of the future."""
    newest_ns = max((line["at_ns"] for line in _log()), default=0)
    ahead_ns = newest_ns - time.time_ns()
    if ahead_ns > JUMP_NS:
        cause = f"the log has a line {duration_text(ahead_ns)} in the future: the clock was set back"
        return Finding("clock", "yellow", "behind the log", cause, "set the system's clock right, restart the node")
    return Finding("clock", "green", time.strftime("%Y-%m-%d %H:%M:%S %z"))


def _log() -> list[dict[str, Any]]:
    from qcommons.node.logbook import newest

    lines: list[dict[str, Any]] = []
    for line in newest(home_path() / "node.log", LOG_LINES):
        try:
            said = json.loads(line)
        except ValueError:  # cut short by a crash
            continue
        if isinstance(said, dict) and isinstance(said.get("at_ns"), int):
            lines.append(said)
    return lines


NODE_CHECKS: tuple[tuple[str, Callable[[], Finding]], ...] = (
    ("node", _node),
    ("key", _key),
    ("token", _token),
    ("database", _database),
    ("clock", _clock),
)
