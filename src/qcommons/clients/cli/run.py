"""`qcommons run FILE`: one circuit, or a sweep over its inputs, through an embedded node.

Flow: options -> *run* -> a node (parse, plan, workers) -> jobs.text or JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qcommons.base.errors import UsageError
from qcommons.base.quantities import memory_bytes, seconds
from qcommons.clients.cli.inputs import bindings, observable, read_source, read_sweep
from qcommons.clients.cli.main import exit_code
from qcommons.clients.cli.options import JSON, Option, whole
from qcommons.clients.cli.progress import Progress
from qcommons.jobs.results import Result, Results
from qcommons.jobs.text import printable, render
from qcommons.node.config import load
from qcommons.node.default import open_node
from qcommons.node.edge import SHOTS_MAX
from qcommons.node.submission import SEED_MAX

__all__ = ["OPTIONS", "command"]

OPTIONS = (
    Option("file", "FILE", "OpenQASM 2 or 3; `-` reads standard input."),
    Option("--shots", "N", "Sample N times (1024 where nothing else is asked for).",
           kind=whole(1, SHOTS_MAX)),
    Option("--observable", "SUM", 'Expectation value of a Pauli sum, as in "ZZI + 0.5 XXI" or "Z0 Z3"; @FILE reads '
           "one. Exact without --shots. Repeatable.", repeat=True),
    Option("--amplitudes", "BITS", "Amplitudes of these bitstrings, as in 0101,1111; the rightmost is qubit 0."),
    Option("--statevector", None, "All amplitudes (20 qubits at most)."),
    Option("--bind", "NAME=VALUE", "Value of an input in radians, as in theta=0.3 or phi=pi/2. Repeatable.",
           repeat=True),
    Option("--sweep", "FILE", "Run once for each point of a JSON or CSV file of input values."),
    Option("--noise", "SPEC", "Noise, as in depolarizing:0.01+readout:0.02, or a device profile FILE.toml."),
    Option("--seed", "N", "Seed of all randomness; drawn and printed where not given.",
           kind=whole(0, SEED_MAX, "2^63-1")),
    Option("--engine", "NAME", "Use this engine; `qcommons engines` lists them."),
    Option("--method", "NAME", "Use this method of the engine."),
    Option("--deadline", "TIME", "End the job after this time, as in 60s or 5m."),
    Option("--memory", "SIZE", "Memory one run may use, as in 4GiB."),
    Option("--out", "FILE", "Also write the JSON object to this file."),
    JSON,
)  # fmt: skip


def command(args: argparse.Namespace) -> int:
    """Run the circuit and print its answer; returns the exit code of the first run that is not done."""
    settings = load(
        {
            "limits.memory": memory_bytes(args.memory, "--memory") if args.memory is not None else None,
            "limits.seconds": seconds(args.deadline, "--deadline") if args.deadline is not None else None,
        }
    )
    asked = _asked(args)
    source = read_source(args.file)
    with open_node(settings) as node, Progress() as progress:
        answer = node.run(source, progress=progress, **asked)
    _blame_the_sweep(args.sweep, answer)
    body = answer.to_dict()
    if args.out:
        _write(args.out, body)
    print(json.dumps(body) if args.json else printable(render(body)))
    runs = [answer] if isinstance(answer, Result) else list(answer)
    errors = [run.exception for run in runs if run.exception is not None]
    return exit_code(errors[0]) if errors else 0


def _blame_the_sweep(name: str | None, answer: Result | Results) -> None:
    """Every point has the same columns: where they do not fit the inputs, the file is at fault."""
    if name is not None and isinstance(answer, Results):
        errors = [run.exception for run in answer]
        first = errors[0]
        if isinstance(first, UsageError) and first.where == "bind" and None not in errors:
            raise UsageError(first.what, where=name, limit=first.limit)


def _asked(args: argparse.Namespace) -> dict[str, Any]:
    """Arguments of `run` from the options."""
    return {
        "shots": args.shots,
        "observable": [observable(item) for item in args.observable] or None,
        "amplitudes": args.amplitudes,
        "statevector": args.statevector,
        "bind": _points(args),
        "noise": args.noise,
        "seed": args.seed,
        "engine": args.engine,
        "method": args.method,
    }


def _points(args: argparse.Namespace) -> dict[str, float] | list[dict[str, float]] | None:
    fixed = bindings(args.bind)
    if not args.sweep:
        return fixed or None
    points = read_sweep(args.sweep)
    twice = sorted(set(fixed) & set(points[0]))
    if twice:
        raise UsageError(f"{', '.join(twice)} both in --bind and in the sweep", where="--bind")
    return [fixed | point for point in points]


def _write(name: str, body: Mapping[str, Any]) -> None:
    try:
        Path(name).write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write the file: {error.strerror}", where=f"--out {name}") from None
