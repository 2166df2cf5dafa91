"""How much memory a run may take on this machine now.

Flow: *free_bytes* -> limits of a job -> RLIMIT_AS of its workers and refusals with numbers. It is asked
before every job: only what is needed is read, and what the files say stands for a quarter of a second at most.
"""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import NamedTuple

__all__ = ["FreeMemory", "default_limit_bytes", "free_bytes"]

LOOK_NS = 250_000_000  # how long what was read stands, where many ask: reading takes 0.1 ms
SHARE = 0.8  # of what is free now: the rest is for the parent and the system
FALLBACK_BYTES = 4 << 30  # where the system does not say
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
UNLIMITED_BYTES = 1 << 60  # version 1 says "no limit" with a number near 2^63
AVAILABLE = re.compile(rb"^MemAvailable: +(\d+)", re.MULTILINE)  # kB
FILE_CACHE = re.compile(rb"^(?:in)?active_file (\d+)", re.MULTILINE)  # bytes


class ControlGroup(NamedTuple):
    """Files of the own control group: its limit, what it uses, and what that is made of."""

    limit: Path
    used: Path
    stat: Path


def default_limit_bytes(parallel: int) -> int:
    """The default for one run when `parallel` of them run at once."""
    return int(free_bytes() * SHARE) // max(1, parallel)


class FreeMemory:
    """The same for a node with many jobs a second. Safe from several threads."""

    def __init__(self) -> None:
        self._known: tuple[int, int] | None = None  # read at, bytes

    def limit_bytes(self, parallel: int, now_ns: int) -> int:
        known = self._known
        if known is None or not 0 <= now_ns - known[0] < LOOK_NS:
            known = self._known = (now_ns, default_limit_bytes(1))
        return known[1] // max(1, parallel)


def free_bytes() -> int:
    """Memory that can be taken without swapping: the least of the system's and the container's word."""
    known = [value for value in (_available(), _cgroup_left()) if value is not None]
    return min(known) if known else _physical()


def _available() -> int | None:
    try:
        found = AVAILABLE.search(MEMINFO.read_bytes())
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def _cgroup_left() -> int | None:
    """Limit less usage of the own control group; file cache counts as free. None: no limit."""
    group = _control_group(CGROUP)
    if group is None:
        return None
    try:
        limit = group.limit.read_bytes().strip()
        if limit == b"max" or int(limit) > UNLIMITED_BYTES:
            return None
        used = int(group.used.read_bytes())
        cache = sum(int(value) for value in FILE_CACHE.findall(group.stat.read_bytes()))
    except (OSError, ValueError):
        return None
    return max(0, int(limit) - used + cache)


@functools.cache
def _control_group(root: Path) -> ControlGroup | None:
    """Version 2 or 1, looked for once: a system does not change it while it runs."""
    for group in (
        ControlGroup(root / "memory.max", root / "memory.current", root / "memory.stat"),
        ControlGroup(
            root / "memory/memory.limit_in_bytes",
            root / "memory/memory.usage_in_bytes",
            root / "memory/memory.stat",
        ),
    ):
        if group.limit.exists():
            return group
    return None


def _physical() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (ValueError, OSError):
        return FALLBACK_BYTES
