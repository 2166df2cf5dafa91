"""The home: where it is, what it keeps, and what happens to what cannot be read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from qcommons.node import home as home_module
from qcommons.node.frames import Calibration
from qcommons.node.home import Home, home_path

CONSTANTS = {"numpy": {"amplitude_s": 2e-9}}
MEASURED = Calibration(home_module.processor(), {"numpy": "2.0"}, CONSTANTS)


def test_the_environment_says_where_the_home_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QCOMMONS_HOME", str(tmp_path / "here"))
    assert home_path() == tmp_path / "here"
    monkeypatch.delenv("QCOMMONS_HOME")
    assert home_path().name == "qcommons"


def test_constants_are_kept_and_the_folder_is_private(tmp_path: Path) -> None:
    home = Home(tmp_path / "deep" / "home")
    assert home.constants() == {}
    home.keep(MEASURED)
    assert Home(home.path).constants() == CONSTANTS
    assert home.calibration() == MEASURED
    assert home.path.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in home.path.iterdir()] == ["calibration.json"]


def test_another_processor_makes_the_constants_useless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Home(tmp_path).keep(MEASURED)
    monkeypatch.setattr(home_module, "processor", lambda: "another one")
    assert Home(tmp_path).constants() == {}


@pytest.mark.parametrize("junk", [b"", b"{", b"\xff\xfe", b'{"machine": 3}', b"[" * 10_000, b" " * (2 << 20)])
def test_a_broken_file_counts_as_never_measured(tmp_path: Path, junk: bytes) -> None:
    home = Home(tmp_path)
    home.calibration_path.write_bytes(junk)
    assert home.calibration() is None
    assert home.constants() == {}


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_counts_as_never_measured_and_is_not_waited_for(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    home = Home(tmp_path)
    make(home.calibration_path)
    assert home.constants() == {}
    home.keep(MEASURED)
    assert Home(tmp_path).constants() == CONSTANTS and not home.calibration_path.is_symlink()
