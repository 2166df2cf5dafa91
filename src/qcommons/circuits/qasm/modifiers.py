"""`ctrl @`, `negctrl @`, `inv @`, `pow(k) @` of one gate call.

Flow: tree.Call -> *modifiers* -> steps. Modifiers are applied from the gate outwards. `inv` and
`pow` commute with controls (controls only add eigenvalues 1, whose powers are 1), so controls go
on last, in the order in which they are written.
"""

from __future__ import annotations

from collections.abc import Callable

from qcommons.circuits.qasm.scope import Scope
from qcommons.circuits.qasm.steps import Step, controlled, finite, grows, inverted, repeated, rooted
from qcommons.circuits.qasm.tree import Call, Modifier
from qcommons.circuits.qasm.values import Values

__all__ = ["COUNT_MAX", "modified", "modified_count"]

COUNT_MAX = 1 << 62  # where counting stops
ROOT_STEPS = 4  # the most steps a real power of one step has (swap)


def _controls(values: Values, modifier: Modifier, scope: Scope, operands: int) -> int:
    """How many controls `ctrl(n)` adds; more than there are operands is refused before use."""
    if modifier.argument is None:
        return 1
    number = values.integer(modifier.argument, scope, f"the argument of {modifier.kind}")
    if not 1 <= number <= operands:
        raise values.source.error(
            f"{modifier.kind}({number}) on {operands} operand(s); allowed 1 to {operands}", modifier.at,
            limit=f"{operands} operands",
        )  # fmt: skip
    return number


def _power(values: Values, modifier: Modifier, scope: Scope) -> float:
    assert modifier.argument is not None
    power = values.number(modifier.argument, scope, "the exponent of pow")
    return int(power) if float(power).is_integer() and abs(power) < 1 << 62 else float(power)


def modified_count(values: Values, call: Call, count: int, turns: bool, scope: Scope) -> tuple[int, int]:
    """(upper bound of the number of steps, number of controls added).

    turns: the gate is one phase or rotation, whose powers are one step too.
    """
    operands = len(call.operands)
    controls = 0
    for modifier in reversed(call.modifiers):
        if modifier.kind == "pow":
            power = _power(values, modifier, scope)
            repeats = isinstance(power, int) and not turns
            count = min(count * int(abs(power)), COUNT_MAX) if repeats else max(count, ROOT_STEPS)
        elif modifier.kind != "inv":
            controls += _controls(values, modifier, scope, operands)
    negatives = controls if any(m.kind == "negctrl" for m in call.modifiers) else 0
    return count + 2 * negatives, controls


def modified(
    values: Values, call: Call, steps: tuple[Step, ...], scope: Scope, note: Callable[[str], None]
) -> tuple[Step, ...]:
    """Steps of the modified gate: positions are the controls in the order written, then its own."""
    signs: list[bool] = []
    for modifier in reversed(call.modifiers):
        if modifier.kind == "inv":
            steps = inverted(steps)
        elif modifier.kind == "pow":
            steps = _raised(values, modifier, steps, scope, note)
            if not all(finite(p) for _, params, _, _ in steps for p in params):
                raise values.source.error("this power makes an angle that is not a finite number", modifier.at)
        else:
            number = _controls(values, modifier, scope, len(call.operands))
            signs[:0] = [modifier.kind == "ctrl"] * number
    if signs:
        values.spend(len(signs) * len(steps), call.at)
        steps = controlled(steps, tuple(signs))
    return steps


def _raised(
    values: Values, modifier: Modifier, steps: tuple[Step, ...], scope: Scope, note: Callable[[str], None]
) -> tuple[Step, ...]:
    power = _power(values, modifier, scope)
    if isinstance(power, int):
        limit = values.operations_max
        size = grows(steps, power)
        if size > limit:
            raise values.source.error(
                f"pow({power}) makes {size} operations; allowed 0 to {limit}", modifier.at, limit=f"{limit} operations"
            )
        values.spend(4 * size, modifier.at)  # made and looked through, even if an outer pow(0) drops them
        return repeated(steps, power)
    answer = rooted(steps, power)
    if answer is None:
        raise values.source.error(
            f"pow({power!r}) has no closed form here; allowed: integers on any gate, real powers on one-qubit gates, "
            "phases, rotations, swap, iswap and their controlled forms",
            modifier.at,
        )
    if answer[1]:
        note(answer[1])
    return answer[0]
