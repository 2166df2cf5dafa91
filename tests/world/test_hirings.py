"""Hirings (also jobnode.py, jobdesk.py, trades.py): jobs over a simulated mesh end, whoever lies and whatever fails;
and the rules see what they should."""

from __future__ import annotations

from typing import Any

import pytest

from qcommons.base.effects import Woken
from qcommons.engines.records import Answer, Counts
from qcommons.jobs import checking, issuing
from qcommons.jobs.machine import ItemsEnded
from qcommons.jobs.work_events import Sharing
from qcommons.verify import replicate
from qcommons.world import hirings, jobnode, trades
from qcommons.world.hirings import LIES_MAX, RULES
from qcommons.world.jobdesk import Submit, job_number
from qcommons.world.play import Case, play, replay_line
from qcommons.world.soak import SMALL
from qcommons.world.trades import TRADES
from qcommons.world.zoo import ZOO

JOBS = [name for name in SMALL if name.startswith("jobs")]
SEEDS = 200


def case_of(scenario: str, seed: int) -> Case:
    low, high, for_s = SMALL[scenario]
    return Case(scenario, 10_000 + seed, low + seed % (high - low + 1), for_s)


@pytest.mark.parametrize("scenario", JOBS)
def test_two_hundred_small_worlds_of_work_hold(scenario: str) -> None:
    """Stochastic rules have false alarms below 3e-8 a liar and submitter (`LIES_MAX`) and 1e-9 a comparison."""
    cases = [case_of(scenario, seed) for seed in range(SEEDS // len(JOBS))]
    failed = [f"{replay_line(case)}  # {report.violations[0]}" for case in cases if (report := play(case)).violations]
    assert not failed, "\n" + "\n".join(failed)


def test_liars_are_caught_and_jobs_are_done_all_the_same() -> None:
    report = play(Case("jobs-liars", 1))
    assert not report.violations and set(RULES) <= set(report.checked)
    measures = report.measures
    assert measures["jobs"] > 20 and measures["jobs done"] == measures["jobs"]
    assert measures["lies told"] > 50 and measures["liars caught by a submitter"] >= 3
    assert measures["verdicts wrong"] >= 3 and measures["verdicts right"] > 10


def test_the_same_seed_gives_the_same_trace() -> None:
    case = case_of("jobs-all", 3)
    assert play(case).trace_hash == play(case).trace_hash


def test_every_row_of_the_zoo_works_here() -> None:
    assert {row.name for row in ZOO} < set(TRADES)
    program = trades.programs()[0]
    first, again = (trades.answer(program, Counts(64), 7) for _ in range(2))
    assert first == again and first.counts is not None and sum(first.counts.values()) == 64
    assert job_number(1, Submit(3, 9, "audit")) == job_number(1, Submit(3, 9, "audit"))
    assert job_number(1, Submit(3, 9, "audit")).id != job_number(2, Submit(3, 9, "audit")).id


# broken on purpose: (what is broken, the case, the rule that sees it)


def _twice(monkeypatch: pytest.MonkeyPatch) -> None:
    handed = issuing.HeldJob.handed

    def broken(self: Any, ends: Any) -> list[Any]:
        effects = handed(self, ends)
        return [*effects[:1], *effects]

    monkeypatch.setattr(issuing.HeldJob, "handed", broken)


def _no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs whose last run never comes, and whose alarm is not heard."""
    woken, items = jobnode.JobNode._woken, jobnode.JobNode._items_ended

    def deaf(self: Any, event: Woken, now_ns: int) -> Any:
        return [] if isinstance(event.token, str) else woken(self, event, now_ns)

    def fewer(self: Any, event: ItemsEnded, now_ns: int) -> Any:
        return items(self, ItemsEnded(event.piece_id, event.ends[1:]), now_ns)

    monkeypatch.setattr(jobnode.JobNode, "_woken", deaf)
    monkeypatch.setattr(jobnode.JobNode, "_items_ended", fewer)
    monkeypatch.setattr(jobnode.JobNode, "_piece_ended", lambda self, event, now_ns: [])


def _wrong_audits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The submitter's own engine is broken."""

    def uniform(answer: Answer) -> Any:
        return done(Answer(answer.engine, answer.method, counts={"0000": sum((answer.counts or {}).values())}))

    done = jobnode.done
    monkeypatch.setattr(jobnode, "done", uniform)


def _shares_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobnode, "Sharing", lambda *said, **more: Sharing(False))


def _looks_at_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "choose", lambda *asked: ())
    monkeypatch.setattr(hirings, "ASSURANCES", ("audit",))
    monkeypatch.setattr(hirings, "LIES_MAX", 10)  # four nodes tell each other few in half a minute


def _any_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicate, "_used_another", lambda *asked: False)


BROKEN: list[tuple[Any, Case, set[str]]] = [
    (_twice, Case("jobs", 1, 4, 3), {"counted once"}),
    (_no_deadline, Case("jobs", 1, 4, 3), {"job ends"}),
    (_wrong_audits, Case("jobs", 2, 4, 4), {"not punished", "verdict"}),
    (_shares_nothing, Case("jobs", 1, 3, 3), {"job done"}),
    (_looks_at_nothing, Case("jobs-liars", 9, 4, 30), {"caught"}),
    (_any_engine, Case("jobs-liars", 1), {"true answers", "verdict"}),
]


@pytest.mark.parametrize(("damage", "case", "rules"), BROKEN, ids=lambda row: getattr(row, "__name__", ""))
def test_what_is_broken_is_seen(
    damage: Any, case: Case, rules: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    damage(monkeypatch)
    report = play(case)
    assert rules <= {violation.check for violation in report.violations} <= set(report.checked), report.violations[:3]


def test_every_rule_of_work_is_seen_to_break() -> None:
    assert set().union(*(rules for _, _, rules in BROKEN)) == set(RULES)
    assert 0.75**LIES_MAX < 1e-7
