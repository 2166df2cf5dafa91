"""Sparse states: only the non-zero amplitudes, of any number of qubits.

Flow: numpy_engine -> *SparseState* (a `branching.State`) -> sampling.

A basis state is a column of 64-bit words (qubit q is bit q % 64 of word q // 64), so adders,
multipliers, cat and W states on hundreds of qubits cost a few vector operations a gate. Diagonal
gates and permutations never grow the state. Any other gate doubles it at most, for each target;
then equal basis states are merged and amplitudes below DROP are left out.

DROP = 1e-14: cancellations leave about 1e-16 (rounding of sums of numbers at most 1); a true
amplitude that small has probability 1e-28. All that is dropped is added up: unitaries keep norms,
so the state is off by at most the sum of the square roots of the weights dropped at each gate.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcommons.circuits.observables import PauliSum
from qcommons.circuits.program import Op
from qcommons.engines.action import Action, action_of
from qcommons.engines.dense import pauli_masks
from qcommons.engines.records import CapExceeded

__all__ = ["SparseState"]

Words = NDArray[np.uint64]
Amplitudes = NDArray[np.complex128]
DROP = 1e-14
SHIFT = tuple(np.uint64(i) for i in range(64))
BIT = tuple(np.uint64(1 << i) for i in range(64))
UNBIT = tuple(np.uint64(~(1 << i) & (2**64 - 1)) for i in range(64))
ONE = np.uint64(1)
MASK64 = 2**64 - 1


@lru_cache(maxsize=64)
def _hash_words(words: int, salt: int) -> Words:
    """Odd multipliers for hashing, by SplitMix64 (Steele, Lea & Flood, OOPSLA 2014)."""
    out = []
    for i in range(words):
        z = ((salt * words + i + 1) * 0x9E3779B97F4A7C15) & MASK64
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK64
        out.append((z ^ (z >> 31)) | 1)
    return np.array(out, dtype=np.uint64)


class SparseState:
    """Terms `amplitudes[i] |keys[:, i]>` with distinct keys; starts in |0...0>.

    keys: uint64, shape (words, terms). amplitudes: complex128, shape (terms,).
    terms_max: more terms raise CapExceeded. terms_peak: the most held at once.
    dropped_norm: bound on the 2-norm of all that was dropped.
    """

    def __init__(self, n: int, terms_max: int) -> None:
        self.n = n
        self.terms_max = terms_max
        self.words = max(1, (n + 63) // 64)
        self.keys: Words = np.zeros((self.words, 1), dtype=np.uint64)
        self.amplitudes: Amplitudes = np.ones(1, dtype=np.complex128)
        self.terms_peak = 1
        self.dropped_norm = 0.0
        self.salt = 0
        self._index: tuple[Words, NDArray[np.int64]] | None = None

    def apply(self, block: Sequence[Op]) -> None:
        self._index = None
        for op in block:
            action, qubits = action_of(op), op.qubits
            on = self._controls_on(action, qubits)
            if action.diagonal is not None:
                self._scale(action, qubits, on, action.diagonal)
            elif action.moves is not None:
                self._move(action, qubits, on)
            else:
                self._branch(action, [qubits[t] for t in action.targets], on)

    def _bit(self, qubit: int) -> Words:
        bit: Words = (self.keys[qubit >> 6] >> SHIFT[qubit & 63]) & ONE
        return bit

    def _controls_on(self, action: Action, qubits: Sequence[int]) -> Words | None:
        """1 where all controls are set, or None without controls; uint64, shape (terms,)."""
        on: Words | None = None
        for position in action.controls:
            bit = self._bit(qubits[position])
            on = bit if on is None else on & bit
        return on

    def _local(self, targets: Sequence[int]) -> NDArray[np.int64]:
        """The targets' bits as one number a term, first target least significant."""
        local = np.zeros(self.amplitudes.shape, dtype=np.uint64)
        for j, qubit in enumerate(targets):
            local |= self._bit(qubit) << SHIFT[j]
        return local.view(np.int64)

    def _scale(self, action: Action, qubits: Sequence[int], on: Words | None, factors: Amplitudes) -> None:
        if not action.targets:
            if on is None:
                self.amplitudes *= factors[0]
            else:
                self.amplitudes *= np.array((1, factors[0])).take(on.view(np.int64))
            return
        local = self._local([qubits[t] for t in action.targets])
        scale = factors.take(local)
        self.amplitudes *= scale if on is None else np.where(on, scale, 1)

    def _move(self, action: Action, qubits: Sequence[int], on: Words | None) -> None:
        targets = [qubits[t] for t in action.targets]
        if len(targets) == 1:  # a flip: x, cx, ccx, y ...
            if action.phases is not None:
                self._scale(action, qubits, on, action.phases)
            word, bit = targets[0] >> 6, targets[0] & 63
            self.keys[word] ^= BIT[bit] if on is None else on << SHIFT[bit]
            return
        assert action.moves is not None
        local = self._local(targets)
        change = (local ^ action.moves.take(local)).view(np.uint64)
        if on is not None:
            change *= on
        if action.phases is not None:
            self._scale(action, qubits, on, action.phases)
        for j, qubit in enumerate(targets):
            self.keys[qubit >> 6] ^= ((change >> SHIFT[j]) & ONE) << SHIFT[qubit & 63]

    def _branch(self, action: Action, targets: list[int], on: Words | None) -> None:
        if on is None or on.all():
            self.keys, self.amplitudes = self._mixed(action, targets)
        elif on.any():
            chosen = on.astype(np.bool_)
            rest_keys, rest = self.keys[:, ~chosen], self.amplitudes[~chosen]
            self.keys, self.amplitudes = self.keys[:, chosen], self.amplitudes[chosen]
            keys, amplitudes = self._mixed(action, targets)
            self.keys = np.concatenate((rest_keys, keys), axis=1)
            self.amplitudes = np.concatenate((rest, amplitudes))
        terms = self.amplitudes.shape[0]
        self.terms_peak = max(self.terms_peak, terms)
        if terms > self.terms_max:
            raise CapExceeded(f"{terms} non-zero amplitudes; limit {self.terms_max} (terms_max)")

    def _mixed(self, action: Action, targets: list[int]) -> tuple[Words, Amplitudes]:
        """All terms after a matrix on `targets`: group by the other qubits, multiply, drop zeros."""
        local = self._local(targets)
        base = self.keys.copy()
        for qubit in targets:
            base[qubit >> 6] &= UNBIT[qubit & 63]
        if (local == local[0]).all():  # nothing to merge: the other qubits tell all terms apart
            out = action.matrix[:, local[0], None] * self.amplitudes
        else:
            base, group = self._group(base)
            block = np.zeros((action.matrix.shape[0], base.shape[1]), dtype=np.complex128)
            block[local, group] = self.amplitudes
            out = action.matrix @ block
        weight = out.real**2 + out.imag**2
        keep = weight > DROP * DROP
        if not keep.all():
            self.dropped_norm += float(np.sqrt(weight[~keep].sum()))
        value, column = keep.nonzero()
        keys = base[:, column]
        for j, qubit in enumerate(targets):
            keys[qubit >> 6] |= ((value >> j) & 1).view(np.uint64) << SHIFT[qubit & 63]
        return keys, out[keep]

    def _group(self, base: Words) -> tuple[Words, NDArray[np.int64]]:
        """Distinct columns, and for each column of `base` which of them it is."""
        while True:
            hashes = self._hash(base)
            order = hashes.argsort()
            ordered = hashes[order]
            first = np.empty(order.shape, dtype=np.bool_)
            first[0] = True
            np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
            group = np.empty(order.shape, dtype=np.int64)
            group[order] = first.cumsum() - 1
            distinct = base[:, order[first]]
            if self.words == 1 or bool((distinct[:, group] == base).all()):
                return distinct, group
            self.salt += 1  # two columns shared a hash (about terms^2 / 2^65): other multipliers

    def _hash(self, keys: Words) -> Words:
        if self.words == 1:
            first: Words = keys[0]
            return first
        hashed: Words = np.zeros(keys.shape[1], dtype=np.uint64)
        for word, factor in zip(keys, _hash_words(self.words, self.salt), strict=True):
            mixed = (word ^ (word >> SHIFT[29])) * factor
            hashed = (hashed ^ (hashed >> SHIFT[32])) * factor + mixed
        return hashed

    def probability(self, qubit: int) -> float:
        weight = self.weights()
        return min(1.0, float(weight @ self._bit(qubit).astype(np.float64) / weight.sum()))

    def project(self, qubit: int, bit: int, probability: float) -> None:
        self._index = None
        keep = self._bit(qubit) == bit
        self.keys = self.keys[:, keep]
        self.amplitudes = self.amplitudes[keep] / np.sqrt(probability)

    def flip(self, qubit: int) -> None:
        self._index = None
        self.keys[qubit >> 6] ^= BIT[qubit & 63]

    def copy(self) -> SparseState:
        other = object.__new__(SparseState)
        other.__dict__.update(self.__dict__)
        other.keys, other.amplitudes = self.keys.copy(), self.amplitudes.copy()
        return other

    def weights(self) -> NDArray[np.float64]:
        """|amplitude|^2 of each term."""
        return self.amplitudes.real**2 + self.amplitudes.imag**2

    def bits(self, qubit: int, chosen: NDArray[np.int64]) -> NDArray[np.bool_]:
        """The qubit's bit in the chosen terms."""
        found: NDArray[np.bool_] = ((self.keys[qubit >> 6][chosen] >> SHIFT[qubit & 63]) & ONE).astype(np.bool_)
        return found

    def at(self, keys: Words) -> Amplitudes:
        """Amplitudes of basis states, shape (words, m) -> (m,); zero where there is no term."""
        if self._index is None:
            self._group(self.keys)  # settles a salt under which all hashes differ
            hashes = self._hash(self.keys)
            order = hashes.argsort()
            self._index = (hashes[order], order)
        ordered, order = self._index
        place = np.minimum(np.searchsorted(ordered, self._hash(keys)), len(order) - 1)
        found = order[place]
        same = (self.keys[:, found] == keys).all(axis=0)
        return np.where(same, self.amplitudes[found], 0)

    def expectation(self, observable: PauliSum) -> float:
        """sum_j conj(psi[j ^ x]) i^y (-1)^|j & z| psi[j], the product shared by terms of equal x."""
        shared: dict[int, Any] = {}
        total = 0.0
        for term in observable.terms:
            x, z, y = pauli_masks(term.paulis)
            if x not in shared:
                if len(shared) >= 4:
                    shared.clear()
                partner = self.at(self.keys ^ self.pack([x])) if x else self.amplitudes
                shared[x] = partner.conj() * self.amplitudes
            signs = np.bitwise_count(self.keys & self.pack([z])).sum(axis=0) & 1
            total += term.coefficient * ((1j**y) * ((1.0 - 2.0 * signs) @ shared[x])).real
        return float(total)

    def pack(self, values: Sequence[int]) -> Words:
        """Integers (qubit 0 least significant) -> keys, shape (words, len(values))."""
        raw = b"".join(value.to_bytes(8 * self.words, "little") for value in values)
        return np.frombuffer(raw, dtype="<u8").astype(np.uint64).reshape(-1, self.words).T
