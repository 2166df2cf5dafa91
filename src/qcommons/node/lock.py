"""One daemon a home: a file lock that its holder's death releases.

Flow: daemon starts -> *HomeLock* -> opens the store, binds its address -> *publish*; clients -> *read_lock* ->
which node to talk to. The kernel keeps the lock (flock) and the file only says whose it is: what a dead process
left in it means nothing, and the file is never removed (a third process could lock the removed one).
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path
from types import TracebackType

import msgspec

from qcommons.base.errors import Unavailable, UsageError
from qcommons.base.typed import described
from qcommons.node.own_files import claim, open_own

__all__ = ["Holder", "HomeLock", "read_lock"]

HOLDER_BYTES_MAX = 4096
PATIENCE_S = 0.25  # `read_lock` holds a shared lock for microseconds, a holder writes its line as fast
PAUSE_S = 0.01


class Holder(msgspec.Struct, frozen=True):
    """Who holds a home. pid: 0 before it has said. url: "" until it serves. started_at_ns: `time.time_ns`."""

    pid: int = 0
    url: str = ""
    started_at_ns: int = 0


class HomeLock:
    """The lock of one home, which is its holder's alone (`own_files.claim`); a context manager.

    was_open: the mode of the home where others could look into it until it was taken. The file is 0600.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._started_at_ns = 0
        self.was_open: int | None = None

    def __enter__(self) -> HomeLock:
        self.take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def take(self, url: str = "") -> None:
        """Become the holder.

        Raises:
            Unavailable: another process (or another HomeLock of this one) holds it: names pid and url; or the
                file cannot be written.
            UsageError: this very object holds it already; the home is not its owner's alone.
        """
        if self._descriptor is not None:
            raise UsageError("this lock is taken already; release it first", where=str(self._path))
        try:
            self.was_open = claim(self._path.parent)
            self._descriptor = _take(self._path)
        except OSError as error:
            raise Unavailable(f"cannot lock the home: {error.strerror}", where=str(self._path)) from error
        if self._descriptor is None:
            raise _taken(self._path)
        self._started_at_ns = time.time_ns()
        try:
            self.publish(url)
        except BaseException:
            self.release()
            raise

    def publish(self, url: str) -> None:
        """Say where this node is reached, once that is known.

        Raises:
            Unavailable: the file cannot be written (disk full).
            UsageError: the lock is not held.
        """
        if self._descriptor is None:
            raise UsageError("only the holder of a lock can publish an address", where=str(self._path))
        line = msgspec.json.encode(Holder(os.getpid(), url, self._started_at_ns))
        if len(line) > HOLDER_BYTES_MAX:
            limit = f"{HOLDER_BYTES_MAX} bytes"
            raise UsageError(f"address of {len(url)} characters is too long", where="url", limit=limit)
        try:
            os.pwrite(self._descriptor, line, 0)
            os.ftruncate(self._descriptor, len(line))
        except OSError as error:
            raise Unavailable(f"cannot write the lock file: {error.strerror}", where=str(self._path)) from error

    def release(self) -> None:
        """Let others take it. Without effect where it is not held."""
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)  # a child that is just being started shares it until exec
            os.close(self._descriptor)
            self._descriptor = None


def read_lock(path: Path) -> Holder | None:
    """Who holds the home now, without taking it; None: nobody.

    Raises:
        Unavailable: the file cannot be read.
        UsageError: it is no file of this user: what it says could send the owner's token to somebody else.
    """
    try:
        descriptor = open_own(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable(f"cannot read the lock file: {error.strerror}", where=str(path)) from error
    try:
        until_ns = time.monotonic_ns() + round(PATIENCE_S * 1e9)
        while not _locked(descriptor, fcntl.LOCK_SH):  # shared: those who ask do not hinder each other
            try:
                return msgspec.json.decode(os.pread(descriptor, HOLDER_BYTES_MAX, 0), type=described(Holder))
            except msgspec.DecodeError:  # the holder is writing it, or took the lock just now
                if time.monotonic_ns() > until_ns:
                    return Holder()
                time.sleep(PAUSE_S)
        return None
    finally:
        os.close(descriptor)


def _take(path: Path) -> int | None:
    """A descriptor that holds the lock of the file of that name; None: somebody else has it."""
    until_ns = time.monotonic_ns() + round(PATIENCE_S * 1e9)
    while True:
        descriptor = open_own(path, os.O_RDWR | os.O_CREAT)
        try:
            if _locked(descriptor, fcntl.LOCK_EX) and _is_named(descriptor, path):
                os.fchmod(descriptor, 0o600)
                os.ftruncate(descriptor, 0)  # what a dead holder left
                kept, descriptor = descriptor, -1
                return kept
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        if time.monotonic_ns() > until_ns:
            return None
        time.sleep(PAUSE_S)


def _locked(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def _is_named(descriptor: int, path: Path) -> bool:
    """The file was not removed or replaced between open and lock."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _taken(path: Path) -> Unavailable:
    holder = read_lock(path) or Holder()
    who = f"process {holder.pid}" if holder.pid else "another process"
    at = f", which serves {holder.url}" if holder.url else ""
    return Unavailable(
        f"a node runs in this home already: {who}{at}. Use that one, end it first (`qcommons down`), "
        "or choose another home with QCOMMONS_HOME",
        where=str(path),
    )
