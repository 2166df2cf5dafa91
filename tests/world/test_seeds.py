"""Three hundred small worlds: every scenario at many seeds and sizes, and all that must hold does (soak.py runs more).

What failed once stays here under a name, with the case that `--shrink` left of it.
"""

from __future__ import annotations

import pytest

from qcommons.world.play import Case, play, replay_line
from qcommons.world.scenarios import SCENARIOS
from qcommons.world.soak import SMALL, case_of

SEEDS = 336

# name of the fault in a core -> the smallest case that showed it
REGRESSIONS: dict[str, Case] = {
    "an unrouted kind of message made the core raise": Case("liars", 3, 6, 8),
    "three nodes whose links all broke had no neighbour for eight seconds": Case("weather", 12, 3, 8),
    "links dropped just before a partition healed left two halves of neighbours": Case("partition-heal", 20, 5, 8),
    "a request to a frozen node's own core was counted as late": Case("freeze", 908, 3, 12),
    "sixty joining at once starved the node they joined by": Case("join", 1, 60, 4),
}


@pytest.mark.parametrize("scenario", SMALL)
def test_small_worlds_hold(scenario: str) -> None:
    cases = [case for seed in range(SEEDS) if (case := case_of(seed)).scenario == scenario]
    assert len(cases) == SEEDS // len(SMALL)
    failed = [f"{replay_line(case)}  # {report.violations[0]}" for case in cases if (report := play(case)).violations]
    assert not failed, "\n" + "\n".join(failed)


@pytest.mark.parametrize("name", REGRESSIONS)
def test_what_failed_once_holds(name: str) -> None:
    report = play(REGRESSIONS[name])
    assert not report.violations, f"{report.replay}\n{report.violations[0]}"


def test_every_scenario_has_a_small_form() -> None:
    assert set(SMALL) == set(SCENARIOS)
