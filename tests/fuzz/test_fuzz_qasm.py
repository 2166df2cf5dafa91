"""Fuzz targets of both OpenQASM parsers.

Invariant: any text either gives a Program that passes `check`, survives the round trip, and came in
under two seconds, or raises UsageError in that time. Nothing else may come out.
"""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcommons.base.errors import UsageError
from qcommons.circuits.program import Caps, check
from qcommons.circuits.qasm import dumps, parse

CAPS = Caps(operations_max=20_000, qubits_max=1000, clbits_max=1000, inputs_max=100)
SEED_2 = """OPENQASM 2.0; include "qelib1.inc"; qreg q[4]; creg c[4]; gate g(a, b) x, y { rx(a*2^b) x; cx x, y; }
opaque o a; g(pi/2, -1.5e-3) q[0], q[1]; h q; cx q[0], q[1]; if (c == 3) u3(0.1, sin(pi), 0/1) q[2];
measure q -> c; reset q[1]; barrier q[0], q[3]; measure q[0] -> c[1]; // end
"""
SEED_3 = """OPENQASM 3.0; include "stdgates.inc"; input float[64] theta; input array[float[64], 2] v; const int n = 3;
qubit[4] q; bit[4] c; bit d; let a = q[0:1] ++ q[{3}]; gate g(t) x, y { ctrl @ rx(t) x, y; gphase(t / 2); }
for int i in [0:2] { g(0.1 * i + theta) q[i], q[i + 1]; } for float f in {0.1, -2e3} { pow(f) @ x a[0]; }
negctrl(2) @ inv @ pow(2) @ U(pi, -v[1], τ) q[0], q[1], q[2]; if (c[0] && !d) { x q[-1]; } else { h q[::2]; }
if (c == "0101") x q[0]; else if (c == 2) reset q; c = measure q; d = measure q[0]; delay[10ns] q; barrier;
gphase(-0.5); #pragma x
"""
WORDS = """
qubit bit qreg creg gate opaque if else for in measure reset barrier include let input output const ctrl negctrl inv pow
gphase U CX int float angle array while def x cx h rx u3 p swap q c a n pi theta sin sqrt ; , : ( ) [ ] { } @ = == != ->
++ ** ^ + - * / % ! && || < > << 0 1 2 3 0.5 1e999 -1 0x1F 10ns "0101" "qelib1.inc" $0 $1 // /* */ # é \\ '
"""
PIECES = st.one_of(st.sampled_from([*WORDS.split(), "\n"]), st.text(max_size=3), st.integers(-9, 10**12).map(str))


def mutations(seed: str) -> st.SearchStrategy[str]:
    """The seed with a few cuts, copies, swaps and insertions at token borders."""
    tokens = seed.replace(";", " ; ").replace("(", " ( ").replace(")", " ) ").replace("[", " [ ").split(" ")
    place = st.integers(0, len(tokens))
    edit = st.tuples(place, st.integers(0, 6), st.lists(PIECES, max_size=4))

    def apply(edits: list[tuple[int, int, list[str]]]) -> str:
        out = list(tokens)
        for start, length, pieces in edits:
            out[start : start + length] = pieces
        return " ".join(out)

    return st.lists(edit, max_size=4).map(apply)


def holds(text: str) -> None:
    start = time.process_time()
    try:
        program = parse(text, caps=CAPS).program
    except UsageError as error:
        assert error.where and error.where.startswith("<input>")
        return
    finally:
        assert time.process_time() - start < 2.0
    check(program, CAPS)
    assert parse(dumps(program)).program == program


def test_the_seeds_are_accepted() -> None:
    """Otherwise the mutations would only exercise the first error."""
    assert len(parse(SEED_2, caps=CAPS).program.ops) > 10
    assert len(parse(SEED_3, caps=CAPS).program.ops) > 20


@given(mutations(SEED_2))
@settings(max_examples=400, deadline=None, derandomize=True)
def test_any_text_near_openqasm_2_is_read_or_refused(text: str) -> None:
    holds(text)


@given(mutations(SEED_3))
@settings(max_examples=400, deadline=None, derandomize=True)
def test_any_text_near_openqasm_3_is_read_or_refused(text: str) -> None:
    holds(text)


@given(st.lists(PIECES, max_size=40).map(" ".join), st.sampled_from(["", "OPENQASM 2.0;", "OPENQASM 3.0;"]))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_sequence_of_words_is_read_or_refused(text: str, head: str) -> None:
    holds(head + text)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        check(parse(raw, caps=CAPS).program, CAPS)
    except UsageError as error:
        assert error.where


@pytest.mark.parametrize("seed", [SEED_2, SEED_3], ids=["2", "3"])
def test_every_prefix_is_read_or_refused(seed: str) -> None:
    for stop in range(0, len(seed), 3):
        holds(seed[:stop])
