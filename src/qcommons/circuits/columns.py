"""Columns: a program as arrays, and every rule of a program checked on whole arrays at once.

Flow: fields of the wire (strangers' or our own) -> *checked_columns* -> Columns -> `wire.program_of`, or
whoever only counts. The rules are those of `program.check`; the layout is docs/protocol/program.md.

An opcode is one byte: a gate's code (`gates.CODES`), the code + 0x80 for the gate with extra controls,
or a directive at the top end. The blocks of a branch follow its marker, `then` before `orelse`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from qcommons.base.errors import UsageError
from qcommons.circuits.gates import GATES, NAMES
from qcommons.circuits.program import NAME, NAME_RULE, RELATIONS, Caps

__all__ = ["IF", "MEASURE", "OPCODES", "Columns", "checked_columns", "op_widths"]

CONTROLLED = 0x80  # added to a gate's code: the gate has controls, their number is in `spans`
IF, BARRIER, RESET, MEASURE = 0xFC, 0xFD, 0xFE, 0xFF
GATES_MAX = IF - CONTROLLED  # room for 124 rows; the codes from there to 0x7f stay free
assert len(NAMES) <= GATES_MAX, f"{len(NAMES)} gates; the opcode byte has room for {GATES_MAX}"

# opcode -> name of the operation, empty for the branch marker and for bytes that mean nothing
OPCODES: list[str] = [""] * 256
for _code, _name in enumerate(NAMES):
    OPCODES[_code] = OPCODES[_code + CONTROLLED] = _name
OPCODES[BARRIER], OPCODES[RESET], OPCODES[MEASURE] = "barrier", "reset", "measure"
CODE_OF = {name: code for code, name in enumerate(OPCODES) if name and not CONTROLLED <= code < IF}

# For bytes.translate and bytes.count: one C pass over the opcodes instead of an array.
QUBITS = bytes(1 if c in (RESET, MEASURE) else GATES[n].n_qubits if n in GATES else 0 for c, n in enumerate(OPCODES))
PARAMS = bytes(GATES[n].n_params if n in GATES else 0 for n in OPCODES)
KNOWN = bytes(c for c, n in enumerate(OPCODES) if n or c == IF)
SPANNING = bytes(c for c in KNOWN if c == BARRIER or CONTROLLED <= c < IF)
IS_SPANNING = bytes(c in SPANNING for c in range(256))

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
NO_INTEGERS: Integers = np.zeros(0, np.int64)
NO_FLOATS: Floats = np.zeros(0)
MINUS_ZERO = bytes(7) + b"\x80"  # little-endian binary64
WIDTHS = (1, 2, 4, 8)
KEYED_WIDTH = 64  # operations on more qubits (barriers, mostly) are few enough to be looked at one by one
# Half the time of the methods max, sum, any and all on short arrays, and most programs are short.
_top, _total, _any, _all = np.maximum.reduce, np.add.reduce, np.logical_or.reduce, np.logical_and.reduce


class Columns(NamedTuple):
    """A checked program as columns, in the order of the wire. Integer arrays are int64; lengths in [].

    n_qubits, inputs: as in `Program`; creg_names, creg_sizes: its `cregs`.
    opcodes: bytes [operations], branch markers and the blocks behind them included.
    spans: [operations with 0x80, and barriers] controls of the gate, or qubits of the barrier.
    qubits: [sum of the operations' qubits] indices, operation by operation.
    clbits: [measurements] flat index of the bit written.
    params: float64 [sum of the operations' parameters], radians; of an affine one its constant.
    n_affine; affine_at: [n_affine] places in `params` that hold an affine parameter, increasing;
        affine_terms: [n_affine] number of terms; affine_inputs and affine_coefficients (float64):
        [sum of affine_terms] index into `inputs` and coefficient of each term.
    if_then, if_else: [branches] operations in each block; if_relations: bytes [branches], index into
        `RELATIONS`; if_values: [branches] right-hand sides; if_widths: [branches] bits read;
        if_bits: [sum of if_widths] flat indices, least significant first.
    """

    n_qubits: int
    creg_names: Sequence[str]
    creg_sizes: Integers
    inputs: Sequence[str]
    opcodes: bytes
    spans: Integers
    qubits: Integers
    clbits: Integers
    params: Floats
    n_affine: int
    affine_at: Integers
    affine_terms: Integers
    affine_inputs: Integers
    affine_coefficients: Floats
    if_then: Integers
    if_else: Integers
    if_relations: bytes
    if_values: Integers
    if_widths: Integers
    if_bits: Integers


KINDS = (int, list, bytes, list, *[bytes] * 5, int, *[bytes] * 10)  # of the wire's fields, after the version


def checked_columns(fields: list[Any], caps: Caps) -> Columns:
    """Columns that hold to every rule of `program.check`; UsageError otherwise.

    Nothing larger than the fields themselves is allocated before the numbers that size it are bounded.
    """
    if [type(field) for field in fields] != list(KINDS):
        refuse(f"{len(KINDS)} fields of fixed types after the version needed (docs/protocol/program.md)", "fields")
    n_qubits, creg_names, creg_sizes, inputs, opcodes, spans, qubits, clbits, params, *rest = fields
    n_ops = len(opcodes)
    sizes = _names_and_sizes(creg_names, creg_sizes, inputs, caps)
    n_clbits = sum(sizes.tolist())
    for what, value, limit in (
        ("qubits", n_qubits, caps.qubits_max),
        ("classical bits", n_clbits, caps.clbits_max),
        ("operations", n_ops, caps.operations_max),
        ("inputs", len(inputs), caps.inputs_max),
    ):
        if not 0 <= value <= limit:
            refuse(f"{value} {what}; allowed 0 to {limit}", what, f"{limit} {what}")
    if unknown := opcodes.translate(None, KNOWN):
        refuse(f"opcode 0x{unknown[0]:02x} has no meaning", "opcodes")

    n_spans = opcodes.translate(IS_SPANNING).count(1)
    span_column = _integers("spans", spans, n_spans, n_qubits + 1)
    if n_spans and not _all(span_column):
        refuse("a controlled gate has at least 1 control, a barrier at least 1 qubit", "spans")
    widths = op_widths(opcodes, span_column)
    qubit_column = _integers("qubits", qubits, int(_total(widths)), n_qubits)
    _check_distinct("qubits", widths, qubit_column)
    n_params = sum(opcodes.translate(PARAMS))
    affine = _affine_columns(rest[:5], n_params, inputs)
    then, orelse, relations, values, if_widths, if_bits = _branch_columns(rest[5:], opcodes, n_clbits)
    return Columns(
        n_qubits, creg_names, sizes, inputs, opcodes, span_column, qubit_column,
        _integers("clbits", clbits, opcodes.count(MEASURE), n_clbits),
        _floats("params", params, n_params),
        *affine, then, orelse, relations, values, if_widths, if_bits,
    )  # fmt: skip


def op_widths(opcodes: bytes, spans: Integers) -> Integers:
    """Qubits of each operation, int64 [operations]; a branch marker has none."""
    widths = np.frombuffer(opcodes.translate(QUBITS), np.uint8).astype(np.int64)
    if len(spans):
        widths[np.frombuffer(opcodes.translate(IS_SPANNING), np.bool_)] += spans
    return widths


def _names_and_sizes(creg_names: list[Any], creg_sizes: bytes, inputs: list[Any], caps: Caps) -> Integers:
    for where, names in (("creg_names", creg_names), ("inputs", inputs)):
        if names and (set(map(type, names)) != {str} or len(set(names)) != len(names)):
            refuse("distinct names needed, as text", where)
        if not all(map(NAME.fullmatch, names)):
            refuse(NAME_RULE, where)
    sizes = _integers("creg_sizes", creg_sizes, len(creg_names), caps.clbits_max + 1)
    if len(sizes) and not _all(sizes):
        refuse("a register has at least 1 bit", "creg_sizes")
    return sizes


def _affine_columns(
    fields: list[Any], n_params: int, inputs: list[str]
) -> tuple[int, Integers, Integers, Integers, Floats]:
    n_affine, at, terms, indices, coefficients = fields
    if not any(fields):  # most programs have none; saves a sixth of a small program's decoding
        return 0, NO_INTEGERS, NO_INTEGERS, NO_INTEGERS, NO_FLOATS
    if not 0 <= n_affine <= n_params:
        refuse(f"{n_affine} affine parameters; the program has {n_params} parameters", "n_affine")
    places = _integers("affine_at", at, n_affine, n_params)
    if (places[1:] <= places[:-1]).any():
        refuse("places must increase", "affine_at")
    # A term takes at least a byte in affine_inputs, so no count passes its length.
    counts = _integers("affine_terms", terms, n_affine, len(indices) + 1)
    if not _all(counts):
        refuse("an affine parameter has at least 1 term", "affine_terms")
    n_terms = int(_total(counts))
    named = _integers("affine_inputs", indices, n_terms, len(inputs))
    if n_terms > n_affine:
        _check_sorted(counts, named, inputs)
    factors = _floats("affine_coefficients", coefficients, n_terms)
    if not _all(factors.view(np.uint64)):  # not as floats, see _floats; zero has no sign here
        refuse("a coefficient is 0", "affine_coefficients")
    return n_affine, places, counts, named, factors


def _check_sorted(counts: Integers, named: Integers, inputs: list[str]) -> None:
    """Within a parameter the terms' inputs are sorted by name, none twice."""
    rank = np.empty(len(inputs), np.int64)
    rank[sorted(range(len(inputs)), key=inputs.__getitem__)] = np.arange(len(inputs))
    keys = np.repeat(np.arange(len(counts)), counts) * len(inputs) + rank[named]
    if (keys[1:] <= keys[:-1]).any():
        refuse("the terms of a parameter are sorted by their input's name, none twice", "affine_inputs")


def _branch_columns(
    fields: list[bytes], opcodes: bytes, n_clbits: int
) -> tuple[Integers, Integers, bytes, Integers, Integers, Integers]:
    then, orelse, relations, values, widths, bits = fields
    n_ops, n_branches = len(opcodes), opcodes.count(IF)
    if not n_branches and not any(fields):
        return NO_INTEGERS, NO_INTEGERS, b"", NO_INTEGERS, NO_INTEGERS, NO_INTEGERS
    then_column = _integers("if_then", then, n_branches, n_ops)
    else_column = _integers("if_else", orelse, n_branches, n_ops)
    markers = np.flatnonzero(np.frombuffer(opcodes, np.uint8) == IF)
    ends = markers + 1 + then_column + else_column
    if (ends > np.append(markers, n_ops)[1:]).any():
        refuse("a block runs past the next branch or the end of the program", "if_then")
    if len(relations) != n_branches or relations.translate(None, bytes(range(len(RELATIONS)))):
        refuse(f"{n_branches} indices below {len(RELATIONS)} needed", "if_relations")
    value_column = _integers("if_values", values, n_branches, 1 << 63)
    width_column = _integers("if_widths", widths, n_branches, n_clbits + 1)
    if not width_column.all():
        refuse("a condition reads at least 1 bit", "if_widths")
    bit_column = _integers("if_bits", bits, int(width_column.sum()), n_clbits)
    _check_distinct("if_bits", width_column, bit_column)
    return then_column, else_column, relations, value_column, width_column, bit_column


def _integers(name: str, raw: bytes, count: int, below: int) -> Integers:
    """The column's `count` entries, each below `below` (<= 2**63), in the narrowest width that fits."""
    if not count:
        if raw:
            refuse(f"{len(raw)} bytes for 0 entries", name)
        return NO_INTEGERS
    width, rest = divmod(len(raw), count)
    if rest or width not in WIDTHS:
        refuse(f"{len(raw)} bytes for {count} entries; 1, 2, 4 or 8 bytes each needed", name)
    column = np.frombuffer(raw, f"<u{width}")
    top = int(_top(column))
    if top >= below:
        refuse(f"entry {int(column.argmax())} is {top}; it must be below {below}", name, f"below {below}")
    if width > 1 and not top >> 4 * width:  # it would fit in half the width
        refuse(f"entries of {width} bytes where {width // 2} are enough", name)
    return column.astype(np.int64)


def _floats(name: str, raw: bytes, count: int) -> Floats:
    if len(raw) != 8 * count:
        refuse(f"{len(raw)} bytes for {count} float64 entries", name)
    if not count:
        return NO_FLOATS
    column = np.frombuffer(raw, "<f8")
    # as integers: libraries built for speed leave the process flushing subnormals, which then compare equal to 0
    signed_zero = MINUS_ZERO in raw and (np.frombuffer(raw, "<u8") == 1 << 63).any()  # first at any offset: fast
    if signed_zero or not _all(np.isfinite(column)):
        refuse("entries must be finite, zero without a sign", name)
    return column


def _check_distinct(name: str, widths: Integers, entries: Integers) -> None:
    """Entries come in groups of `widths`; within a group all differ."""
    widest = _top(widths, initial=0)
    if widest < 2:
        return
    first = (widths.cumsum() - 2)[widths == 2]
    repeated = bool(_any(entries[first] == entries[first + 1]))
    if widest > KEYED_WIDTH:  # keys of 8 bytes an entry would cost more than the groups are many
        ends = widths.cumsum()
        for end, width in zip(ends[widths > KEYED_WIDTH].tolist(), widths[widths > KEYED_WIDTH].tolist(), strict=True):
            own = np.sort(entries[end - width : end])
            repeated = repeated or bool((own[1:] == own[:-1]).any())
    if widest > 2:
        wide = (widths > 2) & (widths <= KEYED_WIDTH)
        group = np.repeat(np.flatnonzero(wide), widths[wide])
        keys = group * (int(entries.max()) + 1) + entries[np.repeat(wide, widths)]
        keys.sort()
        repeated = repeated or bool((keys[1:] == keys[:-1]).any())
    if repeated:
        refuse("an index is repeated within one operation or condition", name)


def refuse(what: str, where: str, limit: str | None = None) -> NoReturn:
    raise UsageError(what, where=f"program wire, {where}", limit=limit)
