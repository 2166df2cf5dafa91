"""Hire: offers on their way to a grant: parts pulled, answered in time, bounded, forgotten."""

from __future__ import annotations

import itertools

import pytest
from tests.jobs.hired_node import T0, HiredNode, S
from tests.jobs.hiring import (
    LONG,
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
)

from qcommons.jobs import hire_offers, hire_rows
from qcommons.jobs.asks import Ask as WorkAsk
from qcommons.jobs.asks import ask_hash
from qcommons.jobs.hire import ALL_A_PLACE, PEER_A_PLACE, STRANGERS_A_PLACE
from qcommons.jobs.hire_offers import BUSY_NS, OFFERS_PEER_MAX
from qcommons.jobs.hire_waiting import answer_by_ns
from qcommons.jobs.offer import PART_BYTES
from qcommons.jobs.work import (
    OFFER,
    Declined,
    Granted,
    Over,
    Ready,
)
from qcommons.jobs.work_events import Engaged, Sharing, WorkRead
from qcommons.mesh.events import Failed
from qcommons.mesh.records import PeerId


@pytest.fixture
def node() -> HiredNode:
    return HiredNode(ME)


def test_longer_work_comes_in_parts_from_the_peer_that_offers_it() -> None:
    assert len(PARTS) >= 5  # more than are asked for at once
    node = HiredNode(ME, submitter=giving(list(PARTS)))
    answer = granted(node, **LONG_TERMS)
    assert isinstance(answer, Granted)
    assert [len(job.piece.items) for job in node.jobs.values()] == [10_000]


@pytest.mark.parametrize(
    ("bad", "kind"),
    [(PARTS[2][:-1], "work"), (PARTS[2] + b"x", "work"), (b"", "work"), (bytes(PART_BYTES), "work"),
     (Failed("unavailable", "the link was lost"), "busy"), (Failed("usage", "there is no such lease"), "work")],
)  # fmt: skip
def test_a_part_that_is_none_or_does_not_come_ends_the_offer(bad: bytes | Failed, kind: str) -> None:
    node = HiredNode(ME, submitter=giving([*PARTS[:2], bad, *PARTS[3:]]))
    answer = granted(node, **LONG_TERMS)
    assert isinstance(answer, Declined) and answer.kind == kind
    assert not node.jobs and not node.disk and not node.hire.view(node.now_ns)
    good = HiredNode(ME, submitter=giving(list(PARTS)))
    assert isinstance(granted(good, **LONG_TERMS), Granted)  # nothing stands in the way of the next


def test_an_offer_is_answered_before_its_time_is_over_though_no_part_comes() -> None:
    node = HiredNode(ME, submitter=giving([None] * len(PARTS)))
    asked = node.came(OFFER, offered(**LONG_TERMS), PEER, within_s=8)
    node.run_until(60 * S)
    answer = node.answers[asked]
    assert answer.kind == "busy" and answer.again_ns == BUSY_NS
    assert node.answered_ns[asked] == T0 + 7 * S
    assert not node.hire.view(node.now_ns)


def test_short_questions_are_answered_a_quarter_before_their_end() -> None:
    node = HiredNode(ME, reads_s=10)
    asked = node.came(OFFER, offered(), PEER, within_s=2)
    node.run_until(60 * S)
    assert node.answers[asked].kind == "busy" and node.answered_ns[asked] == T0 + 3 * S // 2


@pytest.mark.parametrize(("span_s", "early_s"), [(30, 1), (4, 1), (3.6, 0.9), (0.001, 0.00025), (0, 0), (-1, 0)])
def test_how_early_a_question_is_answered(span_s: float, early_s: float) -> None:
    until_ns = T0 + round(span_s * S)
    assert answer_by_ns(until_ns, T0) == until_ns - round(early_s * S)


def test_an_offer_that_nobody_waits_for_is_forgotten() -> None:
    node = HiredNode(ME, submitter=giving([None] * len(PARTS)))
    asked = node.came(OFFER, offered(**LONG_TERMS), PEER)
    node.withdraw(asked, PEER)
    assert not node.hire.view(node.now_ns)
    node = HiredNode(ME)
    asked = node.came(OFFER, offered(), PEER)
    node.withdraw(asked, OTHER)  # not theirs to withdraw
    node.withdraw(asked, PEER)
    assert len(node.hire.view(node.now_ns)) == 1  # a thread reads it: the same offer could go on from there
    node.run_until(S)
    assert not node.hire.view(node.now_ns) and not node.jobs and not node.answers


def test_an_offer_repeated_while_its_work_is_read_goes_on_from_there() -> None:
    node = HiredNode(ME, reads_s=1)
    node.withdraw(node.came(OFFER, offered(), PEER), PEER)
    asked = node.came(OFFER, offered(), PEER)
    node.run_until(2 * S)
    assert isinstance(node.answers[asked], Granted) and node.accepted == 1


def test_when_it_is_not_known_whether_the_job_was_kept_the_offer_is_to_be_repeated() -> None:
    node = HiredNode(ME)
    asked = node.came(OFFER, offered(), PEER, within_s=1)
    node.run_until(S // 100)
    (engaged,) = node.lose(Engaged)  # a slow disk
    node.run_until(S)
    assert node.answers[asked].who == "unavailable" and "repeat" in node.answers[asked].what
    again = node.came(OFFER, offered(), PEER)
    node.tell(engaged)
    assert isinstance(node.answers[again], Granted) and node.accepted == 1


def test_trouble_of_this_node_in_reading_work_is_nobodys_fault(node: HiredNode) -> None:
    asked = node.came(OFFER, offered(), PEER)
    node.tell(WorkRead(bytes(16), None, ("no memory", "node")))
    assert node.answers[asked].kind == "busy"


# bounds


def test_one_peer_all_strangers_and_all_have_a_bound_of_open_leases() -> None:
    node = HiredNode(ME, sharing=Sharing(True, places=2), takes_s=100)
    numbers = itertools.count()
    peers = itertools.count(1)

    def most(relation: str) -> list[str]:
        """Leases of one peer until one is declined; its words."""
        peer, open_leases = PeerId(next(peers).to_bytes(32, "big")), []
        while True:
            asked = node.came(OFFER, offered(next(numbers)), peer, relation=relation)
            node.run_until(node.now_ns + S // 10)
            answer = node.answers[asked]
            open_leases.append("open" if isinstance(answer, Granted) else answer.what)
            if isinstance(answer, Declined):
                assert answer.kind == "busy" and answer.again_ns == BUSY_NS
                return open_leases

    for _ in range(STRANGERS_A_PLACE // PEER_A_PLACE):
        *opened, why = most("stranger")
        assert len(opened) == 2 * PEER_A_PLACE and "of yours" in why
    *opened, why = most("stranger")
    assert not opened and "of strangers" in why
    *opened, _ = most("own")
    assert len(opened) == 2 * (ALL_A_PLACE - STRANGERS_A_PLACE)
    *opened, why = most("own")
    assert not opened and "16 leases are open" in why
    node.run_until(node.now_ns + 200 * S)  # they have ended
    *opened, _ = most("stranger")
    assert len(opened) == 2 * PEER_A_PLACE


def test_an_ask_of_fewer_places_holds() -> None:
    ask = WorkAsk(
        node=ME, resource="work", price_per_giga=250, capacity_per_s=10**8, places=1, not_before_s=NOW_S - 10,
        until_s=NOW_S + 1_000, transferable=False, seq=NOW_S * 1000,
    )  # fmt: skip
    node = HiredNode(ME, sharing=Sharing(True, ask=ask, places=64), takes_s=100)
    answers = [granted(node, k, ask=ask_hash(ask), price_max=250) for k in range(PEER_A_PLACE + 1)]
    assert [type(one) for one in answers] == [Granted] * PEER_A_PLACE + [Declined]


def test_offers_on_their_way_are_bounded_a_peer_and_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    node = HiredNode(ME, sharing=Sharing(True, places=64), submitter=lambda peer, ask: None)
    body = [offered(k, **LONG_TERMS) for k in range(OFFERS_PEER_MAX + 1)]
    assert [node.ask(OFFER, one, PEER) for one in body[:-1]] == [None] * OFFERS_PEER_MAX
    assert "8 offers of yours" in node.ask(OFFER, body[-1], PEER).what
    monkeypatch.setattr(hire_offers, "OFFERS_MAX", 9)
    assert node.ask(OFFER, offered(99, **LONG_TERMS), OTHER) is None
    assert node.ask(OFFER, offered(100, **LONG_TERMS), OTHER).kind == "busy"


def test_bytes_of_work_on_its_way_are_bounded_as_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hire_offers, "PEER_BYTES_MAX", 2 * len(LONG))
    monkeypatch.setattr(hire_offers, "BYTES_MAX", 3 * len(LONG))
    node = HiredNode(ME, sharing=Sharing(True, places=64), submitter=lambda peer, ask: None)
    asked = [node.came(OFFER, offered(k, **LONG_TERMS), PEER) for k in range(3)]
    assert node.answers[asked[2]].kind == "busy" and "of yours" in node.answers[asked[2]].what
    others = [node.came(OFFER, offered(k, **LONG_TERMS), OTHER) for k in (7, 8)]
    assert others[0] not in node.answers and "of all" in node.answers[others[1]].what
    node.run_until(40 * S)  # time is over for all of them: the bytes are free again
    assert node.ask(OFFER, offered(9, **LONG_TERMS), PEER) is None


def test_who_holds_too_many_leases_makes_room_by_its_own_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hire_rows, "ROWS_PEER_MAX", 4)
    node = HiredNode(ME, sharing=Sharing(True, places=8), takes_s=0.01)
    other = granted(node, 99, OTHER)
    for k in range(4):
        assert isinstance(granted(node, k), Granted)
    assert isinstance(node_collect(node, 1), Ready)  # number 1 was told whole: it goes first
    for k in (4, 5):
        granted(node, k)
    kept = sorted(int(key.rpartition("/")[2], 16) for key in node.disk)
    assert kept == [2, 3, 4, 5, 99]
    assert node_collect(node, 0) == node_collect(node, 1) == Over("unknown", "there is no such lease")
    assert granted(node, 99, OTHER) == other
    gone = [one for one in node.notes if one.name == "hired_forgotten"]
    assert [one.facts["state"] for one in gone] == ["reported", "ended"] and gone[0].facts["peer"] == PEER.hex()


def test_when_all_rows_are_taken_strangers_make_room_before_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hire_rows, "ROWS_MAX", 3)
    node = HiredNode(ME, sharing=Sharing(True, places=8), takes_s=0.01)
    for k, relation in ((1, "own"), (2, "stranger"), (3, "stranger"), (4, "stranger"), (5, "stranger"), (6, "own")):
        node.came(OFFER, offered(k), PeerId(bytes([k]) * 32), relation=relation)
        node.run_until(node.now_ns + S // 10)
    kept = sorted(int(key.rpartition("/")[2], 16) for key in node.disk)
    assert kept == [1, 5, 6]
