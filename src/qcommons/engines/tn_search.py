"""Look for a contraction tree: steps are counted, so a seed gives the same tree anywhere.

Flow: Closed -> *searched* (starts, annealed) -> tn_hops (indices to slice, tree and slices improved together).
Annealing follows Kalachev, Panteleev, Yung (arXiv:2108.05665): at a product of ((A B) C) the two other
orders are tried, and one is taken by the change of log2 of their cost alone, so that small subtrees are improved as
readily as large ones. It starts from a sensible tree: tensors of one qubit first, then qubits as they are coupled.
"""

from __future__ import annotations

import copy
import heapq
import math
from collections.abc import Callable, Sequence

import numpy as np

from qcommons.base.seeds import derive, stream
from qcommons.engines.tn_tree import power

__all__ = ["Finder", "searched"]

HOT, COLD = 1.5, 0.05  # temperatures of an annealing, in units of log2 of the cost
WARM = 0.3  # start of a short one, after an index was sliced
STARTS, SWEEPS_MIN = 8, 100  # starts, each worth so many sweeps
FIRST = 0.3  # share of the steps for the first annealing of all starts; the rest goes to the FINALISTS
FINALISTS = 2  # the cheapest tree is not always the one that slices best
AGAIN, HOTS = 250, (0.5, 0.8)  # sweeps, and temperatures in turn by luck, of annealings of a finalist
OVER = 4.0  # price, in log2 of the cost, of each doubling of a product above the size aimed at
TRIED = 6  # indices tried for each next one to slice
FLAT = 8  # products 2**8 below the largest tensor hardly count when an index is chosen
COVER = 0.5  # weight of being on the largest tensors against the work touched
GREEDY_NOISE = 0.3  # spread of the greedy start's choices, in bits
FAR = 64  # bits: of two costs so far apart the smaller does not count
SOFT = [math.log2(1.0 + 2.0**d) for d in (*range(FAR), *range(-FAR, 0))]  # log2(2**x + 2**y) = x + SOFT[y - x]

State = tuple[list[tuple[int, int]], list[int], list[int]]


class Finder:
    """A tree over tensors with `legs` (bits of integers, each index on two tensors), improved step by step.

    legs: sliced indices taken out. children: of product k (from number n on). steps: pairs of products looked at, for
    counted time: about 3 microseconds each.
    """

    def __init__(self, legs: Sequence[int], owners: Sequence[int], seed: int) -> None:
        self.whole = list(legs)
        self.n = len(legs)
        self.sliced: list[int] = []
        self.seed = seed
        self.rng = stream(seed, "tn", "search")
        self.steps = 0
        pairs = _start(legs, owners, self.rng)
        self.children: list[tuple[int, int]] = [(-1, -1)] * self.n + pairs
        self.legs: list[int] = []
        self._refresh()

    def twin(self, number: int) -> Finder:
        """The same tree, with luck of its own."""
        other = copy.copy(self)
        other.rng = stream(self.seed, "tn", "twin", number)
        other.restore(self.state())
        return other

    # what the tree costs

    def cost(self) -> float:
        """Multiplications of one slice."""
        legs = self.legs
        return float(sum(power((legs[a] | legs[b]).bit_count()) for a, b in self.children[self.n :]))

    def width(self) -> int:
        return max(own.bit_count() for own in self.legs)

    # annealing

    def anneal(self, sweeps: int, hot: float = HOT, cold: float = COLD, width: int = 1 << 20) -> None:
        """`sweeps` visits of every product while the temperature falls; products above 2**width are dear."""
        if self.n < 3:
            return
        for temperature in np.geomspace(hot, cold, sweeps).tolist():
            order = self.rng.permutation(np.arange(self.n, 2 * self.n - 1)).tolist()
            sides = self.rng.integers(4, size=len(order)).tolist()
            lucks = self.rng.exponential(temperature, len(order)).tolist()
            for k, side, luck in zip(order, sides, lucks, strict=True):
                self._try(k, side, luck, width)
            self.steps += len(order)

    def anneal_for(self, steps: float) -> None:
        """Annealings from lower temperatures until `steps` are over; what made the tree dearer is taken back."""
        until = self.steps + steps
        while self.n > 2 and self.steps < until:
            before, cost = self.state(), self.cost()
            sweeps = min(AGAIN, int((until - self.steps) / self.n) + 1)
            self.anneal(sweeps, hot=HOTS[int(self.rng.integers(len(HOTS)))])
            if self.cost() > cost:
                self.restore(before)

    def _try(self, k: int, side: int, luck: float, width: int) -> None:
        """Product k of ((A B) C): perhaps ((A C) B) or ((B C) A) is better. A move is taken if it costs < luck."""
        legs, children = self.legs, self.children
        inner, c = children[k]
        if (side & 1 and c >= self.n) or inner < self.n:
            inner, c = c, inner
        if inner < self.n:
            return
        a, b = children[inner]
        if side & 2:
            a, b = b, a
        la, lb, lc = legs[a], legs[b], legs[c]
        old, new = la ^ lb, la ^ lc
        now = _log2_sum((la | lb).bit_count(), (old | lc).bit_count())
        then = _log2_sum((la | lc).bit_count(), (new | lb).bit_count())
        loss = then - now
        was, is_ = old.bit_count(), new.bit_count()
        if was > width or is_ > width:
            loss += OVER * (max(is_ - width, 0) - max(was - width, 0))
        if loss < luck:
            children[inner], children[k] = (a, c), (inner, b)
            legs[inner] = new

    def _refresh(self) -> None:
        """Legs of all products anew, children before parents."""
        fixed = sum(1 << index for index in self.sliced)
        legs = [own & ~fixed for own in self.whole] + [0] * (self.n - 1)
        for k in self._bottom_up():
            a, b = self.children[k]
            legs[k] = legs[a] ^ legs[b]
        self.legs = legs

    def _bottom_up(self) -> list[int]:
        order, stack = [], [2 * self.n - 2] if self.n > 1 else []
        while stack:
            k = stack.pop()
            order.append(k)
            stack += [child for child in self.children[k] if child >= self.n]
        return order[::-1]

    # slices

    def slice_to(self, width: int, sweeps: int, most: int, least: int = 0) -> None:
        """Slice until no product is above 2**width, and at least `least` indices are sliced; `most` ends it.

        Each next index is the best of a few, each tried with `sweeps` of annealing.
        """
        while (self.width() > width or len(self.sliced) < least) and len(self.sliced) < most:
            before = len(self.sliced)
            self._slice_one(width, sweeps)
            if len(self.sliced) == before:  # no index is left
                return

    def unslice(self, places: Sequence[int]) -> None:
        """Put the sliced indices at these places back."""
        self.sliced = [index for place, index in enumerate(self.sliced) if place not in places]
        self._refresh()

    def unslice_idle(self, width: int, least: int) -> None:
        """Put back what no product needs to stay within 2**width; at least `least` indices stay sliced."""
        for index in tuple(self.sliced):
            if len(self.sliced) <= least:
                return
            before = self.state()
            self.unslice((self.sliced.index(index),))
            if self.width() > width:
                self.restore(before)

    def _slice_one(self, width: int, sweeps: int) -> None:
        """The best of a few; where no index is left, nothing is sliced."""
        before = self.state()
        best: tuple[float, State] | None = None
        for index in self._candidates(width):
            self.restore(before)
            self.sliced.append(index)
            self._refresh()
            self.anneal(sweeps, hot=WARM, width=width)
            score = self._score(width)
            if best is None or score < best[0]:
                best = (score, self.state())
        if best is not None:
            self.restore(best[1])

    def _score(self, width: int) -> float:
        """log2 of the work of all slices, and a price for products that are too large."""
        return math.log2(self.cost() or 1.0) + len(self.sliced) + OVER * max(self.width() - width, 0)

    def _candidates(self, width: int) -> list[int]:
        """Indices whose slicing adds least work, and of those that the largest products have.

        Slicing halves what it touches and doubles the number of slices: what it does not touch is done twice.
        """
        top = self.width()
        share: dict[int, float] = {}
        covers: dict[int, int] = {}
        for a, b in self.children[self.n :]:
            joint = self.legs[a] | self.legs[b]
            if joint.bit_count() > top - FLAT:
                for index in _bits(joint):
                    share[index] = share.get(index, 0.0) + power(joint.bit_count())
            if max(self.legs[a].bit_count(), self.legs[b].bit_count()) == top > width:
                for index in _bits(joint):
                    covers[index] = covers.get(index, 0) + 1
        total, most = sum(share.values()) or 1.0, max(covers.values(), default=1)
        ranked = sorted(share, key=lambda index: (-share[index] / total - COVER * covers.get(index, 0) / most, index))
        return ranked[:TRIED]

    def state(self) -> State:
        """Of the tree and its slices; `restore` takes it back to it."""
        return list(self.children), list(self.legs), list(self.sliced)

    def restore(self, state: State) -> None:
        self.children, self.legs, self.sliced = (list(rows) for rows in state)  # type: ignore[assignment]

    # the tree as others read it

    def ordered(self) -> list[int]:
        """The sliced indices, slowest first: what the fast ones do not touch is computed less.

        From the fastest on, each next one is that which touches least of what no faster one does.
        """
        touched = list(self.whole) + [0] * (self.n - 1)
        rows: list[tuple[int, float]] = []
        for k in self._bottom_up():
            a, b = self.children[k]
            touched[k] = touched[a] | touched[b]
            rows.append((touched[k], power((self.legs[a] | self.legs[b]).bit_count())))
        left, order = sorted(self.sliced), []
        while left:
            work = {index: sum(each for own, each in rows if own >> index & 1) for index in left}
            order.append(min(left, key=lambda index: (work[index], index)))
            left.remove(order[-1])
            rows = [row for row in rows if not row[0] >> order[-1] & 1]
        return order[::-1]

    def pairs(self) -> list[tuple[int, int]]:
        """Depth first, the factor that needs more room first, so that little is held at once."""
        room: dict[int, float] = {}
        n = self.n
        for k in self._bottom_up():
            sizes = [(room.get(child, 0.0), power(self.legs[child].bit_count()), child) for child in self.children[k]]
            sizes.sort(key=lambda row: row[1] - row[0])
            (need, size, first), (other, _, second) = sizes
            own = power(self.legs[k].bit_count())
            room[k] = max(need, size + other, 2 * sum(row[1] for row in sizes) + own)
            self.children[k] = (first, second)
        names: dict[int, int] = {}
        out: list[tuple[int, int]] = []
        stack = [2 * n - 2] if n > 1 else []
        while stack:
            k = stack[-1]
            waiting = [child for child in self.children[k] if child >= n and child not in names]
            if waiting:
                stack.append(waiting[0])
                continue
            stack.pop()
            a, b = (names.get(child, child) for child in self.children[k])
            names[k] = n + len(out)
            out.append((a, b))
        return out


def searched(legs: Sequence[int], owners: Sequence[int], seed: int, steps: int) -> list[Finder]:
    """Trees not sliced, the cheapest first: the best of some starts, annealed again and again.

    Args:
        steps: counted time (`Finder.steps`); a network so large that they are too few is given a short annealing.
    """
    n = max(len(legs), 1)
    starts = max(1, min(STARTS, int(FIRST * steps / (SWEEPS_MIN * n))))
    finders = [Finder(legs, owners, derive(seed, "tn", "start", number)) for number in range(starts)]
    for finder in finders:
        finder.anneal(max(int(FIRST * steps / (starts * n)), SWEEPS_MIN // 2))
    finalists = sorted(finders, key=Finder.cost)[:FINALISTS]
    left = (steps - sum(finder.steps for finder in finders)) / len(finalists)
    for finder in finalists:
        finder.anneal_for(left)
    return sorted(finalists, key=Finder.cost)


def _start(legs: Sequence[int], owners: Sequence[int], rng: np.random.Generator) -> list[tuple[int, int]]:
    """Tensors of a qubit one after the other, then qubits greedily: the pair whose product grows least."""
    own = list(legs)
    pairs: list[tuple[int, int]] = []

    def joined(a: int, b: int) -> int:
        pairs.append((a, b))
        own.append(own[a] ^ own[b])
        return len(own) - 1

    roots: dict[int, int] = {}
    for k, owner in enumerate(owners):
        roots[owner] = joined(roots[owner], k) if owner in roots else k
    _greedily(list(roots.values()), own, joined, rng)
    return pairs


def _greedily(nodes: list[int], own: list[int], joined: Callable[[int, int], int], rng: np.random.Generator) -> None:
    """Join all `nodes`; what shares no index comes last."""
    holders: dict[int, list[int]] = {}
    for node in nodes:
        for index in _bits(own[node]):
            holders.setdefault(index, []).append(node)
    heap: list[tuple[float, int, int]] = []
    near: dict[int, set[int]] = {node: set() for node in nodes}

    def propose(a: int, b: int) -> None:
        growth = (own[a] ^ own[b]).bit_count() - max(own[a].bit_count(), own[b].bit_count())
        heapq.heappush(heap, (growth + GREEDY_NOISE * float(rng.normal()), a, b))
        near[a].add(b)
        near[b].add(a)

    for a, b in sorted({(pair[0], pair[1]) for pair in holders.values() if len(pair) == 2}):
        propose(a, b)
    while heap:
        _, a, b = heapq.heappop(heap)
        if a not in near or b not in near:
            continue
        others = sorted((near.pop(a) | near.pop(b)) - {a, b})
        made = joined(a, b)
        near[made] = set()
        for other in others:
            near[other] -= {a, b}
            propose(other, made)
    left = sorted(near)
    while len(left) > 1:
        left.append(joined(left.pop(), left.pop()))


def _log2_sum(x: int, y: int) -> float:
    """log2(2**x + 2**y)."""
    gap = y - x
    return x + SOFT[gap] if -FAR < gap < FAR else float(max(x, y))


def _bits(mask: int) -> list[int]:
    found = []
    while mask:
        low = mask & -mask
        found.append(low.bit_length() - 1)
        mask ^= low
    return found
