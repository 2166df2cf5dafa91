"""The nouns of the world: what a case is, what happens to it, what comes out. No behaviour.

Flow: `Case` -> timeline of `Moment`s (`timeline.py`) -> simulator -> `Report` with `Violation`s. Times are virtual
nanoseconds since the world began; `_s` are seconds for people.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

__all__ = ["Act", "Case", "Moment", "Param", "Report", "Violation"]

Number = int | float


class Param(NamedTuple):
    """One knob of a fault. unit: "s", "1" (a share or probability), "nodes", "Hz". low to high is allowed."""

    name: str
    unit: str
    default: Number
    low: Number
    high: Number
    help: str


class Act(NamedTuple):
    """A fault of a scenario: the row's name and the knobs that differ from its defaults.

    at: its begin as a share of the case's time; None: as the row says, from the begin or at random times.
    """

    fault: str
    knobs: tuple[tuple[str, Number], ...] = ()
    at: float | None = None


class Moment(msgspec.Struct, frozen=True):
    """One fault at one time. place: its number in the timeline, by which it can be left out (`Case.without`).

    nodes: whom it strikes, by number; for_ns: 0 for what happens at once; facts: knobs and what was drawn.
    """

    place: int
    at_ns: int
    fault: str
    nodes: tuple[int, ...]
    for_ns: int
    facts: dict[str, float]


class Case(msgspec.Struct, frozen=True):
    """All that a run depends on: the same case gives the same trace.

    nodes, for_s: 0 for the scenario's own. faults: more of them, as text ("loss=0.01,crash.every=5"). without: moments
    of the timeline that are left out. crypto: "double", "real" (slow; its signatures differ from run to run)
    or "wire" (real sessions and frames too).
    """

    scenario: str
    seed: int = 0
    nodes: int = 0
    for_s: float = 0.0
    faults: str = ""
    without: tuple[int, ...] = ()
    crypto: str = "double"


class Violation(msgspec.Struct, frozen=True):
    """A rule that did not hold. check: its name in `checkers`; node: whose, by number, -1 for the whole."""

    check: str
    at_s: float
    node: int
    what: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What came out of a case; docs/world.md explains the fields.

    converged_s: how long after the last fault ended each thing that must hold began to. messages_per_node: sent
    between nodes, in all. measures: further figures, by name with unit. counts: Notes of the cores, by name.
    """

    scenario: str
    seed: int
    nodes: int
    for_s: float
    events: int
    trace_hash: str
    violations: tuple[Violation, ...]
    virtual_seconds: float
    messages_per_node: float
    converged_s: dict[str, float]
    measures: dict[str, float]
    counts: dict[str, int]
    timeline: tuple[Moment, ...]
    checked: tuple[str, ...]
    replay: str
    wall_seconds: float
