"""What the node keeps: one ordered table of keys and values in one file, written by one thread.

Flow: core -> effects.Store -> shell -> *Store.apply* -> writer thread -> disk -> `done` -> shell carries out
what waited for it. Reads go past the writer, to what is committed. What a key means is the core's business
(docs/decisions/0007-one-table-one-writer.md).

    opening -> writing <-> in trouble (full, locked, readonly, io: tries again until it succeeds)
                  |             |
                  +-> corrupt <-+   for good: nothing is written or served any more

Group commit: everything that waits when the writer is free becomes one transaction and one fsync, so a
hundred callers wait about as long as one.
"""

from __future__ import annotations

import errno
import math
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple
from zlib import crc32

from qcommons.base.errors import Corrupt, QCommonsError, Unavailable, UsageError
from qcommons.node.migrations import MIGRATIONS, Migration, open_reader, open_writer

__all__ = ["KEY_BYTES_MAX", "VALUE_BYTES_MAX", "Change", "Kind", "Store", "Trouble"]

Kind = Literal["full", "locked", "readonly", "io", "corrupt"]
Change = tuple[str, bytes | None]  # key, value; None deletes

KEY_BYTES_MAX = 1024  # a key is a path of a few names; longer ones would leave the B-tree's inner pages
VALUE_BYTES_MAX = 256 << 20  # SQLite's own limit is 10^9 bytes for a row
WAL_BYTES_MAX = 16 << 20  # SQLite's own checkpoints keep it near 4 MiB, unless readers overlap without a gap
READERS_IDLE_MAX = 4
RETRY_FIRST_S, RETRY_LAST_S = 0.2, 2.0

# SQLite's result codes (sqlite.org/rescode.html), primary ones but for exceptions. What is not here and no fault of the
# system is corrupt: our statements are fixed, so "no such table" means that the file is not what we made.
KINDS: dict[int, Kind] = {
    sqlite3.SQLITE_IOERR_SHMSIZE: "full",  # no room for the 32 KiB of `<name>-shm`
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_BUSY: "locked",
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_PROTOCOL: "locked",
    sqlite3.SQLITE_READONLY: "readonly",
    sqlite3.SQLITE_PERM: "readonly",
    sqlite3.SQLITE_IOERR: "io",
    sqlite3.SQLITE_CANTOPEN: "io",
    sqlite3.SQLITE_NOMEM: "io",
    sqlite3.SQLITE_NOLFS: "io",
}
ACTIONS: dict[Kind, str] = {
    "full": "free space on its disk: what waits is written as soon as there is room",
    "locked": "end the program that holds the file (`fuser` names it): what waits is written then",
    "readonly": "make the file and its folder writable for this user",
    "io": "see that file and folder are in place and within quota, then the system's log for errors of the disk",
    "corrupt": "stop the node, set the file and its -wal aside, and put a backup in its place",
}
ERRNOS: dict[int | None, Kind] = {
    errno.ENOSPC: "full",
    errno.EDQUOT: "full",
    errno.EROFS: "readonly",
    errno.EACCES: "readonly",
    errno.EPERM: "readonly",
}
PUT = "REPLACE INTO records VALUES (?, ?, ?)"
DELETE = "DELETE FROM records WHERE key = ?"
GET = "SELECT key, value, crc FROM records WHERE key = ?"
SIZE = "SELECT length(value) FROM records WHERE key = ?"
COUNT = "SELECT count(*) FROM records WHERE key >= ? AND key < ?"
SCAN = "SELECT key, value, crc FROM records WHERE key >= ? AND key < ? ORDER BY key LIMIT ?"
SCAN_BACK = "SELECT key, value, crc FROM records WHERE key >= ? AND key < ? ORDER BY key DESC LIMIT ?"


class Trouble(NamedTuple):
    """Why nothing can be written now. since_ns: `time.time_ns` at the first failure. action: what the owner can do."""

    kind: Kind
    cause: str
    since_ns: int
    action: str


class _Entry(NamedTuple):
    """by_s: when it must be written, by the monotonic clock, if nothing else is before."""

    changes: tuple[Change, ...]
    done: Callable[[], None] | None
    by_s: float


class Store:
    """One home's database; a context manager. Every method may be called from any thread."""

    def __init__(
        self,
        path: Path,
        *,
        on_trouble: Callable[[Trouble | None], None] | None = None,
        migrations: Sequence[Migration] = MIGRATIONS,
    ) -> None:
        """Open or make the database (file 0600, a new folder 0700), check it, bring it to the newest form.

        A file of up to 128 MiB is read through (PRAGMA quick_check); every record's check sum is tested
        whenever it is read.

        Args:
            path: the file; SQLite keeps `<name>-wal` and `<name>-shm` beside it.
            on_trouble: told of every change of `trouble`, on the thread that found it.

        Raises:
            Corrupt: damaged, cut, or not ours; the file is left as it is.
            Unavailable: locked, not writable, disk full, not readable.
            UsageError: a newer version made it.
        """
        self._path = path
        self._on_trouble = on_trouble
        try:
            self._connection = open_writer(path, migrations)
            self._file_id = _file_id(path)
        except QCommonsError:
            raise
        except Exception as error:
            raise _refusal(_kind(error), _cause(error), path) from error
        self._changed = threading.Condition()  # guards what follows
        self._queue: list[_Entry] = []
        self._by_s = math.inf  # when the first of them must be written
        self._waiting = 0
        self._queued = self._finished = 0  # entries so far
        self._trouble: Trouble | None = None
        self._closing = False
        self._readers: list[sqlite3.Connection] = []  # idle ones
        self._wal_bytes_next = WAL_BYTES_MAX
        self._writer = threading.Thread(target=self._write_all, name="qcommons store", daemon=True)
        self._writer.start()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Writing

    def apply(
        self, changes: Sequence[Change], done: Callable[[], None] | None = None, *, patience_s: float = 0.0
    ) -> None:
        """Queue `changes`: applied together or not at all, after everything queued before.

        Args:
            changes: (key, value), None deletes; a later change of a key stands.
            done: called on the writer thread once the changes are durable (fsynced); later ones wait for it.
            patience_s: how long they may wait for others that come, so as to share their transaction.

        Raises:
            UsageError: a key or value that cannot be stored, or the store is closed. Never for trouble of the
                disk: then `done` comes late, and after "corrupt" never.
        """
        entry = _Entry(tuple(changes), done, time.monotonic() + patience_s if patience_s else 0.0)
        for key, value in entry.changes:
            _check_change(key, value)
        with self._changed:
            self._check_open()
            self._waiting += len(entry.changes)
            self._queued += 1
            if not self._is_corrupt():
                self._queue.append(entry)
                self._by_s = min(self._by_s, entry.by_s)
                self._changed.notify_all()

    @property
    def trouble(self) -> Trouble | None:
        """Why nothing can be written now."""
        return self._trouble

    @property
    def waiting(self) -> int:
        """Changes not yet durable, for back-pressure; after "corrupt", those that never will be."""
        return self._waiting

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything queued so far is durable and told. False: not within `timeout_s`, or corrupt."""
        with self._changed:
            goal = self._queued
            self._by_s = 0.0
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._finished >= goal or self._is_corrupt(), timeout_s)
            return self._finished >= goal

    def close(self) -> None:
        """Write what waits, end the writer, close the file. The second call does nothing.

        Raises:
            Unavailable: trouble lasts, a last attempt failed: `waiting` changes were never written.
            Corrupt: the same, because the file is.
        """
        with self._changed:
            if self._closing:
                return
            self._closing = True
            self._changed.notify_all()
        self._writer.join()
        with self._changed:
            idle, self._readers = self._readers, []
        for connection in idle:
            connection.close()
        self._connection.close()  # the last one: SQLite moves the WAL into the file
        if self._waiting and self._trouble is not None:
            lost = f"{self._waiting} changes were not written before the store closed"
            raise _refusal(self._trouble.kind, f"{lost}: {self._trouble.cause}", self._path)

    # Reading

    def get(self, key: str) -> bytes | None:
        """The committed value of `key`.

        Raises:
            Corrupt: the record or the file is damaged; from then on nothing is served.
            Unavailable: the file cannot be read now.
        """
        found = self._records(GET, (_text(key),))
        return found[0][1] if found else None

    def scan(
        self, first: str, past: str, *, limit: int | None = None, reverse: bool = False
    ) -> list[tuple[str, bytes]]:
        """Committed records with first <= key < past, of one moment, in the order of code points.

        limit: at most so many (>= 0), from the end with `reverse`, which turns the order round. Raises as `get`.
        """
        if limit is not None and limit < 0:
            raise UsageError(f"limit of a scan is {limit}; allowed 0 or more, None for all", where="limit")
        most = -1 if limit is None else limit  # SQLite: no limit
        return self._records(SCAN_BACK if reverse else SCAN, (_text(first), _text(past), most))

    def size(self, key: str) -> int | None:
        """Bytes of the committed value of `key`, which is not read; None where there is none. Raises as `get`."""
        found = self._rows(SIZE, (_text(key),))
        return int(found[0][0]) if found else None

    def count(self, first: str, past: str) -> int:
        """How many committed records have first <= key < past. Raises as `get`."""
        return int(self._rows(COUNT, (_text(first), _text(past)))[0][0])

    def _records(self, query: str, parameters: tuple[Any, ...]) -> list[tuple[str, bytes]]:
        records: list[tuple[str, bytes]] = []
        for key, value, check in self._rows(query, parameters):
            if type(key) is not bytes or type(value) is not bytes or crc32(value, crc32(key)) != check:
                self._set_trouble("corrupt", f"the record {key!r:.80} is not what was written (check sum)")
                self._check_served()
            records.append((key.decode(), value))
        return records

    def _rows(self, query: str, parameters: tuple[Any, ...]) -> list[Any]:
        self._check_served()
        with self._changed:
            self._check_open()
            connection = self._readers.pop() if self._readers else None
        try:
            connection = connection or open_reader(self._path)
            rows = connection.execute(query, parameters).fetchall()
        except sqlite3.Error as error:
            if _kind(error) == "corrupt":
                self._set_trouble("corrupt", _cause(error))
            self._check_served()
            raise _refusal(_kind(error), _cause(error), self._path) from error
        finally:
            if connection is not None:
                self._put_back(connection)
        return rows

    def _put_back(self, connection: sqlite3.Connection) -> None:
        with self._changed:
            if not self._closing and len(self._readers) < READERS_IDLE_MAX:
                self._readers.append(connection)
                return
        connection.close()

    # The writer thread

    def _write_all(self) -> None:
        while batch := self._next_batch():
            if not self._write(batch):
                return
            for entry in batch:
                if entry.done is not None:
                    _call(entry.done)
            with self._changed:
                self._finished += len(batch)
                self._waiting -= sum(len(entry.changes) for entry in batch)
                self._changed.notify_all()
            self._bound_wal()

    def _next_batch(self) -> list[_Entry]:
        """Everything that waits; empty once there is nothing more to do."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing or self._is_corrupt())
            while self._queue and not self._closing and (left_s := self._by_s - time.monotonic()) > 0:
                self._changed.wait(left_s)
            batch, self._queue, self._by_s = self._queue, [], math.inf
            return [] if self._is_corrupt() else batch

    def _write(self, batch: list[_Entry]) -> bool:
        """Tries until the batch is durable. False: corrupt, or closing and still in trouble."""
        latest: dict[str, bytes | None] = {}
        for entry in batch:
            latest.update(entry.changes)
        delay_s = RETRY_FIRST_S
        while not self._is_corrupt():
            is_last = self._closing
            try:
                self._commit(latest)
            except (sqlite3.Error, OSError, MemoryError) as error:
                self._set_trouble(_kind(error), _cause(error))
            else:
                self._set_trouble(None)
                return True
            if is_last:
                return False
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._is_corrupt(), delay_s)
            delay_s = min(2 * delay_s, RETRY_LAST_S)
        return False

    def _commit(self, latest: dict[str, bytes | None]) -> None:
        if not latest:
            return
        if _file_id(self._path) != self._file_id:  # SQLite would go on writing to a file that has no name
            raise OSError("another file has taken the database's place")
        writer = self._connection
        try:
            writer.execute("BEGIN IMMEDIATE")
            writer.executemany(DELETE, [(key,) for key, value in latest.items() if value is None])
            puts = (
                (key, value, crc32(value, crc32(key.encode()))) for key, value in latest.items() if value is not None
            )
            writer.executemany(PUT, puts)
            writer.execute("COMMIT")
        finally:
            if writer.in_transaction:
                writer.execute("ROLLBACK")

    def _bound_wal(self) -> None:
        """Readers that overlap without a gap keep SQLite from starting the WAL anew: wait for them, up to BUSY_S.

        Where a foreign reader stays longer, the next attempt comes when the WAL has grown by as much again.
        """
        try:
            size_bytes = Path(f"{self._path}-wal").stat().st_size
            if size_bytes < WAL_BYTES_MAX:
                self._wal_bytes_next = WAL_BYTES_MAX
            if size_bytes < self._wal_bytes_next:
                return
            (is_blocked, _, _) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except (sqlite3.Error, OSError):  # what is committed is safe in the WAL; the next commit meets the cause
            is_blocked = True
        self._wal_bytes_next = size_bytes + WAL_BYTES_MAX if is_blocked else WAL_BYTES_MAX

    # States

    def _is_corrupt(self) -> bool:
        return self._trouble is not None and self._trouble.kind == "corrupt"

    def _check_open(self) -> None:
        if self._closing:
            raise UsageError("the store is closed; open it again", where=str(self._path))

    def _check_served(self) -> None:
        trouble = self._trouble
        if trouble is not None and trouble.kind == "corrupt":
            raise _refusal(trouble.kind, trouble.cause, self._path)

    def _set_trouble(self, kind: Kind | None, cause: str = "") -> None:
        with self._changed:
            before = self._trouble
            if self._is_corrupt() or kind == (before.kind if before else None):
                return
            since_ns = before.since_ns if before else time.time_ns()
            self._trouble = Trouble(kind, cause, since_ns, ACTIONS[kind]) if kind else None
            if kind == "corrupt":
                self._queue.clear()
            told = self._trouble
            self._changed.notify_all()
        if self._on_trouble is not None:
            on_trouble = self._on_trouble
            _call(lambda: on_trouble(told))


def _file_id(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _text(key: str) -> str:
    """`key`, which can be UTF-8."""
    try:
        key.encode()
    except UnicodeEncodeError:
        raise UsageError(f"key {key!r:.80} has a lone surrogate and cannot be UTF-8", where="key") from None
    return key


def _check_change(key: str, value: bytes | None) -> None:
    n_bytes = len(_text(key).encode())
    if not 1 <= n_bytes <= KEY_BYTES_MAX or "\0" in key:
        limit = f"1 to {KEY_BYTES_MAX} bytes without NUL"
        raise UsageError(f"key {key!r:.80} of {n_bytes} bytes; allowed {limit}", where="key", limit=limit)
    if value is not None and (type(value) is not bytes or len(value) > VALUE_BYTES_MAX):
        what = f"{len(value)} bytes" if type(value) is bytes else type(value).__name__
        limit = f"bytes, at most {VALUE_BYTES_MAX}"
        raise UsageError(f"value of {key!r:.80} is {what}; allowed {limit}, or None to delete", where=key, limit=limit)


def _kind(error: BaseException) -> Kind:
    if isinstance(error, sqlite3.Error):
        code: int | None = getattr(error, "sqlite_errorcode", None)  # None: found by us or by Python, such as bad text
        return "corrupt" if code is None else KINDS.get(code) or KINDS.get(code & 0xFF, "corrupt")
    if isinstance(error, OSError):
        return ERRNOS.get(error.errno, "io")
    return "io" if isinstance(error, MemoryError) else "corrupt"


def _cause(error: BaseException) -> str:
    """What the system said, with the name of SQLite's code and what was being done."""
    name = getattr(error, "sqlite_errorname", None)
    said = f"{error} ({name})" if name else str(error) or type(error).__name__
    return " ".join([said, *getattr(error, "__notes__", ())])


def _refusal(kind: Kind, cause: str, path: Path) -> Corrupt | Unavailable:
    what = f"{cause}; {ACTIONS[kind]}"
    return Corrupt(what, where=str(path)) if kind == "corrupt" else Unavailable(what, where=str(path))


def _call(told: Callable[[], None]) -> None:
    """The writer outlives what it calls; an error there is shown as one of a thread."""
    try:
        told()
    except Exception:
        threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
