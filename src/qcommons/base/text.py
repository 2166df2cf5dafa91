"""Text of others made safe to show: on a terminal, in JSON that reaches one, inside a message.

Flow: names, titles, file contents, values of anybody -> *printable, json_printable, shown* -> people. A terminal obeys
what it reads: ESC and C1 characters move, recolour and answer, bidirectional marks reorder what is seen (Trojan Source,
CVE-2021-42574). None of them passes here; each is written as its escape.
"""

from __future__ import annotations

from typing import Any

__all__ = ["json_printable", "line", "printable", "shown"]

SHOWN = 60  # characters of a value in a message
# marks of our own answers -> what stands for them where the encoding has none (bar, standard error)
ASCII = {0x2588: "#", 0x00B1: "+-"}


def line(text: str) -> str:
    """One line that does nothing to a terminal: every control and format character is written as its escape."""
    if text.isprintable():  # letters, marks, digits, punctuation, symbols and the space; nothing of Cc, Cf, Cs, Zl, Zp
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable(text: str, encoding: str = "utf-8") -> str:
    """Several lines of that kind, in what `encoding` can show: our marks in ASCII where it has no better."""
    safe = text if text.isprintable() else "\n".join(map(line, text.split("\n")))
    try:
        safe.encode(encoding)
    except UnicodeEncodeError:
        return safe.translate(ASCII).encode(encoding, "backslashreplace").decode(encoding)
    return safe


def json_printable(text: str) -> str:
    """JSON text of one line whose strings do nothing to a terminal: the same value, such characters as \\uXXXX."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _unit_escapes(c) for c in text)


def _unit_escapes(character: str) -> str:
    """RFC 8259 section 7: an escape for each UTF-16 unit."""
    raw = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{raw[place] << 8 | raw[place + 1]:04x}" for place in range(0, len(raw), 2))


def shown(value: Any, characters: int = SHOWN) -> str:
    """The value as Python writes it, cut: for messages. An integer of thousands of digits has no such text."""
    try:
        text = line(repr(value))
    except ValueError:  # the limit of int to text (Python's sys.int_info)
        return f"{type(value).__name__} of thousands of digits"
    return text if len(text) <= characters else f"{text[: characters - 3]}..."
