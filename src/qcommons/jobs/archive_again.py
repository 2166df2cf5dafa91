"""Runs of an archived job to be run again here: what to run, and how the answer compares with the one that was used.

Flow: Contents -> *claims* -> *again*, a Job of one run -> workers (CLI) -> outcome -> *recomputed* -> Check. A repeat
uses the seed, and where it can the engine and method, of the answer that was used: numbers are then compared one by
one, else by statistics (verify/compare).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from qcommons.base.errors import QCommonsError
from qcommons.engines.records import Limits
from qcommons.engines.registry import load_engines
from qcommons.jobs.archive import Contents
from qcommons.jobs.archive_finding import Check, Finding
from qcommons.jobs.leases import piece_for
from qcommons.jobs.outcomes import Done, Outcome, exception_of
from qcommons.jobs.records import Job, Point
from qcommons.jobs.report import asked_of
from qcommons.verify.answers import Found, engine_class
from qcommons.verify.compare import compare
from qcommons.verify.receipt import read_receipt

__all__ = ["Claim", "again", "claims", "recomputed"]


class Claim(NamedTuple):
    """An answer that was used. version: of the engine, as its receipt says."""

    run: int
    version: str
    outcome: Done


def claims(contents: Contents) -> list[Claim]:
    """One a run of the plan that was answered."""
    versions = {}
    for lease in contents.leases:
        batch = contents.batches.get(lease.lease)
        for run in lease.accepted:
            place = lease.runs.index(run)
            if batch is not None and place < len(batch.leaves):
                versions[run] = read_receipt(batch.leaves[place].receipt).engine_version
    if contents.plan is None and contents.receipts is not None:
        for leaf in contents.receipts.leaves:
            receipt = read_receipt(leaf.receipt)
            versions[receipt.run] = receipt.engine_version
    return [
        Claim(run, versions.get(run, ""), outcome)
        for run, outcome in enumerate(contents.outcomes)
        if isinstance(outcome, Done)
    ]


def again(job: Job, claim: Claim, limits: Limits) -> Job:
    """The one run as a job of its own. job: whose run it is."""
    piece = piece_for(job, (claim.run,), "", None, None)
    answer = claim.outcome.execution.answer
    known = load_engines().get(answer.engine)
    named = known is not None and answer.method in {row.name for row in known.methods} and known.installed()
    point, program = job.points[claim.run], job.points[claim.run].program
    return msgspec.structs.replace(
        job, programs=(job.programs[program],), wants=(job.wants[program],), limits=limits, deadline_s=limits.seconds,
        points=(Point(0, point.values, piece.items[0].seed),), settled={},
        engine=answer.engine if named else None, method=answer.method if named else None,
    )  # fmt: skip


def recomputed(
    job: Job, done: Sequence[tuple[Claim, Outcome]], answered: int, rng: np.random.Generator
) -> Check:  # fmt: skip
    """What came of it. answered: runs that might have been looked at. rng: which parities are looked at."""
    found, unsure = Finding(), 0
    for claim, outcome in done:
        with found.at(f"run {claim.run}"):
            error = exception_of(outcome)
            if error is not None:
                raise QCommonsError(f"it could not be run again here: {error.what}", where=error.where)
            assert isinstance(outcome, Done)
            found.checked += 1
            piece = piece_for(job, (claim.run,), "", None, None)
            seed, (asked,) = piece.items[0].seed, asked_of(piece)
            comparison = compare(
                asked.question, _found(claim.outcome, seed, claim.version), _found(outcome, seed, None), rng
            )
            if comparison.outcome == "differs":
                found.fault(
                    f"run {claim.run}", f"run again it is another answer ({comparison.method}): {comparison.says}"
                )
            unsure += comparison.outcome == "cannot tell"
    found.note = f"of {answered} answers" + (f"; of {unsure} nothing can be said" if unsure else "")
    return found.check("run again", "runs chosen by chance give the same answers here")


def _found(outcome: Done, seed: int, version: str | None) -> Found:
    """version: None: of the library that is installed here."""
    answer = outcome.execution.answer
    if version is None:
        engine = load_engines().get(answer.engine)
        version = (engine.installed() if engine else None) or ""
    return Found(answer, engine_class(answer.engine, answer.method, version), seed)
