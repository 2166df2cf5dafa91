"""Planner: which way a job on the mesh is answered, found out in a worker before the job is accepted.

Flow: door -> *Planner.chosen* -> pool (PlanJob) -> Planned -> Chosen -> Submit. It waits in the caller's thread.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from qcommons.base.clock import deadline_ns
from qcommons.base.errors import Corrupt
from qcommons.circuits.program import DEFAULT_CAPS
from qcommons.jobs.outcomes import Done, Outcome, exception_of
from qcommons.jobs.place import EGRESS, Candidate
from qcommons.jobs.records import Card, Job
from qcommons.node.answered import check_answer
from qcommons.node.frames import Calibration, PlanJob, Planned
from qcommons.node.records import Chosen, chosen
from qcommons.node.sources import Reader
from qcommons.node.workers import WorkerPool

__all__ = ["Planner"]

PLAN_S_MAX = 60.0  # rows search for a second each; a worker that takes so long is stopped
RUN_BYTES_MIN, ROOM = 512 << 20, 2
REACHABLE = frozenset({"alive", "away"})


class Planner:
    """pool: its reading lane plans, so that long runs do not hold it up."""

    def __init__(self, pool: WorkerPool) -> None:
        self._reader = Reader(pool, DEFAULT_CAPS)

    def planned(self, job: Job, plan: str | None, peers: Sequence[Candidate], *, every: bool = False) -> Planned:
        """The plan of a job for these peers, and the prices of its runs. every: price all rows, for a quote.

        Raises:
            UsageError: no such row. Unavailable: refused, with numbers.
        """
        able = [one for one in peers if one.relation in EGRESS[job.egress] and one.state in REACHABLE]
        places = sum(one.places if one.ask is None else min(one.places, one.ask.places) for one in able)
        known = [one.memory_bytes for one in able if one.memory_bytes]
        most = max(known) if len(known) == len(able) and known else 0
        return self._called(PlanJob(job, plan, max(places, 1), most, every, _cheapest(able)))

    def here(self, job: Job, workers: int) -> Planned:
        """What a job takes that is run on this node, as it was asked, by so many workers. Raises as `planned`."""
        return self._called(PlanJob(job, "whole", workers))

    def _called(self, call: PlanJob) -> Planned:
        seconds = PLAN_S_MAX if call.every else min(call.job.deadline_s, PLAN_S_MAX)  # a quote says what is too late
        (value,) = self._reader.gather(call, 1, deadline_ns(time.monotonic_ns(), seconds), seconds)
        return _planned(value)

    def chosen(
        self, job: Job, plan: str | None, peers: Sequence[Candidate], *, is_fixed: bool, every: bool = False
    ) -> tuple[Job, Chosen]:
        """The job with its plan as both are kept. is_fixed: the user said how much memory a run may take; else it is
        what the runs need, with room, so that small peers take them too. every, and what it raises: as `planned`."""
        found = self.planned(job, plan, peers, every=every)
        limits = job.limits
        if not is_fixed:
            need = max(RUN_BYTES_MIN, ROOM * max(price.memory_bytes for price in found.prices))
            limits = msgspec.structs.replace(limits, memory_bytes=min(limits.memory_bytes, need))
        derived = msgspec.structs.replace(found.plan.job, limits=limits)
        check_answer(derived)
        kept = chosen(msgspec.structs.replace(found.plan, job=derived), found.prices)
        return msgspec.structs.replace(job, limits=limits), kept


def _cheapest(able: Sequence[Candidate]) -> int | None:
    """Base units for 10^9 work units, 0 where an own or allowed node asks none: a lower bound, so that no plan is left
    out for a budget that would do. A stranger without an ask gets nothing of a job with a budget (`jobs/place.py`)."""
    prices = [
        0 if one.ask is None else one.ask.price_per_giga
        for one in able if one.ask is not None or one.relation != "stranger"
    ]  # fmt: skip
    return min(prices, default=None)


def _planned(value: Outcome | Card | Calibration | Planned) -> Planned:
    if isinstance(value, Planned):
        return value
    if isinstance(value, Card | Calibration | Done):
        raise Corrupt("a worker answered a plan with something else")
    error = exception_of(value)
    assert error is not None
    raise error
