"""The unit of systemd and the Dockerfile: accepted by their tools where those are, and as careful as they claim."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGING = Path(__file__).parents[2] / "packaging"
UNIT = PACKAGING / "qcommons.service"
DOCKERFILE = (PACKAGING / "Dockerfile").read_text()


def test_systemd_accepts_the_unit_without_a_word(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    here = str(Path(sys.executable).parent / "qcommons")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("%h/.local/bin/qcommons", here))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", str(unit)], capture_output=True, text=True, check=False,
        env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_unit_waits_longer_than_the_drain() -> None:
    from qcommons.node.daemon import DRAIN_S

    wait = re.search(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    assert wait is not None and int(wait[1]) > DRAIN_S


def test_the_container_runs_as_nobody_of_note_and_keeps_what_matters_in_its_volume() -> None:
    last_stage = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001", last_stage, re.MULTILINE)
    home = re.search(r"QCOMMONS_HOME=(\S+)", last_stage)
    assert home is not None and f"VOLUME {home[1]}" in last_stage
    assert '"qcommons", "status"' in last_stage.partition("HEALTHCHECK")[2]


def test_the_image_builds_and_answers() -> None:
    if not os.environ.get("QCOMMONS_TEST_DOCKER"):
        pytest.skip("builds an image, some minutes: set QCOMMONS_TEST_DOCKER=1")
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no docker answers")
    root = PACKAGING.parent
    build = ["docker", "build", "-q", "-f", str(PACKAGING / "Dockerfile"), str(root)]
    image = subprocess.run(build, capture_output=True, text=True, check=True).stdout.strip()
    run = ["docker", "run", "--rm", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", image, "version"]
    assert "qcommons" in subprocess.run(run, capture_output=True, text=True, check=True).stdout
