"""Randomness by name: one root seed, one independent stream a purpose.

`stream(seed, "link", "a", "b")` always yields the same numbers, whatever other streams exist and
in whatever order they were made. The path is hashed (SHA3-256) to a spawn key of numpy's
`SeedSequence`; the bit generator is Philox-4x64, whose output numpy keeps stable across versions.
"""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["derive", "stream"]

PathPart = str | int | bytes


def _digest(path: tuple[PathPart, ...]) -> bytes:
    hasher = hashlib.sha3_256()
    for part in path:
        kind, raw = _raw(part)
        hasher.update(kind + len(raw).to_bytes(8, "big") + raw)
    return hasher.digest()


def _raw(part: PathPart) -> tuple[bytes, bytes]:
    if isinstance(part, bytes):
        return b"b", part
    if isinstance(part, str):
        return b"s", part.encode()
    return b"i", str(int(part)).encode()


def stream(seed: int, *path: PathPart) -> np.random.Generator:
    """The generator for one purpose.

    Args:
        seed: root seed, 0 <= seed < 2**128.
        path: the purpose, outermost word first; strings, integers or bytes.
    """
    digest = _digest(path)
    words = tuple(int.from_bytes(digest[i : i + 4], "big") for i in range(0, 32, 4))
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=words)))


def derive(seed: int, *path: PathPart, bits: int = 63) -> int:
    """An integer seed below 2**bits for a library that wants one (qulacs: 31, stim and Aer: 63)."""
    digest = _digest((int(seed), *path))
    return int.from_bytes(digest, "big") >> (256 - bits)
