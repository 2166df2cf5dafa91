"""`qcommons run` where a node of the home runs: the same answers, kept there, and honest about what goes wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.clients.a_node import BELL, EXAMPLES, LONG, a_home, a_node, body, command, long_circuit, text

SCRIPT = Path(sys.executable).parent / "qcommons"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with a_node(tmp_path_factory.mktemp("node") / "home") as started:
        yield started


def _same(answer: dict[str, Any]) -> dict[str, Any]:
    """Without what each run measures anew."""
    dropped = ("job", "seconds", "predicted_cost", "facts", "reason")
    kept = {key: value for key, value in answer.items() if key not in dropped}
    return kept | {"results": [_same(run) for run in answer.get("results", [])]}


@pytest.mark.parametrize(
    "words",
    [(BELL, "--shots", "500"), (str(EXAMPLES / "ghz5.qasm"), "--observable", "XXXXX", "--noise", "depolarizing:0.02"),
     (str(EXAMPLES / "ghz5.qasm"), "--amplitudes", "00000,11111"),
     (str(EXAMPLES / "hydrogen.qasm"), "--sweep", str(EXAMPLES / "hydrogen.csv"), "--observable", "ZZ")],
    ids=["counts", "noise", "amplitudes", "sweep"],
)  # fmt: skip
def test_the_answer_is_that_of_an_embedded_run(words: tuple[str, ...], node: dict[str, Any]) -> None:
    here = body("run", *words, "--seed", "7")
    assert here["job"] in [job["id"] for job in body("jobs")["jobs"]]
    embedded = body("run", *words, "--seed", "7", "--embedded")
    assert _same(here) == _same(embedded)
    assert embedded["job"] not in [job["id"] for job in body("jobs")["jobs"]]


def test_people_are_told_the_job_after_the_answer(node: dict[str, Any]) -> None:
    printed = text("run", BELL).splitlines()
    assert printed[-1].startswith("job        job_") and printed[-2] == "physics    emulated"


@pytest.mark.parametrize(
    "words", [(BELL, "--engine", "abacus"), ("absent.qasm",), (BELL, "--bind", "x=1"), (BELL, "--noise", "gloom:0.1")]
)
def test_errors_are_those_of_an_embedded_run(words: tuple[str, ...], node: dict[str, Any]) -> None:
    here = body("run", *words, code=2)
    embedded = body("run", *words, "--embedded", code=2)
    assert here["status"] == embedded["status"]
    assert here["error"]["who"] == embedded["error"]["who"] == "caller"
    assert embedded["error"]["where"] in here["error"]["where"], "the node may say more of the place"


def test_a_deadline_of_the_command_line_reaches_the_job(node: dict[str, Any]) -> None:
    job = text("run", BELL, "--detach", "--deadline", "100s").strip()
    view = body("job", job)
    assert view["deadline_ns"] - view["submitted_ns"] == pytest.approx(100e9, rel=0.05)


def test_options_that_contradict_each_other_are_refused(node: dict[str, Any]) -> None:
    for words in (("--detach", "--embedded"), ("--detach", "--out", "x"), ("--node", node["url"], "--embedded")):
        assert "leave one out" in text("run", BELL, *words, code=2)


def test_a_waiting_job_says_why_and_ctrl_c_cancels_it(node: dict[str, Any]) -> None:
    text("pause")
    process = subprocess.Popen(
        [SCRIPT, "run", BELL, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    assert process.stderr is not None
    said = process.stderr.readline()
    assert "waiting: paused by home until resumed" in said
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=10)
    cancelled = json.loads(out)
    assert process.returncode == 6 and cancelled["status"] == "cancelled" and cancelled["job"] in said
    assert body("job", cancelled["job"])["state"] == "cancelled"
    text("resume")


def test_what_needs_a_node_says_so_where_none_runs(tmp_path: Path) -> None:
    with a_home(tmp_path):
        for words in (("--detach",), ("--tag", "x")):
            assert "start one: qcommons up -d" in text("run", BELL, *words, code=4)
        assert body("run", BELL)["status"] == "done", "without them it runs embedded"
        assert "no node answers" in text("run", BELL, "--node", "http://127.0.0.1:9", code=4)


def test_a_node_that_dies_is_told_and_the_job_is_kept(tmp_path: Path) -> None:
    """kill -9 in the middle of a run: exit 4 with the way to the answer; the next node has it."""
    with a_node(tmp_path / "home") as started:
        process = subprocess.Popen(
            [SCRIPT, "run", long_circuit(tmp_path), *LONG, "--json"], stdout=subprocess.PIPE, text=True, env=os.environ
        )
        while not body("status")["running"]:
            time.sleep(0.05)
        time.sleep(0.5)  # it runs before the client has heard that it is taken
        os.kill(started["pid"], signal.SIGKILL)
        out, _ = process.communicate(timeout=20)
        told = json.loads(out)
        assert process.returncode == 4
        assert "the job is kept" in told["error"]["what"] and f"job result {told['job']}" in told["error"]["what"]
        assert command("up", "-d", "--port", "0").code == 0
        assert body("job", told["job"])["state"] in ("accepted", "planned", "running")
        assert body("job", "cancel", told["job"])["state"] == "cancelled"
