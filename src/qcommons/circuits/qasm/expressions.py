"""Expressions: precedence climbing with an explicit limit of nesting.

Flow: lexer -> *expressions* -> tree. Precedence as in the OpenQASM 3.0 grammar (power binds
tightest, then unary, * / %, + -, shifts, comparisons, equality, &, ^, |, &&, ||); OpenQASM 2 has
`^` for power (arXiv:1707.03429, appendix A).
"""

from __future__ import annotations

from collections.abc import Callable

from qcommons.circuits.qasm.lexer import Lexer
from qcommons.circuits.qasm.source import Source, shown
from qcommons.circuits.qasm.tree import Chain, Expr, Function, Index, Literal, Name, Range, SetOf, Unary

__all__ = ["DEPTH_MAX", "Expressions"]

HEIGHT_MAX = 150  # of the tree of an expression; two Python frames each when it is evaluated
VALUES_MAX = 200_000  # of one statement: names, numbers, strings; 40 MB as a tree
DEPTH_MAX = 100  # nested parentheses or blocks; three Python frames each, far below the interpreter's 1000
_LEVELS: tuple[tuple[str, ...], ...] = (
    ("||",), ("&&",), ("|",), ("^",), ("&",), ("==", "!="), ("<", "<=", ">", ">="), ("<<", ">>"),
    ("+", "-"), ("*", "/", "%"),
)  # fmt: skip  # loosest first
_LEVEL_OF_3 = {sign: level for level, signs in enumerate(_LEVELS) for sign in signs}
_LEVEL_OF_2 = {sign: _LEVEL_OF_3[sign] for sign in ("+", "-", "*", "/", "==")}
_UNARY_LEVEL = len(_LEVELS)
_CASTS = frozenset({"int", "uint", "float", "angle", "bool", "bit"})


class Expressions(Lexer):
    """The lexer, able to read expressions."""

    __slots__ = ("depth", "height", "levels", "power", "values", "version")

    def __init__(self, source: Source, version: str) -> None:
        super().__init__(source)
        self.version = version
        self.depth = 0
        self.height = 0  # of the tree of the expression read last; chains of ten levels nest without parentheses
        self.values = 0
        self.levels = _LEVEL_OF_3 if version == "3" else _LEVEL_OF_2
        self.power = ("**",) if version == "3" else ("^", "**")

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise self.source.error(
                f"nested more than {DEPTH_MAX} deep at {shown(self.value)}; write it flatter",
                self.at,
                limit=f"{DEPTH_MAX} levels",
            )

    def _higher(self, height: int) -> None:
        """The tree read last stands on trees of this height; evaluation takes two Python frames a step."""
        if height >= HEIGHT_MAX:
            raise self.source.error(
                f"operators and calls more than {HEIGHT_MAX} deep in one expression; write it flatter",
                self.at,
                limit=f"{HEIGHT_MAX} levels",
            )
        self.height = height + 1

    def expression(self, level: int = 0) -> Expr:
        """An expression whose operators bind at least as tightly as `level`."""
        self.deeper()
        left = self._unary()
        while self.kind == "sign":
            here = self.levels.get(self.value, -1)
            if here < level:
                break
            left = self._chain(left, here)
        self.depth -= 1
        return left

    def _chain(self, first: Expr, level: int) -> Expr:
        """All operators of one level that follow `first`, with tighter ones inside."""
        at, rest, height = first.at, [], self.height
        while self.kind == "sign" and self.levels.get(self.value, -1) == level:
            op, op_at = self.value, self.at
            self.next()
            rest.append((op, op_at, self.expression(level + 1)))
            height = max(height, self.height)
        self._higher(height)
        return Chain(at, first, tuple(rest))

    def _unary(self) -> Expr:
        if self.kind == "sign" and self.value in ("-", "+", "!", "~"):
            op, at = self.value, self.at
            self.next()
            self.deeper()
            operand = self._unary()
            self.depth -= 1
            if op == "+":
                return operand
            self._higher(self.height)
            return Unary(at, op, operand)
        base = self._postfix()
        if self.kind == "sign" and self.value in self.power:
            op_at, height = self.at, self.height
            self.next()
            self.deeper()
            exponent = self._unary()  # right-associative
            self.depth -= 1
            self._higher(max(height, self.height))
            return Chain(base.at, base, (("**", op_at, exponent),))
        return base

    def _postfix(self) -> Expr:
        base = self._primary()
        for _ in range(DEPTH_MAX):
            if not self.is_sign("["):
                return base
            self.next()
            height, self.height = self.height, 0
            base = Index(base.at, base, self.index_item())
            self._higher(max(height, self.height))
            self.expect("]", "the index")
        raise self.source.error(f"more than {DEPTH_MAX} indices in a row", self.at, limit=f"{DEPTH_MAX} indices")

    def index_item(self) -> Expr:
        """What stands in `[...]`: an expression, a range `a:b`, `a:step:b` or a set `{...}`."""
        at = self.at
        if self.is_sign("{"):
            return self.set_of()
        start = None if self.is_sign(":") else self.expression()
        if not self.take(":"):
            assert start is not None
            if self.is_sign(","):
                raise self.source.error("only one index dimension is known; write one index", self.at)
            return start
        height = self.height
        middle = None if self.is_sign("]") or self.is_sign(":") else self.expression()
        height = max(height, self.height)
        if not self.take(":"):
            self._higher(height)
            return Range(at, start, None, middle)
        stop = None if self.is_sign("]") else self.expression()
        self._higher(max(height, self.height))
        return Range(at, start, middle, stop)

    def set_of(self) -> Expr:
        at = self.at
        self.expect("{", "here")
        return SetOf(at, self.listed("}", self.expression))

    def listed(self, closing: str, item: Callable[[], Expr]) -> tuple[Expr, ...]:
        """Comma-separated items up to and with `closing`; a trailing comma is allowed."""
        items: list[Expr] = []
        height = 0
        while not self.take(closing):
            items.append(item())
            height = max(height, self.height)
            if not self.take(","):
                self.expect(closing, "the list")
                break
        self._higher(height)
        return tuple(items)

    def _primary(self) -> Expr:
        at, kind, value = self.at, self.kind, self.value
        self.height = 0
        self.values += 1
        if self.values > VALUES_MAX:
            raise self.source.error(
                f"more than {VALUES_MAX} names and numbers in one statement; split it", at, limit=f"{VALUES_MAX} values"
            )
        if kind == "number":
            return self._number()
        if kind == "word":
            self.next()
            width, height = None, 0
            if value in _CASTS and self.is_sign("["):
                self.next()
                width = self.expression()
                height = self.height
                self.expect("]", "the width")
                if not self.is_sign("("):
                    raise self.unexpected("'(' after the type")
            if self.take("("):
                arguments = self.listed(")", self.expression)
                self._higher(max(height, self.height))
                return Function(at, value, arguments, width)
            if value in ("true", "false") and self.version == "3":
                return Literal(at, value == "true")
            return Name(at, value)
        if kind == "sign" and value == "(":
            self.next()
            inner = self.expression()
            self.expect(")", "the expression")
            return inner
        if kind == "physical":
            self.next()
            return Name(at, value)
        if kind == "string":
            self.next()
            bits = value[1:-1].replace("_", "")
            if not bits or bits.strip("01"):
                raise self.source.error(f"string {shown(value)} is not a bit string", at)
            return Literal(at, bits)
        raise self.unexpected("a value")

    def _number(self) -> Expr:
        at, text = self.at, self.value
        stop = self.stop
        self.next()
        if self.kind == "word" and self.at == stop:
            raise self.source.error(
                f"{shown(text + self.value)}: durations and complex numbers are not supported here", at
            )
        text = text.replace("_", "")
        if text[:2].lower() in ("0x", "0b", "0o"):
            if len(text) == 2:
                raise self.source.error(f"number {shown(text)} has no digits", at)
            return Literal(at, int(text, 0))
        if text.isdigit():
            return Literal(at, int(text))
        return Literal(at, float(text))

    def operand(self) -> Expr:
        """A qubit or bit, a register, or an indexed part of one."""
        at = self.at
        if self.kind not in ("word", "physical"):
            raise self.unexpected("a qubit, bit or register")
        base: Expr = Name(at, self.value)
        self.next()
        for _ in range(8):  # q[0:4][1]: more in a row help nobody
            if not self.take("["):
                break
            base = Index(at, base, self.index_item())
            self.expect("]", "the index")
        return base

    def operands(self) -> tuple[Expr, ...]:
        operands: list[Expr] = []
        if self.kind in ("word", "physical"):
            operands.append(self.operand())
            while self.take(","):
                operands.append(self.operand())
        return tuple(operands)
