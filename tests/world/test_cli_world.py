"""`qcommons world`: what it prints, its exit codes, its JSON; the pages and the schema say what the rows say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qcommons.clients.cli import world
from qcommons.clients.cli.main import main
from qcommons.world.afterwards import RULES as LATER
from qcommons.world.checkers import RULES
from qcommons.world.faults import FAULTS
from qcommons.world.fetches import RULES as FETCHES
from qcommons.world.hirings import RULES as HIRINGS
from qcommons.world.scenarios import SCENARIOS
from qcommons.world.searches import RULES as SEARCHES

ROOT = Path(__file__).parents[2]
SMALL = ["world", "--nodes", "3", "--for", "3s", "--seed", "7"]


def run(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[str, str]:
    assert main([*SMALL, *words]) == code
    out = capsys.readouterr()
    return out.out, out.err


def test_people_see_what_happened_and_what_was_checked(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = run(capsys, "--scenario", "churn", "--for", "10s")
    assert out.startswith("churn: 3 nodes, seed 7, ") and "virtual seconds" in out
    assert re.search(r"\[0\] +\d+\.\d{3} s  (crash|power|reset) on \d", out)
    assert "held: news once, answered once" in out and "whole" in out


def test_programs_see_a_report_of_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    from jsonschema import Draft202012Validator

    text = (ROOT / "docs/schema/world.schema.json").read_text()
    assert text == world.schema_text(), "run: python -m qcommons.clients.cli.world > docs/schema/world.schema.json"
    out, _ = run(capsys, "--scenario", "disks", "--json")
    body = json.loads(out)
    Draft202012Validator(json.loads(text)).validate(body)
    assert body["status"] == "done" and body["violations"] == [] and len(body["trace_hash"]) == 64
    assert body["events"] > 100 and body["virtual_seconds"] > 3 and body["messages_per_node"] > 1


def test_a_broken_rule_is_exit_code_5_with_the_line_that_replays_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """News are delivered twice by a core that has not seen any."""
    from qcommons.mesh import news

    monkeypatch.setattr(news.NewsShelf, "has_seen", lambda self, key: False)
    out, _ = run(capsys, "--faults", "reset.every=1", code=5)
    assert "BROKEN news once, " in out
    line = next(line for line in out.splitlines() if line.startswith("replay: "))
    assert line == "replay: qcommons world --scenario join --seed 7 --nodes 3 --for 3s --faults reset.every=1"
    out, err = run(capsys, "--faults", "reset.every=1", "--shrink", code=5)
    assert "shrunk in " in err and "--without 0,1,2,3" in out
    replayed = out.splitlines()[-1].split()[2:]
    assert main(replayed) == 5 and "BROKEN news once" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "what"),
    [(["--scenario", "peace"], "no scenario 'peace'; there are: join"), (["--faults", "rain"], "no fault 'rain'"),
     (["--without", "x"], "are no places"), (["--nodes", "1"], "integers from 2"),
     (["--faults", "loss=2"], "allowed 0")],
)  # fmt: skip
def test_bad_input_is_exit_code_2(words: list[str], what: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, err = run(capsys, *words, code=2)
    assert what in err


def test_the_list_shows_all_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["world", "--list"]) == 0
    text = capsys.readouterr().out
    assert main(["world", "--list", "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    for key, rows in (("scenarios", SCENARIOS), ("faults", FAULTS), ("rules", RULES | LATER)):
        assert [row["name"] for row in body[key]] == list(rows)
        assert all(re.search(rf"^  {re.escape(name)} +\S", text, re.MULTILINE) for name in rows)


def test_every_event_can_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    _, err = run(capsys, "--trace")
    assert " < Begin(" in err and " > Transmit(" in err


def test_the_page_names_every_scenario_fault_and_rule() -> None:
    page = (ROOT / "docs/world.md").read_text()
    missing = [
        name for name in [*SCENARIOS, *FAULTS, *RULES, *LATER, *SEARCHES, *FETCHES, *HIRINGS] if f"`{name}`" not in page
    ]
    assert not missing


def test_the_front_page_of_help_does_not_import_the_world() -> None:
    code = (
        "import sys; from qcommons.clients.cli.main import main\n"
        "main(['--help']); print('qcommons.world' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n")


def test_progress_is_for_terminals_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def __init__(self) -> None:
            self.text = ""

        def isatty(self) -> bool:
            return True

        def write(self, text: str) -> None:
            self.text += text

        def flush(self) -> None:
            pass

    terminal: Any = Terminal()
    monkeypatch.setattr(world.sys, "stderr", terminal)
    show = world._progress(False)
    assert show is not None and world._progress(True) is None
    show(1.0, 3.0)
    assert "1.0 of 3 virtual s" in terminal.text
