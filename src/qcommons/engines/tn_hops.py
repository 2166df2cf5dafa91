"""Slices of a tree, and the tree under these slices, improved together by hopping from one good pair to the next.

Flow: tn_search (trees, annealed) -> *sliced* (hops, each: put some indices back, slice others, anneal) -> Tree.
The tree that is cheapest whole is not the one that is cheapest in slices (Gray, Kourtis, arXiv:2002.01935, section on
slicing; Huang et al., arXiv:2005.06787): what counts here is the work that the runs do in the end, what their slices
share taken off, and the elements they hold. A hop that does not lower it is taken back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from qcommons.engines.records import SLICED_MAX
from qcommons.engines.tn_search import Finder
from qcommons.engines.tn_tree import Tree, read_tree

__all__ = ["Aim", "sliced"]

HOTS = (0.2, 0.5)  # of a hop, in log2 of the cost: hotter ones forget the tree, colder ones find nothing
SWEEPS = 60  # of a hop at most; fewer where the steps allow less than HOPS_MIN hops
HOPS_MIN = 8
DROPPED = 3  # sliced indices that a hop puts back, at most
NARROW = 0.25  # of the hops are to products half the size
TWINS = 4  # of each tree: where the first indices were chosen ill, hops seldom get away
TWIN_SWEEPS = 200  # that a twin should be worth: fewer steps make fewer twins
ROUNDS = 4  # the better half of the twins goes on, for as many steps together
QUICK = 2  # sweeps of annealing with which an index is tried
ALIVE = 3.0  # elements held at once, in units of the largest tensor: itself, and the copied factor it is made of
NARROWER = 4  # widths below that are tried where more is alive
ALONE = 0.02  # weight of the work that the slices would be one by one: it leads where the work of the runs is level


class Aim(NamedTuple):
    """elements: held at once by a run at most. least: indices whose values make the runs, so that there are 2**least
    of them or more; the other slices of a run share what they can."""

    elements: float
    least: int = 0
    most: int = SLICED_MAX

    def work(self, tree: Tree) -> float:
        """Multiplications of all 2**least runs."""
        runs = min(self.least, len(tree.sliced))
        return tree.multiplications(0, tree.n_slices >> runs) * 2.0**runs


class _Hopper:
    """A finder on its way to an aim. score: what is too much (bits of elements, indices short), then log2 of work."""

    def __init__(self, finder: Finder, aim: Aim) -> None:
        self.finder, self.aim = finder, aim
        begun = finder.steps
        self.width = max(int(math.log2(max(aim.elements / ALIVE, 1.0))), 0)
        finder.slice_to(self.width, QUICK, aim.most, aim.least)
        self.score = self._score()
        self.debt = finder.steps - begun

    def tree(self) -> Tree:
        return read_tree(self.finder.whole, self.finder.pairs(), self.finder.ordered())

    def _score(self) -> tuple[float, float]:
        tree, aim = self.tree(), self.aim
        excess = max(math.log2(max(tree.peak_elements(), 1.0)) - math.log2(max(aim.elements, 1.0)), 0.0)
        alone = math.log2(max(tree.multiplications(), 1.0)) + len(tree.sliced)
        work = math.log2(max(aim.work(tree), 1.0))
        return excess + max(aim.least - len(tree.sliced), 0), work + ALONE * alone

    def hop(self, sweeps: int) -> None:
        """Put a few indices back, anneal, slice again, anneal; kept if the score is no worse."""
        finder, aim, rng = self.finder, self.aim, self.finder.rng
        before = finder.state()
        hot, width = HOTS[int(rng.integers(len(HOTS)))], self.width - int(rng.random() < NARROW)
        dropped = min(int(rng.integers(DROPPED + 1)), len(finder.sliced))
        if dropped:
            finder.unslice(rng.choice(len(finder.sliced), dropped, replace=False).tolist())
            finder.anneal(max(sweeps // 3, 1), hot=hot, width=width)
        finder.slice_to(width, QUICK, aim.most, aim.least)
        finder.anneal(sweeps, hot=hot, width=width)
        finder.unslice_idle(width, aim.least)
        score = self._score()
        if score <= self.score:
            self.score = score
        else:
            finder.restore(before)

    def hop_for(self, steps: float) -> None:
        """Hops until `steps` of counted time are over, those of the first slicing among them."""
        until = self.finder.steps + steps - self.debt
        self.debt = 0
        sweeps = min(max(int(steps / (HOPS_MIN * 2 * max(self.finder.n, 1))), 1), SWEEPS)
        while self.finder.steps < until and self.finder.n > 2:
            self.hop(sweeps)

    def fit(self) -> None:
        """Slice more, where the aim is still missed."""
        for narrower in range(1, NARROWER + 1):
            if not self.score[0]:
                return
            self.finder.slice_to(self.width - narrower, QUICK, self.aim.most, self.aim.least)
            self.score = self._score()


def sliced(finders: Sequence[Finder], aim: Aim, steps: int) -> Tree:
    """The tree and slices of least work that reach the aim, or come nearest to it.

    Args:
        finders: trees of one network, the cheapest first; they are changed.
        steps: counted time (`Finder.steps`): in rounds, the better half of them goes on.
    """
    if not aim.least:
        whole = [read_tree(finder.whole, finder.pairs(), ()) for finder in finders[:1]]
        if whole[0].peak_elements() <= aim.elements:
            return whole[0]
    room = max(int(steps / (TWIN_SWEEPS * max(finders[0].n, 1))), 1)
    twins = [finder.twin(number) for number in range(TWINS) for finder in finders][:room]
    before = [twin.steps for twin in twins]
    hoppers = [_Hopper(twin, aim) for twin in twins]
    while len(hoppers) > 1:
        for hopper in hoppers:
            hopper.hop_for(steps / ROUNDS / len(hoppers))
        hoppers = sorted(hoppers, key=lambda hopper: hopper.score)[: len(hoppers) // 2]
    best = hoppers[0]  # takes what is left
    best.hop_for(steps - sum(twin.steps - begun for twin, begun in zip(twins, before, strict=True)))
    best.fit()
    return best.tree()
