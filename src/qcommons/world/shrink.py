"""Shrinking: from a case that fails to a smaller one that fails in the same way.

Flow: failing `Case` -> *shrink* -> fewer nodes, a shorter time, fewer faults -> its replay line. Nodes and time come
first, because the timeline depends on them; then moments are left out, halves before single ones (delta debugging:
Zeller and Hildebrandt, DOI 10.1109/32.988498).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from qcommons.world.play import moments_of, play, scenario_of
from qcommons.world.records import Case, Report

__all__ = ["shrink"]

NODES_MIN = 2
FOR_S_MIN = 2.0

Player = Callable[[Case], Report]


def shrink(case: Case, *, player: Player = play, plays_max: int = 60) -> tuple[Case, int]:
    """The smallest case found within `plays_max` plays that breaks the first rule that `case` breaks, and how many
    plays it took. A case that breaks none comes back as it is."""
    first = player(case)
    if not first.violations:
        return case, 1
    rule, plays = first.violations[0].check, 1

    def fails(smaller: Case) -> bool:
        nonlocal plays
        plays += 1
        return any(violation.check == rule for violation in player(smaller).violations)

    progress = True
    while progress and plays < plays_max:
        progress = False
        for smaller in _smaller(case):
            if plays >= plays_max:
                break
            if fails(smaller):
                case, progress = smaller, True
                break
    return case, plays


def _smaller(case: Case) -> Iterator[Case]:
    """Cases to try instead, the boldest first."""
    row = scenario_of(case)
    for nodes in sorted({NODES_MIN, row.nodes // 2, row.nodes * 3 // 4, row.nodes - 1}):
        if NODES_MIN <= nodes < row.nodes:
            yield msgspec.structs.replace(case, nodes=nodes, without=())
    for for_s in sorted({round(row.for_s / 2, 1), round(row.for_s * 0.75, 1)}):
        if FOR_S_MIN <= for_s < row.for_s:
            yield msgspec.structs.replace(case, for_s=for_s, without=())
    left = [moment.place for moment in moments_of(case)]
    size = len(left)
    while size:
        for start in range(0, len(left), size):
            out = left[start : start + size]
            yield msgspec.structs.replace(case, without=tuple(sorted({*case.without, *out})))
        size //= 2
