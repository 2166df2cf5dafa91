"""The program as a cutter sees it: gates on one and two qubits, and the two-qubit gates along each qubit's wire.

Flow: Program, observables -> *wires_of* -> find, fragments. Exact: what the observables cannot depend on is left out
(circuits/cone.py), wider gates are written with gates on two qubits, gates that turn out to be local are taken apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import msgspec

from qcommons.base.errors import Unavailable
from qcommons.circuits.cone import FULL, Z, light_cone, strip_terminal
from qcommons.circuits.gates import GATES
from qcommons.circuits.lower import lower_op
from qcommons.circuits.observables import PauliSum
from qcommons.circuits.program import Branch, Op, Program
from qcommons.jobs.plan.cutting.interaction import Interaction, interaction_of
from qcommons.jobs.plan.cutting.pauli import plain

__all__ = ["Wires", "wires_of"]

OPS_MAX = 50_000  # reading them takes about a second, and each fragment program holds its share
TWO = frozenset(name for name, row in GATES.items() if row.n_qubits <= 2)


class Wires(msgspec.Struct, frozen=True, dict=True):
    """ops: in time order, each on one or two qubits, all parameters bound. n_qubits: of the program asked."""

    n_qubits: int
    ops: tuple[Op, ...]

    @cached_property
    def gates(self) -> tuple[Op, ...]:
        """The gates on two qubits, in time order; their number is their name."""
        return tuple(op for op in self.ops if len(op.qubits) == 2)

    @cached_property
    def interactions(self) -> tuple[Interaction, ...]:
        """Of each gate of `gates`."""
        return tuple(map(interaction_of, self.gates))

    @cached_property
    def chains(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """For each qubit its (gate, side) in time order; side 0 is the gate's first qubit."""
        chains: list[list[tuple[int, int]]] = [[] for _ in range(self.n_qubits)]
        for number, op in enumerate(self.gates):
            for side, qubit in enumerate(op.qubits):
                chains[qubit].append((number, side))
        return tuple(map(tuple, chains))

    @cached_property
    def used(self) -> tuple[int, ...]:
        """Qubits with a gate on two qubits."""
        return tuple(qubit for qubit, chain in enumerate(self.chains) if chain)


def wires_of(program: Program, observables: Sequence[PauliSum]) -> Wires:
    """Of a bound program.

    Raises:
        Unavailable: mid-circuit measurement, reset or branches; too many operations.
    """
    program, _ = strip_terminal(program)
    if any(isinstance(op, Branch) or op.gate in ("measure", "reset") for op in program.ops):
        raise Unavailable("circuits with mid-circuit measurement, reset or if are not cut")
    needs: dict[int, int] = {}
    for each in observables:
        for term in each.terms:
            for qubit, letter in term.paulis:
                needs[qubit] = max(needs.get(qubit, 0), Z if letter == "Z" else FULL)
    ops: list[Op] = []
    for op in light_cone(program, qubit_needs=needs, live_bits=()).ops:
        assert isinstance(op, Op)
        ops += _narrow(op, program.n_qubits)
        if len(ops) > OPS_MAX:
            limit = f"{OPS_MAX:,} operations"
            raise Unavailable(f"the part that the observables depend on has more than {limit}", limit=limit)
    return Wires(program.n_qubits, tuple(ops))


def _narrow(op: Op, n_qubits: int) -> list[Op]:
    """The operation on at most two qubits at a time; global phases are dropped."""
    rows = (op,) if len(op.qubits) <= 2 else lower_op(op, TWO, n_qubits, drop_phase=True)
    found: list[Op] = []
    for row in rows:
        if len(row.qubits) == 2:
            interaction = interaction_of(row)
            if len(interaction.terms) == 1:
                found += _apart(row, interaction)
                continue
        if row.qubits:
            found.append(row)
    return found


def _apart(op: Op, interaction: Interaction) -> list[Op]:
    """A gate on two qubits that is a product."""
    found: list[Op] = []
    for side, qubit in enumerate(op.qubits):
        letter = interaction.letters[side][0]
        found += [*interaction.local("before", side, qubit), *plain(letter, qubit)]
        found += interaction.local("after", side, qubit)
    return found
