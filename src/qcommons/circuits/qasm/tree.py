"""The nouns between parser and builder: expressions and statements with their offsets.

Flow: lexer -> parser -> *tree* -> values and builder. `at` is always a character offset into the
source. Chains of one precedence level are flat, so depth is bounded by the parser's nesting limit.
"""

from __future__ import annotations

import msgspec

__all__ = [
    "Alias",
    "Barrier",
    "Call",
    "Chain",
    "Declare",
    "Define",
    "Expr",
    "For",
    "Function",
    "If",
    "Index",
    "Known",
    "Literal",
    "Measure",
    "Modifier",
    "Name",
    "Range",
    "Reset",
    "SetOf",
    "Statement",
    "Unary",
]


class Node(msgspec.Struct, frozen=True):
    at: int


class Literal(Node, frozen=True):
    value: float | int | bool | str  # a str is a bit string "0101"


class Known(Node, frozen=True):
    """What an expression is worth (a `values.Value`), worked out before a loop is unrolled."""

    value: object


class Name(Node, frozen=True):
    """An identifier, or a physical qubit `$0`."""

    name: str


class Unary(Node, frozen=True):
    op: str
    operand: Expr


class Chain(Node, frozen=True):
    """`first op1 e1 op2 e2 ...`, left to right; `rest` holds (op, offset of op, expression)."""

    first: Expr
    rest: tuple[tuple[str, int, Expr], ...]


class Function(Node, frozen=True):
    """A function call or a cast; `width`: the n of a cast `int[n](...)`."""

    name: str
    arguments: tuple[Expr, ...]
    width: Expr | None = None


class Range(Node, frozen=True):
    start: Expr | None
    step: Expr | None
    stop: Expr | None


class SetOf(Node, frozen=True):
    items: tuple[Expr, ...]


class Index(Node, frozen=True):
    base: Expr
    item: Expr


Expr = Literal | Known | Name | Unary | Chain | Function | Range | SetOf | Index


class Modifier(Node, frozen=True):
    """kind: ctrl, negctrl, inv, pow."""

    kind: str
    argument: Expr | None


class Call(Node, frozen=True):
    """A gate on operands; modifiers outermost first. `gphase` is a gate without operands."""

    name: str
    modifiers: tuple[Modifier, ...]
    arguments: tuple[Expr, ...]
    operands: tuple[Expr, ...]


class Measure(Node, frozen=True):
    operand: Expr
    target: Expr | None


class Reset(Node, frozen=True):
    operand: Expr


class Barrier(Node, frozen=True):
    """Without operands: all qubits."""

    operands: tuple[Expr, ...]


class If(Node, frozen=True):
    condition: Expr
    then: tuple[Statement, ...]
    orelse: tuple[Statement, ...]


class For(Node, frozen=True):
    """`type`: of the variable, may be empty; `width`: the n of `int[n]`."""

    variable: str
    domain: Expr
    body: tuple[Statement, ...]
    type: str = ""
    width: Expr | None = None


class Declare(Node, frozen=True):
    """kind: qubit, bit, input, value. `type`: the scalar type's name; `size` None for a scalar."""

    kind: str
    name: str
    type: str
    size: Expr | None = None
    value: Expr | None = None
    measured: Expr | None = None


class Alias(Node, frozen=True):
    name: str
    parts: tuple[Expr, ...]


class Define(Node, frozen=True):
    """A gate definition; `body` None for `opaque`; `stop` is the offset after its last character."""

    name: str
    parameters: tuple[str, ...]
    qubits: tuple[str, ...]
    body: tuple[Statement, ...] | None
    stop: int


Statement = Call | Measure | Reset | Barrier | If | For | Declare | Alias | Define
