"""Row `slice`: amplitudes and local expectation values as sums over slices of a tensor network.

Flow: Asked -> *price* (slicing/: networks, trees, runs) -> choose; *make* -> Made -> combine. A network that fits no
memory, or that many places should share, is contracted with some of its indices fixed; the sum over their values is the
answer, exactly. Each run adds up a range of slices, is one complex number, and can be made again by anybody alone.
docs/slicing.md
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

from qcommons.base.errors import Unavailable, UsageError
from qcommons.engines.records import Amplitudes, Cost, Slices
from qcommons.engines.select import plural
from qcommons.engines.tn_sliced import slices_cost
from qcommons.jobs.plan.records import Combine, Estimated, Part, Priced, SliceSum, Term
from qcommons.jobs.plan.row import RUNS_MAX, Asked, Made
from qcommons.jobs.plan.runs import Runs
from qcommons.jobs.plan.slicing import networks
from qcommons.jobs.plan.slicing.ranges import Ranges, Wanted, ranges_of

__all__ = ["ROW", "SliceRow"]

STEP_S = 2e-6  # of a search, one core of an EPYC: searches are counted in steps, so that a seed gives one tree
THOROUGH = 0.05  # share of the predicted seconds that looking once more for a better tree may take
THOROUGH_S = 20.0  # at most: trees of the grids in docs/slicing.md hardly improve after that
TENSORS_MAX = 4_000  # of all networks of a job: building them takes 50 microseconds a tensor


class SliceRow:
    """Slices of tensor networks."""

    name = "slice"
    help = "amplitudes and computed observables as sums over slices of a tensor network"

    def price(self, asked: Asked) -> Priced:
        planned = _planned(asked)
        flat = [piece for pieces in planned.values() for piece in pieces]
        costs = [(piece.ranges.runs, piece.cost) for piece in flat]
        runs = sum(count for count, _ in costs)
        if runs > RUNS_MAX:
            return Priced(
                row=self.name, applies=False, why=f"{runs:,} runs; at most {RUNS_MAX:,}", runs=runs,
                nearest="more memory or seconds a run",
            )  # fmt: skip
        return Priced(
            row=self.name, applies=True, why=_told(flat), runs=runs,
            seconds=math.fsum(count * cost.seconds for count, cost in costs),
            longest_s=max(cost.seconds for _, cost in costs),
            work_units=math.fsum(count * cost.work_units for count, cost in costs),
            memory_bytes=max(cost.memory_bytes for _, cost in costs),
        )  # fmt: skip

    def make(self, asked: Asked) -> Made:
        planned = _planned(asked)
        runs = Runs(asked.job)
        parts: list[Part] = []
        for index in range(len(asked.job.points)):
            if index not in planned:
                parts.append(runs.same(index))
                continue
            pieces = [_better(asked, index, number, piece) for number, piece in enumerate(planned[index])]
            parts.append(_part(asked, index, [(piece, _points(asked, index, piece, runs)) for piece in pieces]))
        return runs.made(parts)


ROW = SliceRow()


class _Piece(NamedTuple):
    """A network of an asked run and its runs."""

    network: networks.Asked
    ranges: Ranges

    @property
    def cost(self) -> Cost:
        return slices_cost(self.ranges.slices)


def _planned(asked: Asked) -> dict[int, list[_Piece]]:
    """The networks of each open run, cut into runs; computed once a job.

    Raises:
        Unavailable: a run has none, or there are too many, with the numbers.
    """
    return asked.remember(("slice", "planned"), lambda: _plan(asked))


def _plan(asked: Asked) -> dict[int, list[_Piece]]:
    job = asked.job
    if job.noise is not None:
        raise Unavailable("slices are of a circuit without noise. Nearest: run without noise")
    if job.engine not in (None, "tn") or job.method is not None:
        raise Unavailable("the job names an engine or method; slices are the planner's own way")
    open_ = [index for index in range(len(job.points)) if index not in job.settled]
    if not open_:
        raise Unavailable("nothing is left to run")
    if len(open_) > networks.NETWORKS_MAX:
        raise Unavailable(f"{len(open_)} runs; a tree is looked for in each, at most {networks.NETWORKS_MAX}")
    try:
        found = {index: networks.networks_of(asked.bound(index), asked.want(index)) for index in open_}
    except UsageError as misused:  # an unbound input: the run ends with this error wherever it runs
        raise Unavailable(misused.what) from misused
    count = sum(len(rows) for rows in found.values())
    tensors = sum(2 * len(row.program.ops) * (2 if row.paulis else 1) for rows in found.values() for row in rows)
    if not count or count > networks.NETWORKS_MAX or tensors > TENSORS_MAX:
        raise Unavailable(
            f"{plural(count, 'network')} of up to {tensors:,} tensors; at most {networks.NETWORKS_MAX} and "
            f"{TENSORS_MAX:,}"
        )
    steps = int(asked.search_s / STEP_S / count)
    return {
        index: [_Piece(row, _ranges(asked, index, number, row, steps)) for number, row in enumerate(rows)]
        for index, rows in found.items()
    }


def _ranges(asked: Asked, index: int, number: int, row: networks.Asked, steps: int) -> Ranges:
    seed = asked.seed_of(index, "slice", number, steps)
    wanted = Wanted(asked.limits, asked.parallel, max(len(row.bitstrings), 1), seed, steps)
    return ranges_of(networks.closed_of(row), wanted)


def _better(asked: Asked, index: int, number: int, piece: _Piece) -> _Piece:
    """The piece with a tree that was looked for longer, if that is worth it and gives one."""
    look_s = min(THOROUGH * piece.ranges.runs * piece.cost.seconds, THOROUGH_S)
    if look_s <= 2 * asked.search_s:
        return piece
    try:
        ranges = _ranges(asked, index, number, piece.network, int(look_s / STEP_S))
    except Unavailable:
        return piece
    other = _Piece(piece.network, ranges)
    cheaper = ranges.runs * other.cost.seconds < piece.ranges.runs * piece.cost.seconds
    return other if cheaper else piece


def _points(asked: Asked, index: int, piece: _Piece, runs: Runs) -> list[int]:
    """The runs of a piece, numbered."""
    network, slices = piece.network, piece.ranges.slices
    name = asked.job.programs[asked.job.points[index].program].name
    points = []
    for k in range(piece.ranges.runs):
        want: Slices = msgspec.structs.replace(
            slices, bitstrings=network.bitstrings, paulis=network.paulis, first=k * slices.count
        )
        points.append(runs.point(runs.program(network.program, want, name), {}, asked.seed_of(index, "slice", k)))
    return points


def _part(asked: Asked, index: int, rows: list[tuple[_Piece, list[int]]]) -> Part:
    want = asked.want(index)
    if isinstance(want, Amplitudes):
        return SliceSum(tuple(rows[0][1]))
    sums: list[list[Term]] = []
    for number, observable in enumerate(want.observables):  # type: ignore[union-attr]  # `networks_of` saw to it
        constant = math.fsum(term.coefficient for term in observable.terms if not term.paulis)
        terms = [Term(constant)] if constant else []
        for piece, points in rows:
            coefficient = piece.network.coefficients[number]
            if coefficient:
                terms += [Term(coefficient, (Estimated(point, 0),)) for point in points]
        sums.append(terms)
    return Combine(tuple(tuple(terms) for terms in sums))


def _told(flat: list[_Piece]) -> str:
    """What is sliced, in numbers."""
    most = max(flat, key=lambda piece: piece.ranges.runs * piece.cost.work_units).ranges
    runs = sum(piece.ranges.runs for piece in flat)
    return (
        f"{plural(1 << len(most.slices.sliced), 'slice')} of a tensor network in {plural(runs, 'run')}, width "
        f"{most.width}, {most.overhead:.2g} times the multiplications of the unsliced one"
    )
