"""Asks between real nodes on loopback: told by gossip, learnt from a neighbour after a start, outliving kill -9."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tests.node.daemons import Daemon
from tests.node.mesh.test_real_mesh import ENV, asked, until

SELLING = {**ENV, "QCOMMONS_SHARE": "true"}
ASK = {"price_per_giga": 7, "capacity_per_s": 10**8, "places": 2}


def market(node: Daemon, query: str = "") -> dict[str, Any]:
    with node.client() as client:
        found: dict[str, Any] = client.get(f"/v1/asks{query}").json()
    return found


def prices(node: Daemon) -> list[int]:
    return [row["price_per_giga"] for row in market(node, "?resource=work")["asks"]]


def put(node: Daemon, **change: Any) -> dict[str, Any]:
    with node.client() as client:
        answer = client.put("/v1/asks/work", json=ASK | change)
    assert answer.status_code == 200, answer.text
    own: dict[str, Any] = answer.json()
    return own


def join(node: Daemon, to: Daemon) -> None:
    assert asked(node, "POST", "/join", json={"invite": asked(to, "GET", "/invite")["invite"]})["linked"]


def test_an_ask_travels_changes_survives_a_kill_and_is_taken_back(tmp_path: Path) -> None:
    with Daemon(tmp_path / "a", env=SELLING) as seller, Daemon(tmp_path / "b", env=ENV) as buyer:
        own = put(seller)
        assert own["state"] == "offered" and own["told_until_s"] > time.time() + 7 * 86_400
        join(buyer, seller)
        until(lambda: prices(buyer) == [7])
        (row,) = market(buyer)["asks"]
        assert row["node"] == seller.ready["node_id"] and row["known"] == "stranger" and row["why"] == ""
        put(seller, price_per_giga=5)
        until(lambda: prices(buyer) == [5])
        with Daemon(tmp_path / "c", env=ENV) as late:  # gossip is over; its neighbour tells it
            join(late, buyer)
            until(lambda: prices(late) == [5])
        seller.kill()
        until(lambda: not prices(buyer))
        (row,) = market(buyer, "?all=true")["asks"]
        assert row["peer"] in ("suspect", "lost") and row["why"]
        seller.start()
        until(lambda: prices(buyer) == [5], within_s=20.0)
        with seller.client() as client:
            assert client.delete("/v1/asks/work").json()["state"] == "withdrawn"
        until(lambda: not prices(buyer))


def test_a_node_that_does_not_share_sets_its_ask_and_tells_nobody(tmp_path: Path) -> None:
    with Daemon(tmp_path / "a", env=ENV) as closed, Daemon(tmp_path / "b", env=ENV) as other:
        join(other, closed)
        own = put(closed)
        assert own["state"] == "off" and own["told_until_s"] is None and "share.enabled" in own["action"]
        assert not asked(other, "POST", "/probe", json={"wait_s": 1.0})["silent"]  # news pass between the two
        assert market(other, "?all=true")["asks"] == []
