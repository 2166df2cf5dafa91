"""The documentation tells the truth: its commands run, its links lead somewhere, its tables are current."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
TUTORIALS = ("README.md", "docs/first-steps.md", "docs/keys.md", "docs/python.md")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXIT = re.compile(r"# exit (\d)$")
SECONDS_MAX = 120  # of one command, on a busy machine
SCRIPTS = sorted((ROOT / "docs/tutorials").glob("*.md"))  # their lines are typed one after the other in one terminal
SCRIPT_SECONDS_MAX = 300
RUN_ELSEWHERE = {"qcommons demo", "qcommons demo --alone"}  # by tests/clients/test_demo.py, which looks closer


def _blocks(language: str) -> Iterator[tuple[str, str]]:
    for name in TUTORIALS:
        path = ROOT / name
        for match in BLOCK.finditer(path.read_text() if path.exists() else ""):
            if match[1] == language:
                yield name, match[2]


def _commands() -> list[tuple[str, int]]:
    """(command, expected exit code) of every `sh` block; make targets are what runs this test, and `_run` sets PATH."""
    found = []
    for _, block in _blocks("sh"):
        for line in block.strip().splitlines():
            if not line.startswith(("make ", "source ")):
                code = EXIT.search(line)
                found.append((line, int(code[1]) if code else 0))
    return found


def _promised() -> list[tuple[str, int]]:
    """Commands of the first table of promises.md: second column, exit code in the same cell."""
    table = (ROOT / "docs/promises.md").read_text().split("## Measured")[0]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| ") and "`qcommons" in line]
    found = []
    for row in rows:
        command = re.search(r"`(qcommons .*?)`", row[2])
        assert command is not None, row
        code = re.search(r"exit (\d)", row[2])
        found.append((command[1], int(code[1]) if code else 0))
    return found


def _run(command: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "QCOMMONS_HOME": str(home),
        "PYTHONIOENCODING": "utf-8",
        "QCOMMONS_PORT": "0",  # the README's node must not fight for a port with one that runs here
    }
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS_MAX, check=False,
    )  # fmt: skip


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One for all commands, so that they go through the node that the README starts."""
    made = tmp_path_factory.mktemp("home")
    yield made
    _run("qcommons dev down --remove", made)
    _run("qcommons down --now", made)


DOCUMENTED = [row for row in dict.fromkeys(_commands() + _promised()) if row[0] not in RUN_ELSEWHERE]


@pytest.mark.parametrize(("command", "code"), DOCUMENTED)
def test_documented_command_ends_as_documented(command: str, code: int, home: Path) -> None:
    done = _run(command, home)
    assert done.returncode == code, done.stderr
    if " --json" in command:
        json.loads(done.stdout)


@pytest.mark.parametrize("page", SCRIPTS, ids=lambda page: page.stem)
def test_tutorial_runs_as_it_is_typed(page: Path, tmp_path: Path) -> None:
    """In a folder of its own that has the examples; nothing of it is left."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    blocks = [match[2] for match in BLOCK.finditer(page.read_text()) if match[1] == "sh"]
    lines = [line for block in blocks for line in block.splitlines() if not line.startswith("source ")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QCOMMONS_")}
    environment |= {"PATH": f"{BIN}:{os.environ['PATH']}", "QCOMMONS_HOME": str(tmp_path / "home")}
    environment |= {"PYTHONIOENCODING": "utf-8"}
    try:
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", "\n".join(lines)],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=SCRIPT_SECONDS_MAX, check=False,
        )  # fmt: skip
    finally:
        if (tmp_path / "try").exists():
            _run(f"qcommons dev down --folder {tmp_path}/try --remove", tmp_path / "home")
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
    assert {path.name for path in tmp_path.iterdir()} <= {"examples", "home"}


@pytest.mark.parametrize("name", ["README.md", "docs/first-steps.md"])
def test_the_environment_of_make_is_activated_before_the_first_command(name: str) -> None:
    """Nothing puts `qcommons` on PATH but this line; the folder is the one that the Makefile fills."""
    lines = [line for page, block in _blocks("sh") if page == name for line in block.splitlines()]
    first = next(place for place, line in enumerate(lines) if line.startswith("qcommons"))
    venv = re.search(r"^VENV := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert venv is not None
    assert lines[first - 1].split()[:2] == ["source", f"{venv[1]}/bin/activate"]


def test_readme_shows_a_histogram_of_the_form_that_is_printed(home: Path) -> None:
    """Outcomes, bars and digits; the numbers themselves may differ with the engine's version."""
    shown = next(block for name, block in _blocks("text") if name == "README.md").splitlines()
    printed = _run("qcommons run examples/bell.qasm --shots 4096 --seed 7", home).stdout.splitlines()
    form = re.compile(r"(00|11)  \u2588+ +\d{4}  0\.\d{4} \u00b1 0\.\d{4}")
    assert [bool(form.fullmatch(line)) for line in (*shown[:2], *printed[:2])] == [True] * 4


@pytest.mark.parametrize("name", list(dict.fromkeys(name for name, _ in _blocks("python"))))
def test_documented_python_runs(name: str, home: Path) -> None:
    """All blocks of a page in one process, as a reader types them, whose node runs."""
    assert _run("qcommons up -d", home).returncode == 0
    script = "\n".join(block for page, block in _blocks("python") if page == name)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=ROOT, env=os.environ | {"QCOMMONS_HOME": str(home)}, capture_output=True, text=True,
        timeout=SECONDS_MAX, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{name}: {done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    text = BLOCK.sub("", page.read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:|#", target):
            assert (page.parent / target.split("#")[0]).exists(), target


def test_decisions_are_listed() -> None:
    """Every decision page is linked from their front page."""
    folder = ROOT / "docs/decisions"
    listed = (folder / "README.md").read_text()
    assert [p.name for p in sorted(folder.glob("0*.md")) if f"({p.name})" not in listed] == []


def test_schemas_are_json_schemas() -> None:
    from jsonschema import Draft202012Validator

    for path in (ROOT / "docs/schema").glob("*.json"):
        Draft202012Validator.check_schema(json.loads(path.read_text()))
