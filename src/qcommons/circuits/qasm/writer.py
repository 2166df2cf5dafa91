"""A Program as OpenQASM 3, such that reading it gives the very same Program.

Flow: Program -> *writer* -> text. Gates outside stdgates.inc are written with their definition
(`wrappers.py`). Floats are written with `repr`, which Python reads back exactly. Names that are no
OpenQASM identifiers, or that would hide a gate, are written as `qc_name_<hex of UTF-8>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from qcommons.circuits.gates import GATES
from qcommons.circuits.program import (
    DEFAULT_CAPS,
    Affine,
    Branch,
    Caps,
    Condition,
    Op,
    Param,
    Program,
    check,
    flat_ops,
)
from qcommons.circuits.qasm.names import encoded
from qcommons.circuits.qasm.steps import fold
from qcommons.circuits.qasm.wrappers import DEFINITIONS, definition, wrapper

__all__ = ["dumps"]

_ARRAY = re.compile(r"(?P<base>.*)\[(?P<index>0|[1-9][0-9]*)\]", re.DOTALL)


def dumps(program: Program, caps: Caps = DEFAULT_CAPS) -> str:
    """OpenQASM 3.0 text; `parse(dumps(program)).program == program`.

    Raises:
        UsageError: the program does not pass `check(program, caps)`.
    """
    check(program, caps)
    return _Writer(program).text()


class _Writer:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.inputs = _input_names(program.inputs)
        outer = frozenset(_ARRAY.sub(r"\g<base>", text) for text in self.inputs.values())
        outer |= frozenset(program.inputs)
        self.cregs = [(encoded(name, outer), size) for name, size in program.cregs]
        self.sizes = dict(self.cregs)
        taken = outer | set(self.sizes)
        self.qubits = next(name for i in range(len(taken) + 1) if (name := "q" if not i else f"q_{i}") not in taken)
        self.bits = [(name, i) for name, size in self.cregs for i in range(size)]
        self.starts: dict[str, int] = {}
        start = 0
        for name, size in self.cregs:
            self.starts[name] = start
            start += size
        self.aliases: dict[tuple[int, ...], str] = {}
        self.taken = taken

    def text(self) -> str:
        program = self.program
        lines = ["OPENQASM 3.0;", 'include "stdgates.inc";']
        lines += _input_lines(program.inputs, self.inputs)
        lines += self._definitions()
        lines += [f"bit[{size}] {name};" for name, size in self.cregs]
        if program.n_qubits:
            lines.append(f"qubit[{program.n_qubits}] {self.qubits};")
        for op in program.ops:
            if isinstance(op, Branch):
                lines += self._branch(op)
            else:
                lines.append(self._op(op))
        return "\n".join(lines) + "\n"

    def _definitions(self) -> list[str]:
        """Definitions of what stdgates.inc does not have, each after those it uses."""
        made: dict[str, str] = {}

        def need(row: str) -> None:
            if row in DEFINITIONS and row not in made:
                for before in DEFINITIONS[row][0]:
                    need(before)
                made[row] = definition(row)
            elif row == "u2" and "qc_u2" not in made:
                made["qc_u2"] = wrapper("u2", 0)[1]

        for gate, controls in dict.fromkeys((op.gate, op.controls) for op in flat_ops(self.program.ops)):
            if gate not in GATES:
                continue
            need(gate)
            if _changes(gate, controls):
                name, text = wrapper(gate, controls)
                made[name] = text
        return list(made.values())

    def _branch(self, branch: Branch) -> list[str]:
        lines = self._condition_alias(branch.condition)
        lines.append(f"if ({self._condition(branch.condition)}) {{")
        lines += [f"  {self._op(op)}" for op in branch.then]
        if branch.orelse:
            lines.append("} else {")
            lines += [f"  {self._op(op)}" for op in branch.orelse]
        lines.append("}")
        return lines

    def _op(self, op: Op) -> str:
        where = ", ".join(f"{self.qubits}[{q}]" for q in op.qubits)
        if op.gate == "measure":
            name, index = self.bits[op.clbits[0]]
            return f"{name}[{index}] = measure {where};"
        params = f"({', '.join(map(self._param, op.params))})" if op.params else ""
        if op.gate in ("barrier", "reset"):
            return f"{op.gate} {where};"
        if _changes(op.gate, op.controls):
            return f"{_wrapper_name(op.gate, op.controls)}{params} {where};"
        name = "qc_u2" if op.gate == "u2" else op.gate
        prefix = "" if not op.controls else "ctrl @ " if op.controls == 1 else f"ctrl({op.controls}) @ "
        return f"{prefix}{name}{params} {where};" if where else f"{prefix}{name}{params};"

    def _param(self, value: Param) -> str:
        if not isinstance(value, Affine):
            return _number(value)
        text = _number(value.const)
        for name, coefficient in value.terms:
            sign = "-" if coefficient < 0 else "+"
            text += f" {sign} {abs(float(coefficient))!r} * {self.inputs[name]}"
        return text

    # --- conditions ---------------------------------------------------------------------------

    def _condition(self, condition: Condition) -> str:
        return f"{self._bits(condition.clbits)} {condition.relation} {condition.value}"

    def _bits(self, clbits: tuple[int, ...]) -> str:
        """The shortest way to name these bits in this order."""
        if clbits in self.aliases:
            return self.aliases[clbits]
        name, first = self.bits[clbits[0]]
        start, size = self.starts[name], self.sizes[name]
        own = [c - start for c in clbits]
        if own == list(range(size)):
            return name if size > 1 else f"{name}[0]"
        if len(own) == 1:
            return f"{name}[{first}]"
        if own == list(range(first, first + len(own))):
            return f"{name}[{first}:{first + len(own) - 1}]"
        return f"{name}[{{{', '.join(map(str, own))}}}]"

    def _condition_alias(self, condition: Condition) -> list[str]:
        """A `let` for bits of several registers, once."""
        clbits = condition.clbits
        if len({self.bits[c][0] for c in clbits}) == 1 or clbits in self.aliases:
            return []
        number = len(self.aliases)
        name = next(n for i in range(len(self.taken) + 1) if (n := f"bits_{number}" + "_" * i) not in self.taken)
        self.aliases[clbits] = name
        parts = " ++ ".join(f"{self.bits[c][0]}[{{{self.bits[c][1]}}}]" for c in clbits)
        return [f"let {name} = {parts};"]


def _number(value: float) -> str:
    """Zero without its sign: equal programs have equal text."""
    return repr(float(value)).removeprefix("-") if value == 0 else repr(float(value))


def _changes(gate: str, controls: int) -> bool:
    """True where a reader would simplify `ctrl(controls) @ gate` to another row."""
    return controls > 0 and gate in GATES and fold(gate, (), controls)[::2] != (gate, controls)


def _wrapper_name(gate: str, controls: int) -> str:
    return f"qc_{gate}_c{controls}"


def _input_names(inputs: Iterable[str]) -> dict[str, str]:
    """Input -> how expressions name it: arrays `a[0] .. a[n-1]` in a row stay arrays."""
    listed = list(inputs)
    names = {name: encoded(name) for name in listed}
    for first, base, size in _arrays(listed):
        for i in range(size):
            names[listed[first + i]] = f"{encoded(base)}[{i}]"
    return names


def _arrays(inputs: list[str]) -> list[tuple[int, str, int]]:
    """(place of the first element, base name, size) of every complete run a[0], a[1], ..."""
    runs: list[tuple[int, str, int]] = []
    plain = {name for name in inputs if not _ARRAY.fullmatch(name)}
    place = 0
    while place < len(inputs):
        match = _ARRAY.fullmatch(inputs[place])
        size = 0
        if match and match["index"] == "0" and match["base"] not in plain:
            base = match["base"]
            while place + size < len(inputs) and inputs[place + size] == f"{base}[{size}]":
                size += 1
            if not any(base == own for _, own, _ in runs):
                runs.append((place, base, size))
        place += max(size, 1)
    return runs


def _input_lines(inputs: Iterable[str], names: dict[str, str]) -> list[str]:
    listed = list(inputs)
    lines: list[str] = []
    sizes = {first: (base, size) for first, base, size in _arrays(listed)}
    place = 0
    while place < len(listed):
        if place in sizes:
            base, size = sizes[place]
            lines.append(f"input array[float[64], {size}] {encoded(base)};")
            place += size
        else:
            lines.append(f"input float[64] {names[listed[place]]};")
            place += 1
    return lines
