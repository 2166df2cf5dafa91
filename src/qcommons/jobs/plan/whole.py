"""Row `whole`: every run as it was asked, all at one place, one after the other.

Flow: Asked -> *price* -> choose; *make* gives the asked job itself. What each asked run costs (`shares`) is the ground
on which the other rows stand, so it is priced once a job: with many programs some stand for the others of their size.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from qcommons.base.errors import Unavailable, UsageError
from qcommons.engines.records import Cost
from qcommons.engines.select import plural
from qcommons.jobs.plan.pieces import guess_s
from qcommons.jobs.plan.price import classes
from qcommons.jobs.plan.records import Priced
from qcommons.jobs.plan.row import Asked, Made
from qcommons.jobs.records import Job

__all__ = ["PRICED_MAX", "ROW", "Share", "Total", "Whole", "shares", "total"]

PRICED_MAX = 16  # programs of a kind priced one by one (1 to 20 ms each); of more, classes of size by their largest
NOTHING = Cost(0.0, 0, 0.0)


@dataclass(frozen=True, slots=True)
class Share:
    """Runs of one program, or of programs of about one size and of one kind of want.

    index: of the run that was priced. runs: how many it stands for, in `programs`. weight: how many such runs cost as
    much as all of them. cost: of the one run; what was said where no engine runs it.
    """

    index: int
    programs: tuple[int, ...]
    runs: int
    weight: float
    cost: Cost | Unavailable


class Total(NamedTuple):
    """Sums over shares: seconds, work and runs; the largest memory and run; refused: runs no engine takes, why."""

    seconds: float
    longest_s: float
    work_units: float
    memory_bytes: int
    runs: int
    certain: bool
    refused: int
    why: Unavailable | None


def shares(asked: Asked) -> tuple[Share, ...]:
    """The open runs of the job with their prices, computed once a job."""
    return asked.remember(("whole", "shares"), lambda: _shares(asked))


def total(rows: tuple[Share, ...]) -> Total:
    """What the shares come to, run as they are."""
    fine = [(row, row.cost) for row in rows if isinstance(row.cost, Cost)]
    bad = [(row, row.cost) for row in rows if isinstance(row.cost, Unavailable)]
    return Total(
        seconds=math.fsum(row.weight * cost.seconds for row, cost in fine),
        longest_s=max((cost.seconds for _, cost in fine), default=0.0),
        work_units=math.fsum(row.weight * cost.work_units for row, cost in fine),
        memory_bytes=max((cost.memory_bytes for _, cost in fine), default=0),
        runs=sum(row.runs for row in rows),
        certain=all(cost.certain for _, cost in fine),
        refused=sum(row.runs for row, _ in bad),
        why=bad[0][1] if bad else None,
    )


class Whole:
    """The asked job itself."""

    name = "whole"
    help = "every run as it was asked, all at one place"

    def price(self, asked: Asked) -> Priced:
        sum_ = total(shares(asked))
        if sum_.why is not None and sum_.refused == sum_.runs:
            what, _, nearest = sum_.why.what.partition("Nearest: ")
            return Priced(
                row=self.name,
                applies=False,
                why=what.strip(" ."),
                nearest=nearest,
                runs=sum_.runs,
                refused=sum_.refused,
            )
        why = f"{plural(sum_.runs, 'run')} at one place"
        if sum_.why is not None:
            why += f"; {sum_.refused} of them no engine takes: {sum_.why.what}"
        return Priced(
            row=self.name, applies=True, why=why, seconds=sum_.seconds, longest_s=sum_.longest_s,
            work_units=sum_.work_units, memory_bytes=sum_.memory_bytes, runs=sum_.runs, certain=sum_.certain,
            refused=sum_.refused, places=1,
        )  # fmt: skip

    def make(self, asked: Asked) -> Made:
        return Made(asked.job)


ROW = Whole()


def _shares(asked: Asked) -> tuple[Share, ...]:
    job = asked.job
    first: dict[int, int] = {}
    runs: Counter[int] = Counter()
    for index, point in enumerate(job.points):
        if index not in job.settled:
            first.setdefault(point.program, index)
            runs[point.program] += 1
    rows = []
    for numbers in _kinds(job, sorted(first)):
        guesses = [guess_s(job, number) * runs[number] for number in numbers]
        for largest, members, weight in classes(guesses, PRICED_MAX):
            number = numbers[largest]
            programs = tuple(numbers[member] for member in members)
            count = sum(runs[program] for program in programs)
            rows.append(Share(first[number], programs, count, weight * runs[number], _cost(asked, first[number])))
    return tuple(rows)


def _kinds(job: Job, numbers: list[int]) -> list[list[int]]:
    """Programs of one kind of want, sampled or computed, apart: a row may treat the kinds differently."""
    kinds: dict[tuple[type, bool], list[int]] = {}
    for number in numbers:
        want = job.wants[number]
        kinds.setdefault((type(want), getattr(want, "shots", None) is None), []).append(number)
    return list(kinds.values())


def _cost(asked: Asked, index: int) -> Cost | Unavailable:
    try:
        return asked.cost(asked.bound(index), asked.want(index), asked.job.noise)
    except Unavailable as refused:
        return refused
    except UsageError:  # the run ends with this error as soon as it starts, wherever it runs
        return NOTHING
