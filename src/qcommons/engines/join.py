"""Join the samples of independent parts into counts over all classical bits. Exact.

Flow: execute (one answer a part) -> *joined_counts*. Parts are independent, so a uniformly random
pairing of their shots has the joint distribution; the pairing is drawn from the request's seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from qcommons.base.seeds import stream
from qcommons.engines.sampling import bit_counts

__all__ = ["joined_counts"]

Part = tuple[Mapping[str, int], Sequence[int]]  # counts, and the classical bit of each of its bits


def joined_counts(
    parts: Sequence[Part], constants: Mapping[int, int], n_clbits: int, shots: int, seed: int
) -> dict[str, int]:
    """Counts over `n_clbits` bits (bit 0 rightmost).

    Args:
        parts: counts of a part over its own bits (its bit 0 rightmost), all of `shots` shots.
        constants: bits whose final value is known, whatever a part wrote there before; bits in no part and
            not here are 0.
    """
    if not parts:
        bits = "".join("1" if constants.get(c) else "0" for c in reversed(range(n_clbits)))
        return {bits: shots}
    if len(parts) == 1 and tuple(parts[0][1]) == tuple(range(n_clbits)) and constants.keys().isdisjoint(parts[0][1]):
        return dict(parts[0][0])
    rng = stream(seed, "pairing")
    matrix = np.zeros((shots, n_clbits), dtype=np.bool_)
    for place, (counts, clbits) in enumerate(parts):
        texts = np.frombuffer("".join(counts).encode("ascii"), dtype=np.uint8).reshape(len(counts), len(clbits))
        rows = np.repeat(texts[:, ::-1] == ord("1"), np.fromiter(counts.values(), np.int64, len(counts)), axis=0)
        if place:
            rows = rows[rng.permutation(shots)]
        matrix[:, list(clbits)] = rows
    matrix[:, list(constants)] = [bool(value) for value in constants.values()]
    return bit_counts(matrix)
