"""Contraction trees of closed networks whose indices have dimension 2: what they cost, told before anything is made.

Flow: tree and slices, perhaps a stranger's -> *read_tree* (a tree of this very network, or UsageError) -> *Tree* ->
`multiplications`, `peak_elements` -> limits -> tn_slices. A tree of N tensors is N - 1 pairs; tensor N + k is the
product of pair k. Sets of indices are bits of one integer: the indices of a product are the exclusive or of its
factors', for each index is on two tensors.

Slices are numbered in binary, the first sliced index slowest. A product that no sliced index touches is the same in all
slices, one that only the first L touch changes 2**L times: its *level* is L, and a range of slices computes it that
often and keeps it in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qcommons.base.errors import UsageError
from qcommons.engines.records import SLICED_MAX

__all__ = ["Tree", "power", "read_tree"]

COPIES = 1  # of both factors, made when their axes are put in the order that a matrix product needs
WIDTH_MAX = 500  # larger tensors count as 2**500 elements: a stranger's tree may have sums that no float holds


def power(width: int) -> float:
    """2**width, at most 2**500."""
    return 2.0 ** min(width, WIDTH_MAX)


@dataclass(frozen=True, slots=True)
class Tree:
    """legs: of every tensor and product, sliced indices left out, in `pairs` order. levels: likewise."""

    pairs: tuple[tuple[int, int], ...]
    legs: tuple[int, ...]
    levels: tuple[int, ...]
    sliced: tuple[int, ...]

    @property
    def n_tensors(self) -> int:
        return len(self.pairs) + 1

    @property
    def n_slices(self) -> int:
        return 1 << len(self.sliced)

    @property
    def width(self) -> int:
        """Of the largest tensor: it has 2**width elements."""
        return max(legs.bit_count() for legs in self.legs)

    def multiplications(self, first: int = 0, count: int = 1) -> float:
        """Complex multiplications of slices first .. first + count - 1, one after the other."""
        slow = [0.0] * (len(self.sliced) + 1)
        for k, (a, b) in enumerate(self.pairs, self.n_tensors):
            slow[self.levels[k]] += power((self.legs[a] | self.legs[b]).bit_count())
        last, top = first + count - 1, len(self.sliced)
        return sum(each * ((last >> top - level) - (first >> top - level) + 1) for level, each in enumerate(slow))

    def peak_elements(self) -> float:
        """Held at once at most: products that are still needed, copies of the factors at work, and the product."""
        uses = {child: k for k, pair in enumerate(self.pairs, self.n_tensors) for child in pair}
        live = peak = 0.0
        for k, pair in enumerate(self.pairs, self.n_tensors):
            made = power(self.legs[k].bit_count())
            taken = [power(self.legs[child].bit_count()) for child in pair]
            peak = max(peak, live + made + COPIES * sum(taken))
            live += made
            for child, size in zip(pair, taken, strict=True):
                if child >= self.n_tensors and self.levels[child] == self.levels[uses[child]]:
                    live -= size
        return peak


def read_tree(legs: Sequence[int], pairs: Sequence[tuple[int, int]], sliced: Sequence[int]) -> Tree:
    """The tree of a network of tensors with these `legs`, checked in time linear in its size.

    Raises:
        UsageError: `pairs` is no tree over these tensors, or `sliced` names no indices of it.
    """
    n, everything = len(legs), 0
    for own in legs:
        everything |= own
    if len(pairs) != max(n - 1, 0):
        raise UsageError(f"{len(pairs)} pairs; a tree of {n} tensors has {max(n - 1, 0)}", where="tree")
    if len(sliced) > SLICED_MAX or len(set(sliced)) < len(sliced):
        raise UsageError(f"{len(sliced)} sliced indices; at most {SLICED_MAX} different ones", where="sliced")
    for index in sliced:
        if not 0 <= index < everything.bit_length() or not everything >> index & 1:
            raise UsageError(f"index {index} is not one of the network's {everything.bit_length()}", where="sliced")
    fixed = sum(1 << index for index in sliced)
    touched, left = list(legs), [own & ~fixed for own in legs]
    free = [True] * n
    for k, (a, b) in enumerate(pairs, n):
        if not 0 <= a < k or not 0 <= b < k or a == b or not free[a] or not free[b]:
            raise UsageError(f"pair {k - n} is ({a}, {b}): two different tensors not yet used are needed", where="tree")
        free[a] = free[b] = False
        free.append(True)
        left.append(left[a] ^ left[b])
        touched.append(touched[a] | touched[b])
    order = list(enumerate(sliced, 1))
    levels = tuple(max((place for place, index in order if own >> index & 1), default=0) for own in touched)
    return Tree(tuple((a, b) for a, b in pairs), tuple(left), levels, tuple(sliced))
