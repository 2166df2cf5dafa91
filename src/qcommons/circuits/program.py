"""The canonical circuit: what a job says, and the only circuit that travels.

Flow: OpenQASM text -> qasm -> *Program* -> reduce -> engines. A program is a flat list of
operations over the gate table of `gates.py`, plus measurement, reset, barrier, and one level of
classically controlled blocks (`Branch`). Parameters are finite float64, or affine in named inputs
until `bind` fixes them.

Bit order: qubit 0 is the least significant bit of an amplitude index. Classical bit 0 is the
rightmost character of a printed bitstring; registers are joined by a space, the last declared one
leftmost (as Qiskit prints).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from qcommons.base.errors import UsageError
from qcommons.circuits.gates import GATES

__all__ = [
    "DEFAULT_CAPS",
    "Affine",
    "Branch",
    "Caps",
    "Condition",
    "Op",
    "Operation",
    "Param",
    "Program",
    "bind",
    "check",
    "count_ops",
    "flat_ops",
]

RELATIONS = ("==", "!=", "<", "<=", ">", ">=")
DIRECTIVES = {"measure": (1, 1), "reset": (1, 0)}  # name -> (qubits, clbits); barrier takes any


class Affine(msgspec.Struct, frozen=True):
    """`const + sum(coefficient * input)`: an angle that waits for its inputs.

    `terms` is sorted by input name, coefficients are finite and non-zero.
    """

    const: float
    terms: tuple[tuple[str, float], ...]

    def value(self, values: Mapping[str, float]) -> float:
        return self.const + sum(coefficient * values[name] for name, coefficient in self.terms)


Param = float | Affine


class Op(msgspec.Struct, frozen=True, gc=False):
    """One gate or directive.

    gate: a row of `gates.GATES`, or `measure`, `reset`, `barrier`.
    qubits: controls first (`controls` of them, all positive), then the row's own qubits in order.
    params: radians, in the row's order.
    clbits: for `measure` the flat index of the classical bit written.
    """

    gate: str
    qubits: tuple[int, ...]
    params: tuple[Param, ...] = ()
    clbits: tuple[int, ...] = ()
    controls: int = 0


class Condition(msgspec.Struct, frozen=True):
    """Unsigned integer read from `clbits` (first is least significant) `relation` `value`."""

    clbits: tuple[int, ...]
    relation: str
    value: int

    def holds(self, bits: Mapping[int, int] | list[int]) -> bool:
        number = sum(int(bits[c]) << i for i, c in enumerate(self.clbits))
        match self.relation:
            case "==":
                return number == self.value
            case "!=":
                return number != self.value
            case "<":
                return number < self.value
            case "<=":
                return number <= self.value
            case ">":
                return number > self.value
            case _:
                return number >= self.value


class Branch(msgspec.Struct, frozen=True):
    """`if (condition) then else orelse`; the condition is read once; blocks hold plain ops only."""

    condition: Condition
    then: tuple[Op, ...]
    orelse: tuple[Op, ...] = ()


Operation = Op | Branch


class Program(msgspec.Struct, frozen=True):
    """A circuit.

    n_qubits: qubits 0 .. n_qubits - 1, all starting in |0>.
    cregs: classical registers (name, size) in order of declaration; flat bit index runs through
        them in that order, all bits start at 0.
    ops: operations in order.
    inputs: names of unbound parameters, in order of declaration.
    """

    n_qubits: int
    cregs: tuple[tuple[str, int], ...]
    ops: tuple[Operation, ...]
    inputs: tuple[str, ...] = ()

    @property
    def n_clbits(self) -> int:
        return sum(size for _, size in self.cregs)


class Caps(msgspec.Struct, frozen=True):
    """Hard limits, checked before anything of that size is allocated."""

    bytes_max: int = 64 << 20  # of source text or of canonical bytes
    qubits_max: int = 100_000
    clbits_max: int = 100_000
    operations_max: int = 2_000_000
    inputs_max: int = 10_000


DEFAULT_CAPS = Caps()


def flat_ops(ops: Iterable[Operation]) -> Iterator[Op]:
    """Every plain op in order, those inside both arms of branches too."""
    for op in ops:
        if isinstance(op, Branch):
            yield from op.then
            yield from op.orelse
        else:
            yield op


def count_ops(ops: Iterable[Operation]) -> int:
    """Operations as the caps and the wire count them: a branch and each one in its blocks."""
    return sum(1 + len(op.then) + len(op.orelse) if isinstance(op, Branch) else 1 for op in ops)


def bind(program: Program, values: Mapping[str, float]) -> Program:
    """The program with every input replaced by its value (radians).

    Raises:
        UsageError: an input without value, a name that is no input, a non-finite value.
    """
    missing = [name for name in program.inputs if name not in values]
    unknown = sorted(set(values) - set(program.inputs))
    if missing or unknown:
        known = ", ".join(program.inputs) or "none"
        raise UsageError(
            f"cannot bind: missing {missing or 'none'}, unknown {unknown or 'none'}; "
            f"this program's inputs are: {known}",
            where="bind",
        )
    for name, value in values.items():
        if not math.isfinite(value):
            raise UsageError(f"input {name} = {value!r} is not finite", where=f"bind {name}")
    if not program.inputs:
        return program

    def fixed(op: Op) -> Op:
        if not any(isinstance(p, Affine) for p in op.params):
            return op
        params = tuple(p.value(values) if isinstance(p, Affine) else p for p in op.params)
        return msgspec.structs.replace(op, params=params)

    def each(op: Operation) -> Operation:
        if isinstance(op, Branch):
            return Branch(op.condition, tuple(map(fixed, op.then)), tuple(map(fixed, op.orelse)))
        return fixed(op)

    return Program(program.n_qubits, program.cregs, tuple(map(each, program.ops)))


def check(program: Program, caps: Caps = DEFAULT_CAPS) -> None:
    """Raises UsageError, naming the operation's index, unless every rule of the nouns holds."""
    _check_sizes(program, caps)
    for index, op in enumerate(program.ops):
        if isinstance(op, Branch):
            _check_condition(op.condition, program, f"operation {index}")
            for inner in (*op.then, *op.orelse):
                _check_op(inner, program, f"operation {index} (in if)")
        else:
            _check_op(op, program, f"operation {index}")


def _check_sizes(program: Program, caps: Caps) -> None:
    names = [name for name, _ in program.cregs]
    if len(set(names)) != len(names) or any(size < 1 for _, size in program.cregs):
        raise UsageError(f"classical registers need distinct names and sizes >= 1: {program.cregs}")
    count = count_ops(program.ops)
    for what, value, limit in (
        ("qubits", program.n_qubits, caps.qubits_max),
        ("classical bits", program.n_clbits, caps.clbits_max),
        ("operations", count, caps.operations_max),
        ("inputs", len(program.inputs), caps.inputs_max),
    ):
        if not 0 <= value <= limit:
            raise UsageError(f"{value} {what}; allowed 0 to {limit}", limit=f"{limit} {what}")


def _check_condition(condition: Condition, program: Program, where: str) -> None:
    bits = condition.clbits
    if not bits or len(set(bits)) != len(bits) or not all(0 <= c < program.n_clbits for c in bits):
        raise UsageError(f"condition on classical bits {bits}; the program has {program.n_clbits}", where=where)
    if condition.relation not in RELATIONS:
        raise UsageError(f"relation {condition.relation!r}; allowed {RELATIONS}", where=where)
    if condition.value < 0 or condition.value.bit_length() > 63:
        raise UsageError(f"condition value {condition.value}; allowed 0 to 2^63-1", where=where)


def _check_op(op: Op, program: Program, where: str) -> None:
    n = program.n_qubits
    if len(set(op.qubits)) != len(op.qubits) or not all(0 <= q < n for q in op.qubits):
        raise UsageError(f"{op.gate} on qubits {op.qubits}: distinct indices below {n} needed", where=where)
    if op.gate == "barrier":
        _require(not op.params and not op.clbits and not op.controls, "barrier takes qubits only", where)
        return
    if op.gate in DIRECTIVES:
        n_qubits, n_clbits = DIRECTIVES[op.gate]
        good = len(op.qubits) == n_qubits and len(op.clbits) == n_clbits and not op.params and not op.controls
        _require(good, f"{op.gate} takes {n_qubits} qubit(s) and {n_clbits} classical bit(s)", where)
        _require(all(0 <= c < program.n_clbits for c in op.clbits), f"classical bit {op.clbits} out of range", where)
        return
    row = GATES.get(op.gate)
    if row is None:
        raise UsageError(f"unknown gate {op.gate!r}", where=where)
    if op.controls < 0 or len(op.qubits) != row.n_qubits + op.controls or len(op.params) != row.n_params or op.clbits:
        raise UsageError(
            f"{op.gate} takes {row.n_qubits} qubit(s) plus controls and {row.n_params} parameter(s); "
            f"got {len(op.qubits)} qubits, {op.controls} controls, {len(op.params)} parameters",
            where=where,
        )
    for value in op.params:
        if isinstance(value, Affine):
            known = all(name in program.inputs and math.isfinite(c) for name, c in value.terms)
            _require(known and math.isfinite(value.const), f"{op.gate}: bad parameter {value}", where)
        elif not math.isfinite(value):
            raise UsageError(f"{op.gate}: parameter {value!r} is not finite", where=where)


def _require(good: bool, what: str, where: str) -> None:
    if not good:
        raise UsageError(what, where=where)
