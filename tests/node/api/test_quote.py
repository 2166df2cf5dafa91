"""POST /v1/quote: the owner's alone, a submission in, a quote out, refusals as those of a submission."""

from __future__ import annotations

import msgspec
from tests.node.api.quotes import a_quote
from tests.node.api.standin import GUEST_TOKEN, StandIn
from tests.node.api.test_app import ask, error
from tests.node.daemons import BELL

from qcommons.base.errors import Unavailable
from qcommons.node.api.quote_records import Quote

ASKED = {"programs": [{"qasm": BELL}], "shots": 100, "on": "mesh", "budget": 300}


def test_a_submission_is_quoted_and_nothing_is_submitted() -> None:
    door = StandIn()
    said = ask(door, "POST", "/v1/quote", json=ASKED)
    assert said.status_code == 200 and msgspec.json.decode(said.content, type=Quote) == a_quote()
    assert door.quoted.budget == 300 and not door.submissions


def test_what_no_plan_answers_is_refused_with_numbers() -> None:
    door = StandIn()
    refusal = Unavailable("none of 5 plans answers this job", where="plan", limit="5 plans")
    refusal.exit_code = 3
    door.faults["quote"] = refusal
    said = ask(door, "POST", "/v1/quote", json=ASKED)
    assert said.status_code == 422 and error(said)["where"] == "plan"


def test_a_quote_costs_the_owner_planning_and_is_the_owners() -> None:
    assert ask(StandIn(), "POST", "/v1/quote", json=ASKED, token=GUEST_TOKEN).status_code == 403
    assert ask(StandIn(), "POST", "/v1/quote", json={**ASKED, "budgets": 3}).status_code == 400
