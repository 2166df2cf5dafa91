"""`tools/setup.py` and the Makefile: clear words where something is missing, and a help that is complete."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _setup(tmp_path: Path, *words: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The script on a copy, so that no test touches the real environment."""
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools/setup.py", tmp_path / "tools")
    environment = os.environ | ({"PYTHONPATH": str(path)} if path else {})
    command = [sys.executable, "tools/setup.py", *words]
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)


def test_a_python_without_ensurepip_is_told_what_to_install(tmp_path: Path) -> None:
    fake = tmp_path / "fake"
    fake.mkdir()
    (fake / "ensurepip.py").write_text("raise ImportError('no pip here', name='ensurepip')\n")
    done = _setup(tmp_path, "run", path=fake)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "ensurepip is missing" in done.stderr and "apt install python3" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_an_old_python_is_told_which_one_is_needed(tmp_path: Path) -> None:
    fake = tmp_path / "fake"
    fake.mkdir()
    (fake / "sitecustomize.py").write_text("import sys\nsys.version_info = (3, 9, 0, 'final', 0)\n")
    done = _setup(tmp_path, "run", path=fake)
    assert done.returncode == 1 and "Python 3.11 or newer is needed" in done.stderr


@pytest.mark.parametrize("words", [(), ("fly",), ("run", "dev")])
def test_other_words_are_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert _setup(tmp_path, *words).returncode == 1


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_help_lists_every_target() -> None:
    text = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony is not None
    printed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert all(f"make {target} " in printed for target in phony[1].split())


def test_constraints_pin_every_declared_dependency() -> None:
    """Two clones of one commit get the same packages."""
    import tomllib

    pinned = {
        re.split(r"[=<>!~;\[ ]", line)[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    declared = [*project["dependencies"], *extras["dev"], *extras["fast"], *extras["tn"]]
    names = {re.split(r"[=<>!~;\[ ]", one)[0].lower() for one in declared}
    assert names - pinned == set()


def test_what_pip_fetches_is_told_line_by_line() -> None:
    """Lines of pip 24 and 25 as they come through a pipe."""
    spec = importlib.util.spec_from_file_location("setup_script", ROOT / "tools/setup.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rows = {
        "Collecting numpy==2.3.2 (from qcommons==0.1.0)\n": "fetching numpy==2.3.2",
        "  Downloading numpy-2.3.2-cp311-manylinux.whl (16.9 MB)\n": None,
        "Building editable for qcommons (pyproject.toml): started\n": "building the package itself",
        "Installing collected packages: stim, numpy, qcommons\n": "installing 3 packages",
        "\n": None,
    }
    assert {line: module.told(line) for line in rows} == rows
