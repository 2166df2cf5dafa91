"""`qcommons version`: what is installed."""

from __future__ import annotations

import argparse
import json
import platform
from importlib.metadata import version

from qcommons.clients.cli.options import JSON

__all__ = ["OPTIONS", "command"]

OPTIONS = (JSON,)


def command(args: argparse.Namespace) -> int:
    """Print the versions of qcommons and of Python."""
    if args.json:
        print(json.dumps({"qcommons": version("qcommons"), "python": platform.python_version()}))
    else:
        print(f"qcommons {version('qcommons')} (Python {platform.python_version()})")
    return 0
