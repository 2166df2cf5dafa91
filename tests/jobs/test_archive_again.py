"""Runs of an archive run again: an honest answer is found again, an invented one is not, whoever signed for it."""

from __future__ import annotations

from msgspec.structs import replace
from tests.jobs.plan.making import run_all
from tests.jobs.test_archive_checks import contents, outcome, shown_again
from tests.node.archived import LIMITS

from qcommons.base.seeds import stream
from qcommons.jobs.archive import Contents
from qcommons.jobs.archive_again import again, claims, recomputed
from qcommons.jobs.archive_finding import Check
from qcommons.jobs.outcomes import Refused


def run_again(of: Contents) -> Check:
    looked_at = claims(of)
    done = [(claim, run_all(again(of.runs, claim, LIMITS))[0]) for claim in looked_at]
    return recomputed(of.runs, done, len(looked_at), stream(1, "test"))


def test_honest_answers_are_found_again() -> None:
    for mesh in (True, False):
        check = run_again(contents(mesh))
        assert (check.checked, check.faults, check.note) == (3, (), "of 3 answers")


def test_an_answer_that_its_node_invented_and_signed_is_found() -> None:
    of = contents(mesh=False)
    estimates = of.outcomes[1].execution.answer.estimates  # type: ignore[union-attr]
    assert estimates is not None
    told = shown_again(outcome(of, 1, estimates=(replace(estimates[0], value=0.1),)))
    check = run_again(told)
    assert check.fault_count == 1 and check.faults[0].startswith("run 1: run again it is another answer")


def test_counts_of_another_state_are_found() -> None:
    told = outcome(contents(), 2, counts={"00": 1000})
    assert run_again(told).faults[0].startswith("run 2:")


def test_a_run_that_cannot_be_run_here_is_said_and_not_passed_over() -> None:
    of = contents()
    check = recomputed(of.runs, [(claims(of)[0], Refused("needs 4 TiB"))], 3, stream(1, "test"))
    assert check.checked == 0 and "could not be run again here: needs 4 TiB" in check.faults[0]
