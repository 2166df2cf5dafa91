"""Development nodes as processes of this machine: started, asked, waited for, stopped, all at once.

Flow: homes of a `DevFolder` -> `dev`, `demo` -> *started*, *know_each_other*, *stopped*.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from qcommons.base.clock import deadline_ns, left_s
from qcommons.base.errors import Unavailable
from qcommons.clients.cli.start import start
from qcommons.node.home import LOCK_FILE
from qcommons.node.lock import read_lock

if TYPE_CHECKING:
    from qcommons.clients.http.node import Node

__all__ = ["each", "know_each_other", "node_at", "started", "stopped"]

T = TypeVar("T")
POLL_S = 0.1
STOP_S = 30.0
AT_ONCE = 8  # more processes than cores at once only wait for each other


def each(homes: Sequence[Path], do: Callable[[Path], T]) -> list[T]:
    """Of all homes at once, in their order. Raises the first error after all have ended."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [future.result() for future in [pool.submit(do, home) for home in homes]]


def node_at(home: Path) -> Node:
    """By its own lock: what the environment says is about another node. Raises Unavailable where none runs."""
    from qcommons.clients.http.node import Node

    holder = read_lock(home / LOCK_FILE)
    if holder is None or not holder.url:
        raise Unavailable("no node runs here", where=str(home))
    return Node.connect(holder.url, token=(home / "token").read_text(encoding="ascii"), home=home)


def started(home: Path) -> dict[str, Any]:
    """Its url, token_file, pid, home, node_id; a node that runs already is left as it is."""
    holder = read_lock(home / LOCK_FILE)
    if holder is not None and holder.url:
        with node_at(home) as node:
            status = node.status()
        facts = {name: getattr(status, name) for name in ("url", "pid", "home", "node_id")}
        return {**facts, "token_file": str(home / "token")}
    return start({}, home, None, plain=True)


def know_each_other(homes: Sequence[Path], wait_s: float) -> list[int]:
    """How many alive peers each node knows, once that is all or `wait_s` is over."""
    until_ns = deadline_ns(time.monotonic_ns(), wait_s)
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(node_at(home)) for home in homes]
        while True:
            known = [sum(row.state == "alive" for row in node.mesh.view().peers) for node in nodes]
            if min(known) >= len(homes) - 1 or left_s(until_ns, time.monotonic_ns()) <= 0:
                return known
            time.sleep(POLL_S)


def stopped(home: Path) -> bool:
    """Whether it ran. Raises Unavailable where it does not end."""
    if read_lock(home / LOCK_FILE) is None:
        return False
    with contextlib.suppress(Unavailable), node_at(home) as node:
        node.shut_down(0.0)
    until_ns = deadline_ns(time.monotonic_ns(), STOP_S)
    while (holder := read_lock(home / LOCK_FILE)) is not None:
        if left_s(until_ns, time.monotonic_ns()) <= 0:
            raise Unavailable(f"process {holder.pid} does not end; end it: kill {holder.pid}", where=str(home))
        time.sleep(POLL_S / 2)
    return True
