"""An answer as `run` and `job result` show it: JSON object or text, a file beside, the exit code.

Flow: Result, Results (from an embedded run or a node) -> *show* -> standard output.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from pathlib import Path

import msgspec

from qcommons.base.errors import UsageError
from qcommons.base.text import json_printable, line
from qcommons.clients.cli.main import exit_code
from qcommons.jobs.results import Result, Results
from qcommons.jobs.text import printable, render

__all__ = ["show", "uncollected"]


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """No search for garbage while a large answer is made: none of it is garbage, and half the time goes there."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def show(answer: Result | Results, *, as_json: bool, out: str | None, job: str | None = None) -> int:
    """Print it; returns the exit code of the first run that is not done.

    out: also write the JSON object there. job: the id of a job that a node keeps, told beneath the text.
    """
    with uncollected():
        if as_json or out:
            text = answer.to_json()
            if out:
                _write(out, text)
        print(json_printable(text) if as_json else printable(render(answer.to_dict())))
    if job is not None and not as_json:
        print(printable(line(f"job        {job}")))
    runs = [answer] if isinstance(answer, Result) else answer
    first = next((error for run in runs if (error := run.exception) is not None), None)
    return exit_code(first) if first is not None else 0


def _write(name: str, text: str) -> None:
    try:
        Path(name).write_bytes(msgspec.json.format(text.encode(), indent=1) + b"\n")
    except OSError as error:
        raise UsageError(f"cannot write the file: {error.strerror}", where=f"--out {name}") from None
