"""Real node processes on loopback: they join by invitation, know each other, outlive whom they joined by."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.node.daemons import Daemon

WITHIN_S = 10.0
ENV = {"QCOMMONS_MESH_LISTEN": "loopback", "QCOMMONS_MESH_PORT": "0", "QCOMMONS_WORKERS": "1"}


def asked(node: Daemon, method: str, path: str, **fields: Any) -> Any:
    with node.client() as client:
        answer = client.request(method, f"/v1/mesh{path}", **fields)
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.content else None


def alive(node: Daemon) -> set[str]:
    return {row["node"] for row in asked(node, "GET", "")["peers"] if row["state"] == "alive"}


def row(node: Daemon, peer: Daemon) -> dict[str, Any]:
    return next(row for row in asked(node, "GET", "")["peers"] if row["node"] == peer.ready["node_id"])


def until(holds: Callable[[], object], within_s: float = WITHIN_S) -> None:
    until_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until_s, "not in time"
        time.sleep(0.05)


def all_know_all(nodes: list[Daemon]) -> bool:
    ids = {node.ready["node_id"] for node in nodes}
    return all(alive(node) == ids - {node.ready["node_id"]} for node in nodes)


def log(node: Daemon, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (node.home / "node.log").read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Daemon]]:
    """The second joins by the first one's invitation, the third by the second one's."""
    folder = tmp_path_factory.mktemp("mesh")
    with ThreadPoolExecutor(3) as pool:
        nodes = list(pool.map(lambda place: Daemon(folder / f"{place}", env=ENV), range(3)))
    for inviting, joining in ((0, 1), (1, 2)):
        invite = asked(nodes[inviting], "GET", "/invite")["invite"]
        joined = asked(nodes[joining], "POST", "/join", json={"invite": invite})
        assert joined["linked"] and joined["node"] == nodes[inviting].ready["node_id"], joined
    yield nodes
    for node in nodes:
        node.__exit__()


def test_all_know_all_and_news_reach_everybody(three: list[Daemon]) -> None:
    until(lambda: all_know_all(three))
    probed = asked(three[2], "POST", "/probe", json={"wait_s": 1.0})
    assert {one["node"] for one in probed["heard"]} == alive(three[2]) and not probed["silent"]
    view = asked(three[0], "GET", "")
    assert {row["link"] for row in view["peers"]} == {"direct"} and all(row["version"] for row in view["peers"])
    with three[0].client() as client:
        status = client.get("/v1/status").json()
        metrics = client.get("/metrics").text
    assert status["mesh"]["peers"] == {"alive": 2} and status["health"] == "green"
    assert 'qcommons_mesh_peers{state="alive"} 2.0' in metrics and "qcommons_mesh_links 2.0" in metrics


def test_round_trips_are_measured(three: list[Daemon]) -> None:
    peer = three[1].ready["node_id"]
    measured = asked(three[0], "POST", f"/peers/{peer}/measure", json={"requests": 50})
    assert measured["requests"] == 50 and measured["failed"] == 0
    assert 0 < measured["least_s"] <= measured["p50_s"] <= measured["p99_s"] < 1.0
    stranger = "qn1" + "q" * 58
    with three[0].client() as client:
        refused = client.post(f"/v1/mesh/peers/{stranger}/measure", json={})
    assert refused.status_code in (404, 503)


def test_papers_are_asked_of_a_peer_and_checked(three: list[Daemon]) -> None:
    """An owner certifies a node that runs: it says so within a minute; here it is asked before, after a restart."""
    until(lambda: all_know_all(three))
    peer = three[1].ready["node_id"]
    seen = asked(three[0], "GET", f"/peers/{peer}/papers")
    now_s = time.time()
    assert (seen["node"], seen["owner"], seen["before"]) == (peer, "", [])
    assert now_s + 6 * 86_400 < seen["prekey_until_s"] <= now_s + 8 * 86_400
    command = [sys.executable, "-m", "qcommons.clients.cli.main", "owner", "certify", peer, "--json"]
    environment = {**os.environ, "QCOMMONS_HOME": str(three[1].home)}
    certified = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert certified.returncode == 0, certified.stderr
    three[1].kill()
    three[1].start()
    until(lambda: all_know_all(three))
    again = asked(three[0], "GET", f"/peers/{peer}/papers")
    assert again["owner"] == json.loads(certified.stdout)["owner"] and again["owner_until_s"] > now_s
    assert again["prekey_until_s"] == seen["prekey_until_s"], "a prekey outlives kill -9"


def test_the_mesh_outlives_whom_it_joined_by_and_knows_it_again(three: list[Daemon]) -> None:
    """Kill -9 of the first node: the others go on; started again, it is the same node with its acquaintances."""
    first, others = three[0], three[1:]
    until(lambda: all_know_all(three))
    before, port = first.ready["node_id"], asked(first, "GET", "")["addresses"]
    first.kill()
    until(lambda: all(row(other, first)["state"] in ("suspect", "lost") for other in others))
    assert not asked(others[1], "POST", "/probe", json={"wait_s": 0.7})["silent"]
    first.start()
    assert first.ready["node_id"] == before
    until(lambda: all_know_all(three))
    assert asked(first, "GET", "")["addresses"] == port, "it is where its peers look for it"


def test_who_is_denied_has_no_link_until_allowed(three: list[Daemon]) -> None:
    until(lambda: all_know_all(three))
    one, other = three[1], three[2]
    path = f"/peers/{other.ready['node_id']}/verdict"
    said = asked(one, "POST", path, json={"verdict": "deny"})
    assert said["state"] == "denied" and said["verdict"] == "deny"
    until(lambda: row(one, other)["link"] == "none")
    assert asked(one, "POST", path, json={"verdict": "neither"})["verdict"] == "neither"
    until(lambda: other.ready["node_id"] in alive(one))


def test_another_network_is_refused_and_both_say_so(three: list[Daemon], tmp_path: Path) -> None:
    address = asked(three[0], "GET", "")["addresses"][0]
    env = {**ENV, "QCOMMONS_MESH_NETWORK": "elsewhere", "QCOMMONS_MESH_BOOTSTRAP": address}
    with Daemon(tmp_path / "home", env=env) as stranger:
        until(lambda: log(stranger, "mesh_bye") or log(stranger, "mesh_refused"))
        assert not asked(stranger, "GET", "")["peers"]
        invite = asked(three[0], "GET", "/invite")["invite"]
        with stranger.client() as client:
            refused = client.post("/v1/mesh/join", json={"invite": invite})
        assert refused.status_code == 400 and "elsewhere" in refused.json()["error"]["what"]
    assert stranger.ready["node_id"] not in alive(three[0])


def test_garbage_and_idle_connections_do_no_harm_and_are_told(three: list[Daemon]) -> None:
    until(lambda: all_know_all(three))
    node = three[1]
    port = int(asked(node, "GET", "")["addresses"][0].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as rude:
        rude.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert rude.recv(100) == b""
    until(lambda: any(line["reason"] == "malformed" for line in log(node, "mesh_refused")))
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
    assert not asked(three[0], "POST", "/probe", json={"wait_s": 1.0})["silent"]
    for one in idle:
        one.close()


def test_a_planned_absence_is_known_to_others(three: list[Daemon]) -> None:
    until(lambda: all_know_all(three))
    start = int(time.time()) + 3600
    window = {"from_s": start, "until_s": start + 60}
    asked(three[0], "POST", "/away", json={"windows": [window]})
    until(lambda: row(three[2], three[0])["away"] == window)
    with three[0].client() as client:
        assert client.post("/v1/mesh/away", json={"windows": [{"from_s": 5, "until_s": 4}]}).status_code == 400
    asked(three[0], "POST", "/away", json={"windows": []})


def test_only_development_nodes_can_be_cut_off(three: list[Daemon]) -> None:
    with three[0].client() as client:
        refused = client.post("/v1/mesh/sever", json={"nodes": []})
    assert refused.status_code == 400 and "deny" in refused.json()["error"]["what"]


def test_a_node_without_a_mesh_says_so_and_serves(tmp_path: Path) -> None:
    with Daemon(tmp_path / "home", env={**ENV, "QCOMMONS_MESH": "off"}) as node, node.client() as client:
        refused = client.get("/v1/mesh")
        assert refused.status_code == 503 and "mesh.enabled" in refused.json()["error"]["what"]
        assert client.get("/v1/status").json()["mesh"] is None
