"""`qcommons verify FILE`: is this archive what it says? Offline: it asks nobody, and needs no node.

Flow: file -> jobs/archive_zip -> jobs/archive_files -> jobs/archive_checks (and with --recompute workers of this
machine) -> *verify* -> a table. Exit code 5 where something does not hold.
"""

from __future__ import annotations

import argparse
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from qcommons.base.errors import PeerError, UsageError
from qcommons.clients.cli.asking import moment, say
from qcommons.clients.cli.options import JSON, Option, whole

if TYPE_CHECKING:
    from qcommons.jobs.archive_files import Opened
    from qcommons.jobs.archive_finding import Check

__all__ = ["OPTIONS", "command"]

FAILED = 5
RUN_S = 600.0  # of one run that is run again

OPTIONS = (
    Option("file", "FILE", "The archive, as `qcommons job export` writes it."),
    Option("--node-id", "ID", "The node that must have made it (qn1...)."),
    Option("--network", "NAME", "The network that it must be of."),
    Option("--recompute", "N", "Also run so many of its runs again here, chosen by chance.", kind=whole(1, 10**6)),
    JSON,
)  # fmt: skip


def command(args: argparse.Namespace) -> int:
    """Print what holds and what does not."""
    from qcommons.jobs.archive_checks import check_all
    from qcommons.jobs.archive_files import opened
    from qcommons.jobs.archive_zip import read_zip

    try:
        with Path(args.file).open("rb") as file:
            at = opened(read_zip(file))
    except OSError as error:
        raise UsageError(f"cannot read the file: {error.strerror}", where=args.file) from None
    head = at.contents.head
    for option, found, wanted in (("--node-id", head.node_id, args.node_id), ("--network", head.network, args.network)):
        if wanted is not None and found != wanted:
            raise PeerError(f"the archive is of {found}; {wanted} expected", where=option)
    checks = check_all(at)
    holds = all(check.holds for check in checks)
    if args.recompute and holds:  # what is not even consistent is not worth a run
        checks = (*checks, _recomputed(at, args.recompute))
    holds = all(check.holds for check in checks)
    body = {
        "valid": holds, "job": head.job.id, "node_id": head.node_id, "network": head.network, "state": head.state,
        "ended_ns": head.ended_ns, "checks": [msgspec.to_builtins(check) for check in checks],
    }  # fmt: skip
    say(args, body, _lines(at, checks))
    return 0 if holds else FAILED


def _recomputed(at: Opened, number: int) -> Check:
    """Runs of the plan, chosen so that whoever made the archive could not know which, in workers as any job's."""
    from qcommons.base.seeds import stream
    from qcommons.engines.records import Limits
    from qcommons.jobs.archive_again import again, claims, recomputed
    from qcommons.node.driver import Driver
    from qcommons.node.memory import default_limit_bytes
    from qcommons.node.workers import WorkerPool

    answered = claims(at.contents)
    chosen = sorted(secrets.SystemRandom().sample(answered, min(number, len(answered))))
    limits = Limits(memory_bytes=default_limit_bytes(1), seconds=RUN_S)
    done = []
    pool = WorkerPool(1)
    try:
        for claim in chosen:
            job = again(at.contents.runs, claim, limits)
            done.append((claim, Driver(pool, job, time.monotonic_ns(), None, None).drive().outcomes[0]))
    finally:
        pool.close()
    rng = stream(secrets.randbits(63), "archive")
    return recomputed(at.contents.runs, done, len(answered), rng)


def _lines(at: Opened, checks: tuple[Check, ...]) -> Iterator[str]:
    head = at.contents.head
    yield f"{head.job.id}: {head.state}, ended {moment(head.ended_ns)}, network {head.network}"
    yield f"  made by {head.node_id}"
    width = max(len(check.name) for check in checks)
    for check in checks:
        count = "none" if not check.checked else str(check.checked)
        said = ("ok" if check.checked else "-") if check.holds else f"{check.fault_count} WRONG"
        yield f"  {check.name:<{width}}  {count:>6}  {said:<8}  {check.says}" + (
            f"; {check.note}" if check.note else ""
        )
        for fault in check.faults:
            yield f"      {fault}"
        if check.fault_count > len(check.faults):
            yield f"      and {check.fault_count - len(check.faults)} more"
    wrong = sum(not check.holds for check in checks)
    yield "everything holds" if not wrong else f"{wrong} of {len(checks)} checks found something wrong"
