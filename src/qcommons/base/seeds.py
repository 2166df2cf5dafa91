"""Randomness by name: one root seed, one independent stream a purpose.

`stream(seed, "link", "a", "b")` always yields the same numbers, whatever other streams exist and
in whatever order they were made. Seed and path are hashed (SHA3-256); half of the digest keys a
Philox-4x64 generator (Salmon et al., SC '11), whose output numpy keeps stable across versions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence

__all__ = ["derive", "derive_each", "stream"]

PathPart = str | int | bytes


class _Key(ISeedSequence):
    """A Philox key in the form numpy takes it: made directly, since a SeedSequence costs 20 us to mix it again."""

    __slots__ = ("words",)

    def __init__(self, words: Any) -> None:
        self.words = words

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> Any:
        if n_words != 2 or np.dtype(dtype) != np.uint64:
            raise ValueError(f"a Philox key is 2 words of uint64, not {n_words} of {dtype}")
        return self.words


def _encoded(part: PathPart) -> bytes:
    if isinstance(part, str):
        kind, own = b"s", part.encode()
    elif isinstance(part, bytes):
        kind, own = b"b", part
    else:
        kind, own = b"i", str(int(part)).encode()
    return kind + len(own).to_bytes(8, "big") + own


def _digest(path: tuple[PathPart, ...]) -> bytes:
    return hashlib.sha3_256(b"".join(map(_encoded, path))).digest()


def stream(seed: int, *path: PathPart) -> np.random.Generator:
    """The generator for one purpose: Philox-4x64, counter 0, key the last 16 bytes of the digest, little-endian.

    Args:
        seed: root seed, >= 0.
        path: the purpose, outermost word first; strings, integers or bytes.
    """
    if seed < 0:
        raise ValueError(f"seed {seed}; a non-negative one is needed")
    words = np.frombuffer(_digest((int(seed), *path)), "<u8", 2, 16)
    # numpy documents ISeedSequence; its stub names SeedSequence alone
    return np.random.Generator(np.random.Philox(_Key(words)))  # type: ignore[arg-type]


def derive(seed: int, *path: PathPart, bits: int = 63) -> int:
    """An integer seed below 2**bits for a library that wants one (qulacs: 31, stim and Aer: 63).

    The digest's first bits; a stream of the same seed and path is keyed by its last 128.
    """
    digest = _digest((int(seed), *path))
    return int.from_bytes(digest, "big") >> (256 - bits)


def derive_each(seed: int, *path: PathPart, count: int, bits: int = 63) -> Iterator[int]:
    """`derive(seed, *path, index)` for index 0 to count - 1; the seed and the path are hashed once."""
    head = hashlib.sha3_256(b"".join(map(_encoded, (int(seed), *path))))
    for index in range(count):
        own = head.copy()
        own.update(_encoded(index))
        yield int.from_bytes(own.digest(), "big") >> (256 - bits)
