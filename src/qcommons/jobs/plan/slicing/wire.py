"""A want of slices as it crosses between nodes: compact, read as a stranger's.

Flow: Slices -> *slices_value* -> jobs/wire => peer: *slices_of* -> Slices -> tn_sliced, which checks it against the
program. Here only its form is checked, and that it holds no more than a tree may.
"""

from __future__ import annotations

import math
import struct
from typing import Any

from qcommons.base.errors import PeerError
from qcommons.engines.records import SLICED_MAX, TREE_MAX, Slices
from qcommons.engines.tn_sliced import BITSTRINGS_MAX, METHODS

__all__ = ["FIELDS", "slices_of", "slices_value"]

FIELDS = 12  # with the name of the want, which comes first
LETTERS = "XYZ"


def slices_value(want: Slices) -> list[Any]:
    """["slices", width, bitstrings joined, letters (qubit as uint32, 0 to 2 each), tree and sliced indices as uint32,
    first, count, shape, multiplications and elements as binary64, precision]; all little-endian."""
    width = len(want.bitstrings[0]) if want.bitstrings else 0
    letters = b"".join(struct.pack("<IB", qubit, LETTERS.index(letter)) for qubit, letter in want.paulis)
    flat = [tensor for pair in want.tree for tensor in pair]
    return [
        "slices", width, "".join(want.bitstrings), letters, struct.pack(f"<{len(flat)}I", *flat),
        struct.pack(f"<{len(want.sliced)}I", *want.sliced), want.first, want.count, want.shape,
        struct.pack("<d", want.multiplications), struct.pack("<d", want.elements), want.precision,
    ]  # fmt: skip


def slices_of(value: list[Any], n_qubits: int) -> Slices:
    """The want of a list of `FIELDS` values. Raises PeerError; `where` is "want"."""
    _, width, joined, letters, tree, sliced, first, count, shape, work, elements, precision = value
    texts = all(isinstance(text, str) for text in (joined, shape, precision))
    packed = all(isinstance(part, bytes) for part in (letters, tree, sliced, work, elements))
    whole = all(type(number) is int and 0 <= number <= 1 << SLICED_MAX for number in (width, first, count))
    if not texts or not packed or not whole:
        raise _bad("slices of other types", "as docs/slicing.md lists them")
    if len(tree) % 8 or len(tree) // 8 > TREE_MAX or len(sliced) % 4 or len(sliced) // 4 > SLICED_MAX:
        raise _bad(f"a tree of {len(tree)} and slices of {len(sliced)} bytes", f"{8 * TREE_MAX} and {4 * SLICED_MAX}")
    if len(joined) > BITSTRINGS_MAX * n_qubits or (joined and (width != n_qubits or len(joined) % width)):
        raise _bad(f"{len(joined)} characters of bitstrings", f"{BITSTRINGS_MAX} of {n_qubits}")
    if len(letters) % 5 or len(letters) > 5 * n_qubits or any(letter > 2 for letter in letters[4::5]):
        raise _bad(f"{len(letters)} bytes of a Pauli string", f"{5 * n_qubits}")
    if len(work) != 8 or len(elements) != 8 or len(shape) > 64 or precision not in METHODS:
        raise _bad("no cost, shape or precision", f"binary64, 64 characters, {', '.join(METHODS)}")
    numbers = struct.unpack(f"<{len(tree) // 4}I", tree)
    costs = (*struct.unpack("<d", work), *struct.unpack("<d", elements))
    if not all(math.isfinite(cost) and cost >= 0 for cost in costs):
        raise _bad("a cost that is no finite number", "0 or more")
    return Slices(
        bitstrings=tuple(joined[at : at + width] for at in range(0, len(joined), width or 1)),
        paulis=tuple((qubit, LETTERS[letter]) for qubit, letter in struct.iter_unpack("<IB", letters)),
        tree=tuple(zip(numbers[::2], numbers[1::2], strict=True)),
        sliced=struct.unpack(f"<{len(sliced) // 4}I", sliced),
        first=first, count=count, shape=shape, multiplications=costs[0], elements=costs[1], precision=precision,
    )  # fmt: skip


def _bad(what: str, limit: str) -> PeerError:
    return PeerError(f"{what}; allowed: {limit}", where="want", limit=limit)
