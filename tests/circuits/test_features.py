"""features: counts of a program whose answers are known by hand."""

from __future__ import annotations

import math

from qcommons.circuits.features import features
from qcommons.circuits.noise import Channel, Noise, Rule
from qcommons.circuits.program import Op, Program


def test_ghz_is_clifford_with_bond_two() -> None:
    n = 10
    ops = (Op("h", (0,)), *(Op("cx", (q, q + 1)) for q in range(n - 1)))
    reads = tuple(Op("measure", (q,), (), (q,)) for q in range(n))
    seen = features(Program(n, (("c", n),), (*ops, *reads)))
    assert seen.clifford and not seen.dynamic and seen.n_branching == 1
    assert seen.bond_log2 == 1 and seen.swap_distance == 0 and seen.measured == n


def test_reset_and_reuse_after_measurement_are_dynamic() -> None:
    reused = Program(1, (("c", 1),), (Op("h", (0,)), Op("measure", (0,), (), (0,)), Op("x", (0,))))
    assert features(reused).dynamic
    assert features(Program(1, (), (Op("h", (0,)), Op("reset", (0,))))).dynamic


def test_long_gates_pay_swaps_and_noise_is_counted() -> None:
    noise = Noise((Rule((Channel("depolarizing", (0.1,)),)),))
    seen = features(Program(5, (), (Op("rzz", (0, 4), (0.3,)), Op("t", (2,)))), noise)
    assert seen.swap_distance == 3 and seen.n_non_clifford == 2 and seen.n_noise == 2
    assert seen.noise_kinds == {"depolarizing"}


def test_bond_bound_never_exceeds_half_the_line() -> None:
    ops = tuple(Op("cu", (q, (q + 1) % 8), (1.0, 0.2, 0.3, 0.1)) for _ in range(30) for q in range(7))
    assert features(Program(8, (), ops)).bond_log2 == math.log2(2**4)
