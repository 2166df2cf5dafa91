"""asks, ask set, show, withdraw: tables with units, what keeps an own ask back, times as people write them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest
from tests.clients.a_node import body, text
from tests.node.api.serving import served
from tests.node.api.standin import TOKEN

from qcommons.base.errors import UsageError
from qcommons.clients.cli.asks import windows_of

NOW = datetime.fromisoformat("2026-11-23T12:00").astimezone()
SET = ("ask", "set", "work", "--price", "5", "--capacity", "2e8", "--places", "2")


@pytest.fixture
def node() -> Iterator[None]:
    with served() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("QCOMMONS_NODE", server.url)
        patch.setenv("QCOMMONS_TOKEN", TOKEN)
        yield


@pytest.mark.usefixtures("node")
def test_the_market_is_a_table_that_says_its_units_and_what_is_hidden() -> None:
    printed = text("asks")
    assert "price in base units per 10^9 units" in printed and "amplitude-update" in printed
    assert "transferable" in printed and "in 1 h" in printed and "2 more cannot be used now" in printed
    assert body("asks", "--all")["hidden"] == 0
    nothing = text("asks", "--resource", "ebits")
    assert "No ask of another node can be used now." in nothing and "next:" in nothing
    assert "qcommons ask set" in nothing


@pytest.mark.usefixtures("node")
def test_an_ask_is_set_shown_and_taken_back() -> None:
    assert "This node offers nothing." in text("ask", "show") and body("ask", "show") == {"own": []}
    printed = text(*SET, "--until", "2h", "--transferable")
    assert "work: off; 5 base units per 10^9 units" in printed and "next:  turn it on" in printed
    assert body(*SET)["until_s"] is None
    assert body("ask", "show", "work")["own"][0]["capacity_per_s"] == 2 * 10**8
    assert "offered no more" in text("ask", "withdraw", "work")
    assert "no ask for work" in text("ask", "withdraw", "work", code=2)


@pytest.mark.usefixtures("node")
def test_fidelities_and_windows_are_sent_as_signed() -> None:
    ebits = ("ask", "set", "ebits", "--price", "1", "--capacity", "40", "--places", "1")
    asked = body(*ebits, "--fidelity", "95%", "--windows", "18:00/20:00,2027-01-31T08:00/2h")
    assert asked["fidelity_ppm"] == 950_000
    assert [window["until_s"] - window["from_s"] for window in asked["windows"]] == [7_200, 7_200]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--price", "-1"), "allowed are integers from 0"),
        (("--capacity", "0"), "allowed are integers from 1"),
        (("--places", "65537"), "from 1 to 65536"),
        (("--fidelity", "1.5"), "above 0 and up to 1"),
        (("--fidelity", "much"), "above 0 and up to 1"),
        (("--until", "soon"), "or a span"),
        (("--windows", "18:00"), "FROM/UNTIL"),
        (("--windows", "18:00/late"), "cannot read"),
    ],
)
@pytest.mark.usefixtures("node")
def test_what_is_out_of_range_is_refused_with_the_range(more: tuple[str, ...], said: str) -> None:
    assert said in text(*SET, *more, code=2)


def test_windows_as_people_write_them() -> None:
    """A bare time of day is the next one; the end of a window is the next one after its beginning."""
    found = list(windows_of("23:00/01:00, 2026-11-25T08:00/90m", NOW))
    starts = [datetime.fromtimestamp(window.from_s).astimezone().isoformat()[:16] for window in found]
    ends = [datetime.fromtimestamp(window.until_s).astimezone().isoformat()[:16] for window in found]
    assert starts == ["2026-11-23T23:00", "2026-11-25T08:00"] and ends == ["2026-11-24T01:00", "2026-11-25T09:30"]
    with pytest.raises(UsageError, match="no window"):
        list(windows_of("18:00/20:00,", NOW))
