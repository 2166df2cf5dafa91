"""Merkle trees: many leaves under one hash, and a short path that proves one of them.

Flow: receipts -> *levels* -> root (signed), paths (kept beside the leaves) -> *root_of_path* -> compare.
The tree of RFC 9162, section 2.1 (and RFC 6962), over SHA3-256 instead of SHA-256:

    leaf hash = H(0x00 | leaf)          the prefixes keep a node from passing for a leaf
    node hash = H(0x01 | left | right)
    left half = the largest power of two below the number of leaves

Building level by level, where a last node without a partner moves up as it is, gives the same tree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from qcommons.base.errors import PeerError, UsageError

__all__ = ["Levels", "levels", "path", "root", "root_of_path"]

Levels = list[list[bytes]]  # hashes of the leaves, of their parents, ..., the root alone
Hash = Callable[[bytes], Any]  # as in hashlib; another one in tests against published vectors

LEAF, NODE = b"\x00", b"\x01"


def levels(leaves: Sequence[bytes], hash_new: Hash = hashlib.sha3_256) -> Levels:
    """All hashes of the tree. Raises UsageError without leaves: nothing could be proved of it."""
    if not leaves:
        raise UsageError("a tree needs at least one leaf; got none", where="leaves", limit="1")
    tree = [[hash_new(LEAF + leaf).digest() for leaf in leaves]]
    while len(tree[-1]) > 1:
        below = tree[-1]
        above = [hash_new(NODE + left + right).digest() for left, right in zip(below[::2], below[1::2], strict=False)]
        tree.append(above + below[len(above) * 2 :])
    return tree


def root(tree: Levels) -> bytes:
    return tree[-1][0]


def path(tree: Levels, index: int) -> tuple[bytes, ...]:
    """Hashes that lead from leaf `index` to the root, lowest first (RFC 9162, section 2.1.3.1)."""
    if not 0 <= index < len(tree[0]):
        raise UsageError(f"leaf {index} of {len(tree[0])}; allowed 0 to {len(tree[0]) - 1}", where="index")
    steps, place = [], index
    for level in tree[:-1]:
        other = place ^ 1
        if other < len(level):
            steps.append(level[other])
        place >>= 1
    return tuple(steps)


def root_of_path(
    leaf: bytes, index: int, size: int, steps: Sequence[bytes], hash_new: Hash = hashlib.sha3_256
) -> bytes:
    """The root that `steps` lead to from `leaf` at `index` of `size` leaves (RFC 9162, section 2.1.3.2).

    Raises:
        PeerError: the index is outside the tree, or the path is longer or shorter than such a tree's.
    """
    if not 0 <= index < size:
        raise PeerError(f"leaf {index} of {size}; allowed 0 to {size - 1}", where="index")
    place, last = index, size - 1  # of the node and of the last node on this level
    digest: bytes = hash_new(LEAF + leaf).digest()
    left_over = len(steps)
    for step in steps:
        while place == last and not place & 1 and last:  # without a partner: moves up as it is
            place, last = place >> 1, last >> 1
        if not last:
            break
        pair = step + digest if place & 1 else digest + step
        digest = hash_new(NODE + pair).digest()
        place, last = place >> 1, last >> 1
        left_over -= 1
    if left_over or last:
        raise PeerError(f"{len(steps)} steps do not lead from leaf {index} of {size} to the root", where="length")
    return digest
