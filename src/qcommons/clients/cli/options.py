"""Options as rows of data: one table gives the parser, the help and the page `docs/cli.md`.

Flow: a command's `OPTIONS` -> *parser* -> namespace -> the command.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

from qcommons.base.errors import UsageError

__all__ = ["JSON", "Option", "build_parser", "whole"]


class Option(NamedTuple):
    """One option or argument.

    flag: "--shots", or a bare word for an argument. metavar: how its value is called; None for a
    switch. help: one line. repeat: may be given several times. kind: text -> value, raising
    ArgumentTypeError. optional: an argument that may be left out. choices: allowed words.
    """

    flag: str
    metavar: str | None
    help: str
    repeat: bool = False
    kind: Any = str
    optional: bool = False
    choices: tuple[str, ...] | None = None


JSON = Option("--json", None, "Print one JSON object on standard output.")


def whole(low: int, high: int, shown: str = "") -> Callable[[str], int]:
    """The kind of an option that takes an integer from low to high; `shown`: high as people read it."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:  # no integer, or thousands of digits
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text[:40]!r}; allowed are integers from {low} to {shown or high}")
        return value

    return read


class Parser(argparse.ArgumentParser):
    """argparse, but a wrong option raises our error in place of leaving the process."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}. See: {self.prog} --help", where="command line")


def build_parser(name: str, help_text: str, options: Sequence[Option]) -> argparse.ArgumentParser:
    """The parser of one command. Values land under the flag's name with underscores."""
    parser = Parser(prog=f"qcommons {name}", description=help_text, allow_abbrev=False)
    for option in options:
        settings: dict[str, Any] = {"help": option.help}
        if option.metavar is None:
            settings["action"] = "store_true"
        else:
            settings |= {"metavar": option.metavar, "type": option.kind, "choices": option.choices}
            if option.repeat:
                settings |= {"action": "append", "default": []}
            if option.optional:
                settings["nargs"] = "?"
        parser.add_argument(option.flag, **settings)
    return parser
