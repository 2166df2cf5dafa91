"""A network cut into runs: the tree, the sliced indices, and how many slices a run adds up.

Flow: Closed, memory, seconds -> *ranges_of* -> Ranges -> `Slices` wants. Runs are equal: their number is a power of two
and each takes as many consecutive slices, so that all have the same work. More slices a run share more of it (tn_tree);
more runs go to more places.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from qcommons.base.clock import seconds_text
from qcommons.base.errors import Unavailable
from qcommons.engines.records import Limits, Slices
from qcommons.engines.select import size
from qcommons.engines.tn_closed import Closed
from qcommons.engines.tn_hops import Aim, sliced
from qcommons.engines.tn_search import searched
from qcommons.engines.tn_sliced import slices_cost
from qcommons.engines.tn_tree import Tree

__all__ = ["Ranges", "Wanted", "ranges_of"]

RUN_S = 1.0  # a shorter run is not worth its offer, transfer and check (0.05 s, `row.PLACE_S`) and its fixed part
RUN_MOST_S = 60.0  # a longer one is lost when a volunteer leaves, and waited for at the end
RUNS_A_PLACE = 4  # so that the last ones end together on places of unequal speed
WHOLE = 0.4  # share of the steps for trees without slices; the rest goes to the slices, and to the trees under them
FIXED_BYTES = 64 << 20  # of a worker beside the tensors: `tn_sliced.BASE_BYTES`, twice


class Wanted(NamedTuple):
    """limits: of a run. parallel: runs at once. bitstrings: amplitudes of each slice. seed, steps: of the search."""

    limits: Limits
    parallel: int
    bitstrings: int
    seed: int
    steps: int
    precision: str = "f64"


class Ranges(NamedTuple):
    """slices: the want of the first run, with neither bitstrings nor Pauli string. runs: how many, each with the next
    `slices.count`. width: log2 of the elements of the largest tensor. unsliced: multiplications along the best tree
    that the same search found without slicing."""

    slices: Slices
    runs: int
    width: int
    unsliced: float

    @property
    def overhead(self) -> float:
        """Multiplications of all runs over those of the best tree without slices."""
        return self.slices.multiplications * self.runs / max(self.unsliced, 1.0)


def ranges_of(closed: Closed, wanted: Wanted) -> Ranges:
    """The runs of a network.

    Raises:
        Unavailable: no such runs were found within the limits, with the numbers.
    """
    item = 16 if wanted.precision == "f64" else 8
    elements = (wanted.limits.memory_bytes - FIXED_BYTES) / item
    if elements < 1:
        raise Unavailable(f"a run needs more than {size(FIXED_BYTES)}; limit {size(wanted.limits.memory_bytes)}")
    look = int(WHOLE * wanted.steps)
    finders = searched(closed.legs, closed.owners, wanted.seed, look)
    unsliced = finders[0].cost() * wanted.bitstrings
    tree = sliced(finders, Aim(elements, _least(unsliced, wanted)), wanted.steps - look)
    if tree.peak_elements() <= elements:
        return _cut(closed, tree, wanted, unsliced)
    raise Unavailable(
        f"{tree.n_slices:,} slices of a tensor network still hold {size(tree.peak_elements() * item)}; "
        f"limit {size(wanted.limits.memory_bytes)}"
    )


def _least(multiplications: float, wanted: Wanted) -> int:
    """Indices to slice so that there are runs for all places, where each is worth it."""
    if wanted.parallel < 2:
        return 0
    each_s = slices_cost(_slices(multiplications, wanted.precision)).seconds
    return max(int(math.log2(max(min(RUNS_A_PLACE * wanted.parallel, each_s / RUN_S), 1.0))), 0)


def _slices(multiplications: float, precision: str) -> Slices:
    return Slices(
        tree=(), sliced=(), first=0, count=1, shape="", multiplications=multiplications, elements=0.0,
        precision=precision,
    )  # fmt: skip


def _cut(closed: Closed, tree: Tree, wanted: Wanted, unsliced: float) -> Ranges:
    """As few slices a run as are worth it, or as many as leave runs for all places."""
    top = len(tree.sliced)

    def run(log2: int) -> Slices:
        return Slices(
            tree=tree.pairs, sliced=tree.sliced, first=0, count=1 << log2, shape=closed.shape_id,
            multiplications=tree.multiplications(0, 1 << log2) * wanted.bitstrings, elements=tree.peak_elements(),
            precision=wanted.precision,
        )  # fmt: skip

    log2, chosen = 0, run(0)
    while log2 < top:
        longer = run(log2 + 1)
        seconds, enough = slices_cost(longer).seconds, 1 << top - log2 - 1 >= RUNS_A_PLACE * wanted.parallel
        if slices_cost(chosen).seconds >= RUN_S and (not enough or seconds > RUN_MOST_S):
            break
        if seconds > wanted.limits.seconds:
            break
        log2, chosen = log2 + 1, longer
    seconds = slices_cost(chosen).seconds
    if seconds > wanted.limits.seconds:
        raise Unavailable(
            f"one of {tree.n_slices:,} slices of a tensor network (width {tree.width}) takes about "
            f"{seconds_text(seconds)}; limit {seconds_text(wanted.limits.seconds)}"
        )
    return Ranges(chosen, 1 << top - log2, tree.width, unsliced)
