"""Expectation values: exact through light cones and parts, or sampled with standard errors.

Flow: execute -> *exact_estimates | sampled_estimates* -> propagate, cone, components -> climb.
Exact: every distinct Pauli string is one number; a string factorises over independent parts. If the
union of all light cones is expensive, each string is run in its own light cone instead.
Sampled: qubit-wise commuting groups share a measurement setting; the standard error of a sum is
taken from the shots of each group, so covariances within a group count. Terms whose shots all agreed
show no spread and take that of the rule in `standard_error`, added up as if they erred together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from qcommons.base.seeds import derive
from qcommons.circuits.components import components, restrict_noise
from qcommons.circuits.cone import FULL, Z, light_cone
from qcommons.circuits.noise import Noise, channels_after, readout_for
from qcommons.circuits.observables import PauliSum, Term, commuting_groups
from qcommons.circuits.program import Branch, Op, Program
from qcommons.circuits.propagate import propagate
from qcommons.engines.climb import Climber
from qcommons.engines.join import joined_counts
from qcommons.engines.records import Answer, Counts, Estimate, Expectations
from qcommons.engines.standard_error import mean_variance, unseen_variance

__all__ = ["exact_estimates", "sampled_estimates"]

Paulis = tuple[tuple[int, str], ...]
CONE_GAIN_QUBITS = 3  # run cones one by one only if they are at least this much smaller
UNION_QUBITS = 18  # a dense state this small serves all strings at once
GROUP_CONES_MAX = 2_000
TURNS: dict[str, tuple[str, ...]] = {"X": ("h",), "Y": ("sdg", "h"), "Z": ()}  # gates before the measurement


def exact_estimates(
    program: Program, want: Expectations, noise: Noise | None, seed: int, climber: Climber, notes: list[str]
) -> Answer:
    """One computed estimate an observable, exact where error_bound, the methods' own error, is 0."""
    where = tuple(range(program.n_qubits))
    if noise is None:
        walked = propagate(program, settle=True)
        program, where = walked.program, walked.where
    elif _measurement_noise(want, noise):
        notes.append(
            "exact values are of the state: readout errors and the noise of the gates that turn X and Y into "
            "measured Z are left out; ask for shots to include them"
        )
    strings: dict[Paulis, float] = {}
    moved = [[(t.coefficient, _moved(t, where)) for t in s.terms] for s in want.observables]
    for terms in moved:
        for _, paulis in terms:
            strings[paulis] = 1.0
    answers: list[Answer] = []
    errors: dict[Paulis, float] = {}
    asked = [p for p in strings if p]
    for group in _cones(program, asked, noise):
        values, own = _values(program, group, noise, seed, climber, answers)
        strings |= values
        errors |= own
    if not answers:
        climber.reasons.append((0, "the observables follow from the initial state: nothing to simulate"))
    estimates = tuple(Estimate(math.fsum(c * strings[p] for c, p in terms)) for terms in moved)
    bound = max((math.fsum(abs(c) * errors.get(p, 0.0) for c, p in terms) for terms in moved), default=0.0)
    return _answer(answers, estimates, bound)


def _measurement_noise(want: Expectations, noise: Noise) -> bool:
    """Measuring the observables would add errors that the state does not have."""
    letters = {at for sum_ in want.observables for term in sum_.terms for at in term.paulis}
    return any(
        readout_for(noise, q) is not None or any(channels_after(noise, Op(gate, (q,))) for gate in TURNS[letter])
        for q, letter in letters
    )


def _moved(term: Term, where: Sequence[int]) -> Paulis:
    return tuple(sorted((where[q], letter) for q, letter in term.paulis))


def _reduced(program: Program, strings: Sequence[Paulis], noise: Noise | None) -> Program:
    needs: dict[int, int] = {}
    for paulis in strings:
        for q, letter in paulis:
            needs[q] = max(needs.get(q, 0), Z if letter == "Z" else FULL)
    return light_cone(program, qubit_needs=needs, live_bits=(), dephasing=noise is None)


def _touched(program: Program) -> int:
    return max((len(p.qubits) for p in components(program)), default=0)


def _cones(program: Program, strings: list[Paulis], noise: Noise | None) -> list[list[Paulis]]:
    """Strings grouped so that each group is simulated in one light cone."""
    if not strings:
        return []
    whole = _touched(_reduced(program, strings, noise))
    if whole <= UNION_QUBITS or len(strings) == 1 or len(strings) * len(program.ops) > GROUP_CONES_MAX * 2_000:
        return [strings]
    groups: dict[frozenset[int], list[Paulis]] = {}
    largest = 0
    for paulis in strings:
        cone = _reduced(program, [paulis], noise)
        qubits = frozenset(q for part in components(cone) for q in part.qubits)
        largest = max(largest, len(qubits))
        groups.setdefault(qubits, []).append(paulis)
    if largest > whole - CONE_GAIN_QUBITS:
        return [strings]
    # strings whose cone lies inside another's are served by that run
    merged: list[tuple[frozenset[int], list[Paulis]]] = []
    for qubits, members in sorted(groups.items(), key=lambda g: -len(g[0])):
        home = next((m for m in merged if qubits <= m[0]), None)
        if home is None:
            merged.append((qubits, list(members)))
        else:
            home[1].extend(members)
    return [members for _, members in merged]


def _values(
    program: Program, strings: list[Paulis], noise: Noise | None, seed: int, climber: Climber, answers: list[Answer]
) -> tuple[dict[Paulis, float], dict[Paulis, float]]:
    """Value of each string, and the methods' own error of it.

    A string is the product of its values in the parts, none above 1 in size: their errors add up.
    """
    cone = _reduced(program, strings, noise)
    support = tuple(sorted({q for paulis in strings for q, _ in paulis}))
    values, errors = dict.fromkeys(strings, 1.0), dict.fromkeys(strings, 0.0)
    for i, part in enumerate(components(cone, keep_qubits=support)):
        new = {old: k for k, old in enumerate(part.qubits)}
        inside = {p: tuple((new[q], letter) for q, letter in p if q in new) for p in strings}
        unique = [p for p in dict.fromkeys(inside.values()) if p]
        if not unique:
            continue
        ended = _measured_last(part.program)
        own = 0.0
        table = {p: 0.0 for p in unique if any(letter != "Z" and q in ended for q, letter in p)}
        unique = [p for p in unique if p not in table]
        if not unique:
            pass
        elif part.program.ops:
            sums = tuple(PauliSum((Term(1.0, p),), "") for p in unique)
            noise_here = restrict_noise(noise, part.qubits)
            answer = climber.run(part.program, Expectations(sums), noise_here, derive(seed, "part", i))
            answers.append(answer)
            own = answer.error_bound
            table |= {p: e.value for p, e in zip(unique, answer.estimates or (), strict=True)}
        else:  # untouched qubits are in |0>
            table |= {p: float(all(letter == "Z" for _, letter in p)) for p in unique}
        for paulis, local in inside.items():
            if local:
                values[paulis] *= table[local]
                errors[paulis] += own
    return values, errors


def _measured_last(program: Program) -> set[int]:
    """Qubits on which nothing happens after a measurement.

    What the measurement left is diagonal there, and so it stays under every channel we have: X and Y on
    such a qubit have mean 0. Where only Z is asked the measurement changes nothing, so that engines may
    leave it out (`branching.split_terminal`).
    """
    ended: set[int] = set()
    touched: set[int] = set()
    for op in reversed(program.ops):
        if isinstance(op, Branch):
            touched.update(q for inner in (*op.then, *op.orelse) for q in inner.qubits)
        elif op.gate != "barrier":
            if op.gate == "measure" and op.qubits[0] not in touched:
                ended.add(op.qubits[0])
            touched.update(op.qubits)
    return ended


def sampled_estimates(
    program: Program, want: Expectations, noise: Noise | None, seed: int, climber: Climber, notes: list[str]
) -> Answer:
    """One estimate an observable from `want.shots` shots for each commuting group."""
    shots = want.shots or 1
    sums = want.observables
    values = [math.fsum(t.coefficient for t in s.terms if not t.paulis) for s in sums]
    variances = [0.0] * len(sums)
    answers: list[Answer] = []
    groups = commuting_groups(sums)
    if len(groups) > 1:
        notes.append(f"{len(groups)} measurement settings of {shots} shots each")
    for g, group in enumerate(groups):
        counts, order = _group_counts(program, group.basis, shots, noise, derive(seed, "group", g), climber, answers)
        bits = np.array([[c == "1" for c in key[::-1]] for key in counts], dtype=np.bool_)
        weights = np.fromiter(counts.values(), np.float64, len(counts))
        for s in dict.fromkeys(s for s, _ in group.terms):
            per_shot = np.zeros(len(counts))
            agreeing = total = squares = 0.0
            for other, t in group.terms:
                if other == s:
                    term = sums[s].terms[t]
                    columns = [order[q] for q, _ in term.paulis]
                    parity = np.logical_xor.reduce(bits[:, columns], axis=1)
                    per_shot += term.coefficient * np.where(parity, -1.0, 1.0)
                    size = abs(term.coefficient)
                    total += size
                    if parity.all() or not parity.any():
                        agreeing += size
                    else:
                        squares += size**2
            mean = float(per_shot @ weights) / shots
            values[s] += mean
            spread = float(((per_shot - mean) ** 2) @ weights) / shots if np.ptp(per_shot) > 1e-12 * total else 0.0
            # terms that agree may fail together, others hardly; terms that cancel in every shot show no spread
            unseen = math.hypot(agreeing, math.sqrt(squares)) if spread else total
            variances[s] += mean_variance(spread, shots) + unseen_variance(2 * unseen, shots)
    if noise is not None and any(letter != "Z" for group in groups for _, letter in group.basis):
        notes.append("the gates that turn X and Y into measured Z carry the noise too, as on a device")
    if not answers:
        climber.reasons.append((0, "every outcome follows from the initial state: nothing to simulate"))
    estimates = tuple(
        Estimate(v, math.sqrt(var), shots if var else None) for v, var in zip(values, variances, strict=True)
    )
    # counts that move by e in total variation move a mean by 2 e
    return _answer(answers, estimates, 2 * _norm(want) * sum(answer.error_bound for answer in answers))


def _group_counts(
    program: Program, basis: Paulis, shots: int, noise: Noise | None, seed: int, climber: Climber, answers: list[Answer]
) -> tuple[dict[str, int], dict[int, int]]:
    """Counts of one setting, and qubit -> bit. The basis change is made of gates, noisy as any other."""
    offset = program.n_clbits
    ends = [Op(gate, (q,)) for q, letter in basis for gate in TURNS[letter]]
    order = {q: k for k, (q, _) in enumerate(basis)}
    reads = [Op("measure", (q,), (), (offset + k,)) for q, k in order.items()]
    cregs = (*program.cregs, ("setting", len(basis))) if basis else program.cregs
    measured = Program(program.n_qubits, cregs, (*program.ops, *ends, *reads))
    constants: dict[int, int] = {}
    if noise is None:
        walked = propagate(measured, settle=False)
        measured, constants = walked.program, walked.constants
    asked = range(offset, offset + len(basis))
    cone = light_cone(measured, qubit_needs={}, live_bits=asked, dephasing=noise is None)
    pairs = []
    for i, part in enumerate(components(cone)):
        noise_here = restrict_noise(noise, part.qubits)
        answer = climber.run(part.program, Counts(shots), noise_here, derive(seed, "part", i))
        answers.append(answer)
        pairs.append((answer.counts or {}, part.clbits))
    counts = joined_counts(pairs, constants, offset + len(basis), shots, seed)
    kept: dict[str, int] = {}
    for key, count in counts.items():
        short = key[: len(basis)]
        kept[short] = kept.get(short, 0) + count
    return kept, order


def _norm(want: Expectations) -> float:
    """How far the largest observable is from a constant: constant terms have no error."""
    return max((sum(abs(t.coefficient) for t in s.terms if t.paulis) for s in want.observables), default=0.0)


def _answer(answers: list[Answer], estimates: tuple[Estimate, ...], error_bound: float) -> Answer:
    if not answers:
        return Answer("numpy", "constant", estimates=estimates)
    facts: dict[str, float] = {}
    for answer in answers:
        for name, value in answer.facts.items():
            facts[name] = max(value, facts.get(name, value))
    return Answer(
        "+".join(dict.fromkeys(a.engine for a in answers)),
        "+".join(dict.fromkeys(a.method for a in answers)),
        estimates=estimates,
        error_bound=error_bound,
        facts=facts,
    )
