"""Ways through a cut, exactly: pairs of functionals, one at each end, whose sum of products is what was cut.

Flow: Interaction, wire -> *gate_ways, PAIR_WAYS, STATE_WAYS* -> exact. No shots, no negative probabilities.

  gate   U = sum_m u_m A_m x B_m. On each side an index in |+..+>, one or two more qubits, says which A_m acts. With
         x_mn = tr(O A_m rho A_n^dag), Pauli word P on the index has the value sum_mn x_mn <n|P|m> / r, so that
         x_mn = sum_P <P> <m|P|n>, and the cut gate, sum_mn u_m u_n* x_mn y_mn, is
         sum_ab M_ab <P_a> <P_b> with M_ab = sum_mn u_m u_n* <m|P_a|n> <m|P_b|n>.
         One way for each P_a that has a partner: at most 4 with two terms, 16 with more.
  wire   rho = sum_P tr(P rho) P/2. Upstream the letter is an observable. Downstream the qubit starts as one half of
         (|00> + |11>)/sqrt(2), and the transposed letter on the other half is input P/2; or it starts as |0>, |1>,
         |+>, |+i> in runs of their own: Z = |0><0| - |1><1|, X = 2 |+><+| - 1, Y = 2 |+i><+i| - 1.

Source: the sums are those of Mitarai and Fujii, New J. Phys. 23, 023021 (2021), arXiv:1909.07534, and of Peng et al.,
PRL 125, 150504 (2020), arXiv:1904.00102; that one run holds all of an end is the index qubit's doing.
"""

from __future__ import annotations

import itertools

import numpy as np

from qcommons.circuits.gates import pauli_matrix
from qcommons.circuits.program import Op
from qcommons.jobs.plan.cutting.interaction import Interaction
from qcommons.jobs.plan.cutting.pauli import LETTERS, controlled, over, plain

__all__ = ["PAIR_WAYS", "STATES", "STATE_WAYS", "Functional", "Way", "gate_ways", "index_ops", "index_qubits"]

ZERO = 1e-15  # rounding of the matrix M, whose entries are up to 1
Functional = tuple[tuple[float, str], ...]
"""A real sum of Pauli words on the qubits of one end, a letter a qubit."""
Way = tuple[Functional, Functional]
"""At the first side of a gate and at its second, or upstream and downstream of a wire."""

STATES: tuple[tuple[str, ...], ...] = ((), ("x",), ("h",), ("h", "s"))  # gates that make |0>, |1>, |+>, |+i>
PAIR_WAYS: tuple[Way, ...] = tuple((((1.0, P),), ((-1.0 if P == "Y" else 1.0, P),)) for P in LETTERS)  # Y^T = -Y
STATE_WAYS: tuple[Way, ...] = (
    (((0.5, "I"), (0.5, "Z"), (-0.5, "X"), (-0.5, "Y")), ((1.0, "I"),)),
    (((0.5, "I"), (-0.5, "Z"), (-0.5, "X"), (-0.5, "Y")), ((1.0, "I"),)),
    (((1.0, "X"),), ((1.0, "I"),)),
    (((1.0, "Y"),), ((1.0, "I"),)),
)


def index_qubits(interaction: Interaction) -> int:
    """More qubits that each side of the cut gate needs."""
    return 1 if len(interaction.terms) <= 2 else 2


def index_ops(interaction: Interaction, side: int, qubit: int, index: list[int]) -> tuple[Op, ...]:
    """On `qubit`, the letter of this side that the qubits `index` say."""
    first, *steps = _steps(interaction, side)
    ops = [*(Op("h", (q,)) for q in index), *plain(first, qubit)]
    for letter, q in zip(steps, index, strict=True):
        ops += controlled(letter, q, qubit)
    return tuple(ops)


def gate_ways(interaction: Interaction) -> tuple[Way, ...]:
    """The ways through a cut gate; words run over the index qubits."""
    count = index_qubits(interaction)
    terms = {(a, b): u for u, a, b in interaction.terms}
    u = np.zeros(1 << count, dtype=np.complex128)
    for m in range(1 << count):
        (phase_a, a), (phase_b, b) = (_acting(interaction, side, m) for side in (0, 1))
        u[m] = terms.get((a, b), 0.0) * np.conj(phase_a * phase_b)
    weights = np.outer(u, u.conj())
    words = ["".join(letters) for letters in itertools.product(LETTERS, repeat=count)]
    matrices = {word: pauli_matrix(word) for word in words}
    ways: list[Way] = []
    for word in words:
        partners = [(float((weights * matrices[word] * matrices[other]).sum().real), other) for other in words]
        kept = tuple((c, other) for c, other in partners if abs(c) > ZERO)
        if kept:
            ways.append((((1.0, word),), kept))
    return tuple(ways)


def _steps(interaction: Interaction, side: int) -> tuple[str, ...]:
    """The letter that always acts, and for each index qubit the one that acts beside it where that is 1."""
    letters = interaction.letters[side]
    return (letters[0], *(over(letters[1 << k], letters[0])[1] for k in range(index_qubits(interaction))))


def _acting(interaction: Interaction, side: int, m: int) -> tuple[complex, str]:
    """(phase, letter) of what acts where the index is m."""
    first, *steps = _steps(interaction, side)
    phase: complex = 1.0
    letter = first
    for k, step in enumerate(steps):
        if m >> k & 1:
            more, letter = over(step, letter)
            phase *= more
    return phase, letter
