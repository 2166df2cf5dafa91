"""Nouns of the node: what it keeps of every job, and how a result is laid out.

Flow: api (submission) -> *Spec, Entry* -> core -> store; JobEnded -> *Answered* -> store -> api -> clients. Of a job on
the mesh also the plan, as *Chosen*, and the outcomes of its derived runs.
All of it is stored as msgpack, typed by msgspec; `keys.py` says under which key.
"""

from __future__ import annotations

import msgspec

from qcommons.jobs.outcomes import Outcome
from qcommons.jobs.plan.records import Part, Plan, Price, Priced
from qcommons.jobs.records import Job, Phase

__all__ = ["Answered", "Chosen", "Entry", "Form", "NodeEvent", "Spec", "chosen", "plan_of"]


class Form(msgspec.Struct, frozen=True):
    """How the runs of a job are laid out for whoever asked.

    shape: grid of the runs (see `jobs.results.Results`). scalar: one observable was asked, not a list.
    single: one run was asked, so one result is given, not a list of one.
    """

    shape: tuple[int, ...] = ()
    scalar: bool = True
    single: bool = True


class Chosen(msgspec.Struct, frozen=True):
    """The plan of a job as it is kept with it. job: the derived one, None where that is the job as it was asked: its
    programs are kept once. prices: of one run of each of its programs. See `jobs.plan.records.Plan` for the rest."""

    row: str
    why: str
    priced: tuple[Priced, ...] = ()
    job: Job | None = None
    parts: tuple[Part, ...] = ()
    prices: tuple[Price, ...] = ()


class Spec(msgspec.Struct, frozen=True):
    """What was asked, whole: enough to run the job again. plan: of a job on the mesh."""

    job: Job
    form: Form
    plan: Chosen | None = None

    @property
    def runs(self) -> Job:
        """The job whose runs are done: the derived one where there is one."""
        return self.job if self.plan is None or self.plan.job is None else self.plan.job


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the list of jobs, small: it stays in memory while the job is open.

    number: place in the order of acceptance, from 0. request: the submitter's own name of this submission; a
    repeated one is answered with the same job. title: how the user called the programs.
    state, cause, since_ns: of the last phase. ended_ns: None while it is open. runs, answered: runs in all, and
    with an outcome. crashes: how often the node ended while the job ran. on: "here" or "mesh". parts, parts_answered:
    runs of the plan where they are not those that were asked, and how many have their outcome. lease: of a job that a
    peer hired, its lease in hexadecimal. All times are ns since 1970 (UTC).
    """

    number: int
    id: str
    principal: str
    tags: tuple[str, ...] = ()
    request: str | None = None
    title: str = ""
    state: str
    cause: str
    since_ns: int
    submitted_ns: int
    deadline_ns: int
    ended_ns: int | None = None
    runs: int
    answered: int = 0
    n_qubits: int = 0
    shots: int = 0
    size_bytes: int = 0
    crashes: int = 0
    on: str = "here"
    parts: int = 0
    parts_answered: int = 0
    lease: str = ""


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """The one result of a job: an outcome a run, in order. Written once, never changed."""

    job_id: str
    outcomes: tuple[Outcome, ...]
    phase: Phase
    submitted_ns: int


class NodeEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the node's log of events. seq: from 0 without gaps, the cursor of listeners."""

    seq: int
    at_ns: int
    kind: str
    facts: dict[str, str | int | float | bool | None]


def chosen(plan: Plan, prices: tuple[Price, ...]) -> Chosen:
    """A plan as it is kept with its job."""
    return Chosen(plan.row, plan.why, plan.priced, plan.job if plan.parts else None, plan.parts, prices)


def plan_of(spec: Spec) -> Plan:
    """The plan of a job that has one."""
    assert spec.plan is not None
    kept = spec.plan
    return Plan(row=kept.row, why=kept.why, priced=kept.priced, job=spec.runs, parts=kept.parts)
