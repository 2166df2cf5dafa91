"""The canonical circuit: what a job says, and the only circuit that travels.

Flow: OpenQASM text -> qasm -> *Program* -> reduce -> engines. A program is a flat list of
operations over the gate table of `gates.py`, plus measurement, reset, barrier, and one level of
classically controlled blocks (`Branch`). Parameters are finite float64, or affine in named inputs
until `bind` fixes them.

The nouns check nothing when they are built; their docstrings say what holds, and `check` holds a
program to all of it. `wire` writes and reads exactly the programs that pass, and OpenQASM 3 can say
each of them. The types are exact, so that a program equals the one that comes out of its bytes: tuples
(no lists), `int` for indices, sizes and counts (no bool, no numpy integer). A *name* is text of 1 to
100 characters without control characters (U+0000 to U+001F, U+007F to U+009F) and without lone
surrogates. A *number* is a finite float (numpy.float64 is one), or an int from -2^53 to 2^53.

Bit order: qubit 0 is the least significant bit of an amplitude index. Classical bit 0 is the
rightmost character of a printed bitstring; registers are joined by a space, the last declared one
leftmost (as Qiskit prints).
"""

from __future__ import annotations

import math
import re
import reprlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, NoReturn

import msgspec

from qcommons.base.errors import UsageError
from qcommons.circuits.gates import GATES

__all__ = [
    "DEFAULT_CAPS",
    "NAME",
    "NAME_RULE",
    "RELATIONS",
    "WHOLE_MAX",
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
DIRECTIVES = {"measure": (1, 1), "reset": (1, 0)}  # name -> (qubits, clbits); barrier takes 1 or more qubits
# 100 characters take 800 hexadecimal digits of UTF-8, which an OpenQASM identifier of ours has room for.
NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,100}")
NAME_RULE = "a name is text of 1 to 100 characters, none of them a control character or a lone surrogate"
WHOLE_MAX = 1 << 53  # integers up to here are float64 exactly


class Affine(msgspec.Struct, frozen=True):
    """`const + sum(coefficient * input)`: an angle that waits for its inputs.

    const: a number, radians. terms: at least one (input, coefficient); inputs of the program, sorted by
    code points, none twice; coefficients are numbers other than 0.
    """

    const: float
    terms: tuple[tuple[str, float], ...]

    def value(self, values: Mapping[str, float]) -> float:
        return self.const + sum(coefficient * values[name] for name, coefficient in self.terms)


Param = float | Affine


class Op(msgspec.Struct, frozen=True, gc=False):
    """One gate or directive.

    gate: a row of `gates.GATES`, or `measure`, `reset`, `barrier`.
    qubits: distinct indices from 0 to n_qubits - 1: controls first (`controls` of them, all positive),
        then the row's own qubits in order; one for `measure` and `reset`, one or more for `barrier`.
    params: numbers or Affine, radians, as many as the row has and in its order; directives have none.
    clbits: for `measure` the flat index of the classical bit written; empty for everything else.
    controls: 0 or more; 0 for directives.
    """

    gate: str
    qubits: tuple[int, ...]
    params: tuple[Param, ...] = ()
    clbits: tuple[int, ...] = ()
    controls: int = 0


class Condition(msgspec.Struct, frozen=True):
    """Unsigned integer read from `clbits` (first is least significant) `relation` `value`.

    clbits: one or more distinct flat indices. relation: one of `RELATIONS`. value: 0 to 2^63 - 1, also
    beyond what the bits can hold.
    """

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
    """`if (condition) then else orelse`; the condition is read once; blocks hold plain ops only, or nothing."""

    condition: Condition
    then: tuple[Op, ...]
    orelse: tuple[Op, ...] = ()


Operation = Op | Branch


class Program(msgspec.Struct, frozen=True):
    """A circuit.

    n_qubits: qubits 0 .. n_qubits - 1, all starting in |0>; a program may have none.
    cregs: classical registers (name, size) in order of declaration, names distinct, sizes 1 or more;
        flat bit index runs through them in that order, all bits start at 0.
    ops: operations in order.
    inputs: names of unbound parameters, in order of declaration, distinct; an input may be unused, and
        may bear the name of a register.
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

    bytes_max: int = 32 << 20  # of source text or of canonical bytes
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
        UsageError: an input without value, a name that is no input, a value that is no finite real number
            or makes an angle that is none.
    """
    missing = [name for name in program.inputs if name not in values]
    unknown = sorted(set(values) - set(program.inputs), key=repr)
    if missing or unknown:
        known = ", ".join(program.inputs) or "none"
        raise UsageError(
            f"cannot bind: missing {missing or 'none'}, unknown {unknown or 'none'}; "
            f"this program's inputs are: {known}",
            where="bind",
        )
    numbers = {name: _real(name, value) for name, value in values.items()}
    if not program.inputs:
        return program

    def angle(param: Param) -> float:
        if not isinstance(param, Affine):
            return param
        radians = param.value(numbers)
        if not math.isfinite(radians):
            used = ", ".join(f"{name}={numbers[name]!r}" for name, _ in param.terms[:8])
            raise UsageError(f"{used} makes the angle {radians}; only finite ones are allowed", where="bind")
        return radians

    def fixed(op: Op) -> Op:
        if not any(isinstance(p, Affine) for p in op.params):
            return op
        return msgspec.structs.replace(op, params=tuple(map(angle, op.params)))

    def each(op: Operation) -> Operation:
        if isinstance(op, Branch):
            return Branch(op.condition, tuple(map(fixed, op.then)), tuple(map(fixed, op.orelse)))
        return fixed(op)

    return Program(program.n_qubits, program.cregs, tuple(map(each, program.ops)))


def _real(name: str, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"input {name} = {_shown(value)} is not finite, or no real number", where=f"bind {name}")
    return number


def check(program: Program, caps: Caps = DEFAULT_CAPS) -> None:
    """Hold a program to every rule in the docstrings of the nouns, and to the caps.

    `wire.encode` accepts exactly what passes here with its caps. `bytes_max` bounds text and bytes, and
    is no rule of a program: it is not looked at.

    Raises:
        UsageError: where: the operation's index ("operation 7", "operation 7, then[0]") or the field;
            limit: the allowed range, where there is one.
    """
    if type(program) is not Program:
        raise UsageError(f"an object of type {type(program).__name__} is no Program", where="program")
    _check_tuple(program.ops, "operations", "program")
    bounds = _check_sizes(program, caps)
    count = 0
    for index, op in enumerate(program.ops):
        where = f"operation {index}"
        if type(op) is Branch:
            _check_condition(op.condition, bounds, where)
            for name, block in (("then", op.then), ("orelse", op.orelse)):
                _check_tuple(block, "a block's operations", f"{where}, {name}")
                for place, inner in enumerate(block):
                    _check_op(inner, bounds, f"{where}, {name}[{place}]")
                count += len(block)
        else:
            _check_op(op, bounds, where)
        count += 1
    _check_range("operations", count, caps.operations_max)


class _Bounds(NamedTuple):
    """What the operations of a program may name."""

    n_qubits: int
    n_clbits: int
    inputs: frozenset[str]


def _check_sizes(program: Program, caps: Caps) -> _Bounds:
    _check_tuple(program.cregs, "registers (name, size)", "cregs")
    for creg in program.cregs:
        if type(creg) is not tuple or len(creg) != 2:
            raise UsageError(f"{_shown(creg)} is no register; a tuple (name, size) is needed", where="cregs")
        if type(creg[1]) is not int or creg[1] < 1:
            raise UsageError(f"register of size {_shown(creg[1])}; an int of 1 or more is needed", where="cregs")
    _check_names([name for name, _ in program.cregs], "cregs")
    _check_tuple(program.inputs, "names", "inputs")
    _check_names(list(program.inputs), "inputs")
    if type(program.n_qubits) is not int:
        _refuse_type("n_qubits", program.n_qubits, "program")
    _check_range("qubits", program.n_qubits, caps.qubits_max)
    _check_range("classical bits", program.n_clbits, caps.clbits_max)
    _check_range("inputs", len(program.inputs), caps.inputs_max)
    return _Bounds(program.n_qubits, program.n_clbits, frozenset(program.inputs))


def _check_names(names: list[str], where: str) -> None:
    for name in names:
        if type(name) is not str or not NAME.fullmatch(name):
            raise UsageError(f"{_shown(name)}: {NAME_RULE}", where=where, limit="1 to 100 characters")
    if len(set(names)) != len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise UsageError(f"the name {twice!r} occurs twice; names must be distinct", where=where)


def _check_range(what: str, value: int, limit: int) -> None:
    if not 0 <= value <= limit:
        raise UsageError(f"{_shown(value)} {what}; allowed 0 to {limit}", where="program", limit=f"{limit} {what}")


def _check_condition(condition: Condition, bounds: _Bounds, where: str) -> None:
    if type(condition) is not Condition:
        raise UsageError(f"an object of type {type(condition).__name__} is no Condition", where=where)
    _check_indices("classical bit", condition.clbits, bounds.n_clbits, where)
    if not condition.clbits:
        raise UsageError("a condition reads at least 1 classical bit", where=where, limit="1 bit")
    if not isinstance(condition.relation, str) or condition.relation not in RELATIONS:
        allowed = " ".join(RELATIONS)
        raise UsageError(f"relation {_shown(condition.relation)}; allowed {allowed}", where=where, limit=allowed)
    if type(condition.value) is not int:
        _refuse_type("condition value", condition.value, where)
    if condition.value < 0 or condition.value.bit_length() > 63:
        value = _shown(condition.value)
        raise UsageError(f"condition value {value}; allowed 0 to 2^63 - 1", where=where, limit="0 to 2^63 - 1")


def _check_op(op: object, bounds: _Bounds, where: str) -> None:
    if type(op) is not Op:
        what = "a Branch within a Branch" if type(op) is Branch else f"{_shown(op)} of type {type(op).__name__}"
        raise UsageError(f"{what}; an Op is needed, or at the top level a Branch of Ops", where=where)
    if type(op.controls) is not int:
        _refuse_type("controls", op.controls, where)
    _check_indices("qubit", op.qubits, bounds.n_qubits, where)
    _check_indices("classical bit", op.clbits, bounds.n_clbits, where)
    _check_tuple(op.params, "parameters", where)
    if not isinstance(op.gate, str) or (op.gate not in GATES and op.gate not in DIRECTIVES and op.gate != "barrier"):
        raise UsageError(f"unknown gate {_shown(op.gate)}; see `qcommons.circuits.gates.GATES`", where=where)
    row = GATES.get(op.gate)
    if row is not None:
        allowed = (row.n_qubits + op.controls, row.n_params, 0)
    elif op.gate == "barrier":
        allowed = (max(1, len(op.qubits)), 0, 0)
    else:
        allowed = (DIRECTIVES[op.gate][0], 0, DIRECTIVES[op.gate][1])
    most = len(op.qubits) if row is not None else 0
    if not 0 <= op.controls <= most:
        text = f"{op.gate}: {_shown(op.controls)} controls on {len(op.qubits)} qubits; allowed 0 to {most}"
        raise UsageError(text, where=where, limit=f"0 to {most}")
    for what, got, wanted in zip(
        ("qubits", "parameters", "classical bits"), map(len, (op.qubits, op.params, op.clbits)), allowed, strict=True
    ):
        if got != wanted:
            extra = f" ({op.controls} of them controls)" if op.controls and what == "qubits" else ""
            text = f"{op.gate}: number of {what} is {got}; it takes {wanted}{extra}"
            raise UsageError(text, where=where, limit=f"{wanted} {what}")
    for param in op.params:
        if type(param) is Affine:
            _check_affine(param, op.gate, bounds.inputs, where)
        else:
            _check_number(param, f"{op.gate}: parameter", where)


def _check_affine(param: Affine, gate: str, inputs: frozenset[str], where: str) -> None:
    _check_number(param.const, f"{gate}: constant of a parameter", where)
    _check_tuple(param.terms, "terms (input, coefficient)", where)
    if not param.terms:
        raise UsageError(f"{gate}: an Affine without terms; write the number itself", where=where, limit="1 term")
    last = ""
    for term in param.terms:
        if type(term) is not tuple or len(term) != 2:
            raise UsageError(f"{gate}: {_shown(term)} is no term; (input, coefficient) is needed", where=where)
        name, coefficient = term
        if type(name) is not str or name not in inputs:
            known = reprlib.repr(sorted(inputs)) if inputs else "none"
            raise UsageError(f"{gate}: {_shown(name)} is no input; inputs: {known}", where=where)
        if name <= last:
            raise UsageError(f"{gate}: term {name!r} after {last!r}; terms are sorted, inputs distinct", where=where)
        _check_number(coefficient, f"{gate}: coefficient of {name!r}", where)
        if coefficient == 0:
            raise UsageError(f"{gate}: coefficient 0 of {name!r}; leave the term out", where=where)
        last = name


def _check_indices(what: str, values: tuple[int, ...], below: int, where: str) -> None:
    _check_tuple(values, f"{what}s", where)
    for value in values:
        if type(value) is not int:
            _refuse_type(what, value, where)
        if not 0 <= value < below:
            allowed = f"0 to {below - 1}" if below else f"none: the program has no {what}s"
            raise UsageError(f"{what} {_shown(value)}; allowed {allowed}", where=where, limit=allowed)
    if len(set(values)) != len(values):
        raise UsageError(f"{what}s {_shown(values)}: one occurs twice; distinct ones are needed", where=where)


def _check_tuple(values: object, what: str, where: str) -> None:
    if type(values) is not tuple:
        raise UsageError(f"{what} are of type {type(values).__name__}; a tuple is needed", where=where)


def _check_number(value: object, what: str, where: str) -> None:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise UsageError(f"{what} {float(value)!r}; finite numbers are allowed", where=where, limit="finite")
    elif type(value) is not int:
        raise UsageError(f"{what} {_shown(value)} is of type {type(value).__name__}; a float is needed", where=where)
    elif abs(value) > WHOLE_MAX:
        limit = "-2^53 to 2^53"
        raise UsageError(f"{what} {_shown(value)}; of integers {limit} are allowed", where=where, limit=limit)


def _refuse_type(what: str, value: object, where: str) -> NoReturn:
    raise UsageError(f"{what} {_shown(value)} is of type {type(value).__name__}; an int is needed", where=where)


def _shown(value: object) -> str:
    """Short text of any object."""
    if isinstance(value, int) and value.bit_length() > 64:
        return f"{'-' if value < 0 else ''}(integer of {value.bit_length()} bits)"
    try:
        return reprlib.repr(value)
    except ValueError:  # Python prints no integer of more than 4300 digits, here one within a tuple
        return f"(a {type(value).__name__} too long to print)"
