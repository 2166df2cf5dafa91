"""Settings: flag > environment > file > default, each with its origin."""

from __future__ import annotations

from pathlib import Path

import pytest

from qcommons.base.errors import UsageError
from qcommons.node.config import SETTINGS, load


def test_every_setting_has_a_default(tmp_path: Path) -> None:
    values = load(environ={}, path=tmp_path / "absent.toml")
    assert set(values) == {row.key for row in SETTINGS}
    assert all(value.origin == "default" and value.value > 0 for value in values.values())


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
