"""From checked arguments to a Job: every program with every point, each with its seed.

Flow: edge (arguments), cards (programs) -> *submission* -> Job -> driver.
"""

from __future__ import annotations

import numbers
import secrets

import msgspec

from qcommons.base.errors import UsageError
from qcommons.base.ids import job_id
from qcommons.base.seeds import derive_each
from qcommons.base.text import shown
from qcommons.circuits.noise import Noise
from qcommons.engines.records import Counts, Limits, Want
from qcommons.jobs.outcomes import Misused, Outcome
from qcommons.jobs.records import Card, Job, Point
from qcommons.node import edge
from qcommons.verify.replicate import nonce_of, seed_of

__all__ = ["SEED_MAX", "positive", "replicated", "submission"]

SEED_MAX = (1 << 63) - 1

NUMBER_MAX = 1 << 60  # bytes or seconds: beyond any machine, and within 64 bits with whatever is added
NO_CARD = Card(b"", "", 0, (), (), 0)  # of a program that did not parse


def submission(
    cards: list[Card | Outcome],
    points: list[dict[str, float]],
    request: edge.Asked,
    *,
    batch: bool,
    seed: int | None,
    noise: Noise | None,
    engine: str | None,
    method: str | None,
    limits: Limits,
    deadline_s: float,
) -> Job:
    """Every program with every point; what cannot run is settled with its outcome.

    A single run uses the job's seed itself; of several, each has a seed derived from it, which its
    result reports and which repeats that run alone.
    """
    for name, chosen in (("engine", engine), ("method", method)):
        if not isinstance(chosen, str | None):
            raise UsageError(f"{name}={shown(chosen)}; a name is needed", where=name)
    root = _seed(seed)
    count = len(cards) * len(points)
    seeds = iter((root,)) if count == 1 else derive_each(root, "run", count=count)
    settled: dict[int, Outcome] = {}
    runs: list[Point] = []
    wants: list[Want] = []
    programs: list[Card] = []
    for place, card in enumerate(cards):
        trouble: Outcome | None = None if isinstance(card, Card) else card
        known = card if isinstance(card, Card) else NO_CARD
        want: Want = Counts(1)
        if trouble is None:
            try:
                want = edge.want_for(known, request)
            except UsageError as error:
                trouble = Misused(error.what, error.where, error.limit)
        wants.append(want)
        programs.append(known)
        for values in points:
            index = len(runs)
            bound, misused = _bound(known, values, batch) if trouble is None else (values, trouble)
            if misused is not None:
                settled[index] = misused
            runs.append(Point(place, bound, next(seeds)))
    return Job(
        id=job_id(secrets.token_bytes(16)), programs=tuple(programs), wants=tuple(wants), points=tuple(runs), seed=root,
        limits=limits, deadline_s=deadline_s, noise=noise, engine=engine, method=method, settled=settled,
    )  # fmt: skip


def replicated(job: Job) -> Job:
    """The same with the seeds of a job whose runs several peers do: H(task, nonce), see `verify.replicate`."""
    nonce = nonce_of(job.seed)
    points = tuple(
        msgspec.structs.replace(point, seed=seed_of(job.programs[point.program].program_id, run, nonce))
        for run, point in enumerate(job.points)
    )
    return msgspec.structs.replace(job, points=points)


def _bound(card: Card, values: dict[str, float], batch: bool) -> tuple[dict[str, float], Outcome | None]:
    if not values and not card.inputs:
        return values, None
    try:
        return edge.values_for(card, values, batch=batch), None
    except UsageError as error:
        return values, Misused(error.what, error.where, error.limit)


def _seed(seed: int | None) -> int:
    if seed is None:
        return secrets.randbits(63)
    if not edge.is_whole(seed) or not 0 <= seed <= SEED_MAX:
        raise UsageError(f"seed={shown(seed)}; allowed 0 to 2^63-1", where="seed", limit="2^63-1")
    return int(seed)


def positive(name: str, value: float) -> float:
    if not isinstance(value, numbers.Real) or isinstance(value, bool) or not 0 < value <= NUMBER_MAX:
        raise UsageError(f"{name}={shown(value)}; a number above 0, at most 2^60, is needed", where=name, limit="2^60")
    return float(value)
