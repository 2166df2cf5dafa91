"""A file that a person names, read whole within a cap and a time.

Flow: path, standard input -> *read_file, read_stream* -> bytes -> edge, sweeps, observables. Regular files are read
as they are. A FIFO is read too, since /dev/stdin and the shell's `<(command)` are FIFOs, but no longer than the job may
take: nobody may ever write to it. Folders, devices and sockets are refused.
"""

from __future__ import annotations

import os
import select
import stat
import time
from pathlib import Path

from qcommons.base.clock import deadline_ns, left_s
from qcommons.base.errors import UsageError

__all__ = ["WAIT_S", "is_fifo", "read_file", "read_stream"]

WAIT_S = 3600.0  # for what a FIFO brings, where no deadline says less
CHUNK_BYTES = 1 << 16
POLL_MAX_S = 1e6  # poll takes milliseconds in a C int


def is_fifo(path: Path) -> bool:
    """Whether it is a pipe with or without a name; False where nothing is known of it."""
    try:
        return stat.S_ISFIFO(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def read_file(path: Path, limit_bytes: int, wait_s: float | None = WAIT_S) -> bytes:
    """All of the file, up to one byte more than `limit_bytes`, so that the caller can tell that it is longer.

    wait_s: seconds that a FIFO may take until its end; None: a FIFO is refused as well.

    Raises:
        UsageError: it cannot be read, is no file, or its writer took longer.
    """
    where = str(path)
    try:
        # without O_NONBLOCK, opening a FIFO waits for somebody who writes
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UsageError(f"cannot read this file: {getattr(error, 'strerror', None) or error}", where=where) from None
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISFIFO(mode) and wait_s is not None:
            return read_stream(descriptor, limit_bytes, wait_s, where)
        if not stat.S_ISREG(mode):
            raise UsageError(f"cannot read this file: it is {_kind(mode)}, no regular file", where=where)
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return file.read(limit_bytes + 1)
    except OSError as error:
        raise UsageError(f"cannot read this file: {error.strerror}", where=where) from None
    finally:
        os.close(descriptor)


def read_stream(descriptor: int, limit_bytes: int, wait_s: float, where: str) -> bytes:
    """What a pipe, a terminal or a file brings until its end, or one byte past the limit.

    Raises:
        UsageError: it did not end within `wait_s`.
    """
    until_ns = deadline_ns(time.monotonic_ns(), min(wait_s, POLL_MAX_S))
    ready = select.poll()
    ready.register(descriptor, select.POLLIN | select.POLLHUP)
    raw = bytearray()
    while len(raw) <= limit_bytes:
        if not ready.poll(left_s(until_ns, time.monotonic_ns()) * 1000):
            what = f"nothing more came for {wait_s:.3g} s, the deadline; its writer must end" if raw else (
                f"nobody wrote to it within {wait_s:.3g} s, the deadline"
            )  # fmt: skip
            raise UsageError(what, where=where, limit=f"{wait_s:.3g} s")
        try:
            part = os.read(descriptor, min(CHUNK_BYTES, limit_bytes + 1 - len(raw)))
        except BlockingIOError:  # somebody else read it first
            continue
        if not part:
            break
        raw += part
    return bytes(raw)


def _kind(mode: int) -> str:
    for test, name in ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISCHR, "a device"),
                       (stat.S_ISBLK, "a device")):  # fmt: skip
        if test(mode):
            return name
    return "a socket"
