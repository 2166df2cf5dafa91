"""Stabiliser facts: parities of the outcomes of a Clifford program that are the same in every shot.

Flow: Program -> *facts* -> statistics.against (wide Clifford programs), traps (what a trap must give).
The final state is stabilised by a group of Pauli strings; those without X or Y, on measured qubits, are parities of
the outcome with a certain value, and every other parity is a fair coin (Gottesman, quant-ph/9807006). So the
distribution of any Clifford program is known whatever its width: one shot outside it is a lie.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcommons.base.errors import UsageError
from qcommons.circuits.clifford import clifford_steps
from qcommons.circuits.program import Branch, Program
from qcommons.verify.statistics import outcome_bits, terminal

__all__ = ["Facts", "facts", "final_stabilisers"]

Bits = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Facts:
    """masks: bool, shape (k, n_bits), independent, in reduced row echelon form, column c is classical bit c. values:
    shape (k,): the parity of the bits of a mask, in every shot."""

    masks: Bits
    values: Bits

    def odd(self, masks: Bits) -> NDArray[np.float64]:
        """Probability of an odd parity of the bits of each mask: 0, 1 or 1/2."""
        left, value = masks.copy(), np.zeros(len(masks), np.bool_)
        for mask, parity in zip(self.masks, self.values, strict=True):
            has = left[:, int(np.argmax(mask))]
            left = left ^ (has[:, None] & mask)
            value = value ^ (has & parity)
        return np.where(left.any(axis=1), 0.5, value.astype(np.float64))

    def broken(self, counts: dict[str, int]) -> int:
        """How many shots break at least one of them."""
        wrong = 0
        for key, times in counts.items():
            bits = np.frombuffer(key.encode(), np.uint8)[::-1] == ord("1")
            parity = (self.masks & bits).sum(axis=1) % 2 == 1
            wrong += times if bool((parity != self.values).any()) else 0
        return wrong


def final_stabilisers(program: Program) -> list[Any] | None:
    """Generators (stim.PauliString) of the state's group before the measurements; None where it is not Clifford."""
    import stim

    simulator = stim.TableauSimulator()
    simulator.set_num_qubits(program.n_qubits)
    for op in program.ops:
        if isinstance(op, Branch) or op.gate == "reset":
            return None
        if op.gate in ("measure", "barrier"):
            continue
        steps = clifford_steps(op)
        if steps is None:
            return None
        for name, qubits in steps:
            simulator.do(stim.Circuit(f"{name} {' '.join(map(str, qubits))}"))
    tableau = simulator.current_inverse_tableau().inverse()
    return [tableau.z_output(qubit) for qubit in range(program.n_qubits)]


def facts(program: Program) -> Facts | None:
    """The certain parities of a noiseless Clifford program that is measured at its end; None of any other.

    Raises:
        UsageError: an input is not bound.
    """
    if program.inputs:
        raise UsageError(f"inputs {', '.join(program.inputs[:8])} are not bound", where="program")
    where = terminal(program)
    rows = final_stabilisers(program) if where is not None else None
    if where is None or rows is None:
        return None
    n_bits = outcome_bits(program)
    bits_of: dict[int, list[int]] = {}
    for clbit, qubit in where.items():
        bits_of.setdefault(qubit, []).append(clbit)
    certain = _without_x(rows, frozenset(bits_of))
    masks = [_mask([bits_of[q][0] for q in row.pauli_indices()], n_bits) for row in certain]
    values = [row.sign == -1 for row in certain]
    for clbits in bits_of.values():  # bits of one qubit are equal, bits that are never written are 0
        masks += [_mask([clbits[0], other], n_bits) for other in clbits[1:]]
        values += [False] * (len(clbits) - 1)
    for clbit in sorted(set(range(n_bits)) - set(where)):
        masks.append(_mask([clbit], n_bits))
        values.append(False)
    return _reduced(np.array(masks, np.bool_).reshape(-1, n_bits), np.array(values, np.bool_))


def _mask(clbits: list[int], n_bits: int) -> Bits:
    mask = np.zeros(n_bits, np.bool_)
    mask[clbits] = True
    return mask


def _without_x(rows: list[Any], measured: frozenset[int]) -> list[Any]:
    """Generators of the subgroup of Z strings on `measured`: what else a row has is eliminated, column by column."""
    left = list(rows)
    n = len(rows)
    unwanted = [(qubit, letters) for qubit in range(n) for letters in ((1, 2), (2, 3)) if letters == (1, 2) or
                qubit not in measured]  # fmt: skip  # stim: 1 is X, 2 is Y, 3 is Z
    for qubit, letters in unwanted:
        pivot = next((i for i, row in enumerate(left) if row[qubit] in letters), None)
        if pivot is None:
            continue
        by = left.pop(pivot)
        left = [row * by if row[qubit] in letters else row for row in left]
    return left


def _reduced(masks: Bits, values: Bits) -> Facts:
    """Reduced row echelon form over GF(2)."""
    masks, values = masks.copy(), values.copy()
    row = 0
    for column in range(masks.shape[1]):
        below = np.flatnonzero(masks[row:, column])
        if not len(below):
            continue
        pivot = row + int(below[0])
        masks[[row, pivot]], values[[row, pivot]] = masks[[pivot, row]], values[[pivot, row]]
        others = masks[:, column].copy()
        others[row] = False
        masks[others] ^= masks[row]
        values[others] ^= values[row]
        row += 1
    return Facts(masks[:row], values[:row])
