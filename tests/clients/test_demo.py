"""`qcommons demo`: the five nodes, once; the one node, once; and what is left where it is ended on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.clients.a_node import body

from qcommons.clients.cli.demo_cases import CASES
from qcommons.clients.cli.demo_mesh import LIAR, NODES, STEPS, VICTIM


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What `demo --json` prints; exit code 0: all agree, the liar is caught, nobody else is punished."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QCOMMONS_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("tmp")))
        patch.setattr("tempfile.tempdir", None)
        yield body("demo")
        assert not list(Path(os.environ["TMPDIR"]).iterdir()), "something of it stayed"


def test_every_answer_on_the_mesh_is_the_known_one(told: Any) -> None:
    assert [case["title"] for case in told["cases"]] == [step.case.title for step in STEPS]
    assert all(case["agrees"] for case in told["cases"])
    for step, case in zip(STEPS, told["cases"], strict=True):
        runs = len(step.case.options.get("bind", [0])) if isinstance(step.case.options.get("bind"), list) else 1
        assert sum(case["ran"].values()) == (0 if case["error"] else runs), case["title"]
        assert "node 1" not in case["ran"], "who asks does not run"


def test_the_liar_is_caught_with_evidence_and_none_of_its_answers_is_used(told: Any) -> None:
    liar = told["nodes"][LIAR - 1]
    assert liar["lies"] and liar["wrong"] and liar["caught"] and "proved wrong" in liar["quarantine"]
    caught = [case["title"] for case in told["cases"] if f"node {LIAR}" in case["caught"]]
    assert caught and caught[0] in liar["caught"]
    assert not any(f"node {LIAR}" in case["ran"] for case in told["cases"])


def test_one_is_killed_while_it_works_and_nobody_honest_is_punished(told: Any) -> None:
    (killed,) = [case for case in told["cases"] if case["killed"]]
    assert killed["killed"] == told["killed"] != f"node {LIAR}" and killed["lost_runs"] >= 1
    others = [node for node in told["nodes"] if not node["lies"] and not node["killed"]]
    assert len(others) == NODES - 2
    assert [(node["quarantine"], node["caught"], node["wrong"]) for node in others] == [(None, None, 0)] * len(others)
    assert VICTIM != LIAR != 1


def test_every_archive_holds_offline_and_covers_every_run(told: Any) -> None:
    answered = [case for case in told["cases"] if not case["error"]]
    assert told["archives_checked"] == len(answered) == len(STEPS) - 1 and not told["faults"]
    peers = sum(node["receipts"] for node in told["nodes"][1:])
    replicas = sum(len(case["also_ran"]) for case in answered)
    assert told["nodes"][0]["receipts"] == sum(sum(case["ran"].values()) for case in answered)
    assert peers >= told["nodes"][0]["receipts"] + replicas


def test_alone_needs_no_mesh() -> None:
    alone = body("demo", "--alone")
    assert all(case["agrees"] for case in alone["cases"]) and len(alone["cases"]) == len(CASES)
    assert alone["receipts_checked"] == len(CASES)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_whoever_ends_it_leaves_nothing_behind(ending: signal.Signals, tmp_path: Path) -> None:
    home, place = tmp_path / "home", tmp_path / "tmp"
    place.mkdir()
    environment = os.environ | {"QCOMMONS_HOME": str(home), "TMPDIR": str(place)}
    process = subprocess.Popen(
        [sys.executable, "-m", "qcommons.clients.cli.main", "demo", "--alone"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert b"A node was started" in process.stdout.readline()
    locked = list(place.glob("*/home/node.db"))
    process.send_signal(ending)
    process.communicate(timeout=60)
    assert process.returncode == 6 and locked and not list(place.iterdir())
