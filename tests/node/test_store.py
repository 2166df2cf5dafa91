"""The node's store: order, atomicity, durability told in order, reads of one moment, forms of the file.

`test_store_faults.py` has the days when disk and processes fail.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from qcommons.base.errors import Corrupt, UsageError
from qcommons.node.migrations import MIGRATIONS, Migration, backup_path
from qcommons.node.store import KEY_BYTES_MAX, WAL_BYTES_MAX, Store

PATIENCE_S = 20.0


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def fabricated(path: Path, schema: str, made_by: str) -> bytes:
    """A file as some other version left it, with one table of its own; returns its bytes."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL)")
        connection.executemany("INSERT INTO meta VALUES (?, ?)", [("schema", schema), ("made_by", made_by)])
        connection.execute("CREATE TABLE jobs(id INTEGER, body TEXT)")
        connection.executemany("INSERT INTO jobs VALUES (?, ?)", [(1, "bell"), (2, "ghz")])
    return path.read_bytes()


def test_what_is_applied_is_read_back_now_and_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "home" / "node.db"
    with Store(path) as store:
        store.apply([("a", b"1"), ("b", b""), ("c", bytes(range(256))), ("d", b"x")])
        store.apply([("a", b"2"), ("d", None), ("never", None)])
        assert store.flush(PATIENCE_S)
        assert store.waiting == 0
        assert store.trouble is None
        assert store.get("a") == b"2"
        assert store.get("d") is None
        assert (mode(path), mode(path.parent)) == (0o600, 0o700)
        assert mode(Path(f"{path}-wal")) == 0o600
    with Store(path) as store:
        assert store.scan("", "\U0010ffff") == [("a", b"2"), ("b", b""), ("c", bytes(range(256)))]
    assert [file.name for file in path.parent.iterdir()] == ["node.db"]


def test_keys_are_in_the_order_of_code_points(tmp_path: Path) -> None:
    """Python compares str by code points; UTF-8 keeps that order (RFC 3629, section 1)."""
    keys = ["job/1", "job/10", "job/2", "jobs", "Job", "jöb", "量子", "🜁", "\ue000", "z", "a b", "job/"]
    with Store(tmp_path / "node.db") as store:
        store.apply([(key, key.encode()) for key in keys])
        store.flush(PATIENCE_S)
        assert [key for key, _ in store.scan("", "\U0010ffff")] == sorted(keys)
        inside = sorted(key for key in keys if "job/" <= key < "job0")
        assert [key for key, _ in store.scan("job/", "job0")] == inside
        assert store.count("job/", "job0") == len(inside) == 4
        assert [key for key, _ in store.scan("job/", "job0", limit=2)] == inside[:2]
        assert [key for key, _ in store.scan("job/", "job0", limit=3, reverse=True)] == inside[::-1][:3]
        assert store.scan("job/", "job0", limit=0) == store.scan("x", "b") == []
        assert store.count("x", "b") == 0


@pytest.mark.parametrize("durability", [("synchronous", 2), ("journal_mode", "wal")])
def test_a_commit_is_an_fsync(tmp_path: Path, durability: tuple[str, object]) -> None:
    """sqlite.org/pragma.html#pragma_synchronous: in WAL mode only FULL (2) syncs with every commit."""
    name, value = durability
    with Store(tmp_path / "node.db") as store:
        assert store._connection.execute(f"PRAGMA {name}").fetchone() == (value,)


def test_what_waits_becomes_one_transaction_told_in_order(tmp_path: Path) -> None:
    with Store(tmp_path / "node.db") as store:
        writing, go = threading.Event(), threading.Event()
        told: list[int] = []

        def first_done() -> None:
            writing.set()
            assert go.wait(PATIENCE_S)

        store.apply([("first", b"")], first_done)
        assert writing.wait(PATIENCE_S)  # the writer is busy: what follows waits
        commits: list[str] = []
        store._connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
        for number in range(100):
            store.apply([(f"k/{number:03}", b"v"), ("last", b"%d" % number)], lambda number=number: told.append(number))
        assert store.waiting == 201
        assert store.get("last") is None
        assert not store.flush(0.01)
        go.set()
        assert store.flush(PATIENCE_S)
        assert told == list(range(100))
        assert len(commits) == 1
        assert store.get("last") == b"99"
        assert store.count("k/", "k0") == 100


def test_a_patient_change_shares_the_transaction_of_the_next_one(tmp_path: Path) -> None:
    told: list[tuple[str, int]] = []
    with Store(tmp_path / "node.db") as store:
        commits: list[int] = []
        write = store._commit
        store._commit = lambda latest: (commits.append(len(latest)), write(latest))[1]  # type: ignore[method-assign]
        store.apply([("accepted", b"1")], lambda: told.append(("accepted", len(commits))), patience_s=PATIENCE_S)
        assert not told and store.get("accepted") is None
        store.apply([("result", b"2")], lambda: told.append(("result", len(commits))))
        assert store.flush(PATIENCE_S)
    assert told == [("accepted", 1), ("result", 1)] and commits == [2]


def test_patience_ends_by_itself_with_a_flush_and_with_the_store(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    with Store(path) as store:
        done = threading.Event()
        store.apply([("a", b"1")], done.set, patience_s=0.01)
        assert done.wait(PATIENCE_S)
        store.apply([("b", b"2")], patience_s=10 * PATIENCE_S)
        assert store.flush(PATIENCE_S)
        store.apply([("c", b"3")], patience_s=10 * PATIENCE_S)
    with Store(path) as store:
        assert [key for key, _ in store.scan("", "z")] == ["a", "b", "c"]


def test_done_finds_its_changes_and_can_queue_more(tmp_path: Path) -> None:
    found: list[bytes | None] = []
    with Store(tmp_path / "node.db") as store:

        def more() -> None:
            found.append(store.get("a"))
            store.apply([("b", b"2")], lambda: found.append(store.get("b")))

        store.apply([("a", b"1")], more)
        store.apply([])  # nothing to write is told as well
        assert store.flush(PATIENCE_S)
        assert store.flush(PATIENCE_S)
    assert found == [b"1", b"2"]


def test_an_error_in_done_is_shown_and_the_writer_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda hook: shown.append(hook.exc_value))
    error = RuntimeError("of the caller")

    def fails() -> None:
        raise error

    with Store(tmp_path / "node.db") as store:
        store.apply([("a", b"1")], fails)
        store.apply([("b", b"2")])
        assert store.flush(PATIENCE_S)
        assert store.get("b") == b"2"
    assert shown == [error]


def test_readers_in_other_threads_see_whole_changes_only(tmp_path: Path) -> None:
    """Each change sets two keys far apart to the same number: a reader that found them different saw half of one."""
    with Store(tmp_path / "node.db") as store:
        store.apply([("a", b"0"), ("z", b"0")])
        store.flush(PATIENCE_S)
        torn: list[object] = []
        rounds = [0] * 3
        stop = threading.Event()

        def reads(reader: int) -> None:
            last = -1
            while not stop.is_set():
                (_, first), (_, second) = store.scan("a", "zz")
                if first != second or int(first) < last:
                    torn.append((first, second, last))
                last = int(first)
                rounds[reader] += 1

        threads = [threading.Thread(target=reads, args=(reader,)) for reader in range(3)]
        for thread in threads:
            thread.start()
        for number in range(1, 300):
            store.apply([("a", b"%d" % number), ("z", b"%d" % number)])
            if number % 3 == 0:
                store.flush(PATIENCE_S)
        stop.set()
        for thread in threads:
            thread.join()
        assert not torn
        assert min(rounds) > 10


def test_the_wal_stays_small_while_readers_overlap_without_a_gap(tmp_path: Path) -> None:
    """32 MiB are written beside four threads that always read: at no time does the WAL hold them all."""
    path = tmp_path / "node.db"
    with Store(path) as store:
        store.apply([(f"r/{number}", bytes(20_000)) for number in range(50)])
        store.flush(PATIENCE_S)
        stop = threading.Event()

        def reads() -> None:
            while not stop.is_set():
                store.scan("r/", "r0")

        threads = [threading.Thread(target=reads) for _ in range(4)]
        for thread in threads:
            thread.start()
        largest = 0
        for number in range(64):
            store.apply([(f"w/{number}", bytes(1 << 19))])
            assert store.flush(PATIENCE_S)
            largest = max(largest, Path(f"{path}-wal").stat().st_size)
        stop.set()
        for thread in threads:
            thread.join()
    assert largest < WAL_BYTES_MAX + (4 << 20)


@pytest.mark.parametrize(
    "change",
    [("", b""), ("k" * (KEY_BYTES_MAX + 1), b""), ("é" * KEY_BYTES_MAX, b""), ("a\0b", b""), ("\ud800", b""),
     ("k", "text"), ("k", bytearray(b"x")), ("k", 7)],
    ids=["empty", "long", "long in UTF-8", "NUL", "surrogate", "str", "bytearray", "int"],
)  # fmt: skip
def test_what_cannot_be_stored_is_refused_and_nothing_of_it_applied(tmp_path: Path, change: tuple[str, bytes]) -> None:
    with Store(tmp_path / "node.db") as store:
        with pytest.raises(UsageError):
            store.apply([("good", b"1"), change])
        assert store.waiting == 0
        store.apply([("k" * KEY_BYTES_MAX, b"1")])
        assert store.flush(PATIENCE_S)
        assert [key for key, _ in store.scan("", "\U0010ffff")] == ["k" * KEY_BYTES_MAX]


def test_bad_questions_are_refused(tmp_path: Path) -> None:
    with Store(tmp_path / "node.db") as store:
        for ask in (
            lambda: store.get("\ud800"),
            lambda: store.scan("a", "\udfff"),
            lambda: store.scan("a", "b", limit=-1),
        ):
            with pytest.raises(UsageError):
                ask()
    store.close()  # again: nothing
    for use in (lambda: store.get("a"), lambda: store.apply([("a", b"")]), lambda: store.count("", "a")):
        with pytest.raises(UsageError, match="closed"):
            use()


def test_closing_writes_what_waits(tmp_path: Path) -> None:
    told: list[int] = []
    with Store(tmp_path / "node.db") as store:
        for number in range(500):
            store.apply([(f"{number:03}", b"")], lambda number=number: told.append(number))
    assert told == list(range(500))
    with Store(tmp_path / "node.db") as store:
        assert store.count("", "a") == 500


def test_a_file_readable_by_others_is_made_private(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    Store(path).close()
    path.chmod(0o644)
    Store(path).close()
    assert mode(path) == 0o600


# Forms of the file


def jobs_to_records(connection: sqlite3.Connection) -> None:
    MIGRATION_1 = MIGRATIONS[0].steps
    assert isinstance(MIGRATION_1, tuple)
    for statement in MIGRATION_1:
        connection.execute(statement)
    from zlib import crc32

    for number, body in connection.execute("SELECT id, body FROM jobs").fetchall():
        key, value = f"job/{number}", body.encode()
        connection.execute("INSERT INTO records VALUES (?, ?, ?)", (key, value, crc32(key.encode() + value)))
    connection.execute("DROP TABLE jobs")


def test_an_older_file_is_brought_forward_after_a_copy(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    fabricated(path, "0", "0.0.1")
    with Store(path, migrations=(Migration(1, "jobs become records", jobs_to_records),)) as store:
        assert store.scan("job/", "job0") == [("job/1", b"bell"), ("job/2", b"ghz")]
    copy = backup_path(path, 1)
    assert copy.name == "node.db.before-v1"
    assert mode(copy) == 0o600
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT * FROM jobs").fetchall() == [(1, "bell"), (2, "ghz")]
        assert connection.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone() == ("0",)
    with closing(sqlite3.connect(path)) as connection:
        meta = dict(connection.execute("SELECT * FROM meta"))
    assert meta["schema"] == "1"
    assert meta["made_by"] != "0.0.1"


def fails_half_way(connection: sqlite3.Connection) -> None:
    jobs_to_records(connection)
    raise ValueError("job 3 has no body")


@pytest.mark.parametrize(
    "steps", [fails_half_way, ("DROP TABLE jobs", "INSERT INTO nowhere VALUES (1)")], ids=["function", "SQL"]
)
def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path, steps: object) -> None:
    path = tmp_path / "node.db"
    before = fabricated(path, "0", "0.0.1")
    with pytest.raises(Corrupt, match="from form 0 to 1") as refused:
        Store(path, migrations=(Migration(1, "fails", steps),))  # type: ignore[arg-type]
    assert refused.value.where == str(path)
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["node.db", "node.db.before-v1"]
    with Store(path, migrations=(Migration(1, "repaired", jobs_to_records),)) as store:
        assert store.get("job/2") == b"ghz"


def test_every_row_leads_one_form_further() -> None:
    assert [row.version for row in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


def test_a_file_of_a_newer_version_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    before = hashlib.sha256(fabricated(path, "99", "9.9.9")).digest()
    with pytest.raises(UsageError, match=r"9\.9\.9") as refused:
        Store(path)
    assert refused.value.where == str(path)
    assert hashlib.sha256(path.read_bytes()).digest() == before
    assert [file.name for file in tmp_path.iterdir()] == ["node.db"]


def test_a_backup_put_in_place_serves(tmp_path: Path) -> None:
    """VACUUM INTO writes a file that is not in WAL mode."""
    path = tmp_path / "node.db"
    with Store(path) as store:
        store.apply([("a", b"1")])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM INTO ?", (str(tmp_path / "copy"),))
    (tmp_path / "copy").replace(path)
    with Store(path) as store:
        assert store.get("a") == b"1"
        store.apply([("a", b"2")])
        assert store.flush(PATIENCE_S)
        assert Path(f"{path}-wal").exists()


def test_a_death_while_the_file_was_made_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "node.db.new").write_bytes(b"SQLite format 3\0 and then the process died")
    (tmp_path / "node.db.new-wal").write_bytes(b"half")
    with Store(tmp_path / "node.db") as store:
        store.apply([("a", b"1")])
        assert store.flush(PATIENCE_S)
    assert [file.name for file in tmp_path.iterdir()] == ["node.db"]
