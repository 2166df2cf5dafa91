"""Sampling: exact distributions, bitstrings of any width, readout flips."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qcommons.base.seeds import stream
from qcommons.engines import sampling


def total_variation(outcomes, repeats, exact):
    found = np.zeros(len(exact))
    found[outcomes] = repeats
    return np.abs(found / repeats.sum() - exact).sum() / 2


@pytest.mark.parametrize("n, shots", [(3, 20_000), (12, 200), (13, 900), (14, 60_000)])
def test_draw_state_follows_the_squared_amplitudes(n, shots):
    """Each branch of the sampler: multinomial, cumulative sum, opened blocks."""
    rng = stream(1, "test", n)
    psi = rng.normal(size=1 << n) + 1j * rng.normal(size=1 << n)
    psi[::3] = 0
    psi /= np.linalg.norm(psi)
    exact = np.abs(psi) ** 2
    outcomes, repeats = sampling.draw_state(psi, shots, rng)
    assert repeats.sum() == shots and np.all(np.diff(outcomes) > 0) and np.all(exact[outcomes] > 0)
    # mean <= sum sqrt(p (1-p) / N) / 2, deviation by McDiarmid, false alarm 1e-9
    bound = np.sqrt(exact * (1 - exact) / shots).sum() / 2 + math.sqrt(math.log(1e9) / (2 * shots))
    assert total_variation(outcomes, repeats, exact) < bound


def test_draw_state_opens_blocks_for_single_precision_too():
    psi = np.zeros(1 << 14, dtype=np.complex64)
    psi[[5, 7000, 16383]] = np.sqrt([0.5, 0.25, 0.25])
    outcomes, repeats = sampling.draw_state(psi, 1000, stream(2, "test"))
    assert outcomes.tolist() == [5, 7000, 16383] and repeats.sum() == 1000
    assert abs(repeats[0] - 500) < 6 * math.sqrt(250)  # 6 sigma: 2e-9


def test_opened_blocks_agree_with_one_cumulative_sum():
    """The blocked sampler inverts the same distribution function: same uniform numbers, same outcomes."""
    rng = stream(3, "test")
    psi = rng.normal(size=1 << 13) + 1j * rng.normal(size=1 << 13)
    outcomes, repeats = sampling.draw_state(psi, 500, stream(4, "u"))
    points = np.sort(stream(4, "u").random(500))
    cumulative = np.cumsum(np.abs(psi) ** 2)
    expected = np.searchsorted(cumulative, points * cumulative[-1], side="right")
    assert np.array_equal(np.repeat(outcomes, repeats), expected)


def test_unnormalised_weights_and_a_last_zero_are_handled():
    weights = np.zeros(5000)
    weights[:2] = (3.0, 1.0)
    outcomes, repeats = sampling.draw(weights, 100, stream(5, "test"))
    assert set(outcomes.tolist()) <= {0, 1} and repeats.sum() == 100


def test_bitstrings_have_bit_zero_rightmost_at_every_width():
    for width in (1, 5, 8, 62, 63, 64, 65, 433):
        bits = np.zeros((3, width), dtype=bool)
        bits[0, 0] = bits[2, 0] = bits[1, width - 1] = True
        counts = sampling.bit_counts(bits, np.array([2, 5, 1]))
        first, last = 1, 1 << (width - 1)
        expected = {format(first, f"0{width}b"): 3}
        expected[format(last, f"0{width}b")] = expected.get(format(last, f"0{width}b"), 0) + 5
        assert counts == expected


def test_no_classical_bits_give_the_empty_key():
    assert sampling.bit_counts(np.zeros((4, 0), dtype=bool)) == {"": 4}
    assert sampling.basis_counts(np.array([0]), np.array([9]), {}, 0) == {"": 9}


def test_measured_bits_come_from_their_qubits_and_others_stay():
    counts = sampling.basis_counts(np.array([0b01, 0b10]), np.array([3, 4]), {2: 0, 0: 1}, 4, bits=[1, 1, 1, 0])
    assert counts == {"0110": 3, "0011": 4}


def test_equal_outcomes_after_dropping_qubits_add_up():
    assert sampling.basis_counts(np.array([0, 1, 2, 3]), np.array([1, 1, 1, 1]), {0: 1}, 1) == {"0": 2, "1": 2}


def test_readout_flips_have_their_rates():
    """100,000 shots of |01>: rates within 6 sigma (false alarm 2e-9 each)."""
    shots = 100_000
    counts = sampling.basis_counts(
        np.array([0b01]), np.array([shots]), {0: 0, 1: 1}, 2, flips={0: (0.5, 0.1), 1: (0.02, 0.9)}, rng=stream(6, "t")
    )
    for bit, rate in ((0, 0.1), (1, 0.02)):
        read = sum(c for k, c in counts.items() if k[-1 - bit] == "1")
        wrong = shots - read if bit == 0 else read
        assert abs(wrong - rate * shots) < 6 * math.sqrt(rate * (1 - rate) * shots)


def test_a_billion_shots_through_readout_errors_cost_outcomes_not_shots():
    """|0> and |3> half each on two bits: P(bit flips) are exact; 6 sigma of a binomial of 1e9 shots, 2e-9 a cell."""
    shots, flips = 10**9, {0: (0.1, 0.2), 1: (0.0, 0.5)}
    outcomes, repeats = np.array([0, 3]), np.array([shots // 2, shots // 2])
    counts = sampling.basis_counts(outcomes, repeats, {0: 0, 1: 1}, 2, flips=flips, rng=stream(5, "test"))
    exact = {"00": 0.5 * 0.9 + 0.5 * 0.5 * 0.2, "01": 0.5 * 0.1 + 0.5 * 0.5 * 0.8, "10": 0.25 * 0.2, "11": 0.25 * 0.8}
    assert sum(counts.values()) == shots
    for bits, p in exact.items():
        assert abs(counts[bits] - p * shots) < 6 * math.sqrt(p * (1 - p) * shots)
