"""A place for secrets on a terminal: shown, and gone when the reader has gone on.

Flow: `keys backup`, `keys restore` -> *screen* (the terminal's other screen, which no scrollback keeps) -> a person.
Nothing here goes to a pipe or a file.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from qcommons.base.errors import UsageError

__all__ = ["ask", "need_terminal", "screen"]

# xterm's "alternate screen buffer" (DECSET 1049), then the cursor at its top; every usual terminal has it
ENTER, LEAVE = "\x1b[?1049h\x1b[2J\x1b[H", "\x1b[2J\x1b[?1049l"
LINE_CHARS_MAX = 4096


def need_terminal(what: str, instead: str = "") -> None:
    """Raises UsageError unless a person sits at both ends. what: that needs one, as a sentence begins."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        hint = f", or {instead}" if instead else ""
        raise UsageError(f"{what} on a terminal only, never to a pipe or a file; run it in one{hint}", where="terminal")


@contextlib.contextmanager
def screen() -> Iterator[None]:
    """Everything printed meanwhile is gone afterwards, also on Ctrl-C; not on a terminal that cannot do that."""
    able = os.environ.get("TERM", "dumb") != "dumb"
    if able:
        sys.stdout.write(ENTER)
    try:
        yield
    finally:
        if able:
            sys.stdout.write(LEAVE)
        sys.stdout.flush()


def ask(question: str) -> str:
    """One line that a person typed, without its end. Raises UsageError where the input ends."""
    sys.stdout.write(question)
    sys.stdout.flush()
    line = sys.stdin.readline(LINE_CHARS_MAX)
    if not line.endswith("\n"):
        raise UsageError("the input ended, or its line is too long; nothing was done", where="terminal")
    return line.strip()
