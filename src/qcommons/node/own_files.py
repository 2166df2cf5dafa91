"""Files of the home are this user's own: links are never followed, pipes never waited for.

Flow: lock, logbook, tokens, home -> *open_own* -> a descriptor; daemon, config -> *check_own* (what is opened by its
name); ownership, backup -> *check_own_folder*; lock, ownership, backup -> *claim* -> a home that nobody else can write.
What others may have put there is never used; the owner is told what to look at, and which command helps.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from qcommons.base.errors import Unavailable, UsageError

__all__ = ["check_own", "check_own_folder", "claim", "open_own"]

GROUP_OR_OTHERS = 0o077
THEY_WRITE = 0o022
ROOT = 0
FOLDERS = frozenset({"keys", "blobs"})  # of the home; what else is there are files
FILES = frozenset({"calibration.json", "config.toml", "node.db", "node.lock", "node.log", "token"})


def open_own(path: Path, flags: int) -> int:
    """A descriptor of the regular file at `path`, which belongs to this user; O_CREAT makes it 0600.

    Raises:
        UsageError: a link, a folder, a pipe, or a file of another user is there.
        OSError: it cannot be opened (FileNotFoundError among them).
    """
    try:
        # non-blocking: opening a pipe in place of the file must not hang
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):  # open(2): a link; a folder; a pipe or socket
            check_own(path)
        raise
    try:
        _judge(os.fstat(descriptor), path)
    except UsageError:
        os.close(descriptor)
        raise
    return descriptor


def check_own(path: Path) -> None:
    """The same where nothing is opened; nothing there is well. Raises UsageError and OSError."""
    try:
        _judge(path.lstat(), path)
    except FileNotFoundError:
        return


def check_own_folder(path: Path) -> None:
    """The same of a folder. Raises UsageError and OSError."""
    try:
        _judge(path.lstat(), path, folder=True)
    except FileNotFoundError:
        return


def _judge(facts: os.stat_result, path: Path, *, folder: bool = False) -> None:
    if stat.S_ISLNK(facts.st_mode):
        raise UsageError("a link is there, and links are not followed; remove it", where=str(path))
    if not (stat.S_ISDIR if folder else stat.S_ISREG)(facts.st_mode):
        raise UsageError(f"no {'folder' if folder else 'regular file'} is there; move it away", where=str(path))
    if facts.st_uid not in (os.geteuid(), ROOT):
        what = "folder" if folder else "file"
        raise UsageError(f"this {what} belongs to user {facts.st_uid}, not to you; move it away", where=str(path))


def claim(home: Path) -> int | None:
    """Make `home` (0700), or see that it is this user's and that nobody else can have written there.

    Others who can only read it are shut out (0700), since nothing in it is for them and nothing in it can be theirs;
    with those who can write, the owner has to look at what they may have left, so that is refused.

    Returns:
        The mode it had, where others could look into it until now; else None.

    Raises:
        UsageError: somebody else's, or others can write in it, replace it, or have put something there.
        Unavailable: it cannot be made, looked at or closed.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = home.stat()
        _check_home(home, facts)
        _check_above(home)
        _check_entries(home)
        mode = stat.S_IMODE(facts.st_mode)
        if not mode & GROUP_OR_OTHERS:
            return None
        home.chmod(0o700)
        return mode
    except OSError as error:
        what = f"cannot use this home: {error.strerror}; make it writable, or choose another with QCOMMONS_HOME"
        raise Unavailable(what, where=str(home)) from error


def _check_home(home: Path, facts: os.stat_result) -> None:
    you, mode = os.geteuid(), stat.S_IMODE(facts.st_mode)
    if facts.st_uid != you:
        what = f"this home belongs to user {facts.st_uid}, and you are user {you}; run as that user, or: chown"
        raise UsageError(f"{what} -R {you} {home}", where=str(home))
    if mode & THEY_WRITE:
        what = f"others can write in this home (mode {mode:04o}); see what they left there, then run: chmod 700 {home}"
        raise UsageError(what, where=str(home), limit="mode 0700")


def _check_above(home: Path) -> None:
    """In a folder that everybody can write, everybody can put another home there; not in /tmp (sticky, inode(7))."""
    folder = home.resolve().parent
    mode = folder.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        what = f"others can replace this home: all can write in {folder}; run: chmod o-w {folder}"
        raise UsageError(what, where=str(home))


def _check_entries(home: Path) -> None:
    """Who could write here once may have left a key, a token or settings; what is root's (lost+found) is as good."""
    with os.scandir(home) as entries:
        for entry in entries:
            owner = entry.stat(follow_symlinks=False).st_uid
            if owner not in (os.geteuid(), ROOT):
                what = f"{entry.name!r} belongs to user {owner}, not to you: somebody put it there; move it away"
                raise UsageError(what, where=str(home))
            if entry.is_symlink() and entry.name in FOLDERS | FILES:
                check_own_folder(home / entry.name)  # says so
