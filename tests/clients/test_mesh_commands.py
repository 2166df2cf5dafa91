"""peers, invite, join, away, status, doctor and dev on two real development nodes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.clients.a_node import body, command, text

from qcommons.base.errors import UsageError
from qcommons.clients.cli.away import moment_s
from qcommons.node.dev import is_dev


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What `dev up -n 2 --json` prints; QCOMMONS_HOME is the first node's."""
    folder = tmp_path_factory.mktemp("dev") / "nodes"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("QCOMMONS_NODE", "QCOMMONS_TOKEN", "QCOMMONS_PASSPHRASE"):
            patch.delenv(name, raising=False)
        patch.setenv("QCOMMONS_HOME", str(folder.parent / "home"))
        made = body("dev", "up", "-n", "2", "--folder", str(folder))
        patch.setenv("QCOMMONS_HOME", made["nodes"][0]["home"])
        yield made
        command("dev", "down", "--folder", str(folder), "--remove")
        assert not folder.exists()


def peer_of(two: dict[str, Any]) -> str:
    return str(two["nodes"][1]["node_id"])


def test_dev_up_says_of_each_node_where_it_is(two: dict[str, Any]) -> None:
    assert two["known"] == [1, 1]
    for node in two["nodes"]:
        assert {"url", "token_file", "pid", "home", "node_id"} <= node.keys()
        assert is_dev(Path(node["home"])) and Path(node["token_file"]).exists()


def test_dev_up_again_finds_them_running_and_status_says_so(two: dict[str, Any]) -> None:
    again = body("dev", "up", "-n", "2", "--folder", two["folder"])
    assert [node["pid"] for node in again["nodes"]] == [node["pid"] for node in two["nodes"]]
    rows = body("dev", "status", "--folder", two["folder"])["nodes"]
    assert [(row["state"], row["alive"], row["links"]) for row in rows] == [("green", 1, 1)] * 2
    assert "1 peer alive, 1 link;" in text("dev", "status", "--folder", two["folder"])
    assert f"Stop them: qcommons dev down --folder {two['folder']}\n" in text(
        "dev", "up", "-n", "2", "--folder", two["folder"]
    )


def test_peers_are_a_table_and_json(two: dict[str, Any]) -> None:
    printed = text("peers")
    assert "1 peer is alive" in printed and peer_of(two)[:12] in printed and "direct" in printed
    (row,) = body("peers")["peers"]
    assert row["node"] == peer_of(two) and row["state"] == "alive" and row["level"] == "green"
    assert row["relation"] == "stranger", "it joined by this node, not this node by it"


def test_measure_and_probe_print_times(two: dict[str, Any]) -> None:
    assert "round trips to" in text("peers", "measure", peer_of(two), "-n", "20")
    measured = body("peers", "measure", peer_of(two), "-n", "20")
    assert measured["requests"] == 20 and measured["mib_per_s"] is None
    assert "1 of 1 alive peers heard" in text("peers", "probe", "--wait", "500ms")


def test_an_invitation_is_one_word_and_joining_by_it_finds_the_node(two: dict[str, Any]) -> None:
    given = body("invite")
    assert given["invite"].startswith("qcinvite1") and "loopback" in given["note"]
    shown = text("invite", "--qr")
    assert given["invite"] in shown and any(block in shown for block in "▄█▀")
    there = two["nodes"][1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QCOMMONS_HOME", there["home"])
        joined = body("join", given["invite"])
        assert joined["linked"] and joined["node"] == two["nodes"][0]["node_id"]
    assert "own" in text("join", given["invite"], code=2)
    assert "no invitation" in text("join", "hello", code=2)


def test_an_absence_is_planned_and_taken_back(two: dict[str, Any]) -> None:
    assert "No absence is planned." in text("away")
    assert "The mesh knows" in text("away", "--for", "2h")
    (window,) = body("away", "--from", "23:59", "--for", "2h")["windows"]
    assert window["until_s"] - window["from_s"] == 7200
    assert "No absence" in text("away", "--clear")
    assert text("away", "--for", "2h", "--clear", code=2) and text("away", "--until", "yesterday", code=2)


def test_status_and_doctor_speak_of_the_mesh(two: dict[str, Any]) -> None:
    assert "mesh     1 alive; 1 linked" in text("status")
    findings = {row["name"]: row for row in body("doctor")["findings"]}
    assert findings["tls"]["state"] == "green" and "X25519MLKEM768" in findings["tls"]["value"]
    assert findings["mesh"]["state"] == "green" and "1 peer alive" in findings["mesh"]["value"]
    assert "development key" in findings["key"]["value"]


def test_a_peer_is_named_by_the_beginning_of_its_id(two: dict[str, Any]) -> None:
    assert "is allowed" in text("peers", "allow", peer_of(two)[:10])
    assert body("peers")["peers"][0]["verdict"] == "allow"
    assert "no known peer begins" in text("peers", "allow", "qn1zzzzzzzz", code=2)
    denied = text("peers", "deny", peer_of(two)[:10])
    assert "denied" in denied and body("peers")["peers"][0]["state"] == "denied"
    forgotten = text("peers", "forget", peer_of(two)[:10])
    assert "is forgotten" in forgotten and "comes back" in forgotten and "qcommons peers deny" in forgotten
    until_s = time.monotonic() + 10
    while not (rows := body("peers")["peers"]) or rows[0]["state"] != "alive":
        assert time.monotonic() < until_s, rows
        time.sleep(0.1)


def test_doctor_asks_the_node_that_the_environment_names(two: dict[str, Any], tmp_path: Path) -> None:
    """As every other command does; without its token it says which two variables to look at."""
    there = two["nodes"][1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QCOMMONS_HOME", str(tmp_path))
        patch.setenv("QCOMMONS_NODE", there["url"])
        findings = {row["name"]: row for row in body("doctor", code=4)["findings"]}
        assert findings["node"]["state"] == "red" and "QCOMMONS_TOKEN" in findings["node"]["action"]
        patch.setenv("QCOMMONS_TOKEN", Path(there["token_file"]).read_text().strip())
        findings = {row["name"]: row for row in body("doctor")["findings"]}
    assert f"{there['url']} (QCOMMONS_NODE), process {there['pid']}" in findings["node"]["value"]
    assert "1 peer alive" in findings["mesh"]["value"] and "QCOMMONS_TOKEN" in findings["token"]["value"]


def test_who_said_goodbye_is_stopped_also_after_a_start_of_the_node(two: dict[str, Any]) -> None:
    """The second node joined by the first: that is a chosen peer, and its owner stops it. Nothing is broken."""
    first, second = two["nodes"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QCOMMONS_HOME", first["home"])
        assert command("down", "--now").code == 0
        patch.setenv("QCOMMONS_HOME", second["home"])
        row = _row_once(lambda row: row["state"] == "stopped")
        assert (row["level"], row["cause"], row["relation"]) == ("yellow", "said goodbye", "invited")
        assert row["node"] == first["node_id"] and row["since_ns"] > 0
        assert command("down", "--now").code == 0
        assert command("up", "-d").code == 0
        (again,) = body("peers")["peers"]
        assert (again["state"], again["since_ns"]) == ("stopped", row["since_ns"])
        printed = text("peers")
        assert printed.splitlines()[0].startswith("0 peers are alive") and "yellow" in printed and "red" not in printed
        status = text("status")
        assert status.startswith("All is well") and "mesh     1 stopped; 0 linked" in status
        patch.setenv("QCOMMONS_HOME", first["home"])
        assert body("dev", "up", "-n", "2", "--folder", two["folder"])["known"] == [1, 1]


def test_strangers_that_are_not_here_are_a_number(two: dict[str, Any]) -> None:
    """The first node never chose the second one: when that stops, it is no row, unless all are asked for."""
    first, second = two["nodes"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QCOMMONS_HOME", second["home"])
        assert command("down", "--now").code == 0
        patch.setenv("QCOMMONS_HOME", first["home"])
        _row_once(lambda row: row["state"] == "stopped" and row["link"] == "none")
        few, many = text("peers"), text("peers", "--all")
        assert "and 1 stranger not linked: 1 stopped; see them: qcommons peers --all" in few
        assert second["node_id"][:12] not in few and second["node_id"][:12] in many and "stranger not" not in many
        status = text("status")
        assert "no peer here yet; 0 linked" in status and "1 stranger known, but not here" in status
        assert body("status")["mesh"]["strangers"] == {"stopped": 1}
        assert body("dev", "up", "-n", "2", "--folder", two["folder"])["known"] == [1, 1]


def _row_once(holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The one peer's row, once it is so."""
    until_s = time.monotonic() + 10
    while True:
        (row,) = body("peers")["peers"]
        if holds(row):
            return dict(row)
        assert time.monotonic() < until_s, row
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("text_", "expected"),
    [("18:30", "2026-11-23T18:30"), ("07:05", "2026-11-24T07:05"), ("2027-01-31", "2027-01-31T00:00"),
     ("2027-01-31T08:00", "2027-01-31T08:00")],
)  # fmt: skip
def test_times_as_people_write_them(text_: str, expected: str) -> None:
    """A time of day that has passed is tomorrow's."""
    now = datetime.fromisoformat("2026-11-23T12:00").astimezone()
    assert moment_s(text_, now, "x") == int(datetime.fromisoformat(expected).astimezone().timestamp())


@pytest.mark.parametrize("text_", ["25:00", "noon", "2027-13-01", ""])
def test_what_is_no_time_is_refused(text_: str) -> None:
    with pytest.raises(UsageError):
        moment_s(text_, datetime.now().astimezone(), "x")
