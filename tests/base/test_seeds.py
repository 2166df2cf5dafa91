"""Streams: the same numbers by name, everywhere and always."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcommons.base.seeds import derive, derive_each, stream

PATHS = st.lists(st.text(max_size=8) | st.integers() | st.binary(max_size=8), max_size=4).map(tuple)


@pytest.mark.parametrize(
    ("seed", "path", "words"),
    [
        (0, (), [6888268270033440136, 15144339546187668421, 10213436976795026654]),
        (42, ("shots",), [10383396319353843610, 12700872471613417705, 3439605488474876516]),
        (2**127, ("link", "a", 3, b"\x00"), [2366428097210520727, 18320570242890492322, 13934514926990756175]),
    ],
)
def test_golden_values_of_streams(seed: int, path: tuple[str | int | bytes, ...], words: list[int]) -> None:
    """First 64-bit words, recorded once: published results name a seed and must repeat years later."""
    assert stream(seed, *path).integers(0, 2**64, size=3, dtype=np.uint64).tolist() == words


def test_golden_values_of_derived_seeds() -> None:
    """Written out with hashlib alone: length-prefixed, typed parts, SHA3-256, leading bits."""
    raw = b"i" + (1).to_bytes(8, "big") + b"7" + b"s" + (4).to_bytes(8, "big") + b"stim"
    expected = int.from_bytes(hashlib.sha3_256(raw).digest(), "big") >> 193
    assert derive(7, "stim") == expected
    assert derive(7, "stim", bits=31) == expected >> 32 < 2**31


def test_a_stream_is_philox_keyed_by_half_the_digest() -> None:
    """Key written out with hashlib; numpy's own Philox takes it as one little-endian integer."""
    raw = b"i" + (1).to_bytes(8, "big") + b"7" + b"s" + (4).to_bytes(8, "big") + b"stim"
    key = int.from_bytes(hashlib.sha3_256(raw).digest()[16:], "little")
    plain = np.random.Generator(np.random.Philox(key=key))
    assert stream(7, "stim").integers(2**62, size=5).tolist() == plain.integers(2**62, size=5).tolist()


def test_a_stream_does_not_depend_on_the_streams_made_before_it() -> None:
    alone = stream(1, "link", "a", "b").random(4)
    for name in ("x", "y", "z"):
        stream(1, name).random(100)
    assert np.array_equal(stream(1, "link", "a", "b").random(4), alone)


@given(PATHS, PATHS)
def test_different_paths_give_different_streams(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    """Also ("ab", "c") and ("a", "bc"), 1 and "1", "a" and b"a"."""
    same_path = [(type(part), part) for part in one] == [(type(part), part) for part in other]
    assert (derive(3, *one) == derive(3, *other)) == same_path
    assert np.array_equal(stream(3, *one).bytes(16), stream(3, *other).bytes(16)) == same_path


def test_order_of_a_path_matters() -> None:
    assert derive(1, "a", "b") != derive(1, "b", "a")


def test_sibling_streams_are_uncorrelated() -> None:
    """64 streams of 4,096 normals: no pair correlates beyond 6 sigma (1/sqrt(4096)).

    2,016 pairs at 2e-9 each: a false alarm once in 250,000 seeds; the seed is fixed.
    """
    draws = np.array([stream(11, "node", i).standard_normal(4096) for i in range(64)])
    correlations = np.corrcoef(draws)[np.triu_indices(64, 1)]
    assert np.abs(correlations).max() < 6 / 64
    assert abs(draws.mean()) < 5 / np.sqrt(draws.size)  # 5 sigma: 6e-7


def test_streams_do_not_depend_on_pythons_hash_seed() -> None:
    code = "from qcommons.base.seeds import stream; print(stream(5, 'a', 2, b'c').integers(2**63))"
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert said == {f"{stream(5, 'a', 2, b'c').integers(2**63)}\n"}


def test_seeds_outside_the_range_are_refused() -> None:
    with pytest.raises(ValueError, match="non-negative"):
        stream(-1, "a")


def test_seeds_of_a_row_are_those_derived_one_by_one() -> None:
    row = list(derive_each(2**70 + 5, "run", b"x", count=25))
    assert row == [derive(2**70 + 5, "run", b"x", index) for index in range(25)]
