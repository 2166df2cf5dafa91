"""Commands that ask a node, each against one real node: lists, jobs, owner's control, tokens, settings, logs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.clients.a_node import BELL, LONG, a_node, body, long_circuit, text

from qcommons.clients.cli.asking import clean

SCRIPT = Path(sys.executable).parent / "qcommons"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with a_node(tmp_path_factory.mktemp("node") / "home") as started:
        yield started


@pytest.fixture(scope="module")
def done(node: dict[str, Any]) -> str:
    """The id of a job that has ended."""
    job = text("run", BELL, "--detach", "--tag", "first", "--shots", "100", "--seed", "5").strip()
    body("job", "result", job, "--wait", "30s")
    return job


@pytest.fixture
def paused(node: dict[str, Any]) -> Iterator[None]:
    text("pause", "--for", "2h")
    yield
    text("resume")


# jobs


def test_jobs_are_listed_newest_first_by_state_and_tag(done: str) -> None:
    newer = body("run", BELL)["job"]
    listed = [job["id"] for job in body("jobs")["jobs"]]
    assert listed.index(newer) < listed.index(done)
    assert [job["id"] for job in body("jobs", "--tag", "first")["jobs"]] == [done]
    assert body("jobs", "--state", "failed")["jobs"] == []
    assert len(body("jobs", "-n", "1")["jobs"]) == 1
    shown = text("jobs", "--tag", "first")
    assert done in shown and "done" in shown and "[first]" in shown and " ago" in shown


def test_a_job_shows_its_states_in_order(done: str) -> None:
    view = body("job", done)
    assert [phase["state"] for phase in view["timeline"]][-1] == "done"
    since = [phase["since_ns"] for phase in view["timeline"]]
    assert since == sorted(since) and view["ended_ns"] == since[-1]
    shown = text("job", done)
    assert "100 shots" in shown and "1 of 1 run\n" in shown and "accepted" in shown


def test_an_id_may_be_shortened_while_only_one_job_begins_so(done: str) -> None:
    assert body("job", done[:12])["id"] == body("job", done[4:12])["id"] == done
    for _ in range(2):
        text("run", BELL, "--detach")
    firsts = [job["id"][4] for job in body("jobs", "-n", "1000")["jobs"]]
    several = next((start for start in firsts if firsts.count(start) > 1), None)
    absent = next(start for start in "abcdefghijklmnopqrstuvwxyz234567" if start not in firsts)
    assert "no job among" in text("job", absent, code=2)
    if several:  # likely, not certain: ids are random
        assert f"{firsts.count(several)} jobs begin with job_{several}" in text("job", several, code=2)
    assert "no job id" in text("why", "job_!", code=2)
    assert "there is no job" in text("job", "job_" + "a" * 16, code=2)


def test_the_result_is_what_run_would_have_printed(done: str, tmp_path: Path) -> None:
    out = tmp_path / "answer.json"
    kept = body("job", "result", done, "--out", str(out))
    assert kept["job"] == done and sum(kept["counts"].values()) == 100 and kept["seed"] == 5
    assert json.loads(out.read_text()) == kept
    again = body("run", BELL, "--embedded", "--shots", "100", "--seed", "5")
    assert again["counts"] == kept["counts"] and set(again) == set(kept)


@pytest.mark.usefixtures("paused")
def test_a_result_that_is_not_there_ends_with_4_and_why_says_whose_move_it_is() -> None:
    job = text("run", BELL, "--detach").strip()
    refused = body("job", "result", job, code=4)
    assert refused["job"] == job and "has not ended" in refused["error"]["what"]
    why = body("why", job)
    assert why["who"] == "owner" and why["action"] == "qcommons resume"
    assert why["until_ns"] > time.time_ns() + 7000 * 10**9
    assert "up to  owner" in text("why", job)
    start_s = time.monotonic()
    body("job", "result", job, "--wait", "1s", code=4)
    assert 1.0 <= time.monotonic() - start_s < 5


@pytest.mark.usefixtures("paused")
def test_a_cancelled_job_ends_with_6_and_stays_cancelled() -> None:
    job = text("run", BELL, "--detach").strip()
    assert body("job", "cancel", job, "--cause", "wrong file")["state"] == "cancelled"
    cancelled = body("job", "result", job, code=6)
    assert cancelled["status"] == "cancelled" and cancelled["job"] == job
    assert "wrong file" in cancelled["error"]["what"]
    assert "had ended already: cancelled" in text("job", "cancel", job)


def test_a_receipt_checks_with_the_node_id_and_with_no_other(done: str, node: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "r"
    text("job", "receipt", body("run", BELL)["job"], "--out", str(file))  # at once: it waits for the signature
    text("job", "receipt", done, "--out", str(file))
    good = body("receipt", "check", str(file), "--node-id", node["node_id"])
    assert good["valid"] and good["receipt"]["job_id"] == done and good["receipt"]["shots"] == 100
    assert "valid: signed by" in text("receipt", "check", str(file), "--node-id", node["node_id"])
    alone = text("receipt", "check", str(file))
    assert f"valid: signed by {node['node_id']}" in alone and "names its signer: the node of this home" in alone
    assert (good["node_id_from"], body("receipt", "check", str(file))["node_id_from"]) == ("option", "file")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QCOMMONS_HOME", str(tmp_path / "elsewhere"))
        assert "compare that with the node you asked" in text("receipt", "check", str(file))
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)
    assert body("receipt", "check", str(file), "--node-id", node["node_id"], code=5)["error"]["who"] == "peer"

    assert "cannot read" in text("receipt", "check", str(tmp_path / "no"), "--node-id", node["node_id"], code=2)


def test_a_refused_job_says_why_in_every_list_and_why_has_a_line_for_each_method(tmp_path: Path) -> None:
    """22 qubits in 16 MiB: a refusal that takes no time."""
    job = text("run", long_circuit(tmp_path), "--memory", "16MiB", "--engine", "numpy", "--detach").strip()
    body("job", "result", job, "--wait", "20s", code=3)
    for words in (("jobs",), ("job", job), ("events",), ("logs",), ("why", job)):
        assert "no engine here runs this part of 22 qubits" in text(*words), words
    assert re.search(r"  tried  numpy/dense: needs .* MiB; limit 16 MiB", text("why", job))
    assert {"engine", "method", "why"} == set(body("why", job)["tried"][0])


def test_what_is_no_job_id_is_said_plainly(node: dict[str, Any]) -> None:
    assert text("why", "no such", code=2).startswith("qcommons: 'no such' is no job id;")


def test_a_running_job_says_engine_prediction_and_since_when(node: dict[str, Any], tmp_path: Path) -> None:
    """Also in the lists; the prediction is the one that the answer would carry."""
    job = text("run", long_circuit(tmp_path), *LONG, "--detach").strip()
    until_s = time.monotonic() + 20
    while not (attempts := body("job", job)["attempts"]):
        assert time.monotonic() < until_s
        time.sleep(0.05)
    (now,) = attempts
    assert (now["run"], now["engine"], now["method"], now["certain"]) == (0, "numpy", "dense", True)
    assert now["predicted_s"] > 1 and 0 <= time.time_ns() - now["since_ns"] < 20e9
    said = r"numpy/dense, predicted [\d.]+ (?:s|min)[^,]*, for [\d.]+ m?s now"
    assert re.search(said, text("job", job)) and re.search(said, text("status")) and re.search(said, text("why", job))
    assert re.search(r"numpy/dense, [\d.]+ m?s of [\d.]+ (?:s|min).* predicted", text("jobs", "--state", "running"))
    text("job", "cancel", job)
    assert body("job", job)["attempts"] == []


# the node


def test_status_says_it_in_one_sentence_then_what_is_not_green(node: dict[str, Any]) -> None:
    well = text("status").splitlines()
    assert well[0].startswith("All is well")
    text("pause", "--finish")
    held = body("status")
    (trouble,) = held["troubles"]
    assert held["health"] == "yellow" and trouble["who"] == "owner" and trouble["action"] == "qcommons resume"
    shown = text("status")
    assert shown.startswith("Paused") and "cause: paused by home" in shown and "next:  qcommons resume" in shown
    assert text("resume").startswith("All is well")


def test_limits_that_are_set_are_part_of_the_status(node: dict[str, Any]) -> None:
    assert body("status")["limits"] == []
    changed = body("config", "set", "limits.qubits", "20")
    assert changed["applies"] == "now" and changed["origin"].startswith("file")
    assert "limits.qubits = 20" in text("status")
    assert text("run", str(Path(BELL).with_name("qaoa24.qasm")), "--detach", "--bind", "gamma=1", "--bind", "beta=1",
                code=3).count("20")  # fmt: skip
    assert "applies after a restart" in text("config", "set", "limits.workers", "1")
    near = text("config", "set", "limits.qubit", "1", code=2)
    assert "unknown setting 'limits.qubit'; did you mean limits.qubits" in near
    assert body("config", "unset", "limits.qubits")["origin"] == "default"
    text("config", "unset", "limits.workers")


def test_rules_are_added_and_taken_back(node: dict[str, Any]) -> None:
    assert body("deny", "tag:spam", "principal:eve") == {"allow": [], "deny": ["tag:spam", "principal:eve"]}
    said = text("run", BELL, "--tag", "spam", code=3)
    assert "spam" in said
    assert "tag:spam" in text("policy")
    assert body("policy", "remove", "tag:spam", "principal:eve")["deny"] == []
    assert text("policy") == "allow  everybody who has a token\ndeny   nobody\n"
    assert body("allow", "tag;x", code=2)["error"]["who"] == "caller"


def test_an_allow_list_never_locks_the_owner_out_unless_told_by_name(node: dict[str, Any]) -> None:
    assert "Your own work is taken as before" in text("allow", "principal:ann")
    text("run", BELL)
    assert "Your own work is held back too, by deny principal:home" in text("deny", "principal:home")
    assert "the owner denies principal:home" in text("run", BELL, code=3)
    assert "Your own work" not in text("policy", "remove", "principal:home", "principal:ann")


def test_a_friend_with_a_token_runs_jobs_until_it_is_revoked(
    node: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = body("token", "new", "ann", "--for", "7d")
    assert 6.9 * 86400e9 < given["expires_ns"] - time.time_ns() <= 7 * 86400e9
    assert [(row["id"], row["principal"]) for row in body("token", "list")["tokens"]] == [(given["id"], "ann")]
    assert given["token"] not in text("token", "list")
    with monkeypatch.context() as friend:
        friend.setenv("QCOMMONS_HOME", str(tmp_path))
        friend.setenv("QCOMMONS_NODE", node["url"])
        friend.setenv("QCOMMONS_TOKEN", given["token"])
        job = body("run", BELL)["job"]
        assert [row["id"] for row in body("jobs")["jobs"]] == [job]
        assert "owner" in text("status", code=2)
    assert body("job", job)["principal"] == "ann"
    text("token", "revoke", given["id"])
    with monkeypatch.context() as friend:
        friend.setenv("QCOMMONS_HOME", str(tmp_path))
        friend.setenv("QCOMMONS_TOKEN", given["token"])
        assert "wrong or expired token" in text("jobs", "--node", node["url"], code=2)


def test_logs_and_events_tell_what_happened(done: str, node: dict[str, Any]) -> None:
    events = body("events", "--since", "0")["events"]
    assert [event["seq"] for event in events] == list(range(len(events)))
    assert any(event["facts"].get("job") == done and event["facts"].get("state") == "done" for event in events)
    assert body("events", "--since", str(len(events) - 1))["events"] == events[-1:]
    assert f"job={done}" in text("events", "--since", "0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qcommons.clients.cli.events.LAST", 3)
        lines = text("events").splitlines()
    assert lines[0] == "older ones, from 0 on: qcommons events --since 0" and len(lines) == 4
    text("pause", "--for", "2h")
    text("resume")
    paused = next(line for line in text("events").splitlines() if "finish=" in line)
    assert "_ns=" not in paused and re.search(r" until=\d{4}-\d\d-\d\d ", paused)
    lines = body("logs", "-n", "10000")["lines"]
    assert any(line["event"] == "ready" and line["url"] == node["url"] for line in lines)
    assert len(body("logs", "-n", "2")["lines"]) == 2
    assert body("logs", "-n", "3", "--node", node["url"])["lines"] == body("logs", "-n", "3")["lines"], "API and file"
    assert f"url={node['url']}" in text("logs", "-n", "10000")
    assert (Path(node["home"]) / "token").read_text().strip() not in text("logs", "-n", "10000")


@pytest.mark.parametrize("words", [("logs", "-f"), ("events", "-f", "--since", "0")], ids=["logs", "events"])
def test_following_shows_what_comes_and_ends_with_ctrl_c(words: tuple[str, ...], node: dict[str, Any]) -> None:
    process = subprocess.Popen(
        [SCRIPT, *words, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    assert process.stdout is not None
    guard = threading.Timer(30.0, process.kill)
    guard.start()
    assert json.loads(process.stdout.readline())  # it is connected
    job = body("run", BELL)["job"]
    for line in process.stdout:
        said = json.loads(line)
        facts = said.get("facts", said)
        if facts.get("job") == job and facts["state"] == "done":
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    guard.cancel()
    assert process.returncode == 0 and err == ""


def test_doctor_asks_the_node(node: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from qcommons.clients.cli import doctor
    from qcommons.clients.cli.doctor_node import NODE_CHECKS

    monkeypatch.setattr(doctor, "CHECKS", NODE_CHECKS)
    found = {row["name"]: row for row in body("doctor")["findings"]}
    assert found["node"]["state"] == "green" and node["url"] in found["node"]["value"]
    assert "answers in" in found["node"]["value"] and "ms" in found["node"]["value"]
    assert node["node_id"] in found["key"]["value"] and found["token"]["state"] == "green"
    assert "iB" in found["database"]["value"] and found["clock"]["state"] == "green"


def test_what_others_wrote_does_nothing_to_a_terminal() -> None:
    assert clean("a\x1b[2Jb\r\nc\u202ed") == "a\\x1b[2Jb\\r\\nc\\u202ed"
