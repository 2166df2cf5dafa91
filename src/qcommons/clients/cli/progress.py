"""A progress bar on standard error for runs over a second; silent off a terminal.

Flow: node.embedded calls it with (done, total) runs of a job -> *bar*. A timer shows it, since a single
long circuit reports nothing until it ends. Rich is imported only then: short runs do not pay.
"""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

__all__ = ["Progress"]

PATIENCE_S = 1.0  # an answer sooner than this needs no bar


class Progress:
    """Call it with (runs that have ended, runs in all); a context manager that removes the bar at the end."""

    def __init__(self, stream: Any = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._lock = threading.Lock()
        self._timer = threading.Timer(PATIENCE_S, self._show)
        self._timer.daemon = True
        self._done, self._total = 0, 1
        self._bar: Bar | None = None
        self._over = False

    def __call__(self, done: int, total: int) -> None:
        with self._lock:
            self._done, self._total = done, total
            if self._bar is not None:
                self._bar.update(self._bar.task_ids[0], completed=self._done, total=self._total)

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("running"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        bar = Progress(*columns, console=Console(file=self._stream), transient=True)
        with self._lock:
            if self._over:
                return
            bar.add_task("running", completed=self._done, total=self._total)
            bar.start()
            self._bar = bar

    def __enter__(self) -> Self:
        if self._stream.isatty():
            self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._timer.cancel()
        with self._lock:
            self._over = True
            if self._bar is not None:
                self._bar.stop()
