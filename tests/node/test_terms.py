"""Terms of a job: defaults, what goes together, and what a mistake is answered with."""

from __future__ import annotations

from typing import Any

import pytest

from qcommons.base.errors import UsageError
from qcommons.node.terms import Terms, terms_of


def test_a_job_runs_here_and_travels_nowhere_unless_it_is_said() -> None:
    assert terms_of() == Terms("here", "none", "home", None, None, None, None)


def test_on_the_mesh_it_is_audited_and_strangers_are_not_asked_unless_it_is_said() -> None:
    assert terms_of("mesh") == Terms("mesh", "audit", "peers", None, None, None, None)
    said = terms_of("mesh", "replicate", "public", 3, 5_000, "folding-2027", "batch")
    assert said == Terms("mesh", "replicate", "public", 3, 5_000, "folding-2027", "batch")


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"on": "moon"}, "on"),
        ({"on": "mesh", "assurance": "hope"}, "assurance"),
        ({"on": "mesh", "egress": "all"}, "egress"),
        ({"on": "mesh", "egress": "home"}, "egress"),
        ({"on": "mesh", "peers": 0}, "peers"),
        ({"on": "mesh", "peers": 1_001}, "peers"),
        ({"on": "mesh", "peers": True}, "peers"),
        ({"on": "mesh", "budget": -1}, "budget"),
        ({"on": "mesh", "assurance": "replicate", "peers": 1}, "peers"),
        ({"purpose": "two words"}, "purpose"),
        ({"purpose": "x" * 129}, "purpose"),
        ({"assurance": "audit"}, "assurance"),
        ({"peers": 2}, "peers"),
        ({"budget": 0}, "budget"),
        ({"plan": "batch"}, "plan"),
    ],
)
def test_what_cannot_be_is_refused_with_the_name_of_the_argument(fields: dict[str, Any], where: str) -> None:
    with pytest.raises(UsageError) as caught:
        terms_of(**fields)
    assert caught.value.where == where


def test_a_job_that_stays_here_may_say_how_far_its_owner_would_let_it_go() -> None:
    assert terms_of("here", egress="public", purpose="folding").egress == "public"
