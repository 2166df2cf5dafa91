"""`qcommons job`: one job: its states, its answer, its receipt, its end.

Flow: id (its beginning will do) -> node -> *job* -> text, JSON or a file.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from qcommons.base.clock import deadline_ns, duration_text, is_past
from qcommons.base.errors import Unavailable, UsageError
from qcommons.clients.cli.asking import ago, connect, count, full_id, left, moment, say
from qcommons.clients.cli.attempts import attempt_lines, rest_text
from qcommons.clients.cli.mesh_job import mesh_lines, say_who
from qcommons.clients.cli.options import JSON, NODE, Option, span, whole

if TYPE_CHECKING:
    from qcommons.clients.http.node import Job
    from qcommons.node.api.records import JobView

__all__ = ["WORDS"]

ID = Option("id", "ID", "The job's id, or its beginning where only one recent job begins so.")
SIGNING_S = 5.0  # the node says: within a second
PAUSE_S = 0.1


def _job(args: argparse.Namespace) -> int:
    """Print what the node knows of the job."""
    with connect(args) as node:
        view = node.job(full_id(node, args.id)).view()
    say(args, view, _lines(view))
    return 0


def _lines(view: JobView) -> Iterator[str]:
    yield f"{view.id}  {view.state}: {view.cause}"
    shots = f", {count(view.shots, 'shot')}" if view.shots else ""
    yield f"  program    {view.title}, {count(view.n_qubits, 'qubit')}{shots}"
    yield f"  for        {view.principal}" + (f" [{', '.join(view.tags)}]" if view.tags else "")
    yield f"  answered   {view.answered} of {count(view.runs, 'run')}"
    if view.state == "running":
        yield from _running(view)
    yield from mesh_lines(view.mesh, view.hired)
    yield f"  submitted  {ago(view.submitted_ns)} ({moment(view.submitted_ns)})"
    if view.ended_ns is None:
        yield f"  deadline   {left(view.deadline_ns)}"
    else:
        yield f"  ended      {ago(view.ended_ns)}"
    for phase in view.timeline:
        after = duration_text(max(0, phase.since_ns - view.submitted_ns))
        yield f"  {'+' + after:>12}  {phase.state:<10} {phase.cause}"


def _running(view: JobView) -> Iterator[str]:
    """What is done for it, since when, and how long that is predicted to take."""
    now_ns = time.time_ns()
    for text in attempt_lines(view.attempts, view.runs, now_ns):
        yield f"  at         {text}"
    rest = rest_text(view.answered, view.runs, max(0, now_ns - view.since_ns))
    if rest:
        yield f"  rest       {rest}"
    if not view.attempts and not rest:
        yield "  at         planning, loading the engine, or waiting for a free worker"


def _result(args: argparse.Namespace) -> int:
    """Print the answer as `run` does; waits for it where asked to."""
    from qcommons.clients.cli.answer import show

    with connect(args) as node:
        job = node.job(full_id(node, args.id))
        try:
            answer = job.result(timeout=args.wait or 0.0)
        except Unavailable as error:
            if error.where == "timeout":  # nobody is at fault, and no number refuses it
                error.exit_code = Unavailable.exit_code
            vars(error)["job"] = job.id
            raise
        except UsageError as error:
            vars(error)["job"] = job.id
            raise
        code = show(answer, as_json=args.json, out=args.out, job=job.id)
        if not args.json:
            say_who(job)
    return code


def _cancel(args: argparse.Namespace) -> int:
    """Cancel the job; one that has ended stays as it is."""
    with connect(args) as node:
        job = node.job(full_id(node, args.id))
        before = job.view()
        view = job.cancel("cancelled by its owner" if args.cause is None else args.cause)
    ended = before.ended_ns is not None
    said = f"{view.id} had ended already: {view.state}" if ended else f"{view.id} is {view.state}: {view.cause}"
    say(args, view, [said])
    return 0


def _receipt(args: argparse.Namespace) -> int:
    """Write the signed receipt of one run."""
    with connect(args) as node:
        job_id = full_id(node, args.id)
        data = _signed(node.job(job_id), args.run or 0)
    name = args.out or f"{job_id}.{args.run or 0}.receipt"
    if name == "-":
        sys.stdout.buffer.write(data)
        return 0
    try:
        Path(name).write_bytes(data)
    except OSError as error:
        raise UsageError(f"cannot write the file: {error.strerror}", where=f"--out {name}") from None
    path = os.fspath(Path(name))
    body = {"job": job_id, "run": args.run or 0, "file": path, "bytes": len(data)}
    say(args, body, [f"{path}: {len(data)} bytes. Check it: qcommons receipt check {shlex.quote(path)}"])
    return 0


def _signed(job: Job, run: int) -> bytes:
    """Receipts are signed in batches, just after the end of their jobs: wait that long."""
    until_ns = deadline_ns(time.monotonic_ns(), SIGNING_S)
    while True:
        try:
            return job.receipt(run)
        except Unavailable as error:
            late = is_past(until_ns, time.monotonic_ns())
            if error.where != "receipt" or late or job.view().ended_ns is None:
                raise
            time.sleep(PAUSE_S)


WORDS = {
    "job": ((ID, NODE, JSON), _job),
    "job result": (
        (
            ID,
            Option("--wait", "TIME", "Wait so long for its end, as in 30s or 2h; without it, do not wait.", kind=span),
            Option("--out", "FILE", "Also write the JSON object to this file."),
            NODE,
            JSON,
        ),
        _result,
    ),
    "job cancel": ((ID, Option("--cause", "TEXT", "Why; kept with the job."), NODE, JSON), _cancel),
    "job receipt": (
        (
            ID,
            Option("--run", "K", "Which run of the job, from 0 (0).", kind=whole(0, 10**9)),
            Option("--out", "FILE", "Where to (ID.K.receipt in this folder); `-` is standard output."),
            NODE,
            JSON,
        ),
        _receipt,
    ),
}
