"""Row `batch`: runs side by side: parameter points, settings of sampled observables, and shots where each costs.

Flow: Asked -> *price* -> choose; *make* -> Made -> combine. A run that is long is taken apart:
- sampled observables by setting (groups of qubit-wise commuting terms), since each setting is sampled anew anyway;
- then by shots, but only where a shot costs about as much as the next one (noise by trajectories, mid-circuit
  measurement). Elsewhere one state gives all shots almost for free, and n shares would simulate it n times.
Exact observables stay together: one state serves them all. Every share has a seed of its own, from the run's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from qcommons.base.clock import seconds_text
from qcommons.base.errors import Unavailable, UsageError
from qcommons.circuits.features import features
from qcommons.circuits.observables import commuting_groups
from qcommons.engines.records import Cost, Counts, Expectations
from qcommons.engines.select import plural
from qcommons.jobs.plan.price import of_groups
from qcommons.jobs.plan.records import Combine, CountsSum, Estimated, Part, Priced, Term
from qcommons.jobs.plan.row import RUNS_MAX, Asked, Made
from qcommons.jobs.plan.runs import Runs
from qcommons.jobs.plan.whole import Share, shares, total

__all__ = ["ROW", "Batch"]

PIECES_A_PLACE = 2  # as pieces.plan: two or more a place level out places of different speed
SPLIT_PLACES = 4.0  # a run is taken apart into shares no shorter than so many times what a place costs
SHOTS_MIN = 1_000  # of a share: the spread of so many is known to 2 %, and rare outcomes are bounded by 3 / shots
SHOT_SHARE = 0.8  # of a run's cost must grow with its shots for these to be shared out


class Apart(NamedTuple):
    """How one run is taken apart: settings in so many bundles, shots in so many shares; seconds of all of them."""

    bundles: int = 1
    shares: int = 1
    seconds: float = 0.0
    why: str = ""

    @property
    def runs(self) -> int:
        return self.bundles * self.shares


class Batch:
    """Independent runs, spread."""

    name = "batch"
    help = "parameter points, measurement settings and costly shots side by side"

    def price(self, asked: Asked) -> Priced:
        rows = shares(asked)
        sum_ = total(rows)
        aparts = [_apart(asked, row) for row in rows]
        runs = sum(row.runs * apart.runs for row, apart in zip(rows, aparts, strict=True))
        told = "; ".join(dict.fromkeys(apart.why for apart in aparts if apart.why))
        no = ""
        if sum_.refused == sum_.runs:
            no = "no engine takes any of the runs; sharing them out makes none smaller"
        elif runs < 2:
            no = told or "one run with nothing to share out"
        elif runs > RUNS_MAX:
            no = f"{runs:,} runs; a plan holds at most {RUNS_MAX:,}"
        if no:
            return Priced(row=self.name, applies=False, why=no, runs=runs, refused=sum_.refused)
        fine = [(row, apart) for row, apart in zip(rows, aparts, strict=True) if isinstance(row.cost, Cost)]
        return Priced(
            row=self.name, applies=True, why=f"{plural(runs, 'run')} side by side" + (f": {told}" if told else ""),
            seconds=math.fsum(row.weight * apart.seconds for row, apart in fine),
            longest_s=max(apart.seconds / apart.runs for _, apart in fine),
            work_units=math.fsum(
                row.weight * row.cost.work_units * _more(row.cost, apart)
                for row, apart in fine if isinstance(row.cost, Cost)
            ),
            memory_bytes=sum_.memory_bytes, runs=runs, certain=sum_.certain, refused=sum_.refused,
        )  # fmt: skip

    def make(self, asked: Asked) -> Made:
        aparts = {number: _apart(asked, row) for row in shares(asked) for number in row.programs}
        if all(apart.runs == 1 for apart in aparts.values()):
            return Made(asked.job)
        runs = Runs(asked.job)
        parts: list[Part] = []
        for index, point in enumerate(asked.job.points):
            apart = aparts.get(point.program, Apart())
            want = asked.want(index)
            if index in asked.job.settled or apart.runs == 1:
                parts.append(runs.same(index))
            elif isinstance(want, Counts):
                parts.append(_counts(asked, runs, index, want, apart))
            else:
                assert isinstance(want, Expectations)
                parts.append(_estimates(asked, runs, index, want, apart))
        return runs.made(parts)


ROW = Batch()


def _more(cost: Cost, apart: Apart) -> float:
    """How many times the work of the whole run, by the time."""
    return apart.seconds / cost.seconds if cost.seconds else 1.0


def _apart(asked: Asked, row: Share) -> Apart:
    return asked.remember(("batch", row.index), lambda: _find_apart(asked, row))


def _find_apart(asked: Asked, row: Share) -> Apart:
    """How a run of this share is best taken apart, and why not further."""
    cost, want = row.cost, asked.want(row.index)
    if isinstance(cost, Unavailable):
        return Apart()
    together = total(shares(asked)).seconds
    least_s = max(SPLIT_PLACES * asked.place_s, together / (PIECES_A_PLACE * asked.parallel))
    pieces = math.ceil(cost.seconds / least_s)
    if isinstance(want, Expectations) and want.shots is None:
        return Apart(seconds=cost.seconds, why="exact observables stay together: one state serves them all")
    shots = getattr(want, "shots", 0)
    if pieces < 2 or not shots:
        return Apart(seconds=cost.seconds)
    bundles = 1
    if isinstance(want, Expectations):
        bundles = min(pieces, max(len(commuting_groups(want.observables)), 1))
    why = f"{plural(bundles, 'bundle')} of measurement settings" if bundles > 1 else ""
    wanted = min(math.ceil(pieces / bundles), shots // SHOTS_MIN)
    if wanted < 2:
        return Apart(bundles, 1, cost.seconds, why)
    growing_s, no = _per_shot(asked, row, cost, shots)
    if no:
        return Apart(bundles, 1, cost.seconds, "; ".join(filter(None, (why, no))))
    fixed_s = cost.seconds - growing_s
    why = "; ".join(filter(None, (why, f"{shots:,} shots in {wanted} shares, since each shot costs")))
    return Apart(bundles, wanted, wanted * fixed_s + growing_s, why)


def _per_shot(asked: Asked, row: Share, cost: Cost, shots: int) -> tuple[float, str]:
    """Seconds of the run that grow with its shots, and why they are not shared out ("" where they are)."""
    noise = asked.job.noise
    if noise is None and not all(_dynamic(asked, number) for number in row.programs):
        return 0.0, f"the {shots:,} shots stay together: without noise or feedback one state gives all of them"
    program, want = asked.bound(row.index), asked.want(row.index)
    assert isinstance(want, Counts | Expectations)
    try:
        half = asked.cost(program, msgspec.structs.replace(want, shots=shots // 2), noise)
    except (Unavailable, UsageError):
        return 0.0, f"the {shots:,} shots stay together: fewer of them have no price"
    growing_s = (cost.seconds - half.seconds) * shots / (shots - shots // 2)
    if growing_s < SHOT_SHARE * cost.seconds:
        shared = f"{seconds_text(max(growing_s, 0.0))} of {seconds_text(cost.seconds)}"
        return 0.0, f"the {shots:,} shots stay together: only {shared} grow with them, every share would pay the rest"
    return min(growing_s, cost.seconds), ""


def _dynamic(asked: Asked, number: int) -> bool:
    return asked.remember(("batch", "dynamic", number), lambda: features(asked.program(number)).dynamic)


def _counts(asked: Asked, runs: Runs, index: int, want: Counts, apart: Apart) -> CountsSum:
    number, places = asked.job.points[index].program, []
    for share, shots in enumerate(_even(want.shots, min(apart.shares, want.shots))):
        program = runs.program(asked.program(number), Counts(shots), asked.job.programs[number].name)
        seed = asked.seed_of(index, "batch", "shots", share)
        places.append(runs.point(program, asked.job.points[index].values, seed))
    return CountsSum(tuple(places))


def _estimates(asked: Asked, runs: Runs, index: int, want: Expectations, apart: Apart) -> Combine:
    """Each observable: its constant, and of every bundle and share its own terms, weighted by the share's shots."""
    point, shots = asked.job.points[index], want.shots or 1
    sums = [[Term(math.fsum(t.coefficient for t in one.terms if not t.paulis))] for one in want.observables]
    groups = [group.terms for group in commuting_groups(want.observables)]
    bundles = min(apart.bundles, len(groups))
    for bundle in range(bundles):
        inside = groups[bundle * len(groups) // bundles : (bundle + 1) * len(groups) // bundles]
        observables = of_groups(want, inside)
        for share, own in enumerate(_even(shots, min(apart.shares, shots))):
            program = runs.program(
                asked.program(point.program), Expectations(observables, own), asked.job.programs[point.program].name
            )
            place = runs.point(program, point.values, asked.seed_of(index, "batch", "setting", bundle, share))
            for s, observable in enumerate(observables):
                if observable.terms:
                    sums[s].append(Term(own / shots, (Estimated(place, s),)))
    return Combine(tuple(map(tuple, sums)), shots)


def _even(count: int, shares: int) -> Sequence[int]:
    """`count` in `shares` parts that differ by at most one."""
    return [(share + 1) * count // shares - share * count // shares for share in range(shares)]
