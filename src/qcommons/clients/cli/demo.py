"""`qcommons demo`: circuits of different kinds on five nodes with a liar and a crash, each answer beside the known one.

Flow: options -> `demo_mesh` (five nodes), or with --alone `demo_alone` (one node); imported when it runs.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
from collections.abc import Iterator

from qcommons.clients.cli.options import JSON, Option

__all__ = ["OPTIONS", "command"]

OPTIONS = (
    Option("--alone", None, "On one node instead of five: no mesh, no liar, no crash."),
    JSON,
)  # fmt: skip
ENDINGS = (signal.SIGTERM, signal.SIGHUP)


def command(args: argparse.Namespace) -> int:
    """Run it; 0 where everything is as it must be, 5 else."""
    with _tidy():
        if args.alone:
            from qcommons.clients.cli.demo_alone import run_alone

            return run_alone(as_json=args.json)
        from qcommons.clients.cli.demo_mesh import run_mesh

        return run_mesh(as_json=args.json)


@contextlib.contextmanager
def _tidy() -> Iterator[None]:
    """Whoever ends it, or closes its terminal, ends it as Ctrl-C does: the nodes are stopped, their homes removed."""
    before = [signal.signal(one, signal.default_int_handler) for one in ENDINGS]
    try:
        yield
    finally:
        for one, handler in zip(ENDINGS, before, strict=True):
            signal.signal(one, handler)
