"""The clock of the mesh: nanoseconds since 1970 that never decrease, and go on while the machine sleeps.

Flow: system clocks -> *MeshClock* -> driver -> core. Records of peers carry times, so a machine that slept or whose
clock was set right after the start must follow: forward at once (the core sees a late tick, as after a freeze),
backward never, since no core's time runs back; then `behind_ns` says how far the system's clock is behind.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

__all__ = ["MeshClock"]

# Linux: counts while the machine sleeps (clock_gettime(2)). Called several times a message, so without a frame of ours.
_steady_ns: Callable[[], int] = (
    partial(time.clock_gettime_ns, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic_ns
)

FOLLOW_NS = 2_000_000_000  # less is drift, which the next start takes up


class MeshClock:
    """not_before_ns: the newest instant on disk."""

    def __init__(self, not_before_ns: int = 0) -> None:
        self._offset_ns = max(time.time_ns(), not_before_ns) - _steady_ns()

    def now_ns(self) -> int:
        return self._offset_ns + _steady_ns()

    def follow(self) -> int:
        """Catch up where the system's clock was set forward; by how much, 0 where it was not."""
        ahead_ns = time.time_ns() - self.now_ns()
        if ahead_ns <= FOLLOW_NS:
            return 0
        self._offset_ns += ahead_ns
        return ahead_ns

    def behind_ns(self) -> int:
        """How far the system's clock is behind this one; large where somebody set it back."""
        return max(0, self.now_ns() - time.time_ns())
