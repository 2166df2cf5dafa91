"""Settings: flag > environment > file > default, each with its origin."""

from __future__ import annotations

from pathlib import Path

import pytest

from qcommons.base.errors import UsageError
from qcommons.node.config import SETTINGS, load, owner_limits, survey
from qcommons.node.owner import OwnerLimits

OFF_BY_DEFAULT = {"limits.qubits", "limits.shots", "limits.idle", "limits.load", "limits.battery", "share.enabled"}


def test_every_setting_has_a_default(tmp_path: Path) -> None:
    values = load(environ={}, path=tmp_path / "absent.toml")
    assert set(values) == {row.key for row in SETTINGS}
    assert all(value.origin == "default" for value in values.values())
    for row in SETTINGS:
        assert row.show(values[row.key].value)  # for people there is always a word
        if isinstance(row.default(), float | int) and row.key not in OFF_BY_DEFAULT:
            assert values[row.key].value == pytest.approx(row.default(), rel=0.5) and row.default() > 0  # memory moves
    limits = owner_limits(values)
    assert limits == OwnerLimits(cores=limits.cores) and limits.cores >= 1  # nothing is held back unasked


def test_the_nearer_origin_wins(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[limits]\nmemory = "2GiB"\nseconds = 30\nworkers = 1\n')
    environ = {"QCOMMONS_SECONDS": "2m", "QCOMMONS_MEMORY": "3GiB"}
    values = load({"limits.memory": 4 << 30, "limits.seconds": None}, environ, path)
    assert values["limits.memory"] == (4 << 30, "flag --memory")
    assert values["limits.seconds"] == (120.0, "environment QCOMMONS_SECONDS")
    assert values["limits.workers"] == (1, f"file {path}")
    assert values["limits.operations"].origin == "default"


@pytest.mark.parametrize(
    ("text", "names"),
    [('[limits]\nmemry = "2GiB"', "memry"), ('[limits]\nmemory = "two"', "limits.memory"), ("limits = [", "TOML"),
     ("[limits]\nworkers = 0", "limits.workers"), ("[limits.memory]\na = 1", "limits.memory"), ("\x00", "TOML")],
)  # fmt: skip
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, text: str, names: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        load(environ={}, path=path)
    assert names in str(caught.value) and str(path) in str(caught.value)


def test_a_wrong_variable_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load(environ={"QCOMMONS_MEMORY": "lots"}, path=tmp_path / "absent.toml")
    assert caught.value.where == "QCOMMONS_MEMORY"


OWNERS = """
[limits]
hours = "mon-fri 18:00-8:00,Sat-Sun"
idle = "1h"
load = 0.5
battery = "never"
cores = 3
memory = "2GiB"
qubits = 30
shots = "off"
"""


def test_the_owners_limits_are_read_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(OWNERS)
    values = load(environ={"QCOMMONS_SHOTS_MAX": "5000"}, path=path)
    assert owner_limits(values) == OwnerLimits(
        hours="Mon-Fri 18:00-08:00, Sat-Sun", idle_min=60, load_max_milli=500, battery_min_percent=100, cores=3,
        memory_bytes=2 << 30, qubits_max=30, shots_max=5000,
    )  # fmt: skip
    assert values["limits.workers"] == (3, f"file {path}")


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("limits.idle", "15", 15), ("limits.idle", "15min", 15), ("limits.idle", "120s", 2), ("limits.idle", "off", 0),
        ("limits.load", "50%", 0.5), ("limits.load", "0.25", 0.25), ("limits.load", "off", 0), ("limits.load", "2", 2),
        ("limits.battery", "40%", 40), ("limits.battery", "Never", 100), ("limits.battery", "0", 0),
        ("limits.qubits", "off", 0), ("limits.qubits", "30", 30), ("limits.hours", " ", ""),
    ],
)  # fmt: skip
def test_values_as_people_write_them(tmp_path: Path, key: str, text: str, value: float | str) -> None:
    env = next(row.env for row in SETTINGS if row.key == key)
    assert load(environ={env: text}, path=tmp_path / "absent.toml")[key].value == value


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("limits.idle", "30s"), ("limits.idle", "-5"), ("limits.idle", "10081"), ("limits.idle", "soon"),
        ("limits.load", "-1"), ("limits.load", "nan"), ("limits.load", "inf"), ("limits.load", "0.0001"),
        ("limits.load", "101"), ("limits.load", "1e3"), ("limits.battery", "101"), ("limits.battery", "-1"),
        ("limits.battery", "40.5"), ("limits.qubits", "1.5"), ("limits.qubits", "never"), ("limits.qubits", "٣"),
        ("limits.shots", "1" * 40), ("limits.workers", "off"), ("limits.hours", "nights"),
    ],
)  # fmt: skip
def test_values_out_of_range_are_refused_with_the_form(tmp_path: Path, key: str, text: str) -> None:
    env = next(row.env for row in SETTINGS if row.key == key)
    with pytest.raises(UsageError) as caught:
        load(environ={env: text}, path=tmp_path / "absent.toml")
    assert caught.value.where == env and len(caught.value.what) < 250


def test_two_names_of_one_setting_are_not_both_taken(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[limits]\ncores = 2\nworkers = 3\n")
    with pytest.raises(UsageError, match=r"limits.cores is another name of limits.workers"):
        load(environ={}, path=path)


def test_an_unknown_key_is_answered_with_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[limits]\nqbits = 3\n")
    with pytest.raises(UsageError, match=r"did you mean limits\.qubits"):
        load(environ={}, path=path)


@pytest.mark.parametrize(
    ("text", "where"),
    [("[limits]\n\nmemry = 1", ":3"), ("[limits]\nworkers = 0", ":2: limits.workers"),
     ("a = 1\n[limits", ":2"), ("a = 1\n[limits\n", ":2:8"),
     ("[limits]\nworkers = " + "9" * 5000, ":2"), ("[limits]\nworkers = 0x" + "f" * 5000, ":2: limits.workers"),
     ("[limits]\ncores = 1\nworkers = 1", ":2"), ("limits = {workers = 0}", ": limits.workers")],
)  # fmt: skip
def test_what_is_wrong_in_the_file_is_told_with_its_line(tmp_path: Path, text: str, where: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        load(environ={}, path=path)
    assert caught.value.where == f"{path}{where}"


def test_a_survey_tells_every_trouble_and_the_settings_that_are_well(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[limits]\nmemry = 1\nworkers = 3\nshots = "many"\n')
    values, troubles = survey(environ={"QCOMMONS_MEMORY": "lots"}, path=path)
    assert values.keys() == {row.key for row in SETTINGS}
    assert values["limits.workers"] == (3, f"file {path}")
    assert values["limits.shots"].origin == values["limits.memory"].origin == "default"
    places = {str(error.where) for error in troubles}
    assert places == {f"{path}:2", f"{path}:4: limits.shots", "QCOMMONS_MEMORY"}
