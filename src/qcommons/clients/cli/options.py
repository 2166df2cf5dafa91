"""Options as rows of data: one table gives the parser, the help and the page `docs/cli.md`.

Flow: a command's `OPTIONS` -> *parser* -> namespace -> the command.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple, NoReturn

from qcommons.base.errors import UsageError
from qcommons.base.quantities import seconds
from qcommons.base.text import shown

__all__ = ["JSON", "NODE", "Option", "build_parser", "span", "whole"]

POWER = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,20})?[eE]\+?[0-9]{1,2}")
DAYS = {"d": 24, "w": 7 * 24}  # hours of what people write for longer times


class Option(NamedTuple):
    """One option or argument.

    flag: "--shots", or a bare word for an argument. metavar: how its value is called; None for a
    switch. help: one line. repeat: may be given several times. kind: text -> value, raising
    ArgumentTypeError. optional: an argument that may be left out. choices: allowed words. short: "-n".
    required: an option that must be given.
    """

    flag: str
    metavar: str | None
    help: str
    repeat: bool = False
    kind: Any = str
    optional: bool = False
    choices: tuple[str, ...] | None = None
    short: str = ""
    required: bool = False


JSON = Option("--json", None, "Print one JSON object on standard output.")
NODE = Option("--node", "URL", "Ask the node at this address (http://... or unix:PATH, token in QCOMMONS_TOKEN) "
              "instead of the one of this home.")  # fmt: skip


def whole(low: int, high: int, as_text: str = "") -> Callable[[str], int]:
    """The kind of an option that takes an integer from low to high, also as 1e6; `as_text`: high as people read it."""

    def read(text: str) -> int:
        power = POWER.fullmatch(text)
        try:
            value = int(Decimal(text)) if power else int(text)
        except ValueError:  # no integer, or thousands of digits
            value = low - 1
        if not low <= value <= high or (power and value != Decimal(text)):
            raise argparse.ArgumentTypeError(f"{shown(text, 40)}; allowed are integers from {low} to {as_text or high}")
        return value

    return read


def span(text: str) -> float:
    """Seconds of "90s", "30m", "2h", "7d" or "2w"."""
    hours = DAYS.get(text[-1:], 0)
    try:
        return seconds(text[:-1] + "h", "") * hours if hours else seconds(text, "")
    except UsageError:
        raise argparse.ArgumentTypeError(f"{shown(text, 40)}; write a time, as in 30s, 10m, 2h or 7d") from None


class Parser(argparse.ArgumentParser):
    """argparse, but a wrong option raises our error in place of leaving the process, and a value may begin with "-"."""

    def parse_args(self, words: Sequence[str]) -> argparse.Namespace:  # type: ignore[override]  # the one form we use
        return super().parse_args(self._joined(words))

    def _joined(self, words: Sequence[str]) -> list[str]:
        """`--observable -ZZ` as `--observable=-ZZ`: a word after an option that takes a value, if it is no option."""
        taking = {flag for action in self._actions if action.nargs is None for flag in action.option_strings}
        known = {flag for action in self._actions for flag in action.option_strings}
        joined: list[str] = []
        for word in words:
            last = joined[-1] if joined else ""
            value = len(word) > 1 and word[0] == "-" and word[1] != "-" and word not in known
            if value and last.startswith("--") and last in taking and "--" not in joined:
                joined[-1] = f"{last}={word}"
            else:
                joined.append(word)
        return joined

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
            if option.repeat and not option.flag.startswith("-"):
                settings["nargs"] = "+"
            elif option.repeat:
                settings |= {"action": "append", "default": []}
            if option.optional:
                settings["nargs"] = "?"
            if option.required:
                settings["required"] = True
        parser.add_argument(*filter(None, (option.short, option.flag)), **settings)
    return parser
