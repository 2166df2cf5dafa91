"""Numbers at reading time: constants, functions and operators as rows of data.

Flow: values -> *arithmetic*. Functions raise ZeroDivisionError, ValueError or OverflowError where
there is no finite real answer; `values` turns those into a UsageError with the place.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable

__all__ = ["ARITY", "CONSTANTS", "EITHER", "FUNCTIONS", "INT_BITS_MAX", "REAL", "WHOLE"]

INT_BITS_MAX = 64


def _power(base: float, exponent: float) -> float:
    if isinstance(base, int) and isinstance(exponent, int) and exponent >= 0:
        if abs(base) > 1 and exponent > INT_BITS_MAX:
            raise OverflowError
        return int(base**exponent)
    return math.pow(base, exponent)


def _divided(left: int, right: int) -> float:
    return left // right if left % right == 0 else left / right


def _shifted_left(left: int, right: int) -> int:
    if right > INT_BITS_MAX:
        raise OverflowError
    return left << right


def _modulo(left: float, right: float) -> float:
    whole = isinstance(left, int) and isinstance(right, int)
    return (WHOLE if whole else REAL)["%"](left, right)


def _popcount(number: float) -> int:
    """OpenQASM 3.0, "Built-in constant expression functions": of bits or an unsigned integer."""
    if not isinstance(number, int) or number < 0:
        raise ValueError
    return number.bit_count()


EITHER: dict[str, Callable[..., float]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "**": _power,
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "&&": lambda a, b: bool(a) and bool(b), "||": lambda a, b: bool(a) or bool(b),
}  # fmt: skip
WHOLE: dict[str, Callable[..., float]] = {
    "/": _divided, "%": lambda a, b: (1 if a >= 0 else -1) * (abs(a) % abs(b)),  # sign of the dividend, as in C
    "<<": _shifted_left, ">>": operator.rshift,
    "&": operator.and_, "|": operator.or_, "^": operator.xor,
}  # fmt: skip
REAL: dict[str, Callable[..., float]] = {"/": operator.truediv, "%": math.fmod}
CONSTANTS = {
    "2": {"pi": math.pi},
    "3": {"pi": math.pi, "π": math.pi, "tau": math.tau, "τ": math.tau, "euler": math.e, "ℇ": math.e},
}
FUNCTIONS: dict[str, dict[str, Callable[..., float]]] = {
    "2": {
        "sin": math.sin, "cos": math.cos, "tan": math.tan, "exp": math.exp, "ln": math.log, "sqrt": math.sqrt,
        "asin": math.asin, "acos": math.acos, "atan": math.atan,
    },
    "3": {
        "arccos": math.acos, "arcsin": math.asin, "arctan": math.atan, "ceiling": math.ceil, "cos": math.cos,
        "exp": math.exp, "floor": math.floor, "log": math.log, "mod": _modulo, "popcount": _popcount,
        "pow": _power, "sin": math.sin, "sqrt": math.sqrt, "tan": math.tan,
        "int": int, "uint": int, "float": float, "angle": float, "bool": bool,
    },
}  # fmt: skip
ARITY = {"mod": 2, "pow": 2}
