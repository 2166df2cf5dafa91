"""quote: the options of `run`, a page of text, one object of JSON, 3 where nobody would do it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.clients.a_node import BELL, a_home, body, text
from tests.node.api.quotes import NODES, a_quote
from tests.node.api.serving import Served, served
from tests.node.api.standin import TOKEN

from qcommons.base.errors import Unavailable
from qcommons.clients.cli import quote, run
from qcommons.clients.http.async_node import AsyncNode
from qcommons.clients.http.node import Node
from qcommons.node.api.quote_records import Quote, QuotedTime

ON_MESH = ("quote", BELL, "--on", "mesh", "--egress", "public", "--budget", "300")


@pytest.fixture
def node() -> Iterator[Served]:
    with served() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("QCOMMONS_NODE", server.url)
        patch.setenv("QCOMMONS_TOKEN", TOKEN)
        yield server


def line(printed: str, head: str) -> str:
    return next(line for line in printed.splitlines() if line.startswith(f"{head:<11}"))


def test_the_page_says_plan_runs_peers_price_time_and_soundness(node: Served) -> None:
    printed = text(*ON_MESH)
    assert line(printed, "plan").endswith("batch: about 4 s at 2 places")
    assert "cut       cannot: no observables; nearest: ask for observables" in printed
    assert "40 runs in about 8 leases at 2 places of 2 peers" in line(printed, "runs")
    assert "2 of 4 could take it" in line(printed, "peers")
    assert "2 left out: a stranger; allow it" in printed, "one reason is said once, whoever it names"
    assert "100 to 250 base units (by abababab, cdcdcdcd); the budget of 300 is enough" in line(printed, "price")
    assert "about 10 runs computed again here, 2 s of a core" in line(printed, "audits")
    assert "about 4.1 s" in line(printed, "time") and "TOO LATE" not in printed
    assert "fakes 30 % of its shots passes with probability <= 1 %" in line(printed, "soundness")
    assert "71 runs at each peer" in line(printed, "better") and "emulated; not claimed" in line(printed, "physics")


def test_the_options_go_to_the_node_as_those_of_run_do(node: Served) -> None:
    assert body(*ON_MESH, "--deadline", "5s", "--assurance", "replicate")["price"]["least"] == 100
    sent = node.door.quoted
    assert (sent.on, sent.egress, sent.budget, sent.deadline_s, sent.assurance) == (
        "mesh",
        "public",
        300,
        5.0,
        "replicate",
    )
    assert "budget is for jobs on the mesh" in text("quote", BELL, "--budget", "3", code=2)
    assert "integers from 0" in text("quote", BELL, "--budget", "-3", code=2)
    assert {one.flag for one in run.OPTIONS} - {one.flag for one in quote.OPTIONS} == quote.OF_ANSWERS


def test_what_nobody_would_run_ends_with_3_and_the_page(node: Served) -> None:
    time = QuotedTime(expected_s=None, places=0, peers=0, deadline_s=1.0, in_time=False)
    price = msgspec.structs.replace(a_quote().price, least=None, most=None, within=None)  # type: ignore[type-var]
    node.door.quotes = a_quote(refused="of 4 peers nobody can", peers=a_quote().peers[2:], time=time, price=price)
    printed = text(*ON_MESH, code=3)
    assert line(printed, "refused").endswith("of 4 peers nobody can") and "nobody to run it" in printed
    assert "nobody to ask for a price" in printed
    assert body(*ON_MESH, code=3)["refused"] == "of 4 peers nobody can"


def test_a_refusal_of_every_plan_lists_them(node: Served) -> None:
    refusal = Unavailable("none of 2 plans", where="plan", limit="2 plans", tried=[("plan", "cut", "no observables")])
    refusal.exit_code = 3
    node.door.faults["quote"] = refusal
    assert "plan/cut: no observables" in text(*ON_MESH, code=3)


def test_a_quote_for_this_node_names_no_peers(node: Served) -> None:
    here = QuotedTime(expected_s=4.0, places=2, peers=0, deadline_s=3.0, in_time=False)
    node.door.quotes = a_quote(
        on="here", time=here, peers=(), price=None, audits=None, checks=(), better="", certain=False, leases=0
    )
    printed = text("quote", BELL)
    assert "TOO LATE" in printed and "at most about 4 s" in printed and "may end without an answer" in printed
    assert not {"peers", "price", "soundness", "audits"} & {line.split(" ")[0] for line in printed.splitlines()}
    assert not any(one in printed for one in NODES)


def test_python_asks_the_same(node: Served) -> None:
    with Node.connect(node.url, TOKEN) as one:
        assert one.quote(BELL, on="mesh", budget=300) == a_quote()

    async def other() -> Quote:
        async with await AsyncNode.connect(node.url, TOKEN) as found:
            return await found.quote(BELL, shots=7)

    assert asyncio.run(other()) == a_quote()
    assert node.door.quoted.shots == 7 and not node.door.submissions


def test_without_a_node_a_run_here_is_quoted_and_one_on_the_mesh_says_what_is_missing(tmp_path: Path) -> None:
    with a_home(tmp_path):
        found = body("quote", BELL)
        assert found["plan"] == "whole" and found["engines"] and found["peers"] == [] and found["time"]["in_time"]
        assert "qcommons up -d" in text("quote", BELL, "--on", "mesh", code=4)
