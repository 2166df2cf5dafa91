"""Which rows there are: the planner's own, and those of plug-ins (entry points `qcommons.planners`).

Flow: *load_rows* -> choose. Loading a row imports no heavy library. A row that fails to load is listed with its error;
it never takes the others down.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from importlib import import_module, metadata

import msgspec

from qcommons.jobs.plan.row import Row

__all__ = ["BUILT_IN", "BrokenRow", "load_rows", "refresh"]

GROUP = "qcommons.planners"
# In order of preference where two would take about as long: what is simpler comes first.
NAMES = ("whole", "batch", "lightcone", "slice", "cut")
BUILT_IN: dict[str, str] = {name: f"qcommons.jobs.plan.{name}:ROW" for name in NAMES}


class BrokenRow(msgspec.Struct, frozen=True):
    """An entry point that gave no row, and why."""

    name: str
    error: str


def load_rows() -> tuple[dict[str, Row], tuple[BrokenRow, ...]]:
    """Rows by name in order of preference, plug-ins after the own ones by name; and what could not be loaded."""
    rows, broken = _loaded()
    return dict(rows), broken


def refresh() -> None:
    """Forget what was found: for tests, and after an installation."""
    _loaded.cache_clear()


@lru_cache(maxsize=1)
def _loaded() -> tuple[dict[str, Row], tuple[BrokenRow, ...]]:
    rows: dict[str, Row] = {}
    broken: list[BrokenRow] = []
    for name, target in _targets():
        try:
            rows[name] = _load(name, target)
        except Exception as error:  # a plug-in may fail in any way; it is reported, not raised
            broken.append(BrokenRow(name, f"{type(error).__name__}: {error}"))
    return rows, tuple(broken)


def _load(name: str, target: str) -> Row:
    module, _, attribute = target.partition(":")
    row = getattr(import_module(module), attribute or "ROW")
    if not isinstance(row, Row):
        raise TypeError(f"{target} is no Row: see docs/plan.md")
    if row.name != name:
        raise ValueError(f"entry point {name!r} gives a row named {row.name!r}; the two must agree")
    return row


def _targets() -> Iterable[tuple[str, str]]:
    """A plug-in cannot replace a row of our own."""
    found = {point.name: point.value for point in metadata.entry_points(group=GROUP)}
    yield from BUILT_IN.items()
    yield from sorted((name, target) for name, target in found.items() if name not in BUILT_IN)
