"""Dense states in numpy: the full amplitude vector, and the density matrix as a vector twice as long.

Flow: numpy_engine -> *DenseState* / *DensityState* (a `branching.State`) -> sampling.

Nothing is fused and nothing is clever: the state is viewed as a tensor of shape (2,) * n, an
operation picks the sub-tensors its controls allow, and its matrix mixes the 2**t of them that its
targets tell apart. Axis n - 1 - q is qubit q.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from qcommons.circuits.noise import Channel, kraus
from qcommons.circuits.observables import PauliSum
from qcommons.circuits.program import Op
from qcommons.engines.action import Action, action_of, action_of_matrix

__all__ = ["DenseState", "DensityState", "Superop", "apply_action", "pauli_masks", "superop"]

Vector = NDArray[np.complex128]
LOW = 4  # qubits below this make short strided runs: one matrix product over them is cheaper
LOW_FROM = 1 << 10  # amplitudes from which that pays


def apply_action(psi: Vector, n: int, action: Action, qubits: Sequence[int]) -> Vector:
    """`action` on the state `psi` (shape (2**n,)), in place where it can be; returns the state."""
    if psi.shape[0] >= LOW_FROM and action.diagonal is None and max(qubits) < LOW:
        low = _low_matrix(action, qubits)
        return (psi.reshape(-1, 1 << LOW) @ low.T).reshape(-1)
    tensor = psi.reshape((2,) * n)
    pick: list[slice | int] = [slice(None)] * n
    for position in action.controls:
        pick[n - 1 - qubits[position]] = 1
    parts = []
    for index in range(action.matrix.shape[0]):
        for bit, position in enumerate(action.targets):
            pick[n - 1 - qubits[position]] = index >> bit & 1
        parts.append((*pick, ...))  # the Ellipsis keeps a view where all axes are fixed
    if action.diagonal is not None:
        for part, factor in zip(parts, action.diagonal.tolist(), strict=True):
            if factor != 1:
                tensor[part] *= factor
        return psi
    olds = [tensor[part].copy() for part in parts]
    for row, part in zip(action.matrix.tolist(), parts, strict=True):
        tensor[part] = sum(u * old for u, old in zip(row, olds, strict=True) if u != 0)
    return psi


def _low_matrix(action: Action, qubits: Sequence[int]) -> Vector:
    """The action on the `LOW` lowest qubits as one matrix: the action applied to the identity."""
    low = 1 << LOW
    eye = np.eye(low, dtype=np.complex128)  # column index = input state, held above the low qubits
    return apply_action(eye.reshape(-1), 2 * LOW, action, [q + LOW for q in qubits]).reshape(low, low)


def pauli_masks(paulis: Iterable[tuple[int, str]]) -> tuple[int, int, int]:
    """(qubits flipped, qubits whose 1 gives a sign, number of Y): P|j> = i^y (-1)^popcount(j & z) |j ^ x>."""
    x = z = y = 0
    for qubit, letter in paulis:
        x |= (letter in "XY") << qubit
        z |= (letter in "YZ") << qubit
        y += letter == "Y"
    return x, z, y


class DenseState:
    """|psi> of n qubits, complex128, shape (2**n,), qubit 0 least significant; starts in |0...0>."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.psi = np.zeros(1 << n, dtype=np.complex128)
        self.psi[0] = 1

    def apply(self, block: Sequence[Op]) -> None:
        for op in block:
            self.psi = apply_action(self.psi, self.n, action_of(op), op.qubits)

    def probability(self, qubit: int) -> float:
        one = self.psi.reshape(-1, 2, 1 << qubit)[:, 1]
        return min(1.0, float(np.sum(one.real**2 + one.imag**2)))

    def project(self, qubit: int, bit: int, probability: float) -> None:
        parts = self.psi.reshape(-1, 2, 1 << qubit)
        parts[:, 1 - bit] = 0
        parts[:, bit] /= np.sqrt(probability)

    def flip(self, qubit: int) -> None:
        self.apply((Op("x", (qubit,)),))

    def copy(self) -> DenseState:
        other = object.__new__(DenseState)
        other.n, other.psi = self.n, self.psi.copy()
        return other

    def expectation(self, observable: PauliSum) -> float:
        """sum_j conj(psi[j ^ x]) i^y (-1)^|j & z| psi[j], the product shared by terms of equal x."""
        index = np.arange(1 << self.n)
        return _expectation(observable, lambda x: self.psi[index ^ x].conj() * self.psi, index)


class Superop(msgspec.Struct, frozen=True):
    """A channel on the density matrix: matrix of shape (4**k, 4**k) on `qubits`, kets first then bras."""

    action: Action
    qubits: tuple[int, ...]


class DensityState:
    """rho of n qubits as a dense state of 2n: qubit q of the ket is q, of the bra q + n."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.vector = np.zeros(1 << 2 * n, dtype=np.complex128)
        self.vector[0] = 1

    def apply(self, block: Sequence[Op | Superop]) -> None:
        for item in block:
            if isinstance(item, Superop):
                self._act(item.action, item.qubits)
                continue
            action = action_of(item)
            self._act(action, item.qubits)
            self._act(_conjugate(action), [q + self.n for q in item.qubits])

    def _act(self, action: Action, qubits: Sequence[int]) -> None:
        self.vector = apply_action(self.vector, 2 * self.n, action, qubits)

    def populations(self) -> NDArray[np.float64]:
        """Diagonal of rho, shape (2**n,), rounding below zero clipped."""
        return self.vector.reshape(1 << self.n, 1 << self.n).diagonal().real.clip(min=0.0)

    def probability(self, qubit: int) -> float:
        one = self.populations().reshape(-1, 2, 1 << qubit)[:, 1]
        return min(1.0, float(one.sum()))

    def project(self, qubit: int, bit: int, probability: float) -> None:
        for side in (qubit, qubit + self.n):
            self.vector.reshape(-1, 2, 1 << side)[:, 1 - bit] = 0
        self.vector /= probability

    def flip(self, qubit: int) -> None:
        self.apply((Op("x", (qubit,)),))

    def copy(self) -> DensityState:
        other = object.__new__(DensityState)
        other.n, other.vector = self.n, self.vector.copy()
        return other

    def expectation(self, observable: PauliSum) -> float:
        """Tr(P rho) = sum_j i^y (-1)^|j & z| <j| rho |j ^ x>."""
        index = np.arange(1 << self.n)
        matrix = self.vector.reshape(1 << self.n, 1 << self.n)  # [bra, ket]
        return _expectation(observable, lambda x: matrix[index ^ x, index], index)


def _expectation(observable: PauliSum, overlap: Callable[[int], Vector], index: NDArray[np.int64]) -> float:
    shared: dict[int, Vector] = {}
    total = 0.0
    for term in observable.terms:
        x, z, y = pauli_masks(term.paulis)
        if x not in shared:
            if len(shared) >= 4:  # a few products at a time: 2**n complex each
                shared.clear()
            shared[x] = overlap(x)
        sign = 1.0 - 2.0 * (np.bitwise_count(index & z) & 1)
        total += term.coefficient * ((1j**y) * (sign @ shared[x])).real
    return float(total)


def _conjugate(action: Action) -> Action:
    return msgspec.structs.replace(
        action,
        matrix=action.matrix.conj(),
        diagonal=None if action.diagonal is None else action.diagonal.conj(),
        phases=None if action.phases is None else action.phases.conj(),
    )


def superop(channel: Channel, qubits: tuple[int, ...], n: int) -> Superop:
    """`channel` on `qubits` of an n-qubit density matrix: sum over Kraus operators of conj(K) (x) K."""
    return Superop(_channel_action(channel, len(qubits)), qubits + tuple(q + n for q in qubits))


@lru_cache(maxsize=1024)
def _channel_action(channel: Channel, k: int) -> Action:
    operators = kraus(channel, k)
    matrix = np.einsum("mab,mcd->acbd", operators.conj(), operators)
    return action_of_matrix(matrix.reshape(4**k, 4**k))
