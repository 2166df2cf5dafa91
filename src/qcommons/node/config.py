"""Settings: what a person may set, where each value came from.

Flow: flag or argument > environment > config file > default -> *settings* -> `default.open_node`.
The file is TOML, `config.toml` in the node's home; an unknown key in it is an error, so that a
typing mistake never passes silently. One row of `SETTINGS` is one setting.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from qcommons.base.clock import seconds_text
from qcommons.base.errors import UsageError
from qcommons.base.quantities import memory_bytes, seconds
from qcommons.base.units import bytes_text
from qcommons.circuits.program import DEFAULT_CAPS
from qcommons.node.home import home_path
from qcommons.node.memory import default_limit_bytes
from qcommons.node.workers import default_size

__all__ = ["DEADLINE_S", "SETTINGS", "Setting", "Settings", "Value", "config_path", "load", "settings_help"]

DEADLINE_S = 3600.0  # everything ends; a longer job says so
COUNT_MAX = 10**9
CONFIG_BYTES_MAX = 1 << 20  # a settings file is a page, not a database


class Setting(NamedTuple):
    """One row.

    key: "section.name" in the file. env: environment variable. unit: of the stored value.
    default: gives the value where nobody sets it. read: (text, where) -> value, raising UsageError.
    show: value -> text for people.
    """

    key: str
    env: str
    unit: str
    default: Callable[[], float]
    read: Callable[[str, str], float]
    show: Callable[[Any], str]
    help: str


class Value(NamedTuple):
    """A setting's value and where it came from: "flag --x", "environment X", "file PATH", "default"."""

    value: float
    origin: str


Settings = Mapping[str, Value]  # key of a row -> its value


def _memory_default_bytes() -> int:
    return default_limit_bytes(1)


def _count(text: str, where: str) -> int:
    value = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(COUNT_MAX)) else 0
    if not 1 <= value <= COUNT_MAX:
        raise UsageError(f"cannot read {text[:40]!r}; write an integer from 1 to {COUNT_MAX}", where=where)
    return value


SETTINGS: tuple[Setting, ...] = (
    Setting("limits.memory", "QCOMMONS_MEMORY", "bytes", _memory_default_bytes, memory_bytes, bytes_text,
            "memory one run may use; default 80 % of what is free, divided where several run at once"),
    Setting("limits.seconds", "QCOMMONS_SECONDS", "s", lambda: DEADLINE_S, seconds, seconds_text,
            "deadline of a job from its submission"),
    Setting("limits.operations", "QCOMMONS_OPERATIONS", "operations", lambda: DEFAULT_CAPS.operations_max, _count, str,
            "most operations a program may have once loops and gate definitions are expanded"),
    Setting("limits.workers", "QCOMMONS_WORKERS", "processes", default_size, _count, str,
            "worker processes, one thread each"),
)  # fmt: skip


def config_path() -> Path:
    """The config file of this user; it need not exist."""
    return home_path() / "config.toml"


def load(
    flags: Mapping[str, float | None] | None = None,
    environ: Mapping[str, str] | None = None,
    path: Path | None = None,
) -> dict[str, Value]:
    """Every setting with its origin.

    Args:
        flags: key -> value already read from the command line; None where the flag was not given.
        environ: the environment; the process's own where None.
        path: the config file; the user's own where None.

    Raises:
        UsageError: an unreadable file, an unknown key, a value out of range; `where` names it.
    """
    flags = flags or {}
    environ = os.environ if environ is None else environ
    path = config_path() if path is None else path
    filed = _read_file(path)
    return {row.key: _choose(row, flags, environ, filed, path) for row in SETTINGS}


def _choose(
    row: Setting,
    flags: Mapping[str, float | None],
    environ: Mapping[str, str],
    filed: Mapping[str, str],
    path: Path,
) -> Value:
    flag = flags.get(row.key)
    if flag is not None:
        return Value(flag, f"flag --{row.key.rpartition('.')[2]}")
    if row.env in environ:
        return Value(row.read(environ[row.env], row.env), f"environment {row.env}")
    if row.key in filed:
        return Value(row.read(filed[row.key], f"{path}: {row.key}"), f"file {path}")
    return Value(row.default(), "default")


def _read_file(path: Path) -> dict[str, str]:
    """Flat key -> text of the value, every key known."""
    try:
        if path.exists() and not path.is_file():  # a FIFO would never answer
            raise UsageError("the config file is no regular file", where=str(path))
        with path.open("rb") as file:
            raw = file.read(CONFIG_BYTES_MAX + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"cannot read the config file: {error.strerror}", where=str(path)) from None
    if len(raw) > CONFIG_BYTES_MAX:
        raise UsageError("the config file is too long", where=str(path), limit=f"{CONFIG_BYTES_MAX} bytes")
    try:
        tree = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"the config file is not TOML: {error}", where=str(path)) from None
    known = {row.key for row in SETTINGS}
    flat: dict[str, str] = {}
    for section, entries in tree.items():
        for name, value in (entries if isinstance(entries, dict) else {"": entries}).items():
            key = f"{section}.{name}" if name else section
            if key not in known or isinstance(value, (dict, list)):
                raise UsageError(f"unknown setting {key!r}; there are: {', '.join(sorted(known))}", where=str(path))
            flat[key] = str(value)
    return flat


def settings_help() -> str:
    """A Markdown table of the settings, for the documentation."""
    lines = ["| key | environment | unit | meaning |", "|---|---|---|---|"]
    lines += [f"| `{row.key}` | `{row.env}` | {row.unit} | {row.help} |" for row in SETTINGS]
    return "\n".join(lines)
