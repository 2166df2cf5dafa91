"""Conditions on classical bits: comparisons, `!`, `&&`, `||`, brought to one `Condition`.

Flow: values -> *conditions* -> builder (Branch). One comparison of one unsigned integer is all a
Branch can hold, so `&&` joins equalities into one equality over all their bits, and `||` joins
inequalities; by De Morgan nothing else is needed for single bits.
"""

from __future__ import annotations

from qcommons.circuits.program import Condition

__all__ = ["both", "compare", "compare_signed", "either", "negated"]

VALUE_MAX = (1 << 63) - 1  # what a Condition holds; wider equalities put the bits that must be 1 first
_OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", "<=": ">", ">": "<="}
_MIRROR = {"==": "==", "!=": "!=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}


def compare(bits: tuple[int, ...], relation: str, value: int, *, mirrored: bool = False) -> Condition | None:
    """`bits relation value`, or `value relation bits` if mirrored; None if no Condition can say it."""
    relation = _MIRROR[relation] if mirrored else relation
    if value <= VALUE_MAX:
        return Condition(bits, relation, value)
    if relation not in ("==", "!="):
        return None
    if value.bit_length() > len(bits):
        return Condition(bits[:1], relation, 2)  # more than the bits can hold: never equal
    return _equality({bit: value >> i & 1 for i, bit in enumerate(bits)}, relation)


def compare_signed(
    bits: tuple[int, ...], relation: str, value: int, *, mirrored: bool = False
) -> Condition | bool | None:
    """`compare` with the bits as a two's complement number; a bool where every such number agrees.

    A Condition reads an unsigned integer, so of the orderings only those remain that ask for the sign,
    for the least or for the greatest number.
    """
    relation = _MIRROR[relation] if mirrored else relation
    low, high = -(1 << len(bits) - 1), (1 << len(bits) - 1) - 1
    if relation in ("==", "!="):
        if not low <= value <= high:
            return relation == "!="
        return compare(bits, relation, value % (1 << len(bits)))
    below = value + (relation in ("<=", ">"))  # the question is: number < below, or its opposite
    opposite = relation in (">", ">=")
    if below <= low or below > high:
        return (below > high) != opposite
    if below == 0:
        return Condition(bits[-1:], "==", 0 if opposite else 1)
    if below == low + 1:
        return compare(bits, "!=" if opposite else "==", 1 << len(bits) - 1)
    if below == high:
        return compare(bits, "==" if opposite else "!=", high)
    return None


def _equality(wanted: dict[int, int], relation: str) -> Condition | None:
    """All bits (not) as wanted: in their order, or ones first where the number would be too large."""
    value = sum(one << i for i, one in enumerate(wanted.values()))
    if value > VALUE_MAX:
        wanted = dict(sorted(wanted.items(), key=lambda item: -item[1]))  # stable: the order stays within each value
        value = (1 << sum(wanted.values())) - 1
    return Condition(tuple(wanted), relation, value) if value <= VALUE_MAX else None


def negated(condition: Condition) -> Condition:
    return Condition(condition.clbits, _OPPOSITE[condition.relation], condition.value)


def both(left: Condition, right: Condition) -> Condition | None:
    """`left && right`, or None if one Condition cannot say it."""
    first, second = _as_relation(left, "=="), _as_relation(right, "==")
    if first is None or second is None:
        return None
    joined: dict[int, int] = {}
    for part in (first, second):
        for i, bit in enumerate(part.clbits):
            wanted = part.value >> i & 1
            if joined.setdefault(bit, wanted) != wanted:
                return None
    return _equality(joined, "==")


def either(left: Condition, right: Condition) -> Condition | None:
    """`left || right`, or None if one Condition cannot say it."""
    joined = both(negated(left), negated(right))
    return None if joined is None else negated(joined)


def _as_relation(condition: Condition, relation: str) -> Condition | None:
    """The same condition as an equality, where it is one."""
    if condition.relation == relation:
        good = condition.value.bit_length() <= len(condition.clbits)
        return condition if good else None
    if len(condition.clbits) == 1 and condition.relation == _OPPOSITE[relation] and condition.value in (0, 1):
        return Condition(condition.clbits, relation, 1 - condition.value)
    return None
