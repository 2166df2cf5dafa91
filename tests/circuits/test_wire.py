"""The wire form: exact round trips, one byte string a program, and a refusal for every broken rule."""

from __future__ import annotations

import hashlib
import json
import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

import cbor2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.vectors.regenerate import FILE, PROGRAMS

from qcommons.base.errors import PeerError, UsageError
from qcommons.circuits import wire
from qcommons.circuits.columns import OPCODES, Columns, op_widths
from qcommons.circuits.gates import CODES, GATES
from qcommons.circuits.program import RELATIONS, Affine, Branch, Caps, Condition, Op, Program, check

VECTORS = json.loads(FILE.read_text())


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_published_bytes_and_ids_stand(vector: dict[str, str]) -> None:
    program, data = PROGRAMS[vector["name"]], bytes.fromhex(vector["hex"])
    assert wire.encode(program) == data
    assert wire.decode(data) == program
    assert wire.program_id(program) == vector["program_id"] == hashlib.sha3_256(data).hexdigest()


def test_every_program_has_a_vector() -> None:
    assert [vector["name"] for vector in VECTORS] == list(PROGRAMS)


def test_a_bell_program_assembled_by_hand_from_the_specification() -> None:
    """docs/protocol/program.md, byte by byte; 21 fields, twelve of them empty columns."""
    fields = [
        b"\x95\x01\x02",  # array of 21, version 1, 2 qubits
        b"\x81\x61c\x41\x02\x80",  # registers ["c"] of sizes h'02', no inputs
        b"\x44" + bytes([CODES["h"], CODES["cx"], 0xFF, 0xFF]),
        b"\x40",  # spans
        b"\x45\x00\x00\x01\x00\x01",  # qubits: h 0; cx 0 1; measure 0; measure 1
        b"\x42\x00\x01",  # bits written
        b"\x40\x00" + b"\x40" * 4,  # params; no affine ones
        b"\x40" * 6,  # no branches
    ]
    assert wire.encode(PROGRAMS["bell"]) == b"".join(fields)


# ---- any program --------------------------------------------------------------------------------

FINITE = st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6)


@st.composite
def operations(draw: st.DrawFn, n_qubits: int, n_clbits: int, inputs: list[str]) -> Op:
    wires = st.permutations(range(n_qubits)) if n_qubits <= 8 else st.lists(
        st.integers(0, n_qubits - 1), min_size=8, max_size=8, unique=True
    )  # fmt: skip
    order = draw(wires)
    fitting = [name for name, row in GATES.items() if row.n_qubits <= len(order)]
    kinds = [
        *fitting,
        *["barrier"] * 4 * (n_qubits > 0),
        *["reset"] * 4 * (n_qubits > 0),
        *["measure"] * 6 * (n_qubits * n_clbits > 0),
    ]
    name = draw(st.sampled_from(kinds))
    if name == "barrier":
        return Op(name, tuple(order[: draw(st.integers(1, len(order)))]))
    if name == "reset":
        return Op(name, (order[0],))
    if name == "measure":
        return Op(name, (order[0],), (), (draw(st.integers(0, n_clbits - 1)),))
    row = GATES[name]
    controls = draw(st.sampled_from([0, 0, 0, 1, 2, 5]))
    controls = min(controls, len(order) - row.n_qubits)
    angles: st.SearchStrategy[Any] = FINITE
    if inputs:
        terms = st.dictionaries(st.sampled_from(inputs), FINITE.filter(bool), min_size=1, max_size=3)
        angles |= st.builds(Affine, FINITE, terms.map(lambda table: tuple(sorted(table.items()))))
    params = draw(st.lists(angles, min_size=row.n_params, max_size=row.n_params))
    return Op(name, tuple(order[: row.n_qubits + controls]), tuple(params), (), controls)


@st.composite
def programs(draw: st.DrawFn) -> Program:
    n_qubits = draw(st.sampled_from([0, 1, 2, 5, 8, 300, 70_000]))
    sizes = draw(st.lists(st.sampled_from([1, 2, 63, 300]), max_size=3))
    names = draw(st.lists(NAMES, min_size=len(sizes), max_size=len(sizes), unique=True))
    inputs = draw(st.lists(NAMES, max_size=3, unique=True))
    plain = operations(n_qubits, sum(sizes), inputs)
    blocks = st.lists(plain, max_size=2).map(tuple)
    n_clbits = sum(sizes)
    every: st.SearchStrategy[Any] = plain
    if n_clbits:
        bits = st.lists(st.integers(0, n_clbits - 1), min_size=1, max_size=4, unique=True).map(tuple)
        conditions = st.builds(
            Condition, bits, st.sampled_from(RELATIONS), st.integers(0, 2**63 - 1) | st.integers(0, 9)
        )
        every = plain | st.builds(Branch, conditions, blocks, blocks)
    ops = draw(st.lists(every, max_size=6))
    return Program(n_qubits, tuple(zip(names, sizes, strict=True)), tuple(ops), tuple(inputs))


@given(programs())
def test_every_program_that_passes_check_comes_back(program: Program) -> None:
    check(program)
    data = wire.encode(program)
    again = wire.decode(data)
    assert again == program
    assert wire.encode(again) == data
    assert all(type(field) in (int, list, bytes) for field in cbor2.loads(data))  # a plain CBOR reader reads it


@given(programs(), programs())
def test_equal_programs_have_equal_bytes_and_others_do_not(one: Program, other: Program) -> None:
    assert (one == other) == (wire.encode(one) == wire.encode(other))


def test_spellings_of_one_program_have_one_byte_string() -> None:
    """Python calls 0.0 and -0.0, 2 and 2.0 equal; so must the bytes."""
    free, also = Affine(0.0, (("a", 2.0),)), Affine(-0.0, (("a", 2),))
    one = Program(2, (), (Op("rx", (1,), (0.0,)), Op("rx", (1,), (2.0,)), Op("rz", (0,), (free,))), ("a",))
    angle = np.float64(-0.0)
    other = Program(2, (), (Op("rx", (1,), (angle,)), Op("rx", (1,), (2,)), Op("rz", (0,), (also,))), ("a",))
    assert one == other
    assert wire.encode(one) == wire.encode(other)


# ---- refusals ------------------------------------------------------------------------------------

FIELDS = ("version", *Columns._fields)


def doubles(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


def altered(program: str, **fields: Any) -> bytes:
    """Canonical bytes with fields replaced, written by cbor2 alone."""
    row = dict(zip(FIELDS, cbor2.loads(wire.encode(PROGRAMS[program])), strict=True))
    return cbor2.dumps(list((row | fields).values()))


X, CX, RZ, U = CODES["x"], CODES["cx"], CODES["rz"], CODES["u"]
TELEPORT = "teleport with feed-forward"
REFUSED: list[tuple[str, bytes, str]] = [
    ("another version", altered("bell", version=2), "version"),
    (
        "version as a float",
        cbor2.dumps([1.0, *cbor2.loads(wire.encode(PROGRAMS["bell"]))[1:]], canonical=True),
        "version",
    ),
    ("no array", b"\x01", "version"),
    ("a field too many", cbor2.dumps([*cbor2.loads(wire.encode(PROGRAMS["bell"])), b""]), "fields"),
    ("text for a column", altered("bell", qubits="abc"), "fields"),
    ("true for qubits", altered("bell", n_qubits=True), "fields"),
    ("negative qubits", altered("bell", n_qubits=-1), "qubits"),
    ("register name as bytes", altered("bell", creg_names=[b"c"]), "creg_names"),
    ("register name twice", altered("bell", creg_names=["c", "c"], creg_sizes=b"\1\1"), "creg_names"),
    ("register without a name", altered("bell", creg_names=[""]), "creg_names"),
    ("register name of 101 characters", altered("bell", creg_names=["c" * 101]), "creg_names"),
    ("register name with a control character", altered("bell", creg_names=["\x1b[2J"]), "creg_names"),
    ("input name with a line feed", altered("inputs", inputs=["theta", "p\n"]), "inputs"),
    ("register of no bits", altered("bell", creg_names=["c", "d"], creg_sizes=b"\2\0"), "creg_sizes"),
    ("register without size", altered("bell", creg_names=["c", "d"]), "creg_sizes"),
    ("input name twice", altered("inputs", inputs=["a", "a"]), "inputs"),
    ("opcode beyond the gates", altered("bell", opcodes=bytes([5, len(CODES), 255, 255])), "opcodes"),
    ("opcode before the directives", altered("bell", opcodes=bytes([5, 0xFB, 255, 255])), "opcodes"),
    ("too few qubits", altered("bell", qubits=b"\0\0\1\0"), "qubits"),
    ("qubit out of range", altered("bell", qubits=b"\0\0\1\0\2"), "qubits"),
    ("qubit repeated in a pair", altered("bell", qubits=b"\0\1\1\0\1"), "qubits"),
    ("qubit repeated among three", altered("controls and barriers", qubits=b"\0\1\2\3\4\0\4\3\4\0\1"), "qubits"),
    ("qubit repeated among four", altered("controls and barriers", qubits=b"\0\1\2\1\4\0\2\3\4\0\1"), "qubits"),
    ("indices wider than needed", altered("bell", qubits=struct.pack("<5H", 0, 0, 1, 0, 1)), "qubits"),
    ("indices of three bytes", altered("bell", qubits=b"\0" * 15), "qubits"),
    ("bit out of range", altered("bell", clbits=b"\0\2"), "clbits"),
    ("bits without measurement", altered("bell", clbits=b"\0\1\0"), "clbits"),
    ("entries for an empty column", altered("bell", spans=b"\0"), "spans"),
    ("no controls on a controlled gate", altered("controls and barriers", spans=b"\0\3\1\1"), "spans"),
    ("a barrier on nothing", altered("controls and barriers", spans=b"\3\0\1\1"), "spans"),
    ("more controls than qubits", altered("controls and barriers", spans=b"\6\3\1\1"), "spans"),
    ("a parameter cut", altered("controls and barriers", params=doubles(1, 2)[:-1]), "params"),
    ("an infinite parameter", altered("controls and barriers", params=doubles(1, float("inf"))), "params"),
    ("a NaN parameter", altered("controls and barriers", params=doubles(float("nan"), 1)), "params"),
    ("zero with a sign", altered("controls and barriers", params=doubles(-0.0, 1)), "params"),
    ("more affine parameters than parameters", altered("bell", n_affine=1), "n_affine"),
    ("negative affine parameters", altered("inputs", n_affine=-1), "n_affine"),
    ("affine places out of order", altered("inputs", affine_at=b"\2\0\3"), "affine_at"),
    ("affine place twice", altered("inputs", affine_at=b"\0\2\2"), "affine_at"),
    ("affine place out of range", altered("inputs", affine_at=b"\0\2\4"), "affine_at"),
    ("affine place without count", altered("controls and barriers", affine_at=b"\0"), "affine_at"),
    ("a term of no input", altered("inputs", affine_inputs=b"\1\0\0\2"), "affine_inputs"),
    ("a term missing", altered("inputs", affine_terms=b"\2\1\2"), "affine_inputs"),
    ("an affine parameter without terms", altered("inputs", affine_terms=b"\2\0\2"), "affine_terms"),
    ("terms out of order", altered("inputs", affine_inputs=b"\0\1\0\1"), "affine_inputs"),
    ("a term twice", altered("inputs", affine_inputs=b"\1\1\0\1"), "affine_inputs"),
    ("a coefficient of 0", altered("inputs", affine_coefficients=doubles(-1, 2, 0, 0.1)), "affine_coefficients"),
    ("an infinite coefficient", altered("inputs", affine_coefficients=doubles(1, 1, 1, float("-inf"))), "coefficients"),
    ("a block into the next branch", altered(TELEPORT, if_then=b"\2\2\0"), "if_then"),
    ("a block past the end", altered(TELEPORT, if_else=b"\0\1\2"), "if_then"),
    ("an unknown relation", altered(TELEPORT, if_relations=b"\0\5\6"), "if_relations"),
    ("a relation missing", altered(TELEPORT, if_relations=b"\0\5"), "if_relations"),
    ("a value of 64 bits", altered(TELEPORT, if_values=struct.pack("<3Q", 1, 1, 1 << 63)), "if_values"),
    ("a condition on nothing", altered(TELEPORT, if_widths=b"\0\3\1"), "if_widths"),
    ("a condition bit repeated", altered(TELEPORT, if_bits=b"\1\0\0\2"), "if_bits"),
    ("a condition bit out of range", altered(TELEPORT, if_bits=b"\1\0\1\3"), "if_bits"),
    ("branch columns without a branch", altered("bell", if_then=b"\0"), "if_then"),
]


@pytest.mark.parametrize(("data", "where"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_broken_rule_is_the_peers_error_and_names_the_column(data: bytes, where: str) -> None:
    with pytest.raises(PeerError) as caught:
        wire.decode(data)
    assert where in str(caught.value.where)
    assert caught.value.evidence == data


@pytest.mark.parametrize(
    "op",
    [
        Op("nonsense", (0,)),
        Op("if", (0,)),
        Op("", (0,)),
        Op("x", (2,)),
        Op("x", (-1,)),
        Op("x", (1 << 70,)),
        Op("x", (0.5,)),  # type: ignore[arg-type]
        Op("cx", (1, 1)),
        Op("ccx", (0, 1, 0)),
        Op("cx", (0,)),
        Op("x", (0, 1)),
        Op("x", (0, 1), (), (), -1),
        Op("x", (0, 1), (), (), 2),
        Op("rz", (0,)),
        Op("rz", (0,), (float("nan"),)),
        Op("rz", (0,), (float("-inf"),)),
        Op("rz", (0,), (10**400,)),
        Op("rz", (0,), (Affine(float("inf"), ()),)),
        Op("rz", (0,), (Affine(0.0, (("phi", 1.0),)),)),
        Op("rz", (0,), (Affine(0.0, (("theta", float("nan")),)),)),
        Op("x", (0,), (), (0,)),
        Op("measure", (0,)),
        Op("measure", (0,), (), (1,)),
        Op("measure", (0, 1), (), (0,), 1),
        Op("reset", (0, 1), (), (), 1),
        Op("barrier", (0, 1), (), (), 1),
        Op("barrier", (0,), (1.0,)),
    ],
    ids=repr,
)
def test_a_program_that_fails_check_has_no_bytes(op: Op) -> None:
    """Also where totals over all operations would match: a neighbour has what this one lacks."""
    for ops in ((op,), (Branch(Condition((0,), "==", 0), (), (op,)),), (op, Op("h", (0, 1)))):
        with pytest.raises(UsageError):
            wire.encode(Program(2, (("c", 1),), ops, ("theta",)))


def test_qubits_cannot_move_from_one_operation_to_the_next() -> None:
    """The columns of these two read as cx on (1, 0) and h on 1: a sound program, but another one."""
    with pytest.raises(UsageError, match="operation 0"):
        wire.encode(Program(2, (), (Op("cx", (1,)), Op("h", (0, 1)))))


@pytest.mark.parametrize(
    "condition",
    [Condition((), "==", 0), Condition((0, 0), "==", 0), Condition((1,), "==", 0), Condition((0,), "=", 0),
     Condition((0,), "==", -1), Condition((0,), "==", 1 << 63)],
    ids=repr,
)  # fmt: skip
def test_a_condition_that_fails_check_has_no_bytes(condition: Condition) -> None:
    with pytest.raises(UsageError):
        wire.encode(Program(1, (("c", 1),), (Branch(condition, ()),)))


@pytest.mark.parametrize(
    "program",
    [Program(-1, (), ()), Program(1, (("c", 0),), ()), Program(1, (("c", 1), ("c", 1)), ()),
     Program(0, (("\ud800", 1),), ()), Program(0, (), (), ("a", "a"))],
    ids=repr,
)  # fmt: skip
def test_sizes_and_names_that_fail_check_have_no_bytes(program: Program) -> None:
    with pytest.raises(UsageError):
        wire.encode(program)


# ---- caps ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caps", "limit"),
    [
        (Caps(qubits_max=2), "2 qubits"),
        (Caps(clbits_max=2), "2 classical bits"),
        (Caps(operations_max=15), "15 operations"),
        (Caps(bytes_max=98), "98 bytes"),
    ],
)
def test_a_program_past_a_cap_is_refused_with_the_cap(caps: Caps, limit: str) -> None:
    data = wire.encode(PROGRAMS[TELEPORT])
    with pytest.raises(PeerError) as caught:
        wire.decode(data, caps)
    assert caught.value.limit == limit


def test_a_program_at_its_caps_passes_as_check_counts_them() -> None:
    program = PROGRAMS[TELEPORT]
    data = wire.encode(program)
    caps = Caps(len(data), program.n_qubits, program.n_clbits, 16, 0)  # 12 at the top, 4 in blocks
    check(program, caps)
    assert wire.decode(data, caps) == program
    with pytest.raises(PeerError, match="inputs"):
        wire.decode(wire.encode(PROGRAMS["inputs"]), Caps(inputs_max=1))


BOMBS: list[Callable[[], bytes]] = [
    lambda: altered("bell", n_qubits=(1 << 64) - 1),
    lambda: altered("bell", creg_sizes=struct.pack("<Q", (1 << 64) - 1)),
    lambda: altered("bell", n_qubits=100_000, opcodes=b"\xfd" * 4, spans=struct.pack("<4I", *[100_000] * 4), qubits=b"",
                    clbits=b""),
    lambda: altered("bell", n_qubits=100_000, opcodes=bytes([X | 0x80]) * 4, spans=struct.pack("<4Q", *[1 << 62] * 4)),
    lambda: altered("inputs", affine_terms=struct.pack("<3Q", *[1 << 62] * 3)),
    lambda: altered("inputs", n_affine=(1 << 64) - 1),
    lambda: altered(TELEPORT, if_then=struct.pack("<3Q", *[1 << 62] * 3)),
    lambda: altered(TELEPORT, if_widths=struct.pack("<3Q", *[1 << 62] * 3)),
]  # fmt: skip


@pytest.mark.parametrize("bomb", range(len(BOMBS)))
def test_a_declared_size_allocates_nothing(bomb: int) -> None:
    data = BOMBS[bomb]()
    tracemalloc.start()
    try:
        with pytest.raises(PeerError):
            wire.decode(data)
        assert tracemalloc.get_traced_memory()[1] < 300_000
    finally:
        tracemalloc.stop()


def test_columns_are_open_to_whoever_only_counts() -> None:
    columns = wire.decode_columns(wire.encode(PROGRAMS["controls and barriers"]))
    assert [OPCODES[code] for code in columns.opcodes] == ["x", "barrier", "gphase", "rzz"]
    assert op_widths(columns.opcodes, columns.spans).tolist() == [4, 3, 1, 3]
    assert wire.program_of(columns) == PROGRAMS["controls and barriers"]


def test_encode_holds_a_program_to_the_caps_it_is_given() -> None:
    program = PROGRAMS[TELEPORT]
    assert wire.encode(program, Caps(qubits_max=3, clbits_max=3, operations_max=16)) == wire.encode(program)
    for caps, limit in ((Caps(qubits_max=2), "2 qubits"), (Caps(operations_max=15), "15 operations")):
        with pytest.raises(UsageError) as caught:
            wire.encode(program, caps)
        assert caught.value.limit == limit
