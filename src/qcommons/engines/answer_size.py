"""How large an answer of counts can get: a state may be small and its samples not.

Flow: features, want -> *with_answer* -> select (each method's cost holds its answer too);
`counts_bytes` -> join. Without noise and feedback at most 2**n_branching amplitudes are non-zero,
so that a GHZ state of a thousand qubits has two outcomes, however many shots are drawn.
"""

from __future__ import annotations

import msgspec

from qcommons.circuits.features import Features
from qcommons.engines.records import Cost, Counts, Want

__all__ = ["counts_bytes", "distinct_max", "draws_max", "with_answer"]

OUTCOME_BYTES = 200  # of one outcome: its string's head, its place in two dicts (or a dict and a message)
BIT_BYTES = 2  # of one character: in the string, and in the message that carries it


def distinct_max(features: Features, shots: int) -> int:
    """Upper bound of the distinct bitstrings that `shots` shots can show."""
    bits = min(features.n_clbits, features.measured)
    if not features.noise_kinds and not features.dynamic:
        bits = min(bits, features.n_branching)
    return min(shots, 1 << bits) if bits < 62 else shots


def draws_max(shots: int, dimension_log2: float, histories: float = 1.0) -> float:
    """Draws that shots of states of that dimension cost at most: a multinomial counts outcomes, not shots."""
    dimension: float = 2.0 ** min(dimension_log2, 60)
    return min(float(shots), histories * dimension)


def counts_bytes(distinct: float, n_clbits: int) -> int:
    """Memory of counts of so many distinct bitstrings, with the message that carries them."""
    return int(distinct * (OUTCOME_BYTES + BIT_BYTES * n_clbits))


def with_answer(cost: Cost, features: Features, want: Want) -> Cost:
    """The cost of a method with the memory of the counts that it returns."""
    if not isinstance(want, Counts):
        return cost
    answer = counts_bytes(distinct_max(features, want.shots), features.n_clbits)
    return msgspec.structs.replace(cost, memory_bytes=cost.memory_bytes + answer)
