"""Reading a matrix product state: samples, expectation values, amplitudes.

Flow: aer_mps (evolution) -> *MatrixProduct* -> Answer. Site i is one qubit; its tensor has shape
(left bond, 2, right bond). Kept right-canonical: everything right of a site contracts to the
identity (Schollwoeck, arXiv:1008.3477, section 4.4), so conditional probabilities are local.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["MatrixProduct", "Vidal", "tensors_of", "vidal_form"]

Tensor = NDArray[np.complex128]
# Aer's form: for each site its matrices at spin 0 and 1, and between sites the Schmidt values
Vidal = tuple[list[tuple[Tensor, Tensor]], list[NDArray[np.float64]]]
BATCH_AMPLITUDES = 1 << 22  # rows x bond held at once while sampling: 128 MiB with its copies
PAULI = {
    "X": np.array([[0, 1], [1, 0]], dtype=np.complex128),
    "Y": np.array([[0, -1j], [1j, 0]], dtype=np.complex128),
    "Z": np.array([[1, 0], [0, -1]], dtype=np.complex128),
}


class MatrixProduct:
    """A normalised state of n sites; `phase` is a global factor of modulus 1."""

    def __init__(self, tensors: Sequence[Tensor], phase: complex = 1.0) -> None:
        self.phase = phase
        self.tensors = list(tensors)
        self._canonise()
        self._left: list[Tensor] | None = None

    @property
    def bond(self) -> int:
        """The largest bond dimension."""
        return int(max(t.shape[2] for t in self.tensors))

    def _canonise(self) -> None:
        """One sweep of LQ decompositions from the right; the norm is divided out at the end."""
        for i in range(len(self.tensors) - 1, 0, -1):
            left, _, right = self.tensors[i].shape
            q, r = np.linalg.qr(self.tensors[i].reshape(left, 2 * right).conj().T)
            self.tensors[i] = np.ascontiguousarray(q.conj().T).reshape(-1, 2, right)
            self.tensors[i - 1] = np.tensordot(self.tensors[i - 1], r.conj().T, axes=(2, 0))
        self.tensors[0] = self.tensors[0] / np.linalg.norm(self.tensors[0])

    def sample(self, shots: int, rng: np.random.Generator) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Exact samples, site by site; equal prefixes are carried once with their multiplicity.

        Returns:
            rows: bool, shape (m, n), column i is site i; repeats: int64, shape (m,), summing to shots.
        """
        step = max(64, BATCH_AMPLITUDES // (2 * self.bond))
        parts = [self._sample(min(step, shots - start), rng) for start in range(0, shots, step)]
        return np.concatenate([rows for rows, _ in parts]), np.concatenate([times for _, times in parts])

    def _sample(self, shots: int, rng: np.random.Generator) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        rows = np.zeros((1, len(self.tensors)), dtype=np.bool_)
        repeats = np.array([shots], dtype=np.int64)
        front = np.ones((1, 1), dtype=np.complex128)
        for i, tensor in enumerate(self.tensors):
            left, _, right = tensor.shape
            both = (front @ tensor.reshape(left, 2 * right)).reshape(-1, 2, right)
            weights = np.einsum("rsb,rsb->rs", both.real, both.real) + np.einsum("rsb,rsb->rs", both.imag, both.imag)
            ones = rng.binomial(repeats, np.clip(weights[:, 1] / weights.sum(axis=1), 0.0, 1.0))
            zero, one = np.flatnonzero(repeats - ones), np.flatnonzero(ones)
            front = np.concatenate((both[zero, 0], both[one, 1]))
            kept = np.concatenate((weights[zero, 0], weights[one, 1]))
            front /= np.sqrt(kept)[:, None]
            repeats = np.concatenate(((repeats - ones)[zero], ones[one]))
            rows = np.concatenate((rows[zero], rows[one]))
            rows[len(zero) :, i] = True
        return rows, repeats

    def expectation(self, paulis: Mapping[int, str]) -> float:
        """<P> for one Pauli string, site -> letter."""
        if not paulis:
            return 1.0
        first, last = min(paulis), max(paulis)
        env = self._environments()[first]
        for i in range(first, last + 1):
            ket = self.tensors[i]
            if i in paulis:
                ket = np.einsum("st,atb->asb", PAULI[paulis[i]], ket)
            env = _transfer(env, ket, self.tensors[i])
        return float(np.trace(env).real)

    def _environments(self) -> list[Tensor]:
        """Contraction of all sites left of i, for every i; [ket bond, bra bond]."""
        if self._left is None:
            self._left = [np.ones((1, 1), dtype=np.complex128)]
            for tensor in self.tensors[:-1]:
                self._left.append(_transfer(self._left[-1], tensor, tensor))
        return self._left

    def amplitude(self, bits: Sequence[int]) -> complex:
        """<bits|psi>, bits[i] the value of site i."""
        row = np.ones((1, 1), dtype=np.complex128)
        for tensor, bit in zip(self.tensors, bits, strict=True):
            row = row @ tensor[:, bit]
        return complex(row[0, 0] * self.phase)

    def dense(self) -> Tensor:
        """All amplitudes, shape (2,) * n, axis i is site i."""
        full = np.ones((1, 1), dtype=np.complex128)
        for tensor in self.tensors:
            full = np.tensordot(full, tensor, axes=(1, 0)).reshape(-1, tensor.shape[2])
        return full.reshape((2,) * len(self.tensors)) * self.phase


def _transfer(env: Tensor, ket: Tensor, bra: Tensor) -> Tensor:
    """Push an environment [ket bond, bra bond] through one site."""
    half = np.tensordot(env, ket, axes=(0, 0))  # [bra bond, spin, ket bond]
    return np.tensordot(half, bra.conj(), axes=((0, 1), (0, 1)))


def tensors_of(state: Vidal) -> list[Tensor]:
    """One tensor a site, shape (left, 2, right): gamma times the Schmidt values on its right."""
    gammas, lambdas = state
    tensors = []
    for site, (zero, one) in enumerate(gammas):
        tensor = np.stack((np.asarray(zero), np.asarray(one)), axis=1)
        tensors.append(tensor * np.asarray(lambdas[site]) if site < len(lambdas) else tensor)
    return tensors


def vidal_form(tensors: Sequence[Tensor]) -> Vidal:
    """Any chain of tensors as a normalised state in Vidal's form (arXiv:quant-ph/0301063).

    Left to right by QR, then right to left by SVD; Schmidt values that are rounding (relative
    weight below 1e-28) are left out, so no division blows up.
    """
    chain = [np.asarray(t) for t in tensors]
    for i in range(len(chain) - 1):
        left, _, right = chain[i].shape
        q, r = np.linalg.qr(chain[i].reshape(2 * left, right))
        chain[i] = q.reshape(left, 2, -1)
        chain[i + 1] = np.tensordot(r, chain[i + 1], axes=(1, 0))
    lambdas: list[NDArray[np.float64]] = []
    for i in range(len(chain) - 1, 0, -1):
        left, _, right = chain[i].shape
        u, values, v = np.linalg.svd(chain[i].reshape(left, 2 * right), full_matrices=False)
        keep = values > 1e-14 * values[0]
        chain[i] = v[keep].reshape(-1, 2, right)
        chain[i - 1] = np.tensordot(chain[i - 1], u[:, keep] * values[keep], axes=(2, 0))
        lambdas.insert(0, values[keep] / np.linalg.norm(values[keep]))
    chain[0] = chain[0] / np.linalg.norm(chain[0])
    gammas = [t / lambdas[i] if i < len(lambdas) else t for i, t in enumerate(chain)]
    return [(g[:, 0].copy(), g[:, 1].copy()) for g in gammas], lambdas
