"""Beats: signs of life that only their owner can make, without a signature each.

Flow: 32 secret bytes -> *Chain* -> anchor (in the signed record), one value a beat -> peers -> *follows*. Lamport's
chain of hashes (DOI 10.1145/358790.358797): whoever knows the value at `count` can make all before it and none after.

    value(CHAIN) = H(secret), value(count - 1) = H(value(count)), anchor = value(0)
    H(x) = first 16 bytes of SHA3-256("qcommons/beat.1" | x)

16 bytes: to find the next value takes 2^128 hashes, or 2^64 in sequence with a quantum computer's search, and a chain
lives for an hour. The value at FAREWELL, the last one, says that its owner left. docs/protocol/beats.md has vectors.
"""

from __future__ import annotations

import hashlib

from qcommons.base.errors import UsageError

__all__ = ["CHAIN_BEATS", "FAREWELL", "VALUE_BYTES", "Chain", "follows", "step"]

VALUE_BYTES = 16
CHAIN_BEATS = 1_800  # an hour of a beat each 2 s; a reader that missed all of them hashes for a millisecond
FAREWELL = CHAIN_BEATS  # the place of the value that is opened only on leaving
DOMAIN = b"qcommons/beat.1"


def step(value: bytes) -> bytes:
    """H of the page above."""
    return hashlib.sha3_256(DOMAIN + value).digest()[:VALUE_BYTES]


def follows(value: bytes, steps: int, known: bytes) -> bool:
    """Whether hashing `value` `steps` times (at most CHAIN_BEATS) gives `known`."""
    if not 0 <= steps <= CHAIN_BEATS or len(value) != VALUE_BYTES:
        return False
    for _ in range(steps):
        value = step(value)
    return value == known


class Chain:
    """All values of one chain, 16 bytes each, in one block."""

    def __init__(self, secret: bytes, beats: int = CHAIN_BEATS) -> None:
        """secret: at least 16 bytes that nobody can guess. beats: length."""
        if len(secret) < VALUE_BYTES or beats < 1:
            raise UsageError(f"a chain needs {VALUE_BYTES} secret bytes and a length; got {len(secret)}, {beats}")
        values = [step(secret)]
        for _ in range(beats):
            values.append(step(values[-1]))
        self.beats = beats
        self._values = b"".join(reversed(values))

    def value(self, count: int) -> bytes:
        """The value at `count`, 0 (the anchor) to `beats`."""
        if not 0 <= count <= self.beats:
            raise UsageError(f"beat {count} of a chain of {self.beats}", limit=f"0 to {self.beats}")
        return self._values[count * VALUE_BYTES : (count + 1) * VALUE_BYTES]
