"""Health: one sentence, and for whatever is not green cause, who, since and what to do."""

from __future__ import annotations

import pytest

from qcommons.node.api.mesh_records import PeerRow, PeerState, Relation
from qcommons.node.api.records import Trouble
from qcommons.node.health import (
    Pending,
    clock_trouble,
    disk_trouble,
    gate_trouble,
    invite_trouble,
    lost_trouble,
    sentence,
    unchecked_troubles,
    worst,
)
from qcommons.node.owner import OwnerLimits, Pause, Sense, may_start

S = 1_000_000_000
FULL = disk_trouble("full", "the disk is full", 5 * S, "free some space")


def test_all_is_well_says_what_is_done() -> None:
    assert worst(()) == "green"
    assert sentence((), 0, 0, 0) == "All is well: no job runs or waits."
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


# the mesh

DAY = 86_400 * S


def row(
    state: PeerState, cause: str, since_ns: int, node: str = "qn1aaaaaaaaaaaaaaaa", relation: Relation = "invited"
) -> PeerRow:
    return PeerRow(node=node, level="red", state=state, cause=cause, since_ns=since_ns, relation=relation)


def test_a_peer_that_vanished_is_yellow_with_cause_since_who_and_what_to_do() -> None:
    silent = row("lost", "no sign of life for 15 s; tcp/10.0.0.2:8741: refused", 5 * S)
    one = lost_trouble([row("alive", "linked", 0), silent], 65 * S)
    assert one is not None and (one.level, one.who, one.since_ns) == ("yellow", "peers", 5 * S)
    assert sentence((one,), 0, 0, 65 * S).startswith("A peer is lost for 1 min: qn1aaaaaaaaaaaaa: no sign of life")
    assert "qcommons peers forget qn1aaaaaaaaaaaaa" in one.action
    two = lost_trouble([silent, row("lost", "no sign of life for 15 s", 3 * S, "qn1b")], 65 * S)
    assert two is not None and two.what == "2 peers are lost"
    assert two.cause.startswith("qn1b:") and two.since_ns == 3 * S


@pytest.mark.parametrize(
    "gone",
    [
        row("away", "as its record says", 0),
        row("away", "said goodbye, as planned", 0),
        row("stopped", "said goodbye", 0),
        row("lost", "no sign of life for 15 s", 0, relation="stranger"),
        row("lost", "no sign of life for 15 s", -2 * DAY),  # no news any more
        row("suspect", "no sign of life for 5 s", 0),
        row("denied", "the owner denied it", 0),
    ],
)
def test_who_left_with_a_word_or_long_ago_or_was_never_chosen_is_no_trouble(gone: PeerRow) -> None:
    assert lost_trouble([gone], 60 * S) is None


def test_an_invitation_that_nobody_answers_is_told_once_there_was_time() -> None:
    pending = [Pending("qn1aaaaaaaaaaaaaaaa", ("tcp/10.0.0.2:8741", "tcp/[fe80::1]:8741"), 10 * S)]
    assert invite_trouble(pending, 20 * S) is None and invite_trouble([], 99 * S) is None
    told = invite_trouble(pending, 40 * S)
    assert told is not None and (told.level, told.since_ns, told.who) == ("yellow", 10 * S, "peers")
    assert "not reached at 10.0.0.2:8741, [fe80::1]:8741; it is tried further" in told.cause and told.action
