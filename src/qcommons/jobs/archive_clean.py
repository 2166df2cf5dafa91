"""What of a job leaves the house with its archive, and what does not: paths, principals, last words of workers.

Flow: Job, outcomes as the node keeps them -> *clean_job, clean_outcomes* -> Contents. Answers are never touched:
receipts name their hashes. What is cleaned is what people read beside them, and numbers that JSON cannot write.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable
from functools import lru_cache
from typing import TypeVar

import msgspec

from qcommons.engines.climb import Attempt
from qcommons.engines.execute import Execution
from qcommons.engines.records import Cost
from qcommons.jobs.outcomes import Crashed, Done, Outcome, Tried
from qcommons.jobs.plan.records import Plan, Priced
from qcommons.jobs.records import Card, Job

__all__ = ["clean_job", "clean_outcomes", "clean_plan", "clean_text", "finite"]

S = TypeVar("S", bound=msgspec.Struct)
# An absolute path, or one from a home: its last part stays, which says as much as a reader elsewhere can use.
FOLDERS = re.compile(r"(?<![\w./:-])(?:~|/[\w.@+-]+)/(?:[\w.@+-]+/)*(?=[\w.@+-])")


def clean_text(text: str) -> str:
    """ "/home/ada/secret/bell.qasm: line 3" -> "bell.qasm: line 3"."""
    return FOLDERS.sub("", text) if "/" in text else text


def finite(value: float) -> float:
    """JSON has no infinities (RFC 8259, section 6): the largest number stands for one; 0 for what is none."""
    if math.isfinite(value):
        return value
    return 0.0 if math.isnan(value) else math.copysign(sys.float_info.max, value)


def clean_job(job: Job) -> Job:
    """Nobody's, its programs named without their folders."""
    settled = dict(zip(job.settled, clean_outcomes(job.settled.values()), strict=True))
    return msgspec.structs.replace(
        job,
        programs=tuple(map(_card, job.programs)),
        principal="home",
        settled=settled,
        deadline_s=finite(job.deadline_s),
    )


def clean_plan(plan: Plan) -> Plan:
    return msgspec.structs.replace(
        plan, job=clean_job(plan.job), why=clean_text(plan.why), priced=tuple(map(_priced, plan.priced))
    )


def clean_outcomes(outcomes: Iterable[Outcome]) -> tuple[Outcome, ...]:
    return tuple(_done(one) if isinstance(one, Done) else _failed(one) for one in outcomes)


def _card(card: Card) -> Card:
    name = card.name.replace("\\", "/").rpartition("/")[2]
    return msgspec.structs.replace(card, name=name, notes=tuple(map(clean_text, card.notes)))


def _priced(priced: Priced) -> Priced:
    return _texts(_numbers(priced))


def _done(done: Done) -> Done:
    execution = done.execution
    answer = msgspec.structs.replace(
        execution.answer, facts={name: value for name, value in execution.answer.facts.items() if math.isfinite(value)}
    )
    cleaned: Execution = msgspec.structs.replace(
        execution, answer=answer, reason=clean_text(execution.reason), predicted=_cost(execution.predicted),
        seconds=finite(execution.seconds), attempts=tuple(map(_attempt, execution.attempts)),
        notes=tuple(map(clean_text, execution.notes)),
    )  # fmt: skip
    return Done(cleaned)


def _attempt(attempt: Attempt) -> Attempt:
    return msgspec.structs.replace(
        attempt, predicted=_cost(attempt.predicted), seconds=finite(attempt.seconds),
        outcome=clean_text(attempt.outcome),
    )  # fmt: skip


def _cost(cost: Cost) -> Cost:
    return _numbers(cost)


@lru_cache(maxsize=1024)  # a sweep past its deadline ends with one outcome 100,000 times
def _failed(outcome: Outcome) -> Outcome:
    if isinstance(outcome, Crashed):  # its last words name the files of this installation
        return msgspec.structs.replace(outcome, stderr="")
    cleaned = _texts(outcome)
    tried = getattr(cleaned, "tried", ())
    return msgspec.structs.replace(cleaned, tried=tuple(map(_tried, tried))) if tried else cleaned


def _tried(tried: Tried) -> Tried:
    return _texts(tried)


def _texts(record: S) -> S:
    return _changed(record, str, clean_text)


def _numbers(record: S) -> S:
    return _changed(record, float, finite)


def _changed(record: S, kind: type, change: object) -> S:
    """The record with `change` done to its fields of that very type."""
    assert callable(change)
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    return msgspec.structs.replace(
        record, **{name: change(value) for name, value in fields.items() if type(value) is kind}
    )
