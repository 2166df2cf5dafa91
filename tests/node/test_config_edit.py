"""`config set` and `config unset`: the file is changed in place, checked whole, and replaced at once."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcommons.base.errors import Unavailable, UsageError
from qcommons.node import config
from qcommons.node.config import SETTINGS, load, set_value, unset

FILE = """\
# my node
[limits]   # what it may use
memory = "2GiB"  # the rest is for the desktop

# at night only
hours = '22:00-06:00'
workers = 2
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(FILE)
    return path


def _value(path: Path, key: str) -> float | str:
    return load(environ={}, path=path)[key].value


def test_one_line_changes_and_the_others_stay(path: Path) -> None:
    assert set_value("limits.memory", "4GiB", path) == (4 << 30, f"file {path}")
    assert path.read_text() == FILE.replace('"2GiB"', '"4GiB"')
    set_value("limits.workers", "3", path)
    assert path.read_text() == FILE.replace('"2GiB"', '"4GiB"').replace("workers = 2", "workers = 3")


def test_a_new_key_joins_its_section_and_unset_takes_it_out_again(path: Path) -> None:
    set_value("limits.qubits", "30", path)
    assert path.read_text() == FILE + "qubits = 30\n"
    assert unset("limits.qubits", path) is True
    assert path.read_text() == FILE
    assert unset("limits.qubits", path) is False


def test_a_first_setting_makes_folder_and_file_for_the_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "home" / "config.toml"
    set_value("limits.hours", "22:00-06:00", path)
    assert tomllib.loads(path.read_text()) == {"limits": {"hours": "22:00-06:00"}}
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    assert unset("limits.hours", path) is True
    assert _value(path, "limits.hours") == ""


def test_unset_in_no_file_makes_none(tmp_path: Path) -> None:
    assert unset("limits.hours", tmp_path / "config.toml") is False
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("key", "text", "written"),
    [("limits.seconds", "1.5", "1.5"), ("limits.seconds", "1.50", '"1.50"'), ("limits.load", "50%", '"50%"'),
     ("limits.operations", "007", '"007"'), ("limits.shots", "1000000", "1000000")],
)  # fmt: skip
def test_numbers_are_written_as_numbers_where_they_read_the_same(
    tmp_path: Path, key: str, text: str, written: str
) -> None:
    path = tmp_path / "config.toml"
    set_value(key, text, path)
    assert path.read_text() == f"[limits]\n{key.partition('.')[2]} = {written}\n"


@pytest.mark.parametrize("mode", [0o644, 0o600])
def test_permissions_and_links_stay(path: Path, mode: int) -> None:
    path.chmod(mode)
    link = path.with_name("link.toml")
    link.symlink_to(path)
    set_value("limits.workers", "5", link)
    assert link.is_symlink() and _value(path, "limits.workers") == 5
    assert path.stat().st_mode & 0o777 == mode
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["config.toml", "link.toml"]


def test_the_second_name_is_changed_where_the_file_has_it(path: Path) -> None:
    path.write_text("[limits]\ncores = 2\n")
    set_value("limits.workers", "4", path)
    assert path.read_text() == "[limits]\ncores = 4\n"
    set_value("limits.cores", "3", path)
    assert path.read_text() == "[limits]\ncores = 3\n"
    assert unset("limits.workers", path) and _value(path, "limits.workers") == config.default_size()
    set_value("limits.cores", "3", path)
    assert path.read_text() == "[limits]\nworkers = 3\n"


def test_a_wrong_value_in_the_file_can_be_mended(path: Path) -> None:
    path.write_text("[limits]\nworkers = 0\n")
    set_value("limits.workers", "2", path)
    assert path.read_text() == "[limits]\nworkers = 2\n"


@pytest.mark.parametrize("text", ["limits.workers = 2\n", "limits = {workers = 2}\n", "[limits]\r\nworkers = 2\r\n"])
def test_other_ways_to_write_the_same_are_kept(path: Path, text: str) -> None:
    path.write_bytes(text.encode())
    set_value("limits.workers", "3", path)
    assert path.read_bytes() == text.replace("2", "3").encode()
    set_value("limits.qubits", "30", path)
    assert (_value(path, "limits.workers"), _value(path, "limits.qubits")) == (3, 30)
    unset("limits.workers", path)
    assert _value(path, "limits.qubits") == 30


@pytest.mark.parametrize(
    ("before", "key", "text", "names"),
    [
        (FILE, "limits.qbits", "3", "did you mean limits.qubits"),
        (FILE, "limits", "3", "unknown setting"),
        (FILE, "", "3", "unknown setting"),
        (FILE, "limits.workers", "0", "limits.workers"),
        (FILE, "limits.hours", "nights", "limits.hours"),
        (FILE + "memry = 3\n", "limits.workers", "3", "memry"),
        (FILE + "idle = 'soon'\n", "limits.workers", "3", "limits.idle"),
        (FILE + "cores = 3\n", "limits.workers", "3", "another name"),
        ("limits = 3\n", "limits.workers", "3", "unknown setting 'limits'"),
        ("limits = [", "limits.workers", "3", "not TOML"),
        ("a=" + "[" * 20_000, "limits.workers", "3", "not TOML"),
    ],
)
def test_what_is_refused_leaves_the_file_alone(path: Path, before: str, key: str, text: str, names: str) -> None:
    path.write_text(before)
    with pytest.raises(UsageError) as caught:
        set_value(key, text, path)
    assert names in str(caught.value)
    assert path.read_text() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["config.toml"]


def test_a_full_disk_leaves_the_file_before(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left"):
        set_value("limits.workers", "3", path)
    assert path.read_text() == FILE
    assert [entry.name for entry in path.parent.iterdir()] == ["config.toml"]


# texts each row reads
GOOD = {
    "limits.memory": ["2GiB", "500MB", "4294967296"], "limits.seconds": ["30", "2m", "0.5", "1.50"],
    "limits.operations": ["1000"], "limits.workers": ["1", "4"], "limits.qubits": ["30", "off"],
    "limits.shots": ["0", "1000000"], "limits.hours": ["", "Sat-Sun", "mon 8:00-9:00"],
    "limits.idle": ["15", "1h", "off"], "limits.load": ["0.5", "50%", "0", "1.0"], "limits.battery": ["never", "40%"],
    "api.port": ["0", "8741"], "mesh.enabled": ["true", "off"], "mesh.network": ["commons", "lab-2"],
    "mesh.port": ["0", "9000"], "mesh.listen": ["lan", "loopback", "192.168.1.5"], "mesh.mdns": ["false", "1"],
    "mesh.bootstrap": ["", "10.0.0.1:8741, node.example:1"], "mesh.relay": ["no", "yes"], "share.enabled": ["on", "0"],
}  # fmt: skip


def test_every_row_has_texts_here() -> None:
    assert GOOD.keys() == {row.key for row in SETTINGS}


CHANGES = st.sampled_from([(key, text) for key, texts in GOOD.items() for text in [*texts, None]])


@settings(max_examples=40, deadline=None)
@given(st.lists(CHANGES, max_size=8))
def test_any_row_of_changes_ends_as_the_last_said(tmp_path_factory: pytest.TempPathFactory, changes: list) -> None:
    path = tmp_path_factory.mktemp("home") / "config.toml"
    path.write_text("# mine\n")
    said: dict[str, str] = {}
    for key, text in changes:
        if text is None:
            assert unset(key, path) is (said.pop(key, None) is not None)
        else:
            set_value(key, text, path)
            said[key] = text
    values = load(environ={}, path=path)
    for row in SETTINGS:
        if row.key in said:
            assert values[row.key] == (row.read(said[row.key], ""), f"file {path}")
        else:
            assert values[row.key].origin == "default"
    assert path.read_text().startswith("# mine\n")
