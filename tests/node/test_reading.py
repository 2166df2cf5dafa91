"""Files that a person names: whole, capped, and never waited for without end."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from qcommons.base.errors import UsageError
from qcommons.node.reading import is_fifo, read_file, read_stream


def _fifo(path: Path) -> Path:
    os.mkfifo(path / "ff")
    return path / "ff"


def test_a_regular_file_is_read_up_to_one_byte_past_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 100)
    assert read_file(path, 100) == b"x" * 100
    assert read_file(path, 10) == b"x" * 11
    assert not is_fifo(path)


def test_a_fifo_without_a_writer_ends_with_the_time(tmp_path: Path) -> None:
    path = _fifo(tmp_path)
    start_s = time.monotonic()
    with pytest.raises(UsageError, match=r"nobody wrote to it within 0\.2 s") as caught:
        read_file(path, 100, 0.2)
    assert 0.15 < time.monotonic() - start_s < 2
    assert caught.value.where == str(path) and is_fifo(path)


def test_a_fifo_that_is_written_in_parts_is_read_to_its_end(tmp_path: Path) -> None:
    path = _fifo(tmp_path)

    def write() -> None:
        with path.open("wb", buffering=0) as file:
            for part in (b"one ", b"two"):
                file.write(part)
                time.sleep(0.05)

    writer = threading.Thread(target=write)
    writer.start()
    assert read_file(path, 100, 10.0) == b"one two"
    writer.join()


def test_a_writer_that_does_not_end_is_told(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.write(write, b"a")
    with pytest.raises(UsageError, match="its writer must end"):
        read_stream(read, 100, 0.2, "standard input")
    os.write(write, b"b" * 300)
    assert read_stream(read, 100, 0.2, "standard input") == b"b" * 101
    os.close(read)
    os.close(write)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a folder, no regular file"):
        read_file(tmp_path, 100)
    with pytest.raises(UsageError, match="a device, no regular file"):
        read_file(Path("/dev/zero"), 100)
    with pytest.raises(UsageError, match="a FIFO, no regular file"):
        read_file(_fifo(tmp_path), 100, None)
    with pytest.raises(UsageError, match="No such file"):
        read_file(tmp_path / "none", 100)
    with pytest.raises(UsageError, match="null"):
        read_file(Path("a\0b"), 100)
