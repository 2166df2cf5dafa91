"""The node's database as a file: made, checked, opened, and brought to its newest form.

Flow: path -> *open_writer* (check | make, then migrate), *open_reader* -> store. A form is a number in the
table `meta`; each row of `MIGRATIONS` leads from the number before to its own. A new file starts from nothing
and takes every row, so that the rows run at every first start and not only on the day of an upgrade.

Errors of sqlite3 and of the system pass through: `store` says who must act.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal, NamedTuple

from qcommons.base.errors import UsageError
from qcommons.base.version import package_version
from qcommons.node.old_lists import fill_own_lists

__all__ = ["MIGRATIONS", "Migration", "backup_path", "open_reader", "open_writer"]


class Migration(NamedTuple):
    """One step forward. version: the form it leads to, one more than the row before. steps: SQL, or a function."""

    version: int
    what: str
    steps: tuple[str, ...] | Callable[[sqlite3.Connection], None]


MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        1,
        "records in the order of their keys, each with a check sum",
        # crc: CRC-32 of key and value (zlib). SQLite itself would not notice a changed byte inside a value.
        ("CREATE TABLE records(key TEXT PRIMARY KEY, value BLOB NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID",),
    ),
    Migration(2, "each guest's jobs and events under numbers of its own", fill_own_lists),
)
APPLICATION_ID = 0x51434F4D  # "QCOM" in the header: `file` and other programs can tell whose it is


CHECK_BYTES_MAX = 128 << 20  # a larger file is not read through at the start, which has 2 s in all
WAL_BYTES_KEPT = 4 << 20  # what a WAL that had to grow shrinks to: where SQLite's own checkpoints keep it
READER_CACHE_KIB = 512
OPEN_BUSY_S = 1.0  # how long opening and reading wait for a lock of another process
BUSY_S = 0.25  # how long a commit does; a lock held for less is no trouble


def open_writer(path: Path, rows: Sequence[Migration] = MIGRATIONS) -> sqlite3.Connection:
    """The connection that writes: the file is sound (or made), in its newest form, and can be written.

    Raises:
        UsageError: a newer version made the file, or it is no regular file.
        sqlite3.Error, OSError: anything else. A damaged file is left as it is.
    """
    _check(path, rows)
    writer = _connect(path, "rw", busy_s=OPEN_BUSY_S)
    try:
        mode = writer.execute("PRAGMA journal_mode = WAL").fetchone()[0]  # a backup put in place is in another mode
        if mode != "wal":
            raise OSError("no WAL on this file system: it needs shared memory, which network file systems lack")
        writer.execute("PRAGMA synchronous = FULL")  # an fsync with every commit
        writer.execute("PRAGMA fullfsync = ON")  # macOS: through the disk's own cache; elsewhere without effect
        writer.execute("PRAGMA checkpoint_fullfsync = ON")
        writer.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT}")
        writer.execute("BEGIN IMMEDIATE")  # can it write at all?
        writer.execute("ROLLBACK")
        _migrate(writer, path, rows)
        writer.execute(f"PRAGMA busy_timeout = {round(BUSY_S * 1000)}")
    except BaseException:
        writer.close()
        raise
    return writer


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write; text comes as bytes, since a damaged key need not be UTF-8."""
    reader = _connect(path, "ro", busy_s=OPEN_BUSY_S)
    reader.text_factory = bytes
    reader.execute("PRAGMA query_only = ON")
    reader.execute(f"PRAGMA cache_size = -{READER_CACHE_KIB}")
    return reader


def backup_path(path: Path, version: int) -> Path:
    """Where the copy lies that was made before the step to `version`."""
    return path.with_name(f"{path.name}.before-v{version}")


def _check(path: Path, rows: Sequence[Migration]) -> None:
    """Finds the file sound, without changing a byte of it, or makes it."""
    wal = Path(f"{path}-wal")
    if not os.path.lexists(path):
        if wal.exists() and wal.stat().st_size:  # SQLite would replay it into a new file
            raise sqlite3.DatabaseError(f"the file is gone, but its {wal.name} is there: put the file back")
        _make(path, rows)
    if not path.is_file():
        raise UsageError("no regular file: choose another place for the database", where=str(path))
    if not os.access(path, os.R_OK | os.W_OK) or not os.access(path.parent, os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, "file or folder cannot be written")
    for file in (path, wal, Path(f"{path}-shm")):
        if file.exists() and stat.S_IMODE(file.stat().st_mode) & 0o077:
            file.chmod(0o600)
    if not path.stat().st_size:
        raise sqlite3.DatabaseError("the file is empty: it was cut after it was made")
    with closing(_connect(path, "ro", busy_s=OPEN_BUSY_S)) as connection:
        _form(connection)
        if path.stat().st_size <= CHECK_BYTES_MAX:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise sqlite3.DatabaseError(f"the file is damaged: {found}")


def _connect(path: Path, mode: Literal["ro", "rw"], *, busy_s: float) -> sqlite3.Connection:
    """A connection to a file that exists, for use by one thread at a time, without implicit transactions.

    mode: "ro" never changes the file, not even when it is the last connection to close.
    busy_s: how long a statement waits for other connections' locks.
    """
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=busy_s,
        isolation_level=None,
        check_same_thread=False,
    )
    # A file may come from anywhere: its schema calls no functions, its pages are checked as they are read.
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


def _make(path: Path, rows: Sequence[Migration] = MIGRATIONS) -> None:
    """A new, empty database of the newest form, readable by its owner alone.

    It appears under its name whole and synced, so that an empty or partial file is damage, never a beginning.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    for leftover in ("", "-journal", "-wal", "-shm"):  # of a process that died here
        new.with_name(new.name + leftover).unlink(missing_ok=True)
    _create_private(new)
    with closing(_connect(new, "rw", busy_s=0.0)) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA journal_mode = WAL")  # kept in the file's header
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
        for row in rows:
            _step(connection, row)
    _sync(new)
    new.replace(path)
    _sync(path.parent)


def _form(connection: sqlite3.Connection) -> tuple[int, str]:
    """The form's number and the version of qcommons that gave it. Raises sqlite3.Error where it is not ours."""
    meta = dict(connection.execute("SELECT name, value FROM meta"))
    if not {"schema", "made_by"} <= meta.keys() or not str(meta["schema"]).isdigit():
        raise sqlite3.DatabaseError("the table meta does not say which version the file has")
    return int(meta["schema"]), str(meta["made_by"])


def _migrate(connection: sqlite3.Connection, path: Path, rows: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring the file to the newest form: for each step first a copy beside it, then one transaction.

    Raises:
        UsageError: the file is newer than `rows`; the message names the version that made it.
        sqlite3.Error, OSError, or whatever a step raises: that step did not happen, the file is as before it.
    """
    version, made_by = _form(connection)
    newest = rows[-1].version
    if version > newest:
        raise UsageError(
            f"made by qcommons {made_by} in form {version}; this is qcommons {package_version()} and knows forms "
            f"up to {newest}. Install qcommons {made_by} or newer, or choose another folder with QCOMMONS_HOME",
            where=str(path),
            limit=f"form {newest}",
        )
    for row in rows[version:]:
        copy = backup_path(path, row.version)
        try:
            _copy(connection, copy)
            _step(connection, row)
        except Exception as error:
            error.add_note(f"while going from form {row.version - 1} to {row.version}; the file is as it was")
            raise


def _step(connection: sqlite3.Connection, row: Migration) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        if callable(row.steps):
            row.steps(connection)
        else:
            for statement in row.steps:
                connection.execute(statement)
        facts = (("schema", str(row.version)), ("made_by", package_version()))
        connection.executemany("REPLACE INTO meta VALUES (?, ?)", facts)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _copy(connection: sqlite3.Connection, copy: Path) -> None:
    """All that is committed, WAL included; appears under its name whole and synced."""
    part = copy.with_name(copy.name + ".part")
    part.unlink(missing_ok=True)
    try:
        _create_private(part)  # VACUUM INTO accepts an empty file, and would make a readable one
        connection.execute("VACUUM INTO ?", (str(part),))
        _sync(part)
        part.replace(copy)
    finally:
        part.unlink(missing_ok=True)
    _sync(copy.parent)


def _create_private(path: Path) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
