"""Slices of a tensor network against the unsliced contraction: work, memory, evenness, agreement.

The reference is the cheaper of two trees without slices, each looked for as long as the slices: of cotengra (restarts
of random greedy paths, annealed, their subtrees made best; CPU seconds) where it is installed, and of our own search
(counted steps). Each run holds an eighth of the reference's elements or less, and there are eight or more.
`python -m bench.slices [rows columns layers [seconds [seed [eighth of what]]]]` prints one row, where the last is
`best` (the reference) or `cotengra`; `bench.slices plan ...` contracts nothing. Not part of `make bench`: it takes
minutes.
"""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from qcommons.base.seeds import stream
from qcommons.circuits.program import Op
from qcommons.engines.tn_closed import Closed, amplitude
from qcommons.engines.tn_hops import Aim, sliced
from qcommons.engines.tn_search import searched
from qcommons.engines.tn_slices import contract
from qcommons.engines.tn_tree import Tree, read_tree
from qcommons.jobs.plan.slice import STEP_S
from qcommons.jobs.plan.slicing.ranges import WHOLE

SIZE = (6, 7, 16)
SEARCH_S = 20.0
SHARE = 3  # runs of an eighth of the memory, and eight of them or more
TIMED = 8
WHOLE_MAX = 2**26  # elements: a reference of 1 GiB a tensor is not contracted


class Found(NamedTuple):
    """theirs: cotengra's log2 of multiplications and of elements at once, or None. ours: our tree without slices."""

    theirs: tuple[float, float] | None
    ours: Tree
    tree: Tree
    seconds: float

    @property
    def reference(self) -> tuple[float, float]:
        """log2 of multiplications and of elements of the cheaper one."""
        mine = (math.log2(self.ours.multiplications()), math.log2(self.ours.peak_elements()))
        return min(mine, self.theirs or mine)


def grid(rows: int, columns: int, layers: int) -> list[Op]:
    """Random one-qubit gates, and cz on a quarter of the couplers in turn."""
    rng = stream(3, "bench", "slice")
    at = [[r * columns + c for c in range(columns)] for r in range(rows)]
    across = [[(row[c], row[c + 1]) for row in at for c in range(s, columns - 1, 2)] for s in (0, 1)]
    down = [[(at[r][c], at[r + 1][c]) for r in range(s, rows - 1, 2) for c in range(columns)] for s in (0, 1)]
    ops: list[Op] = []
    for layer in range(layers):
        ops += [Op("u", (q,), tuple(rng.uniform(0, 3, 3).tolist())) for q in range(rows * columns)]
        ops += [Op("cz", pair) for pair in (across + down)[layer % 4]]
    return ops


def cotengras(closed: Closed, seconds: float, seed: int) -> tuple[float, float] | None:
    """log2 of the multiplications and of the elements held at once, its copies counted as ours are (a product, its
    factors once more), along the best tree of `seconds` of CPU; None where it is not installed."""
    try:
        import cotengra
    except ImportError:
        return None
    inputs = [tuple(map(str, own)) for own in closed.axes]
    sizes = {str(index): 2 for index in range(closed.n_indices)}
    start, best, number = time.process_time(), None, 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while best is None or time.process_time() - start < seconds:
            draw = 1_000 * seed + number
            tree = cotengra.RandomGreedyOptimizer(max_repeats=32, seed=draw, accel=False).search(inputs, (), sizes)
            tree.simulated_anneal_(seed=draw, tsteps=50, numiter=10 + 20 * (number % 2))
            tree.subtree_reconfigure_(subtree_size=8, maxiter=30, seed=draw)
            if best is None or tree.contraction_cost() < best.contraction_cost():
                best = tree
            number += 1
    pairs = best.get_ssa_path()
    own = read_tree(closed.legs, [(int(a), int(b)) for a, b in pairs], ())
    return math.log2(own.multiplications()), math.log2(own.peak_elements())


def planned(closed: Closed, seed: int, search_s: float, against: str) -> Found:
    """Trees of one budget each."""
    theirs = cotengras(closed, search_s, seed)
    steps = int(search_s / STEP_S)
    best = searched(closed.legs, closed.owners, seed, steps)[0]
    ours = read_tree(closed.legs, best.pairs(), ())
    reference = Found(theirs, ours, ours, 0.0).reference
    if against == "cotengra" and theirs is not None:
        reference = theirs
    start = time.process_time()
    finders = searched(closed.legs, closed.owners, seed, int(WHOLE * steps))
    tree = sliced(finders, Aim(2.0 ** (reference[1] - SHARE), SHARE), steps - int(WHOLE * steps))
    return Found(theirs, ours, tree, time.process_time() - start)


def timed(closed: Closed, tree: Tree, precision: str) -> list[tuple[float, complex]]:
    """CPU seconds and values of the first slices, each alone."""
    rows = []
    for number in range(min(TIMED, tree.n_slices)):
        start = time.process_time()
        value = contract(closed, tree, number, 1, precision)
        rows.append((time.process_time() - start, value))
    return rows


def told(found: Found) -> str:
    """What was found, one row."""
    tree, ours = found.tree, found.ours
    work, held = found.reference
    runs = Aim(0.0, SHARE).work(tree)
    theirs = "-" if found.theirs is None else f"10^{found.theirs[0] * math.log10(2):.2f} holds 2^{found.theirs[1]:.1f}"
    over = "" if found.theirs is None else f" ({runs / 2 ** found.theirs[0]:.2f} x of cotengra's)"
    return (
        f"cotengra {theirs}; ours 10^{math.log10(ours.multiplications()):.2f} holds "
        f"2^{math.log2(ours.peak_elements()):.1f}; {tree.n_slices} slices, width {tree.width}, holds "
        f"2^{math.log2(tree.peak_elements()):.1f} (1/{2**held / tree.peak_elements():.1f}); in {1 << SHARE} runs "
        f"10^{math.log10(runs):.2f} = {runs / 2**work:.2f} x the best{over}, "
        f"{tree.n_slices * tree.multiplications() / 2**work:.2f} x slice by slice; search {found.seconds:.1f} s"
    )


def main(arguments: Sequence[str]) -> None:
    plan = arguments[:1] == ["plan"]
    arguments = arguments[plan:]
    rows, columns, layers = (int(a) for a in arguments[:3]) if len(arguments) >= 3 else SIZE
    search_s = float(arguments[3]) if len(arguments) > 3 else SEARCH_S
    seed = int(arguments[4]) if len(arguments) > 4 else 1
    n = rows * columns
    closed = amplitude(grid(rows, columns, layers), n, "0" * n)
    found = planned(closed, seed, search_s, arguments[5] if len(arguments) > 5 else "best")
    print(f"{rows} x {columns} x {layers}, {len(closed.legs)} tensors, seed {seed}, {search_s:.0f} s: {told(found)}")
    if not plan:
        contracted(closed, found)


def contracted(closed: Closed, found: Found) -> None:
    """Slices timed and compared; where it is small enough, with the whole too."""
    tree, values = found.tree, {}
    for precision in ("f64", "f32"):
        alone = timed(closed, tree, precision)
        seconds = np.array([s for s, _ in alone])
        values[precision] = np.array([value for _, value in alone])
        print(
            f"{precision}: {seconds.mean():.3f} s a slice, CV {seconds.std(ddof=1) / seconds.mean():.1%}, "
            f"{seconds.mean() / tree.multiplications() * 1e9:.2f} ns a multiplication"
        )
    gap = np.linalg.norm(values["f32"] - values["f64"]) / np.linalg.norm(values["f64"])
    print(f"f32 against f64, slice by slice: {gap:.1e} relative")
    if 3 * found.ours.peak_elements() < WHOLE_MAX * 4 and found.ours.multiplications() < 2e11:
        start = time.process_time()
        one = contract(closed, found.ours, 0, 1, "f64")
        whole_s = time.process_time() - start
        if tree.n_slices * tree.multiplications() < 2e11:
            start = time.process_time()
            sums = contract(closed, tree, 0, tree.n_slices, "f64")
            slices_s = time.process_time() - start
            print(f"whole {whole_s:.1f} s, slices {slices_s:.1f} s, apart {abs(sums - one) / abs(one):.1e} relative")


if __name__ == "__main__":
    main(sys.argv[1:])
