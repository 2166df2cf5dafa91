"""From what is on disk to the first event of a start.

Flow: store -> *kept* -> Begin -> core. Only open jobs are read whole; ended ones stay on disk until asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from qcommons.base.errors import Corrupt
from qcommons.jobs.outcomes import Outcome
from qcommons.jobs.records import Phase
from qcommons.node.keys import PAUSE, POLICY, ends_of, job_key, number_of, past, phases_of, spec_key
from qcommons.node.messages import Begin, OpenJob
from qcommons.node.owner import Pause, Policy
from qcommons.node.records import Entry, Spec

__all__ = ["Reading", "decoded", "kept"]


class Reading(Protocol):
    """What is read of a store."""

    def get(self, key: str) -> bytes | None: ...

    def scan(
        self, first: str, past: str, *, limit: int | None = None, reverse: bool = False
    ) -> Sequence[tuple[str, bytes]]: ...


def kept(store: Reading, *, clean: bool) -> Begin:
    """All that the core must know at a start.

    Raises:
        Corrupt: a record is missing or is not what its key says; `where` names the key.
    """
    last = store.scan("job/", past("job/"), limit=1, reverse=True)
    events = [store.scan("event/", past("event/"), limit=1, reverse=newest) for newest in (False, True)]
    pause, policy = store.get(PAUSE), store.get(POLICY)
    return Begin(
        jobs=tuple(_open_job(store, number_of(key)) for key, _ in store.scan("open/", past("open/"))),
        next_number=number_of(last[0][0]) + 1 if last else 0,
        next_seq=number_of(events[1][0][0]) + 1 if events[1] else 0,
        events_from=number_of(events[0][0][0]) if events[0] else 0,
        unsealed=tuple(number_of(key) for key, _ in store.scan("unsealed/", past("unsealed/"))),
        pause=None if pause is None else decoded(PAUSE, pause, Pause),
        policy=Policy() if policy is None else decoded(POLICY, policy, Policy),
        clean=clean,
    )


def _open_job(store: Reading, number: int) -> OpenJob:
    entry = decoded(job_key(number), store.get(job_key(number)), Entry)
    spec = decoded(spec_key(number), store.get(spec_key(number)), Spec)
    folder = phases_of(number)
    history = tuple(decoded(key, value, Phase) for key, value in store.scan(folder, past(folder)))
    folder = ends_of(number)
    parts = [decoded(key, value, tuple[tuple[int, Outcome], ...]) for key, value in store.scan(folder, past(folder))]
    return OpenJob(entry, spec.job, spec.form, history, tuple(end for part in parts for end in part), len(parts))


def decoded(key: str, value: bytes | None, kind: Any) -> Any:
    """The record under a key. Raises Corrupt."""
    if value is None:
        raise Corrupt("this record is missing in the node's database; restore a copy of the file", where=key)
    try:
        return msgspec.msgpack.decode(value, type=kind)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"this record of the node's database is not what it should be: {error}", where=key) from error
