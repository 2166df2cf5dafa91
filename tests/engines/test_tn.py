"""The tn engine beyond the conformance suite: wide circuits, slicing, refusals.

Modules: tn_engine, tn_network.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from tests.engines.free_fermions import ising_program, ising_values

from qcommons.base.seeds import stream
from qcommons.circuits.features import features
from qcommons.circuits.observables import PauliSum, Term
from qcommons.circuits.program import Op, Program
from qcommons.engines.aer_engine import ENGINE as AER
from qcommons.engines.records import Amplitudes, CapExceeded, Expectations, Limits, Statevector, Task
from qcommons.engines.select import select
from qcommons.engines.tn_engine import ENGINE

pytestmark = pytest.mark.skipif(ENGINE.installed() is None, reason=f"needs {ENGINE.install}")
LIMITS = Limits(memory_bytes=1 << 30, seconds=30.0)


def grid(rows, columns, layers):
    """Random one-qubit gates and cz on a quarter of the couplers in turn."""
    rng = stream(3, "test", "tn")
    n = rows * columns
    at = [[r * columns + c for c in range(columns)] for r in range(rows)]
    across = [[(row[c], row[c + 1]) for row in at for c in range(s, columns - 1, 2)] for s in (0, 1)]
    down = [[(at[r][c], at[r + 1][c]) for r in range(s, rows - 1, 2) for c in range(columns)] for s in (0, 1)]
    couplers = across + down
    ops = []
    for layer in range(layers):
        ops += [Op("u", (q,), tuple(rng.uniform(0, 3, 3).tolist())) for q in range(n)]
        ops += [Op("cz", pair) for pair in couplers[layer % 4]]
    ops += [Op("u", (q,), tuple(rng.uniform(0, 3, 3).tolist())) for q in range(n)]
    return Program(n, (), tuple(ops))


def amplitudes(program, bitstrings, limits=LIMITS):
    answer = ENGINE.run(Task(program, Amplitudes(bitstrings), "contract", 1, limits))
    return np.array([complex(*a) for a in answer.amplitudes]), answer


def test_grid_amplitudes_agree_with_the_statevector():
    program = grid(4, 4, 8)
    exact = AER.run(Task(program, Statevector(), "statevector", 1, LIMITS)).amplitudes
    chosen = (0, 1, 12345, 65535)
    found, _ = amplitudes(program, tuple(format(i, "016b") for i in chosen))
    assert np.abs(found - [complex(*exact[i]) for i in chosen]).max() < 1e-12


def test_sliced_contraction_gives_the_same_number():
    program = grid(4, 4, 8)
    whole, free = amplitudes(program, ("0110" * 4,))
    cut, sliced = amplitudes(program, ("0110" * 4,), Limits(memory_bytes=3 * 16 << 6, seconds=30.0))
    assert free.facts["slices"] == 1
    assert sliced.facts["slices"] > 1
    assert sliced.facts["width"] <= 6
    assert cut[0] == pytest.approx(whole[0], abs=1e-12)


def test_local_values_of_a_hundred_qubits_match_free_fermions():
    x, zz = ising_values(100, 3, 0.2)
    rows = [(x[50], ((50, "X"),)), (zz[70], ((70, "Z"), (71, "Z"))), (x[0], ((0, "X"),))]
    want = Expectations(tuple(PauliSum((Term(1.0, paulis),), "local") for _, paulis in rows))
    answer = ENGINE.run(Task(ising_program(100, 3, 0.2), want, "contract", 1, LIMITS))
    assert [e.value for e in answer.estimates] == pytest.approx([value for value, _ in rows], abs=1e-10)


def test_a_contraction_beyond_the_seconds_is_refused_before_it_starts():
    with pytest.raises(CapExceeded, match=r"limit 0\.001 s"):
        amplitudes(grid(5, 6, 10), ("0" * 30,), Limits(memory_bytes=1 << 30, seconds=1e-3))


def test_a_contraction_beyond_the_memory_is_refused_before_it_starts():
    with pytest.raises(CapExceeded, match=r"needs .* B; limit 4096 B"):
        amplitudes(grid(6, 6, 12), ("0" * 36,), Limits(memory_bytes=1 << 12, seconds=1.0))


def test_attempts_capped_by_time_grow_until_the_limit_of_the_request():
    """A wrong prediction costs 4 times itself before the next rung tries, then 8 times more."""
    program = ising_program(40, 20, 0.2)
    want = Expectations((PauliSum((Term(1.0, ((20, "X"), (30, "Y"))),), "far"),))
    limits = Limits(memory_bytes=1 << 30, seconds=1000.0)
    engines = {"tn": ENGINE}
    ladder = select(features(program), want, engines, {}, limits)
    allowed = [rung.limits.seconds for rung in ladder.rungs]
    assert allowed[0] == pytest.approx(4 * ladder.rungs[0].cost.seconds)
    assert all(b == pytest.approx(min(8 * a, 1000.0)) for a, b in pairwise(allowed))
    assert allowed[-1] == 1000.0 and len(allowed) > 1
    assert [r.limits.seconds for r in select(features(program), want, engines, {}, limits, engine="tn").rungs] == [1000]


def test_a_path_far_over_the_limit_is_left_after_the_quick_search():
    """A random circuit on a 7 x 7 grid of 16 layers: width about 40; the thorough search would take 25 ms a tensor."""
    with pytest.raises(CapExceeded, match=r"takes about .* s; limit 1\.2e\+02 s"):
        amplitudes(grid(7, 7, 16), ("0" * 49,), Limits(memory_bytes=1 << 60, seconds=120.0))
