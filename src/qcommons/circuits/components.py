"""Independent parts: a program split where nothing connects its qubits and bits. Exact.

Flow: cone -> *components* -> features and engines, one run a part -> execute joins the answers.
Untouched qubits and unwritten bits belong to no part.
"""

from __future__ import annotations

from dataclasses import dataclass

from qcommons.circuits.noise import Noise, Rule
from qcommons.circuits.program import Branch, Condition, Op, Operation, Program

__all__ = ["Component", "components", "restrict_noise"]


@dataclass(frozen=True, slots=True)
class Component:
    """One part with compact indices.

    qubits, clbits: old index of each new one, ascending. The program has one register "c" (none if
    the part writes no bit).
    """

    program: Program
    qubits: tuple[int, ...]
    clbits: tuple[int, ...]


class _Sets:
    """Union-find over qubits (0..n-1) and classical bits (n..n+m-1), with path halving."""

    def __init__(self, size: int) -> None:
        self.parent = list(range(size))

    def find(self, a: int) -> int:
        parent = self.parent
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        return a

    def join(self, items: list[int]) -> None:
        first = self.find(items[0])
        for item in items[1:]:
            self.parent[self.find(item)] = first


def _touched(op: Operation, n: int) -> list[int]:
    if isinstance(op, Branch):
        inner = [i for each in (*op.then, *op.orelse) for i in _touched(each, n)]
        return [*(n + c for c in op.condition.clbits), *inner]
    return [*op.qubits, *(n + c for c in op.clbits)]


def components(program: Program, *, keep_qubits: tuple[int, ...] = ()) -> tuple[Component, ...]:
    """The parts, ordered by their lowest qubit. gphase and barriers belong to none and are dropped.

    keep_qubits: qubits that get a part of their own even if untouched (observables, amplitudes).
    """
    n = program.n_qubits
    sets = _Sets(n + program.n_clbits)
    touched: set[int] = set(keep_qubits)
    rows: list[tuple[int, Operation]] = []
    for op in program.ops:
        if isinstance(op, Op) and (op.gate == "barrier" or not op.qubits):
            continue
        items = _touched(op, n)
        sets.join(items)
        touched.update(items)
        rows.append((items[0], op))
    if not touched:
        return ()
    members: dict[int, list[int]] = {}
    for item in sorted(touched):
        members.setdefault(sets.find(item), []).append(item)
    ops: dict[int, list[Operation]] = {root: [] for root in members}
    for item, op in rows:
        ops[sets.find(item)].append(op)
    return tuple(_compact(items, ops[root], n) for root, items in members.items())


def _compact(items: list[int], ops: list[Operation], n: int) -> Component:
    qubits = tuple(i for i in items if i < n)
    clbits = tuple(i - n for i in items if i >= n)
    new_qubit = {old: new for new, old in enumerate(qubits)}
    new_bit = {old: new for new, old in enumerate(clbits)}

    def op_of(op: Op) -> Op:
        return Op(
            op.gate,
            tuple(new_qubit[q] for q in op.qubits),
            op.params,
            tuple(new_bit[c] for c in op.clbits),
            op.controls,
        )

    def each(op: Operation) -> Operation:
        if isinstance(op, Branch):
            c = op.condition
            condition = Condition(tuple(new_bit[b] for b in c.clbits), c.relation, c.value)
            return Branch(condition, tuple(map(op_of, op.then)), tuple(map(op_of, op.orelse)))
        return op_of(op)

    identity = qubits == tuple(range(len(qubits))) and clbits == tuple(range(len(clbits)))
    new_ops = tuple(ops) if identity else tuple(map(each, ops))
    cregs = (("c", len(clbits)),) if clbits else ()
    return Component(Program(len(qubits), cregs, new_ops), qubits, clbits)


def restrict_noise(noise: Noise | None, qubits: tuple[int, ...]) -> Noise | None:
    """Noise rules in the compact indices of a part; rules for qubits outside it are left out."""
    if noise is None:
        return None
    new_qubit = {old: new for new, old in enumerate(qubits)}
    rules: list[Rule] = []
    for rule in noise.rules:
        inside = tuple(new_qubit[q] for q in rule.qubits if q in new_qubit)
        if inside or not rule.qubits:
            rules.append(Rule(rule.channels, rule.gates, inside, rule.arity))
    return Noise(tuple(rules), noise.name)
