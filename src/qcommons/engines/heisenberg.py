"""Exact means of Pauli strings after Clifford gates and Pauli noise: the strings walk backwards.

Flow: stim_engine (exact expectation values with noise) -> *damped_means*.

Tr(E(rho) P) = Tr(rho E^dag(P)), operation by operation from the last to the first. A Clifford gate
turns one Pauli string into another with a sign; a mixture of Paulis keeps the string and multiplies it
by 1 - 2 (chance of a Pauli that anticommutes with it), depolarizing by 1 - p where it acts on the
string at all; a measurement whose record nobody reads, and a reset, end every string that has X or Y
there, and the reset takes a Z away, for its qubit is |0> then. What arrives at |0..0> counts if it has
neither X nor Y. Linear in operations x strings. Source: Gottesman, arXiv:quant-ph/9807006 (the
Heisenberg picture); Pauli channels are diagonal there: Flammia and Wallman, arXiv:1907.12976, section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from qcommons.base.errors import UsageError
from qcommons.circuits.clifford import clifford_steps
from qcommons.circuits.noise import CHANNELS, Channel, Noise, channels_after
from qcommons.circuits.program import Branch, Op, Operation

__all__ = ["damped_means"]

Paulis = tuple[tuple[int, str], ...]
Bits = NDArray[np.bool_]  # shape (qubits, strings): a gate touches whole rows
Reals = NDArray[np.float64]


def damped_means(
    body: Sequence[Operation], n_qubits: int, noise: Noise | None, strings: Sequence[Paulis]
) -> list[float]:
    """<P> for each string (qubit, letter) on the final state of the Clifford program `body`.

    Readout errors are left out: they act on recorded bits, and no bit is read here.

    Raises:
        UsageError: a branch, a gate that is no Clifford gate, or a channel that is no mixture of Paulis.
    """
    walk = _Walk(n_qubits, strings)
    for op in reversed(body):
        if isinstance(op, Branch):
            raise UsageError("exact values with noise are of programs without branches; ask for shots", where="noise")
        for channel, qubits in reversed(channels_after(noise, op) if noise is not None else ()):
            walk.channel(channel, qubits)
        walk.operation(op)
    return walk.means()


class _Walk:
    """All strings at once: X and Z parts, and the factor each has gathered (its sign included)."""

    def __init__(self, n_qubits: int, strings: Sequence[Paulis]) -> None:
        self.xs: Bits = np.zeros((n_qubits, len(strings)), np.bool_)
        self.zs: Bits = np.zeros((n_qubits, len(strings)), np.bool_)
        self.factors: Reals = np.ones(len(strings))
        for column, paulis in enumerate(strings):
            for qubit, letter in paulis:
                self.xs[qubit, column] = letter in "XY"
                self.zs[qubit, column] = letter in "YZ"

    def operation(self, op: Op) -> None:
        if op.gate in ("measure", "reset"):
            (qubit,) = op.qubits
            self.factors[self.xs[qubit]] = 0.0
            if op.gate == "reset":
                self.zs[qubit] = False
            return
        if op.gate == "barrier":
            return
        steps = clifford_steps(op)
        if steps is None:
            raise UsageError(f"{op.gate}{op.params or ''} is not a Clifford gate; use another engine", where="method")
        for name, qubits in reversed(steps):
            codes, signs = _backwards(name)
            found = self._codes(qubits)
            self.factors *= signs[found]
            image = codes[found]
            for place, qubit in enumerate(qubits):
                self.xs[qubit] = image >> 2 * place & 1
                self.zs[qubit] = image >> 2 * place + 1 & 1

    def channel(self, channel: Channel, qubits: tuple[int, ...]) -> None:
        row = CHANNELS[channel.kind]
        if row.joint:
            felt = (self.xs[list(qubits)] | self.zs[list(qubits)]).any(axis=0)
            self.factors[felt] *= 1 - channel.values[0]
        elif row.pauli is not None:
            x, y, z = row.pauli(*channel.values)
            damping = np.array([1, 1 - 2 * (y + z), 1 - 2 * (x + y), 1 - 2 * (x + z)])  # of I, X, Z, Y
            self.factors *= damping[self._codes(qubits)]
        else:
            raise UsageError(f"channel {channel.kind!r} is no Pauli channel", where="noise")

    def means(self) -> list[float]:
        ended: list[float] = np.where(self.xs.any(axis=0), 0.0, self.factors).tolist()
        return ended

    def _codes(self, qubits: Sequence[int]) -> NDArray[np.uint8]:
        """X and Z bit of the first qubit, then of the next, least significant first."""
        codes = np.zeros(self.xs.shape[1], np.uint8)
        for place, qubit in enumerate(qubits):
            codes |= self.xs[qubit].astype(np.uint8) << 2 * place
            codes |= self.zs[qubit].astype(np.uint8) << 2 * place + 1
        return codes


@cache
def _backwards(name: str) -> tuple[NDArray[np.uint8], Reals]:
    """C^dag P C for each Pauli P on the qubits of the stim gate C: codes as in `_codes`, and signs."""
    import stim

    inverse = stim.Tableau.from_named_gate(name).inverse()
    k = len(inverse)
    codes, signs = np.zeros(4**k, np.uint8), np.ones(4**k)
    for code in range(4**k):
        bits = np.array([code >> i & 1 for i in range(2 * k)], np.bool_)
        image = inverse(stim.PauliString.from_numpy(xs=bits[0::2], zs=bits[1::2]))
        xs, zs = image.to_numpy()
        codes[code] = sum(int(x) << 2 * q | int(z) << 2 * q + 1 for q, (x, z) in enumerate(zip(xs, zs, strict=True)))
        signs[code] = image.sign.real
    return codes, signs
