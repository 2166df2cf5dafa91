"""Fragments: the pieces that a cutting leaves, with a slot for each end of a cut gate and open ends of cut wires.

Flow: Wires, labels (find) -> *fragments_of* -> exact, sampled, which fill slots and ends.

A label says for each end of each two-qubit gate in which fragment it happens. A gate with two labels is cut; a wire is
cut between two gates of its qubit with different labels, and goes on as another qubit of the other fragment. What lies
on a wire between the two gates happens before the cut. So a fragment's qubits are the *strands* with its label.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from qcommons.circuits.program import Op
from qcommons.jobs.plan.cutting.interaction import Interaction
from qcommons.jobs.plan.cutting.wires import Wires

__all__ = ["Cut", "Fragment", "Fragments", "Labels", "Slot", "Wire", "fragments_of"]

Labels = tuple[tuple[int, int], ...]
"""For each two-qubit gate the labels of its two ends, 0 and up."""


class Slot(NamedTuple):
    """Where one end of cut gate `cut` acts: `side` of it, on `qubit` of the fragment."""

    cut: int
    side: int
    qubit: int


class Fragment(msgspec.Struct, frozen=True):
    """items: in time order on its own qubits. ins, outs: (cut wire, qubit). finals: (qubit asked, qubit here)."""

    n_qubits: int
    items: tuple[Op | Slot, ...]
    ins: tuple[tuple[int, int], ...]
    outs: tuple[tuple[int, int], ...]
    finals: tuple[tuple[int, int], ...]

    @property
    def slots(self) -> tuple[Slot, ...]:
        return tuple(item for item in self.items if isinstance(item, Slot))


class Cut(msgspec.Struct, frozen=True):
    """A cut gate: what it does, and the fragments of its two sides."""

    interaction: Interaction
    sides: tuple[int, int]


class Wire(msgspec.Struct, frozen=True):
    """A cut wire, from the fragment where it ends to the one where it goes on."""

    up: int
    down: int


class Fragments(msgspec.Struct, frozen=True):
    """All of a program, with what was cut between them."""

    fragments: tuple[Fragment, ...]
    cuts: tuple[Cut, ...]
    wires: tuple[Wire, ...]


class _Strands:
    """Strands as they are found: the label and the program's qubit of each, and where each qubit is now."""

    def __init__(self, wires: Wires, labels: Labels) -> None:
        self.labels = labels
        self.chains = wires.chains
        self.label: list[int] = []
        self.now: dict[int, int] = {}
        self.cut_wires: list[tuple[int, int]] = []  # (strand that ends, strand that goes on)
        self.idle = -1

    def at(self, qubit: int, label: int | None = None) -> int:
        """The strand of `qubit` now; where the label is another, its wire is cut."""
        if qubit not in self.now:
            if label is None and self.chains[qubit]:
                gate, side = self.chains[qubit][0]
                label = self.labels[gate][side]
            elif label is None:
                label, self.idle = self.idle, self.idle - 1
            self.now[qubit] = self._new(label)
        elif label is not None and self.label[self.now[qubit]] != label:
            old, self.now[qubit] = self.now[qubit], self._new(label)
            self.cut_wires.append((old, self.now[qubit]))
        return self.now[qubit]

    def _new(self, label: int) -> int:
        self.label.append(label)
        return len(self.label) - 1


def fragments_of(wires: Wires, labels: Labels, observed: Iterable[int], *, split: bool) -> Fragments:
    """The program in fragments.

    observed: qubits with an observable: they exist even without gates.
    split: what is not connected within a label becomes fragments of its own.
    """
    strands = _Strands(wires, labels)
    rows: list[tuple[Op | Slot, int]] = []  # slots here hold strands, not qubits
    joined: list[tuple[int, int]] = []
    cut_gates: list[tuple[Interaction, tuple[int, int]]] = []
    gate = 0
    for op in wires.ops:
        if len(op.qubits) == 1:
            rows.append((op, strands.at(op.qubits[0])))
            continue
        ends = [strands.at(q, label) for q, label in zip(op.qubits, labels[gate], strict=True)]
        if labels[gate][0] == labels[gate][1]:
            joined.append((ends[0], ends[1]))
            rows.append((msgspec.structs.replace(op, qubits=tuple(ends)), ends[0]))
        else:
            interaction = wires.interactions[gate]
            for side, strand in enumerate(ends):
                rows += [(op_, strand) for op_ in interaction.local("before", side, strand)]
                rows.append((Slot(len(cut_gates), side, strand), strand))
                rows += [(op_, strand) for op_ in interaction.local("after", side, strand)]
            cut_gates.append((interaction, (ends[0], ends[1])))
        gate += 1
    finals = [(qubit, strands.at(qubit)) for qubit in sorted(set(observed))]
    home = _homes(strands.label, joined, split)
    return _assembled(home, rows, strands.cut_wires, cut_gates, finals)


def _homes(label: Sequence[int], joined: Sequence[tuple[int, int]], split: bool) -> list[int]:
    """For each strand the number of its fragment, in order of first appearance."""
    parent = list(range(len(label)))

    def find(strand: int) -> int:
        while parent[strand] != strand:
            parent[strand] = parent[parent[strand]]
            strand = parent[strand]
        return strand

    for a, b in joined:
        parent[find(a)] = find(b)
    roots = [find(strand) for strand in range(len(label))] if split else list(label)
    number: dict[int, int] = {}
    return [number.setdefault(root, len(number)) for root in roots]


def _assembled(
    home: Sequence[int],
    rows: Sequence[tuple[Op | Slot, int]],
    cut_wires: Sequence[tuple[int, int]],
    cut_gates: Sequence[tuple[Interaction, tuple[int, int]]],
    finals: Sequence[tuple[int, int]],
) -> Fragments:
    n_fragments = max(home, default=-1) + 1
    place: list[int] = []  # of each strand: its qubit in its fragment
    width = [0] * n_fragments
    for fragment in home:
        place.append(width[fragment])
        width[fragment] += 1
    items: list[list[Op | Slot]] = [[] for _ in range(n_fragments)]
    for item, strand in rows:
        if isinstance(item, Slot):
            item = item._replace(qubit=place[strand])
        elif len(item.qubits) == 1:
            item = msgspec.structs.replace(item, qubits=(place[strand],))
        else:
            item = msgspec.structs.replace(item, qubits=tuple(place[each] for each in item.qubits))
        items[home[strand]].append(item)
    return Fragments(
        tuple(
            Fragment(
                width[f],
                tuple(items[f]),
                tuple((w, place[new]) for w, (_, new) in enumerate(cut_wires) if home[new] == f),
                tuple((w, place[old]) for w, (old, _) in enumerate(cut_wires) if home[old] == f),
                tuple((qubit, place[strand]) for qubit, strand in finals if home[strand] == f),
            )
            for f in range(n_fragments)
        ),
        tuple(Cut(interaction, (home[a], home[b])) for interaction, (a, b) in cut_gates),
        tuple(Wire(home[old], home[new]) for old, new in cut_wires),
    )
