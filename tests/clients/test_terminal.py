"""A terminal obeys what it reads, so nothing that others wrote reaches it raw: every command, text and JSON."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.clients.a_node import Done, a_home, a_node, command

NASTY = "\x1b]0;owned\x07\x9b31m\u202e\u2066"
CIRCUIT = 'OPENQASM 3.0; include "stdgates.inc"; qubit[1] q; bit[1] c; h q[0]; c = measure q;'


def _harmless(done: Done) -> None:
    for line in (done.out + done.err).split("\n"):
        assert line.isprintable(), ascii(line)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with a_node(tmp_path_factory.mktemp("node") / "home") as started:
        yield started


@pytest.fixture(scope="module")
def job(node: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A job whose name, tag and cause of its end are hostile; paused meanwhile, so that it waits."""
    path = tmp_path_factory.mktemp("programs") / f"a{NASTY}.qasm"
    path.write_text(CIRCUIT)
    assert command("pause").code == 0
    done = command("run", str(path), "--detach", "--tag", "plain")
    assert done.code == 0, done
    hostile = command("run", str(path), "--detach", "--tag", NASTY)
    _harmless(hostile)
    return done.out.strip()


def test_no_command_lets_a_name_of_others_through(job: str) -> None:
    looking = [("jobs",), ("job", job), ("why", job), ("status",), ("logs",), ("events",), ("policy",), ("doctor",)]
    for words in looking:
        for more in ((), ("--json",)):
            _harmless(command(*words, *more))
    assert "owned" in command("job", job).out
    _harmless(command("job", "cancel", job, "--cause", f"no{NASTY}"))
    for words in (("job", job), ("why", job), ("jobs",), ("job", "result", job), ("logs",), ("events",)):
        for more in ((), ("--json",)):
            _harmless(command(*words, *more))
    assert "no\\x1b]0;owned" in command("job", "result", job).err
    command("resume")


def test_words_of_the_command_line_come_back_harmless(node: dict[str, Any]) -> None:
    for words in (
        ("job", NASTY), ("allow", NASTY), ("deny", NASTY), ("token", "new", NASTY), ("token", "revoke", NASTY),
        ("config", "set", NASTY, NASTY), ("config", "set", "limits.hours", NASTY), ("run", NASTY), ("run", "x", NASTY),
        (NASTY,), ("jobs", "--state", NASTY), ("jobs", "--tag", NASTY), ("receipt", "check", NASTY, "--node-id", NASTY),
    ):  # fmt: skip
        for more in ((), ("--json",)):
            _harmless(command(*words, *more))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.qasm", f"OPENQASM 3.0;\nqubit q;\n{NASTY} q;", ()),
        ("a.qasm", f'OPENQASM 3.0;\ninclude "{NASTY}";', ()),
        ("a.qasm", CIRCUIT, ("--observable", f"Z{NASTY}")),
        ("a.qasm", CIRCUIT, ("--noise", NASTY)),
        ("a.qasm", CIRCUIT, ("--engine", NASTY)),
        ("a.qasm", CIRCUIT, ("--bind", f"{NASTY}=1")),
        ("a.qasm", CIRCUIT, ("--amplitudes", NASTY)),
        ("a.qasm", CIRCUIT, ("--sweep", f"s{NASTY}.csv")),
        (f"{NASTY}.qasm", CIRCUIT.replace("h q", "g q"), ()),
        ("config.toml", f'[limits]\n"{NASTY}" = 1', ()),
        ("config.toml", f'[limits]\nhours = "{NASTY[1:]}"', ()),
        ("noise.toml", f'schema = 1\n"\\u001b{NASTY[2:6]}" = 1', ("--noise", "noise.toml")),
    ],
)
def test_files_and_options_come_back_harmless(
    name: str, text: str, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with a_home(tmp_path):
        (tmp_path / "a.qasm").write_text(CIRCUIT)
        (tmp_path / name).write_text(text)
        (tmp_path / f"s{NASTY}.csv").write_text(f"a{NASTY}\n1\n")
        program = name if name.endswith(".qasm") else "a.qasm"
        done = command("run", program, "--embedded", *words)
        assert done.code == 2, done
        _harmless(done)
        _harmless(command("config"))


def test_answers_are_harmless_on_a_real_terminal(tmp_path: Path) -> None:
    """What a terminal would get: the bytes on the other side of a pty."""
    (tmp_path / f"{NASTY}.qasm").write_text(CIRCUIT)
    other = tmp_path / "b.qasm"
    other.write_text(CIRCUIT + f"\n{NASTY}")
    leader, follower = pty.openpty()
    script = Path(sys.executable).parent / "qcommons"
    for program in (f"{NASTY}.qasm", "b.qasm"):
        subprocess.run(
            [script, "run", program, "--shots", "10", "--embedded"], stdout=follower, stderr=follower, check=False,
            cwd=tmp_path, env=os.environ | {"QCOMMONS_HOME": str(tmp_path)},
        )  # fmt: skip
    os.close(follower)
    raw = b""
    with contextlib.suppress(OSError):  # the end, on Linux
        while part := os.read(leader, 1 << 16):
            raw += part
    os.close(leader)
    seen = raw.decode()
    assert "physics" in seen and "\\x1b" in seen
    assert all(line.isprintable() for line in seen.replace("\r\n", "\n").split("\n"))


def test_json_of_a_hostile_name_means_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with a_home(tmp_path):
        (tmp_path / f"{NASTY}.qasm").write_text(CIRCUIT)
        done = command("run", f"{NASTY}.qasm", "--embedded", "--json")
        _harmless(done)
        assert json.loads(done.out)["program"] == f"{NASTY}.qasm"
