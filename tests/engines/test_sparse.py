"""Sparse states: known answers on hundreds of qubits, caps, and the merging of equal basis states."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qcommons.base.seeds import stream
from qcommons.circuits.observables import PauliSum, Term
from qcommons.circuits.program import Branch, Condition, Op, Program
from qcommons.engines import sparse
from qcommons.engines.numpy_engine import ENGINE
from qcommons.engines.records import Amplitudes, CapExceeded, Counts, Expectations, Limits, Task
from qcommons.engines.sparse import SparseState

LIMITS = Limits(memory_bytes=1 << 30, seconds=30)


def run(n, ops, want=None, shots=1000, limits=LIMITS, measure=True, clbits=None):
    tail = tuple(Op("measure", (q,), clbits=(q,)) for q in range(n)) if measure else ()
    program = Program(n, (("c", clbits or n),), (*ops, *tail))
    return ENGINE.run(Task(program, want or Counts(shots), "sparse", 3, limits))


def test_cat_state_on_433_qubits_has_two_outcomes():
    n = 433
    answer = run(n, [Op("h", (0,)), *(Op("cx", (q, q + 1)) for q in range(n - 1))])
    assert set(answer.counts) == {"0" * n, "1" * n} and answer.facts["terms_peak"] == 2
    assert abs(answer.counts["0" * n] - 500) < 6 * math.sqrt(250)  # 6 sigma: 2e-9


def test_w_state_amplitudes_are_one_over_root_n():
    """Cruz et al., Adv. Quantum Technol. 2, 1900015 (2019): a chain of controlled rotations and CX."""
    n = 118
    ops = [Op("x", (0,))]
    for q in range(n - 1):
        ops += [Op("cry", (q, q + 1), (2 * math.acos(math.sqrt(1 / (n - q))),)), Op("cx", (q + 1, q))]
    keys = tuple(format(1 << q, f"0{n}b") for q in range(n))
    answer = run(n, ops, Amplitudes((*keys, "0" * n)), measure=False)
    values = np.array([complex(*a) for a in answer.amplitudes])
    assert np.allclose(np.abs(values[:-1]), n**-0.5, atol=1e-12) and values[-1] == 0
    assert answer.facts["terms_peak"] <= n


def test_bernstein_vazirani_finds_its_string_when_the_oracle_is_one_query():
    """Secret with 12 ones: only the touched data qubits are put into superposition."""
    n, secret = 300, sorted({int(q) for q in stream(1, "bv").integers(0, 299, 12)})
    ops = [Op("x", (n - 1,)), Op("h", (n - 1,)), *(Op("h", (q,)) for q in secret)]
    ops += [Op("cx", (q, n - 1)) for q in secret] + [Op("h", (q,)) for q in secret]
    answer = run(n, [*ops, Op("h", (n - 1,))], shots=50)
    assert answer.counts == {format(sum(1 << q for q in secret) | 1 << (n - 1), f"0{n}b"): 50}


def test_ripple_carry_adder_adds_like_integers():
    """Vedral, Barenco & Ekert, PRA 54, 147 (1996), on 100-bit numbers held in 301 qubits."""
    width = 100
    rng = stream(2, "adder")
    a, b = (int.from_bytes(rng.bytes(12), "big") for _ in range(2))
    A, B, C = (lambda i: i), (lambda i: width + i), (lambda i: 2 * width + i)
    carry = lambda i: [  # noqa: E731
        Op("ccx", (A(i), B(i), C(i + 1))), Op("cx", (A(i), B(i))), Op("ccx", (C(i), B(i), C(i + 1)))
    ]  # fmt: skip
    ops = [Op("x", (A(i),)) for i in range(width) if a >> i & 1] + [
        Op("x", (B(i),)) for i in range(width) if b >> i & 1
    ]
    for i in range(width):
        ops += carry(i)
    ops.append(Op("cx", (C(width - 1), B(width - 1))))  # `carry` has left b ^ a in B: the top sum bit
    for i in reversed(range(width - 1)):
        ops += [*reversed(carry(i)), Op("cx", (A(i), B(i))), Op("cx", (C(i), B(i)))]
    [(key, shots)] = run(3 * width + 1, ops, shots=10).counts.items()
    value = int(key, 2)
    total = (value >> width & ((1 << width) - 1)) | (value >> 3 * width & 1) << width
    assert shots == 10 and total == a + b


def test_superposed_arithmetic_merges_what_interferes():
    state = SparseState(70, 1 << 12)
    state.apply([Op("h", (q,)) for q in (0, 65, 69)])
    assert state.amplitudes.shape == (8,)
    state.apply([Op("h", (q,)) for q in (0, 65, 69)])
    assert state.amplitudes.shape == (1,) and state.amplitudes[0] == pytest.approx(1, abs=1e-14)
    assert 0 <= state.dropped_norm < 1e-14


def test_amplitudes_agree_with_the_discrete_fourier_transform():
    """QFT of |x> on qubits spread over three words: exp(2 pi i x y / 2^k) / sqrt(2^k)."""
    wires = [3, 70, 71, 130, 131]
    k, x = len(wires), 11
    ops = [Op("x", (wires[i],)) for i in range(k) if x >> i & 1]
    for i in reversed(range(k)):
        ops.append(Op("h", (wires[i],)))
        ops += [Op("cp", (wires[j], wires[i]), (math.pi / (1 << (i - j)),)) for j in range(i)]
    ops += [Op("swap", (wires[i], wires[k - 1 - i])) for i in range(k // 2)]
    keys = [sum(1 << wires[i] for i in range(k) if y >> i & 1) for y in range(1 << k)]
    answer = run(140, ops, Amplitudes(tuple(format(key, "0140b") for key in keys)), measure=False)
    found = np.array([complex(*a) for a in answer.amplitudes])
    exact = np.exp(2j * np.pi * x * np.arange(1 << k) / (1 << k)) / math.sqrt(1 << k)
    assert np.abs(found - exact).max() < 1e-13


def test_ghz_stabilisers_read_plus_one_on_100_qubits():
    n = 100
    ops = [Op("h", (0,)), *(Op("cx", (q, q + 1)) for q in range(n - 1))]
    rows = [
        Term(1.0, tuple((q, "X") for q in range(n))), Term(1.0, ((0, "Z"), (99, "Z"))), Term(1.0, ((5, "Z"),)),
        Term(1.0, ((0, "Y"), (1, "Y"), *((q, "X") for q in range(2, n)))),
    ]  # fmt: skip
    answer = run(n, ops, Expectations(tuple(PauliSum((t,), "") for t in rows)), measure=False)
    assert [e.value for e in answer.estimates] == pytest.approx([1, 1, 0, -1], abs=1e-12)


def test_too_many_terms_raise_before_memory_goes():
    with pytest.raises(CapExceeded, match="terms_max"):
        run(40, [Op("h", (q,)) for q in range(40)], limits=Limits(1 << 30, 30, terms_max=1 << 10))


def test_a_hash_collision_changes_nothing(monkeypatch):
    """With a hash that sees one bit of the first word only, other multipliers are tried until keys differ."""
    good = SparseState._hash
    calls = []

    def poor(self, keys):
        calls.append(self.salt)
        return keys[0] & np.uint64(1) if self.salt == 0 else good(self, keys)

    monkeypatch.setattr(sparse.SparseState, "_hash", poor)
    state = SparseState(100, 1 << 10)
    state.apply([Op("h", (q,)) for q in (1, 80, 99)] + [Op("h", (q,)) for q in (1, 80, 99)])
    assert state.amplitudes.shape == (1,) and 0 in calls and state.salt > 0


def test_teleportation_across_200_qubits_costs_four_histories():
    n = 200
    when = lambda c, gate: Branch(Condition((c,), "==", 1), (Op(gate, (n - 1,)),))  # noqa: E731
    ops = [
        Op("ry", (0,), (0.9,)), Op("h", (100,)), Op("cx", (100, n - 1)), Op("cx", (0, 100)), Op("h", (0,)),
        Op("measure", (0,), clbits=(0,)), Op("measure", (100,), clbits=(1,)), when(1, "x"), when(0, "z"),
        Op("ry", (n - 1,), (-0.9,)), Op("measure", (n - 1,), clbits=(2,)),
    ]  # fmt: skip
    answer = run(n, ops, measure=False, clbits=3)
    assert answer.facts["histories"] == 4 and all(key[0] == "0" for key in answer.counts)


def test_inverse_fourier_transform_with_feed_forward_reads_the_phase():
    """Griffiths & Niu, PRL 76, 3228 (1996): one bit at a time, later angles from earlier bits."""
    k, value = 8, 0b10110101
    ops = [Op("h", (q,)) for q in range(k)]
    ops += [Op("p", (q,), (2 * math.pi * value / (1 << (q + 1)),)) for q in range(k)]
    for i in range(k):
        for j in range(i):
            ops.append(Branch(Condition((j,), "==", 1), (Op("p", (i,), (-math.pi / (1 << (i - j)),)),)))
        ops += [Op("h", (i,)), Op("measure", (i,), clbits=(i,))]
    answer = run(k, ops, measure=False)
    assert answer.counts == {format(value, "08b"): 1000}
