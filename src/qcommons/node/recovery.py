"""From what is on disk to the first event of a start.

Flow: store -> *kept* -> Begin -> core. Only open jobs are read whole; ended ones stay on disk until asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from qcommons.base.errors import Corrupt
from qcommons.base.typed import described
from qcommons.jobs.hire_rows import read_row
from qcommons.jobs.machine import ENDS
from qcommons.jobs.outcomes import Outcome
from qcommons.jobs.records import Phase
from qcommons.node.keys import (
    PAUSE,
    POLICY,
    ends_of,
    id_key,
    job_key,
    number_of,
    past,
    phases_of,
    receipt_key,
    spec_key,
)
from qcommons.node.messages import Begin, HiredJob, OpenJob
from qcommons.node.own_lists import owned
from qcommons.node.owner import Pause, Policy
from qcommons.node.records import Entry, Spec

__all__ = ["HIRED", "LEASES", "Reading", "decoded", "kept"]

LEASES = "lease/"  # JOB_ID/LEASE: what was leased to others (`jobs/spread.py`)
HIRED = "hired/"  # LEASE: what others leased here (`jobs/hire.py`)
WORK = (HIRED, "hired-verdict/", "quarantine/", "spread/")  # read whole at a start; their owners keep them bounded


class Reading(Protocol):
    """What is read of a store."""

    def get(self, key: str) -> bytes | None: ...

    def scan(
        self, first: str, past: str, *, limit: int | None = None, reverse: bool = False
    ) -> Sequence[tuple[str, bytes]]: ...


def kept(store: Reading, *, clean: bool) -> Begin:
    """All that the core must know at a start. Leases of open jobs only: the others are evidence.

    Raises:
        Corrupt: a record is missing or is not what its key says; `where` names the key.
    """
    last = store.scan("job/", past("job/"), limit=1, reverse=True)
    events = [store.scan("event/", past("event/"), limit=1, reverse=newest) for newest in (False, True)]
    pause, policy = store.get(PAUSE), store.get(POLICY)
    jobs = tuple(_open_job(store, number_of(key)) for key, _ in store.scan("open/", past("open/")))
    abroad = [f"{LEASES}{job.entry.id}/" for job in jobs if job.entry.on == "mesh"]
    return Begin(
        jobs=jobs,
        next_number=number_of(last[0][0]) + 1 if last else 0,
        next_seq=number_of(events[1][0][0]) + 1 if events[1] else 0,
        events_from=number_of(events[0][0][0]) if events[0] else 0,
        unsealed=tuple(number_of(key) for key, _ in store.scan("unsealed/", past("unsealed/"))),
        pause=None if pause is None else decoded(PAUSE, pause, Pause),
        policy=Policy() if policy is None else decoded(POLICY, policy, Policy),
        clean=clean,
        work=tuple(row for prefix in (*WORK, *abroad) for row in store.scan(prefix, past(prefix))),
        hired=tuple(_hired(store, key, raw) for key, raw in store.scan(HIRED, past(HIRED))),
        own=owned(store),
    )


def _hired(store: Reading, key: str, raw: bytes) -> HiredJob:
    """What became of the job of a hired lease."""
    row = read_row(key, raw)
    lease, number = row.lease.id, store.get(id_key(row.hired_job))
    if number is None:
        return HiredJob(lease)
    entry: Entry = decoded(key, store.get(job_key(decoded(key, number, int))), Entry)
    return HiredJob(lease, entry, entry.state in ENDS and store.get(receipt_key(entry.number)) is not None)


def _open_job(store: Reading, number: int) -> OpenJob:
    entry = decoded(job_key(number), store.get(job_key(number)), Entry)
    spec = decoded(spec_key(number), store.get(spec_key(number)), Spec)
    folder = phases_of(number)
    history = tuple(decoded(key, value, Phase) for key, value in store.scan(folder, past(folder)))
    folder = ends_of(number)
    parts = [
        decoded(key, value, tuple[tuple[int, Outcome | None], ...]) for key, value in store.scan(folder, past(folder))
    ]
    ends = dict(end for part in parts for end in part)  # what came later stands; None took back what was there
    known = tuple((index, outcome) for index, outcome in ends.items() if outcome is not None)
    return OpenJob(entry, spec, history, known, len(parts))


def decoded(key: str, value: bytes | None, kind: Any) -> Any:
    """The record under a key. Raises Corrupt."""
    if value is None:
        raise Corrupt("this record is missing in the node's database; restore a copy of the file", where=key)
    try:
        return msgspec.msgpack.decode(value, type=described(kind))
    except msgspec.MsgspecError as error:
        raise Corrupt(f"this record of the node's database is not what it should be: {error}", where=key) from error
