"""What this node offers to others, as its peer record says it: engines with the width that its memory allows.

Flow: installed engines, the owner's limits -> *offers* -> MyOffers -> record. Nothing while `share.enabled` is off: who
asks would be refused.
"""

from __future__ import annotations

from qcommons.circuits.program import DEFAULT_CAPS
from qcommons.engines.registry import describe

__all__ = ["offers"]

AMPLITUDE_BYTES = 16  # complex128
WIDE = frozenset({"numpy", "stim", "frames", "aer", "clifft", "tn"})  # a method of theirs does not grow as 2^qubits
OFFERS_MAX = 16  # of a record (`mesh/records.py`)


def offers(memory_bytes: int, qubits_max: int) -> tuple[str, ...]:
    """ "name:qubits" of each installed engine. qubits_max: the owner's limit, 0 for none. Imports no engine."""
    dense = max(1, (memory_bytes // AMPLITUDE_BYTES).bit_length() - 1)
    found = []
    for row in describe():
        if row.version is not None and row.error is None:
            most = DEFAULT_CAPS.qubits_max if row.name in WIDE else dense
            found.append(f"{row.name}:{min(most, qubits_max or most, DEFAULT_CAPS.qubits_max)}")
    return tuple(found[:OFFERS_MAX])
