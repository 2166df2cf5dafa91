"""Starting the daemon as a process of its own, and hearing from it whether it serves.

Flow: `up -d` -> *start* -> `python -m qcommons.node.daemon` in a new session -> one line of JSON on a pipe -> what it
says of itself (daemon.Ready), or the error that kept it from starting (daemon.NotReady). What it says later is in its
log. The daemon's own modules are not imported here: they take longer than all the rest of `up -d`.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from qcommons.base.clock import deadline_ns, left_s
from qcommons.base.errors import Corrupt, PeerError, QCommonsError, Unavailable, UsageError
from qcommons.base.typed import described

__all__ = ["START_S", "start"]

START_S = 60.0  # a key under a strong passphrase on a slow machine takes seconds, a repair of a large database more
LINE_BYTES_MAX = 1 << 16
ERRORS = {error.who: error for error in (UsageError, PeerError, Unavailable, Corrupt)}


def start(
    options: Mapping[str, Any], home: Path, passphrase: bytes | None, wait_s: float = START_S, *, plain: bool = False
) -> dict[str, Any]:
    """Start the node of `home`; returns once it serves: its url, token_file, pid, home, node_id.

    plain: nothing of the environment wins over the settings of the home.

    Raises:
        QCommonsError: what the daemon says, with its exit code. Unavailable: it ended or hangs without a word.
    """
    hidden = "QCOMMONS_" if plain else "QCOMMONS_PASSPHRASE"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    environment["QCOMMONS_HOME"] = str(home.absolute())
    reading, writing = os.pipe()
    secret = None if passphrase is None else _filled_pipe(passphrase)  # what others could read in /proc holds no secret
    words = [] if secret is None else ["--passphrase-fd", str(secret)]
    passed = [writing] if secret is None else [writing, secret]
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "qcommons.node.daemon", "--ready-fd", str(writing),
             "--options", msgspec.json.encode(options).decode(), *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            pass_fds=passed, start_new_session=True, cwd="/", env=environment,
        )  # fmt: skip
        os.close(writing)
        writing = -1
        try:
            line = _line(reading, wait_s)
        except KeyboardInterrupt:
            _end(process)
            raise
        if line is None:
            _end(process)
            raise Unavailable(f"the node was not ready within {wait_s:g} s and was ended; {_log(home)}", where="up")
    except OSError as error:
        raise Unavailable(f"cannot start a process: {error.strerror}", where="up") from None
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)
        if secret is not None:
            os.close(secret)
    return _ready(line, process)


def _filled_pipe(data: bytes) -> int:
    """A descriptor from which `data` is read, then the end. A pipe holds 64 KiB, a passphrase at most 1 KiB."""
    reading, writing = os.pipe()
    try:
        os.write(writing, data)
    finally:
        os.close(writing)
    return reading


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _ready(line: bytes, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    try:
        said = msgspec.json.decode(line, type=described(dict[str, Any]))
    except msgspec.DecodeError:
        code = process.wait()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        what = f"the node ended before it was ready ({how}); see why: qcommons up (in the foreground)"
        raise Unavailable(what, where="up") from None
    if "error" not in said:
        process.returncode = 0  # it goes on: nobody here waits for its end
        return said
    process.wait()
    info = said["error"]
    error: QCommonsError = ERRORS.get(info["who"], Corrupt)(info["what"], where=info["where"], limit=info["limit"])
    error.exit_code = said["exit_code"]
    raise error


def _line(descriptor: int, wait_s: float) -> bytes | None:
    """What it says up to the end of the line or of the pipe; None where time is up."""
    until_ns = deadline_ns(time.monotonic_ns(), wait_s)
    line = b""
    while not line.endswith(b"\n") and len(line) < LINE_BYTES_MAX:
        readable, _, _ = select.select([descriptor], [], [], left_s(until_ns, time.monotonic_ns()))
        if not readable:
            return None
        part = os.read(descriptor, LINE_BYTES_MAX)
        if not part:
            break
        line += part
    return line


def _log(home: Path) -> str:
    return f"its log: {home / 'node.log'}"
