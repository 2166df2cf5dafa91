"""Sampling mode: fragments' counts whose parities, multiplied and summed, estimate the uncut expectation values.

Flow: Fragments, observables, shots -> *sampled_draft* (links, settings, shots) -> Draft; `run.py` makes the programs.
For fragments that a device samples, or where shots were asked. For the standard error of S uncut shots, S gamma^2 are
shared out over the combinations of all links' settings in proportion to their weights:
  combinations due a shot or more get them, rounded up, with their own coefficient;
  of those due less, as many as their shots together are drawn by weight, each standing for the weight of them all by
  its share of the draws.
Both are unbiased: a product of means of independent runs has the product as its mean, and a draw its expectation.
Combinations that ask the same of a fragment share its run. A fragment that measures nothing in a product is not run.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from qcommons.base.errors import Unavailable
from qcommons.base.seeds import stream
from qcommons.circuits.observables import Group, PauliSum, Term, commuting_groups
from qcommons.jobs.plan.cutting.draft import Draft, DraftRun, Product
from qcommons.jobs.plan.cutting.fragments import Fragments
from qcommons.jobs.plan.cutting.links import Link, Setting, Variant, links_of
from qcommons.jobs.plan.cutting.run import Run

__all__ = ["FACTOR_MAX", "SHOTS_MAX", "sampled_draft", "sampled_width"]

SETTINGS_MAX = 1 << 16  # combinations of the links' settings: listed, weighed and shared out in about a second
PRODUCTS_MAX = 1 << 17  # of one asked run
FACTOR_MAX = 20_000.0  # times the shots: six cx cut jointly (127^2); error bars 140 times those of the uncut run
SHOTS_MAX = 1_000_000_000  # of all fragments' runs of one asked run
ROUNDING = 1e-12


class _Chosen(NamedTuple):
    """A setting of every link, with its shots and what its coefficient is multiplied by; `number` names it."""

    number: int
    settings: tuple[Setting, ...]
    shots: int
    scale: float


def sampled_width(parts: Fragments, number: int) -> int:
    """Qubits of a fragment with one ancilla for each other fragment that it has cut gates with."""
    others = {frozenset(cut.sides) for cut in parts.cuts if number in cut.sides}
    return parts.fragments[number].n_qubits + len(others)


def sampled_draft(parts: Fragments, observables: Sequence[PauliSum], shots: int, seed: int) -> Draft:
    """Runs and sums for the standard error of `shots` uncut shots of each commuting group of terms.

    Raises:
        Unavailable: too many shots, settings or products, with the numbers.
    """
    links = links_of(parts)
    gamma = math.prod(link.gamma for link in links)
    groups = commuting_groups(observables)
    _check(parts, links, gamma, shots, groups)
    plan = _Plan(parts, links)
    sums: list[list[Product]] = [
        [(constant, ())] if (constant := math.fsum(t.coefficient for t in one.terms if not t.paulis)) else []
        for one in observables
    ]
    for g, group in enumerate(groups):
        for chosen in _shared_out(links, _up(shots * gamma**2), gamma, stream(seed, "settings", g)):
            for s, t in group.terms:
                sums[s] += plan.products(g, group, chosen, observables[s].terms[t])
    return Draft(plan.runs(), tuple(map(tuple, sums)), gamma**2)


def _check(parts: Fragments, links: Sequence[Link], gamma: float, shots: int, groups: Sequence[Group]) -> None:
    settings = math.prod(len(link.settings) for link in links)
    products = math.prod(sum(len(s.products) for s in link.settings) for link in links)
    products *= sum(len(group.terms) for group in groups)
    total = shots * gamma**2 * len(groups) * len(parts.fragments)
    said = (
        f"{len(parts.cuts)} cut gates and {len(parts.wires)} cut wires between {len(parts.fragments)} fragments need "
        f"{gamma**2:,.0f} times the shots"
    )
    for value, most, what in (
        (gamma**2, FACTOR_MAX, "times the shots"), (total, SHOTS_MAX, "shots in all"),
        (settings, SETTINGS_MAX, "settings"), (products, PRODUCTS_MAX, "products"),
    ):  # fmt: skip
        if value > most:
            limit = f"{most:,.0f} {what}"
            raise Unavailable(f"{said}: {value:,.0f} {what}; at most {most:,.0f}", limit=limit)


def _shared_out(links: Sequence[Link], shots: int, gamma: float, rng: np.random.Generator) -> Iterator[_Chosen]:
    """Every combination of settings that gets shots, with how many."""
    tail: list[tuple[Setting, ...]] = []
    number = 0
    for settings in itertools.product(*(link.settings for link in links)):
        due = shots * math.prod(setting.weight for setting in settings) / gamma
        if due > 1 - ROUNDING:
            yield _Chosen(number, settings, _up(due), 1.0)
            number += 1
        else:
            tail.append(settings)
    if not tail:
        return
    weights = np.array([math.prod(setting.weight for setting in settings) for settings in tail])
    weight = float(weights.sum())
    draws = _up(shots * weight / gamma)
    for k, drawn in enumerate(rng.multinomial(draws, weights / weight)):
        if drawn:
            yield _Chosen(number + k, tail[k], int(drawn), float(drawn) / draws * weight / float(weights[k]))


class _Plan:
    """Runs by (group, fragment, variants of its links), as products ask for them."""

    def __init__(self, parts: Fragments, links: Sequence[Link]) -> None:
        self._parts, self._links = parts, links
        self._home = {qubit: (number, local) for number, f in enumerate(parts.fragments) for qubit, local in f.finals}
        self._at: list[list[tuple[int, int]]] = [[] for _ in parts.fragments]  # (link, side) of each fragment
        for number, link in enumerate(links):
            for side, fragment in enumerate(link.sides):
                self._at[fragment].append((number, side))
        self._runs: dict[tuple[int, int, tuple[Variant, ...]], Run] = {}

    def products(self, g: int, group: Group, chosen: _Chosen, term: Term) -> Iterator[Product]:
        """The terms of one Pauli string in one combination of settings."""
        read: dict[int, list[int]] = {}
        for qubit, _ in term.paulis:
            number, local = self._home[qubit]
            read.setdefault(number, []).append(local)
        for rows in itertools.product(*(setting.products for setting in chosen.settings)):
            factors = []
            for number, at in enumerate(self._at):
                halves = [rows[link][1][side] for link, side in at]
                if number not in read and not any(half.signed for half in halves):
                    continue  # it measures nothing: its value is 1
                run = self._run(g, group, number, tuple(half.variant for half in halves))
                run.give(chosen.number, chosen.shots * math.prod(_share(chosen.settings[k], side) for k, side in at))
                signed = [place for place, half in enumerate(halves) if half.signed]
                factors.append((run.number, run.bits(read.get(number, ()), signed)))
            yield term.coefficient * chosen.scale * math.prod(row[0] for row in rows), tuple(factors)

    def runs(self) -> tuple[DraftRun, ...]:
        return tuple(DraftRun(run.program, shots=run.shots) for run in self._runs.values())

    def _run(self, g: int, group: Group, number: int, variants: tuple[Variant, ...]) -> Run:
        key = (g, number, variants)
        if key not in self._runs:
            links = [self._links[link] for link, _ in self._at[number]]
            self._runs[key] = Run(len(self._runs), self._parts.fragments[number], group.basis, links, variants)
        return self._runs[key]


def _share(setting: Setting, side: int) -> float:
    """Of a setting's shots, those of each variant on a side."""
    return 1 / len({halves[side].variant for _, halves in setting.products})


def _up(shots: float) -> int:
    """Rounded up, rounding errors of float64 not."""
    return math.ceil(shots * (1 - ROUNDING))
