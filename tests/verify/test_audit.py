"""Audits as conversations: who is chosen cannot be foreseen, one lie doubts the batch, an accuser gains nothing."""

from __future__ import annotations

from typing import Any

import pytest
from tests.playbook import play
from tests.verify.samples import drawn, found, mixed, porter_thomas, question

from qcommons.base.errors import UsageError
from qcommons.verify.audit import (
    FLOOR_PPM,
    NEW_PPM,
    Audit,
    Audited,
    Batch,
    Claim,
    Recompute,
    Recomputed,
    Standing,
    choose,
    rate_ppm,
)  # fmt: skip

ME, PEER, THIRD, FOURTH = (bytes([n]) * 32 for n in range(4))
SECRET, ROOT = b"s" * 32, b"r" * 32
P = porter_thomas(6)
TRUE, LIE = found(drawn(P, 1000)), found(drawn(mixed(P, 0.4), 1000))
OTHER_LIE = found(drawn(mixed(P, 0.4), 1000, "other"))
ALL = 1_000_000


def batch(*answers: Any) -> Batch:
    return Batch(ROOT, {run: Claim(question(1000), answer) for run, answer in enumerate(answers)})


def ended(kind: str | None, ground: str, doubted: tuple[int, ...], thirds: dict[bytes, str] | None = None) -> Any:
    def matches(effect: Any) -> bool:
        if not isinstance(effect, Audited):
            return False
        assert (effect.kind, effect.ground, effect.doubted) == (kind, ground, doubted)
        for node, expected in (thirds or {}).items():
            assert effect.judgements[0].kinds[node] == expected
        return True

    return matches


def test_we_recompute_and_it_was_right() -> None:
    talk = play(Audit(ME, PEER, SECRET, ALL)) >> batch(TRUE, TRUE) << Recompute(0, ME) << Recompute(1, ME)
    assert talk >> Recomputed(0, ME, TRUE) >> Recomputed(1, ME, TRUE) << ended("right", "recomputed", ())


def test_one_lie_and_every_run_of_the_batch_is_doubted() -> None:
    talk = play(Audit(ME, PEER, SECRET, ALL)) >> batch(TRUE, LIE, TRUE) << Recompute << Recompute << Recompute
    talk = talk >> Recomputed(1, ME, TRUE) >> Recomputed(0, ME, TRUE) >> Recomputed(2, ME, TRUE)
    assert talk << ended("wrong", "recomputed", (0, 1, 2))


def test_a_third_that_agrees_is_enough() -> None:
    talk = play(Audit(ME, PEER, SECRET, ALL, (THIRD,))) >> batch(TRUE) << Recompute(0, THIRD)
    assert talk >> Recomputed(0, THIRD, TRUE) << ended("right", "majority", ())


def test_a_false_accuser_is_itself_found_wrong() -> None:
    talk = play(Audit(ME, PEER, SECRET, ALL, (THIRD,))) >> batch(TRUE) << Recompute(0, THIRD)
    talk = talk >> Recomputed(0, THIRD, LIE) << Recompute(0, ME) >> Recomputed(0, ME, TRUE)
    assert talk << ended("right", "recomputed", (), {PEER: "right", THIRD: "wrong"})


def test_a_true_accuser_is_right() -> None:
    talk = play(Audit(ME, PEER, SECRET, ALL, (THIRD,))) >> batch(LIE) << Recompute >> Recomputed(0, THIRD, TRUE)
    talk = talk << Recompute(0, ME) >> Recomputed(0, ME, TRUE)
    assert talk << ended("wrong", "recomputed", (0,), {PEER: "wrong", THIRD: "right"})


def test_where_we_cannot_compute_another_third_arbitrates() -> None:
    talk = play(Audit(ME, PEER, SECRET, ALL, (THIRD, FOURTH), can=False)) >> batch(TRUE) << Recompute(0, THIRD)
    talk = talk >> Recomputed(0, THIRD, LIE) << Recompute(0, FOURTH) >> Recomputed(0, FOURTH, TRUE)
    assert talk << ended("right", "majority", (), {PEER: "right", THIRD: "wrong", FOURTH: "right"})


def test_without_a_majority_nobody_is_wrong_and_the_run_is_not_used() -> None:
    talk = play(Audit(ME, PEER, SECRET, ALL, (THIRD, FOURTH), can=False)) >> batch(TRUE) << Recompute
    talk = talk >> Recomputed(0, THIRD, LIE) << Recompute >> Recomputed(0, FOURTH, OTHER_LIE)
    assert talk << ended("unproven", "majority", (0,), {PEER: "unproven", THIRD: "unproven", FOURTH: "unproven"})


def test_a_third_that_could_not_is_followed_by_the_next() -> None:
    talk = play(Audit(ME, PEER, SECRET, ALL, (THIRD,))) >> batch(TRUE) << Recompute(0, THIRD)
    talk = talk >> Recomputed(0, THIRD, None) << Recompute(0, ME) >> Recomputed(0, ME, TRUE)
    assert talk << ended("right", "recomputed", ())


def test_nonsense_from_a_third_is_its_own_fault() -> None:
    talk = play(Audit(ME, PEER, SECRET, ALL, (THIRD,))) >> batch(TRUE) << Recompute(0, THIRD)
    talk = talk >> Recomputed(0, THIRD, found(drawn(P, 5))) << Recompute(0, ME) >> Recomputed(0, ME, TRUE)
    assert talk << ended("right", "recomputed", (), {PEER: "right", THIRD: "malformed"})


def test_who_was_not_asked_is_not_heard() -> None:
    machine = Audit(ME, PEER, SECRET, ALL)
    assert play(machine) >> batch(LIE) << Recompute(0, ME) >> Recomputed(0, THIRD, LIE) >> Recomputed(5, ME, LIE)
    assert not machine.judgements


def test_where_nothing_is_chosen_nothing_is_said_of_the_peer() -> None:
    runs = batch(*[TRUE] * 3)
    secret = next(s for n in range(99) if not choose(s := bytes([n]) * 32, ROOT, range(3), FLOOR_PPM))
    assert play(Audit(ME, PEER, secret, FLOOR_PPM)) >> runs << ended(None, "recomputed", ())


def test_the_choice_needs_the_secret_and_the_results() -> None:
    """10,000 runs at 5 %: 500 +- 22; 5 sigma is one in 1.7 million."""
    runs = range(10_000)
    chosen = choose(SECRET, ROOT, runs, 50_000)
    assert abs(len(chosen) - 500) < 110
    for secret, root in ((b"t" * 32, ROOT), (SECRET, b"q" * 32)):
        common = set(chosen) & set(choose(secret, root, runs, 50_000))
        assert len(common) < 60  # 25 +- 5
    assert choose(SECRET, ROOT, runs, 0) == ()
    assert len(choose(SECRET, ROOT, runs, ALL)) == 10_000
    assert set(choose(SECRET, ROOT, runs, 20_000)) <= set(chosen)
    with pytest.raises(UsageError, match="secret"):
        choose(b"short", ROOT, runs, ALL)


def test_the_rate_falls_with_checked_work_never_below_the_floor_and_rises_after_a_lie() -> None:
    rates = [rate_ppm(Standing(right)) for right in range(0, 2000, 10)]
    assert rates[0] == NEW_PPM and rates[-1] == FLOOR_PPM
    assert rates == sorted(rates, reverse=True)
    assert rate_ppm(Standing(0, 1)) == rate_ppm(Standing(99, 1)) == ALL
    assert rate_ppm(Standing(100, 1)) == NEW_PPM
    assert rate_ppm(Standing(10**9), ALL) == FLOOR_PPM
    with pytest.raises(UsageError, match="ppm"):
        rate_ppm(Standing(), FLOOR_PPM - 1)


def test_somebody_else_must_be_able_to_compute_it() -> None:
    for arguments in ({"can": False}, {"thirds": (PEER,)}):
        with pytest.raises(UsageError):
            Audit(ME, PEER, SECRET, ALL, **arguments)
