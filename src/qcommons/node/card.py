"""A program as jobs carry it.

Flow: Program (the caller's, or parsed in a worker) -> *card_of* -> Card -> Job. Canonical bytes from
elsewhere -> *card_of_wire* -> Card: checked here, decoded only by the worker that runs it.
"""

from __future__ import annotations

from qcommons.base.ids import hash_id
from qcommons.circuits.program import DEFAULT_CAPS, Caps, Program, count_ops
from qcommons.circuits.wire import WRITABLE, decode_columns, encode
from qcommons.jobs.records import Card

__all__ = ["card_of", "card_of_wire"]


def card_of(program: Program, name: str = "", notes: tuple[str, ...] = (), caps: Caps = WRITABLE) -> Card:
    """name, notes: from the program's file and its parser.

    Raises:
        UsageError: the program breaks a rule of `program.check` or passes `caps`.
    """
    wire = encode(program, caps)
    n_ops = count_ops(program.ops)
    return Card(wire, hash_id(wire), program.n_qubits, program.cregs, program.inputs, n_ops, notes, name)


def card_of_wire(wire: bytes, name: str = "", caps: Caps = DEFAULT_CAPS) -> Card:
    """The card of a program's canonical bytes (`circuits.wire.encode`), whoever wrote them.

    Raises:
        PeerError: they are not canonical, break a rule of programs or pass `caps`.
    """
    columns = decode_columns(wire, caps)
    cregs = tuple(zip(columns.creg_names, columns.creg_sizes.tolist(), strict=True))
    inputs = tuple(columns.inputs)
    return Card(wire, hash_id(wire), columns.n_qubits, cregs, inputs, len(columns.opcodes), (), name)
