"""`qcommons quote FILE`: what a run would take and cost, who would do it, and what a liar would get past.

Flow: *options* (those of `run` that say what is run and on which terms) -> `quoted`, imported when it runs.
"""

from __future__ import annotations

import argparse

from qcommons.clients.cli.run import OPTIONS as RUN_OPTIONS

__all__ = ["OPTIONS", "command"]

OF_ANSWERS = {"--out", "--detach", "--tag", "--embedded", "--quiet"}
OPTIONS = tuple(option for option in RUN_OPTIONS if option.flag not in OF_ANSWERS)


def command(args: argparse.Namespace) -> int:
    """Print the quote; 3 where it would be refused or nobody could run it now."""
    from qcommons.clients.cli import quoted

    return quoted.command(args)
