"""Fuzz target: whatever the bytes, `decode` yields a sound program or raises PeerError, fast and small.

Three sources: random bytes; valid programs with bytes changed, cut, inserted or repeated; valid CBOR with
columns changed, which reaches the rules behind the scan.
"""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import cbor2
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.vectors.regenerate import PROGRAMS

from qcommons.base import canonical
from qcommons.base.errors import PeerError
from qcommons.circuits import wire
from qcommons.circuits.columns import KNOWN, Columns
from qcommons.circuits.program import check

VALID = [wire.encode(program) for program in PROGRAMS.values()]
SECONDS_MAX = 0.5  # of CPU; these inputs take below 1 ms, so that only a blow-up passes it
BYTES_MAX = 10_000_000
FUZZ = settings(max_examples=400, deadline=None)


def holds(data: bytes) -> None:
    """The invariant of `decode`, with the other decoder's beside it."""
    tracemalloc.start()
    start_s = time.process_time()
    try:
        program = wire.decode(data)
    except PeerError as error:
        program = None
        assert error.where and error.what and error.evidence == data[:1024]
    seconds = time.process_time() - start_s
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < SECONDS_MAX
    assert peak_bytes < BYTES_MAX
    if program is not None:
        check(program)
        assert wire.encode(program) == data
    try:
        value = canonical.decode(data, bytes_max=1 << 20, items_max=1 << 15, tags=frozenset(canonical.TAGS))
    except PeerError:
        assert program is None
    else:
        assert canonical.encode(value, tags=frozenset(canonical.TAGS)) == data


@FUZZ
@given(st.binary(max_size=300) | st.binary(max_size=60).map(lambda tail: b"\x95\x01" + tail))
def test_random_bytes(data: bytes) -> None:
    holds(data)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["set", "flip", "cut", "insert", "repeat", "drop"])):
            case "set":
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case "flip" if at < len(data):
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del data[at:]
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=9))
            case "repeat":
                data[at:at] = data[at : at + 8]
            case "drop":
                del data[at : at + draw(st.integers(1, 8))]
    return bytes(data)


@FUZZ
@given(mutated())
def test_mutated_and_truncated_programs(data: bytes) -> None:
    holds(data)


COLUMNS = st.binary(max_size=12) | st.lists(st.sampled_from([0, 1, 2, 3, 255]), max_size=12).map(bytes)
OPCODES = st.lists(st.sampled_from([*KNOWN]), max_size=12).map(bytes)
NUMBERS = st.integers(-2, 9) | st.sampled_from([2**31, 2**32, 2**62, 2**63, 2**64 - 1])


@st.composite
def recolumned(draw: st.DrawFn) -> bytes:
    fields: list[Any] = cbor2.loads(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(fields) - 1))
        match fields[at]:
            case int():
                fields[at] = draw(NUMBERS)
            case list():
                fields[at] = draw(st.lists(st.sampled_from(["a", "b", "", b"a", 1, None]), max_size=3))
            case bytes() if Columns._fields[at - 1] == "opcodes":
                fields[at] = draw(OPCODES)
            case bytes() as column:
                fields[at] = draw(COLUMNS | st.permutations(list(column)).map(bytes))
    return cbor2.dumps(fields, canonical=True)


@FUZZ
@given(recolumned())
def test_columns_that_contradict_each_other(data: bytes) -> None:
    holds(data)


def test_every_truncation_of_every_vector_is_refused() -> None:
    for data in VALID:
        for end in range(len(data)):
            try:
                wire.decode(data[:end])
            except PeerError:
                continue
            raise AssertionError(f"{data[:end].hex()} decodes")
