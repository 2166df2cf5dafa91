"""`qcommons config`: every setting, its value and who set it; setting and unsetting them in the config file.

Flow: options -> the node where one runs, so that a change applies at once; else node.config -> the file.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING

import msgspec

from qcommons.base.errors import Unavailable
from qcommons.clients.cli.asking import connect, say
from qcommons.clients.cli.main import error_object
from qcommons.clients.cli.options import JSON, NODE, Option
from qcommons.jobs.text import printable
from qcommons.node.home import LOCK_FILE, home_path
from qcommons.node.lock import read_lock

if TYPE_CHECKING:
    from qcommons.node.api.records import SettingView

__all__ = ["WORDS"]

KEY = Option("key", "KEY", "The setting, as in limits.hours; `qcommons config show` lists them.")
SHOW = (Option("--origin", None, "Say where each value comes from: flag, environment, file or default."), JSON)
WHEN = {"now": "applies now", "restart": "applies after a restart of the node: qcommons down, qcommons up -d"}


def _show(args: argparse.Namespace) -> int:
    """Print the settings that a command run now would use, and what is wrong with those that it would not take.

    Exit code 2 where something is wrong: then no other command runs with these settings.
    """
    from qcommons.node.config import SETTINGS, config_path, survey

    values, troubles = survey()
    if args.json:
        rows = {
            row.key: {"value": values[row.key].value, "unit": row.unit, "origin": values[row.key].origin}
            for row in SETTINGS
        }
        errors = [error_object(error.who, error.what, error.where, error.limit) for error in troubles]
        print(json.dumps({"file": str(config_path()), "settings": rows, "errors": errors}))
        return 2 if troubles else 0
    head = f"# {config_path()}{'' if config_path().exists() else ' (not there; every setting has a default)'}"
    print(printable(head))
    for row in SETTINGS:
        value, origin = values[row.key]
        words = f"{row.key:<18} = {row.show(value):<10}" + (f"  # {origin}" if args.origin else f"  # {row.help}")
        print(printable(words))
    for error in troubles:
        print(printable(f"qcommons: {error}"), file=sys.stderr)
    return 2 if troubles else 0


def _set(args: argparse.Namespace) -> int:
    """Write one setting."""
    return _change(args, args.value)


def _unset(args: argparse.Namespace) -> int:
    """Take one setting out of the file."""
    return _change(args, None)


def _change(args: argparse.Namespace, text: str | None) -> int:
    """Through the node where one runs here or is named, else in the file itself."""
    named = args.node or os.environ.get("QCOMMONS_NODE")
    if named or read_lock(home_path() / LOCK_FILE) is not None:
        try:
            with connect(args) as node:
                view = node.set_setting(args.key, text)
                return _said(args, view, WHEN[view.applies], text)
        except Unavailable:
            if named:
                raise
    from qcommons.node.api.records import SettingView
    from qcommons.node.config import SETTINGS, load, set_value, unset

    if text is None:
        unset(args.key)
    else:
        set_value(args.key, text)
    row = next(row for row in SETTINGS if args.key in (row.key, row.also))
    value, origin = load()[row.key]
    view = SettingView(
        key=row.key, value=value, text=row.show(value), unit=row.unit, origin=origin, applies="restart"
    )  # fmt: skip
    return _said(args, view, "applies to the next command and the next start of a node", text)


def _said(args: argparse.Namespace, view: SettingView, when: str, text: str | None) -> int:
    """Also where the environment wins over what was just written."""
    if text is not None and view.origin.startswith("environment"):
        when = f"the file is written, but the {view.origin} wins over it"
    say(args, msgspec.to_builtins(view) | {"says": when}, [f"{view.key} = {view.text}  # {view.origin}; {when}"])
    return 0


WORDS = {
    "config": (SHOW, _show),
    "config show": (SHOW, _show),
    "config set": (
        (KEY, Option("value", "VALUE", 'The value, as in 8GiB or "Mon-Fri 18:00-08:00".'), NODE, JSON),
        _set,
    ),
    "config unset": ((KEY, NODE, JSON), _unset),
}
