"""Archives as files of this machine: where one is written, and that it is whole.

Flow: Job.export -> *check_target* -> the node makes it -> *write_archive* -> disk.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from qcommons.base.errors import UsageError
from qcommons.pqc.secret_files import overwrite as write_over

__all__ = ["check_target", "write_archive"]

ENDING = ".crate.zip"


def check_target(path: str | Path | None, job_id: str, overwrite: bool) -> Path:
    """The file to write, before the node makes anything. Raises UsageError where one is there that must stay."""
    target = Path(f"{job_id}{ENDING}" if path is None else path)
    if target.is_dir():
        raise UsageError("this is a folder; name a file", where=os.fspath(target))
    if not overwrite and os.path.lexists(target):
        raise UsageError("this file is there already; name another, or say to overwrite it", where=os.fspath(target))
    return target


def write_archive(target: Path, data: bytes) -> Path:
    """For its owner alone (0600): it holds programs and answers. Raises UsageError."""
    try:
        write_over(target.parent, target.name, data, secrets.token_bytes)
    except OSError as error:
        raise UsageError(f"cannot write this file: {error.strerror}", where=os.fspath(target)) from None
    return target
