"""Contract a range of slices of a closed network: the sum over some values of the sliced indices.

Flow: Closed, Tree (checked and priced) -> *contract* -> one complex number. Each product is one matrix product. A
product is computed again only when a sliced index that touches it has changed (its level, tn_tree), so what does not
depend on the slice is computed once a range.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcommons.engines.records import CapExceeded
from qcommons.engines.tn_closed import Closed
from qcommons.engines.tn_tree import Tree

__all__ = ["contract"]

DTYPES: dict[str, type[np.complexfloating[Any, Any]]] = {"f64": np.complex128, "f32": np.complex64}
Tensor = NDArray[Any]
Product = tuple[int, int, int, tuple[int, ...], tuple[int, ...]]  # k, a, b, shared axes of a and of b


def contract(
    closed: Closed, tree: Tree, first: int, count: int, precision: str, over: Callable[[], bool] = lambda: False
) -> complex:
    """Sum of slices first .. first + count - 1, the closed network's phase included.

    Args:
        precision: "f64" or "f32", of the products; slices are added in float64.
        over: asked before each slice; True ends the range.

    Raises:
        CapExceeded: `over` said so.
    """
    dtype = DTYPES[precision]
    top, n = len(tree.sliced), tree.n_tensors
    leaves = [array.astype(dtype) for array in closed.arrays]
    products, kept = _plan(closed, tree)
    held: dict[int, Tensor] = {}
    total, before = 0.0 + 0.0j, -1
    for number in range(first, first + count):
        if over():
            raise CapExceeded(f"slice {number - first} of {count}: past the time limit", (number - first) / count)
        # the slowest index that changed: all products of a higher level are new
        level = 0 if before < 0 else top - (number ^ before).bit_length() + 1
        bits = {index: number >> top - 1 - place & 1 for place, index in enumerate(tree.sliced)}
        for k in range(n):
            if before < 0 or tree.levels[k] >= level:
                held[k] = leaves[k][tuple(bits.get(index, slice(None)) for index in closed.axes[k])]
        for k, a, b, on_a, on_b in products:
            if before >= 0 and tree.levels[k] < level:
                continue
            held[k] = np.tensordot(held[a], held[b], (on_a, on_b))
            for child in (a, b):
                if not kept[child]:
                    del held[child]
        total += complex(held[n + len(products) - 1])
        before = number
    return total * closed.phase


def _plan(closed: Closed, tree: Tree) -> tuple[list[Product], list[bool]]:
    """Axes of each product, and which tensors outlive their use."""
    fixed = set(tree.sliced)
    axes = [tuple(index for index in own if index not in fixed) for own in closed.axes]
    products: list[Product] = []
    kept = [True] * tree.n_tensors
    for k, (a, b) in enumerate(tree.pairs, tree.n_tensors):
        shared = [index for index in axes[a] if index in axes[b]]
        on_a, on_b = tuple(axes[a].index(i) for i in shared), tuple(axes[b].index(i) for i in shared)
        axes.append(tuple(index for index in (*axes[a], *axes[b]) if index not in shared))
        products.append((k, a, b, on_a, on_b))
        kept.append(True)
    for k, a, b, _, _ in products:
        for child in (a, b):
            kept[child] = child < tree.n_tensors or tree.levels[child] < tree.levels[k]
    return products, kept
