"""The text being read and the places in it: every refusal names file, line and column.

Flow: bytes -> *Source* -> lexer -> parser -> builder -> Program.
"""

from __future__ import annotations

import re

from qcommons.base.errors import UsageError
from qcommons.circuits.program import Caps

__all__ = ["SKIP", "Source", "shown"]

BOM = b"\xef\xbb\xbf"  # how some editors begin a UTF-8 file
GUESS_CHARACTERS = 1 << 20  # how far words are looked at where no OPENQASM line says the version
_THREE_WORDS = re.compile(
    r'//[^\n]*+|/\*(?:.*?\*/|.*)|"[^"\n]*+"'
    r"|\b(?P<three>(?:qubit|bit|input|output|const|ctrl|negctrl|inv|gphase|let|for|def|while)(?=\s|\[|\(|@)|=\s*measure\b)",
    re.DOTALL,
)
SKIP = r"(?:\s++|//[^\n]*+|/\*(?s:.*?)\*/)*+"  # blanks and comments
_SKIP = re.compile(SKIP)
_VERSION = re.compile(r"OPENQASM\s++(?P<version>[0-9]++(?:\.[0-9]++)?+)\s*+;")


def shown(text: str, length: int = 40) -> str:
    """The offending text as a short, printable quotation."""
    cut = text if len(text) <= length else text[:length] + "..."
    return ascii(cut) if not cut.isprintable() else f"'{cut}'"


class Source:
    """Decoded text with its name; `text` is never larger than the caps allow.

    Raises:
        UsageError: too long, or not UTF-8 (with byte offset, line and column).
    """

    def __init__(self, source: str | bytes, filename: str, caps: Caps) -> None:
        self.filename = filename
        source = source.removeprefix(BOM) if isinstance(source, bytes) else source.removeprefix(BOM.decode())
        size = len(source)
        if size > caps.bytes_max:
            raise UsageError(
                f"the source is {size} bytes long; allowed 0 to {caps.bytes_max}",
                where=filename,
                limit=f"{caps.bytes_max} bytes",
            )
        self.ascii = source.isascii()
        # One character beyond ASCII makes the whole text take up to four bytes a character.
        if not self.ascii and size > caps.bytes_max // 4:
            if isinstance(source, bytes):
                self._decode(source[: 1 << 20], partial=True)
            raise UsageError(
                f"the source is {size} bytes long and not plain ASCII; then {caps.bytes_max // 4} are allowed",
                where=filename,
                limit=f"{caps.bytes_max // 4} bytes",
            )
        self.text = source if isinstance(source, str) else self._decode(source)

    def _decode(self, source: bytes, partial: bool = False) -> str:
        try:
            return source.decode("utf-8")
        except UnicodeDecodeError as error:
            at = error.start
            if partial and at > len(source) - 4:  # the cut itself may split a character
                return ""
            line = source.count(b"\n", 0, at) + 1
            column = at - source.rfind(b"\n", 0, at)
            raise UsageError(
                f"byte 0x{source[at]:02x} at offset {at} is not UTF-8; save the file as UTF-8",
                where=f"{self.filename}:{line}:{column}",
            ) from None

    def place(self, at: int) -> str:
        """`file:line:column` of a character offset, both counted from 1."""
        line = self.text.count("\n", 0, at) + 1
        column = at - self.text.rfind("\n", 0, at)
        return f"{self.filename}:{line}:{column}"

    def error(self, what: str, at: int, *, limit: str | None = None) -> UsageError:
        return UsageError(what, where=self.place(at), limit=limit)

    def version(self) -> tuple[str, str | None]:
        """("2" or "3", a note where it had to be guessed)."""
        skipped = _SKIP.match(self.text)
        start = skipped.end() if skipped else 0
        if self.text.startswith("/*", start):
            raise self.error("comment '/*' is never closed; add '*/'", start)
        match = _VERSION.match(self.text, start)
        if match:
            major = match["version"].split(".")[0]
            if major not in ("2", "3"):
                at = match.start("version")
                raise self.error(f"OPENQASM {shown(match['version'])} is not known; 2.x and 3.x are", at, limit="2, 3")
            return major, None
        for found in _THREE_WORDS.finditer(self.text, 0, GUESS_CHARACTERS):
            if found["three"]:
                word = found["three"].split()[-1]
                return "3", f"no OPENQASM line: read as OpenQASM 3 because of {word!r}"
        return "2", "no OPENQASM line: read as OpenQASM 2"
