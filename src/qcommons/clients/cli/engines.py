"""`qcommons engines`: what is installed, what each engine can do, how to install the rest.

Flow: engines.registry (looks without importing the libraries) and the constants that the node keeps
-> table or JSON. `--calibrate` measures the constants on this machine first.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from qcommons.clients.cli.options import JSON, Option
from qcommons.clients.cli.progress import patiently
from qcommons.jobs.text import printable
from qcommons.node.home import Home

if TYPE_CHECKING:
    from qcommons.engines.registry import EngineRow, MethodRow
    from qcommons.node.frames import Constants

__all__ = ["OPTIONS", "command"]

OPTIONS = (
    Option("--calibrate", None, "Measure the cost constants on this machine first (some seconds)."),
    JSON,
)


def command(args: argparse.Namespace) -> int:
    """Print one block an engine: version, methods, constants, or how to install it."""
    if args.calibrate:
        with patiently("measuring the engines of this machine", silent=args.json):
            _calibrate()
    measured = Home().constants()
    rows = describe(measured)
    if args.json:
        engines = [msgspec.to_builtins(row) | {"measured": row.name in measured} for row in rows]
        print(json.dumps({"engines": engines}))
    else:
        print(printable("\n\n".join("\n".join(_block(row, row.name in measured)) for row in rows)))
    return 0


def describe(measured: Constants) -> list[EngineRow]:
    """The rows; the libraries are looked at, not imported."""
    from qcommons.engines.registry import describe

    return list(describe(measured))


def _calibrate() -> None:
    from qcommons.node.config import load
    from qcommons.node.default import open_node

    with open_node(load()) as node:
        node.calibrate()


def _block(row: EngineRow, measured: bool) -> Iterator[str]:
    if row.error is not None:
        yield f"{row.name}: cannot be loaded\n  error      {row.error}"
        return
    yield f"{row.name} {row.version or 'not installed'} ({row.licence})"
    if row.version is None:
        yield f"  install    {row.install}"
    width = max((len(method.name) for method in row.methods), default=0)
    for method in row.methods:
        yield from _method(method, max(width, len("constants")))
    numbers = ", ".join(f"{name} {value:.3g}" for name, value in sorted(row.constants.items()))
    if numbers:
        yield f"  constants  {numbers} ({'measured here' if measured else 'defaults; --calibrate measures them'})"


def _method(method: MethodRow, width: int) -> Iterator[str]:
    yield f"  {method.name:<{width}}  {method.help}"
    able = [f"{', '.join(method.wants)}", f"{method.gates} gates", method.precision]
    able.append("measurement and branches inside" if method.dynamic else "measurement at the end only")
    able.append(f"noise {', '.join(method.noise)}" if method.noise else "no noise")
    indent = " " * (width + 4)
    yield f"{indent}{'; '.join(able)}"
    if method.cost_hint:
        yield f"{indent}cost: {method.cost_hint}"
