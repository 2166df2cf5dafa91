"""Statements of OpenQASM 2 and 3: recursive descent, one keyword table a version.

Flow: lexer -> expressions -> *grammar* -> tree -> builder. Sources: OpenQASM 3.0 specification
(arXiv:2104.14722) and its grammar; OpenQASM 2 (arXiv:1707.03429, appendix A). What needs a
classical computer at run time is refused here, by name and with what to do instead.
"""

from __future__ import annotations

from collections.abc import Callable

from qcommons.circuits.qasm.declarations import REFUSED_3, SCALARS, Declarations
from qcommons.circuits.qasm.source import Source, shown
from qcommons.circuits.qasm.tree import (
    Alias,
    Barrier,
    Call,
    Declare,
    Define,
    Expr,
    For,
    If,
    Measure,
    Modifier,
    Reset,
    SetOf,
    Statement,
)

__all__ = ["Grammar"]

_MODIFIERS = ("ctrl", "negctrl", "inv", "pow")
_IGNORED_3 = {"defcalgrammar": "'defcalgrammar' has no effect"}


class Grammar(Declarations):
    """One statement at a time; `notes` collects what was skipped."""

    __slots__ = ("table",)

    def __init__(self, source: Source, version: str) -> None:
        super().__init__(source, version)
        self.table = _TABLE_3 if version == "3" else _TABLE_2

    def statement(self) -> Statement | None:
        """The next statement, or None where it has no effect. The current token is its first."""
        self.values = 0
        if self.kind == "pragma":
            self.note("pragmas are skipped")
            self.next()
            return None
        if self.is_sign("@") and self.version == "3":
            self.note("annotations are skipped")
            line_end = self.text.find("\n", self.at)
            self.seek(len(self.text) if line_end < 0 else line_end)
            return None
        if self.take(";"):
            return None
        if self.kind != "word":
            if self.is_sign("{"):
                raise self.source.error("a block needs 'if', 'for' or 'gate' before it", self.at)
            raise self.unexpected("a statement")
        return self.table.get(self.value, Grammar._call)(self)

    def _gate(self) -> Statement:
        at, opaque = self.at, self.value == "opaque"
        self.next()
        name = self.word("a gate name")
        parameters: tuple[str, ...] = ()
        if self.take("("):
            parameters = self._names(")")
        qubits = self._names(";" if opaque else "{")
        if len(set(parameters + qubits)) != len(parameters) + len(qubits):
            raise self.source.error(f"gate {name}: a parameter or qubit name occurs twice", at)
        if opaque:
            return Define(at, name, parameters, qubits, None, self.at)
        body, stop = self._block(f"gate {name}")
        return Define(at, name, parameters, qubits, body, stop)

    def _names(self, closing: str) -> tuple[str, ...]:
        names: list[str] = []
        while not self.take(closing):
            names.append(self.word("a name"))
            if not self.take(","):
                self.expect(closing, "the names")
                break
        return tuple(names)

    # --- operations ---------------------------------------------------------------------------

    def _call(self) -> Statement:
        """A gate call with modifiers, or `target = measure ...`."""
        at = self.at
        modifiers: list[Modifier] = []
        while self.kind == "word" and self.value in _MODIFIERS and self.version == "3":
            modifiers.append(self._modifier())
        if not modifiers and self._begins_assignment():
            return self._assignment(at)
        name_at = self.at
        name = self.word("a gate name")
        arguments: tuple[Expr, ...] = ()
        if self.take("("):
            arguments = self.listed(")", self.expression)
        if self.is_sign("="):
            return self._assignment_refused(name_at)
        operands = self.operands()
        self.expect(";", f"{shown(name)} and its operands")
        return Call(name_at, name, tuple(modifiers), arguments, operands)

    def _modifier(self) -> Modifier:
        at, kind = self.at, self.value
        self.next()
        argument: Expr | None = None
        if self.take("("):
            argument = self.expression()
            self.expect(")", f"{kind} and its argument")
        if kind == "pow" and argument is None:
            raise self.source.error("pow needs its exponent: pow(2) @ gate", at)
        if kind == "inv" and argument is not None:
            raise self.source.error("inv takes no argument", at)
        self.expect("@", f"modifier {kind}")
        return Modifier(at, kind, argument)

    def _begins_assignment(self) -> bool:
        """True before `name =` and `name[`."""
        stop = self.stop
        while stop < len(self.text) and self.text[stop] in " \t\r\n":
            stop += 1
        following = self.text[stop : stop + 2]
        return following[:1] == "[" or (following[:1] == "=" and following != "==") or following in _COMPOUND

    def _assignment(self, at: int) -> Statement:
        target = self.operand()
        if self.version == "2" or not self.take("="):
            return self._assignment_refused(at)
        if not self.is_word("measure"):
            return self._assignment_refused(at)
        self.next()
        operand = self.operand()
        self.expect(";", "measure")
        return Measure(at, operand, target)

    def _assignment_refused(self, at: int) -> Statement:
        raise self.source.error(
            f"{shown(self.text[at : self.stop])}: not a gate, and classical assignment at run time is not supported; "
            "declare a const, or measure into the bit",
            at,
        )

    def _measure(self) -> Statement:
        at = self.at
        self.next()
        operand = self.operand()
        target = self.operand() if self.take("->") else None
        if target is None and self.version == "2":
            raise self.unexpected("'->' and a bit")
        self.expect(";", "measure")
        return Measure(at, operand, target)

    def _reset(self) -> Statement:
        at = self.at
        self.next()
        operand = self.operand()
        self.expect(";", "reset")
        return Reset(at, operand)

    def _barrier(self) -> Statement:
        at = self.at
        self.next()
        operands = self.operands()
        self.expect(";", "barrier")
        return Barrier(at, operands)

    def _delay(self) -> None:
        self.next()
        self.expect("[", "delay")
        for _ in range(64):  # a duration is a handful of tokens; it is not evaluated
            if self.is_sign("]") or self.is_sign(";"):
                break
            self.next()
        self.expect("]", "the duration of delay")
        self.operands()
        self.expect(";", "delay")
        self.note("delays are skipped: they have no effect here")

    # --- control flow -------------------------------------------------------------------------

    def _block(self, owner: str) -> tuple[tuple[Statement, ...], int]:
        """Statements up to the closing brace (the opening one is taken), and the offset after it."""
        self.deeper()
        body: list[Statement] = []
        while not self.is_sign("}"):
            if self.kind == "end":
                raise self.unexpected(f"a closing brace of {owner}")
            if (statement := self.statement()) is not None:
                if isinstance(statement, Define) or (isinstance(statement, Declare) and statement.kind != "value"):
                    raise self.source.error("gates, qubits, bits and inputs are declared outside blocks", statement.at)
                body.append(statement)
        stop = self.stop
        self.next()
        self.depth -= 1
        return tuple(body), stop

    def _arm(self, owner: str) -> tuple[Statement, ...]:
        if self.take("{"):
            return self._block(owner)[0]
        self.deeper()
        statement = self.statement()
        self.depth -= 1
        if isinstance(statement, Define | Declare | Alias):
            raise self.source.error(f"declarations under '{owner}' need a block", statement.at)
        return () if statement is None else (statement,)

    def _if(self) -> Statement:
        at = self.at
        self.next()
        self.expect("(", "if")
        condition = self.expression()
        self.expect(")", "the condition")
        then = self._arm("if")
        orelse: tuple[Statement, ...] = ()
        if self.version == "3" and self.is_word("else"):
            self.next()
            orelse = self._arm("else")
        return If(at, condition, then, orelse)

    def _for(self) -> Statement:
        at = self.at
        self.next()
        kind, width = "", None
        name = self.word("a loop variable")
        if not self.is_word("in"):
            kind = name
            if self.take("["):  # for int[32] i in ...
                width = self.expression()
                self.expect("]", "the width")
            name = self.word("a loop variable")
        if not self.is_word("in"):
            raise self.unexpected("'in'")
        self.next()
        domain = self._domain()
        return For(at, name, domain, self._arm("for"), kind, width)

    def _domain(self) -> Expr:
        if self.is_sign("{"):
            found = self.set_of()
            assert isinstance(found, SetOf)
            return found
        if self.take("["):
            domain = self.index_item()
            self.expect("]", "the range")
            return domain
        return self.operand()

    # --- what is not run ----------------------------------------------------------------------

    def _not_supported(self) -> Statement:
        raise self.source.error(f"{shown(self.value)}: {REFUSED_3[self.value]}", self.at)

    def _ignore(self) -> None:
        self.note(_IGNORED_3[self.value])
        while not self.is_sign(";") and self.kind != "end":
            self.next()
        self.expect(";", "the statement")


_COMPOUND = frozenset({"+=", "-=", "*=", "/=", "&=", "|=", "^=", "~=", "%=", "<<", ">>", "**"})

_Rule = Callable[[Grammar], Statement | None]
_TABLE_2: dict[str, _Rule] = {
    "qreg": Grammar.old_register, "creg": Grammar.old_register, "gate": Grammar._gate, "opaque": Grammar._gate,
    "measure": Grammar._measure, "reset": Grammar._reset, "barrier": Grammar._barrier, "if": Grammar._if,
    "include": Grammar.include,
}  # fmt: skip
_TABLE_3: dict[str, _Rule] = {
    **_TABLE_2, "qubit": Grammar.declare, "bit": Grammar.declare, "const": Grammar.const,
    "input": Grammar.input, "output": Grammar.output, "let": Grammar.let, "for": Grammar._for,
    "delay": Grammar._delay,
    **dict.fromkeys(SCALARS, Grammar.declare), **dict.fromkeys(_MODIFIERS, Grammar._call),
    **dict.fromkeys(REFUSED_3, Grammar._not_supported), **dict.fromkeys(_IGNORED_3, Grammar._ignore),
}  # fmt: skip
