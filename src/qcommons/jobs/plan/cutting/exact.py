"""Exact mode: fragments' expectation values whose sums of products are the uncut ones. No shots, no variance.

Flow: Fragments, observables -> *exact_draft* (ways through each cut) -> Draft. Fragments are ordinary programs with
ordinary computed observables, so that any peer runs them. One run holds all that its cuts let through: the fragment is
widened by the index qubits of cut gates and by the partners of wires that go on in it. Where the width has no room for
such a partner, that wire goes on from four states instead, in four runs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from qcommons.base.errors import Unavailable
from qcommons.circuits.observables import PauliSum, Term
from qcommons.circuits.program import Op, Program
from qcommons.jobs.plan.cutting.draft import Draft, DraftRun, Product
from qcommons.jobs.plan.cutting.fragments import Fragment, Fragments, Slot
from qcommons.jobs.plan.cutting.ways import PAIR_WAYS, STATE_WAYS, STATES, Way, gate_ways, index_ops, index_qubits

__all__ = ["PRODUCTS_MAX", "STRINGS_MAX", "exact_draft", "exact_width"]

PRODUCTS_MAX = 1 << 16  # of one asked run: 8 cuts of two terms; made and summed in about a second
STRINGS_MAX = 1 << 20  # Pauli strings that the fragments of one asked run are asked for
Paulis = tuple[tuple[int, str], ...]
Local = tuple[tuple[float, Paulis], ...]
"""A real sum of Pauli strings on a fragment's qubits."""


class _End(NamedTuple):
    """One end of a cut: `side` of it, looked at on `qubits` of the fragment; none where the way is a state."""

    cut: int  # gates first, then wires
    side: int
    qubits: tuple[int, ...]


class _Row(NamedTuple):
    """coefficient times the product over fragments of their local sums."""

    coefficient: float
    locals_: tuple[Local, ...]


def exact_width(parts: Fragments, number: int) -> int:
    """Qubits of a fragment with its index qubits, wires that go on in it in four runs."""
    fragment = parts.fragments[number]
    return fragment.n_qubits + sum(index_qubits(parts.cuts[slot.cut].interaction) for slot in fragment.slots)


def exact_draft(parts: Fragments, observables: Sequence[PauliSum], width_max: int) -> Draft:
    """Runs and sums; pairs for wires are made only where `width_max` qubits have room for them.

    Raises:
        Unavailable: more than PRODUCTS_MAX products or STRINGS_MAX strings, with the numbers.
    """
    paired = _paired(parts, width_max)
    ways = [gate_ways(cut.interaction) for cut in parts.cuts]
    ways += [PAIR_WAYS if pair else STATE_WAYS for pair in paired]
    rows = [list(_rows(parts, observable)) for observable in observables]
    products = math.prod(map(len, ways)) * sum(map(len, rows))
    if products > PRODUCTS_MAX:
        limit = f"{PRODUCTS_MAX:,} products"
        raise Unavailable(
            f"{len(parts.cuts)} cut gates and {len(parts.wires)} cut wires between {len(parts.fragments)} fragments "
            f"make {products:,} products; at most {PRODUCTS_MAX:,}", limit=limit,
        )  # fmt: skip
    asked = _Asked(parts, ways, paired)
    sums = []
    for each in rows:
        terms: list[Product] = []
        for row in each:
            choices = itertools.product(*(range(len(way)) for way in ways)) if row.locals_ else [()]
            terms += (term for choice in choices if (term := asked.product(choice, row)) is not None)
        sums.append(tuple(terms))
    return Draft(asked.runs(), tuple(sums))


def _paired(parts: Fragments, width_max: int) -> list[bool]:
    """For each cut wire: is there room for its pair where it goes on?"""
    paired = [False] * len(parts.wires)
    for number, fragment in enumerate(parts.fragments):
        room = max(width_max - exact_width(parts, number), 0)
        for wire, _ in fragment.ins[:room]:
            paired[wire] = True
    return paired


def _rows(parts: Fragments, observable: PauliSum) -> Iterator[_Row]:
    """The observable as few products of sums: terms that differ in one fragment alone are one sum there."""
    home = {qubit: (number, local) for number, f in enumerate(parts.fragments) for qubit, local in f.finals}
    constant = math.fsum(term.coefficient for term in observable.terms if not term.paulis)
    if constant:
        yield _Row(constant, ())
    split: list[tuple[float, tuple[Paulis, ...]]] = []
    for term in observable.terms:
        if term.paulis:
            rows: list[list[tuple[int, str]]] = [[] for _ in parts.fragments]
            for qubit, letter in term.paulis:
                number, local = home[qubit]
                rows[number].append((local, letter))
            split.append((term.coefficient, tuple(tuple(sorted(row)) for row in rows)))
    if not split:
        return
    others = [{_without(strings, f) for _, strings in split} for f in range(len(parts.fragments))]
    pivot = min(range(len(others)), key=lambda f: (len(others[f]), f))
    grouped: dict[tuple[Paulis, ...], dict[Paulis, float]] = {}
    for coefficient, strings in split:
        own = grouped.setdefault(_without(strings, pivot), {})
        own[strings[pivot]] = own.get(strings[pivot], 0.0) + coefficient
    for rest, sums in grouped.items():
        locals_: list[Local] = [((1.0, string),) for string in rest]
        locals_.insert(pivot, tuple((c, string) for string, c in sums.items()))
        yield _Row(1.0, tuple(locals_))


def _without(strings: tuple[Paulis, ...], place: int) -> tuple[Paulis, ...]:
    return strings[:place] + strings[place + 1 :]


class _Body:
    """A fragment with its ends, and the programs that come of it."""

    def __init__(self, parts: Fragments, fragment: Fragment, paired: Sequence[bool]) -> None:
        self.n_qubits = fragment.n_qubits
        self.ends: list[_End] = []
        self.states: list[tuple[int, int]] = []  # (cut, qubit) of wires that go on from a state
        self._before: list[Op] = []
        self._ops: list[Op] = []
        offset = len(parts.cuts)
        for wire, qubit in fragment.ins:
            self._go_on(offset + wire, qubit, paired[wire])
        for item in fragment.items:
            if isinstance(item, Slot):
                interaction = parts.cuts[item.cut].interaction
                index = self._more(index_qubits(interaction))
                self._ops += index_ops(interaction, item.side, item.qubit, index)
                self.ends.append(_End(item.cut, item.side, tuple(index)))
            else:
                self._ops.append(item)
        self.ends += [_End(offset + wire, 0, (qubit,)) for wire, qubit in fragment.outs]

    def program(self, states: Sequence[int]) -> Program:
        """states: of each of `states`, which one."""
        starts = [Op(g, (q,)) for (_, q), state in zip(self.states, states, strict=True) for g in STATES[state]]
        return Program(self.n_qubits, (), (*starts, *self._before, *self._ops))

    def _more(self, count: int) -> list[int]:
        self.n_qubits += count
        return list(range(self.n_qubits - count, self.n_qubits))

    def _go_on(self, cut: int, qubit: int, pair: bool) -> None:
        if not pair:
            self.states.append((cut, qubit))
            return
        (partner,) = self._more(1)
        self._before += [Op("h", (partner,)), Op("cx", (partner, qubit))]
        self.ends.append(_End(cut, 1, (partner,)))


class _Asked:
    """What the fragments are asked, as it comes up: runs by fragment and states, observables by run."""

    def __init__(self, parts: Fragments, ways: Sequence[tuple[Way, ...]], paired: Sequence[bool]) -> None:
        self._bodies = [_Body(parts, fragment, paired) for fragment in parts.fragments]
        self._ways = ways
        self._numbers: dict[tuple[int, tuple[int, ...]], int] = {}
        self._observables: list[dict[PauliSum, int]] = []
        self._known: dict[tuple[int, tuple[int, ...], Local], tuple[float, tuple[int, tuple[int, ...]] | None]] = {}
        self._strings = 0

    def product(self, choice: tuple[int, ...], row: _Row) -> Product | None:
        """The term of a row for one way through each cut; None where it is 0."""
        coefficient = row.coefficient
        factors = []
        for number, local in enumerate(row.locals_):
            scale, factor = self._factor(number, choice, local)
            coefficient *= scale
            if factor is not None:
                factors.append(factor)
        return (coefficient, tuple(factors)) if coefficient else None

    def runs(self) -> tuple[DraftRun, ...]:
        return tuple(
            DraftRun(self._bodies[number].program(states), tuple(observables))
            for (number, states), observables in zip(self._numbers, self._observables, strict=True)
        )

    def _factor(
        self, number: int, choice: tuple[int, ...], local: Local
    ) -> tuple[float, tuple[int, tuple[int, ...]] | None]:
        """(scale, what is asked) of a fragment; None: the value is the scale."""
        body = self._bodies[number]
        own = tuple(choice[end.cut] for end in body.ends)
        states = tuple(choice[cut] for cut, _ in body.states)
        key = (number, (*own, *states), local)
        if key not in self._known:
            strings = self._strings_of(body, own, local)
            self._known[key] = self._placed(number, states, strings)
        return self._known[key]

    def _strings_of(self, body: _Body, own: tuple[int, ...], local: Local) -> dict[Paulis, float]:
        strings = {paulis: coefficient for coefficient, paulis in local}
        for end, way in zip(body.ends, own, strict=True):
            grown: dict[Paulis, float] = {}
            for coefficient, word in self._ways[end.cut][way][end.side]:
                there = tuple((q, letter) for q, letter in zip(end.qubits, word, strict=True) if letter != "I")
                for paulis, own_coefficient in strings.items():
                    longer = tuple(sorted((*paulis, *there)))
                    grown[longer] = grown.get(longer, 0.0) + coefficient * own_coefficient
            strings = grown
        return {paulis: c for paulis, c in strings.items() if c}

    def _placed(
        self, number: int, states: tuple[int, ...], strings: dict[Paulis, float]
    ) -> tuple[float, tuple[int, tuple[int, ...]] | None]:
        if set(strings) <= {()}:
            return strings.get((), 0.0), None
        scale = next(iter(strings.values())) if len(strings) == 1 else 1.0
        terms = tuple(Term(c / scale, paulis) for paulis, c in sorted(strings.items()))
        run = self._numbers.setdefault((number, states), len(self._numbers))
        if run == len(self._observables):
            self._observables.append({})
        places = self._observables[run]
        observable = PauliSum(terms, "")
        if observable not in places:
            places[observable] = len(places)
            self._strings += len(terms)
            if self._strings > STRINGS_MAX:
                limit = f"{STRINGS_MAX:,} Pauli strings"
                raise Unavailable(f"the cuts need more than {limit}", limit=limit)
        return scale, (run, (places[observable],))
