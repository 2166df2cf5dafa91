"""The node's log: one JSON object a line in a file of the home, rotated, never with secrets in it.

Flow: notes and events of the core, faults of the shell -> *Logbook* -> file -> `qcommons logs`. A full disk loses
lines of the log, never work. The file is the user's own: a link in its place is not followed.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from qcommons.base.effects import Note
from qcommons.base.errors import Unavailable, UsageError
from qcommons.node.own_files import open_own

__all__ = ["Logbook", "newest"]

FILE_BYTES_MAX = 8 << 20
FILES_MAX = 3
LINES_MAX = 10_000
_json = json.JSONEncoder(default=str).encode


class Logbook:
    """Appends lines; safe from one thread. echo: a stream that gets a readable line as well (foreground)."""

    def __init__(self, path: Path, echo: TextIO | None = None) -> None:
        self.path = path
        self.lost = 0  # lines that could not be written
        self._echo = echo
        self._file: TextIO | None = None
        self._size_bytes = 0

    def open(self) -> None:
        """See that there is a log to write to; one that cannot be written now (a full disk) may be later.

        Raises:
            UsageError: a link or something else than a file of this user is in its place.
        """
        try:
            self._open()
        except OSError:
            self.lost += 1

    def note(self, now_ns: int, note: Note) -> None:
        self.write(now_ns, note.name, note.facts)

    def write(self, now_ns: int, name: str, facts: Mapping[str, Any]) -> None:
        line = _json({"at_ns": now_ns, "event": name, **facts})
        try:
            self._append(line)
        except (OSError, UsageError):
            self.lost += 1
        if self._echo is not None:
            said = " ".join(f"{key}={value}" for key, value in facts.items() if value is not None)
            print(f"{name:<12} {said}", file=self._echo, flush=True)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _append(self, line: str) -> None:
        file = self._open() if self._file is None else self._file
        file.write(line + "\n")
        self._size_bytes += len(line) + 1
        if self._size_bytes > FILE_BYTES_MAX:
            self._rotate()

    def _open(self) -> TextIO:
        descriptor = open_own(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._file = os.fdopen(descriptor, "a", encoding="ascii", buffering=1)
        os.fchmod(descriptor, 0o600)
        self._size_bytes = os.fstat(descriptor).st_size
        return self._file

    def _rotate(self) -> None:
        self.close()
        for place in range(FILES_MAX - 1, 0, -1):
            older = self.path.with_name(f"{self.path.name}.{place}")
            newer = self.path if place == 1 else self.path.with_name(f"{self.path.name}.{place - 1}")
            if newer.exists():
                newer.replace(older)


def newest(path: Path, last: int) -> list[str]:
    """The last lines of the log, oldest first; from the file before it too where one was just begun.

    Raises:
        Unavailable: it cannot be read. UsageError: it is no file of this user.
    """
    lines: deque[str] = deque(maxlen=min(last, LINES_MAX))
    for part in (path.with_name(f"{path.name}.1"), path):
        try:
            with os.fdopen(open_own(part, os.O_RDONLY), encoding="utf-8", errors="replace") as file:
                lines.extend(line.rstrip("\n") for line in file)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Unavailable(f"cannot read the log: {error.strerror}", where=str(part)) from error
    return list(lines)
