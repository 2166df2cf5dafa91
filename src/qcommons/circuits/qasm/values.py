"""What an expression is worth: numbers, affine angles, qubits, bits, conditions.

Flow: tree -> *values* -> builder. Integers are exact and below 2**64, floats are finite float64.
`/` of two integers stays an integer where it divides exactly and is real otherwise (`pow(1/2)`).
Anything that depends on an input other than affinely is refused unless the input has a value.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

from qcommons.circuits.program import Affine, Condition
from qcommons.circuits.qasm.arithmetic import ARITY, CONSTANTS, EITHER, FUNCTIONS, INT_BITS_MAX, REAL, WHOLE
from qcommons.circuits.qasm.conditions import both, compare, either, negated
from qcommons.circuits.qasm.source import Source, shown
from qcommons.circuits.qasm.tree import Chain, Expr, Function, Index, Literal, Name, Range, SetOf, Unary

__all__ = ["Bits", "Qubits", "Scope", "Value", "Values"]

_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")


class Qubits(msgspec.Struct, frozen=True):
    """Flat qubit indices; `scalar` for one qubit that is no register."""

    indices: tuple[int, ...]
    scalar: bool = False


class Bits(msgspec.Struct, frozen=True):
    """Flat classical bit indices, least significant first."""

    indices: tuple[int, ...]
    scalar: bool = False


Value = float | int | bool | str | Affine | Qubits | Bits | Condition | range | tuple[float | int | bool | Affine, ...]


class Scope:
    """Names of one block; `parent` is the enclosing one."""

    __slots__ = ("names", "parent")

    def __init__(self, parent: Scope | None = None, names: dict[str, Value] | None = None) -> None:
        self.parent = parent
        self.names: dict[str, Value] = {} if names is None else names

    def find(self, name: str) -> Value | None:
        scope: Scope | None = self
        while scope is not None:
            value = scope.names.get(name)
            if value is not None:
                return value
            scope = scope.parent
        return None


class Values:
    """The evaluator of one source.

    work: units spent on slices and long sums; more than `work_max` is refused, so that a short text
        cannot ask for hours.
    """

    def __init__(self, source: Source, version: str, operations_max: int) -> None:
        self.source = source
        self.version = version
        self.constants = CONSTANTS[version]
        self.functions = FUNCTIONS[version]
        self.work = 0
        self.operations_max = operations_max
        self.work_max = 16 * operations_max + 1_000_000

    def spend(self, amount: int, at: int) -> None:
        self.work += amount
        if self.work > self.work_max:
            raise self.source.error(
                f"this file asks for more than {self.work_max} units of expansion; unroll less, or raise the caps",
                at,
                limit=f"{self.work_max} units",
            )

    # --- typed questions ----------------------------------------------------------------------

    def number(self, expr: Expr, scope: Scope, what: str) -> float:
        value = self.evaluate(expr, scope)
        if isinstance(value, int | float):
            return value
        raise self.source.error(f"{what} must be a constant number; {self._why_not(value)}", expr.at)

    def integer(self, expr: Expr, scope: Scope, what: str) -> int:
        value = self.number(expr, scope, what)
        if isinstance(value, float):
            if not value.is_integer():
                raise self.source.error(f"{what} must be an integer; it is {value!r}", expr.at)
            return int(value)
        return int(value)

    def angle(self, expr: Expr, scope: Scope) -> float | Affine:
        value = self.evaluate(expr, scope)
        if isinstance(value, Affine):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        raise self.source.error(f"a gate parameter must be a number; {self._why_not(value)}", expr.at)

    def condition(self, expr: Expr, scope: Scope) -> Condition | bool:
        value = self.evaluate(expr, scope)
        if isinstance(value, Condition | bool):
            return value
        if isinstance(value, Bits):
            return Condition(value.indices, "==", 1) if len(value.indices) == 1 else Condition(value.indices, "!=", 0)
        if isinstance(value, int):
            return bool(value)
        raise self.source.error(f"a condition compares bits; {self._why_not(value)}", expr.at)

    def _why_not(self, value: Value) -> str:
        if isinstance(value, Affine):
            names = ", ".join(name for name, _ in value.terms[:3])
            return f"it depends on input {names}: pass values for it"
        kinds = {Qubits: "it is a qubit", Bits: "it is a classical bit, known at run time only", str: "it is a string",
                 Condition: "it is a comparison of bits", range: "it is a range", tuple: "it is an array"}  # fmt: skip
        return kinds.get(type(value), "it is none")

    # --- evaluation ---------------------------------------------------------------------------

    def evaluate(self, expr: Expr, scope: Scope) -> Value:
        """Raises UsageError with the place of whatever has no value."""
        match expr:
            case Literal():
                return self._finite(expr.value, expr.at)
            case Name():
                return self.named(expr, scope)
            case Unary():
                return self._unary(expr, self.evaluate(expr.operand, scope))
            case Chain():
                return self._chain(expr, scope)
            case Function():
                return self._function(expr, scope)
            case Index():
                return self._index(expr, scope)
            case Range():
                return self._range(expr, scope, None)
            case SetOf():
                return tuple(self.number(item, scope, "an element of a set") for item in expr.items)

    def named(self, expr: Name, scope: Scope) -> Value:
        value = scope.find(expr.name)
        if value is None:
            value = self.constants.get(expr.name)
        if value is None:
            raise self.source.error(f"{shown(expr.name)} is not declared", expr.at)
        if isinstance(value, Affine):
            self.spend(len(value.terms), expr.at)
        return value

    def _finite(self, value: Value, at: int) -> Value:
        if isinstance(value, float) and not math.isfinite(value):
            raise self.source.error(f"this is {value!r}; only finite float64 numbers are allowed", at, limit="1.8e308")
        if isinstance(value, int) and value.bit_length() > INT_BITS_MAX:
            raise self.source.error(
                f"this integer has {value.bit_length()} bits; allowed 1 to {INT_BITS_MAX}",
                at,
                limit=f"{INT_BITS_MAX} bits",
            )
        return value

    def _unary(self, expr: Unary, value: Value) -> Value:
        if expr.op == "-" and isinstance(value, Affine):
            return _scaled(value, -1.0)
        if expr.op == "-" and isinstance(value, int | float):
            return -value
        if expr.op in "!~" and isinstance(value, Bits) and len(value.indices) == 1:
            return Condition(value.indices, "==", 0)
        if expr.op == "!" and isinstance(value, Bits):
            return Condition(value.indices, "==", 0)
        if expr.op == "!" and isinstance(value, Condition):
            return negated(value)
        if expr.op == "!" and isinstance(value, int | float):
            return not value
        if expr.op == "~" and isinstance(value, int):
            raise self.source.error("'~' on an integer depends on its width; write the number", expr.at)
        raise self.source.error(f"'{expr.op}' does not apply here: {self._why_not(value)}", expr.at)

    def _chain(self, expr: Chain, scope: Scope) -> Value:
        value = self.evaluate(expr.first, scope)
        for position, (op, at, operand) in enumerate(expr.rest):
            if isinstance(value, Affine) and op in "+-":
                return self._sum(value, expr.rest[position:], scope)
            if isinstance(value, Bits) and isinstance(operand, Literal):
                value = self.binary(op, value, operand.value, at)  # a register's value may pass 64 bits
            else:
                value = self.binary(op, value, self.evaluate(operand, scope), at)
        return value

    def _sum(self, first: Affine, rest: tuple[tuple[str, int, Expr], ...], scope: Scope) -> Value:
        """A sum whose first summand is affine, in one pass over all its terms."""
        const, terms = first.const, dict(first.terms)
        for op, at, operand in rest:
            value = self.evaluate(operand, scope)
            sign = 1.0 if op == "+" else -1.0
            if isinstance(value, Affine):
                const += sign * value.const
                for name, coefficient in value.terms:
                    terms[name] = terms.get(name, 0.0) + sign * coefficient
            elif isinstance(value, int | float):
                const += sign * value
            else:
                raise self.source.error(f"'{op}' does not apply here: {self._why_not(value)}", at)
        return self._affine(const, terms, rest[0][1])

    def _affine(self, const: float, terms: dict[str, float], at: int) -> Value:
        kept = tuple(sorted((name, value) for name, value in terms.items() if value != 0.0))
        for number in (const, *(value for _, value in kept)):
            self._finite(number, at)
        return Affine(const, kept) if kept else const

    def binary(self, op: str, left: Value, right: Value, at: int) -> Value:
        """`left op right` for any two values."""
        if isinstance(left, Bits | Condition) or isinstance(right, Bits | Condition):
            return self._on_bits(op, left, right, at)
        if isinstance(left, Affine) or isinstance(right, Affine):
            return self._on_affine(op, left, right, at)
        if isinstance(left, int | float) and isinstance(right, int | float):
            return self._on_numbers(op, left, right, at)
        if isinstance(left, str) and isinstance(right, str) and op in ("==", "!="):
            return (left == right) == (op == "==")
        bad = left if not isinstance(left, int | float) else right
        raise self.source.error(f"'{op}' does not apply here: {self._why_not(bad)}", at)

    def _on_numbers(self, op: str, left: float, right: float, at: int) -> Value:
        whole = isinstance(left, int) and isinstance(right, int)
        function = EITHER.get(op) or (WHOLE.get(op) if whole else REAL.get(op))
        if function is None:
            raise self.source.error(f"'{op}' does not apply to {left!r} and {right!r}", at)
        return self._computed(function, (left, right), at, f"{left!r} {op} {right!r}")

    def _computed(self, function: Callable[..., float], arguments: tuple[float, ...], at: int, text: str) -> Value:
        try:
            value = function(*arguments)
        except ZeroDivisionError:
            raise self.source.error(f"{text} divides by zero; only finite numbers are allowed", at) from None
        except (ValueError, OverflowError):
            raise self.source.error(f"{text} is not a finite real number", at) from None
        return self._finite(value, at)

    def _on_affine(self, op: str, left: Value, right: Value, at: int) -> Value:
        if op in "+-" and isinstance(right, Affine) and isinstance(left, int | float):
            moved = right if op == "+" else _scaled(right, -1.0)
            return self._affine(left + moved.const, dict(moved.terms), at)
        if op == "*" and isinstance(left, int | float) and isinstance(right, Affine):
            left, right = right, left
        if isinstance(left, Affine) and isinstance(right, int | float):
            if op == "*":
                scaled = _scaled(left, float(right))
                return self._affine(scaled.const, dict(scaled.terms), at)
            if op == "/" and right:
                return self._affine(left.const / right, {name: value / right for name, value in left.terms}, at)
        affine = left if isinstance(left, Affine) else right
        raise self.source.error(
            f"'{op}' makes an angle that is not affine in its inputs; {self._why_not(affine)}, or rewrite it", at
        )

    def _on_bits(self, op: str, left: Value, right: Value, at: int) -> Value:
        if op in ("&&", "||", "&", "|"):
            return self._joined(op, left, right, at)
        if op not in _COMPARISONS:
            raise self.source.error(
                f"'{op}' on bits is classical arithmetic at run time; only comparisons are supported", at
            )
        if isinstance(left, Bits) and isinstance(right, int | str):
            return self._compared(left, op, right, at)
        if isinstance(right, Bits) and isinstance(left, int | str):
            return self._compared(right, op, left, at, mirrored=True)
        for condition, other in ((left, right), (right, left)):
            if isinstance(condition, Condition) and isinstance(other, int) and other in (0, 1) and op in ("==", "!="):
                return condition if bool(other) == (op == "==") else negated(condition)
        raise self.source.error(f"'{op}' compares bits with a constant only", at)

    def _compared(self, bits: Bits, op: str, value: int | str, at: int, mirrored: bool = False) -> Condition:
        if isinstance(value, str):
            if len(value) != len(bits.indices):
                raise self.source.error(f"string of {len(value)} bits compared with {len(bits.indices)} bits", at)
            value = int(value, 2)
        condition = compare(bits.indices, op, int(value), mirrored=mirrored) if value >= 0 else None
        if condition is None:
            raise self.source.error(
                f"bits compared with {value}; allowed 0 to 2^63-1, and with == and != up to 63 ones among the bits",
                at,
                limit="2^63-1, or 63 ones",
            )
        return condition

    def _joined(self, op: str, left: Value, right: Value, at: int) -> Value:
        if op in "&|" and not (_one_bit(left) and _one_bit(right)):
            raise self.source.error(f"'{op}' on bits is classical arithmetic at run time; use '{op * 2}'", at)
        sides: list[Condition] = []
        for side in (left, right):
            if isinstance(side, int | float):
                if bool(side) == (op[0] == "|"):
                    return bool(side)
            elif isinstance(side, Bits):
                one = len(side.indices) == 1
                sides.append(Condition(side.indices, "==", 1) if one else Condition(side.indices, "!=", 0))
            elif isinstance(side, Condition):
                sides.append(side)
            else:
                raise self.source.error(f"'{op}' does not apply here: {self._why_not(side)}", at)
        if len(sides) == 1:
            return sides[0]
        self.spend(sum(len(side.clbits) for side in sides), at)
        joined = both(*sides) if op[0] == "&" else either(*sides)
        if joined is None:
            raise self.source.error(
                f"'{op}' of these comparisons is not one comparison of one integer; use two 'if'", at
            )
        return joined

    def _function(self, expr: Function, scope: Scope) -> Value:
        function = self.functions.get(expr.name)
        if function is None:
            known = ", ".join(sorted(self.functions))
            raise self.source.error(f"function {shown(expr.name)} is not known; known: {known}", expr.at)
        arguments = [self.evaluate(argument, scope) for argument in expr.arguments]
        wanted = ARITY.get(expr.name, 1)
        if len(arguments) != wanted:
            raise self.source.error(f"{expr.name} takes {wanted} argument(s); got {len(arguments)}", expr.at)
        first = arguments[0]
        if expr.name in ("int", "uint") and isinstance(first, Bits):
            return first
        if expr.name == "bool" and isinstance(first, Bits | Condition):
            return self.condition(expr.arguments[0], scope)
        if expr.name in ("float", "angle") and isinstance(first, Affine):
            return first
        numbers = tuple(value for value in arguments if isinstance(value, int | float))
        if len(numbers) != len(arguments):
            bad = next(value for value in arguments if not isinstance(value, int | float))
            raise self.source.error(f"{expr.name} needs a constant number; {self._why_not(bad)}", expr.at)
        return self._computed(function, numbers, expr.at, f"{expr.name}({', '.join(map(repr, numbers))})")

    # --- indices ------------------------------------------------------------------------------

    def _index(self, expr: Index, scope: Scope) -> Value:
        base = self.evaluate(expr.base, scope)
        if isinstance(base, tuple):
            return base[self._position(self.integer(expr.item, scope, "an index"), len(base), expr)]
        if not isinstance(base, Qubits | Bits) or base.scalar:
            raise self.source.error("only registers and arrays have indices", expr.at)
        own = base.indices
        if self.version == "2" and isinstance(expr.item, Range | SetOf):
            raise self.source.error("OpenQASM 2 knows single indices only", expr.item.at)
        match expr.item:
            case Range() as item:
                chosen = self._range(item, scope, len(own))
                for end in (chosen[0], chosen[-1]) if chosen else ():
                    self._position(end if end >= 0 else -len(own) - 1, len(own), expr)
                self.spend(len(chosen), expr.at)
                forward = chosen.step > 0
                return type(base)(
                    own[chosen.start : chosen.stop : chosen.step] if forward else tuple(own[i] for i in chosen)
                )
            case SetOf() as item:
                places = [self._position(self.integer(i, scope, "an index"), len(own), expr) for i in item.items]
                self.spend(len(places), expr.at)
                return type(base)(tuple(own[i] for i in places))
            case item:
                place = self._position(self.integer(item, scope, "an index"), len(own), expr)
                return type(base)((own[place],), True)

    def _position(self, index: int, size: int, expr: Index) -> int:
        if not -size <= index < size or (index < 0 and self.version == "2"):
            low = -size if self.version == "3" else 0
            name = expr.base.name if isinstance(expr.base, Name) else "this"
            raise self.source.error(
                f"index {index} into {shown(name)} of size {size}; allowed {low} to {size - 1}",
                expr.at,
                limit=f"{size - 1}",
            )
        return index + size if index < 0 else index

    def _range(self, expr: Range, scope: Scope, size: int | None) -> range:
        """Both ends included; missing ends and negative ones refer to a register of `size`."""
        step = 1 if expr.step is None else self.integer(expr.step, scope, "the step of a range")
        if step == 0:
            raise self.source.error("the step of a range is 0; any other integer is allowed", expr.at)
        if size is None and (expr.start is None or expr.stop is None):
            raise self.source.error("this range needs both ends", expr.at)
        ends = []
        for end, default in ((expr.start, 0 if step > 0 else -1), (expr.stop, -1 if step > 0 else 0)):
            value = default if end is None else self.integer(end, scope, "the end of a range")
            ends.append(value + size if size is not None and value < 0 else value)
        return range(ends[0], ends[1] + (1 if step > 0 else -1), step)


def _one_bit(value: Value) -> bool:
    return isinstance(value, Condition | bool) or (isinstance(value, Bits) and len(value.indices) == 1)


def _scaled(value: Affine, factor: float) -> Affine:
    return Affine(value.const * factor, tuple((name, term * factor) for name, term in value.terms))
