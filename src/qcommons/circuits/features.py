"""Features: what can be read off a program in linear time, before anything is run.

Flow: components -> *features* -> engines' cost models -> select.
"""

from __future__ import annotations

import math

import msgspec

from qcommons.circuits.clifford import clifford_steps
from qcommons.circuits.gates import GATES
from qcommons.circuits.noise import CHANNELS, Noise, channels_after
from qcommons.circuits.program import Branch, Op, Program
from qcommons.circuits.structure import is_monomial, split_controls

__all__ = ["Features", "features"]


class Features(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of one (reduced) program.

    n_qubits, n_clbits, n_gates: sizes; gates are unitary operations, barriers left out.
    n_multi: gates on two or more qubits. n_wide: gates on three or more (controls counted).
    swap_distance: sum over multi-qubit gates of the distance beyond neighbours on the line
        (what an MPS pays in swaps, in the program's own qubit order).
    n_branching: gates that are neither diagonal nor a permutation of basis states (h, rx, u, ...):
        at most 2**n_branching amplitudes are non-zero.
    clifford: every gate is Clifford (angles within 1e-12 of the grid).
    n_non_clifford: gates that are not.
    active_width: qubits that the non-Clifford part of a near-Clifford circuit needs; None where not
        searched or above `width_cap`.
    bond_log2: the largest over all cuts of the line of an upper bound of log2(bond dimension).
    dynamic: measurement whose qubit or bit is used later, reset, branch. n_dynamic: how many.
    measured: number of measurements.
    noise_kinds: channel kinds attached; n_noise: channel applications in one shot, n_kraus: those of them
        that are no mixture of Paulis (each costs the norms of its outcomes).
    """

    n_qubits: int
    n_clbits: int
    n_gates: int
    n_multi: int
    n_wide: int
    swap_distance: int
    n_branching: int
    clifford: bool
    n_non_clifford: int
    bond_log2: float
    dynamic: bool
    n_dynamic: int
    measured: int
    active_width: int | None = None
    width_cap: int = 0
    noise_kinds: frozenset[str] = frozenset()
    n_noise: int = 0
    n_kraus: int = 0


_RANK_TWO = {"rxx", "ryy", "rzz", "rzx", "ecr", "cu"}  # with the controlled rows: operator rank 2


def _rank_log2(op: Op) -> float:
    """log2 of the operator Schmidt rank of the gate across any cut of its qubits (upper bound)."""
    base, controls = split_controls(op)
    if op.gate in _RANK_TWO or (controls and GATES[base].n_qubits <= 1):
        return 1.0
    return 2.0 if len(op.qubits) == 2 or base == "swap" else 2.0 * (len(op.qubits) // 2)


class _Tally:
    """One pass over the operations."""

    def __init__(self, n_qubits: int) -> None:
        self.gates = self.multi = self.wide = self.swaps = self.branching = self.non_clifford = 0
        self.dynamic = self.measured = 0
        self.crossing = [0.0] * (n_qubits + 1)  # difference array over the cuts of the line
        self.ended: set[int] = set()
        self.read_after: set[int] = set()

    def op(self, op: Op) -> None:
        if op.gate == "barrier":
            return
        if op.gate == "measure":
            self.measured += 1
            if op.qubits[0] in self.ended or op.clbits[0] in self.read_after:
                self.dynamic += 1
            self.ended.add(op.qubits[0])
            self.read_after.add(op.clbits[0])
            return
        if not self.ended.isdisjoint(op.qubits):
            self.dynamic += 1
        if op.gate == "reset":
            self.dynamic += 1
            return
        self.gates += 1
        if not is_monomial(op.gate, op.params):
            self.branching += 1
        if clifford_steps(op) is None:
            self.non_clifford += 1
        k = len(op.qubits)
        if k > 1:
            low, high = min(op.qubits), max(op.qubits)
            self.multi += 1
            self.wide += k > 2
            self.swaps += high - low - (k - 1)
            rank = _rank_log2(op)
            self.crossing[low] += rank
            self.crossing[high] -= rank


def features(program: Program, noise: Noise | None = None) -> Features:
    """Read the features of a program (with the noise attached to it)."""
    n = program.n_qubits
    tally = _Tally(n)
    n_noise = n_kraus = 0
    for op in program.ops:
        if isinstance(op, Branch):
            tally.dynamic += 1
        for inner in (*op.then, *op.orelse) if isinstance(op, Branch) else (op,):
            tally.op(inner)
            attached = channels_after(noise, inner) if noise else []
            n_noise += len(attached)
            n_kraus += sum(not CHANNELS[channel.kind].is_pauli for channel, _ in attached)
    bond, running = 0.0, 0.0
    for cut in range(n - 1):
        running += tally.crossing[cut]
        bond = max(bond, min(running, cut + 1, n - cut - 1))
    return Features(
        n_qubits=n,
        n_clbits=program.n_clbits,
        n_gates=tally.gates,
        n_multi=tally.multi,
        n_wide=tally.wide,
        swap_distance=tally.swaps,
        n_branching=tally.branching,
        clifford=tally.non_clifford == 0,
        n_non_clifford=tally.non_clifford,
        bond_log2=math.ceil(bond),
        dynamic=tally.dynamic > 0,
        n_dynamic=tally.dynamic,
        measured=tally.measured,
        noise_kinds=frozenset(c.kind for rule in noise.rules for c in rule.channels) if noise else frozenset(),
        n_noise=n_noise,
        n_kraus=n_kraus,
    )
