"""The cache of jobs that ended last: small ones only, and not too many."""

from __future__ import annotations

import msgspec
from tests.jobs.making import done, job
from tests.node.test_recovery import ENTRY

from qcommons.jobs.records import Phase
from qcommons.node.messages import Ended
from qcommons.node.recent import JOBS_MAX, Recent
from qcommons.node.records import Answered, Form, Spec


def ended(name: str, counts: dict[str, int], **fields: int) -> Ended:
    answered = Answered(job_id=name, outcomes=(done(counts),), phase=Phase("done", "", 0), submitted_ns=0)
    entry = msgspec.structs.replace(ENTRY, id=name, **fields)
    return Ended(entry, Spec(job(), Form()), (), answered)


def test_the_oldest_goes_when_there_are_too_many() -> None:
    recent = Recent()
    for number in range(JOBS_MAX + 1):
        recent.keep(ended(f"job{number}", {"0": 1}))
    assert recent.get("job0") is None and recent.get("job1") is not None


def test_large_jobs_and_wide_answers_stay_on_disk() -> None:
    recent = Recent()
    recent.keep(ended("long", {"0": 1}, size_bytes=1 << 20))
    recent.keep(ended("many", {"0": 1}, runs=1000))
    recent.keep(ended("wide", {format(k, "b"): 1 for k in range(5000)}))
    assert [recent.get(name) for name in ("long", "many", "wide")] == [None] * 3
