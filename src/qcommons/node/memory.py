"""How much memory a run may take on this machine now.

Flow: *free_bytes* -> limits of a job -> RLIMIT_AS of its workers and refusals with numbers.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["default_limit_bytes", "free_bytes"]

SHARE = 0.8  # of what is free now: the rest is for the parent and the system
FALLBACK_BYTES = 4 << 30  # where the system does not say
CGROUP = Path("/sys/fs/cgroup")


def default_limit_bytes(parallel: int) -> int:
    """The default for one run when `parallel` of them run at once."""
    return int(free_bytes() * SHARE) // max(1, parallel)


def free_bytes() -> int:
    """Memory that can be taken without swapping: the least of the system's and the container's word."""
    known = [value for value in (_available(), _cgroup_left()) if value is not None]
    return min(known) if known else _physical()


def _available() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    rows = [line.split() for line in lines if line.startswith("MemAvailable:")]
    return int(rows[0][1]) * 1024 if rows else None


def _cgroup_left() -> int | None:
    """Limit less usage of the own control group, version 2 or 1; file cache counts as free."""
    for limit_name, used_name, stat_name in (
        ("memory.max", "memory.current", "memory.stat"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
    ):
        try:
            limit = (CGROUP / limit_name).read_text(encoding="ascii").strip()
            used = int((CGROUP / used_name).read_text(encoding="ascii"))
            stats = dict(line.split() for line in (CGROUP / stat_name).read_text(encoding="ascii").splitlines())
        except (OSError, ValueError):
            continue
        if limit == "max" or int(limit) > 1 << 60:
            return None
        cache = int(stats.get("inactive_file", 0)) + int(stats.get("active_file", 0))
        return max(0, int(limit) - used + cache)
    return None


def _physical() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (ValueError, OSError):
        return FALLBACK_BYTES
