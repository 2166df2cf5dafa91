"""Two real node processes on loopback: one quotes a job that the other would run, and nothing of it stays."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.node.daemons import Daemon
from tests.node.mesh.test_jobs_over_mesh import SHARING, SWEEP, ended, submit, sweep
from tests.node.mesh.test_real_mesh import ENV, all_know_all, asked, until

ASK = {"price_per_giga": 10**9, "capacity_per_s": 10**9, "places": 2}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Daemon]]:
    """The first submits; the second shares, and asks a price that the first has heard."""
    folder = tmp_path_factory.mktemp("quotes")
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda n: Daemon(folder / f"{n}", env=SHARING if n else ENV), range(2)))
    asked(made[1], "POST", "/join", json={"invite": asked(made[0], "GET", "/invite")["invite"]})
    until(lambda: all_know_all(made))
    with made[1].client() as client:
        assert client.put("/v1/asks/work", json=ASK).status_code == 200
    until(lambda: quote(made[0], sweep(SWEEP, 2))["peers"][0]["price_per_giga"] == 10**9)
    yield made
    for node in made:
        node.__exit__()


def quote(node: Daemon, body: dict[str, Any]) -> dict[str, Any]:
    with node.client() as client:
        said = client.post("/v1/quote", json=body)
    assert said.status_code == 200, said.text
    found: dict[str, Any] = said.json()
    return found


def test_a_quote_names_the_plan_the_peer_its_ask_and_what_it_costs_and_keeps_nothing(nodes: list[Daemon]) -> None:
    found = quote(nodes[0], sweep(SWEEP, 6, shots=1024, budget=10**6))
    assert found["refused"] == "" and found["runs"] == 6 and found["leases"] >= 1
    (peer,) = found["peers"]
    assert (peer["node"], peer["why"], peer["places"]) == (nodes[1].ready["node_id"], None, 2)
    assert found["price"]["least"] == found["price"]["most"] == peer["due"] > found["leases"]
    assert found["price"]["least_ask"] == peer["ask"] and found["price"]["within"] == "all"
    assert {row["row"] for row in found["rows"]} >= {"whole", "batch", "lightcone", "slice", "cut"}
    assert found["time"]["expected_s"] > 0 and found["physics"] == "emulated"
    assert found["checks"][0]["high"] < 1 and found["better"]
    with nodes[0].client() as client:
        assert client.get("/v1/jobs").json()["total"] == 0


def test_what_was_quoted_is_enough_and_one_base_unit_less_is_not(nodes: list[Daemon]) -> None:
    body = sweep(SWEEP, 4, assurance="none")
    price = quote(nodes[0], body)["price"]["most"]
    assert quote(nodes[0], {**body, "budget": price})["price"]["within"] == "all"
    view = ended(nodes[0], submit(nodes[0], {**body, "budget": price}))
    assert view["state"] == "done", view
    with nodes[0].client() as client:
        poor = client.post("/v1/quote", json={**body, "budget": price - 1})
    assert poor.status_code == 422 and f"the budget is {price - 1}. Nearest: whole: a budget of {price}" in poor.text


def test_here_it_is_quoted_without_peers(nodes: list[Daemon]) -> None:
    found = quote(nodes[0], sweep(SWEEP, 4, on="here", egress=None))
    assert found["peers"] == [] and found["price"] is None and found["plan"] == "whole"
    assert found["seconds"] >= found["time"]["expected_s"] > 0
    assert found["engines"] and found["memory_bytes"] > 0


def test_what_may_not_leave_is_quoted_with_every_reason(nodes: list[Daemon]) -> None:
    found = quote(nodes[0], sweep(SWEEP, 2, egress="peers"))
    assert "--egress public" in found["refused"] and "a stranger" in found["peers"][0]["why"]
    assert found["price"]["least"] is None and found["time"]["expected_s"] is None
    with nodes[0].client() as client:
        said = client.post("/v1/quote", json=sweep(SWEEP, 2, plan="cut"))
    assert said.status_code == 422 and "cut" in said.text


def test_the_command_prints_it(nodes: list[Daemon], tmp_path: Path) -> None:
    file, points = tmp_path / "sweep.qasm", tmp_path / "points.json"
    file.write_text(SWEEP)
    points.write_text(json.dumps([{"t": 0.1 * place} for place in range(6)]))
    words = ["quote", str(file), "--sweep", str(points), "--on", "mesh", "--egress", "public"]
    said = subprocess.run(
        [sys.executable, "-m", "qcommons.clients.cli.main", *words], env=nodes[0].env, capture_output=True, text=True
    )
    assert said.returncode == 0, said.stdout + said.stderr
    heads = [line.split(" ")[0] for line in said.stdout.splitlines() if not line.startswith(" ")]
    assert heads == ["plan", "runs", "peers", "price", "audits", "time", "soundness", "better", "physics"]
