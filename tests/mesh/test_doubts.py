"""Doubts: what a teller owes for a beat that does not follow, and how much hashing it can cause."""

from __future__ import annotations

from tests.mesh.making import NOW_NS, S, peer

from qcommons.mesh.doubts import FEW_STEPS, OPEN_MAX, VAIN_STEPS, Doubts

A, B, AUTHOR = peer(1), peer(2), peer(3)


def test_only_the_record_that_is_held_here_proves_a_lie() -> None:
    for is_the_same in (True, False):
        doubts = Doubts()
        assert doubts.ask(A, AUTHOR, 5, NOW_NS)
        assert doubts.shown(A, AUTHOR, is_the_same, NOW_NS + S) == is_the_same
        assert not doubts.shown(A, AUTHOR, True, NOW_NS + S), "once"


def test_who_told_nothing_false_may_show_what_it_likes() -> None:
    doubts = Doubts()
    doubts.ask(A, AUTHOR, 5, NOW_NS)
    assert not doubts.shown(B, AUTHOR, True, NOW_NS)
    assert not doubts.shown(A, peer(4), True, NOW_NS)


def test_silence_proves_nothing_and_is_forgotten() -> None:
    doubts = Doubts()
    assert doubts.ask(A, AUTHOR, 5, NOW_NS)
    assert not doubts.ask(A, AUTHOR, 5, NOW_NS + 9 * S), "it was asked"
    assert not doubts.shown(A, AUTHOR, True, NOW_NS + 11 * S)
    assert doubts.ask(A, AUTHOR, 5, NOW_NS + 12 * S)


def test_a_teller_is_asked_about_so_many_at_a_time() -> None:
    doubts = Doubts()
    assert sum(doubts.ask(A, peer(number), 1, NOW_NS) for number in range(1_000)) == OPEN_MAX
    assert doubts.ask(B, AUTHOR, 1, NOW_NS), "others are asked"
    assert doubts.ask(A, peer(5_000), 1, NOW_NS + 11 * S)


def test_hashing_for_nothing_is_bounded_and_short_steps_are_always_looked_at() -> None:
    doubts = Doubts()
    looked = 0
    for number in range(1_000):
        if doubts.may_check(A, 1_799, NOW_NS):
            doubts.ask(A, peer(number), 1_799, NOW_NS)
            looked += 1
    assert looked == VAIN_STEPS.burst // 1_799
    assert doubts.may_check(A, FEW_STEPS, NOW_NS)
    assert doubts.may_check(B, 1_799, NOW_NS)
    doubts.forget(A)
    assert doubts.may_check(A, 1_799, NOW_NS)
