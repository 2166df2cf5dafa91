"""`qcommons run --on mesh` and `run(on="mesh")` where they cannot be: what is said, before anything is run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from qcommons.base.errors import UsageError
from qcommons.clients.http.submissions import submission
from qcommons.node.embedded import EmbeddedNode

BELL = 'OPENQASM 3.0; include "stdgates.inc"; qubit[2] q; bit[2] c; h q[0]; cx q[0], q[1]; c = measure q;'


@pytest.fixture
def bell(tmp_path: Path) -> Path:
    path = tmp_path / "bell.qasm"
    path.write_text(BELL)
    return path


def run(home: Path, *words: str) -> tuple[int, str]:
    environment = {**os.environ, "QCOMMONS_HOME": str(home)}
    command = [sys.executable, "-m", "qcommons.clients.cli.main", "run", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--on", "mesh"), 4, "qcommons up -d"),
        (("--on", "mesh", "--embedded"), 2, "leave one out"),
        (("--assurance", "audit"), 2, "--on mesh"),
        (("--on", "mesh", "--egress", "home"), 2, "--egress peers"),
        (("--on", "mesh", "--assurance", "replicate", "--peers", "1"), 2, "2 peers or more"),
        (("--on", "moon"), 2, "moon"),
        (("--purpose", "folding"), 4, "--purpose"),
    ],
)
def test_what_cannot_be_is_said_at_once(
    tmp_path: Path, bell: Path, words: tuple[str, ...], code: int, says: str
) -> None:
    found, text = run(tmp_path / "home", str(bell), *words)
    assert (found, says in text) == (code, True), text


def test_an_embedded_run_says_how_a_job_gets_to_the_mesh() -> None:
    with EmbeddedNode(1) as node, pytest.raises(UsageError, match="qcommons up -d") as caught:
        node.run(BELL, on="mesh")
    assert caught.value.where == "on"


def test_the_terms_travel_with_the_submission_and_mistakes_are_told_before() -> None:
    made = submission(BELL, on="mesh", assurance="replicate", egress="public", peers=3, budget=9, plan="batch")
    assert (made.on, made.assurance, made.egress, made.peers, made.budget, made.plan) == (
        "mesh", "replicate", "public", 3, 9, "batch",
    )  # fmt: skip
    with pytest.raises(UsageError):
        submission(BELL, budget=9)
    assert submission(BELL).egress is None, "the node's default holds"


def test_the_node_says_no_mesh_where_there_is_none(tmp_path: Path, bell: Path) -> None:
    from tests.node.daemons import Daemon

    env = {"QCOMMONS_MESH": "false"}
    with Daemon(tmp_path / "home", env=env):
        found, text = run(tmp_path / "home", str(bell), "--on", "mesh", "--egress", "public", "--json")
    assert found == 4 and "mesh.enabled true" in text, text
    assert json.loads(text.strip().splitlines()[-1])["error"]["where"] == "on"
