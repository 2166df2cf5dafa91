"""The log: JSON lines in a private file, rotated, and lines lost rather than work."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from qcommons.node import logbook
from qcommons.node.logbook import Logbook, newest


def test_lines_are_json_with_time_and_event_in_a_private_file(tmp_path: Path) -> None:
    book = Logbook(tmp_path / "node.log")
    book.write(7, "job", {"job": "job_x", "path": Path("a")})
    book.close()
    assert json.loads(newest(book.path, 5)[0]) == {"at_ns": 7, "event": "job", "job": "job_x", "path": "a"}
    assert book.path.stat().st_mode & 0o777 == 0o600


def test_the_file_is_rotated_and_the_newest_lines_span_two_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logbook, "FILE_BYTES_MAX", 400)
    book = Logbook(tmp_path / "node.log")
    for number in range(100):
        book.write(number, "x", {})
    book.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["node.log", "node.log.1", "node.log.2"]
    assert [json.loads(line)["at_ns"] for line in newest(book.path, 5)] == [95, 96, 97, 98, 99]


def test_a_log_that_cannot_be_written_counts_what_it_lost(tmp_path: Path) -> None:
    (tmp_path / "node.log").mkdir()
    book = Logbook(tmp_path / "node.log")
    book.write(1, "x", {})
    assert book.lost == 1
    assert newest(tmp_path / "nothing.log", 3) == []


def test_a_log_that_others_could_read_is_closed_when_it_is_opened(tmp_path: Path) -> None:
    (tmp_path / "node.log").touch()
    (tmp_path / "node.log").chmod(0o644)
    book = Logbook(tmp_path / "node.log")
    book.open()
    book.close()
    assert book.path.stat().st_mode & 0o777 == 0o600


def test_the_foreground_reads_it_too(tmp_path: Path) -> None:
    echo = io.StringIO()
    book = Logbook(tmp_path / "node.log", echo)
    book.write(1, "job", {"state": "done", "why": None})
    book.close()
    assert echo.getvalue() == "job          state=done\n"
