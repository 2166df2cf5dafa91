"""Reading a whole file: the statement loop with a short cut for plain gate calls.

Flow: text -> *reader* -> Program. Nine statements in ten are `name(params) q[i], q[j];`. One
regular expression takes those, and dictionaries from the text of operands and of parameters to
their meaning do the rest; whatever it does not know at once goes through grammar and builder,
which also own every error message.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from qcommons.circuits.program import DEFAULT_CAPS, Branch, Caps, Condition, Op, Operation, Param, Program
from qcommons.circuits.qasm.builder import Builder
from qcommons.circuits.qasm.scope import Bits, Qubits
from qcommons.circuits.qasm.source import SKIP, Source
from qcommons.circuits.qasm.steps import plus
from qcommons.circuits.qasm.tree import Define, For

__all__ = ["Parsed", "parse"]

MEMO_TEXTS = 1 << 16  # remembered texts of each kind, about 20 MB in all
AHEAD_STATEMENTS = 10_000  # how far loops are counted before the first long one is unrolled
WHOLE_END = float(1 << 63)  # from here on a number may be an integer of too many bits
LONG_LOOP = 50_000  # operations; shorter ones are unrolled in under a second
# Bounded, because what is matched is copied; longer statements go the long way.
_CALL = re.compile(
    SKIP + r"([A-Za-z]\w{0,99}+)\s*+(?:\(([^();{}\"]{0,9999}+)\))?+\s*+([A-Za-z_][\w\[\], \t]{0,9999}+);", re.ASCII
)
_MEASURE = re.compile(
    SKIP + r"(?:measure\s++([A-Za-z_]\w*+\[\w++\])\s*+->\s*+(\w++\[\w++\])|"
    r"([A-Za-z_]\w*+\[\w++\])\s*+=\s*+measure\s++(\w++\[\w++\]))\s*+;",
    re.ASCII,
)  # fmt: skip
_IF_2 = re.compile(SKIP + r"if\s*+\(\s*+([A-Za-z_]\w*+)\s*+==\s*+([0-9]{1,18})\s*+\)", re.ASCII)
_ELEMENT = re.compile(r"\s*+([A-Za-z_]\w*+)(?:\[([0-9]{1,9})\])?+\s*+", re.ASCII)
_ANGLE = re.compile(r"\s*+([-+]|[-+]?[0-9]++(?:\.[0-9]*+)?+\*)?+pi(?:/([0-9]++(?:\.[0-9]*+)?+))?+\s*+")
_DONE = Op("done", ())  # marks a call that was expanded in place
_CallText = tuple[str, str | None, str]  # name, parameters, operands
_Key = TypeVar("_Key")
_Kept = TypeVar("_Kept")


class Parsed(msgspec.Struct, frozen=True):
    """A program, what its author should know about the reading, and the OpenQASM version read."""

    program: Program
    notes: tuple[str, ...]
    version: str


def parse(
    source: str | bytes,
    *,
    filename: str = "<input>",
    values: Mapping[str, float] | None = None,
    caps: Caps = DEFAULT_CAPS,
) -> Parsed:
    """Read OpenQASM 2 or 3.

    Args:
        source: the text, or its bytes in UTF-8.
        filename: how errors name it; no file is opened.
        values: values of `input` parameters (radians), fixed while reading.
        caps: hard limits.

    Raises:
        UsageError: anything that is not a valid program of the supported language, with
            `where` = file:line:column (counted from 1) and the limit where one was passed.
    """
    text = Source(source, filename, caps)
    version, note = text.version()
    builder = Builder(text, version, values or {}, caps)
    if note:
        builder.grammar.note(note)
    try:
        _Reader(builder).run()
        program = builder.program()
    finally:
        builder.book.gates.clear()  # gates refer to the book: without the cycle the text is freed at once
    return Parsed(program, tuple(builder.grammar.notes), version)


class _Reader:
    """The loop over top-level statements."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.text = builder.source.text
        self.memo: dict[_CallText, Op] = {}
        self.qubits: dict[str, tuple[int, ...]] = {}
        self.bits: dict[str, tuple[int, ...]] = {}
        self.params: dict[str, tuple[Param, ...]] = {}
        self.ahead = False  # later loops were counted

    def run(self) -> None:
        builder, text, memo = self.builder, self.text, self.memo
        limit, call, ops = builder.caps.operations_max, _CALL.match, builder.ops
        self._header()
        position = builder.grammar.at
        while True:
            match = call(text, position)
            if match is not None:
                key: _CallText = match.group(1, 2, 3)  # type: ignore[assignment]
                op = memo.get(key)
                if op is None:
                    op = self._call(key, match)
                if op is not None and builder.count < limit:
                    if op is not _DONE:
                        ops.append(op)
                        builder.count += 1
                    position = match.end()
                    continue
            other = self._measured(position) or self._if_2(position)
            if other is not None and builder.count < limit - 1:
                ops.append(other[0])
                builder.count += 1 if isinstance(other[0], Op) else 2
                position = other[1]
                continue
            if not self._slow(position):
                return
            position = builder.grammar.at

    def _header(self) -> None:
        grammar = self.builder.grammar
        grammar.seek(0)
        if grammar.is_word("OPENQASM"):
            grammar.next()
            if grammar.kind != "number":
                raise grammar.unexpected("a version number such as 2.0 or 3.0")
            grammar.next()
            grammar.expect(";", "the version")

    def _slow(self, position: int) -> bool:
        """One statement through grammar and builder; False at the end of the file."""
        builder, grammar = self.builder, self.builder.grammar
        grammar.seek(position)
        if grammar.kind == "end":
            return False
        if grammar.is_word("include"):
            builder.book.included = True
        if grammar.is_word("OPENQASM"):
            raise builder.source.error("OPENQASM may stand on the first line only", grammar.at)
        statement = grammar.statement()
        if statement is not None:
            if isinstance(statement, For):
                self._look_ahead(statement)
            builder.run(statement, builder.scope)
            if isinstance(statement, Define):
                self.memo.clear()  # the name may have meant a row before
        return True

    def _look_ahead(self, loop: For) -> None:
        """Before a long loop is unrolled, refuse what passes the cap together with the loops behind it."""
        builder, grammar = self.builder, self.builder.grammar
        total = builder.at_least((loop,), builder.scope)
        if self.ahead or total < LONG_LOOP:
            return
        self.ahead, end = True, grammar.at
        try:
            for _ in range(AHEAD_STATEMENTS):
                if grammar.kind == "end":
                    break
                statement = grammar.statement()
                if isinstance(statement, Define) and builder.book.look(statement.name):
                    break  # a name is about to change its meaning
                if isinstance(statement, For):
                    total += builder.at_least((statement,), builder.scope)
                    builder.room(total, statement.at)
        finally:
            grammar.seek(end)

    def _call(self, key: _CallText, match: re.Match[str]) -> Op | None:
        """The operation of a plain call, `_DONE` where it was expanded, None for the long way."""
        name, param_text, operand_text = key
        builder = self.builder
        gate = builder.book.gates.get(name)
        if gate is None or name in builder.grammar.table:
            return None
        qubits = self.qubits.get(operand_text) or self._elements(operand_text, self.qubits, Qubits)
        params = () if param_text is None else self._numbers(param_text, match.start(2))
        if qubits is None or params is None or len(params) != gate.n_params or len(qubits) != gate.n_qubits:
            return None
        if gate.expand is not None:
            builder.room(gate.count, match.start(1))
            builder.emit(gate.steps(params), qubits, False)
            return _DONE
        if gate.phase:
            builder.phase = plus(builder.phase, gate.shift(params))
        op = builder.op(gate.row, params[: gate.n_kept], qubits, (), gate.controls)
        if not gate.phase:
            _remember(self.memo, key, op)
        return op

    def _elements(
        self, text: str, known: dict[str, tuple[int, ...]], kind: type[Qubits] | type[Bits]
    ) -> tuple[int, ...] | None:
        """Flat indices of `q[0], r[3]`; None where that takes more than a look."""
        found: list[int] = []
        for part in text.split(","):
            match = _ELEMENT.fullmatch(part)
            if match is None:
                return None
            register = self.builder.scope.names.get(match[1])
            if not isinstance(register, kind) or register.scalar is (match[2] is not None):
                return None
            index = int(match[2] or 0)
            if index >= len(register.indices):
                return None
            found.append(register.indices[index])
        if len(set(found)) != len(found):
            return None
        return _remember(known, text, tuple(found))

    def _numbers(self, text: str, at: int) -> tuple[Param, ...] | None:
        """Parameters of a call; None where reading them needs the long way."""
        found = self.params.get(text)
        if found is not None:
            return found
        if self.builder.source.ascii and len(text) < 200:
            try:
                numbers = tuple(map(_simple, text.split(",")))
            except (ValueError, ZeroDivisionError):
                pass
            else:
                return numbers
        builder, grammar = self.builder, self.builder.grammar
        grammar.seek(at)
        arguments = grammar.listed(")", grammar.expression)
        params = tuple(builder.values.angle(argument, builder.scope) for argument in arguments)
        return _remember(self.params, text, params)

    def _measured(self, position: int) -> tuple[Operation, int] | None:
        """`measure q[0] -> c[0];` or `c[0] = measure q[0];` and where it ends."""
        match = _MEASURE.match(self.text, position)
        if match is None:
            return None
        three = match[1] is None
        if three and self.builder.values.version == "2":
            return None
        qubit, bit = (match[4], match[3]) if three else (match[1], match[2])
        qubits = self.qubits.get(qubit) or self._elements(qubit, self.qubits, Qubits)
        bits = self.bits.get(bit) or self._elements(bit, self.bits, Bits)
        if qubits is None or bits is None:
            return None
        return self.builder.op("measure", (), qubits, bits), match.end()

    def _if_2(self, position: int) -> tuple[Branch, int] | None:
        """OpenQASM 2's `if (c == n) gate;` for a gate that is one operation, and where it ends."""
        head = _IF_2.match(self.text, position) if self.builder.values.version == "2" else None
        match = _CALL.match(self.text, head.end()) if head else None
        if head is None or match is None:
            return None
        register = self.builder.scope.names.get(head[1])
        key: _CallText = match.group(1, 2, 3)  # type: ignore[assignment]
        gate = self.builder.book.gates.get(key[0])
        if not isinstance(register, Bits) or gate is None or gate.expand is not None or gate.phase:
            return None
        op = self.memo.get(key) or self._call(key, match)
        if op is None:
            return None
        self.builder.values.spend(len(register.indices), head.end())
        return Branch(Condition(register.indices, "==", int(head[2])), (op,)), match.end()


def _simple(text: str) -> float:
    """A number, or `-3*pi/4` and the like. ValueError for anything else, which the long way reads."""
    try:
        number = float(text)
    except ValueError:
        match = _ANGLE.fullmatch(text)
        if match is None:
            raise
        factor, divisor = match.groups()
        number = math.pi if factor in (None, "+") else -math.pi if factor == "-" else float(factor[:-1]) * math.pi
        number = number / float(divisor) if divisor else number
    if not abs(number) < WHOLE_END:  # float() reads "inf" and "nan" too
        raise ValueError
    return number


def _remember(memo: dict[_Key, _Kept], key: _Key, value: _Kept) -> _Kept:
    if len(memo) >= MEMO_TEXTS:
        memo.clear()
    memo[key] = value
    return value
