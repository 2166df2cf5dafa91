"""The dense part of a near-Clifford program: w active qubits, Pauli rotations, joint outcomes.

Flow: frames (`Reduced`) -> *evolve* -> `mean` or `OutcomeMap` -> frames_engine.

Everything dense is one kernel: phi <- keep * phi + scale * Q phi for a Pauli Q = i^e X^cx Z^cz,
(Q phi)[u] = i^e (-1)^(cz.(u^cx)) phi[u^cx], done block by block so that a pair of blocks stays in
the processor's cache.

Sampling k measured Paulis M_1..M_k (commuting, each with a +-1 outcome (-1)^m) takes three steps.
1. Elimination over GF(2) on the X parts outside the active register. A product with such a part has
   mean 0, so the r independent rows' bits are uniform and independent of all the rest (every mixed
   moment vanishes), and the other rows, multiplied by them, act on the active register only.
2. Elimination on the active register leaves s <= w independent commuting generators; dependent rows
   are products of earlier ones times a sign.
3. Each generator G with an X part is turned into Z on one active qubit l (a bit of its X part): with
   the other generators multiplied by G where they flip l, they commute with the map
   phi[v], v_l = 0  ->  (phi + G phi)[v] / sqrt 2 at v_l = 0,  (phi - G phi)[v] / sqrt 2 at v_l = 1,
   which puts G's eigenvalue (-1)^b at index bit l = b. Afterwards all generators are parities of
   the index.
So one draw v from |phi|^2 and r coin tosses give all outcomes: every m_k is a parity of bits of v
and of the coins, plus a constant.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from qcommons.engines.frames import ActivePauli, Frame, Pauli, bit_rows, multiply

__all__ = ["OutcomeMap", "combine", "evolve", "mean"]

Vector = NDArray[np.complex128]
BLOCK_LOG2 = 14  # 256 KiB a block: two blocks, a buffer and the coefficients fit a 1-2 MiB L2 cache
MATMUL_BYTES = 1 << 26  # float32 work space of `OutcomeMap.sample`


def _signs(mask: int, width: int) -> NDArray[np.float64]:
    """(-1)^(mask.u) for u in 0 .. 2**width - 1."""
    signs = np.ones(1)
    for bit in range(width):
        signs = np.concatenate((signs, -signs if mask >> bit & 1 else signs))
    return signs


def _parity(value: int) -> int:
    return value.bit_count() & 1


def combine(phi: Vector, pauli: ActivePauli, keep: complex, scale: complex) -> None:
    """phi <- keep * phi + scale * Q phi, in place.

    Args:
        phi: complex128, shape (2**w,), active qubit 0 least significant.
        pauli: (cx, cz, e), the operator i^e X^cx Z^cz on the active qubits.
    """
    cx, cz, e = pauli
    low = min(BLOCK_LOG2, phi.shape[0].bit_length() - 1)
    blocks = phi.reshape(-1, 1 << low)
    mask = (1 << low) - 1
    source = np.arange(1 << low) ^ (cx & mask)
    coefficients = scale * 1j**e * _signs(cz & mask, low)[source]
    cx_high, cz_high = cx >> low, cz >> low
    buffer, other = np.empty(1 << low, np.complex128), np.empty(1 << low, np.complex128)

    def flipped(block: int, out: Vector) -> None:
        """scale * Q applied to one block; the result belongs to block ^ cx_high."""
        np.take(blocks[block], source, out=out, mode="clip")
        out *= coefficients
        if _parity(block & cz_high):
            np.negative(out, out=out)

    for a in range(blocks.shape[0]):
        b = a ^ cx_high
        if b < a:
            continue
        flipped(b, buffer)
        if b != a:
            flipped(a, other)
            blocks[b] *= keep
            blocks[b] += other
        blocks[a] *= keep
        blocks[a] += buffer


def evolve(turns: Iterable[tuple[ActivePauli, float]], width: int) -> Vector:
    """prod_j exp(-i angle_j/2 Q_j) |0^width>, growing by one qubit as its first X part comes.

    Returns:
        complex128, shape (2**width,).
    """
    phi: Vector = np.ones(1, np.complex128)
    for pauli, angle in turns:
        grown = 1 << (pauli[0] | pauli[1]).bit_length()
        if grown > phi.shape[0]:
            phi = np.concatenate((phi, np.zeros(grown - phi.shape[0], np.complex128)))
        combine(phi, pauli, math.cos(angle / 2), -1j * math.sin(angle / 2))
    return np.concatenate((phi, np.zeros((1 << width) - phi.shape[0], np.complex128))) if width else phi


def mean(phi: Vector, pauli: ActivePauli) -> float:
    """<phi|Q|phi> of a Hermitian Pauli, with a normalised `phi`."""
    cx, cz, e = pauli
    if not cx and not cz:
        return 1.0 if e == 0 else -1.0
    low = min(BLOCK_LOG2, phi.shape[0].bit_length() - 1)
    blocks = phi.reshape(-1, 1 << low)
    mask = (1 << low) - 1
    source = np.arange(1 << low) ^ (cx & mask)
    signs = _signs(cz & mask, low)[source]
    total = 0j
    for a in range(blocks.shape[0]):
        b = a ^ (cx >> low)
        part = np.vdot(blocks[a], np.take(blocks[b], source) * signs)
        total += -part if _parity(b & (cz >> low)) else part
    return float((1j**e * total).real)


class OutcomeMap:
    """Outcomes of measured Paulis as parities of one sampled index and fair coins.

    bits: classical bits in the order of the columns of `sample`.
    n_coins: uniform independent bits (r above). n_generators: s above.
    """

    def __init__(self, frame: Frame, measured: Mapping[int, Pauli]) -> None:
        self.bits = tuple(measured)
        self.width = frame.width
        self._frame = frame
        self._coin_rows: list[tuple[int, int, Pauli]] = []  # (pivot of the outside X part, that part, operator)
        self._generator_rows: list[tuple[int, int, Pauli]] = []  # (pivot, cx << w | cz, operator)
        self._generators: list[ActivePauli] = []
        # one an outcome: (mask of coins, mask of generators, constant)
        self._outcomes = [self._reduce(pauli) for pauli in measured.values()]
        self.n_coins = len(self._coin_rows)
        self.n_generators = len(self._generators)

    def _reduce(self, pauli: Pauli) -> tuple[int, int, int]:
        """Write a measured Pauli as product of rows already known, a new row if need be, and a sign."""
        _, rest = self._frame.restrict(pauli)
        coins = generators = 0
        for i, (pivot, row_rest, row) in enumerate(self._coin_rows):
            if rest & pivot:
                rest ^= row_rest
                pauli = multiply(row, pauli)
                coins |= 1 << i
        if rest:
            coins |= 1 << len(self._coin_rows)
            self._coin_rows.append((1 << (rest.bit_length() - 1), rest, pauli))
            return coins, generators, 0
        (cx, cz, e), _ = self._frame.restrict(pauli)
        key = cx << self.width | cz
        for i, (pivot, row_key, row) in enumerate(self._generator_rows):
            if key & pivot:
                key ^= row_key
                pauli = multiply(row, pauli)
                generators |= 1 << i
        (cx, cz, e), _ = self._frame.restrict(pauli)
        if key:
            generators |= 1 << len(self._generators)
            self._generator_rows.append((1 << (key.bit_length() - 1), key, pauli))
            self._generators.append((cx, cz, e))
            return coins, generators, 0
        assert e in (0, 2), "commuting Hermitian operators multiply to +-1"
        return coins, generators, e >> 1

    def diagonalise(self, phi: Vector) -> tuple[Vector, list[tuple[int, int]]]:
        """Step 3: the transformed state and, for each generator, (index mask, constant) of its outcome."""
        generators = list(self._generators)
        factors = [1 << i for i in range(len(generators))]  # row i now is the product of these originals
        for i in range(len(generators)):
            if not generators[i][0]:
                continue
            bit = generators[i][0].bit_length() - 1
            for j in range(len(generators)):
                if j != i and generators[j][0] >> bit & 1:
                    generators[j] = multiply(generators[j], generators[i])
                    factors[j] ^= factors[i]
            phi = _fold(phi, generators[i], bit)
            generators = [(x, z & ~(1 << bit), e) for x, z, e in generators]
            generators[i] = (0, 1 << bit, 0)
        return phi, _solve(factors, [(z, e >> 1) for _, z, e in generators])

    def sample(self, phi: Vector, shots: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Joint outcomes.

        Args:
            phi: normalised active state, complex128, shape (2**w,).

        Returns:
            bool, shape (shots, len(self.bits)), columns as `self.bits`.
        """
        diagonal, outcome = self.diagonalise(phi)
        cumulative = np.cumsum(diagonal.real**2 + diagonal.imag**2)
        points = rng.random(shots) * cumulative[-1]
        last = int(np.searchsorted(cumulative, cumulative[-1]))
        index = np.minimum(np.searchsorted(cumulative, points, side="right"), last)
        bits = (index[:, None] >> np.arange(self.width)) & 1
        return self._linear(bits.astype(np.uint8), outcome, rng)

    def _linear(
        self, index_bits: NDArray[np.uint8], outcome: list[tuple[int, int]], rng: np.random.Generator
    ) -> NDArray[np.bool_]:
        """Parities of index bits and coins for every outcome; float32 products are exact below 2**24."""
        shots, r = index_bits.shape[0], self.n_coins
        masks: list[int] = []
        constants = np.zeros(len(self._outcomes), np.float32)
        for k, (coins, generators, constant) in enumerate(self._outcomes):
            mask = 0
            for i, (index_mask, sign) in enumerate(outcome):
                if generators >> i & 1:
                    mask ^= index_mask
                    constant ^= sign
            constants[k] = constant
            masks.append(mask | coins << self.width)
        matrix = bit_rows(masks, self.width + r).T.astype(np.float32)
        out = np.empty((shots, len(self._outcomes)), np.bool_)
        step = max(1, MATMUL_BYTES // (4 * (matrix.shape[0] + matrix.shape[1] + 1)))
        for start in range(0, shots, step):
            part = index_bits[start : start + step]
            coins_part = rng.integers(0, 2, (part.shape[0], r), dtype=np.uint8)
            product = np.concatenate((part, coins_part), axis=1).astype(np.float32) @ matrix + constants
            out[start : start + step] = product.astype(np.int32) & 1
        return out


def _fold(phi: Vector, generator: ActivePauli, bit: int) -> Vector:
    """The map of step 3 for one generator."""
    plus = phi.copy()
    combine(plus, generator, 1, 1)
    halves, sums = phi.reshape(-1, 2, 1 << bit), plus.reshape(-1, 2, 1 << bit)
    sums[:, 1] = 2 * halves[:, 0] - sums[:, 0]
    plus *= math.sqrt(0.5)
    return plus


def _solve(factors: list[int], outcomes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Outcomes of the original generators from those of the products `factors` (invertible over GF(2))."""
    rows = [(f, m, c) for f, (m, c) in zip(factors, outcomes, strict=True)]
    for i in range(len(rows)):
        at = next(k for k in range(i, len(rows)) if rows[k][0] >> i & 1)
        rows[i], rows[at] = rows[at], rows[i]
        for k in range(len(rows)):
            if k != i and rows[k][0] >> i & 1:
                rows[k] = (rows[k][0] ^ rows[i][0], rows[k][1] ^ rows[i][1], rows[k][2] ^ rows[i][2])
    return [(mask, constant) for _, mask, constant in rows]
