"""Real nodes on a LAN of their own (network namespaces): found by mDNS, cut off by a pulled cable, whole again; and
behind firewalls, reached through a relay."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from tests.node.mesh.namespaces import PREFIX, Lan, why_not

FOUND_S, NOTICED_S, HEALED_S, RELAYED_S = 20.0, 25.0, 8.0, 60.0

WHY_NOT = why_not()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or "")


def alive(lan: Lan, place: int) -> int:
    return sum(row["state"] == "alive" for row in json.loads(lan.qcommons(place, "peers", "--json"))["peers"])


def until(lan: Lan, places: tuple[int, ...], count: int, within_s: float) -> float:
    """Seconds until each of them knows so many peers alive."""
    start_s = time.monotonic()
    while not all(alive(lan, place) == count for place in places):
        assert time.monotonic() - start_s < within_s, lan.qcommons(places[0], "peers")
        time.sleep(0.2)
    return time.monotonic() - start_s


def test_nodes_of_a_lan_find_each_other_and_outlive_a_pulled_cable(tmp_path: Path) -> None:
    """No invitation and no bootstrap address: mDNS alone. The cable is down until the others are no longer alive."""
    with Lan(tmp_path, 3) as lan:
        ids = []
        for place in (1, 2, 3):
            ids.append(json.loads(lan.qcommons(place, "up", "-d", "--json"))["node_id"])
        until(lan, (1, 2, 3), 2, FOUND_S)
        rows = json.loads(lan.qcommons(1, "peers", "--json"))["peers"]
        assert {row["node"] for row in rows} == set(ids[1:])
        assert {address for row in rows for address in row["addresses"]} == {f"tcp/{PREFIX}.{n}:8741" for n in (2, 3)}
        lan.pull(3)
        until(lan, (3,), 0, NOTICED_S)
        until(lan, (1, 2), 1, NOTICED_S)
        lan.plug(3)
        until(lan, (1, 2, 3), 2, HEALED_S)
        heard = json.loads(lan.qcommons(3, "peers", "probe", "--json"))
        assert {one["node"] for one in heard["heard"]} == set(ids[:2])


def link(lan: Lan, place: int, node: str) -> dict[str, Any]:
    """How `place` is linked with a node."""
    rows = json.loads(lan.qcommons(place, "peers", "--json"))["peers"]
    return next((row for row in rows if row["node"] == node), {"link": "none"})


def test_two_nodes_behind_firewalls_reach_each_other_through_a_third(tmp_path: Path) -> None:
    """Nobody can dial 2 and 3. Both dial 1, who tells each that it cannot be reached and gives it a place; then what
    the two say to each other goes through 1, sealed for each other."""
    with Lan(tmp_path, 3) as lan:
        for place in (2, 3):
            lan.firewall(place)
        ids = [json.loads(lan.qcommons(place, "up", "-d", "--json"))["node_id"] for place in (1, 2, 3)]
        start_s = time.monotonic()
        while {"relayed"} != {link(lan, 2, ids[2])["link"], link(lan, 3, ids[1])["link"]}:
            assert time.monotonic() - start_s < RELAYED_S, lan.qcommons(2, "peers") + lan.qcommons(3, "peers")
            time.sleep(0.5)
        assert link(lan, 2, ids[2])["relay"] == ids[0]
        assert link(lan, 2, ids[0])["link"] == link(lan, 3, ids[0])["link"] == "direct"
        while (reach := json.loads(lan.qcommons(2, "peers", "--json"))["reach"])["state"] != "no":
            assert time.monotonic() - start_s < RELAYED_S, reach  # the relay's dial-back has still to fail
            time.sleep(0.5)
        assert reach["relays"] == [ids[0]]
        measured = json.loads(lan.qcommons(2, "peers", "measure", ids[2], "-n", "20", "--blob", "1MiB", "--json"))
        assert measured["requests"] == 20 and measured["failed"] == 0 and measured["blob_s"] > 0
