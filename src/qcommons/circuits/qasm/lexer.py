"""Tokens, one regular expression, read on demand.

Flow: Source -> *Lexer* -> parser. The regular expression uses possessive quantifiers only, so
that every character is looked at a bounded number of times.
"""

from __future__ import annotations

import re

from qcommons.circuits.qasm.source import SKIP, Source, shown

__all__ = ["Lexer"]

_TOKEN = re.compile(
    SKIP
    + r"""(?:
    (?P<number>0[xX][0-9a-fA-F_]++|0[bB][01_]++|0[oO][0-7_]++
        |(?:[0-9][0-9_]*+(?:\.[0-9_]*+)?|\.[0-9][0-9_]*+)(?:[eE][+-]?[0-9][0-9_]*+)?)
    |(?P<pragma>(?:\#|\bpragma\b)[^\n]*+)
    |(?P<word>[^\W\d]\w*+)
    |(?P<physical>\$[0-9]++)
    |(?P<string>"[^"\n]*+"|'[^'\n]*+')
    |(?P<open>/\*)
    |(?P<sign>->|\*\*=?|<<=?|>>=?|&&|\|\||\+\+|[-+*/%&|^~!=<>]=|[-+*/%&|^~!=<>(){}\[\],;:.@])
    |(?P<end>\Z)
    )""".replace("    ", "").replace("\n", ""),
)
TOKEN_CHARACTERS_MAX = 1000  # of a name or a number; longer ones are no float64 and no 64-bit integer


class Lexer:
    """A cursor over the source: `kind`, `value`, `at` describe the current token.

    kind: number, pragma, word, physical, string, sign or end. at: offset of its first character.
    stop: offset after it.
    """

    __slots__ = ("at", "kind", "source", "stop", "text", "value")

    def __init__(self, source: Source) -> None:
        self.source = source
        self.text = source.text
        self.stop = 0
        self.at = 0
        self.kind = ""
        self.value = ""

    def seek(self, offset: int) -> None:
        """Make the first token at or after `offset` the current one."""
        self.stop = offset
        self.next()

    def next(self) -> None:
        match = _TOKEN.match(self.text, self.stop)
        if match is None:
            self._no_token()
            return
        kind = match.lastgroup
        assert kind is not None
        self.kind = kind
        self.at, self.stop = match.span(kind)
        if self.stop - self.at > TOKEN_CHARACTERS_MAX and kind != "pragma":
            raise self.source.error(
                f"the {kind} that starts {shown(self.text[self.at : self.at + 12])} "
                f"has {self.stop - self.at} characters; "
                f"allowed 1 to {TOKEN_CHARACTERS_MAX}",
                self.at,
                limit=f"{TOKEN_CHARACTERS_MAX} characters",
            )
        self.value = match[kind]
        if kind == "open":
            raise self.source.error("comment '/*' is never closed; add '*/'", self.at)

    def _no_token(self) -> None:
        skipped = re.compile(SKIP).match(self.text, self.stop)
        at = skipped.end() if skipped else self.stop
        if self.text[at] in "\"'":
            raise self.source.error("string is not closed on its line", at)
        raise self.source.error(f"character {shown(self.text[at])} has no meaning here", at)

    def is_sign(self, sign: str) -> bool:
        return self.value == sign and self.kind == "sign"

    def is_word(self, word: str) -> bool:
        return self.value == word and self.kind == "word"

    def take(self, sign: str) -> bool:
        """Step over `sign` if it is the current token."""
        if self.value == sign and self.kind == "sign":
            self.next()
            return True
        return False

    def expect(self, sign: str, after: str) -> None:
        if not self.take(sign):
            raise self.unexpected(f"'{sign}' after {after}")

    def word(self, what: str) -> str:
        """Step over an identifier and return it."""
        if self.kind != "word":
            raise self.unexpected(what)
        name = self.value
        self.next()
        return name

    def unexpected(self, wanted: str) -> Exception:
        found = "end of file" if self.kind == "end" else shown(self.value)
        _, unversioned = self.source.version()
        hint = "; is this OpenQASM? It begins with: OPENQASM 3.0;" if unversioned else ""
        return self.source.error(f"found {found}; expected {wanted}{hint}", self.at)
