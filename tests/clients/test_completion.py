"""Completion scripts: what they offer, asked of the shells themselves."""

from __future__ import annotations

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
