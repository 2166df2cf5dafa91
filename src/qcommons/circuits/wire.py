"""The wire form of programs: columns in canonical CBOR, one program one byte string.

Flow: Program -> *encode* -> frame, file, worker's pipe, program id -> *decode* -> Program. A program
travels as columns (all opcodes, all qubits, all parameters, ...), each one byte string, so that a
peer's bytes are checked by a few array operations (`columns.py`) before a single operation is built;
the only loop builds the `Op`s. Layout, CDDL and vectors: docs/protocol/program.md.

Integers are little-endian, as wide (1, 2, 4 or 8 bytes) as the column's largest entry needs;
parameters are little-endian float64, finite, zero without a sign.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any

import numpy as np

from qcommons.base.canonical import decode as decode_cbor
from qcommons.base.canonical import encode as encode_cbor
from qcommons.base.errors import Corrupt, PeerError, UsageError
from qcommons.base.ids import ProgramId, hash_id
from qcommons.circuits.columns import (
    BARRIER,
    CODE_OF,
    CONTROLLED,
    IF,
    MEASURE,
    OPCODES,
    PARAMS,
    QUBITS,
    WIDTHS,
    Columns,
    checked_columns,
    op_widths,
    refuse,
)
from qcommons.circuits.program import (
    DEFAULT_CAPS,
    RELATIONS,
    WHOLE_MAX,
    Affine,
    Branch,
    Caps,
    Condition,
    Op,
    Operation,
    Param,
    Program,
    check,
)

__all__ = ["VERSION", "decode", "decode_columns", "encode", "program_id", "program_of"]

VERSION = 1
# What encode may write: far above any cap, and small enough that products of two fit in int64.
WRITABLE = Caps(1 << 62, 1 << 31, 1 << 31, 1 << 31, 1 << 31)
OP_TYPES = (Op, tuple, tuple, tuple, int)


def program_id(program: Program) -> ProgramId:
    """SHA3-256 of the canonical bytes, 64 hex digits; equal programs have equal ids."""
    return hash_id(encode(program))


def encode(program: Program, caps: Caps = WRITABLE) -> bytes:
    """The canonical bytes of a program that passes `check(program, caps)`.

    caps: by default 2**31 of each; its `bytes_max` is for whoever reads.

    Raises:
        UsageError: the program breaks a rule of `check`, which words the message: operation, value, range.
    """
    try:
        fields = _fields(program)
        checked_columns(fields, caps)  # what is written is what decode accepts, by the same code
    except (UsageError, TypeError, AttributeError, ValueError):  # a program made by hand may hold anything
        fields = []
    if not fields:
        check(program, caps)
        raise Corrupt("a program passes check but has no wire form")
    return encode_cbor([VERSION, *fields])


def decode(data: bytes, caps: Caps = DEFAULT_CAPS) -> Program:
    """The program of canonical bytes from anybody; it passes `check(program, caps)`.

    Raises:
        PeerError: the bytes are not what `encode` writes for a program within `caps`.
    """
    return program_of(decode_columns(data, caps))


def decode_columns(data: bytes, caps: Caps = DEFAULT_CAPS) -> Columns:
    """As `decode`, but stops at the checked columns: for counting, features and routing."""
    items_max = 32 + caps.clbits_max + caps.inputs_max  # names are the only items that grow in number
    try:
        match decode_cbor(data, bytes_max=caps.bytes_max, depth_max=2, items_max=items_max):
            case [version, *fields] if version == VERSION and type(version) is int:
                return checked_columns(fields, caps)
            case _:
                refuse(f"no program of wire version {VERSION}", "version")
    except UsageError as error:
        raise PeerError(error.what, where=error.where, limit=error.limit, evidence=data) from error


# ---- program to fields ------------------------------------------------------------------------


def _fields(program: Program) -> list[Any]:
    """The fields of the wire after the version; any of four exceptions for what no program may hold."""
    opcodes, branches = bytearray(), []
    spans: list[int] = []
    qubits: list[int] = []
    clbits: list[int] = []
    params: list[Param] = []
    _all_of(tuple, (program.ops, program.inputs, program.cregs, *program.cregs))
    _all_of(Program, (program,))
    for index, op in enumerate(_flat(program.ops)):
        if isinstance(op, Branch):
            opcodes.append(IF)
            branches.append(op)
            continue
        code = CODE_OF.get(op.gate, IF)
        span = len(op.qubits) if code == BARRIER else op.controls
        if (
            code == IF
            or (type(op), type(op.qubits), type(op.params), type(op.clbits), type(op.controls)) != OP_TYPES
            or len(op.qubits) != QUBITS[code] + span
            or len(op.params) != PARAMS[code]
            or len(op.clbits) != (code == MEASURE)
            or (op.controls and code >= CONTROLLED)
        ):
            refuse("no such gate, or wrong number or type of qubits, parameters, bits, controls", f"opcode {index}")
        if code == BARRIER or op.controls:
            spans.append(span)
        opcodes.append(code | CONTROLLED if op.controls else code)
        qubits += op.qubits
        clbits += op.clbits
        params += op.params
    return [
        program.n_qubits,
        [name for name, _ in program.cregs],
        _packed("creg_sizes", [size for _, size in program.cregs]),
        list(program.inputs),
        bytes(opcodes),
        _packed("spans", spans),
        _packed("qubits", qubits),
        _packed("clbits", clbits),
        *_packed_params(params, program.inputs),
        *_packed_branches(branches),
    ]


def _flat(ops: Iterable[Operation]) -> Iterable[Operation]:
    for op in ops:
        yield op
        if isinstance(op, Branch):
            _all_of(tuple, (op.then, op.orelse))
            yield from op.then
            yield from op.orelse


def _packed_params(params: list[Param], inputs: tuple[str, ...]) -> list[Any]:
    if Affine not in set(map(type, params)):
        return [_packed_floats("params", params), 0, b"", b"", b"", b""]
    index_of = {name: index for index, name in enumerate(inputs)}
    affine = {at: param for at, param in enumerate(params) if isinstance(param, Affine)}
    _all_of(tuple, [param.terms for param in affine.values()])
    terms = [term for param in affine.values() for term in param.terms]
    _all_of(tuple, terms)
    if unknown := [name for name, _ in terms if name not in index_of]:
        refuse(f"{unknown[0]!r} is no input; inputs: {', '.join(inputs) or 'none'}", "affine_inputs")
    return [
        _packed_floats("params", [param.const if isinstance(param, Affine) else param for param in params]),
        len(affine),
        _packed("affine_at", list(affine)),
        _packed("affine_terms", [len(param.terms) for param in affine.values()]),
        _packed("affine_inputs", [index_of[name] for name, _ in terms]),
        _packed_floats("affine_coefficients", [coefficient for _, coefficient in terms]),
    ]


def _packed_branches(branches: list[Branch]) -> list[bytes]:
    conditions = [branch.condition for branch in branches]
    _all_of(Branch, branches)
    _all_of(Condition, conditions)
    _all_of(tuple, [condition.clbits for condition in conditions])
    return [
        _packed("if_then", [len(branch.then) for branch in branches]),
        _packed("if_else", [len(branch.orelse) for branch in branches]),
        bytes(RELATIONS.index(condition.relation) for condition in conditions),
        _packed("if_values", [condition.value for condition in conditions]),
        _packed("if_widths", [len(condition.clbits) for condition in conditions]),
        _packed("if_bits", [bit for condition in conditions for bit in condition.clbits]),
    ]


def _all_of(kind: type, values: Iterable[object]) -> None:
    if not set(map(type, values)) <= {kind}:
        raise TypeError(f"{kind.__name__} needed")


def _packed(name: str, values: list[int]) -> bytes:
    """Little-endian unsigned integers, as wide as the largest needs."""
    if not values:
        return b""
    _all_of(int, values)
    try:
        column = np.array(array("q", values))
    except OverflowError as error:
        raise UsageError(f"an entry is no 64-bit integer: {error}", where=f"program wire, {name}") from error
    if column.min() < 0:
        refuse(f"entry {int(column.min())} is negative", name)
    top = int(column.max())
    width = next(width for width in WIDTHS if top < 1 << 8 * width)
    return column.astype(f"<u{width}").tobytes()


def _packed_floats(name: str, values: list[Any]) -> bytes:
    """Little-endian float64, zero without its sign."""
    if not values:
        return b""
    kinds = set(map(type, values))
    if not all(kind is int or issubclass(kind, float) for kind in kinds):
        raise TypeError("float needed")
    if int in kinds and any(type(value) is int and abs(value) > WHOLE_MAX for value in values):
        refuse("an integer beyond 2^53", name)
    column = np.array(array("d", values))
    bits = column.view(np.uint64)
    bits[bits == 1 << 63] = 0  # -0.0 is written as 0.0; not by arithmetic, which may flush subnormals
    return column.astype("<f8").tobytes()


# ---- columns to program -----------------------------------------------------------------------


def program_of(columns: Columns) -> Program:
    """The program that checked columns (of `decode_columns`) describe."""
    plain = _ops(columns)
    ops: Iterable[Operation] = _folded(plain, columns) if columns.opcodes.count(IF) else plain
    cregs = tuple(zip(columns.creg_names, columns.creg_sizes.tolist(), strict=True))
    return Program(columns.n_qubits, cregs, tuple(ops), tuple(columns.inputs))


def _ops(columns: Columns) -> list[Op]:
    """One Op an opcode; a branch marker yields a stand-in that `_folded` replaces."""
    qubits, params = tuple(columns.qubits.tolist()), tuple(_params(columns))
    spans, clbits = iter(columns.spans.tolist()), iter(columns.clbits.tolist())
    ops: list[Op] = []
    at = param_at = 0
    for code, width in zip(columns.opcodes, op_widths(columns.opcodes, columns.spans).tolist(), strict=True):
        own = qubits[at : (at := at + width)]
        if code < IF:
            angles = params[param_at : (param_at := param_at + n_params)] if (n_params := PARAMS[code]) else ()
            ops.append(Op(OPCODES[code], own, angles, (), next(spans) if code >= CONTROLLED else 0))
        elif code == MEASURE:
            ops.append(Op("measure", own, (), (next(clbits),)))
        else:
            if code == BARRIER:
                next(spans)
            ops.append(Op(OPCODES[code], own))
    return ops


def _params(columns: Columns) -> list[Param]:
    params: list[Param] = columns.params.tolist()
    names = [columns.inputs[index] for index in columns.affine_inputs.tolist()]
    terms = list(zip(names, columns.affine_coefficients.tolist(), strict=True))
    start = 0
    for at, count in zip(columns.affine_at.tolist(), columns.affine_terms.tolist(), strict=True):
        const = params[at]
        assert isinstance(const, float)  # places increase, so none is visited twice
        params[at] = Affine(const, tuple(terms[start : start + count]))
        start += count
    return params


def _folded(ops: list[Op], columns: Columns) -> Iterable[Operation]:
    """Branch markers and the blocks behind them become `Branch`es."""
    bits = columns.if_bits.tolist()
    bit = done = 0
    rows = (columns.if_then, columns.if_else, columns.if_values, columns.if_widths)
    for code, then, orelse, value, width in zip(columns.if_relations, *(row.tolist() for row in rows), strict=True):
        marker = columns.opcodes.index(IF, done)
        yield from ops[done:marker]
        condition = Condition(tuple(bits[bit : bit + width]), RELATIONS[code], value)
        bit += width
        middle, done = marker + 1 + then, marker + 1 + then + orelse
        yield Branch(condition, tuple(ops[marker + 1 : middle]), tuple(ops[middle:done]))
    yield from ops[done:]
