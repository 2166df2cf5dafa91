"""Why a job is where it is: whose move it is and what to do."""

from __future__ import annotations

import msgspec

from qcommons.jobs.outcomes import ErrorInfo, Misused, Outcome, OutOfMemory, error_of
from qcommons.jobs.records import Phase
from qcommons.node.api.records import AttemptView
from qcommons.node.gate import Gate
from qcommons.node.owner import OwnerLimits, Pause, Sense
from qcommons.node.records import Entry
from qcommons.node.views import attempt_text, job_view, why_ended, why_running, why_waiting

S = 1_000_000_000
ENTRY = Entry(
    number=0, id="job_aaaaaaaaaaaaaaaa", principal="home", state="accepted", cause="submitted", since_ns=1 * S,
    submitted_ns=1 * S, deadline_ns=61 * S, runs=4, answered=1,
)  # fmt: skip


def errors(*outcomes: Outcome) -> list[ErrorInfo]:
    return [error for outcome in outcomes if (error := error_of(outcome)) is not None]


def test_a_job_held_back_by_its_owner_says_who_until_when_and_what_helps() -> None:
    gate = Gate(OwnerLimits(), Sense(minute_of_week=0))
    gate.pause = Pause(2 * S, 30 * S, False, "home")
    why = why_waiting(ENTRY, gate.start(10 * S), 3, 0, 4, 10 * S)
    assert (why.who, why.since_ns, why.until_ns, why.action, why.ahead) == (
        "owner",
        2 * S,
        30 * S,
        "qcommons resume",
        3,
    )
    assert "paused by home for another 20 s" in why.cause


def test_a_job_that_waits_for_its_turn_says_how_many_are_before_it_and_how_long_it_may_wait() -> None:
    why = why_waiting(ENTRY, Gate(OwnerLimits(), Sense(minute_of_week=0)).start(10 * S), 1, 4, 4, 10 * S)
    assert "4 of 4 places are taken, 1 job before it; its deadline is in 51 s" in why.cause and why.who == "resources"


def test_a_running_job_says_how_far_it_is() -> None:
    why = why_running(ENTRY, 2, 6 * S)
    assert "1 of 4 runs answered after 5 s; 2 workers alive" in why.cause and why.until_ns == 61 * S
    at = AttemptView(run=1, engine="qulacs", method="statevector", predicted_s=12.3, certain=True, since_ns=2 * S)
    said = why_running(ENTRY, 1, 6 * S, (at,)).cause
    assert said.endswith("; qulacs/statevector, predicted 12.3 s, for 4 s now; 1 worker alive")
    unsure = msgspec.structs.replace(at, certain=False)
    assert "predicted about 12.3 s" in attempt_text(unsure, 6 * S) and job_view(ENTRY, attempts=(at,)).attempts == (at,)


def test_an_ended_job_names_the_first_error_and_whose_move_it_is() -> None:
    assert why_ended(ENTRY, []).who == "nobody"
    bad = why_ended(ENTRY, errors(Misused("no such gate", "a.qasm:1:2"), Misused("x")))
    assert bad.who == "caller" and bad.cause == "a.qasm:1:2: no such gate (and 1 more run)" and "change" in bad.action
    assert why_ended(ENTRY, errors(OutOfMemory(1 << 30))).who == "resources"


def test_a_view_shows_the_better_cause_and_the_timeline() -> None:
    view = job_view(ENTRY, [Phase("accepted", "submitted", 5)], "waits")
    assert view.cause == "waits" and [phase.state for phase in view.timeline] == ["accepted"]
