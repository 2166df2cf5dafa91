"""From statements to a Program: broadcasting, loops, branches, limits.

Flow: grammar -> tree -> *builder* -> Program. Nothing is allocated before its size is held against
the caps, and equal operations are one object. Global phases that come from definitions and from
`U` are summed and written as one `gphase` at the end of the block; `gphase` statements stay where
they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain
from typing import cast

from qcommons.base.errors import UsageError
from qcommons.circuits.program import Affine, Branch, Caps, Condition, Op, Operation, Param, Program
from qcommons.circuits.qasm.gatebook import GateBook
from qcommons.circuits.qasm.grammar import Grammar
from qcommons.circuits.qasm.loops import Settler, named_in, quick
from qcommons.circuits.qasm.modifiers import modified, modified_count
from qcommons.circuits.qasm.registers import Registers
from qcommons.circuits.qasm.scope import Bits, Qubits, Scope
from qcommons.circuits.qasm.source import Source
from qcommons.circuits.qasm.steps import Step, finite, plus
from qcommons.circuits.qasm.tree import (
    Alias,
    Barrier,
    Call,
    Declare,
    Define,
    For,
    If,
    Measure,
    Name,
    Reset,
    Statement,
)  # fmt: skip

__all__ = ["Builder"]

MEMO_OPS = 1 << 17  # interned operations kept, about 30 MB
BROADCASTS_MAX = 32  # remembered broadcast calls, so that `h q;` in a loop costs little
SETTLED_PASSES = 4  # loops of fewer passes are not worth the preparation
IDLE_MAX = 200_000  # loop iterations and statements that make no operation


class Builder(Registers):
    """Runs statements of one source; `program()` at the end."""

    def __init__(self, source: Source, version: str, values: Mapping[str, float], caps: Caps) -> None:
        super().__init__(source, version, values, caps)
        self.grammar = Grammar(source, version)
        self.book = GateBook(source, version, self.values, self.grammar.note)
        self.ops: list[Operation] = []
        self.phase: Param = 0.0
        self.steps_run = 0
        self.in_branch = False
        self.broadcasts: dict[tuple[tuple[Step, ...], tuple[tuple[int, ...], ...]], list[Operation]] = {}
        self.memo: dict[tuple[str, tuple[Param, ...], tuple[int, ...], tuple[int, ...], int], Op] = {}

    def program(self) -> Program:
        """The circuit of all statements run so far."""
        unknown = sorted(set(self.given) - self.used_values)
        if unknown:
            raise UsageError(
                f"values for {unknown}, which are no inputs; inputs are {sorted(self.used_values) + self.inputs}",
                where=self.source.filename,
            )
        self._close_phase()
        return Program(self.n_qubits, tuple(self.cregs.items()), tuple(self.ops), tuple(self.inputs))

    # --- emitting -----------------------------------------------------------------------------

    def op(
        self,
        gate: str,
        params: tuple[Param, ...],
        qubits: tuple[int, ...],
        clbits: tuple[int, ...] = (),
        controls: int = 0,
    ) -> Op:
        """The one object that stands for these fields."""
        key = (gate, params, qubits, clbits, controls)
        found = self.memo.get(key)
        if found is None:
            if len(self.memo) >= MEMO_OPS:
                self.memo.clear()
            found = self.memo[key] = Op(gate, qubits, params, clbits, controls)
        return found

    def emit(self, steps: tuple[Step, ...], qubits: tuple[int, ...], keep_phase: bool) -> None:
        """Append steps on `qubits`; global phases go to the block's sum unless `keep_phase`."""
        ops = self.ops
        made: dict[int, Op] = {}
        for step in steps:
            op = made.get(id(step))  # gatebook makes equal steps one object
            if op is None:
                row, params, positions, controls = step
                if row == "gphase" and not keep_phase and not positions:
                    self.phase = plus(self.phase, params[0])
                    continue
                op = made[id(step)] = self.op(row, params, tuple([qubits[i] for i in positions]), (), controls)
            ops.append(op)
            self.count += 1

    def _close_phase(self) -> None:
        end = len(self.source.text)
        if not finite(self.phase):
            raise self.source.error("the global phases of this block add up to no finite number", end)
        phase = self.phase if isinstance(self.phase, Affine) else math.remainder(self.phase, math.tau)
        if phase != 0.0:
            self.room(1, end)
            self.ops.append(Op("gphase", (), (phase,)))
            self.count += 1
        self.phase = 0.0

    # --- statements ---------------------------------------------------------------------------

    def run(self, statement: Statement, scope: Scope) -> None:
        """Raises UsageError with the place of whatever breaks a rule."""
        self.steps_run += 1
        if self.steps_run - 4 * self.count > IDLE_MAX:
            raise self.source.error(
                f"more than {IDLE_MAX} statements without a quantum operation; remove the idle loop", statement.at,
                limit=f"{IDLE_MAX} idle statements",
            )  # fmt: skip
        match statement:
            case Call():
                self._call(statement, scope)
            case Measure():
                self._measure(statement, scope)
            case Reset():
                for qubit in self.qubits(statement.operand, scope, reserve=True).indices:
                    self.ops.append(self.op("reset", (), (qubit,)))
                    self.count += 1
            case Barrier():
                self._barrier(statement, scope)
            case If():
                self._if(statement, scope)
            case For():
                self._for(statement, scope)
            case Declare():
                self.declare(statement, scope)
                if statement.measured is not None:
                    self._measure(Measure(statement.at, statement.measured, Name(statement.at, statement.name)), scope)
            case Alias():
                self.alias(statement, scope)
            case Define():
                self.book.define(statement, self.scope)

    def _body(self, body: tuple[Statement, ...], scope: Scope) -> None:
        for statement in body:
            self.run(statement, scope)

    def _call(self, call: Call, scope: Scope) -> None:
        gate = self.book.find(call.name, call.at)
        if len(call.arguments) != gate.n_params:
            raise self.source.error(
                f"{call.name} takes {gate.n_params} parameter(s); got {len(call.arguments)}", call.at
            )
        operands = [self.qubits(operand, scope).indices for operand in call.operands]
        params = tuple(self.values.angle(argument, scope) for argument in call.arguments)
        count, extra = gate.count, 0
        if call.modifiers:
            count, extra = modified_count(self.values, call, count, gate.turns, scope)
        if len(operands) != gate.n_qubits + extra:
            raise self.source.error(
                f"{call.name} acts on {gate.n_qubits + extra} qubit(s) here; got {len(operands)}", call.at
            )
        width = self._width(call, operands)
        self.room(count * width, call.at)
        steps = gate.steps(params)
        if call.modifiers:
            steps = modified(self.values, call, steps, scope, self.grammar.note)
        explicit = call.name == "gphase"
        if width == 1:
            self._apply(call, steps, tuple([own[0] for own in operands]), explicit)
            return
        key = (steps, tuple(operands))
        again = self.broadcasts.get(key)
        if again is not None:
            self.ops.extend(again)
            self.count += len(again)
            return
        start, phase = len(self.ops), self.phase
        for i in range(width):
            self._apply(call, steps, tuple([own[0] if len(own) == 1 else own[i] for own in operands]), explicit)
        if len(self.broadcasts) < BROADCASTS_MAX and self.phase == phase:
            self.broadcasts[key] = self.ops[start:]

    def _apply(self, call: Call, steps: tuple[Step, ...], qubits: tuple[int, ...], explicit: bool) -> None:
        if len(set(qubits)) != len(qubits):
            raise self.source.error(f"{call.name} needs distinct qubits; got {_few(qubits)}", call.at)
        self.emit(steps, qubits, explicit)

    def _width(self, call: Call, operands: list[tuple[int, ...]]) -> int:
        """How often a broadcast call is repeated."""
        sizes = {len(own) for own in operands} - {1}
        if len(sizes) > 1:
            raise self.source.error(
                f"{call.name} on registers of sizes {sorted(sizes)}; they must be equal, or single qubits", call.at
            )
        return sizes.pop() if sizes else 1

    def _measure(self, node: Measure, scope: Scope) -> None:
        qubits = self.qubits(node.operand, scope, reserve=True).indices
        if node.target is None:
            raise self.source.error("this measurement is thrown away; write 'bit = measure qubit;'", node.at)
        bits = self.values.evaluate(node.target, scope)
        if not isinstance(bits, Bits):
            raise self.source.error("the target of measure is no classical bit", node.target.at)
        self._measure_into(qubits, bits.indices, node.at)

    def _measure_into(self, qubits: tuple[int, ...], bits: tuple[int, ...], at: int) -> None:
        if len(qubits) != len(bits):
            raise self.source.error(
                f"{len(qubits)} qubit(s) measured into {len(bits)} bit(s); equal numbers needed", at
            )
        self.room(len(qubits), at)
        self.ops.extend([self.op("measure", (), (q,), (c,)) for q, c in zip(qubits, bits, strict=True)])
        self.count += len(qubits)

    def _barrier(self, node: Barrier, scope: Scope) -> None:
        self.room(1, node.at)
        parts = [self.qubits(operand, scope).indices for operand in node.operands]
        named = len(parts) == 1 and isinstance(node.operands[0], Name)  # a register or an alias: distinct already
        qubits = parts[0] if named else tuple(chain.from_iterable(parts)) if parts else tuple(range(self.n_qubits))
        if not named and len(set(qubits)) != len(qubits):
            raise self.source.error("a qubit occurs twice in this barrier", node.at)
        self.values.spend(len(qubits), node.at)
        if qubits:
            if ("barrier", (), qubits, (), 0) not in self.memo:
                self.values.spend(3 * len(qubits), node.at)  # kept, unlike a slice
            self.ops.append(self.op("barrier", (), qubits))
            self.count += 1

    # --- control flow -------------------------------------------------------------------------

    def _if(self, node: If, scope: Scope) -> None:
        condition = self.values.condition(node.condition, scope)
        if isinstance(condition, bool):
            self._body(node.then if condition else node.orelse, Scope(scope))
            return
        if self.in_branch:
            raise self.source.error(
                "an 'if' on bits within another is not supported: one level; join the conditions with '&&'", node.at,
                limit="1 level",
            )  # fmt: skip
        if len(set(condition.clbits)) != len(condition.clbits):
            raise self.source.error("a bit occurs twice in this condition", node.at)
        self.values.spend(len(condition.clbits), node.at)
        self.room(1, node.at)
        self.count += 1
        then = self._arm(node.then, scope)
        following = self._exclusive(condition, node, then, scope)
        orelse = () if following else self._arm(node.orelse, scope)
        self.ops.append(Branch(condition, then, orelse))
        if following:
            self.run(following, scope)

    def _arm(self, body: tuple[Statement, ...], scope: Scope) -> tuple[Op, ...]:
        outer, outer_phase = self.ops, self.phase
        self.ops, self.phase, self.in_branch = [], 0.0, True
        self._body(body, Scope(scope))
        self._close_phase()
        inner = self.ops
        self.ops, self.phase, self.in_branch = outer, outer_phase, False
        return tuple(op for op in inner if isinstance(op, Op))

    def _exclusive(self, condition: Condition, node: If, then: tuple[Op, ...], scope: Scope) -> If | None:
        """`else if` that can stand after the first `if`: another value of the same bits, which the
        first block does not write, and no further `else` that would catch the first value."""
        if len(node.orelse) != 1 or not isinstance(node.orelse[0], If):
            return None
        rest: Statement = node.orelse[0]
        while isinstance(rest, If):
            other = self.values.condition(rest.condition, scope)
            same = isinstance(other, Condition) and (other.clbits, other.relation) == (condition.clbits, "==")
            if not same or condition.relation != "==" or other.value == condition.value:  # type: ignore[union-attr]
                return None
            if not rest.orelse:
                break
            if len(rest.orelse) != 1:
                return None
            rest = rest.orelse[0]
        written = {c for op in then for c in op.clbits}
        exclusive = isinstance(rest, If) and written.isdisjoint(condition.clbits)
        return node.orelse[0] if exclusive else None

    def _for(self, node: For, scope: Scope) -> None:
        domain = self.values.domain(node, scope)
        if not node.body or not domain:
            return
        self.room(len(domain) * self.at_least(node.body, scope), node.at)
        body = node.body
        if len(domain) >= SETTLED_PASSES:
            body = Settler(self.values, scope, {node.variable} | named_in(body)).body(body)
        passes = [self._prepared(statement, scope) for statement in body]
        for value in domain:
            self.steps_run += 1
            inner = Scope(scope, {node.variable: value})
            for run in passes:
                run(inner)

    def _prepared(self, statement: Statement, outer: Scope) -> Callable[[Scope], None]:
        """`run` of a statement in a loop, with the questions answered that a plain gate asks in every pass."""
        gate = self.book.look(statement.name) if isinstance(statement, Call) and not statement.modifiers else None
        if gate is None or gate.expand is not None or gate.phase:
            return partial(self.run, statement)
        call = cast("Call", statement)
        limit, physical = self.caps.operations_max, any(isinstance(o, Name) and o.name[0] == "$" for o in call.operands)
        if physical or (len(call.arguments), len(call.operands)) != (gate.n_params, gate.n_qubits):
            return partial(self.run, statement)
        gate, kept = self.book.find(call.name, call.at), gate.n_kept
        operands = [quick(self.values, operand, outer) for operand in call.operands]
        arguments = [quick(self.values, argument, outer) for argument in call.arguments]

        def plain(scope: Scope) -> None:
            own = [operand(scope) for operand in operands]
            qubits = tuple([one.indices[0] for one in own if type(one) is Qubits and len(one.indices) == 1])
            values = [argument(scope) for argument in arguments]
            params = tuple([float(one) for one in values if type(one) is float or type(one) is int])
            if len(set(qubits)) == gate.n_qubits and len(params) == gate.n_params and self.count < limit:
                self.ops.append(self.op(gate.row, params[:kept], qubits, (), gate.controls))
                self.count += 1
            else:
                self.run(call, scope)

        return plain

    def at_least(self, body: tuple[Statement, ...], scope: Scope) -> int:
        """A lower bound of the operations that one pass makes, so that huge loops are refused at once."""
        total = 0
        for statement in body:
            match statement:
                case Call():
                    gate = self.book.look(statement.name)
                    total += int(gate is not None and gate.expand is None and not gate.phase)
                case Measure() | Reset():
                    total += 1
                case For():
                    try:
                        inner = self.values.evaluate(statement.domain, scope)
                    except UsageError:  # depends on the outer loop's variable
                        continue
                    if isinstance(inner, range | tuple) and inner:
                        total += len(inner) * self.at_least(statement.body, scope)
                case _:
                    pass
        return total


def _few(qubits: tuple[int, ...]) -> str:
    return str(list(qubits[:8])) + (" ..." if len(qubits) > 8 else "")
