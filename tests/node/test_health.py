"""Health: one sentence, and for whatever is not green cause, who, since and what to do."""

from __future__ import annotations

from qcommons.node.api.records import Trouble
from qcommons.node.health import clock_trouble, disk_trouble, gate_trouble, sentence, unchecked_troubles, worst
from qcommons.node.owner import OwnerLimits, Pause, Sense, may_start

S = 1_000_000_000
FULL = disk_trouble("full", "the disk is full", 5 * S, "free some space")


def test_all_is_well_says_what_is_done() -> None:
    assert worst(()) == "green"
    assert sentence((), 0, 0, 0) == "All is well: nothing to do."
    assert sentence((), 2, 5, 0) == "All is well: 2 running, 5 waiting."


def test_the_sentence_names_the_gravest_its_age_and_its_cause() -> None:
    paused = gate_trouble(may_start(OwnerLimits(), Sense(minute_of_week=0), Pause(1 * S, None, False, "home"), 9 * S))
    assert paused is not None and paused.level == "yellow" and paused.action == "qcommons resume"
    assert worst((paused,)) == "yellow" and worst((paused, FULL)) == "red"
    said = sentence((paused, FULL), 0, 3, 65 * S)
    assert said == "Nothing can be written for 1 min: the disk is full (and 1 more); 0 running, 3 waiting."


def test_every_trouble_says_cause_who_since_and_action() -> None:
    troubles: list[Trouble | None] = [
        FULL,
        disk_trouble("corrupt", "damaged", 0, "restore it"),
        clock_trouble(90 * S, 0, 0, 0),
        clock_trouble(-90 * S, 0, 0, 0),
        clock_trouble(0, 90 * S, 0, 0),
        *unchecked_troubles(OwnerLimits(idle_min=5), Sense(minute_of_week=0), 0),
    ]
    assert len(troubles) == 6
    for one in troubles:
        assert one is not None and one.cause and one.who and one.action and one.level in ("yellow", "red")


def test_a_clock_that_drifts_is_no_trouble() -> None:
    assert clock_trouble(2 * S, 2 * S, 0, 0) is None
