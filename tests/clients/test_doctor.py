"""`qcommons doctor`: each finding that is not green says why and what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qcommons.base.errors import UsageError
from qcommons.clients.cli import doctor
from qcommons.clients.cli.doctor import Finding
from qcommons.clients.cli.main import main
from qcommons.node import memory


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
