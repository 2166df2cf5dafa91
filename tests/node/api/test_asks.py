"""The market over the API: lists, own asks, refusals with ranges."""

from __future__ import annotations

from typing import Any

import pytest
from tests.node.api.standin import StandIn
from tests.node.api.test_app import ask, error

ASKED = {"price_per_giga": 5, "capacity_per_s": 10**8, "places": 2}


def test_the_market_is_listed_and_can_be_held_to_one_resource() -> None:
    door = StandIn()
    found = ask(door, "GET", "/v1/asks").json()
    assert [row["resource"] for row in found["asks"]] == ["work"] and found["hidden"] == 2
    assert set(found["units"]) == {"work", "ebits", "key_bits", "slots"}
    assert ask(door, "GET", "/v1/asks?resource=ebits&all=true").json()["asks"] == []


def test_an_own_ask_is_set_shown_and_taken_back() -> None:
    door = StandIn()
    own = ask(door, "PUT", "/v1/asks/work", json=ASKED).json()
    assert own["state"] == "off" and own["price_per_giga"] == 5
    assert ask(door, "GET", "/v1/asks").json()["own"] == [own]
    assert ask(door, "DELETE", "/v1/asks/work").status_code == 200
    refused = ask(door, "DELETE", "/v1/asks/work")
    assert refused.status_code == 400 and "no ask for work" in error(refused)["what"]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"price_per_giga": -1}, "$.price_per_giga"),
        ({"price_per_giga": 1 << 63}, "$.price_per_giga"),
        ({"price_per_giga": 0.5}, "$.price_per_giga"),
        ({"capacity_per_s": 0}, "$.capacity_per_s"),
        ({"places": 65_537}, "$.places"),
        ({"fidelity_ppm": 1_000_001}, "$.fidelity_ppm"),
        ({"until_s": -1}, "$.until_s"),
        ({"windows": [{"from_s": 1, "until_s": 2}] * 9}, "$.windows"),
        ({"currency": "gold"}, "body"),
    ],
)
def test_what_is_out_of_range_names_the_field(change: dict[str, Any], where: str) -> None:
    refused = ask(StandIn(), "PUT", "/v1/asks/work", json=ASKED | change)
    assert refused.status_code == 400 and error(refused)["where"] == where


@pytest.mark.parametrize(
    ("path", "where"), [("/v1/asks/gold", "resource"), ("/v1/asks?resource=gold", "query.resource")]
)
def test_an_unknown_resource_is_refused(path: str, where: str) -> None:
    refused = ask(StandIn(), "GET" if "?" in path else "PUT", path, json=None if "?" in path else ASKED)
    assert refused.status_code == 400 and error(refused)["where"] == where
