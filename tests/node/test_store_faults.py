"""The store on bad days: real deaths, full disks, foreign locks, damaged files. Nothing stands in.

Two promises: what was told durable is there, whole; and what is damaged is named and never served.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from qcommons.base.errors import Corrupt, QCommonsError, Unavailable, UsageError
from qcommons.base.seeds import stream
from qcommons.node.store import Kind, Store, Trouble

PATIENCE_S = 20.0
ALL = ("", "\U0010ffff")


def eventually(holds: Callable[[], bool]) -> bool:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(0.005)
    return False


# Deaths

WRITES_FOREVER = """
import os, sys
from pathlib import Path
from qcommons.node.store import Store

store, number = Store(Path(sys.argv[1])), int(sys.argv[2])
while True:
    value = b"%d" % number * 50
    changes = [(f"a/{number:08}", value), (f"b/{number:08}", value), ("last", b"%d" % number)]
    if number >= 10:
        changes.append((f"a/{number - 10:08}", None))
    store.apply(changes, lambda number=number: os.write(1, b"%d\\n" % number))
    number += 1
    if number % 7 == 0:  # batches of several sizes
        store.flush(10)
"""


def test_killed_at_any_moment_what_was_told_is_there_and_nothing_is_half(tmp_path: Path) -> None:
    """20 kills -9 of one home. Order is kept, so what is there is a beginning of what was queued."""
    path = tmp_path / "node.db"
    moments_s = stream(20, "moments of death").uniform(0.0, 0.12, size=20)
    start = 0
    for moment_s in moments_s:
        process = subprocess.Popen(
            [sys.executable, "-c", WRITES_FOREVER, str(path), str(start)], stdout=subprocess.PIPE, bufsize=0
        )
        assert process.stdout is not None
        first = process.stdout.read(1)
        time.sleep(moment_s)
        process.send_signal(signal.SIGKILL)
        told = (first + process.stdout.read()).split(b"\n")[:-1]  # the last one may be cut
        process.wait()
        process.stdout.close()
        assert told
        with Store(path) as store:
            last = int(store.get("last") or -1)
            assert last >= int(told[-1])
            assert [key for key, _ in store.scan("b/", "b0")] == [f"b/{number:08}" for number in range(last + 1)]
            recent = range(max(0, last - 9), last + 1)
            assert store.scan("a/", "a0") == [(f"a/{number:08}", b"%d" % number * 50) for number in recent]
        start = last + 1


# A disk that will not take it

IN_A_SMALL_DISK = """
import os, sys, time
from pathlib import Path
from qcommons.base.errors import Unavailable
from qcommons.node.store import Store

def until(holds):
    for _ in range(2000):
        if holds(): return
        time.sleep(0.005)
    raise SystemExit("waited in vain")
"""

FULL = """
ballast = folder / "ballast"
ballast.write_bytes(bytes(3_500_000))
told, troubles = [], []
store = Store(folder / "node.db", on_trouble=troubles.append)
for number in range(100):
    store.apply([(f"{number:03}", bytes(10_000))], lambda number=number: told.append(number))
    store.apply([("last", b"%d" % number)])
    if number < 5: store.flush(5)
until(lambda: store.trouble)
assert store.trouble.kind == "full", store.trouble
assert abs(time.time_ns() - store.trouble.since_ns) < 60e9
assert not store.flush(0.3) and store.waiting
assert store.get("000") == bytes(10_000)  # what is there is still served
assert told == list(range(len(told))) and len(told) < 100
ballast.unlink()
assert store.flush(20) and store.trouble is None
assert told == list(range(100)), told
assert [trouble and trouble.kind for trouble in troubles] == ["full", None]
assert store.count("0", "1") == 100 and store.get("last") == b"99"
store.close()

ballast.write_bytes(b"")  # and closing with a full disk says what was lost
store = Store(folder / "node.db")
try:
    with ballast.open("wb") as file:
        while True: file.write(bytes(4096)); file.flush()
except OSError: pass
store.apply([("lost", bytes(200_000))])
try:
    store.close()
except Unavailable as error:
    assert "1 changes were not written" in str(error), error
else:
    raise SystemExit("lost in silence")
try:
    Store(folder / "sub" / "other.db")
except Unavailable as error:
    assert "free space" in str(error), error
else:
    raise SystemExit("made in a full disk")
ballast.unlink()
Store(folder / "sub" / "other.db").close()
assert Store(folder / "node.db").get("lost") is None
"""

READ_ONLY = """
with Store(folder / "node.db") as store:
    store.apply([("a", b"1")])
os.system(f"mount -o remount,ro {folder}")
for path in (folder / "node.db", folder / "none.db"):
    try:
        Store(path)
    except Unavailable as error:
        assert "writable" in str(error), error
    else:
        raise SystemExit("opened what cannot be written")
"""

LIMITED = """
import resource
told, troubles = [], []
store = Store(folder / "node.db", on_trouble=troubles.append)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
for number in range(100):
    store.apply([(f"{number:03}", bytes(10_000))], lambda number=number: told.append(number))
until(lambda: store.trouble)
assert store.trouble.kind == "io" and "quota" in store.trouble.action, store.trouble
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
assert store.flush(20) and store.trouble is None
assert told == list(range(100))
store.close()
assert Store(folder / "node.db").count("0", "1") == 100
"""


def run_child(script: str, folder: Path, *prefix: str) -> subprocess.CompletedProcess[str]:
    command = [*prefix, sys.executable, "-W", "error", "-c", f"{IN_A_SMALL_DISK}\nfolder = Path(sys.argv[1])\n{script}"]
    return subprocess.run([*command, str(folder)], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("script", [FULL, READ_ONLY], ids=["full", "read-only"])
def test_a_disk_that_is(tmp_path: Path, script: str) -> None:
    """In a mount namespace of the child's own, a tmpfs of 4 MiB: nobody else sees it, and it goes with the child."""
    mounts = 'mount -t tmpfs -o size=4m,mode=700 none "$0" && exec "$@"'
    own = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounts, str(tmp_path))
    if not shutil.which("unshare") or subprocess.run([*own, "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount in a namespace of their own")
    ended = run_child(script, tmp_path, *own)
    assert ended.returncode == 0, ended.stderr


def test_a_file_that_may_not_grow_is_trouble_until_it_may(tmp_path: Path) -> None:
    """RLIMIT_FSIZE: write(2) answers EFBIG, which SQLite calls an I/O error, as it does EDQUOT of a quota."""
    ended = run_child(LIMITED, tmp_path)
    assert ended.returncode == 0, ended.stderr


def test_a_folder_without_write_permission_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "home" / "node.db"
    Store(path).close()
    path.parent.chmod(0o500)
    try:
        if os.access(path.parent, os.W_OK):
            pytest.skip("permissions do not bind this user")
        with pytest.raises(Unavailable, match="writable"):
            Store(path)
        with pytest.raises(Unavailable, match="writable"):
            Store(path.with_name("other.db"))
    finally:
        path.parent.chmod(0o700)


# Others at the file

HOLDS = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(sys.argv[2])
connection.execute("SELECT count(*) FROM records").fetchall()
print("held", flush=True)
sys.stdin.read()
connection.execute("COMMIT")
"""


class Foreign:
    """Another process in a transaction of its own until the block ends."""

    def __init__(self, path: Path, begin: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDS, str(path), begin], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> Foreign:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"held\n"
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()
        assert self.process.returncode == 0


def test_a_foreign_lock_is_waited_out_in_order(tmp_path: Path) -> None:
    told: list[int] = []
    troubles: list[Kind | None] = []
    path = tmp_path / "node.db"

    def on_trouble(trouble: Trouble | None) -> None:
        troubles.append(trouble.kind if trouble else None)

    with Store(path, on_trouble=on_trouble) as store:
        store.apply([("before", b"1")])
        store.flush(PATIENCE_S)
        with Foreign(path, "BEGIN IMMEDIATE"):
            for number in range(20):
                store.apply([(f"{number:02}", b"")], lambda number=number: told.append(number))
            assert eventually(lambda: store.trouble is not None)
            found = store.trouble
            assert found is not None
            assert (found.kind, "fuser" in found.action) == ("locked", True)
            assert store.get("before") == b"1"
            assert not store.flush(1.0)
            assert store.trouble == found  # since the first failure, not the last
            assert not told
            with pytest.raises(Unavailable, match="locked"):
                Store(path)
        assert store.flush(PATIENCE_S)
        assert told == list(range(20))
        assert troubles == ["locked", None]
        assert store.trouble is None


def test_a_foreign_reader_that_stays_does_not_stop_writing_and_its_wal_goes_with_it(tmp_path: Path) -> None:
    path, wal = tmp_path / "node.db", tmp_path / "node.db-wal"
    with Store(path) as store:
        with Foreign(path, "BEGIN"):
            for number in range(48):
                store.apply([(f"w/{number % 4}", bytes(1 << 19))])
                assert store.flush(PATIENCE_S)
            assert wal.stat().st_size > 20 << 20  # its snapshot needs the old pages: nothing can be done
        for number in range(32):
            store.apply([(f"w/{number % 4}", bytes(1 << 19))])
            assert store.flush(PATIENCE_S)
        assert wal.stat().st_size < 8 << 20


def test_a_file_moved_away_is_trouble_until_it_is_back(tmp_path: Path) -> None:
    """SQLite itself would write on, to a file without a name, and all of it would be lost."""
    path, away = tmp_path / "node.db", tmp_path / "away.db"
    with Store(path) as store:
        path.rename(away)
        store.apply([("a", b"1")])
        assert eventually(lambda: store.trouble is not None)
        assert store.trouble is not None
        assert store.trouble.kind == "io"
        path.write_bytes(b"another file")
        assert not store.flush(0.5)
        away.rename(path)
        assert store.flush(PATIENCE_S)
    with Store(path) as store:
        assert store.get("a") == b"1"


# Damage


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[tuple[str, bytes]]]:
    """The bytes of a sound file of 150 pages or so, and what it says."""
    path = tmp_path_factory.mktemp("sound") / "node.db"
    noise = stream(3, "values")
    with Store(path) as store:
        store.apply([(f"job/{number:05}", noise.bytes(300)) for number in range(1500)])
        store.apply([(f"large/{number}", noise.bytes(20_000)) for number in range(5)])
    with Store(path) as store:
        records = store.scan(*ALL)
    assert len(records) == 1505
    return path.read_bytes(), records


def answers(path: Path) -> list[tuple[str, bytes]] | None:
    """What the store serves from the file; None where it refuses, having left the file as it was."""
    before = path.read_bytes()
    try:
        store = Store(path)
    except Corrupt as error:
        assert path.read_bytes() == before
        assert error.where == str(path)
        return None
    with store:
        try:
            return store.scan(*ALL)
        except Corrupt as error:
            assert error.where == str(path)
            return None


def test_overwritten_bytes_are_never_served(tmp_path: Path, sound: tuple[bytes, list[tuple[str, bytes]]]) -> None:
    """Single bits and 64-byte holes anywhere: refused, or (in unused bytes of a page) all answers are right."""
    data, records = sound
    noise = stream(4, "damage")
    path = tmp_path / "node.db"
    refused = 0
    for trial in range(120):
        damaged = bytearray(data)
        at = int(noise.integers(0, len(data) - 64))
        if trial % 2:
            damaged[at] ^= 1 << int(noise.integers(0, 8))
        else:
            damaged[at : at + 64] = noise.bytes(64)
        path.write_bytes(damaged)
        found = answers(path)
        assert found is None or found == records, f"byte {at}"
        refused += found is None
        Path(f"{path}-wal").unlink(missing_ok=True)
        Path(f"{path}-shm").unlink(missing_ok=True)
    assert refused >= 80  # most of a page is in use


@pytest.mark.parametrize("keep", [0, 1, 16, 99, 100, 4095, 4096, 8192, 0.5, 0.99, -4096])
def test_a_cut_file_is_refused(tmp_path: Path, sound: tuple[bytes, list[tuple[str, bytes]]], keep: float) -> None:
    data, _ = sound
    path = tmp_path / "node.db"
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    assert answers(path) is None


@pytest.mark.parametrize("lost_bytes", [1, 100, 2000])
def test_a_file_that_lost_a_part_of_its_last_page_is_never_served_wrong(
    tmp_path: Path, sound: tuple[bytes, list[tuple[str, bytes]]], lost_bytes: int
) -> None:
    """SQLite reads the missing part as zeros: wrong only if it was in use, and then the check sum knows."""
    data, records = sound
    path = tmp_path / "node.db"
    path.write_bytes(data[:-lost_bytes])
    assert answers(path) in (None, records)


def test_a_lost_file_is_not_replaced_by_a_new_one_while_its_wal_is_there(tmp_path: Path) -> None:
    (tmp_path / "node.db-wal").write_bytes(b"committed")
    with pytest.raises(Corrupt, match="put the file back"):
        Store(tmp_path / "node.db")
    assert [file.name for file in tmp_path.iterdir()] == ["node.db-wal"]


def test_what_waits_in_a_wal_survives_a_refusal(tmp_path: Path) -> None:
    """The file is damaged, its WAL is sound: looking must not move the one into the other."""
    path, copy = tmp_path / "node.db", tmp_path / "copy.db"
    with Store(path) as store:
        store.apply([(f"{number:04}", bytes(300)) for number in range(2000)])
    with Store(path) as store:
        store.apply([("new", b"in the WAL")])
        store.flush(PATIENCE_S)
        damaged = bytearray(path.read_bytes())
        damaged[40 * 4096 : 80 * 4096] = bytes(40 * 4096)
        copy.write_bytes(damaged)
        shutil.copy(f"{path}-wal", f"{copy}-wal")
    wal = Path(f"{copy}-wal").read_bytes()
    assert answers(copy) is None
    assert Path(f"{copy}-wal").read_bytes() == wal


@pytest.mark.parametrize("content", [b"a text, not a database\n" * 400, b"SQLite format 3\0", bytes(10_000)])
def test_something_else_under_the_name_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "node.db"
    path.write_bytes(content)
    assert answers(path) is None


def test_the_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks(url TEXT)")
    assert answers(path) is None


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.db").mkdir()
    os.mkfifo(tmp_path / "pipe.db")
    for name in ("folder.db", "pipe.db"):
        with pytest.raises(UsageError, match="no regular file"):
            Store(tmp_path / name)


def test_damage_found_while_running_ends_everything(
    tmp_path: Path, sound: tuple[bytes, list[tuple[str, bytes]]]
) -> None:
    data, records = sound
    path = tmp_path / "node.db"
    path.write_bytes(data)
    told: list[str] = []
    troubles: list[Trouble | None] = []
    store = Store(path, on_trouble=troubles.append)
    with path.open("r+b") as file:
        file.seek(len(data) // 4)
        file.write(stream(5, "damage").bytes(len(data) // 2))
    with pytest.raises(Corrupt):
        store.scan(*ALL)
    assert store.trouble is not None
    assert (store.trouble.kind, troubles) == ("corrupt", [store.trouble])
    store.apply([("a", b"1")], lambda: told.append("a"))
    assert not store.flush(0.2)
    for ask in (lambda: store.get(records[0][0]), lambda: store.scan("x", "y"), lambda: store.count("x", "y")):
        with pytest.raises(QCommonsError) as refused:
            ask()
        assert isinstance(refused.value, Corrupt)
    with pytest.raises(Corrupt, match="1 changes were not written"):
        store.close()
    assert not told


def test_damage_met_by_the_writer_ends_it(tmp_path: Path, sound: tuple[bytes, list[tuple[str, bytes]]]) -> None:
    data, _ = sound
    path = tmp_path / "node.db"
    path.write_bytes(data)
    store = Store(path)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(bytes([0xFF]) * (len(data) - 4096))
    store.apply([("job/00700", b"1")])
    assert eventually(lambda: store.trouble is not None)
    assert store.trouble is not None
    assert store.trouble.kind == "corrupt"
    with pytest.raises(Corrupt):
        store.get("job/00700")
    with pytest.raises(Corrupt):
        store.close()
