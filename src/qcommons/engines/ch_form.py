"""CH form: a stabiliser state with its global phase, which tableaux do not carry.

Flow: Clifford steps -> *ChForm* -> frames_amplitudes. Source: Bravyi, Browne, Calpin, Campbell,
Gosset and Howard, Quantum 3, 181 (2019), section 4.1; the update rules carry that paper's numbers.

The state is omega U_C U_H |s>. U_C is a product of S, CZ and CX, known by its action
U_C^dag Z_p U_C = Z^(G_p),  U_C^dag X_p U_C = i^(gamma_p) X^(F_p) Z^(M_p);  U_H is H on the qubits of v.
Arrays: G, F, M bool of shape (n, n), row p; gamma int64 modulo 4, v and s bool, shape (n,).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["EXACT", "ChForm"]

Bits = NDArray[np.bool_]

Word = tuple[tuple[str, tuple[int, ...]], ...]  # (S, H, CX or CZ, positions among the gate's qubits)
_ZZ: Word = (("CX", (0, 1)), ("S", (1,)), ("CX", (0, 1)))
_BOTH_H = (("H", (0,)), ("H", (1,)))
_BOTH_S = (("S", (0,)), ("S", (1,)))
_S_DAG = (("S", (0,)),) * 3
_BOTH_S_DAG = _BOTH_S * 3
_ROOTS: dict[str, Word] = {
    "S": (("S", (0,)),),
    "SQRT_X": (("H", (0,)), ("S", (0,)), ("H", (0,))),
    "SQRT_Y": (*_S_DAG, ("H", (0,)), ("S", (0,)), ("H", (0,)), ("S", (0,))),
    "SQRT_ZZ": _ZZ,
    "SQRT_XX": (*_BOTH_H, *_ZZ, *_BOTH_H),
    "SQRT_YY": (*_BOTH_S_DAG, *_BOTH_H, *_ZZ, *_BOTH_H, *_BOTH_S),
}
# Stim gate -> word in time order, equal to stim's matrix, phase included: a Pauli is the square of its
# root, the inverse of a root its cube.
EXACT: dict[str, Word] = {
    "I": (),
    "H": (("H", (0,)),),
    "CX": (("CX", (0, 1)),),
    "CZ": (("CZ", (0, 1)),),
    "CY": (*((gate, (1,)) for gate, _ in _S_DAG), ("CX", (0, 1)), ("S", (1,))),
    "SWAP": (("CX", (0, 1)), ("CX", (1, 0)), ("CX", (0, 1))),
    "ISWAP": (*_BOTH_S, ("H", (0,)), ("CX", (0, 1)), ("CX", (1, 0)), ("H", (1,))),
    "H_YZ": (*_S_DAG, ("H", (0,)), ("S", (0,))),
    "Z": _ROOTS["S"] * 2,
    "X": _ROOTS["SQRT_X"] * 2,
    "Y": _ROOTS["SQRT_Y"] * 2,
    **_ROOTS,
    **{f"{name}_DAG": word * 3 for name, word in _ROOTS.items()},
}


class ChForm:
    """C|0..0> for the Clifford steps applied so far, exact in phase."""

    def __init__(self, n_qubits: int) -> None:
        self.g: Bits = np.eye(n_qubits, dtype=np.bool_)
        self.f: Bits = np.eye(n_qubits, dtype=np.bool_)
        self.m: Bits = np.zeros((n_qubits, n_qubits), np.bool_)
        self.gamma = np.zeros(n_qubits, np.int64)
        self.v: Bits = np.zeros(n_qubits, np.bool_)
        self.s: Bits = np.zeros(n_qubits, np.bool_)
        self.omega = complex(1)

    def apply(self, name: str, qubits: Iterable[int]) -> None:
        """Apply a stim gate by name."""
        where = tuple(qubits)
        for gate, positions in EXACT[name]:
            getattr(self, "_" + gate.lower())(*(where[p] for p in positions))

    def _s(self, q: int) -> None:  # eq. 50: S^dag X S = -i X Z
        self.m[q] ^= self.g[q]
        self.gamma[q] -= 1

    def _cz(self, q: int, r: int) -> None:  # eq. 51
        self.m[q] ^= self.g[r]
        self.m[r] ^= self.g[q]

    def _cx(self, q: int, r: int) -> None:  # eq. 52
        self.gamma[q] += self.gamma[r] + 2 * np.count_nonzero(self.m[q] & self.f[r])
        self.g[r] ^= self.g[q]
        self.f[q] ^= self.f[r]
        self.m[q] ^= self.m[r]

    def _h(self, p: int) -> None:
        """(X_p + Z_p)/sqrt 2 moved through U_C and U_H leaves a sum of two basis states (eqs. 53-55)."""
        g, f, m, v, s = self.g[p], self.f[p], self.m[p], self.v, self.s
        t = s ^ (g & v)
        u = s ^ (f & ~v) ^ (m & v)
        alpha = np.count_nonzero(g & ~v & s)
        beta = np.count_nonzero(m & ~v & s) + np.count_nonzero(f & v & m) + np.count_nonzero(f & v & s)
        delta = int(self.gamma[p] + 2 * (alpha + beta)) & 3
        if alpha & 1:
            self.omega = -self.omega
        self._sum(t, u, delta)

    def _sum(self, t: Bits, u: Bits, delta: int) -> None:
        """U_H (|t> + i^delta |u>)/sqrt 2 as omega W_C W_H |s'>, W_C absorbed into U_C (proposition 4)."""
        different = t ^ u
        if not different.any():
            self.s = t
            self.omega *= (1 + 1j**delta) / math.sqrt(2)
            return
        plain, hadamard = np.flatnonzero(different & ~self.v), np.flatnonzero(different & self.v)
        if len(plain):
            q = int(plain[0])
            self._right_fan_out(q, plain[1:])
            self._right_cz(q, hadamard)
        else:
            q = int(hadamard[0])
            self._right_fan_in(hadamard[1:], q)
        # afterwards the two states differ in qubit q alone: y has it as t or u do, whichever has it 0
        first = 1 if t[q] else 0
        self.s = (u if first else t).copy()
        self._one_qubit(q, first, delta)

    def _one_qubit(self, q: int, first: int, delta: int) -> None:
        """H^v (|first> + i^delta |1 - first>)/sqrt 2 = omega S^a H^b |c> on qubit q."""
        if first:  # |1> + i^delta |0> = i^delta (|0> + i^-delta |1>)
            self.omega *= 1j**delta
            delta = -delta & 3
        # now (|0> + i^delta |1>)/sqrt 2 = S^(delta odd) H |delta div 2>
        if not self.v[q]:
            if delta & 1:
                self._right_s(q)
            self.v[q] = True
            self.s[q] = bool(delta >> 1)
        elif delta & 1:  # H (|0> + i^d |1>)/sqrt 2 = (1 + i^d)/2 (|0> + i^-d |1>), again one of these
            self.omega *= (1 + 1j**delta) / math.sqrt(2)
            self._right_s(q)
            self.s[q] = bool((-delta & 3) >> 1)
        else:
            self.v[q] = False
            self.s[q] = bool(delta >> 1)

    def _right_s(self, q: int) -> None:
        self.m[:, q] ^= self.f[:, q]
        self.gamma -= self.f[:, q]

    def _right_cz(self, q: int, others: NDArray[np.int64]) -> None:
        column = self.f[:, q]
        self.m[:, q] ^= np.logical_xor.reduce(self.f[:, others], axis=1)
        self.m[:, others] ^= column[:, None]
        self.gamma += 2 * column * np.count_nonzero(self.f[:, others], axis=1)

    def _right_fan_out(self, q: int, targets: NDArray[np.int64]) -> None:
        """CX from q to each target."""
        self.g[:, q] ^= np.logical_xor.reduce(self.g[:, targets], axis=1)
        self.m[:, q] ^= np.logical_xor.reduce(self.m[:, targets], axis=1)
        self.f[:, targets] ^= self.f[:, q][:, None]

    def _right_fan_in(self, controls: NDArray[np.int64], q: int) -> None:
        """CX from each control to q."""
        self.g[:, controls] ^= self.g[:, q][:, None]
        self.m[:, controls] ^= self.m[:, q][:, None]
        self.f[:, q] ^= np.logical_xor.reduce(self.f[:, controls], axis=1)

    def amplitudes(self, rows: Bits) -> NDArray[np.complex128]:
        """<x| of the state for each row x (column q is qubit q): eqs. 55-56.

        <x|U_C = <0| prod_p (i^gamma_p X^F_p Z^M_p)^(x_p) = i^mu <u|, u = x F, and mu collects gamma and,
        for p >= p', the sign (-1)^(M_p . F_p').

        Args:
            rows: bool, shape (k, n).

        Returns:
            complex128, shape (k,).
        """
        x = rows.astype(np.float32)  # float32 sums of bits are exact below 2**24
        u = (x @ self.f.astype(np.float32)).astype(np.int64) & 1 > 0
        signs = np.tril((self.m.astype(np.float32) @ self.f.T.astype(np.float32)) % 2)
        mu = rows @ (self.gamma & 3) + 2 * np.einsum("kp,kp->k", x @ signs, x).astype(np.int64)
        mu += 2 * np.count_nonzero(u & self.v & self.s, axis=1)
        possible = (self.v | (u == self.s)).all(axis=1)
        scale = self.omega * 2.0 ** (-np.count_nonzero(self.v) / 2)
        out: NDArray[np.complex128] = np.where(possible, scale * np.array([1, 1j, -1, -1j])[mu & 3], 0)
        return out
