"""Secret files: whole, private, and never lost when another takes their place."""

from __future__ import annotations

import itertools
import os
import secrets
import stat
from pathlib import Path

import pytest

from qcommons.base.errors import Unavailable, UsageError
from qcommons.pqc.secret_files import overwrite, place, read_private, replace


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    place(tmp_path, "a.key", b"first", secrets.token_bytes)
    place(tmp_path, "a.key", b"second", secrets.token_bytes)
    assert read_private(tmp_path / "a.key", 100) == b"first"
    overwrite(tmp_path, "a.key", b"third", secrets.token_bytes)
    assert read_private(tmp_path / "a.key", 100) == b"third"
    assert names(tmp_path) == {"a.key"}
    assert stat.S_IMODE((tmp_path / "a.key").stat().st_mode) == 0o600


def test_what_is_replaced_is_kept_under_the_next_number(tmp_path: Path) -> None:
    for number in range(3):
        place(tmp_path, "coming.key", b"%d" % number, secrets.token_bytes)
        aside = replace(tmp_path, "coming.key", "a.key")
        assert aside == (None if number == 0 else tmp_path / f"a.{number}.key")
    kept = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    assert kept == {"a.key": b"2", "a.1.key": b"0", "a.2.key": b"1"}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in tmp_path.iterdir())


def test_a_crash_between_the_steps_of_a_replacement_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(tmp_path, "a.key", b"old", secrets.token_bytes)
    place(tmp_path, "coming.key", b"new", secrets.token_bytes)

    def crash(self: Path, target: Path) -> Path:
        raise OSError(5, "gone")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", crash)
        for _ in range(2):  # twice: the second name of the first try is used again
            with pytest.raises(OSError, match="gone"):
                replace(tmp_path, "coming.key", "a.key")
    assert (tmp_path / "a.key").read_bytes() == b"old"
    assert replace(tmp_path, "coming.key", "a.key") == tmp_path / "a.1.key"
    assert names(tmp_path) == {"a.key", "a.1.key"}
    assert (tmp_path / "a.1.key").read_bytes() == b"old" and (tmp_path / "a.key").read_bytes() == b"new"


@pytest.mark.parametrize("write", [place, overwrite])
def test_a_full_disk_leaves_what_was_there(write: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place(tmp_path, "a.key", b"first", secrets.token_bytes)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path, "a.key", b"second", secrets.token_bytes)  # type: ignore[operator]
    assert names(tmp_path) == {"a.key"} and (tmp_path / "a.key").read_bytes() == b"first"


def test_the_umask_does_not_matter(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        place(tmp_path, "a.key", b"", secrets.token_bytes)
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "a.key").stat().st_mode) == 0o600


def test_reading_is_bounded_and_refuses_what_others_reach(tmp_path: Path) -> None:
    assert read_private(tmp_path / "none", 10) is None
    place(tmp_path, "a.key", bytes(100), secrets.token_bytes)
    assert read_private(tmp_path / "a.key", 10) == bytes(11)
    (tmp_path / "a.key").chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600"):
        read_private(tmp_path / "a.key", 10)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(UsageError, match="ordinary"):
        read_private(tmp_path / "pipe", 10)
    with pytest.raises(Unavailable):
        read_private(tmp_path / "a.key" / "b", 10)


def test_a_folder_full_of_old_keys_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qcommons.pqc.secret_files.ASIDE_MAX", 2)
    for number in itertools.count():
        place(tmp_path, "coming.key", b"%d" % number, secrets.token_bytes)
        if number == 3:
            break
        replace(tmp_path, "coming.key", "a.key")
    with pytest.raises(OSError, match="2 old files"):
        replace(tmp_path, "coming.key", "a.key")
    assert (tmp_path / "a.key").read_bytes() == b"2"
