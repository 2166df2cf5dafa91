"""`qcommons config show`: every setting, its value, and with `--origin` who set it."""

from __future__ import annotations

import argparse
import json

from qcommons.clients.cli.options import JSON, Option
from qcommons.node.config import SETTINGS, config_path, load

__all__ = ["OPTIONS", "command"]

OPTIONS = (
    Option("action", "show", "What to do; `show` prints the settings.", choices=("show",)),
    Option("--origin", None, "Say where each value comes from: flag, environment, file or default."),
    JSON,
)


def command(args: argparse.Namespace) -> int:
    """Print the settings that a command run now would use."""
    values = load()
    if args.json:
        rows = {
            row.key: {"value": values[row.key].value, "unit": row.unit, "origin": values[row.key].origin}
            for row in SETTINGS
        }
        print(json.dumps({"file": str(config_path()), "settings": rows}))
        return 0
    print(f"# {config_path()}{'' if config_path().exists() else ' (not there; every setting has a default)'}")
    for row in SETTINGS:
        value, origin = values[row.key]
        print(f"{row.key:<18} = {row.show(value):<10}" + (f"  # {origin}" if args.origin else f"  # {row.help}"))
    return 0
