"""Replicas as conversations: nobody opens before all are bound, copies fail, silence is not a lie, and two who
disagree are never both wrong."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from tests.playbook import at, play
from tests.verify.samples import REPEATS, drawn, found, mixed, porter_thomas, question

from qcommons.base.effects import WakeAt, Woken
from qcommons.base.errors import UsageError
from qcommons.base.seeds import stream
from qcommons.verify.answers import EngineClass, Found
from qcommons.verify.receipt import result_hash
from qcommons.verify.replicate import (
    AskOpen,
    AskThird,
    Committed,
    Judged,
    Opened,
    Replicas,
    commit_to,
    judge,
    seed_of,
)  # fmt: skip

JOB = "job_abcdefghijklmnop"
A, B, C = (bytes([n]) * 32 for n in (1, 2, 3))
P = porter_thomas(6)
TRUE = found(drawn(P, 1000))
LIES = [found(drawn(mixed(P, 0.4), 1000, n)) for n in range(2)]
ASKED = question(1000)
RNG = stream(8, "test replicate")


def replicas(own: Found | None = None, nodes: tuple[bytes, ...] = (A, B)) -> Replicas:
    return Replicas(ASKED, JOB, 3, nodes, 100, 50, RNG, own)


def bound(node: bytes, answer: Found, run: int = 3, job: str = JOB) -> tuple[Committed, Opened]:
    told, opening = commit_to(job, run, node, node, result_hash(answer.answer))
    return Committed(node, told), Opened(node, opening, answer)


def judged(kinds: dict[bytes, str], chosen: bytes | None) -> Any:
    def matches(effect: Any) -> bool:
        if not isinstance(effect, Judged):
            return False
        assert (effect.judgement.kinds, effect.judgement.chosen) == (kinds, chosen)
        return True

    return matches


def test_both_commit_then_open_and_agree() -> None:
    (commit_a, open_a), (commit_b, open_b) = bound(A, TRUE), bound(B, TRUE)
    machine = replicas()
    assert machine.start() == [WakeAt(100, ("commit", 3, 0))]
    assert (
        play(machine)
        >> commit_a
        >> at(7)
        >> commit_b << AskOpen((A, B)) << WakeAt(57, ("open", 3, 0))
        >> open_a
        >> open_b << judged({A: "right", B: "right"}, A)
    )  # fmt: skip


def test_who_opens_before_it_is_asked_is_not_heard() -> None:
    (commit_a, open_a), (commit_b, _) = bound(A, TRUE), bound(B, TRUE)
    machine = replicas()
    assert play(machine) >> commit_a >> open_a >> commit_b << AskOpen((A, B)) << WakeAt
    assert machine.state == {A: "committed", B: "committed"}


def test_two_disagree_and_a_third_decides() -> None:
    (commit_a, open_a), (commit_b, open_b), (commit_c, open_c) = bound(A, TRUE), bound(B, LIES[0]), bound(C, TRUE)
    machine = replicas()
    talk = play(machine) >> commit_a >> commit_b << AskOpen << WakeAt >> open_a >> open_b << AskThird((A, B))
    assert machine.add(C, 200) == [WakeAt(200, ("commit", 3, 1))]
    assert talk >> commit_c << AskOpen((C,)) << WakeAt >> open_c << judged({A: "right", B: "wrong", C: "right"}, A)


def test_three_different_answers_leave_everybody_unproven() -> None:
    ends = [bound(node, answer) for node, answer in zip((A, B, C), (TRUE, *LIES), strict=True)]
    machine = replicas(nodes=(A, B, C))
    talk = play(machine) >> ends[0][0] >> ends[1][0] >> ends[2][0] << AskOpen << WakeAt
    talk = talk >> ends[0][1] >> ends[1][1] >> ends[2][1] << AskThird((A, B, C))
    machine.add(bytes(32), 200)
    assert (
        talk
        >> at(200)
        >> Woken(("open", 3, 0))
        >> Woken(("commit", 3, 1))
        << judged({A: "unproven", B: "unproven", C: "unproven", bytes(32): "silent"}, None)
    )


def test_our_own_answer_decides_alone() -> None:
    (commit_a, open_a), (commit_b, open_b) = bound(A, LIES[0]), bound(B, LIES[0])
    talk = play(replicas(own=TRUE)) >> commit_a >> commit_b << AskOpen << WakeAt
    assert talk >> open_a >> open_b << judged({A: "wrong", B: "wrong"}, None)


def test_a_copied_commitment_opens_for_its_owner_only() -> None:
    commit_a, open_a = bound(A, TRUE)
    talk = play(replicas(own=TRUE)) >> commit_a >> Committed(B, commit_a.commitment) << AskOpen << WakeAt
    talk = talk >> open_a >> Opened(B, open_a.opening, TRUE)
    assert talk << judged({A: "right", B: "malformed"}, A)


@pytest.mark.parametrize(
    "opened", [bound(B, LIES[0])[1], bound(B, TRUE, run=4)[1], bound(B, TRUE, job="job_bbbbbbbbbbbbbbbb")[1]]
)
def test_an_opening_of_something_else_is_malformed(opened: Opened) -> None:
    (commit_a, open_a), (commit_b, _) = bound(A, TRUE), bound(B, TRUE)
    talk = play(replicas(own=TRUE)) >> commit_a >> commit_b << AskOpen << WakeAt >> open_a >> opened
    assert talk << judged({A: "right", B: "malformed"}, A)


def test_a_commitment_to_an_answer_of_the_wrong_form_is_malformed() -> None:
    short = found(drawn(P, 999))
    (commit_a, open_a), (commit_b, open_b) = bound(A, TRUE), bound(B, short)
    talk = play(replicas(own=TRUE)) >> commit_a >> commit_b << AskOpen << WakeAt >> open_a >> open_b
    assert talk << judged({A: "right", B: "malformed"}, A)


def test_the_silent_are_silent_at_either_deadline() -> None:
    (commit_a, open_a), (commit_b, _) = bound(A, TRUE), bound(B, TRUE)
    talk = play(replicas(own=TRUE)) >> commit_a >> at(100) >> Woken(("commit", 3, 0)) << AskOpen((A,)) << WakeAt
    assert talk >> open_a << judged({A: "right", B: "silent"}, A)
    talk = play(replicas(own=TRUE)) >> commit_a >> commit_b << AskOpen << WakeAt >> open_a
    assert talk >> at(150) >> Woken(("open", 3, 0)) << judged({A: "right", B: "silent"}, A)


def test_a_second_commitment_and_strangers_change_nothing() -> None:
    (commit_a, _), (commit_b, _) = bound(A, TRUE), bound(A, LIES[0])
    machine = replicas()
    assert play(machine) >> commit_a >> commit_b >> Committed(C, bytes(32))
    assert machine.commitments == {A: commit_a.commitment}


def test_never_is_everybody_wrong() -> None:
    """All ways in which up to four nodes answer the truth or one of two lies, without our own answer."""
    for count in (2, 3, 4):
        for said in product((TRUE, *LIES), repeat=count):
            kinds = judge(ASKED, {bytes([n]) * 32: answer for n, answer in enumerate(said)}, RNG).kinds
            wrong = [kind for kind in kinds.values() if kind == "wrong"]
            assert len(wrong) <= (count - 1) // 2
            if 2 * sum(answer is TRUE for answer in said) > count:
                assert [kind == "right" for kind in kinds.values()] == [answer is TRUE for answer in said]


def test_seeds_follow_task_run_and_nonce() -> None:
    seeds = {seed_of(task, run, nonce) for task in ("a", "b") for run in (0, 1) for nonce in (bytes(16), b"1" * 16)}
    assert len(seeds) == 8 and all(0 <= seed < 1 << 63 for seed in seeds)
    with pytest.raises(UsageError, match="nonce"):
        seed_of("a", 0, b"short")


def test_replicas_are_two_to_nine_different_nodes() -> None:
    for nodes in ((A,), (A, A), tuple(bytes([n]) * 32 for n in range(10))):
        with pytest.raises(UsageError):
            replicas(nodes=nodes)


def test_who_used_another_engine_than_the_lease_names_is_no_measure_for_others() -> None:
    """It would be compared by statistics alone, in which a tenth of noise passes. Of two, neither has a majority."""
    asked = question(1000, engine=(REPEATS.engine, REPEATS.method))
    other = found(drawn(mixed(P, 0.1), 1000, 3), EngineClass("qsim", "statevector_f32", "f32", "1"))
    assert judge(asked, {A: other, B: TRUE}, RNG).kinds == {A: "unproven", B: "unproven"}
    three = judge(asked, {A: other, B: TRUE, C: TRUE}, RNG)
    assert three.kinds == {A: "wrong", B: "right", C: "right"} and three.chosen == B
