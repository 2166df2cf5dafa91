"""One daemon a home: who holds it is known to all, and a dead holder holds nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from qcommons.base.errors import Unavailable, UsageError
from qcommons.node.lock import Holder, HomeLock, read_lock

URL = "http://127.0.0.1:8740"
HOLDS = """
import sys
from pathlib import Path
from qcommons.node.lock import HomeLock
with HomeLock(Path(sys.argv[1])) as lock:
    lock.publish(sys.argv[2])
    print("held", flush=True)
    sys.stdin.read()
"""


def holder_process(path: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(path), URL], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def test_the_second_is_refused_and_told_who_is_first(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    process = holder_process(path)
    try:
        with pytest.raises(Unavailable, match=f"process {process.pid}, which serves {URL}") as refused:
            HomeLock(path).take()
        assert refused.value.where == str(path)
        found = read_lock(path)
        assert found is not None
        assert (found.pid, found.url) == (process.pid, URL)
        assert abs(time.time_ns() - found.started_at_ns) < 60e9
    finally:
        process.communicate()
    assert read_lock(path) is None
    with HomeLock(path):
        assert read_lock(path) is not None


def test_a_lock_left_by_a_killed_process_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    process = holder_process(path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert b"8740" in path.read_bytes()  # it left its line
    assert read_lock(path) is None
    with HomeLock(path) as lock:
        lock.publish("http://[::1]:1")
        found = read_lock(path)
        assert found is not None
        assert (found.pid, found.url) == (os.getpid(), "http://[::1]:1")


def test_file_and_folder_are_private(tmp_path: Path) -> None:
    path = tmp_path / "home" / "lock"
    with HomeLock(path):
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_process_started_by_the_holder_does_not_hold(tmp_path: Path) -> None:
    """A worker that outlives its daemon must not keep the next one out."""
    with HomeLock(tmp_path / "lock"):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    try:
        assert read_lock(tmp_path / "lock") is None
        with HomeLock(tmp_path / "lock"):
            pass
    finally:
        child.communicate(b"\n")


def test_asking_neither_takes_nor_hinders(tmp_path: Path) -> None:
    """Four threads ask all the time; taking and releasing succeeds every time."""
    path = tmp_path / "lock"
    assert read_lock(path) is None
    assert not path.exists()
    stop = threading.Event()
    seen: set[Holder | None] = set()

    def asks() -> None:
        while not stop.is_set():
            seen.add(read_lock(path))
            time.sleep(0.0005)

    threads = [threading.Thread(target=asks) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(50):
        with HomeLock(path) as lock:
            lock.publish(f"http://127.0.0.1:{number}/{'x' * (number % 7)}")
    stop.set()
    for thread in threads:
        thread.join()
    assert {found.pid for found in seen if found} <= {os.getpid()}


def test_a_holder_that_has_not_said_is_still_a_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with HomeLock(path):
        path.write_bytes(b"{not json")
        assert read_lock(path) == Holder()
        with pytest.raises(Unavailable, match="another process"):
            HomeLock(path).take()


def test_a_removed_file_does_not_make_two_holders_of_one_name(tmp_path: Path) -> None:
    """Whoever waits with the removed file open must not believe that it has the home."""
    path = tmp_path / "lock"
    first = HomeLock(path)
    first.take()
    path.unlink()
    with HomeLock(path) as second:
        second.publish(URL)
        with pytest.raises(Unavailable):
            HomeLock(path).take()
    first.release()
    first.release()  # again: nothing


def test_misuse_is_refused(tmp_path: Path) -> None:
    lock = HomeLock(tmp_path / "lock")
    with pytest.raises(UsageError):
        lock.publish(URL)
    with lock:
        with pytest.raises(UsageError):
            lock.take()
        with pytest.raises(UsageError):
            lock.publish("x" * 5000)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="links are not followed"):
        HomeLock(tmp_path / "link").take()
    assert not (tmp_path / "elsewhere").exists()
