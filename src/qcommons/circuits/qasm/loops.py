"""What a loop need not work out in every pass: expressions that its variable cannot change.

Flow: tree -> *loops* -> builder, before a `for` is unrolled. Names keep their values once declared,
so an expression without the loop's variable, and without a name declared in its body, is worth the
same in every pass. What has no value stays as it is: the pass that comes to it refuses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from qcommons.base.errors import UsageError
from qcommons.circuits.qasm.arithmetic import EITHER, REAL, WHOLE
from qcommons.circuits.qasm.scope import Qubits, Scope, Value
from qcommons.circuits.qasm.tree import (
    Alias,
    Chain,
    Declare,
    Expr,
    For,
    Function,
    If,
    Index,
    Known,
    Literal,
    Name,
    Node,
    Range,
    SetOf,
    Statement,
    Unary,
)
from qcommons.circuits.qasm.values import Values

__all__ = ["Settler", "named_in", "quick"]

_Quick = Callable[[Scope], Value]
_NUMBERS = frozenset({int, float})
_WHOLE_END = 1 << 63  # numbers beyond it, infinities and NaN go the long way


def named_in(body: Iterable[Statement]) -> set[str]:
    """Names that a body gives a meaning of its own."""
    names: set[str] = set()
    for statement in body:
        match statement:
            case Declare() | Alias():
                names.add(statement.name)
            case For():
                names |= {statement.variable} | named_in(statement.body)
            case If():
                names |= named_in(statement.then) | named_in(statement.orelse)
            case _:
                pass
    return names


class Settler:
    """Puts `Known` in the place of every expression without a name of `moving`."""

    def __init__(self, values: Values, scope: Scope, moving: set[str]) -> None:
        self.values = values
        self.scope = scope
        self.moving = moving

    def body(self, body: tuple[Statement, ...]) -> tuple[Statement, ...]:
        return tuple(self._settled(statement)[0] for statement in body)

    def _settled(self, node: Any) -> tuple[Any, bool]:
        """The node, and whether every pass has the same."""
        if isinstance(node, Name | Literal | Known):
            return node, not isinstance(node, Name) or node.name not in self.moving
        if isinstance(node, Chain):
            made, fixed = self._chain(node)
        else:
            fixed = True
            fields: list[Any] = []
            for field in node.__struct_fields__:
                value = getattr(node, field)
                if isinstance(value, Node):
                    value, own = self._settled(value)
                    fixed &= own
                elif isinstance(value, tuple) and value and isinstance(value[0], Node):
                    parts = []
                    for part in value:
                        part, own = self._settled(part)
                        parts.append(part)
                        fixed &= own
                    value = tuple(parts)
                fields.append(value)
            made = type(node)(*fields)
        if fixed and isinstance(made, Chain | Function | Index | Unary):
            return self._known(made), True
        return made, fixed

    def _chain(self, chain: Chain) -> tuple[Chain, bool]:
        """The beginning that is the same in every pass becomes one value: `2 * pi * i` is `6.28 * i`."""
        first, fixed = self._operand(chain.first)
        rest: list[tuple[str, int, Any]] = []
        for op, at, operand in chain.rest:
            operand, own = self._operand(operand)
            if fixed and not own and rest:
                first, rest = self._known(Chain(chain.at, first, tuple(rest))), []
            fixed &= own
            rest.append((op, at, operand))
        return Chain(chain.at, first, tuple(rest)), fixed

    def _operand(self, expr: Expr) -> tuple[Any, bool]:
        made, fixed = self._settled(expr)
        return (self._known(made) if fixed and isinstance(made, Name) else made), fixed

    def _known(self, expr: Chain | Function | Index | Name | Unary) -> Any:
        try:
            return Known(expr.at, self.values.evaluate(expr, self.scope))
        except UsageError:
            return expr


def quick(values: Values, expr: Expr, scope: Scope) -> _Quick:
    """`values.evaluate` of a settled expression as a closure over the scope of a pass.

    Sums, products and powers of numbers, and single elements of a register that `scope` knows, are taken
    at once. All else, errors too, goes the long way: `evaluate` owns the rules.
    """

    def long(inner: Scope) -> Value:
        return values.evaluate(expr, inner)

    match expr:
        case Known():
            known: Any = expr.value
            return lambda _: known
        case Literal() if isinstance(expr.value, int | float) and abs(expr.value) < 1 << 63:
            number = expr.value
            return lambda _: number
        case Name():
            name = expr.name
            return lambda inner: found if type(found := inner.names.get(name)) is int else long(inner)
        case Chain():
            return _quick_chain(values, expr, scope, long)
        case Index() if isinstance(expr.base, Name) and not isinstance(expr.item, Range | SetOf):
            register = scope.find(expr.base.name)
            if not isinstance(register, Qubits):
                return long
            return _quick_element(register, quick(values, expr.item, scope), expr.base.name, long)
        case _:
            return long


def _quick_chain(values: Values, chain: Chain, scope: Scope, long: _Quick) -> _Quick:
    """Left to right while both sides are numbers and the result is a finite float or a small integer."""
    first = quick(values, chain.first, scope)
    rest = [(_of(op, WHOLE), _of(op, REAL), quick(values, operand, scope)) for op, _, operand in chain.rest]

    def total(inner: Scope) -> Value:
        value = first(inner)
        for whole, real, operand in rest:
            right = operand(inner)
            if not (type(value) in _NUMBERS and type(right) in _NUMBERS):
                return long(inner)
            try:
                value = (whole if type(value) is type(right) is int else real)(value, right)
            except (ArithmeticError, ValueError):
                return long(inner)
            if type(value) is not bool and not -_WHOLE_END < value < _WHOLE_END:
                return long(inner)
        return value

    return total


def _of(op: str, rows: dict[str, Callable[..., float]]) -> Callable[..., float]:
    return EITHER.get(op) or rows.get(op, _none)


def _none(left: float, right: float) -> float:
    raise ValueError(f"no such operator on {left!r} and {right!r}")


def _quick_element(register: Qubits, item: _Quick, name: str, long: _Quick) -> _Quick:
    own = register.indices

    def element(inner: Scope) -> Value:
        place = item(inner)
        if type(place) is int and 0 <= place < len(own) and name not in inner.names and not register.scalar:
            return Qubits((own[place],), True)
        return long(inner)

    return element
