"""What is declared: qubits, bits, inputs, constants and aliases, held against the caps.

Flow: tree -> *registers* (the lower half of builder) -> Program. Flat indices are given in order of
declaration. Input values that the caller gave become constants here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from qcommons.circuits.program import NAME, NAME_RULE, Affine, Caps, Condition
from qcommons.circuits.qasm.casts import described, holds
from qcommons.circuits.qasm.names import decoded
from qcommons.circuits.qasm.scope import Bits, Qubits, Scope, Value
from qcommons.circuits.qasm.source import Source, shown
from qcommons.circuits.qasm.tree import Alias, Declare, Expr, Name
from qcommons.circuits.qasm.values import Values

__all__ = ["Registers"]


class Registers:
    """Everything that has a name, except gates.

    count: operations made so far, held against the cap by `room`.
    """

    def __init__(self, source: Source, version: str, given: Mapping[str, float], caps: Caps) -> None:
        self.source = source
        self.caps = caps
        self.given = given
        self.values = Values(source, version, caps.operations_max)
        self.scope = Scope()
        self.count = 0
        self.n_qubits = 0
        self.physical = False
        self.cregs: dict[str, int] = {}
        self.n_clbits = 0
        self.inputs: list[str] = []
        self.all_inputs: set[str] = set()
        self.used_values: set[str] = set()

    def room(self, number: int, at: int) -> None:
        """Refuse before `number` more operations are made."""
        limit = self.caps.operations_max
        if self.count + number > limit:
            raise self.source.error(
                f"{self.count + number} operations from here on; allowed 0 to {limit}", at, limit=f"{limit} operations"
            )

    def qubits(self, expr: Expr, scope: Scope, *, reserve: bool = False) -> Qubits:
        """Indices an operand names; `reserve` refuses if one operation on each passes the cap."""
        if isinstance(expr, Name) and expr.name.startswith("$"):
            return Qubits((self._physical(expr),), True)
        value = self.values.evaluate(expr, scope)
        if not isinstance(value, Qubits):
            raise self.source.error(f"{shown(self.source.text[expr.at : expr.at + 20])} is no qubit", expr.at)
        if reserve:
            self.room(len(value.indices), expr.at)
        return value

    def _physical(self, expr: Name) -> int:
        digits = expr.name[1:]
        number = int(digits) if len(digits) < 10 else self.caps.qubits_max
        if number >= self.caps.qubits_max:
            raise self.source.error(
                f"physical qubit {shown(expr.name)}; allowed $0 to ${self.caps.qubits_max - 1}", expr.at,
                limit=f"{self.caps.qubits_max} qubits",
            )  # fmt: skip
        if self.n_qubits and not self.physical:
            raise self.source.error("physical qubits and declared ones cannot be mixed; use one kind", expr.at)
        self.physical = True
        self.n_qubits = max(self.n_qubits, number + 1)
        return number

    def bind(self, name: str, value: Value, scope: Scope, at: int) -> None:
        if scope is self.scope:
            self.values.refuse_constant(name, at)
        if name in scope.names:
            raise self.source.error(f"{shown(name)} is declared twice; give the second another name", at)
        scope.names[name] = value

    def _name(self, name: str, at: int) -> str:
        """The name of a register or an input, as a Program may hold it."""
        if not NAME.fullmatch(name):
            raise self.source.error(f"the name {shown(name)}: {NAME_RULE}", at, limit="100 characters")
        return name

    def _size(self, node: Declare, what: str, already: int, limit: int) -> int:
        size = 1 if node.size is None else self.values.integer(node.size, self.scope, "a size")
        if not 1 <= size <= limit - already:
            raise self.source.error(
                f"{node.name}[{size}] makes {already + size} {what}; allowed 1 to {limit}",
                node.at,
                limit=f"{limit} {what}",
            )
        return size

    def declare(self, node: Declare, scope: Scope) -> None:
        match node.kind:
            case "qubit":
                if self.physical:
                    raise self.source.error("physical qubits and declared ones cannot be mixed; use one kind", node.at)
                size = self._size(node, "qubits", self.n_qubits, self.caps.qubits_max)
                qubits = Qubits(tuple(range(self.n_qubits, self.n_qubits + size)), node.size is None)
                self.bind(node.name, qubits, scope, node.at)
                self.n_qubits += size
            case "bit":
                self._bits(node, scope)
            case "input":
                self._input(node, scope)
            case _:
                if node.value is not None:
                    self.bind(node.name, self._typed(node, scope), scope, node.at)

    def _bits(self, node: Declare, scope: Scope) -> None:
        if node.value is not None:
            raise self.source.error(
                "bits start at 0; a value at run time is not supported, use 'const' or measure", node.at
            )
        size = self._size(node, "classical bits", self.n_clbits, self.caps.clbits_max)
        indices = tuple(range(self.n_clbits, self.n_clbits + size))
        self.bind(node.name, Bits(indices, node.size is None), scope, node.at)
        name = self._name(decoded(node.name), node.at)
        if name in self.cregs:
            raise self.source.error(f"register {shown(name)} is declared twice", node.at)
        self.cregs[name] = size
        self.n_clbits += size

    def _typed(self, node: Declare, scope: Scope) -> Value:
        assert node.value is not None
        value = self.values.evaluate(node.value, scope)
        if isinstance(value, Qubits | Bits | Condition | range):
            raise self.source.error(f"{node.name} needs a constant; only bits hold results at run time", node.at)
        if node.type in ("int", "uint") and not isinstance(value, Affine | tuple | str):
            number = self.values.integer(node.value, scope, node.name)
            return self._held(number, node.name, node.type, node.size, scope, node.at)
        if node.type in ("float", "angle") and isinstance(value, int):
            return float(value)
        return bool(value) if node.type == "bool" and isinstance(value, int | float) else value

    def _held(self, number: int, name: str, kind: str, width: Expr | None, scope: Scope, at: int) -> int:
        """`number`, refused where a variable of this type and width cannot hold it."""
        bits = None if width is None else self.values.width(width, scope)
        if not holds(kind, bits, number):
            raise self.source.error(
                f"{shown(name)} = {number}; {described(kind, bits)}", at, limit=described(kind, bits)
            )
        return number

    def _input(self, node: Declare, scope: Scope) -> None:
        name = decoded(node.name)
        names = [name]
        if node.type.startswith("array"):
            size = self._size(node, "inputs", len(self.inputs), self.caps.inputs_max)
            names = [f"{name}[{i}]" for i in range(size)]
        elif len(self.inputs) >= self.caps.inputs_max:
            limit = self.caps.inputs_max
            raise self.source.error(f"more than {limit} inputs; allowed 0 to {limit}", node.at, limit=f"{limit} inputs")
        made = tuple(self._one_input(name, node) for name in names)
        self.bind(node.name, made if node.type.startswith("array") else made[0], scope, node.at)

    def _one_input(self, name: str, node: Declare) -> float | Affine:
        if name in self.all_inputs:
            raise self.source.error(f"input {shown(name)} is declared twice", node.at)
        self.all_inputs.add(self._name(name, node.at))
        value = self.given.get(name)
        if value is not None:
            self.used_values.add(name)
            number = self._given(name, value, node)
            if node.type.split()[-1] in ("float", "angle"):
                return number
            if not number.is_integer():
                raise self.source.error(f"input {name} = {number!r}; {node.type} needs an integer", node.at)
            exact = int(value)  # a float64 would round it
            if node.type == "bool":
                return bool(exact)
            width = None if node.type.startswith("array") else node.size
            return self._held(exact, name, node.type.split()[-1], width, self.scope, node.at)
        if node.type.split()[-1] not in ("float", "angle"):
            raise self.source.error(f"input {node.type} {name} shapes the circuit: pass a value for it", node.at)
        self.inputs.append(name)
        return Affine(0.0, ((name, 1.0),))

    def _given(self, name: str, value: float, node: Declare) -> float:
        """A caller's value as a finite float64; what it is not is told with the place of the input."""
        try:
            number = math.nan if isinstance(value, str | bytes) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            kind = type(value).__name__
            what = f"{number!r}" if isinstance(value, float) else f"of type {kind}, beyond float64 or no real number"
            raise self.source.error(f"input {shown(name)}: the value {what} is not finite", node.at, limit="1.8e308")
        return number

    def alias(self, node: Alias, scope: Scope) -> None:
        parts = [
            self.qubits(part, scope) if isinstance(part, Name) and part.name.startswith("$")
            else self.values.evaluate(part, scope)
            for part in node.parts
        ]  # fmt: skip
        joined: list[int] = []
        kind = type(parts[0])
        for part, expr in zip(parts, node.parts, strict=True):
            if not isinstance(part, Qubits | Bits) or type(part) is not kind:
                raise self.source.error(f"let {node.name} joins qubits with qubits, or bits with bits", expr.at)
            joined.extend(part.indices)
        self.values.spend(3 * len(joined), node.at)  # joined, compared, kept
        if len(set(joined)) != len(joined):
            raise self.source.error(f"let {node.name}: an element occurs twice", node.at)
        made = tuple(joined)
        self.bind(node.name, Qubits(made) if kind is Qubits else Bits(made), scope, node.at)
