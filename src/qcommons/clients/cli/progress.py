"""Progress on standard error: on a terminal a bar after a second, else one line after two; nothing where silent.

Flow: node.embedded or `through` call it with (done, total) runs of a job -> *bar*, or *line*. A timer shows it, since
a single long circuit reports nothing until it ends. Rich is imported only then: short runs do not pay. Other commands
that take a while say what they wait for: *patiently*.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from qcommons.base.clock import duration_text
from qcommons.base.text import line

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

__all__ = ["Progress", "patiently"]

PATIENCE_S = 1.0  # an answer sooner than this needs no bar
LINE_S = 2.0  # nor, in a log, a line


class Progress:
    """Call it with (runs that have ended, runs in all); a context manager that removes the bar at the end.

    silent: show nothing, whatever it takes.
    """

    def __init__(self, stream: Any = None, *, silent: bool = False) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._lock = threading.Lock()
        terminal = self._stream is not None and self._stream.isatty()  # None: the shell closed it
        self._timer = threading.Timer(PATIENCE_S if terminal else LINE_S, self._show if terminal else self._say)
        self._timer.daemon = True
        self._silent = silent or self._stream is None
        self._start_ns = time.monotonic_ns()
        self._done, self._total = 0, 1
        self._text = "running"
        self._bar: Bar | None = None
        self._over = False

    def __call__(self, done: int, total: int) -> None:
        with self._lock:
            self._done, self._total = done, total
            if self._bar is not None:
                self._bar.update(self._bar.task_ids[0], completed=self._done, total=self._total)

    def name(self, text: str) -> None:
        """What stands before the bar: "running", or what the job waits for."""
        with self._lock:
            self._text = line(text)
            if self._bar is not None:
                self._bar.update(self._bar.task_ids[0], description=self._text)

    def _say(self) -> None:
        with self._lock:
            if not self._over:
                after = duration_text(time.monotonic_ns() - self._start_ns)
                of = f", {self._done} of {self._total} runs have ended" if self._total > 1 else ""
                print(f"qcommons: {self._text} for {after}{of}", file=self._stream, flush=True)

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        bar = Progress(*columns, console=Console(file=self._stream), transient=True)
        with self._lock:
            if self._over:
                return
            bar.add_task(self._text, completed=self._done, total=self._total)
            bar.start()
            self._bar = bar

    def __enter__(self) -> Self:
        if not self._silent:
            self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._timer.cancel()
        with self._lock:
            self._over = True
            if self._bar is not None:
                self._bar.stop()


@contextlib.contextmanager
def patiently(text: str, *, silent: bool = False) -> Iterator[None]:
    """Say what is waited for once it takes more than a second. On a terminal the line is gone afterwards.

    silent: off a terminal say nothing; whoever reads JSON reads standard error for mistakes only.
    """
    stream = sys.stderr
    terminal = stream is not None and stream.isatty()
    if stream is None or (silent and not terminal):
        yield
        return
    said = threading.Event()

    def say() -> None:
        said.set()
        print(f"{line(text)} ..." if terminal else f"qcommons: {line(text)}", end="" if terminal else "\n",
              file=stream, flush=True)  # fmt: skip

    timer = threading.Timer(PATIENCE_S, say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        if said.is_set() and terminal:
            print("\r\x1b[K", end="", file=stream, flush=True)
