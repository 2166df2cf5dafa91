"""Sampling: from probabilities to counts of classical bitstrings, shared by all engines.

Flow: engine's final state -> `draw` (which outcomes, how often) -> `basis_counts` or `bit_counts`
(bitstrings over all classical bits) -> Answer.counts.

Bit order: column c of a bit matrix is classical bit c; in a bitstring classical bit 0 is the
rightmost character.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["add_counts", "basis_counts", "bit_counts", "draw", "draw_state", "flip_bits", "integer_counts"]

Integers = NDArray[np.int64]
Flips = Mapping[int, tuple[float, float]]  # classical bit -> (P(1 | 0), P(0 | 1))
BLOCK = 256  # amplitudes a block in `draw_state`: a block is 4 KiB
OPEN = 4096  # blocks opened at once: 16 MiB
SINGLY_MAX = 1 << 20  # shots that readout errors meet one by one; more are flipped outcome by outcome


def draw(probabilities: NDArray[np.float64], shots: int, rng: np.random.Generator) -> tuple[Integers, Integers]:
    """Exact samples of a discrete distribution, in O(len + shots log shots).

    Args:
        probabilities: shape (d,), non-negative, any positive sum (normalised here).
        shots: >= 1.

    Returns:
        outcomes, sorted and distinct, and how often each was drawn; both int64, shape (m,).
    """
    probabilities = probabilities.astype(np.float64, copy=False)
    total = float(probabilities.sum())
    if probabilities.shape[0] <= 4 * shots:
        repeats = rng.multinomial(shots, probabilities / total)  # O(d), whatever the shots
        outcomes = repeats.nonzero()[0]
        return outcomes, repeats[outcomes]
    cumulative = np.cumsum(probabilities)
    return _runs(_invert(cumulative, np.sort(rng.random(shots)) * cumulative[-1]))


def draw_state(psi: NDArray[Any], shots: int, rng: np.random.Generator) -> tuple[Integers, Integers]:
    """`draw` from |psi|^2 (complex64 or complex128, shape (2**n,)) without an array of all probabilities.

    Large states are read once for the weights of blocks; only the blocks that were hit are opened.
    """
    dim = psi.shape[0]
    if dim <= 4 * shots or dim <= 4 * BLOCK:
        return draw(psi.real**2 + psi.imag**2, shots, rng)
    pairs = psi.view(psi.real.dtype).reshape(-1, 2 * BLOCK)
    weights = np.einsum("ij,ij->i", pairs, pairs, dtype=np.float64)
    cumulative = np.cumsum(weights)
    points = np.sort(rng.random(shots)) * cumulative[-1]
    block = _invert(cumulative, points)
    rest = points - (cumulative[block] - weights[block])  # where inside its block each point falls
    outcomes = np.empty(shots, dtype=np.int64)
    blocks, first = np.unique(block, return_index=True)
    ends = np.append(first, shots)
    for start in range(0, len(blocks), OPEN):
        chosen = blocks[start : start + OPEN]
        part = slice(ends[start], ends[min(start + OPEN, len(blocks))])
        outcomes[part] = _inside(psi.reshape(-1, BLOCK)[chosen], chosen, block[part], rest[part])
    return _runs(np.sort(outcomes))


def _inside(amplitudes: NDArray[Any], chosen: Integers, block: Integers, rest: NDArray[np.float64]) -> Integers:
    """Invert within opened blocks: one cumulative sum over all of them serves every point."""
    flat = np.cumsum((amplitudes.real.astype(np.float64) ** 2 + amplitudes.imag.astype(np.float64) ** 2).ravel())
    row = np.searchsorted(chosen, block)
    ends = np.concatenate(([0.0], flat[BLOCK - 1 :: BLOCK]))
    # kept inside the block against rounding, so that what is found has a weight
    points = np.clip(ends[row] + rest, ends[row], np.nextafter(ends[row + 1], 0))
    outcomes: Integers = (block - row) * BLOCK + np.searchsorted(flat, points, side="right")
    return outcomes


def _invert(cumulative: NDArray[np.float64], points: NDArray[np.float64]) -> Integers:
    """First index whose cumulative weight exceeds each point; never one of zero weight at the end."""
    last = int(np.searchsorted(cumulative, cumulative[-1], side="left"))
    return np.minimum(np.searchsorted(cumulative, points, side="right"), last)


def _runs(values: Integers) -> tuple[Integers, Integers]:
    """Distinct values of a sorted array and their multiplicities."""
    starts = np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1])))
    return values[starts], np.diff(np.append(starts, len(values)))


def basis_counts(
    outcomes: Integers,
    repeats: Integers,
    measured: Mapping[int, int],
    n_clbits: int,
    bits: Sequence[int] | None = None,
    flips: Flips | None = None,
    rng: np.random.Generator | None = None,
) -> dict[str, int]:
    """Counts over all classical bits from sampled basis states of at most 62 qubits.

    Args:
        outcomes, repeats: basis states (qubit 0 least significant) and their multiplicities.
        measured: classical bit -> qubit whose value it takes.
        bits: values of the classical bits that no entry of `measured` writes; default all 0.
        flips, rng: readout errors of the measured bits.
    """
    if n_clbits > 62 or flips:
        matrix = np.zeros((len(outcomes), n_clbits), dtype=np.bool_)
        if bits is not None:
            matrix[:] = np.asarray(bits, dtype=np.bool_)
        for clbit, qubit in measured.items():
            matrix[:, clbit] = (outcomes >> qubit) & 1
        return _flipped_counts(matrix, repeats, measured, flips, rng)
    if _is_identity(measured, n_clbits) and int(outcomes.max(initial=0)) >> n_clbits == 0:
        return integer_counts(outcomes, repeats, n_clbits)
    fixed = sum(1 << c for c, bit in enumerate(bits or ()) if bit and c not in measured)
    keys = np.full(len(outcomes), fixed, dtype=np.int64)
    for clbit, qubit in measured.items():
        keys |= ((outcomes >> qubit) & 1) << clbit
    return integer_counts(keys, repeats, n_clbits)


def _is_identity(measured: Mapping[int, int], n_clbits: int) -> bool:
    return len(measured) == n_clbits and all(c == q for c, q in measured.items())


def _flipped_counts(
    matrix: NDArray[np.bool_], repeats: Integers, measured: Mapping[int, int],
    flips: Flips | None, rng: np.random.Generator | None,
) -> dict[str, int]:  # fmt: skip
    if not flips or rng is None:
        return bit_counts(matrix, repeats)
    errors = {c: f for c, f in flips.items() if c in measured}
    if int(repeats.sum()) > SINGLY_MAX:
        return bit_counts(*_flipped_rows(matrix, repeats, errors, rng))
    shots = np.repeat(matrix, repeats, axis=0)
    flip_bits(shots, errors, rng)
    return bit_counts(shots)


def _flipped_rows(
    matrix: NDArray[np.bool_], repeats: Integers, flips: Flips, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], Integers]:
    """`flip_bits` of rows and their multiplicities: as many of each flip as a binomial draw says."""
    for clbit, (p1_given_0, p0_given_1) in sorted(flips.items()):
        wrong = rng.binomial(repeats, np.where(matrix[:, clbit], p0_given_1, p1_given_0))
        turned = matrix[wrong > 0]
        turned[:, clbit] ^= True
        matrix = np.concatenate((matrix[repeats > wrong], turned))
        repeats = np.concatenate(((repeats - wrong)[repeats > wrong], wrong[wrong > 0]))
        _, first, where = np.unique(np.packbits(matrix, axis=1), axis=0, return_index=True, return_inverse=True)
        repeats = np.bincount(where.reshape(-1), repeats, len(first)).astype(np.int64)  # exact below 2**53
        matrix = matrix[first]
    return matrix, repeats


def integer_counts(values: Integers, repeats: Integers, width: int) -> dict[str, int]:
    """Counts from integers (classical bit 0 least significant) of `width` <= 62 bits; equal ones add up."""
    counts: dict[str, int] = {}
    spec = f"0{width}b"
    if width == 0:
        return {"": int(repeats.sum())} if len(repeats) else {}
    for value, times in zip(values.tolist(), repeats.tolist(), strict=True):
        key = format(value, spec)
        counts[key] = counts.get(key, 0) + times
    return counts


def bit_counts(bits: NDArray[Any], repeats: Integers | None = None) -> dict[str, int]:
    """Counts from a bit matrix of any width.

    Args:
        bits: bool or 0/1 integers, shape (rows, n_clbits); column c is classical bit c.
        repeats: multiplicity of each row; default 1.
    """
    rows, width = bits.shape
    times = [1] * rows if repeats is None else repeats.tolist()
    if width <= 62 and width:
        values = np.zeros(rows, dtype=np.int64)
        for clbit in range(width):  # a column at a time: a matrix of integers would take eight times the bits
            values |= bits[:, clbit].astype(np.int64) << clbit
        merged, where = np.unique(values, return_inverse=True)
        sums = np.zeros(len(merged), dtype=np.int64)
        np.add.at(sums, where, 1 if repeats is None else repeats)
        return integer_counts(merged, sums, width)
    packed = np.packbits(bits.astype(np.bool_, copy=False), axis=1).tobytes()
    step = (width + 7) // 8
    grouped: dict[bytes, int] = {}
    for row in range(rows):
        key = packed[row * step : (row + 1) * step]
        grouped[key] = grouped.get(key, 0) + times[row]
    return {_text(key, width): total for key, total in grouped.items()}


def _text(packed: bytes, width: int) -> str:
    """Bytes of `np.packbits` (classical bit 0 first) -> bitstring with classical bit 0 rightmost."""
    if not width:
        return ""
    pad = 8 * len(packed) - width
    return format(int.from_bytes(packed, "big") >> pad, f"0{width}b")[::-1]


def flip_bits(bits: NDArray[np.bool_], flips: Flips, rng: np.random.Generator) -> None:
    """Readout errors in place: classical bit c reads 1 for 0 with flips[c][0], 0 for 1 with flips[c][1].

    Args:
        bits: bool, shape (shots, n_clbits), one row a shot (not merged).
    """
    for clbit in sorted(flips):
        p1_given_0, p0_given_1 = flips[clbit]
        column = bits[:, clbit]
        column ^= rng.random(len(column)) < np.where(column, p0_given_1, p1_given_0)


def add_counts(into: dict[str, int], more: Mapping[str, int]) -> None:
    """Add `more` to `into`, key by key."""
    for key, times in more.items():
        into[key] = into.get(key, 0) + times
