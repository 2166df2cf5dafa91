"""Declarations of OpenQASM 2 and 3: registers, constants, inputs, aliases, includes.

Flow: lexer -> expressions -> *declarations* -> grammar -> tree -> builder.
"""

from __future__ import annotations

from qcommons.circuits.qasm.expressions import Expressions
from qcommons.circuits.qasm.source import Source, shown
from qcommons.circuits.qasm.tree import Alias, Declare, Expr, Statement

__all__ = ["REFUSED_3", "SCALARS", "Declarations"]

SCALARS = ("int", "uint", "float", "angle", "bool", "array")
REFUSED_3 = {
    "while": "loops that end at run time are not supported; use 'for' over a constant range",
    "def": "subroutines are not supported; use 'gate', or write the body in place",
    "extern": "external functions are not supported; compute the value beforehand and pass it as 'input'",
    "defcal": "pulse calibrations are not supported; remove the block",
    "cal": "pulse calibrations are not supported; remove the block",
    "switch": "'switch' is not supported; write one 'if' for each case",
    "box": "'box' is not supported; write its body in place",
    "duration": "duration arithmetic is not supported; remove it, delays have no effect here",
    "stretch": "duration arithmetic is not supported; remove it, delays have no effect here",
    "complex": "complex numbers are not supported; use two floats",
    "break": "'break' is not supported in unrolled loops; write the iterations that are run",
    "continue": "'continue' is not supported in unrolled loops; write the iterations that are run",
    "return": "subroutines are not supported; use 'gate', or write the body in place",
    "end": "'end' is not supported; end the file there",
}


class Declarations(Expressions):
    """`notes` collects what was skipped."""

    __slots__ = ("notes",)

    def __init__(self, source: Source, version: str) -> None:
        super().__init__(source, version)
        self.notes: dict[str, None] = {}

    def note(self, text: str) -> None:
        self.notes.setdefault(text)

    def include(self) -> None:
        at = self.at
        self.next()
        name, kind = self.value, self.kind
        if kind != "string":
            raise self.unexpected("a file name in quotes")
        self.next()
        self.expect(";", "include")
        allowed = "qelib1.inc" if self.version == "2" else "stdgates.inc"
        if name[1:-1] not in ("qelib1.inc", "stdgates.inc"):
            raise self.source.error(
                f"include {shown(name)}: only {allowed} is known, no file is read; paste its text in place",
                at,
                limit=allowed,
            )
        if name[1:-1] != allowed:
            self.note(f"include {name[1:-1]} in OpenQASM {self.version} is read as {allowed}")

    def old_register(self) -> Statement:
        at, kind = self.at, "qubit" if self.value == "qreg" else "bit"
        self.next()
        name = self.word("a register name")
        size: Expr | None = None
        if self.take("["):
            size = self.expression()
            self.expect("]", "the size")
        elif self.version == "2":
            raise self.unexpected("'[' and a size")
        self.expect(";", f"the declaration of {shown(name)}")
        return Declare(at, kind, name, kind, size)

    def type_name(self) -> tuple[str, Expr | None]:
        """A type with its optional width or size; array types give their only dimension."""
        kind = self.word("a type")
        if kind in ("complex", "duration", "stretch"):
            raise self.source.error(f"{kind}: {REFUSED_3[kind]}", self.at)
        size: Expr | None = None
        if self.take("["):
            if kind == "array":
                element, _ = self.type_name()
                if element not in SCALARS:
                    raise self.unexpected("a number type")
                self.expect(",", "the element type")
                kind = f"array of {element}"
            size = self.expression()
            if self.is_sign(","):
                raise self.source.error("arrays of more than one dimension are not supported; flatten it", self.at)
            self.expect("]", "the size")
        return kind, size

    def declare(self) -> Statement:
        at = self.at
        kind, size = self.type_name()
        if self.take("("):  # a cast at the start of a statement has no effect worth keeping
            raise self.source.error("an expression is no statement; remove it", at)
        name = self.word("a name")
        value: Expr | None = None
        measured: Expr | None = None
        if self.take("="):
            if self.is_word("measure"):
                self.next()
                measured = self.operand()
            else:
                value = self.set_of() if self.is_sign("{") else self.expression()
        self.expect(";", f"the declaration of {shown(name)}")
        if kind not in ("qubit", "bit"):
            if measured is not None:
                raise self.source.error(f"measurement into {kind} is not supported; declare 'bit {name}'", at)
            return Declare(at, "value", name, kind, size, value)
        if kind == "qubit" and (value is not None or measured is not None):
            raise self.source.error("qubits start in |0> and take no value", at)
        return Declare(at, kind, name, kind, size, value, measured)

    def const(self) -> Statement:
        at = self.at
        self.next()
        declared = self.declare()
        assert isinstance(declared, Declare)
        if declared.kind == "bit" and declared.value is not None:
            return Declare(at, "value", declared.name, "bit", declared.size, declared.value)
        if declared.kind != "value" or declared.value is None:
            raise self.source.error(f"const {declared.name} needs a number type and a value", at)
        return declared

    def input(self) -> Statement:
        at = self.at
        self.next()
        kind, size = self.type_name()
        name = self.word("a name")
        self.expect(";", f"input {shown(name)}")
        if kind in ("bit", "qubit"):
            raise self.source.error(f"input {kind} is not supported; allowed: float, angle, int, uint, bool", at)
        return Declare(at, "input", name, kind, size)

    def output(self) -> Statement:
        at = self.at
        self.next()
        declared = self.declare()
        if not isinstance(declared, Declare) or declared.kind != "bit":
            raise self.source.error("output is supported for bits only; declare 'output bit[n] name;'", at)
        return declared

    def let(self) -> Statement:
        at = self.at
        self.next()
        name = self.word("a name")
        self.expect("=", f"let {shown(name)}")
        parts = [self.operand()]
        while self.take("++"):
            parts.append(self.operand())
        self.expect(";", f"let {shown(name)}")
        return Alias(at, name, tuple(parts))
