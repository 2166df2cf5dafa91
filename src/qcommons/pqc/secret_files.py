"""Files that nobody else may read: written whole, 0600 and on disk, or not at all.

Flow: keyfile, the node's key folder -> *place* (never overwrites), *replace* (keeps what was there), *overwrite* ->
disk -> *read_private*.
A name always means one whole file, also after a crash or a full disk, and of two processes that write it at once.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

from qcommons.base.errors import Unavailable, UsageError

__all__ = ["Entropy", "overwrite", "place", "read_private", "replace"]

OTHERS = 0o077
ASIDE_MAX = 1000  # old keys that a folder may hold: a rotation a week for twenty years

Entropy = Callable[[int], bytes]  # number of bytes -> that many fresh random ones (secrets.token_bytes)


def read_private(path: Path, bytes_max: int) -> bytes | None:
    """The bytes of a secret file, one more than `bytes_max` where it is longer; None where there is none.

    Raises:
        UsageError: it is no ordinary file, or others can reach it; says what to run.
        Unavailable: it cannot be read.
    """
    try:
        # non-blocking: opening a pipe in place of the file must not hang
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:  # what O_NOFOLLOW says of a link
            raise UsageError("a link, no ordinary file; move it away", where=str(path)) from None
        raise Unavailable(f"cannot read it: {error.strerror}", where=str(path)) from error
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise UsageError("no ordinary file; move it away", where=str(path))
        if mode & OTHERS:
            what = f"others can read or change it (mode {stat.S_IMODE(mode):04o}); run: chmod 600 {path}"
            raise UsageError(what, where=str(path), limit="mode 0600")
        return file.read(bytes_max + 1)


def place(folder: Path, name: str, data: bytes, entropy: Entropy) -> None:
    """Write a file whole, 0600 and on disk, unless there is one of that name: then that one stays. Raises OSError."""
    temporary = _temporary(folder, name, data, entropy)
    try:
        # a link, since a rename would overwrite the key of a process that came first
        with contextlib.suppress(FileExistsError):
            os.link(temporary, folder / name)
    finally:
        temporary.unlink(missing_ok=True)
    _sync(folder)


def overwrite(folder: Path, name: str, data: bytes, entropy: Entropy) -> None:
    """Write a file whole, 0600 and on disk, in place of one of that name. Raises OSError."""
    temporary = _temporary(folder, name, data, entropy)
    try:
        temporary.replace(folder / name)
    finally:
        temporary.unlink(missing_ok=True)
    _sync(folder)


def replace(folder: Path, coming: str, name: str) -> Path | None:
    """The file `coming` becomes `name`; what was there stays beside it under the name that is returned.

    A crash at any moment leaves one whole file called `name`; doing it again goes on. Raises OSError.
    """
    aside = _aside(folder, name)
    (folder / coming).replace(folder / name)
    _sync(folder)
    return aside


def _aside(folder: Path, name: str) -> Path | None:
    """A second name for a file that is about to be replaced: its own with the first free number, as in node.1.key."""
    stem, ending = name.rsplit(".", 1)
    for number in range(1, ASIDE_MAX + 1):
        path = folder / f"{stem}.{number}.{ending}"
        try:
            os.link(folder / name, path)
        except FileExistsError:
            if path.samefile(folder / name):  # of a try that a crash cut short
                return path
        except FileNotFoundError:
            return None
        else:
            return path
    raise OSError(errno.EEXIST, f"{ASIDE_MAX} old files are there; move some away", str(folder))


def _temporary(folder: Path, name: str, data: bytes, entropy: Entropy) -> Path:
    temporary = folder / f".{name}.{entropy(8).hex()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _sync(folder: Path) -> None:
    """What was linked, renamed and removed in it is on disk."""
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system without fsync of folders
            raise
    finally:
        os.close(directory)
