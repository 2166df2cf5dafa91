"""Hire: a lease is granted once, kept before it is granted, told to its holder alone, and forgotten in the end."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.jobs.hired_node import SECRET, T0, HiredNode, S
from tests.jobs.hiring import (
    LONG_TERMS,
    ME,
    NOW_S,
    OTHER,
    PARTS,
    PEER,
    giving,
    granted,
    node_collect,
    offered,
    part,
    ref,
)
from tests.jobs.test_offer import BELL, PIECE

from qcommons.base.effects import Note, Store, Woken
from qcommons.base.errors import Corrupt, PeerError, UsageError
from qcommons.jobs.asks import check_lease
from qcommons.jobs.hire import Hire
from qcommons.jobs.hire_offers import BUSY_NS
from qcommons.jobs.hire_rows import KEPT_NS
from qcommons.jobs.work import (
    COLLECT,
    DROP,
    OFFER,
    OPEN,
    PART,
    PROTOCOLS,
    VERDICT,
    Committed,
    Declined,
    Drop,
    Granted,
    Opened,
    Over,
    Ready,
    Running,
    said,
)
from qcommons.jobs.work_events import Came, Engaged, Heard, HiredEnded, ReportMade, Sharing, WorkRead
from qcommons.mesh.events import Asked, Failed
from qcommons.mesh.records import PeerId


@pytest.fixture
def node() -> HiredNode:
    return HiredNode(ME)


# grants


def test_an_offer_becomes_a_job_and_its_report_is_told_when_it_ends(node: HiredNode) -> None:
    answer = granted(node)
    assert isinstance(answer, Granted)
    lease = answer.lease
    check_lease(lease, None)
    assert (lease.id, lease.node, lease.holder, lease.units_max) == (bytes(16), ME, PEER, 12_345)
    assert (lease.from_s, lease.until_s, lease.price_per_giga) == (NOW_S, NOW_S + 10, 0)
    asked = node.came(COLLECT, ref(), PEER)
    assert asked not in node.answers  # held open
    node.run_until(2 * S)
    report = b"report of " + bytes(16) + b"done"
    assert node.answers[asked] == Ready(len(report), hashlib.sha3_256(report).digest(), report)
    assert T0 + S <= node.answered_ns[asked] < T0 + 1.1 * S
    assert node.accepted == 1


def test_the_lease_is_on_disk_before_the_grant_goes_out(node: HiredNode) -> None:
    asked = node.came(OFFER, offered(), PEER)
    hire = node.hire
    node.run_until(S // 100)  # the work has been read, Engage sent
    effects = hire.handle(Engaged(bytes(16)), node.now_ns)
    kinds = [type(effect).__name__ for effect in effects if not isinstance(effect, Note)]
    assert kinds == ["Store", "WakeAt", "Send"] and asked not in node.answers
    assert effects[0] == Store("hired/" + bytes(16).hex(), effects[0].value)  # type: ignore[union-attr]


def test_the_same_offer_again_has_the_same_answer_and_makes_no_second_job(node: HiredNode) -> None:
    first = granted(node)
    node.run_until(5 * S)
    again = granted(node, within_ns=5 * 10**9)  # less time is left by now
    assert again == first and node.accepted == 1


def test_the_same_offer_while_it_is_read_is_answered_once_to_the_later_question(node: HiredNode) -> None:
    first, second = node.came(OFFER, offered(), PEER), node.came(OFFER, offered(), PEER)
    node.run_until(S // 10)
    assert node.answers[first].who == "unavailable"
    assert isinstance(node.answers[second], Granted) and node.accepted == 1


@pytest.mark.parametrize("at_ns", [0, S // 10])  # while it is read; when it is granted
@pytest.mark.parametrize(
    ("peer", "changed"),
    [(PEER, {"commits": True}), (PEER, {"task": b"t" * 32}), (PEER, {"purpose": "x"}), (PEER, {"job": "other"}),
     (PEER, {"audit": b"a" * 32}), (OTHER, {}), (OTHER, {"commits": True})],
)  # fmt: skip
def test_a_known_lease_with_other_terms_or_from_another_peer_is_declined(
    node: HiredNode, at_ns: int, peer: PeerId, changed: dict[str, Any]
) -> None:
    node.came(OFFER, offered(), PEER)
    node.run_until(at_ns)
    answer = node.ask(OFFER, offered(**changed), peer)
    assert answer.kind == "terms" and "before" in answer.what
    node.run_until(S)
    assert node.accepted == 1


def test_an_offer_whose_work_is_none_is_declined_and_nothing_is_kept(node: HiredNode) -> None:
    answer = granted(node, task=b"t" * 32)
    assert answer.kind == "work" and "task" in answer.what
    assert not node.disk and not node.jobs and not node.hire.view(node.now_ns)


def test_what_the_node_refuses_is_declined_with_its_words(node: HiredNode) -> None:
    node.refuse = ("owner", "qubits: 2 of at most 1")
    answer = granted(node)
    assert (answer.kind, answer.what, answer.again_ns) == ("owner", "qubits: 2 of at most 1", None)
    node.refuse = ("busy", "the queue is full")
    assert granted(node, 1).again_ns == BUSY_NS
    node.refuse = ("a kind of tomorrow", "x" * 5_000 + "\x1b[2J")
    answer = granted(node, 2)
    assert answer.kind == "owner" and len(answer.what) == 1_000
    assert not node.disk


# the end


def test_a_dropped_lease_is_dismissed_told_and_kept() -> None:
    node = HiredNode(ME, takes_s=100)
    granted(node)
    asked = node.came(COLLECT, ref(), PEER)
    assert node.ask(DROP, said(Drop(bytes(16), "hedged\x1b")), PEER) == Over("dropped", "hedged\\x1b")
    assert node.answers[asked] == Over("dropped", "hedged\\x1b")
    assert node.dismissed == [bytes(16)]
    node.run_until(5 * S)
    assert (
        node_collect(node, 0) == node.ask(DROP, said(Drop(bytes(16), "again")), PEER) == Over("dropped", "hedged\\x1b")
    )
    assert node.dismissed == [bytes(16)]
    assert "dropped" in node.hire.view(node.now_ns)[0].why or node.hire.view(node.now_ns)[0].state == "over"
    assert granted(node).kind == "terms" and node.accepted == 1
    node.crash()
    node.run_until(6 * S)
    assert node_collect(node, 0) == Over("dropped", "hedged\\x1b")


def test_an_offer_dropped_on_its_way_makes_no_job_or_one_that_is_dismissed() -> None:
    drop = said(Drop(bytes(16), "changed my mind"))
    node = HiredNode(ME, submitter=giving([None] * len(PARTS)))
    asked = node.came(OFFER, offered(**LONG_TERMS), PEER)
    assert node.ask(DROP, drop, PEER).kind == "dropped" and node.answers[asked].kind == "terms"
    assert not node.hire.view(node.now_ns)
    node = HiredNode(ME)  # while it is read
    asked = node.came(OFFER, offered(), PEER)
    assert node.ask(DROP, drop, PEER).kind == "dropped" and node.answers[asked].kind == "terms"
    node.run_until(S)
    assert not node.jobs and not node.hire.view(node.now_ns)
    node = HiredNode(ME)  # while it is put on disk
    asked = node.came(OFFER, offered(), PEER)
    node.run_until(S // 100)
    (engaged,) = node.lose(Engaged)
    assert node.ask(DROP, drop, PEER).kind == "dropped" and node.answers[asked].kind == "terms"
    assert granted(node).kind == "terms"
    node.tell(engaged)
    node.run_until(S)
    assert node.dismissed == [bytes(16)] and node_collect(node, 0).kind == "dropped"


def test_what_the_owner_ends_is_told_as_given_up(node: HiredNode) -> None:
    granted(node)
    asked = node.came(COLLECT, ref(), PEER)
    node.tell(HiredEnded(bytes(16), "cancelled", "the owner cancelled it"))
    assert node.answers[asked] == Over("given up", "the owner cancelled it")
    assert granted(node).kind == "terms"


def test_a_report_waits_a_day_for_a_submitter_that_is_gone(node: HiredNode) -> None:
    granted(node)
    node.run_until(3_600 * S)
    assert isinstance(node_collect(node, 0), Ready)
    node.crash()
    node.run_until(10 * S + KEPT_NS - S)
    assert isinstance(node_collect(node, 0), Ready)
    node.run_until(10 * S + KEPT_NS)
    assert node_collect(node, 0).kind == "unknown"
    assert not node.disk and not node.hire.view(node.now_ns)


def test_a_job_that_never_ends_is_dismissed_when_its_lease_is_forgotten() -> None:
    node = HiredNode(ME, takes_s=10**6)
    granted(node)
    asked = node.came(COLLECT, ref(), PEER, within_s=200_000)
    node.run_until(10 * S + KEPT_NS + S)
    assert node.dismissed == [bytes(16)] and node.answers[asked].kind == "unknown"


# restarts


@pytest.mark.parametrize("commits", [False, True])
def test_a_crash_after_any_store_loses_nothing_and_runs_nothing_twice(commits: bool) -> None:
    """The submitter repeats what was not answered, as a real one does."""
    script = [(OFFER, offered(commits=commits)), (COLLECT, ref()), *([(OPEN, ref())] if commits else [])]
    wanted: list[Any] = []
    for crash_at in (None, 1, 2, 3):
        node = HiredNode(ME)
        node.crash_at = crash_at
        answers = []
        for protocol, body in script:
            for _ in range(50):
                asked = node.came(protocol, body, PEER, within_s=2)
                node.run_until(node.now_ns + 2 * S)
                answer = node.answers.get(asked)
                if answer is not None and not isinstance(answer, Running | Failed):
                    break
            answers.append(answer)
        assert node.accepted == 1
        assert [type(one) for one in answers] == [Granted, *([Committed, Opened] if commits else [Ready])]
        wanted = wanted or answers[1:]
        assert answers[1:] == wanted


def test_after_a_start_the_end_of_a_job_is_heard_again_and_changes_nothing_twice(node: HiredNode) -> None:
    granted(node)
    node.run_until(2 * S)
    node.tell(HiredEnded(bytes(16), "done"))
    node.crash()
    node.run_until(3 * S)
    assert isinstance(node_collect(node, 0), Ready)
    node.tell(HiredEnded(bytes(16), "done"))
    assert [row.state for row in node.hire.view(node.now_ns)] == ["reported"]


def test_what_was_stored_otherwise_than_here_is_corrupt() -> None:
    node = HiredNode(ME)
    granted(node)
    ((key, raw),) = node.disk.items()
    for bad in ({key: raw[:-1]}, {key: b""}, {"hired/" + "00" * 15 + "01": raw}, {"hired-verdict/x": raw}):
        with pytest.raises(Corrupt):
            Hire(ME, SECRET, bad, check_verdict=node.check_verdict)
    with pytest.raises(UsageError):
        Hire(ME, b"short", {}, check_verdict=node.check_verdict)


# hostile peers


def test_malformed_messages_are_refused_with_the_place(node: HiredNode) -> None:
    granted(node)
    assert node.ask(OFFER, b"\xff", PEER).kind == "work"
    for protocol in (COLLECT, OPEN, PART, DROP, VERDICT, "work.dance/1"):
        answer = node.ask(protocol, b"\xff", PEER)
        assert isinstance(answer, Failed) and answer.who == "usage"
    refused = [one.facts for one in node.notes if one.name == "hire_refused"]
    assert len(refused) == 6 and all(facts["peer"] == PEER.hex() and facts["why"] for facts in refused)


BODIES = [ref(), part(0), part(9), said(Drop(bytes(16), "x")), offered(), offered(commits=True)]
EVENTS = st.one_of(
    st.builds(
        lambda protocol, body, peer, number, within: Came(protocol, Asked(peer, number, body, T0 + within)),
        st.sampled_from(PROTOCOLS),
        st.one_of(st.binary(max_size=40), st.sampled_from(BODIES)),
        st.sampled_from([PEER, OTHER]), st.integers(1, 9), st.integers(0, 10**9),
    ),
    st.sampled_from([
        Heard("hire/0"), Heard("hire/1", b"x"), Heard("other", failed=Failed("peer", "x")), WorkRead(bytes(16), PIECE),
        WorkRead(bytes(16), None), Engaged(bytes(16)), Engaged(b"e" * 16, ("owner", "no")),
        HiredEnded(bytes(16), "done"), HiredEnded(bytes(16), "failed", "x"),
        ReportMade(bytes(16), b"r"), ReportMade(b"e" * 16, None), Sharing(False), Sharing(True),
        Woken(("hire", "answer")), Woken(("hire", "forget")), Woken("other"),
    ]),
)  # fmt: skip


def no_verdict(file: bytes, judge: PeerId) -> Any:
    raise PeerError("signed by somebody else", where="judge")


@given(st.lists(EVENTS, max_size=25))
@settings(deadline=None)
def test_any_events_in_any_order_raise_nothing_and_answer_each_question_at_most_once(events: list[Any]) -> None:
    hire = Hire(ME, SECRET, {}, check_verdict=no_verdict)
    hire.begin(T0)
    open_questions: list[int] = []
    for number, event in enumerate(events):
        if isinstance(event, Came):
            event = msgspec.structs.replace(event, asked=msgspec.structs.replace(event.asked, id=number))
            open_questions.append(number)
        for effect in hire.handle(event, T0 + number):
            message = getattr(getattr(effect, "message", None), "message", None)
            if message is not None and hasattr(message, "id"):
                open_questions.remove(message.id)
    assert len(hire.view(T0)) <= 1  # all speak of one lease


def test_a_stranger_to_a_node_that_shares_nothing_is_answered_before_its_offer_is_read() -> None:
    node = HiredNode(ME, sharing=Sharing(False, "sharing is off"))
    assert node.ask(OFFER, b"not even an offer", PEER) == Declined("owner", "sharing is off")


def test_sharing_ends_for_new_offers_and_not_for_leases(node: HiredNode) -> None:
    first = granted(node)
    node.sharing = Sharing(False, "the owner stopped sharing")
    node.tell(node.sharing)
    assert granted(node) == first
    assert granted(node, 1) == Declined("owner", "the owner stopped sharing")
    node.run_until(3 * S)
    assert isinstance(node_collect(node, 0), Ready)


def test_what_people_see_of_a_lease(node: HiredNode) -> None:
    granted(node, purpose="peace")
    row = node.hire.view(node.now_ns)[0]
    assert (row.lease, row.peer, row.job, row.piece) == (bytes(16).hex(), PEER, "job_aaaaaaaaaaaaaaaa", "0")
    assert (row.purpose, row.state, row.runs, row.price_per_giga) == ("peace", "engaged", 2, 0)
    assert row.since_ns is not None and row.since_ns < row.until_ns == T0 + 10 * S
    node.came(OFFER, offered(1), PEER)
    assert [(row.state, row.since_ns) for row in node.hire.view(node.now_ns)][1] == ("reading", None)
    assert BELL in node.jobs[bytes(16)].piece.programs
