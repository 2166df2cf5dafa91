"""A program as jobs carry it.

Flow: Program (the caller's, or parsed in a worker) -> *card_of* -> Card -> Job.
"""

from __future__ import annotations

from qcommons.base.ids import hash_id
from qcommons.circuits.program import Program
from qcommons.circuits.wire import encode
from qcommons.jobs.records import Card

__all__ = ["card_of"]


def card_of(program: Program, name: str = "", notes: tuple[str, ...] = ()) -> Card:
    """program: one that passes `check`. name, notes: from its file and its parser."""
    wire = encode(program)
    return Card(wire, hash_id(wire), program.n_qubits, program.cregs, program.inputs, len(program.ops), notes, name)
