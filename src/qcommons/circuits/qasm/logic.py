"""What bits say in an expression: comparisons with constants, and their joins.

Flow: *logic* (the lower half of values) -> conditions. Registers are unsigned integers, casts `int[n]`
of them two's complement; each answer is one Condition, or a bool where it is known beforehand.
"""

from __future__ import annotations

from qcommons.circuits.program import Affine, Condition
from qcommons.circuits.qasm.arithmetic import CONSTANTS, FUNCTIONS
from qcommons.circuits.qasm.conditions import both, compare, compare_signed, either, negated
from qcommons.circuits.qasm.scope import Bits, Qubits, Unset, Value
from qcommons.circuits.qasm.source import Source

__all__ = ["Logic"]

_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")


class Logic:
    """What a condition on bits comes to; refusals have a place.

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

    def why_not(self, value: Value) -> str:
        if isinstance(value, Affine):
            names = ", ".join(name for name, _ in value.terms[:3])
            return f"it depends on input {names}: pass values for it"
        if isinstance(value, Unset):
            return f"it is {value.what}"
        kinds = {Qubits: "it is a qubit", Bits: "it is a classical bit, known at run time only", str: "it is a string",
                 Condition: "it is a comparison of bits", range: "it is a range", tuple: "it is an array"}  # fmt: skip
        return kinds.get(type(value), "it is none")

    def on_bits(self, op: str, left: Value, right: Value, at: int) -> Value:
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

    def _compared(self, bits: Bits, op: str, value: int | str, at: int, mirrored: bool = False) -> Condition | bool:
        if isinstance(value, str):
            if bits.signed:
                raise self.source.error("an int is compared with numbers, not with a string of bits", at)
            if len(value) != len(bits.indices):
                raise self.source.error(f"string of {len(value)} bits compared with {len(bits.indices)} bits", at)
            value = int(value, 2)
        if bits.signed:
            return self._compared_signed(bits, op, int(value), at, mirrored)
        condition = compare(bits.indices, op, int(value), mirrored=mirrored) if value >= 0 else None
        if condition is None:
            raise self.source.error(
                f"bits compared with {value}; allowed 0 to 2^63-1, and with == and != up to 63 ones among the bits",
                at,
                limit="2^63-1, or 63 ones",
            )
        return condition

    def _compared_signed(self, bits: Bits, op: str, value: int, at: int, mirrored: bool) -> Condition | bool:
        condition = compare_signed(bits.indices, op, value, mirrored=mirrored)
        if condition is None:
            raise self.source.error(
                f"int[{len(bits.indices)}] of bits ordered against {value} is not one comparison of an unsigned "
                f"integer; compare uint[{len(bits.indices)}], or use == and !=, or compare with 0",
                at,
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
                raise self.source.error(f"'{op}' does not apply here: {self.why_not(side)}", at)
        if len(sides) == 1:
            return sides[0]
        self.spend(sum(len(side.clbits) for side in sides), at)
        joined = both(*sides) if op[0] == "&" else either(*sides)
        if joined is None:
            raise self.source.error(
                f"'{op}' of these comparisons is not one comparison of one integer; use two 'if'", at
            )
        return joined


def _one_bit(value: Value) -> bool:
    return isinstance(value, Condition | bool) or (isinstance(value, Bits) and len(value.indices) == 1)
