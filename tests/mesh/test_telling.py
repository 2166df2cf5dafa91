"""Telling: each beat to who wants it, quiet neighbours, and all of them heard again when somebody is late."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.mesh.making import S, peer
from tests.mesh.small_beats import Case, beats_of, pushed

from qcommons.mesh.messages import Beats
from qcommons.mesh.telling import LOUD_MIN, PULL_BEATS, STALE_MIN, STALE_SHARE

NEAR = [peer(number) for number in range(6)]
EARS = 12  # authors that are heard of


def near(count: int = 6) -> Case:
    """A node with six neighbours and twelve peers alive."""
    case = Case(EARS)
    case.peers.near = case.peers.links = NEAR[:count]
    for one in NEAR[:count]:
        case.members.neighbour(one, True, case.now_ns)
    return case


def round_of(case: Case, tellers: list[Any], count: int) -> list[Any]:
    """One beat of every author, said by `tellers` one after the other; then two seconds pass."""
    out: list[Any] = []
    for teller in tellers:
        out += case.tell(*case.beats(count), by=teller)
    return out + case.tick(2)


def quiet_words(effects: list[Any]) -> list[tuple[Any, bool]]:
    return [(to, message.quiet) for to, message in beats_of(effects)]


def test_neighbours_that_say_what_others_said_before_are_asked_to_be_quiet() -> None:
    """Six tell the same: the first always tells news, so it and one more stay, and the other four are asked once."""
    case = near()
    out = [effect for count in range(1, 9) for effect in round_of(case, NEAR, count)]
    asked = Counter(to for to, message in beats_of(out) if message == Beats((), False, True))
    assert asked == Counter(dict.fromkeys(NEAR[LOUD_MIN:], 1))
    assert EARS * 3 > STALE_MIN and STALE_SHARE * 0 < EARS, "three rounds of known beats are enough to judge by"


def test_who_tells_news_that_nobody_else_tells_is_never_asked_to_be_quiet() -> None:
    case = near(4)
    out: list[Any] = []
    for count in range(1, 9):
        beats = case.beats(count)
        for place, teller in enumerate(NEAR[:4]):
            out += case.tell(*beats[3 * place : 3 * place + 3], by=teller)
        out += case.tick(2)
    assert not any(message.quiet for _, message in beats_of(out))


def test_every_message_to_a_quiet_neighbour_says_so_again() -> None:
    case = near()
    for count in range(1, 9):
        round_of(case, NEAR, count)
    words = dict(quiet_words(case.tell(by=NEAR[5], reply=True)))
    assert words == {NEAR[5]: True}
    assert dict(quiet_words(case.tell(by=NEAR[0], reply=True))) == {NEAR[0]: False}


def test_when_somebody_alive_is_late_all_are_heard_again_and_asked() -> None:
    """All go silent: four seconds on, a second before suspicion, those that were quiet are asked."""
    case = near()
    for count in range(1, 9):
        round_of(case, NEAR, count)
    asked: list[Any] = []
    while not asked:
        asked = [(to, m) for to, m in beats_of(case.tick(0.5)) if m.reply and to in NEAR[2:] and len(m.beats) > 10]
        assert case.state(0) == "alive"
    assert {to for to, _ in asked} >= set(NEAR[2:]) - {to for to, m in asked if m.quiet}
    assert all(len(message.beats) == EARS + 1 <= PULL_BEATS for _, message in asked)


def test_where_too_few_neighbours_are_left_to_hear_from_the_quiet_ones_are_asked_to_speak() -> None:
    case = near()
    for count in range(1, 9):
        round_of(case, NEAR, count)
    case.peers.near = NEAR[1:]
    case.members.neighbour(NEAR[0], False, case.now_ns)
    case.tell(*case.beats(9), by=NEAR[1])  # nobody is late
    words = [row for row in quiet_words(case.tick(0.5)) if row[0] in NEAR[2:]]
    assert words and not any(quiet for _, quiet in words)


def test_routine_beats_go_to_two_at_least_and_to_none_that_asked_for_quiet_beyond() -> None:
    case = near()
    for one in NEAR[:5]:
        case.members.came(one, 0, Beats((), False, True), case.now_ns)
    case.tell(*case.beats(1), by=peer(99))  # they become alive: everybody is told
    case.tick(1)
    case.tell(*case.beats(2), by=peer(99))
    told = {to for to, beat in pushed(case.tick(0.5)) if beat.count == 2}
    assert told == {NEAR[5], NEAR[0]}
    case.members.came(NEAR[1], 0, Beats((), False, False), case.now_ns)
    case.tell(*case.beats(3), by=peer(99))
    told = {to for to, beat in pushed(case.tick(0.5)) if beat.count == 3}
    assert told == {NEAR[5], NEAR[1]}, "who wants it again gets it, and that makes two"


def test_a_change_of_state_goes_to_those_that_asked_for_quiet_too() -> None:
    case = near()
    for one in NEAR:
        case.members.came(one, 0, Beats((), False, True), case.now_ns)
    effects = case.tell(*case.beats(1)[:1], by=peer(99))
    effects += case.members.woken(("membership", "push"), case.now_ns + S // 20) + case.tick(0.5)
    told = Counter(to for to, beat in pushed(effects) if beat == case.beats(1)[0])
    assert told == Counter(NEAR), "each once"


def test_the_exchange_names_those_that_are_silent_longest() -> None:
    case = near(1)
    case.tell(*case.beats(1), by=peer(99))
    case.tick(1.5)
    case.tell(*case.beats(2)[:6], by=peer(99))
    (asked,) = [m for _, m in beats_of(case.tick(2)) if m.reply][:1]
    named = [beat.peer for beat in asked.beats]
    assert named[0] == case.peers.me
    assert named[1:7] == [author.peer for author in case.authors[6:]], "the silent first"
