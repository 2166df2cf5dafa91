"""`qcommons job export`: all of an ended job in one file, which anybody can check offline.

Flow: id -> node -> *export* -> JOB.crate.zip -> `qcommons verify`.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from typing import TYPE_CHECKING

from qcommons.base.clock import deadline_ns, is_past
from qcommons.base.errors import Unavailable, UsageError
from qcommons.base.units import bytes_text
from qcommons.clients.cli.asking import connect, full_id, say
from qcommons.clients.cli.options import JSON, NODE, Option

if TYPE_CHECKING:
    from qcommons.clients.http.node import Job

__all__ = ["WORDS"]

SIGNING_S = 5.0  # receipts are signed in batches just after the end: the node says within a second
PAUSE_S = 0.1
LICENCE_MAX = 200


def _export(args: argparse.Namespace) -> int:
    """Write the archive of the job."""
    from qcommons.clients.http.archives import check_target, write_archive

    licence = args.licence or ""
    if len(licence) > LICENCE_MAX or not (licence.isascii() and (licence.isprintable() or not licence)):
        limit = f"{LICENCE_MAX} characters of printable ASCII"
        raise UsageError(f"{len(licence)} characters; allowed {limit}", where="--licence", limit=limit)
    with connect(args) as node:
        job_id = full_id(node, args.id)
        target = check_target(args.out, job_id, args.force)
        if sys.stderr.isatty():
            print(f"the node makes the archive of {job_id} ...", file=sys.stderr)
        data = _made(node.job(job_id), licence)
    write_archive(target, data)
    path = os.fspath(target)
    lines = [f"{path}: {bytes_text(len(data))}. Check it: qcommons verify {shlex.quote(path)}"]
    say(args, {"job": job_id, "file": path, "bytes": len(data)}, lines)
    return 0


def _made(job: Job, licence: str) -> bytes:
    until_ns = deadline_ns(time.monotonic_ns(), SIGNING_S)
    while True:
        try:
            return job.archive(licence)
        except Unavailable as error:
            if error.where != "receipt" or is_past(until_ns, time.monotonic_ns()):
                raise
            time.sleep(PAUSE_S)


WORDS = {
    "job export": (
        (
            Option("id", "ID", "The job's id, or its beginning where only one recent job begins so."),
            Option("--out", "FILE", "Where to (JOB.crate.zip in this folder).", short="-o"),
            Option("--licence", "TEXT", "How others may use it, a URL or words; without it none is stated."),
            Option("--force", None, "Write over a file that is there."),
            NODE,
            JSON,
        ),
        _export,
    ),
}
