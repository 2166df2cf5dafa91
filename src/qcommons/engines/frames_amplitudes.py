"""Amplitudes of a near-Clifford program, global phase included.

Flow: frames (`Reduced` with `ChForm` of its Clifford part) -> *amplitudes* -> frames_engine.

In the notation of `frames`, |psi> = e^(i theta) C sum_v phi[v] |u(v)> with u(v) the sum of the span's basis
vectors over the bits of v. With B_i = C X^(b_i) C^dag = i^(e_i) X^(x_i) Z^(z_i),

    <b|psi> = e^(i theta) sum_v phi[v] <b| prod_i B_i^(v_i) C |0>
            = e^(i theta) sum_v phi[v] i^(e_v) (-1)^(z_v.(b + x_v)) <b + x_v| C |0>,

and the last factor comes from the CH form.
"""

from __future__ import annotations

import cmath
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qcommons.engines.ch_form import ChForm
from qcommons.engines.frames import Pauli, bit_rows

__all__ = ["amplitudes"]

CHUNK_BYTES = 1 << 26


def amplitudes(
    basis: Sequence[Pauli], phi: NDArray[np.complex128], phase: float, clifford: ChForm, bitstrings: Sequence[str]
) -> list[complex]:
    """<bits|psi> for each bitstring, rightmost character qubit 0.

    Args:
        basis: B_i, one for each active qubit.
        phi: active state, complex128, shape (2**w,). phase: theta, radians.
        clifford: C|0>.
    """
    n, w = len(clifford.v), len(basis)
    xs, zs = (bit_rows([p[k] for p in basis], n).reshape(w, n).astype(np.float32) for k in (0, 1))
    es = np.array([p[2] for p in basis], np.int64)
    swaps = np.triu(zs @ xs.T, 1)  # product in order of i: Z^(z_i) passes X^(x_j) for j > i
    asked = np.array([[c == "1" for c in reversed(bits)] for bits in bitstrings], np.bool_).reshape(-1, n)
    totals = np.zeros(len(asked), np.complex128)
    nonzero = np.flatnonzero(phi)
    step = max(1, CHUNK_BYTES // (16 * (n + w + 1)))
    for start in range(0, len(nonzero), step):
        index = nonzero[start : start + step]
        v = ((index[:, None] >> np.arange(w)) & 1).astype(np.float32)
        x = (v @ xs).astype(np.int64) & 1 > 0
        z = (v @ zs).astype(np.int64) & 1 > 0
        e = v.astype(np.int64) @ es + 2 * np.einsum("kp,kp->k", v @ swaps, v).astype(np.int64)
        for k, bits in enumerate(asked):
            shifted = x ^ bits
            power = e + 2 * np.count_nonzero(z & shifted, axis=1)
            factors = np.array([1, 1j, -1, -1j])[power & 3] * clifford.amplitudes(shifted)
            totals[k] += factors @ phi[index]
    return [complex(value) for value in totals * cmath.exp(1j * phase)]
