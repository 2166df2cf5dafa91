"""Where to cut: labels for the ends of all two-qubit gates, few and cheap cuts, no fragment too wide.

Flow: Wires, Model -> *found* -> Labels -> fragments. What is minimised are the model's bits (log2 of products or of
shots), under a width; deterministic, and boxed by counted steps, never by a clock.

  orders   qubits on a line (as numbered, along the gates, by the Fiedler vector of the interaction graph): the best
           split of each line into stretches is found by dynamic programming;
  wires    qubit by qubit, the best labels of all its gate ends given those of the others (Viterbi): it moves qubits
           and finds where a wire is cut instead of several gates;
  search   best first over joined, cut gate, cut wire for each gate in time order, with what was found as the bound:
           where it ends before its box, nothing cheaper exists. As in the cut finder of Brandhofer, Polian and
           Krsulich, arXiv:2305.03134, which minimises over the same decisions.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from qcommons.jobs.plan.cutting.fragments import Labels
from qcommons.jobs.plan.cutting.wires import Wires

__all__ = ["Found", "Model", "bits_of", "found", "lines_of", "widths_of"]

STEPS_MAX = 200_000  # of the search: states times qubits, about half a second
SPECTRAL_MAX = 200  # qubits whose graph is diagonalised, in about 20 ms
SWEEPS_MAX = 6  # over all qubits; they settle in two or three
SLACK = 1e-9  # bits that are rounding


class Model(NamedTuple):
    """gate_bits, gate_legs: of each two-qubit gate if it is cut: its price, and qubits more on each of its sides.

    wire_bits: of a cut wire; where it goes on it is one qubit more anyway.
    """

    gate_bits: tuple[float, ...]
    gate_legs: tuple[int, ...]
    wire_bits: float


class Found(NamedTuple):
    """searched: the search came to its end, so that no decisions of its kind cost fewer bits."""

    labels: Labels
    bits: float
    searched: bool


def bits_of(wires: Wires, model: Model, labels: Labels) -> float:
    """Price of all cuts."""
    gates = math.fsum(model.gate_bits[g] for g, (a, b) in enumerate(labels) if a != b)
    return gates + model.wire_bits * sum(_changes(chain, labels) for chain in wires.chains)


def widths_of(wires: Wires, model: Model, labels: Labels) -> dict[int, int]:
    """Qubits of each label: a strand for each stretch of a wire, and the legs of cut gates."""
    widths: dict[int, int] = {}
    for chain in wires.chains:
        last = None
        for gate, side in chain:
            label = labels[gate][side]
            if label != last:
                widths[label] = widths.get(label, 0) + 1
            last = label
    for gate, ends in enumerate(labels):
        if ends[0] != ends[1]:
            for label in ends:
                widths[label] += model.gate_legs[gate]
    return widths


def found(
    wires: Wires, model: Model, lines: Sequence[Sequence[int]], width_max: int, *, search: bool = True
) -> Found | None:
    """The cheapest labels found with two or more fragments of at most `width_max` qubits; None if there are none.

    lines: see `lines_of`. search: best first too, where the whole does not fit (else it would cut nothing).
    """
    best: tuple[float, int, Labels] | None = None
    for line in lines:
        split = _split(wires, model, line, width_max)
        if split is None:
            continue
        labels = _settled(wires, model, split, width_max)
        rank = (round(bits_of(wires, model, labels), 9), sum(1 << w for w in widths_of(wires, model, labels).values()))
        if best is None or rank < best[:2]:
            best = (*rank, labels)
    cheaper, ended = None, False
    if search and len(wires.used) > width_max:
        cheaper, ended = _search(wires, model, width_max, math.inf if best is None else best[0])
    if cheaper is not None:
        return Found(cheaper, bits_of(wires, model, cheaper), True)
    return None if best is None else Found(best[2], best[0], ended)


def _changes(chain: Sequence[tuple[int, int]], labels: Labels) -> int:
    ends = [labels[gate][side] for gate, side in chain]
    return sum(a != b for a, b in itertools.pairwise(ends))


# lines


def lines_of(wires: Wires) -> tuple[tuple[int, ...], ...]:
    """Qubits with gates, in several orders."""
    near: dict[int, dict[int, float]] = {q: {} for q in wires.used}
    for op, interaction in zip(wires.gates, wires.interactions, strict=True):
        a, b = op.qubits
        for q, other in ((a, b), (b, a)):
            near[q][other] = near[q].get(other, 0.0) + math.log2(interaction.size)
    lines = [wires.used, tuple(_along(wires.used, near))]
    if 2 < len(wires.used) <= SPECTRAL_MAX:
        lines.append(tuple(_fiedler(wires.used, near)))
    return tuple(dict.fromkeys(lines))


def _along(used: Sequence[int], near: dict[int, dict[int, float]]) -> list[int]:
    """Breadth first from a qubit with few neighbours, those with few neighbours first (Cuthill and McKee, 1969)."""
    order: list[int] = []
    seen: set[int] = set()
    for start in sorted(used, key=lambda q: (len(near[q]), q)):
        waiting = [start] if start not in seen else []
        seen.add(start)
        while waiting:
            q = waiting.pop(0)
            order.append(q)
            fresh = sorted((other for other in near[q] if other not in seen), key=lambda o: (len(near[o]), o))
            seen.update(fresh)
            waiting += fresh
    return order


def _fiedler(used: Sequence[int], near: dict[int, dict[int, float]]) -> list[int]:
    """By the second eigenvector of the graph's Laplacian (Fiedler, 1973); digits that are rounding decide nothing."""
    place = {q: k for k, q in enumerate(used)}
    laplacian = np.zeros((len(used), len(used)))
    for q, others in near.items():
        for other, bits in others.items():
            laplacian[place[q], place[other]] -= bits
            laplacian[place[q], place[q]] += bits
    vector = np.round(np.linalg.eigh(laplacian)[1][:, 1], 9)
    return [used[k] for k in sorted(range(len(used)), key=lambda k: (vector[k], k))]


def _split(wires: Wires, model: Model, order: Sequence[int], width_max: int) -> Labels | None:
    """Stretches of a line, two or more, with the most bits inside them; equal ones: the narrower fragments."""
    place = {q: k for k, q in enumerate(order)}
    pairs: dict[tuple[int, int], tuple[float, int]] = {}  # (earlier, later) -> bits and legs of the gates between
    legs = [0] * len(order)
    for gate, op in enumerate(wires.gates):
        low, high = sorted(place[q] for q in op.qubits)
        bits, own = pairs.get((low, high), (0.0, 0))
        pairs[low, high] = (bits + model.gate_bits[gate], own + model.gate_legs[gate])
        legs[low] += model.gate_legs[gate]
        legs[high] += model.gate_legs[gate]
    after: list[list[tuple[int, float, int]]] = [[] for _ in order]
    for (low, high), (bits, own) in sorted(pairs.items()):
        after[low].append((high, bits, own))
    best: list[tuple[float, int, int]] = [(0.0, 0, -1)]  # (-bits inside, sum of 2^width, where its last stretch begins)
    for end in range(1, len(order) + 1):
        option = (math.inf, 0, -1)
        bits, width = 0.0, 0
        for begin in range(end - 1, max(end - width_max, 0) - 1, -1):
            width += 1 + legs[begin]
            for high, more, own in after[begin]:
                if high >= end:
                    break
                bits, width = bits + more, width - 2 * own
            if width <= width_max and best[begin][0] < math.inf and (begin, end) != (0, len(order)):
                option = min(option, (round(best[begin][0] - bits, 9), best[begin][1] + (1 << width), begin))
        best.append(option)
    if best[-1][0] == math.inf:
        return None
    label = [0] * len(order)
    end, number = len(order), 0
    while end:
        begin = best[end][2]
        label[begin:end] = [number] * (end - begin)
        end, number = begin, number + 1
    return tuple((label[place[op.qubits[0]]], label[place[op.qubits[1]]]) for op in wires.gates)


# wires


def _settled(wires: Wires, model: Model, labels: Labels, width_max: int) -> Labels:
    """Each qubit's labels the best for those of the others, until none changes."""
    for _ in range(SWEEPS_MAX):
        before = labels
        for qubit in wires.used:
            chain = wires.chains[qubit]
            if len({label for gate, _ in chain for label in labels[gate]}) < 2:
                continue
            own, path = [labels[gate][side] for gate, side in chain], _viterbi(chain, labels, model)
            if _along_wire(chain, labels, model, path) < _along_wire(chain, labels, model, own) - SLACK:
                moved = _relabelled(labels, chain, path)
                labels = moved if _fits(wires, model, moved, width_max) else labels
        if labels == before:
            break
    return labels


def _along_wire(chain: Sequence[tuple[int, int]], labels: Labels, model: Model, path: Sequence[int]) -> float:
    """Bits of the cuts at and along one wire, with the labels `path` on it."""
    gates = math.fsum(
        model.gate_bits[gate] for (gate, side), name in zip(chain, path, strict=True) if name != labels[gate][1 - side]
    )
    return gates + model.wire_bits * sum(a != b for a, b in itertools.pairwise(path))


def _fits(wires: Wires, model: Model, labels: Labels, width_max: int) -> bool:
    widths = widths_of(wires, model, labels)
    return len(widths) > 1 and max(widths.values()) <= width_max


def _viterbi(chain: Sequence[tuple[int, int]], labels: Labels, model: Model) -> list[int]:
    """Cheapest labels along one wire; of equal ones, those that stay."""
    names = sorted({label for gate, _ in chain for label in labels[gate]})
    costs = dict.fromkeys(names, 0.0)
    back: list[dict[int, int]] = []
    for gate, side in chain:
        cheapest = min(names, key=lambda name: (costs[name], name))
        came = {
            name: name if costs[name] <= costs[cheapest] + model.wire_bits + SLACK else cheapest for name in names
        }  # fmt: skip
        switched = {name: costs[came[name]] + (model.wire_bits if came[name] != name else 0.0) for name in names}
        partner = labels[gate][1 - side]
        costs = {name: switched[name] + (model.gate_bits[gate] if name != partner else 0.0) for name in names}
        back.append(came)
    name = min(names, key=lambda name: (costs[name], name))
    path = []
    for came in reversed(back):
        path.append(name)
        name = came[name]
    return path[::-1]


def _relabelled(labels: Labels, chain: Sequence[tuple[int, int]], path: Sequence[int]) -> Labels:
    changed = list(labels)
    for (gate, side), name in zip(chain, path, strict=True):
        a, b = changed[gate]
        changed[gate] = (name, b) if side == 0 else (a, name)
    return tuple(changed)


# search


class _State(NamedTuple):
    """After `gate` gates. home: fragment of each qubit's strand now. widths: by fragment, those joined away are 0."""

    gate: int
    home: tuple[int, ...]
    widths: tuple[int, ...]
    trail: tuple[str, _State] | None  # the last decision, and the state before it


def _search(wires: Wires, model: Model, width_max: int, bound: float) -> tuple[Labels | None, bool]:
    """Labels of fewer bits than `bound`, the least there are, or None; and whether the search came to its end."""
    place = {q: k for k, q in enumerate(wires.used)}
    ends = [(place[op.qubits[0]], place[op.qubits[1]]) for op in wires.gates]
    start = _State(0, tuple(range(len(place))), (1,) * len(place), None)
    waiting: list[tuple[float, int, int, _State]] = [(0.0, 0, 0, start)]
    seen: set[tuple[int, tuple[int, ...], tuple[int, ...]]] = set()
    count = 1
    for _ in range(STEPS_MAX // max(len(place), 1)):
        if not waiting:
            return None, True
        bits, _, _, state = heapq.heappop(waiting)
        while state.gate < len(ends) and len({state.home[k] for k in ends[state.gate]}) == 1:
            state = state._replace(gate=state.gate + 1, trail=("inside", state))
        if state.gate == len(ends):
            return _labels(state, ends), True
        key = state[:3]
        if key in seen:
            continue
        seen.add(key)
        for more, following in _decisions(state, ends[state.gate], model, width_max):
            if bits + more < bound - SLACK:
                heapq.heappush(waiting, (bits + more, -following.gate, count, following))
                count += 1
    return None, False


def _decisions(state: _State, ends: tuple[int, int], model: Model, width_max: int) -> Iterator[tuple[float, _State]]:
    """(bits, what follows) of each thing that can be done about a gate between two fragments."""
    a, b = (state.home[k] for k in ends)
    gate, legs = state.gate, model.gate_legs[state.gate]
    joint = state.widths[a] + state.widths[b]
    if joint <= width_max:
        low, high = min(a, b), max(a, b)
        home = tuple([low if f == high else f for f in state.home])
        yield 0.0, _State(gate + 1, home, _with(state.widths, {low: joint, high: 0}), ("join", state))
    if max(state.widths[a], state.widths[b]) + legs <= width_max:
        widths = _with(state.widths, {a: state.widths[a] + legs, b: state.widths[b] + legs})
        yield model.gate_bits[gate], _State(gate + 1, state.home, widths, ("gate", state))
    for side, (leaves, into) in enumerate(((a, b), (b, a))):
        if state.widths[into] + 1 <= width_max and state.widths[leaves] > 1:  # of width 1: joining does the same
            home = (*state.home[: ends[side]], into, *state.home[ends[side] + 1 :])
            widths = _with(state.widths, {into: state.widths[into] + 1})
            yield model.wire_bits, _State(gate + 1, home, widths, (f"wire {side}", state))


def _with(widths: tuple[int, ...], changed: dict[int, int]) -> tuple[int, ...]:
    new = list(widths)
    for k, width in changed.items():
        new[k] = width
    return tuple(new)


def _labels(state: _State, ends: Sequence[tuple[int, int]]) -> Labels:
    """The decisions that led here, as labels: fragments that were joined later are one."""
    steps: list[tuple[str, _State]] = []
    walk = state
    while walk.trail is not None:
        steps.append(walk.trail)
        walk = walk.trail[1]
    parent = list(range(len(state.widths)))

    def find(fragment: int) -> int:
        while parent[fragment] != fragment:
            fragment = parent[fragment]
        return fragment

    found_at: list[tuple[int, int]] = []
    for decision, before in reversed(steps):
        a, b = (before.home[k] for k in ends[before.gate])
        if decision == "join":
            parent[max(a, b)] = min(a, b)
        elif decision == "wire 0":
            a = b
        elif decision == "wire 1":
            b = a
        found_at.append((a, b))
    number: dict[int, int] = {}
    return tuple(
        (number.setdefault(find(a), len(number)), number.setdefault(find(b), len(number))) for a, b in found_at
    )
