"""`qcommons doctor`: each finding that is not green says why and what to do."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from qcommons.base.errors import UsageError
from qcommons.clients.cli import doctor
from qcommons.clients.cli.findings import Finding
from qcommons.clients.cli.main import main
from qcommons.node import config, memory
from qcommons.pqc.keyfile import load_or_create


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QCOMMONS_HOME", str(tmp_path))


def _only(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(doctor, "CHECKS", tuple(row for row in doctor.CHECKS if row[0] in names))


def test_a_well_machine_is_green(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _only(monkeypatch, "python", "settings", "home", "memory")
    assert main(["doctor", "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["state"] == "green" and len(body["findings"]) == 4


def test_the_worker_answers_rightly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _only(monkeypatch, "worker")
    assert main(["doctor"]) == 0
    assert "answered rightly" in capsys.readouterr().out


def test_a_home_that_cannot_be_written_is_red(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("QCOMMONS_HOME", str(tmp_path / "file"))
    _only(monkeypatch, "home")
    assert main(["doctor"]) == 4
    printed = capsys.readouterr().out
    assert printed.startswith("red") and "cause:" in printed and "QCOMMONS_HOME" in printed


def test_a_small_memory_limit_is_yellow(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("QCOMMONS_MEMORY", "10MB")
    _only(monkeypatch, "memory")
    assert main(["doctor", "--json"]) == 0
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert finding["state"] == "yellow" and finding["cause"] and finding["action"]


def test_memory_is_what_a_single_run_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a worker's share: one run alone is refused beyond 80 % of what is free."""
    monkeypatch.delenv("QCOMMONS_MEMORY", raising=False)
    monkeypatch.setattr(memory, "free_bytes", lambda: 10 << 30)
    assert doctor._memory().value == "10 GiB free, a single run may use 8 GiB"


def test_an_error_inside_a_check_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong() -> Finding:
        raise UsageError("unknown setting", where="config.toml")

    def broken() -> Finding:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(doctor, "CHECKS", (("settings", wrong), ("engines", broken)))
    assert main(["doctor"]) == 4
    printed = capsys.readouterr().out
    assert "config.toml: unknown setting" in printed and "ZeroDivisionError: oops" in printed


def test_a_home_without_a_node_is_well(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is made by looking."""
    _only(monkeypatch, "node", "key", "token", "database", "clock")
    assert main(["doctor", "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["state"] == "green" and len(body["findings"]) == 5
    assert list(config.config_path().parent.iterdir()) == []


def test_a_token_that_others_can_read_is_red(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("qct_x\n")
    (tmp_path / "token").chmod(0o644)
    _only(monkeypatch, "token")
    assert main(["doctor"]) == 4
    printed = capsys.readouterr().out
    assert "644" in printed and f"chmod 600 {tmp_path / 'token'}" in printed


def test_a_key_sealed_by_a_file_is_yellow(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    key = load_or_create(tmp_path / "keys", None, os.urandom)
    _only(monkeypatch, "key")
    assert main(["doctor", "--json"]) == 0
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert finding["state"] == "yellow" and key.id in finding["value"] and "passphrase" in finding["action"]


def test_a_log_of_the_future_tells_that_the_clock_was_set_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    line = {"at_ns": time.time_ns() + 3600 * 10**9, "event": "ready"}
    (tmp_path / "node.log").write_text(json.dumps(line) + "\nhalf a li")
    _only(monkeypatch, "clock")
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("yellow") and "59 min" in printed


def test_the_last_trouble_of_the_database_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "node.db").write_bytes(b"x" * 2048)
    lines = [{"at_ns": time.time_ns() - 60 * 10**9, "event": "store", "kind": "full", "cause": "disk is full"},
             {"at_ns": time.time_ns(), "event": "store", "kind": "none"}]  # fmt: skip
    (tmp_path / "node.log").write_text("".join(json.dumps(line) + "\n" for line in lines))
    _only(monkeypatch, "database")
    assert main(["doctor"]) == 0
    assert "2 KiB; the last trouble was 1 min ago: disk is full" in capsys.readouterr().out


def test_a_mistake_in_the_config_file_is_one_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "config.toml").write_text("[limits]\nworkers = 2\nmemry = 3\n")
    _only(monkeypatch, "settings", "memory", "worker")
    assert main(["doctor", "--json"]) == 4
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert finding["name"] == "settings" and f"{tmp_path}/config.toml:3: unknown setting" in finding["cause"]
