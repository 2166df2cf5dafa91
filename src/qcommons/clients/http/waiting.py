"""Waiting for a job: how long one poll is held, and what is said when the time is over.

Flow: Job.result, run -> *waiting*.
"""

from __future__ import annotations

from qcommons.base.clock import duration_text
from qcommons.base.errors import Unavailable
from qcommons.node.api.records import JobView

__all__ = ["PROGRESS_S", "not_ended", "poll_s"]

LONG_POLL_S = 30.0
PROGRESS_S = 0.25  # between two calls of a progress callback


def poll_s(rest_s: float | None) -> float:
    """Seconds that the node may hold the next answer; rest_s: what is left, None: no end."""
    return LONG_POLL_S if rest_s is None else min(rest_s, LONG_POLL_S)


def not_ended(view: JobView, timeout_s: float, now_ns: int) -> Unavailable:
    """The error of a wait that is over: the state of the job, its cause and since when."""
    since = duration_text(max(0, now_ns - view.since_ns))
    what = (
        f"{view.id} has not ended within {timeout_s:g} s: {view.state} for {since} ({view.cause}); "
        "wait longer, ask why, or cancel it"
    )
    return Unavailable(what, where="timeout", limit=f"{timeout_s:g} s")
