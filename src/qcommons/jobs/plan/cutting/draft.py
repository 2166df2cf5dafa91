"""What a cutting makes of one asked run, before runs are numbered: programs to run, and the sums of products over them.

Flow: exact, sampled -> *Draft* -> plan/cut.py (prices it, or hands its runs to `Runs` and its sums to `Combine`).
"""

from __future__ import annotations

import msgspec

from qcommons.circuits.observables import PauliSum
from qcommons.circuits.program import Program

__all__ = ["Draft", "DraftRun", "Product"]

Product = tuple[float, tuple[tuple[int, tuple[int, ...]], ...]]
"""(coefficient, ((run, which), ...)): which is (number of the observable,) of a computed run, the bits of a parity of a
sampled one."""


class DraftRun(msgspec.Struct, frozen=True):
    """A fragment in one of its variants. observables: computed; empty where `shots` samples of all bits are taken."""

    program: Program
    observables: tuple[PauliSum, ...] = ()
    shots: int = 0


class Draft(msgspec.Struct, frozen=True):
    """sums: for each observable its terms. factor: shots for the standard error of the uncut run, relative to it."""

    runs: tuple[DraftRun, ...]
    sums: tuple[tuple[Product, ...], ...]
    factor: float = 1.0

    @property
    def products(self) -> int:
        return sum(map(len, self.sums))
