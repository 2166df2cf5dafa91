"""A run through a node: which node, waiting for the answer, Ctrl-C, and a node that goes away meanwhile.

Flow: run -> *find_node* -> Node.submit -> *wait* -> Result, Results. Errors after the submission carry the job's id.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING

from qcommons.base.errors import QCommonsError, Unavailable
from qcommons.base.text import line
from qcommons.clients.cli.progress import Progress
from qcommons.jobs.results import Result, Results
from qcommons.node.home import LOCK_FILE, home_path
from qcommons.node.lock import read_lock

if TYPE_CHECKING:
    from qcommons.clients.http.node import Job, Node
    from qcommons.node.api.records import JobView

__all__ = ["find_node", "wait"]

PATIENCE_NS = 1_000_000_000  # a job that waits longer says why


def find_node(args: argparse.Namespace) -> Node | None:
    """The node that is named, else the one that runs in this home and answers; None: run embedded."""
    if getattr(args, "embedded", False):
        return None
    if not (args.node or os.environ.get("QCOMMONS_NODE")):
        holder = read_lock(home_path() / LOCK_FILE)
        if holder is None or not holder.url:
            return None
    from qcommons.clients.http.node import Node

    try:
        return Node.connect(args.node)
    except Unavailable as error:
        if args.node or os.environ.get("QCOMMONS_NODE"):
            raise
        print(line(f"qcommons: the node of this home does not answer, running without it ({error})"), file=sys.stderr)
        return None


def wait(node: Node, job: Job, progress: Progress) -> Result | Results:
    """The job's answer. Raises as an embedded run does, and Unavailable where the node goes away for good."""
    from qcommons.clients.http.calls import job as look
    from qcommons.clients.http.waiting import PROGRESS_S

    said, start_ns = False, time.monotonic_ns()
    try:
        while True:
            view = node.send(look(job.id, PROGRESS_S))
            mesh = view.mesh
            if mesh is not None and mesh.parts:  # runs of the plan: those that were asked come all at the end
                progress(mesh.parts_answered, mesh.parts)
            else:
                progress(view.answered, view.runs)
            if view.ended_ns is not None:
                return job.result()
            waits = f"waiting: {view.cause}" if view.state in ("accepted", "planned") else ""
            progress.name(waits or _running(view))
            late = time.monotonic_ns() - start_ns > PATIENCE_NS
            if waits and late and not said and not sys.stderr.isatty():
                print(line(f"qcommons: {job.id}: {waits}"), file=sys.stderr)
                said = True
    except KeyboardInterrupt as error:
        with contextlib.suppress(QCommonsError):
            job.cancel("cancelled from the keyboard")
        vars(error)["job"] = job.id
        raise
    except QCommonsError as error:
        told = _gone(node, job.id, error) if error.where == node.target.url else error
        vars(told)["job"] = job.id
        raise told from None


def _running(view: JobView) -> str:
    """What stands before the bar of a job that runs."""
    if not view.attempts:
        return "running"
    from qcommons.node.views import attempt_name

    one = view.attempts[0]
    return f"running {attempt_name(one.engine, one.method, one.predicted_s, certain=one.certain)}"


def _gone(node: Node, job_id: str, error: QCommonsError) -> Unavailable:
    what = (
        f"the node went away ({error.what.partition(';')[0]}), the job is kept: start the node (qcommons up -d), "
        f"it goes on; then: qcommons job result {job_id} --wait 1h"
    )
    return Unavailable(what, where=node.target.url)
