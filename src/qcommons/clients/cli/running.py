"""What `qcommons run` does: the circuit, the inputs, the node that runs it, the answer.

Flow: `run` (its options) -> *command* -> the node of this home where one runs, else an
embedded one (parse, plan, workers) -> answer.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from qcommons.base.clock import deadline_ns, left_s
from qcommons.base.errors import Unavailable, UsageError
from qcommons.base.quantities import memory_bytes, seconds
from qcommons.clients.cli.answer import show, uncollected
from qcommons.clients.cli.inputs import bindings, observable, read_source, read_sweep
from qcommons.clients.cli.mesh_job import say_who
from qcommons.clients.cli.progress import Progress
from qcommons.clients.cli.through import find_node, wait
from qcommons.jobs.results import Result, Results
from qcommons.node.config import Settings, load
from qcommons.node.terms import terms_of

if TYPE_CHECKING:
    from qcommons.clients.http.node import Node
    from qcommons.node.frames import Trying

__all__ = ["command", "request"]

READ_MAX_S = 1e6  # nobody waits longer for a FIFO


def command(args: argparse.Namespace) -> int:
    """Run the circuit and print its answer; returns the exit code of the first run that is not done."""
    settings = _settings(args)
    _check(args)
    with uncollected():
        return _run(args, settings)


def request(args: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """The program and the other arguments of `Node.run` that a command line asks for. Raises UsageError."""
    settings = _settings(args)
    terms_of(**_terms(args))
    until_ns = _until_ns(settings)
    asked = _asked(args, until_ns) | _terms(args) | _limits(settings)
    return read_source(args.file, left_s(until_ns, time.monotonic_ns())), asked


def _settings(args: argparse.Namespace) -> Settings:
    return load(
        {
            "limits.memory": memory_bytes(args.memory, "--memory") if args.memory is not None else None,
            "limits.seconds": seconds(args.deadline, "--deadline") if args.deadline is not None else None,
        }
    )


def _until_ns(settings: Settings) -> int:
    """Until then files that are read must have come to their end."""
    return deadline_ns(time.monotonic_ns(), min(float(settings["limits.seconds"].value), READ_MAX_S))


def _run(args: argparse.Namespace, settings: Settings) -> int:
    until_ns = _until_ns(settings)
    asked = _asked(args, until_ns)
    source = read_source(args.file, left_s(until_ns, time.monotonic_ns()))
    node = find_node(args)
    if node is not None:
        with node:
            return _through(node, source, asked | _terms(args) | _limits(settings), args)
    needing = next((name for name, given in _needing(args) if given), None)
    if needing:
        raise Unavailable("no node runs here; start one: qcommons up -d", where=needing)
    from qcommons.node.default import open_node

    with open_node(settings) as embedded, _progress(args) as progress:
        answer = embedded.run(source, progress=progress, on_trying=_naming(progress), **asked)
    _blame_the_sweep(args.sweep, answer)
    return show(answer, as_json=args.json, out=args.out)


def _needing(args: argparse.Namespace) -> Iterator[tuple[str, bool]]:
    """Options that no run without a node can honour, and whether they are given."""
    yield "--on mesh", args.on == "mesh"
    yield "--detach", bool(args.detach)
    yield "--tag", bool(args.tag)
    yield "--purpose", args.purpose is not None


def _terms(args: argparse.Namespace) -> dict[str, Any]:
    """Where and on which terms it runs; what was not said is the node's default."""
    found = {name: getattr(args, name) for name in ("on", "assurance", "egress", "peers", "budget", "purpose", "plan")}
    return {name: value for name, value in found.items() if value is not None}


def _check(args: argparse.Namespace) -> None:
    """Options that say opposite things."""
    terms_of(**_terms(args))
    if args.on == "mesh" and args.embedded:
        raise UsageError("--on mesh needs a node, and --embedded runs without one; leave one out", where="--on")
    for one, other in (("detach", "embedded"), ("node", "embedded"), ("detach", "out")):
        if getattr(args, one) and getattr(args, other):
            raise UsageError(f"--{one} and --{other} cannot go together; leave one out", where=f"--{one}")


def _through(node: Node, source: Any, asked: dict[str, Any], args: argparse.Namespace) -> int:
    job = node.submit(source, tags=args.tag, **asked)
    if args.detach:
        print(json.dumps({"job": job.id, "status": "accepted", "node": node.target.url}) if args.json else job.id)
        return 0
    with _progress(args) as progress:
        answer = wait(node, job, progress)
    _blame_the_sweep(args.sweep, answer)
    code = show(answer, as_json=args.json, out=args.out, job=job.id)
    if not args.json:
        say_who(job)
    return code


def _progress(args: argparse.Namespace) -> Progress:
    """Whoever reads JSON reads standard error for mistakes only."""
    return Progress(silent=args.quiet or (args.json and not (sys.stderr and sys.stderr.isatty())))


def _naming(progress: Progress) -> Callable[[Trying], None]:
    """Tells the bar what a worker is at, and how long that is predicted to take."""

    def tried(trying: Trying) -> None:
        from qcommons.node.views import attempt_name

        progress.name(f"running {attempt_name(trying.engine, trying.method, trying.seconds, certain=trying.certain)}")

    return tried


def _limits(settings: Settings) -> dict[str, Any]:
    """Limits that this command line or its environment set; what the file says, the node knows itself."""
    given = {
        "deadline_s": settings["limits.seconds"],
        "memory_bytes": settings["limits.memory"],
    }
    return {name: value.value for name, value in given.items() if value.origin.startswith(("flag", "environment"))}


def _blame_the_sweep(name: str | None, answer: Result | Results) -> None:
    """Every point has the same columns: where they do not fit the inputs, the file is at fault."""
    if name is not None and isinstance(answer, Results):
        first = answer[0].exception
        if isinstance(first, UsageError) and first.where == "bind" and all(run.status != "done" for run in answer):
            raise UsageError(first.what, where=name, limit=first.limit)


def _asked(args: argparse.Namespace, until_ns: int) -> dict[str, Any]:
    """Arguments of `run` from the options. until_ns: until then a FIFO among the files must end."""
    return {
        "shots": args.shots,
        "observable": [observable(item, left_s(until_ns, time.monotonic_ns())) for item in args.observable] or None,
        "amplitudes": args.amplitudes,
        "statevector": args.statevector,
        "bind": _points(args, until_ns),
        "noise": args.noise,
        "seed": args.seed,
        "engine": args.engine,
        "method": args.method,
    }


def _points(args: argparse.Namespace, until_ns: int) -> dict[str, float] | list[dict[str, float]] | None:
    fixed = bindings(args.bind)
    if not args.sweep:
        return fixed or None
    points = read_sweep(args.sweep, left_s(until_ns, time.monotonic_ns()))
    twice = sorted(set(fixed) & set(points[0]))
    if twice:
        raise UsageError(f"{', '.join(twice)} both in --bind and in the sweep", where="--bind")
    return [fixed | point for point in points]
