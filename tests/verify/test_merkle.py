"""Merkle trees against the published ones of Certificate Transparency, and against forged paths."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from qcommons.base.errors import PeerError, UsageError
from qcommons.verify.merkle import levels, path, root, root_of_path

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "verify" / "merkle.json").read_text())
LEAVES = [bytes.fromhex(leaf) for leaf in VECTORS["leaves"]]


@pytest.mark.parametrize("size", range(1, 9))
def test_published_roots_stand(size: int) -> None:
    assert root(levels(LEAVES[:size], hashlib.sha256)).hex() == VECTORS["sha256_roots"][size - 1]


@pytest.mark.parametrize(("index", "size", "steps"), VECTORS["sha256_paths"])
def test_published_paths_stand(index: int, size: int, steps: list[str]) -> None:
    found = path(levels(LEAVES[:size], hashlib.sha256), index)
    assert [step.hex() for step in found] == steps
    assert root_of_path(LEAVES[index], index, size, found, hashlib.sha256).hex() == VECTORS["sha256_roots"][size - 1]


def by_definition(leaves: list[bytes]) -> bytes:
    """RFC 9162, section 2.1.1, word for word, over SHA3-256."""
    if len(leaves) == 1:
        return hashlib.sha3_256(b"\x00" + leaves[0]).digest()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha3_256(b"\x01" + by_definition(leaves[:half]) + by_definition(leaves[half:])).digest()


@pytest.mark.parametrize("size", [*range(1, 34), 100])
def test_every_path_leads_to_the_root_of_the_definition(size: int) -> None:
    leaves = [bytes([number]) for number in range(size)]
    tree = levels(leaves)
    assert root(tree) == by_definition(leaves)
    for index, leaf in enumerate(leaves):
        steps = path(tree, index)
        assert len(steps) <= (size - 1).bit_length()
        assert root_of_path(leaf, index, size, steps) == root(tree)


@given(st.integers(1, 40), st.data())
def test_no_other_index_size_or_length_is_believed(size: int, data: st.DataObject) -> None:
    leaves = [bytes([number]) for number in range(size)]
    tree = levels(leaves)
    index = data.draw(st.integers(0, size - 1))
    steps = path(tree, index)
    other_index = data.draw(st.integers(-2, size + 2))
    other_steps = data.draw(st.sampled_from([steps, steps[:-1], steps[1:], (*steps, root(tree)), (leaves[0], *steps)]))
    assume((other_index, other_steps) != (index, steps))
    try:
        found = root_of_path(leaves[index], other_index, size, other_steps)
    except PeerError as error:
        assert error.where in ("index", "length")
    else:
        assert found != root(tree)


def test_a_node_cannot_pass_for_a_leaf() -> None:
    """Without the prefixes the two upper hashes of four leaves would prove themselves as leaves of a tree of two."""
    tree = levels(LEAVES[:4])
    left, right = tree[1]
    with_prefix = root_of_path(left + right, 0, 1, ())
    assert with_prefix != root(tree)


def test_empty_trees_and_foreign_places_are_refused() -> None:
    with pytest.raises(UsageError, match="at least one"):
        levels([])
    with pytest.raises(UsageError, match="0 to 2"):
        path(levels(LEAVES[:3]), 3)
    with pytest.raises(PeerError):
        root_of_path(b"", 0, 0, ())
