"""One sampled run of a fragment: its program in one variant of each of its links, and the bits it measures.

Flow: Fragment, variants (links) -> *Run* -> sampled. The ancilla of a Pair begins in |+>, puts in the others beside the
letters, and is turned so that its outcome is the sign; a wire that ends is measured in its letter; what is observed is
measured in the basis of its group.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from qcommons.circuits.program import Op, Program
from qcommons.jobs.plan.cutting.fragments import Fragment, Slot
from qcommons.jobs.plan.cutting.links import Letters, Link, Pair, Prepare, Read, Variant
from qcommons.jobs.plan.cutting.pauli import controlled, plain, turned

__all__ = ["Run"]


class Run:
    """number: in its draft. basis: (qubit asked, letter). links, variants: of this fragment, in the same order."""

    def __init__(
        self, number: int, fragment: Fragment, basis: Sequence[tuple[int, str]], links: Sequence[Link],
        variants: Sequence[Variant],
    ) -> None:  # fmt: skip
        self.number = number
        self._given: dict[int, float] = {}  # number of a combination of settings -> shots
        self._n_qubits = fragment.n_qubits
        self._reads: list[int] = []  # qubit of each classical bit
        self._starts: list[Op] = []
        self._ends: list[Op] = []
        self._filled: dict[int, tuple[Op, ...]] = {}  # cut -> what is put in its slot
        self._signs: dict[int, int] = {}  # place among the links -> classical bit
        self._places: dict[int, int] = {}  # qubit -> classical bit
        for place, (link, variant) in enumerate(zip(links, variants, strict=True)):
            self._link(place, link, variant, fragment)
        letters = dict(basis)
        for qubit, local in fragment.finals:
            if qubit in letters:
                self._ends += turned(letters[qubit], local)
                self._places[local] = self._read(local)
        ops = [op for item in fragment.items for op in (self._filled[item.cut] if isinstance(item, Slot) else (item,))]
        measured = [Op("measure", (qubit,), (), (bit,)) for bit, qubit in enumerate(self._reads)]
        all_ops = (*self._starts, *ops, *self._ends, *measured)
        self.program = Program(self._n_qubits, (("m", len(measured)),), all_ops)

    @property
    def shots(self) -> int:
        """All that it was given."""
        return max(math.ceil(math.fsum(self._given.values())), 1)

    def give(self, chosen: int, shots: float) -> None:
        """Shots for combination `chosen` of settings, however many products ask for it."""
        self._given[chosen] = shots

    def bits(self, locals_: Sequence[int], signed: Sequence[int]) -> tuple[int, ...]:
        """Of the parity: these qubits, and the signs of the links at these places."""
        return tuple(sorted([self._signs[place] for place in signed] + [self._places[local] for local in locals_]))

    def _read(self, qubit: int) -> int:
        self._reads.append(qubit)
        return len(self._reads) - 1

    def _link(self, place: int, link: Link, variant: Variant, fragment: Fragment) -> None:
        match variant:
            case Letters(letters):
                for k, cut in enumerate(link.cuts):
                    self._filled[cut] = plain(letters[k], _slot(fragment, cut).qubit)
            case Pair(letters, others, angle):
                ancilla = self._n_qubits
                self._n_qubits += 1
                for k, cut in enumerate(link.cuts):
                    qubit = _slot(fragment, cut).qubit
                    self._filled[cut] = (*plain(letters[k], qubit), *controlled(others[k], ancilla, qubit))
                self._starts.append(Op("h", (ancilla,)))
                # cos(a) X + sin(a) Y is X turned by a about Z
                self._ends += [*([Op("p", (ancilla,), (-angle,))] if angle else []), Op("h", (ancilla,))]
                self._signs[place] = self._read(ancilla)
            case Read(letter):
                qubit = next(qubit for wire, qubit in fragment.outs if wire == link.wire)
                self._ends += turned(letter, qubit)
                self._signs[place] = self._read(qubit)
            case Prepare(gates):
                qubit = next(qubit for wire, qubit in fragment.ins if wire == link.wire)
                self._starts += [Op(gate, (qubit,)) for gate in gates]


def _slot(fragment: Fragment, cut: int) -> Slot:
    return next(slot for slot in fragment.slots if slot.cut == cut)
