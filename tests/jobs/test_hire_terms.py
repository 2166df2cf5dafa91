"""Hire: what the owner says, and what a lease then says: who is served, purposes, memory, the ask, its times."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.jobs.hired_node import SECRET, T0, HiredNode, S
from tests.jobs.hiring import (
    ME,
    NOW_S,
    PEER,
    offered,
)
from tests.jobs.test_offer import offer

from qcommons.jobs.asks import Ask as WorkAsk
from qcommons.jobs.asks import ask_hash, check_lease
from qcommons.jobs.hire import Hire
from qcommons.jobs.hire_offers import BUSY_NS
from qcommons.jobs.hire_terms import LEASE_NS_MAX
from qcommons.jobs.offer import offer_bytes
from qcommons.jobs.work import (
    OFFER,
    Declined,
    Granted,
    read,
)
from qcommons.jobs.work_events import Came, Sharing
from qcommons.mesh.events import Asked

ASK = WorkAsk(
    node=ME, resource="work", price_per_giga=250, capacity_per_s=10**8, places=2, not_before_s=NOW_S - 10,
    until_s=NOW_S + 1_000, transferable=True, seq=NOW_S * 1000,
)  # fmt: skip
CITED = {"ask": ask_hash(ASK), "price_max": 250}


def changed(**fields: Any) -> WorkAsk:
    return msgspec.structs.replace(ASK, **fields)


@pytest.mark.parametrize(
    ("sharing", "fields", "relation", "kind", "says"),
    [
        (Sharing(False, "sharing is off"), {}, "own", "owner", "sharing is off"),
        (Sharing(True, strangers=False), {}, "stranger", "owner", "allow"),
        (Sharing(True, strangers=False), {}, "allowed", None, ""),
        (Sharing(True, refuses=frozenset({"war"})), {"purpose": "war"}, "own", "purpose", "'war'"),
        (Sharing(True, refuses=frozenset({"war"})), {"purpose": "peace"}, "own", None, ""),
        (Sharing(True, allows=frozenset({"peace"})), {"purpose": ""}, "own", "purpose", "1 named"),
        (Sharing(True, allows=frozenset({"peace"})), {"purpose": "peace"}, "stranger", None, ""),
        (Sharing(True, memory_bytes=1 << 29), {}, "stranger", "owner", "512 MiB"),
        (Sharing(True, memory_bytes=1 << 30), {}, "stranger", None, ""),
        (Sharing(True), {"ask": ask_hash(ASK)}, "stranger", "terms", "not this node's"),
        (Sharing(True, ask=ASK), {}, "stranger", "terms", ask_hash(ASK).hex()),
        (Sharing(True, ask=ASK), {}, "allowed", "terms", "250"),
        (Sharing(True, ask=ASK), {}, "own", None, ""),
        (Sharing(True, ask=ASK), CITED, "stranger", None, ""),
        (Sharing(True, ask=ASK), CITED | {"price_max": 249}, "stranger", "terms", "at most 249"),
        (Sharing(True, ask=changed(price_per_giga=1)), CITED, "stranger", "terms", "not this node's"),
    ],
)
def test_what_the_owner_says_holds_for_every_offer(
    sharing: Sharing, fields: dict[str, Any], relation: str, kind: str | None, says: str
) -> None:
    node = HiredNode(ME, sharing=sharing)
    asked = node.came(OFFER, offered(**fields), PEER, relation=relation)
    node.run_until(S)
    answer = node.answers[asked]
    if kind is None:
        assert isinstance(answer, Granted)
        check_lease(answer.lease, ASK if "ask" in fields else None)
    else:
        assert isinstance(answer, Declined) and answer.kind == kind and says in answer.what
        assert [one.facts["peer"] for one in node.notes if one.name == "hire_declined"] == [PEER.hex()]


def test_before_the_owner_has_spoken_nothing_is_taken() -> None:
    hire = Hire(ME, SECRET, {}, check_verdict=lambda file, judge: pytest.fail("no verdict came"))
    effects = hire.handle(Came(OFFER, Asked(PEER, 1, offered(), T0 + S)), T0)
    answer = read(OFFER, effects[-1].message.message.body)  # type: ignore[union-attr]
    assert answer.kind == "busy" and answer.again_ns == BUSY_NS


def test_a_lease_stays_inside_of_its_ask_and_says_how_long_it_holds() -> None:
    window, later = (NOW_S - 5, NOW_S + 20), (NOW_S + 100, NOW_S + 120)
    for ask, within_s, during, span in (
        (ASK, 10, "span", (NOW_S, NOW_S + 10)),
        (ASK, 5_000, "span", (NOW_S, NOW_S + 1_000)),
        (changed(windows=(window, later)), 10, "span", (NOW_S, NOW_S + 10)),
        (changed(windows=(window, later)), 21, "window", window),
        (None, 10**9, "span", (NOW_S, NOW_S + LEASE_NS_MAX // S)),
        (None, 1e-9, "span", (NOW_S, NOW_S + 1)),
    ):
        node = HiredNode(ME, sharing=Sharing(True, ask=ask))
        cited = {} if ask is None else {"ask": ask_hash(ask), "price_max": 250}
        body = offer_bytes(offer(within_ns=max(1, round(within_s * S)), **cited))
        asked = node.came(OFFER, body, PEER)
        node.run_until(S)
        if within_s < 1e-6:
            assert node.answers[asked].kind == "terms" and "deadline" in node.answers[asked].what
            continue
        lease = node.answers[asked].lease
        check_lease(lease, ask)
        assert (lease.during, (lease.from_s, lease.until_s)) == (during, span)


def test_between_contact_windows_it_is_said_when_to_come_again() -> None:
    ask = changed(windows=((NOW_S - 5, NOW_S), (NOW_S + 100, NOW_S + 120)))
    node = HiredNode(ME, sharing=Sharing(True, ask=ask))
    answer = node.ask(OFFER, offered(ask=ask_hash(ask), price_max=250), PEER)
    assert (answer.kind, answer.again_ns) == ("terms", 100 * S)
