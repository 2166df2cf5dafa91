"""Timelines: faults from names and knobs, drawn from the seed, each in a stream of its own (records, draws, faults)."""

from __future__ import annotations

import pytest

from qcommons.base.errors import UsageError
from qcommons.base.seeds import stream
from qcommons.world.draws import Draws
from qcommons.world.faults import FAULTS
from qcommons.world.records import Act
from qcommons.world.scenarios import SCENARIOS
from qcommons.world.timeline import acts_of, timeline


def test_faults_are_read_from_text() -> None:
    assert acts_of("") == ()
    assert acts_of("loss=0.05, crash.every=5s,crash.for=2,reset") == (
        Act("loss", (("p", 0.05),)),
        Act("crash", (("every", 5.0), ("for", 2.0))),
        Act("reset", ()),
    )


@pytest.mark.parametrize(
    ("text", "named"),
    [("los=1", "no fault"), ("loss=much", "no number"), ("loss=0.9", "allowed 0 to 0.5"), ("loss.q=1", "it has: p"),
     ("crash.every=0", "crash.every = 0 s; allowed 0.1 to 10000 s"), ("crash=", "no number")],
)  # fmt: skip
def test_what_does_not_exist_is_refused_with_what_does(text: str, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        timeline(acts_of(text), 1, 5, 10)


def test_a_timeline_is_the_seeds_and_in_order() -> None:
    acts = acts_of("crash.every=2,partition.every=5,loss")
    one = timeline(acts, 7, 10, 60)
    assert one == timeline(acts, 7, 10, 60) != timeline(acts, 8, 10, 60)
    assert [moment.place for moment in one] == list(range(len(one)))
    assert [moment.at_ns for moment in one] == sorted(moment.at_ns for moment in one)
    assert all(0 <= node < 10 for moment in one for node in moment.nodes)


def test_one_more_fault_leaves_the_others_where_they_were() -> None:
    one = timeline(acts_of("crash.every=2"), 7, 10, 60)
    both = [m for m in timeline(acts_of("crash.every=2,reset.every=2"), 7, 10, 60) if m.fault == "crash"]
    assert [(m.at_ns, m.nodes, m.facts) for m in one] == [(m.at_ns, m.nodes, m.facts) for m in both]


def test_random_times_have_the_mean_that_the_knob_says() -> None:
    """2,000 s of one crash a second on average: 2,000 of them, within 5 sigma of Poisson (1 run in 1.7 million)."""
    assert abs(len(timeline(acts_of("crash.every=1"), 3, 10, 2_000)) - 2_000) < 5 * 2_000**0.5


def test_a_told_time_is_a_share_of_the_case() -> None:
    (moment,) = timeline((Act("halves", (("for", 10.0),), at=0.3),), 1, 9, 100)
    assert moment.at_ns == 30 * 10**9 and len(moment.nodes) == 4 and 5e9 <= moment.for_ns <= 15e9


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("nodes", [2, 3, 10])
def test_every_fault_picks_nodes_that_exist(name: str, nodes: int) -> None:
    fault = FAULTS[name]
    draws = Draws(stream(1, name))
    for _ in range(50):
        whom, facts = fault.pick(draws, nodes, fault.knobs())
        assert all(0 <= node < nodes for node in whom) and len(set(whom)) == len(whom)
        assert all(isinstance(value, float) for value in facts.values())


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_says_what_it_is_and_what_its_knobs_mean(name: str) -> None:
    fault = FAULTS[name]
    assert fault.help and fault.kind in ("always", "times") and fault.params
    assert ("every" in fault.knobs()) == (fault.kind == "times")
    for knob in fault.params:
        assert knob.help and knob.unit in ("s", "1", "nodes", "Hz") and knob.low <= knob.default <= knob.high


def test_every_scenario_names_faults_and_knobs_that_exist() -> None:
    for scenario in SCENARIOS.values():
        timeline(scenario.acts, 1, scenario.nodes, scenario.for_s)
        assert scenario.help and scenario.settle_s > 0 and 2 <= scenario.nodes <= 100
