"""What workers are at for a job, in words: engine, method, since when, how long it is predicted to take.

Flow: JobView, Now (attempts) -> *attempts* -> `job`, `jobs`, `status`, the progress of `run`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from qcommons.base.clock import duration_text, seconds_text

if TYPE_CHECKING:
    from qcommons.node.api.records import AttemptView

__all__ = ["attempt_lines", "attempt_short", "rest_text"]

SHOWN = 8  # of a job that many workers are at


def attempt_lines(attempts: Sequence[AttemptView], runs: int, now_ns: int) -> Iterator[str]:
    """A line each: "run 3: qulacs/statevector, predicted 12.3 s, for 4.1 s now"; the run only where there are more."""
    from qcommons.node.views import attempt_text

    for one in attempts[:SHOWN]:
        which = f"run {one.run}: " if runs > 1 else ""
        yield f"{which}{attempt_text(one, now_ns)}"
    if len(attempts) > SHOWN:
        yield f"... and {len(attempts) - SHOWN} more"


def attempt_short(attempts: Sequence[AttemptView], now_ns: int) -> str:
    """ " (qulacs/statevector, 4.1 s of 12.3 s predicted)" of the first, for a list; "" where nothing is known."""
    if not attempts:
        return ""
    first = attempts[0]
    ran = duration_text(max(0, now_ns - first.since_ns))
    about = "" if first.certain else "about "
    return f" ({first.engine}/{first.method}, {ran} of {about}{seconds_text(first.predicted_s)} predicted)"


def rest_text(answered: int, runs: int, ran_ns: int) -> str:
    """ "about 12 s left at this rate" of a job of several runs; "" while there is no rate."""
    if not 0 < answered < runs:
        return ""
    return f"about {duration_text(ran_ns * (runs - answered) // answered)} left at this rate"
