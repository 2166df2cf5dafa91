"""Searches from partial views (also memories.py): few providers in a mesh that nobody knows whole are found."""

from __future__ import annotations

from qcommons.mesh.peer_record import read_signed
from qcommons.world.checkers import Checkers
from qcommons.world.memories import remember
from qcommons.world.play import Case, play, scenario_of
from qcommons.world.searches import OFFER, Searches
from qcommons.world.stage import Stage


def test_few_providers_are_found_from_partial_views() -> None:
    """100 nodes with 64 records each, one provider: a book lacks it with probability 0.35. A search of s nodes misses
    with 0.35^s, were books independent."""
    report = play(Case("find", 1, 100, 5))
    assert not report.violations, report.violations
    measures = report.measures
    assert measures["share of searches that found a provider"] > 0.95
    assert 1 <= measures["nodes that looked, per search"] <= 25 and measures["messages per search"] <= 48
    assert "found" in report.checked and "right blob" not in report.checked


def test_what_a_search_costs_is_counted() -> None:
    """30 nodes that all know each other: the own book holds the one provider, and no message is sent."""
    report = play(Case("find", 1, 30, 4))
    assert not report.violations, report.violations
    assert report.measures["share of searches that found a provider"] > 0.9  # some are cut short by the end
    assert report.measures["nodes that looked, per search"] < 1.5


def test_a_provider_that_nobody_has_heard_of_is_not_found_and_the_rule_says_so() -> None:
    row = scenario_of(Case("find", 1, 30))._replace(book=29)
    stage = Stage(row, 1, 30)
    Checkers(stage.world)
    searches = Searches(stage)
    for host in stage.world.hosts:
        host.offers = ()
    stage.open()
    stage.world.run(5 * 10**9)
    stage.live()[3].offers = (OFFER,)  # of the stage alone: its core tells nobody
    searches.calm()
    assert {violation.check for violation in stage.world.violations} == {"found"}


def test_disks_begin_with_records_of_others_drawn_at_random() -> None:
    row = scenario_of(Case("find", 1, 40))
    stage = Stage(row, 1, 40)
    remember(stage, 10)
    held = []
    for host in stage.world.hosts:
        assert read_signed(host.disk["mesh/self"])[0] == host.peer
        rows = [read_signed(value)[0] for key, value in host.disk.items() if key.startswith("peer/")]
        assert len(set(rows)) == 10 and host.peer not in rows
        assert all(f"peer/{peer.hex()}" in host.disk for peer in rows)
        held += rows
    # each of 40 is drawn by 39 others with p = 10/39: below 1 or above 25 with probability 2e-5 (binomial), of 40 8e-4
    counts = [held.count(host.peer) for host in stage.world.hosts]
    assert sum(counts) == 400 and min(counts) >= 1 and max(counts) <= 25


def test_a_mesh_that_was_switched_off_comes_up_from_its_disks() -> None:
    """No node is told an address: all that it knows are the records on its disk."""
    row = scenario_of(Case("find", 1, 30))
    stage = Stage(row, 1, 30)
    stage.open()
    stage.world.run(6 * 10**9)
    assert all(len(stage.neighbours(host)) >= 6 for host in stage.live())
