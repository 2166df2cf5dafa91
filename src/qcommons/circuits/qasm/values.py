"""What an expression is worth: numbers, affine angles, qubits, bits, conditions.

Flow: tree -> *values* -> builder. Integers are exact and below 2**64, floats are finite float64.
`/` of two integers stays an integer where it divides exactly and is real otherwise (`pow(1/2)`).
Anything that depends on an input other than affinely is refused unless the input has a value.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from qcommons.circuits.program import Affine, Condition
from qcommons.circuits.qasm.arithmetic import ARITY, EITHER, INT_BITS_MAX, REAL, WHOLE
from qcommons.circuits.qasm.casts import described, holds, wrapped
from qcommons.circuits.qasm.conditions import negated
from qcommons.circuits.qasm.logic import Logic
from qcommons.circuits.qasm.scope import Bits, Qubits, Scope, Value
from qcommons.circuits.qasm.source import shown
from qcommons.circuits.qasm.tree import Chain, Expr, For, Function, Index, Known, Literal, Name, Range, SetOf, Unary

__all__ = ["Values"]

LENGTH_MAX = 1 << 62  # of a range; Python's len() ends at 2**63


class Values(Logic):
    """The evaluator of one source."""

    # --- typed questions ----------------------------------------------------------------------

    def number(self, expr: Expr, scope: Scope, what: str) -> float:
        value = self.evaluate(expr, scope)
        if isinstance(value, int | float):
            return value
        raise self.source.error(f"{what} must be a constant number; {self.why_not(value)}", expr.at)

    def integer(self, expr: Expr, scope: Scope, what: str) -> int:
        value = self.evaluate(expr, scope)
        if type(value) is int:
            return value
        value = self.number(expr, scope, what)
        if isinstance(value, float) and not value.is_integer():
            raise self.source.error(f"{what} must be an integer; it is {value!r}", expr.at)
        whole = int(value)
        self.finite(whole, expr.at)
        return whole

    def width(self, expr: Expr, scope: Scope) -> int:
        """Bits of a type such as `int[n]`."""
        width = self.integer(expr, scope, "a width")
        if width < 1:
            raise self.source.error(f"a type of {width} bits; allowed 1 or more", expr.at, limit="1 bit")
        return width

    def domain(self, loop: For, scope: Scope) -> range | tuple[float | int | bool | Affine, ...]:
        """What a loop's variable runs over, held against its type."""
        found = self.evaluate(loop.domain, scope)
        if not isinstance(found, range | tuple):
            raise self.source.error("'for' runs over a constant range or set; got neither", loop.at)
        width = None if loop.width is None else self.width(loop.width, scope)
        if loop.type in ("int", "uint"):
            ends = (found[0], found[-1]) if isinstance(found, range) and found else found
            for value in ends:
                if not isinstance(value, int) or not holds(loop.type, width, value):
                    raise self.source.error(
                        f"the loop variable {shown(loop.variable)} takes the value {value!r}; "
                        f"{described(loop.type, width)}",
                        loop.domain.at,
                        limit=described(loop.type, width),
                    )
        return found

    def refuse_constant(self, name: str, at: int) -> None:
        """OpenQASM 3.0, "Built-in constants": they are in the global scope, where a name is declared once."""
        if name in self.constants:
            raise self.source.error(f"{shown(name)} is a built-in constant; give this another name", at)

    def angle(self, expr: Expr, scope: Scope) -> float | Affine:
        value = self.evaluate(expr, scope)
        if isinstance(value, Affine):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        raise self.source.error(f"a gate parameter must be a number; {self.why_not(value)}", expr.at)

    def condition(self, expr: Expr, scope: Scope) -> Condition | bool:
        value = self.evaluate(expr, scope)
        if isinstance(value, Condition | bool):
            return value
        if isinstance(value, Bits):  # other than 0, with or without a sign
            return Condition(value.indices, "==", 1) if len(value.indices) == 1 else Condition(value.indices, "!=", 0)
        if isinstance(value, int):
            return bool(value)
        raise self.source.error(f"a condition compares bits; {self.why_not(value)}", expr.at)

    # --- evaluation ---------------------------------------------------------------------------

    def evaluate(self, expr: Expr, scope: Scope) -> Value:
        """Raises UsageError with the place of whatever has no value."""
        match expr:  # most frequent first: an unrolled loop comes here for every operand of every pass
            case Known():
                return expr.value  # type: ignore[return-value]
            case Name():
                return self.named(expr, scope)
            case Chain():
                return self._chain(expr, scope)
            case Literal():
                return self.finite(expr.value, expr.at)
            case Unary():
                return self._unary(expr, self.evaluate(expr.operand, scope))
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

    def finite(self, value: Value, at: int) -> Value:
        """The value, unless it is an infinity, a NaN, or an integer of too many bits."""
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
        raise self.source.error(f"'{expr.op}' does not apply here: {self.why_not(value)}", expr.at)

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
                raise self.source.error(f"'{op}' does not apply here: {self.why_not(value)}", at)
        return self._affine(const, terms, rest[0][1])

    def _affine(self, const: float, terms: dict[str, float], at: int) -> Value:
        kept = tuple(sorted((name, value) for name, value in terms.items() if value != 0.0))
        for number in (const, *(value for _, value in kept)):
            self.finite(number, at)
        return Affine(const, kept) if kept else const

    def binary(self, op: str, left: Value, right: Value, at: int) -> Value:
        """`left op right` for any two values."""
        if isinstance(left, Bits | Condition) or isinstance(right, Bits | Condition):
            return self.on_bits(op, left, right, at)
        if isinstance(left, Affine) or isinstance(right, Affine):
            return self._on_affine(op, left, right, at)
        if isinstance(left, int | float) and isinstance(right, int | float):
            return self._on_numbers(op, left, right, at)
        if isinstance(left, str) and isinstance(right, str) and op in ("==", "!="):
            return (left == right) == (op == "==")
        bad = left if not isinstance(left, int | float) else right
        raise self.source.error(f"'{op}' does not apply here: {self.why_not(bad)}", at)

    def _on_numbers(self, op: str, left: float, right: float, at: int) -> Value:
        function = EITHER.get(op)
        if function is None:
            function = (WHOLE if isinstance(left, int) and isinstance(right, int) else REAL).get(op)
        if function is None:
            raise self.source.error(f"'{op}' does not apply to {left!r} and {right!r}", at)
        return self._computed(function, (left, right), at, "{!r} " + op + " {!r}")

    def _computed(self, function: Callable[..., float], arguments: tuple[float, ...], at: int, form: str) -> Value:
        """form: `str.format` makes the text for messages of it and the arguments."""
        try:
            value = function(*arguments)
        except ZeroDivisionError:
            what = "divides by zero; only finite numbers are allowed"
        except (ValueError, OverflowError):
            what = "is not a finite real number"
        else:
            return self.finite(value, at)
        raise self.source.error(f"{form.format(*arguments)} {what}", at)

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
            f"'{op}' makes an angle that is not affine in its inputs; {self.why_not(affine)}, or rewrite it", at
        )

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
        if expr.name in ("int", "uint"):
            return self._whole(expr, first, scope)
        if expr.name == "bool" and isinstance(first, Bits | Condition):
            return self.condition(expr.arguments[0], scope)
        if expr.name in ("float", "angle") and isinstance(first, Affine):
            return first
        numbers = tuple(value for value in arguments if isinstance(value, int | float))
        if len(numbers) != len(arguments):
            bad = next(value for value in arguments if not isinstance(value, int | float))
            raise self.source.error(f"{expr.name} needs a constant number; {self.why_not(bad)}", expr.at)
        return self._computed(function, numbers, expr.at, f"{expr.name}({', '.join(['{!r}'] * len(numbers))})")

    def _whole(self, expr: Function, value: Value, scope: Scope) -> Value:
        """The casts `int[n]` and `uint[n]`; bits keep their number, integers their lowest bits."""
        width = None if expr.width is None else self.width(expr.width, scope)
        if isinstance(value, Bits):
            size = len(value.indices)
            if width != size and (width is not None or expr.name == "int"):
                raise self.source.error(
                    f"{size} bit(s) cast to {expr.name}{'' if width is None else f'[{width}]'}; "
                    f"allowed int[{size}], which has a sign, and uint[{size}]",
                    expr.at,
                    limit=f"{size} bits",
                )
            return Bits(value.indices, signed=expr.name == "int")
        if not isinstance(value, int | float):
            raise self.source.error(f"{expr.name} needs a constant number; {self.why_not(value)}", expr.at)
        number = int(value)  # towards zero, as in C99; no infinities come here
        if width is not None and width <= INT_BITS_MAX and isinstance(value, int):
            return wrapped(expr.name, width, number)
        self.finite(number, expr.at)
        if not holds(expr.name, width, number):
            raise self.source.error(
                f"{value!r} cast to {expr.name}; {described(expr.name, width)}", expr.at,
                limit=described(expr.name, width),
            )  # fmt: skip
        return number

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
                self._some(len(chosen), expr)
                for end in (chosen[0], chosen[-1]):
                    self._position(end if end >= 0 else -len(own) - 1, len(own), expr)
                self.spend(len(chosen), expr.at)
                forward = chosen.step > 0
                return type(base)(
                    own[chosen.start : chosen.stop : chosen.step] if forward else tuple(own[i] for i in chosen)
                )
            case SetOf() as item:
                self._some(len(item.items), expr)
                places = [self._position(self.integer(i, scope, "an index"), len(own), expr) for i in item.items]
                self.spend(len(places), expr.at)
                return type(base)(tuple(own[i] for i in places))
            case item:
                place = self._position(self.integer(item, scope, "an index"), len(own), expr)
                return type(base)((own[place],), True)

    def _some(self, number: int, expr: Index) -> None:
        """OpenQASM 3.0, "Register concatenation and slicing": no index set may be empty."""
        if not number:
            raise self.source.error("this index selects nothing; at least 1 element is needed", expr.at, limit="1")

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
        if abs(ends[1] - ends[0]) // abs(step) >= LENGTH_MAX:
            raise self.source.error(
                f"a range of more than {LENGTH_MAX} numbers; allowed 0 to {LENGTH_MAX}", expr.at,
                limit=f"{LENGTH_MAX} numbers",
            )  # fmt: skip
        return range(ends[0], ends[1] + (1 if step > 0 else -1), step)


def _scaled(value: Affine, factor: float) -> Affine:
    return Affine(value.const * factor, tuple((name, term * factor) for name, term in value.terms))
