"""Completion scripts: what they offer, asked of the shells themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.clients.a_node import body, text

from qcommons.clients.cli.main import COMMANDS


def _bash(tmp_path: Path, *words: str) -> list[str]:
    script = tmp_path / "completion.bash"
    script.write_text(text("completion", "bash"))
    code = f'source {script}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _qcommons; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", code, "-", *words], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_offers_every_command(tmp_path: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    assert set(_bash(tmp_path, "qcommons", "")) == {row.name.split()[0] for row in COMMANDS}
    assert _bash(tmp_path, "qcommons", "job", "re") == ["result", "receipt"]
    assert _bash(tmp_path, "qcommons", "job", "result", "x", "--w") == ["--wait"]
    assert _bash(tmp_path, "qcommons", "jobs", "--state", "ca") == ["cancelled"]
    assert "--wait" not in _bash(tmp_path, "qcommons", "job", "x", "--")


def test_bash_offers_files_where_no_word_fits(tmp_path: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    (tmp_path / "bell.qasm").write_text("")
    assert _bash(tmp_path, "qcommons", "run", "be") == ["bell.qasm"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_read_their_script(shell: str, tmp_path: Path) -> None:
    script = text("completion", shell)
    assert body("completion", shell)["script"] == script
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    file = tmp_path / "script"
    file.write_text(script)
    subprocess.run([shell, "-n", str(file)], check=True)


def _fish(tmp_path: Path, line: str) -> list[str]:
    script = tmp_path / "completion.fish"
    script.write_text(text("completion", "fish"))
    code = f"source {script}; complete -C '{line}'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert done.stderr == ""
    return [row.partition("\t")[0] for row in done.stdout.splitlines()]


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_offers_what_fits_the_place_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "bell.qasm").write_text("")
    assert set(_fish(tmp_path, "qcommons ")) == {row.name.split()[0] for row in COMMANDS}
    assert set(_fish(tmp_path, "qcommons job re")) == {"result", "receipt"}
    assert _fish(tmp_path, "qcommons jobs --state ca") == ["cancelled"]
    assert _fish(tmp_path, "qcommons jobs --tag b") == [], "a value, and no file"
    assert _fish(tmp_path, "qcommons run be") == ["bell.qasm"]
    both = _fish(tmp_path, "qcommons dev up --")
    assert "--nodes" in both and "--port" not in both, "not the options of `up`"
    assert "--wait" not in _fish(tmp_path, "qcommons job x --")
