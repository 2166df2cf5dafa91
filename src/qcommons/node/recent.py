"""The jobs that ended last, in memory: who submits a job asks for its result at once.

Flow: shell (Ended, on disk) -> *Recent* -> jobs_door. A cache and nothing else: what is not here is read from disk.
"""

from __future__ import annotations

from collections import OrderedDict

from qcommons.node.messages import Ended

__all__ = ["Recent"]

JOBS_MAX = 256
SIZE_BYTES_MAX = 1 << 16  # of a job's programs; larger jobs are read from disk
RUNS_MAX = 16


class Recent:
    """At most 256 small jobs."""

    def __init__(self) -> None:
        self._ended: OrderedDict[str, Ended] = OrderedDict()

    def keep(self, ended: Ended) -> None:
        """The oldest goes when there are too many."""
        if ended.entry.size_bytes > SIZE_BYTES_MAX or ended.entry.runs > RUNS_MAX or _large(ended):
            return
        self._ended[ended.entry.id] = ended
        if len(self._ended) > JOBS_MAX:
            self._ended.popitem(last=False)

    def get(self, job_id: str) -> Ended | None:
        return self._ended.get(job_id)


def _large(ended: Ended) -> bool:
    """Wide answers (a million counts) are not kept in memory."""
    for outcome in ended.answered.outcomes:
        answer = getattr(getattr(outcome, "execution", None), "answer", None)
        if answer is not None and len(answer.counts or ()) + len(answer.amplitudes or ()) > 4096:
            return True
    return False
