"""The page `docs/cli.md`, from the same rows that the parser reads.

Regenerate: `python -m qcommons.clients.cli.page > docs/cli.md`. A test holds page and rows together.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from qcommons.clients.cli.main import COMMANDS, Command
from qcommons.clients.cli.options import Option
from qcommons.node.config import settings_help

__all__ = ["page"]

HEAD = """\
# The command line

<!-- Generated: python -m qcommons.clients.cli.page > docs/cli.md -->

`qcommons COMMAND [OPTIONS]`. Every command has `--help` and `--json`; with `--json` exactly one object
is printed on standard output, an error included (`error`: `who` must act, `what`, `where`, `limit`).
Output has no colour, so `NO_COLOR` is always honoured; it reaches the progress bar too.

| exit code | meaning |
|---|---|
| 0 | done |
| 2 | bad input: change it and try again |
| 3 | refused, with the numbers that refuse it |
| 4 | unavailable: something needed is not there, such as an engine's library; or `doctor` has a red finding |
| 5 | failed |
| 6 | cancelled |
"""
SETTINGS_HEAD = """
## Settings

A flag wins over the environment, the environment over the file, the file over the default.
`qcommons config show --origin` prints each value with its origin and the file's place.
`QCOMMONS_HOME` moves the folder that holds the file. `run` [in Python](python.md) honours them as well.
"""
SETTINGS_EXAMPLE = """
```toml
[limits]
memory = "8GiB"
seconds = "10m"
```
"""


def page() -> str:
    """The whole page as Markdown."""
    parts = [HEAD]
    parts += ["\n".join(_section(command)) + "\n" for command in COMMANDS]
    parts += [SETTINGS_HEAD, "\n" + settings_help() + "\n", SETTINGS_EXAMPLE]
    return "".join(parts)


def _section(command: Command) -> Iterator[str]:
    options: tuple[Option, ...] = importlib.import_module(command.module).OPTIONS
    yield f"\n## qcommons {command.name}\n"
    yield f"{command.help}\n"
    yield "| option | meaning |"
    yield "|---|---|"
    for option in options:
        value = f" {option.metavar}" if option.metavar and option.flag.startswith("-") else ""
        flag = option.flag if option.flag.startswith("-") else (option.metavar or option.flag)
        yield f"| `{flag}{value}` | {option.help.replace('|', chr(92) + '|')} |"


if __name__ == "__main__":
    print(page(), end="")
