"""Row `lightcone`: exact observables, each string in a program of its own light cone.

Flow: Asked -> *cones_of* (propagate, cone, components) -> price -> choose; *make* -> Made -> combine. A Pauli string
depends only on the operations in its past light cone, and is the product of its values in the independent parts of that
cone. Each part becomes a small program with its qubits numbered from 0; strings whose cone lies within another's are
asked of that one, and parts of equal canonical bytes (the bulk of a regular lattice) are run once. Exact: no shots.

Sampled observables are left alone: one setting measures many strings at once, and a cone each would need more shots.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from qcommons.base.errors import Unavailable
from qcommons.circuits.components import Component, components
from qcommons.circuits.cone import FULL, Z, light_cone, strip_terminal
from qcommons.circuits.noise import Noise
from qcommons.circuits.observables import PauliSum
from qcommons.circuits.observables import Term as PauliTerm
from qcommons.circuits.program import Affine, Branch, Op, Program, flat_ops
from qcommons.circuits.propagate import propagate
from qcommons.circuits.wire import encode
from qcommons.engines.records import Cost, Expectations
from qcommons.engines.select import plural
from qcommons.jobs.plan.price import classes
from qcommons.jobs.plan.records import Combine, Estimated, Part, Priced, Term
from qcommons.jobs.plan.row import RUNS_MAX, Asked, Made
from qcommons.jobs.plan.runs import Runs
from qcommons.jobs.plan.whole import PRICED_MAX, Share, shares

__all__ = ["ROW", "Cone", "Cones", "Lightcone", "cones_of"]

Paulis = tuple[tuple[int, str], ...]
VISITS_MAX = 250_000  # operations visited while cones are looked for, strings times operations: about 1 s
TERMS_MAX = 1_000_000  # terms of all parts of a plan: about 200 bytes each


class Cone(NamedTuple):
    """One program of a part of a light cone, qubits from 0, and the strings asked of it."""

    program: Program
    strings: tuple[Paulis, ...]


class Cones(NamedTuple):
    """products: for each observable and term (coefficient, ((cone, string in it), ...)): the product of these values
    times the coefficient; terms that are known to be 0 are left out. width: qubits of the widest cone."""

    cones: tuple[Cone, ...]
    products: tuple[tuple[tuple[float, tuple[tuple[int, int], ...]], ...], ...]

    @property
    def width(self) -> int:
        return max((cone.program.n_qubits for cone in self.cones), default=0)


class Lightcone:
    """Small programs where the whole is wide."""

    name = "lightcone"
    help = "exact observables, each in the program of its own light cone"

    def price(self, asked: Asked) -> Priced:
        rows = shares(asked)
        found = {row.index: _of_share(asked, row) for row in rows}
        told = list(dict.fromkeys(cones for cones in found.values() if isinstance(cones, str)))
        if len(told) and all(isinstance(cones, str) for cones in found.values()):
            return Priced(row=self.name, applies=False, why="; ".join(told[:2]))
        costs = [_cost(asked, row, found[row.index]) for row in rows]
        runs = sum(cost.runs for cost in costs)
        terms = sum(row.runs * _size(found[row.index]) for row in rows)
        if runs > RUNS_MAX or terms > TERMS_MAX:
            why = f"{runs:,} runs put together by {terms:,} terms; at most {RUNS_MAX:,} and {TERMS_MAX:,}"
            return Priced(row=self.name, applies=False, why=why, runs=runs, nearest="fewer points or observables")
        refused = sum(cost.refused for cost in costs)
        open_ = sum(row.runs for row in rows)
        if not open_ or refused == open_:
            why = next((cost.why for cost in costs if cost.why), "nothing is left to run")
            return Priced(row=self.name, applies=False, why=why, runs=runs, refused=refused)
        width = max(cones.width for cones in found.values() if isinstance(cones, Cones))
        whole = max(asked.job.programs[row.programs[0]].n_qubits for row in rows)
        return Priced(
            row=self.name, applies=True, why=f"{plural(runs, 'run')} of at most {width} of {plural(whole, 'qubit')}",
            seconds=math.fsum(cost.seconds for cost in costs), longest_s=max(cost.longest_s for cost in costs),
            work_units=math.fsum(cost.work_units for cost in costs),
            memory_bytes=max(cost.memory_bytes for cost in costs), runs=runs,
            certain=all(cost.certain for cost in costs), refused=refused,
        )  # fmt: skip

    def make(self, asked: Asked) -> Made:
        runs = Runs(asked.job)
        found = {number: _of_program(asked, number) for row in shares(asked) for number in row.programs}
        placed: dict[int, list[tuple[int, tuple[int, ...]]]] = {}
        parts: list[Part] = []
        for index, point in enumerate(asked.job.points):
            cones = found.get(point.program, "")
            if index in asked.job.settled or isinstance(cones, str):
                parts.append(runs.same(index))
                continue
            if point.program not in placed:
                name = asked.job.programs[point.program].name
                placed[point.program] = [runs.exact(cone.program, _sums(cone.strings), name) for cone in cones.cones]
            places = []
            for k, (number, _) in enumerate(placed[point.program]):
                values = {name: point.values[name] for name in cones.cones[k].program.inputs}
                places.append(runs.point(number, values, asked.seed_of(index, "lightcone", k), once=True))
            parts.append(_part(cones, places, [order for _, order in placed[point.program]]))
        return runs.made(parts)


ROW = Lightcone()


# from a program to its cones


def cones_of(program: Program, want: Expectations, noise: Noise | None) -> Cones:
    """The cones of the strings of a want; `program` may have unbound inputs, and its cones keep those they use.

    Raises:
        Unavailable: it does not apply, with the reason.
    """
    program, _ = strip_terminal(program)
    if any(isinstance(op, Branch) or op.gate == "measure" for op in flat_ops(program.ops)):
        raise Unavailable("the program measures in mid-circuit: its observables are run whole")
    if noise is not None and (noise.n_qubits or any(rule.qubits for rule in noise.rules)):
        raise Unavailable(f"the noise {noise.name!r} names qubits, and a light cone numbers its qubits anew")
    where: Sequence[int] = range(program.n_qubits)
    if noise is None:
        walked = propagate(program, settle=True)
        program, where = walked.program, walked.where
    terms = [
        [(t.coefficient, tuple(sorted((where[q], letter) for q, letter in t.paulis))) for t in one.terms]
        for one in want.observables
    ]
    strings = list(dict.fromkeys(paulis for rows in terms for _, paulis in rows if paulis))
    visits = len({_needs([paulis]) for paulis in strings}) * len(program.ops)
    if visits > VISITS_MAX:
        size = f"{len(strings):,} strings in {len(program.ops):,} operations"
        raise Unavailable(f"finding the light cones of {size} takes {visits:,} steps; at most {VISITS_MAX:,}")
    factors, homes = _factors(program, strings, noise is None)
    cones: dict[bytes, tuple[Program, dict[Paulis, int]]] = {}
    places: dict[tuple[frozenset[int], Paulis], tuple[tuple[bytes, int], ...] | None] = {}
    for home, members in homes:
        part = _program_of(program, home, members, noise is None)
        for paulis in members:
            places[home, paulis] = _place(part, paulis, cones)
    number = {key: k for k, key in enumerate(cones)}
    products = []
    for rows in terms:
        kept = []
        for coefficient, paulis in rows:
            at = [places[factor] for factor in factors[paulis]] if paulis else []
            if None not in at:
                kept.append((coefficient, tuple((number[key], s) for one in at if one for key, s in one)))
        products.append(tuple(kept))
    return Cones(tuple(Cone(p, tuple(asked)) for p, asked in cones.values()), tuple(products))


def _needs(strings: Iterable[Paulis]) -> tuple[tuple[int, int], ...]:
    needs: dict[int, int] = {}
    for paulis in strings:
        for q, letter in paulis:
            needs[q] = max(needs.get(q, 0), Z if letter == "Z" else FULL)
    return tuple(sorted(needs.items()))


Homes = list[tuple[frozenset[int], dict[Paulis, None]]]


def _factors(
    program: Program, strings: list[Paulis], dephasing: bool
) -> tuple[dict[Paulis, list[tuple[frozenset[int], Paulis]]], Homes]:
    """Of each string, what it is the product of: (qubits of the cone's program, string there); and of each such
    program its strings. A part that lies within a larger one is asked there."""
    cones: dict[tuple[tuple[int, int], ...], list[frozenset[int]]] = {}
    factors: dict[Paulis, list[tuple[frozenset[int], Paulis]]] = {}
    sets: dict[frozenset[int], dict[Paulis, None]] = {}
    for paulis in strings:
        needs = _needs([paulis])
        if needs not in cones:
            cone = light_cone(program, qubit_needs=dict(needs), live_bits=(), dephasing=dephasing)
            kept = tuple(q for q, _ in needs)
            cones[needs] = [frozenset(part.qubits) for part in components(cone, keep_qubits=kept)]
        own = [(qubits, tuple(at for at in paulis if at[0] in qubits)) for qubits in cones[needs]]
        factors[paulis] = [(qubits, local) for qubits, local in own if local]
        for qubits, local in factors[paulis]:
            sets.setdefault(qubits, {})[local] = None
    homes: Homes = []
    home_of: dict[frozenset[int], frozenset[int]] = {}
    near: dict[int, list[int]] = {}  # qubit -> homes that hold it
    for qubits in sorted(sets, key=lambda one: (-len(one), sorted(one))):
        at = next((k for k in near.get(min(qubits), ()) if qubits <= homes[k][0]), None)
        if at is None:
            at = len(homes)
            homes.append((qubits, {}))
            for q in qubits:
                near.setdefault(q, []).append(at)
        homes[at][1].update(sets[qubits])
        home_of[qubits] = homes[at][0]
    moved = {paulis: [(home_of[qubits], local) for qubits, local in rows] for paulis, rows in factors.items()}
    return moved, homes


def _program_of(
    program: Program, home: frozenset[int], members: Iterable[Paulis], dephasing: bool
) -> tuple[Component, ...]:
    """The parts of the joint cone of `members`, which lie within `home`; inputs that they use are kept."""
    cone = light_cone(program, qubit_needs=dict(_needs(members)), live_bits=(), dephasing=dephasing)
    parts = components(cone, keep_qubits=tuple(sorted(home)))
    used = [{name for op in flat_ops(part.program.ops) for name in _inputs(op)} for part in parts]
    return tuple(
        Component(
            msgspec.structs.replace(part.program, inputs=tuple(n for n in program.inputs if n in names)),
            part.qubits, part.clbits,
        )
        for part, names in zip(parts, used, strict=True)
    )  # fmt: skip


def _inputs(op: Op) -> Iterable[str]:
    return (name for param in op.params if isinstance(param, Affine) for name, _ in param.terms)


def _place(
    parts: tuple[Component, ...], paulis: Paulis, cones: dict[bytes, tuple[Program, dict[Paulis, int]]]
) -> tuple[tuple[bytes, int], ...] | None:
    """Where a string is asked: (canonical bytes of the program, number of the string there), for each part that it
    reaches; None where it is 0, because a qubit still in |0> is asked for X or Y."""
    at = []
    for part in parts:
        new = {old: k for k, old in enumerate(part.qubits)}
        local = tuple((new[q], letter) for q, letter in paulis if q in new)
        if not local:
            continue
        if not part.program.ops:
            if any(letter != "Z" for _, letter in local):
                return None
            continue
        key = encode(part.program)
        _, asked = cones.setdefault(key, (part.program, {}))
        at.append((key, asked.setdefault(local, len(asked))))
    return tuple(at)


# from cones to prices and parts


def _sums(strings: Iterable[Paulis]) -> tuple[PauliSum, ...]:
    return tuple(
        PauliSum((PauliTerm(1.0, paulis),), " ".join(f"{letter}{q}" for q, letter in paulis)) for paulis in strings
    )


def _of_share(asked: Asked, row: Share) -> Cones | str:
    return _of_program(asked, asked.job.points[row.index].program)


def _of_program(asked: Asked, number: int) -> Cones | str:
    """The cones of a program of the job, or why there are none worth having."""
    return asked.remember(("lightcone", number), lambda: _find_cones(asked, number))


def _find_cones(asked: Asked, number: int) -> Cones | str:
    want = asked.job.wants[number]
    if not isinstance(want, Expectations):
        return "light cones are for observables"
    if want.shots is not None:
        return "sampled observables: one setting measures many at once, a light cone each would need more shots"
    try:
        cones = cones_of(asked.program(number), want, asked.job.noise)
    except Unavailable as refused:
        return refused.what
    if not cones.cones:
        return "the observables follow from the initial state: nothing to simulate"
    touched = {q for op in flat_ops(asked.program(number).ops) if op.gate != "barrier" for q in op.qubits}
    if len(cones.cones) == 1 and cones.width >= len(touched):
        return f"the light cone of the observables holds all {plural(len(touched), 'qubit')}"
    return cones


class _Price(NamedTuple):
    seconds: float
    longest_s: float
    work_units: float
    memory_bytes: int
    runs: int
    certain: bool = True
    refused: int = 0
    why: str = ""


def _cost(asked: Asked, row: Share, cones: Cones | str) -> _Price:
    """Of all runs of a share, in light cones where it has some."""
    if isinstance(cones, str):
        if isinstance(row.cost, Unavailable):
            return _Price(0.0, 0.0, 0.0, 0, row.runs, True, row.runs, row.cost.what)
        cost = row.cost
        return _Price(
            row.weight * cost.seconds, cost.seconds, row.weight * cost.work_units, cost.memory_bytes, row.runs,
            cost.certain,
        )  # fmt: skip
    sizes = [len(cone.program.ops) * 2.0 ** min(cone.program.n_qubits, 60) for cone in cones.cones]
    costs: list[tuple[float, Cost]] = []
    for number, _, weight in classes(sizes, PRICED_MAX):
        try:
            cost = _one(asked, row, cones.cones[number])
        except Unavailable as refused:
            why = f"a light cone of {plural(cones.cones[number].program.n_qubits, 'qubit')}: {refused.what}"
            return _Price(0.0, 0.0, 0.0, 0, row.runs * len(cones.cones), True, row.runs, why)
        turns = row.weight if cones.cones[number].program.inputs else len(row.programs)
        costs.append((weight * turns, cost))
    runs = sum(row.runs if cone.program.inputs else len(row.programs) for cone in cones.cones)
    return _Price(
        seconds=math.fsum(weight * cost.seconds for weight, cost in costs),
        longest_s=max((cost.seconds for _, cost in costs), default=0.0),
        work_units=math.fsum(weight * cost.work_units for weight, cost in costs),
        memory_bytes=max((cost.memory_bytes for _, cost in costs), default=0),
        runs=runs,
        certain=all(cost.certain for _, cost in costs),
    )


def _one(asked: Asked, row: Share, cone: Cone) -> Cost:
    values = asked.job.points[row.index].values
    return asked.cost(asked.bound_to(cone.program, values), Expectations(_sums(cone.strings)), asked.job.noise)


def _size(cones: Cones | str) -> int:
    return 1 if isinstance(cones, str) else sum(len(factors) + 1 for rows in cones.products for _, factors in rows)


def _part(cones: Cones, places: list[int], orders: list[tuple[int, ...]]) -> Combine:
    """places: run of each cone; orders: number of the estimate of each of its strings."""
    return Combine(
        tuple(
            tuple(Term(c, tuple(Estimated(places[k], orders[k][s]) for k, s in factors)) for c, factors in rows)
            for rows in cones.products
        )
    )
