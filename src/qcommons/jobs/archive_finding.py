"""What a check of an archive found: counted, with the first faults by place.

Flow: archive_checks, archive_leases -> *Finding* -> *Check* -> table, JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from qcommons.base.errors import QCommonsError
from qcommons.base.text import line

__all__ = ["FAULTS_KEPT", "Check", "Finding"]

FAULTS_KEPT = 10  # of one check: the first ones say where to look
TEXT_MAX = 300
# What reading a stranger's data may raise besides our own errors: an index that is not there, a number too large, ...
TROUBLE = (
    QCommonsError, LookupError, ValueError, TypeError, ArithmeticError, AssertionError, AttributeError, RecursionError,
    msgspec.MsgspecError,
)  # fmt: skip


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One row. checked: how many things. faults: the first ones, "where: what"; fault_count: all. note: one clause."""

    name: str
    says: str
    checked: int
    fault_count: int
    faults: tuple[str, ...]
    note: str = ""

    @property
    def holds(self) -> bool:
        return not self.fault_count


class Finding:
    """Collects one check's faults."""

    def __init__(self) -> None:
        self.checked = self.fault_count = 0
        self.faults: list[str] = []
        self.note = ""

    def fault(self, where: str, what: str) -> None:
        self.fault_count += 1
        if len(self.faults) < FAULTS_KEPT:
            self.faults.append(line(f"{where}: {what}" if where else what)[:TEXT_MAX])

    @contextmanager
    def at(self, where: str) -> Iterator[None]:
        """What goes wrong inside is a fault at this place, and the check goes on behind it."""
        try:
            yield
        except TROUBLE as error:
            what = str(error) if isinstance(error, QCommonsError) else f"{type(error).__name__}: {error}"
            self.fault(where, what)

    def check(self, name: str, says: str) -> Check:
        return Check(
            name=name, says=says, checked=self.checked, fault_count=self.fault_count, faults=tuple(self.faults),
            note=self.note,
        )  # fmt: skip
