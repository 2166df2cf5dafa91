"""Slices of a tensor network against the unsliced contraction of the same search: work, memory, evenness, agreement.

The reference is the best tree that the same search found without slicing, in the same counted steps; where it is small
enough it is contracted too. `python -m bench.slices [rows columns layers [seconds]]` prints one row; not part of
`make bench`, for it takes minutes.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence

import numpy as np

from qcommons.base.seeds import stream
from qcommons.circuits.program import Op
from qcommons.engines.tn_closed import Closed, amplitude
from qcommons.engines.tn_search import searched
from qcommons.engines.tn_slices import contract
from qcommons.engines.tn_tree import Tree, read_tree

SIZE = (6, 7, 16)
SEARCH_S = 20.0
STEP_S = 2e-6  # jobs/plan/slice.py
SHARE = 3  # slices in an eighth of the memory, and eight of them or more
TIMED = 8
WHOLE_MAX = 2**26  # elements: a reference of 1 GiB a tensor is not contracted


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


def planned(closed: Closed, seed: int, steps: int) -> tuple[Tree, Tree]:
    """The unsliced tree and the sliced one."""
    finders = searched(closed.legs, closed.owners, seed, steps)
    whole = read_tree(closed.legs, finders[0].pairs(), ())
    width = finders[0].width()
    trees = []
    for finder in finders:
        for room in range(2):
            finder.slice_within(width - SHARE - room, steps // len(finders), 40, SHARE)
            trees.append(read_tree(closed.legs, finder.pairs(), finder.ordered()))
    small = [tree for tree in trees if tree.peak_elements() * 2**SHARE <= whole.peak_elements()]
    if not small:
        raise SystemExit("no slices of an eighth of the memory")
    return whole, min(small, key=lambda tree: tree.multiplications() * tree.n_slices)


def timed(closed: Closed, tree: Tree, precision: str) -> list[tuple[float, complex]]:
    """CPU seconds and values of the first slices, each alone."""
    rows = []
    for number in range(min(TIMED, tree.n_slices)):
        start = time.process_time()
        value = contract(closed, tree, number, 1, precision)
        rows.append((time.process_time() - start, value))
    return rows


def main(arguments: Sequence[str]) -> None:
    rows, columns, layers = (int(a) for a in arguments[:3]) if len(arguments) >= 3 else SIZE
    search_s = float(arguments[3]) if len(arguments) > 3 else SEARCH_S
    n = rows * columns
    closed = amplitude(grid(rows, columns, layers), n, "0" * n)
    start = time.process_time()
    whole, tree = planned(closed, 1, int(search_s / STEP_S))
    found_s = time.process_time() - start
    work, count = whole.multiplications(), tree.n_slices
    print(f"{rows} x {columns} x {layers}: {len(closed.legs)} tensors, search {found_s:.1f} s of CPU")
    print(f"unsliced 10^{math.log10(work):.2f} multiplications, width {whole.width}, {whole.peak_elements():.3g} held")
    share = whole.peak_elements() / tree.peak_elements()
    print(
        f"{count} slices, width {tree.width}, {tree.peak_elements():.3g} held (1/{share:.1f}), "
        f"work {count * tree.multiplications() / work:.2f} x alone, "
        f"{tree.multiplications(0, count) / work:.2f} x in one range"
    )
    values = {}
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
    if 3 * whole.peak_elements() < WHOLE_MAX * 4 and work < 2e11:
        start = time.process_time()
        one = contract(closed, whole, 0, 1, "f64")
        whole_s = time.process_time() - start
        if count * tree.multiplications() < 2e11:
            start = time.process_time()
            sums = contract(closed, tree, 0, count, "f64")
            slices_s = time.process_time() - start
            print(f"whole {whole_s:.1f} s, slices {slices_s:.1f} s, apart {abs(sums - one) / abs(one):.1e} relative")


if __name__ == "__main__":
    main(sys.argv[1:])
