"""`qcommons engines`: installed, missing and broken engines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qcommons.clients.cli import engines
from qcommons.clients.cli.main import main
from qcommons.engines.registry import EngineRow, MethodRow

METHOD = MethodRow("dense", "the full state", ("counts",), ("readout",), True, "any", "f64", "2^n")
ROWS = (
    EngineRow("here", "1.2", "pip install here", "MIT", (METHOD,), {"amplitude": 2e-9}),
    EngineRow("away", None, "pip install away", "MIT", (), {}),
    EngineRow("torn", None, "", "", (), {}, error="ImportError: no"),
)


@pytest.fixture(autouse=True)
def _rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QCOMMONS_HOME", str(tmp_path))
    monkeypatch.setattr(engines, "describe", lambda _constants: ROWS)


def test_people_see_versions_abilities_and_install_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engines"]) == 0
    here, away, torn = capsys.readouterr().out.split("\n\n")
    assert "here 1.2 (MIT)" in here and "noise readout" in here and "cost: 2^n" in here and "amplitude 2e-09" in here
    assert "away not installed" in away and "pip install away" in away
    assert "torn: cannot be loaded" in torn and "ImportError: no" in torn


def test_programs_see_the_same_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engines", "--json"]) == 0
    body = json.loads(capsys.readouterr().out)["engines"]
    assert [(row["name"], row["version"], row["measured"]) for row in body] == [
        ("here", "1.2", False), ("away", None, False), ("torn", None, False),
    ]  # fmt: skip
