"""Solver: the one thread in which a node solves the puzzles of those it dials, a few hashes at a time.

Flow: Run("puzzle") of a wire -> connections (`Effort` says whether it is worth it) -> *Solver* -> Solved -> wire; the
connection ends -> *cancel*. The easiest puzzle is worked on first, so nobody's hard one keeps an honest door waiting.
The thread holds the interpreter's lock for `TRIES` hashes, then lets the loop pass, and is there only while there is
something to solve.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable

from qcommons.mesh.puzzle import Puzzle, Search

__all__ = ["Solver"]

TRIES = 256  # 0.3 ms: what a message waits for it at most
PAUSE_S = 50e-6  # long enough for a thread that waits for the lock to take it


class Solver:
    """on_solved: called on the loop with the connection's number and the solution, None where there is none."""

    def __init__(self, on_solved: Callable[[int, bytes | None], None]) -> None:
        self._on_solved = on_solved
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._searches: dict[int, Search] = {}
        self._thread: threading.Thread | None = None

    def __len__(self) -> int:
        """Puzzles in hand."""
        return len(self._searches)

    def begin(self, conn: int, puzzle: Puzzle) -> None:
        """Solve it for this connection."""
        with self._lock:
            self._searches[conn] = Search(puzzle)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="mesh-puzzles", daemon=True)
                self._thread.start()

    def cancel(self, conn: int) -> None:
        """Its connection has ended: no more of it is done; it may be told of any connection."""
        with self._lock:
            self._searches.pop(conn, None)

    def close(self) -> None:
        """No more of any; the thread ends within a millisecond."""
        with self._lock:
            self._searches.clear()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._searches:
                    self._thread = None
                    return
                conn, search = min(self._searches.items(), key=lambda item: item[1].bits)
            solution = search.step(TRIES)
            if solution is not None or search.is_over:
                self._tell(conn, solution)
            time.sleep(PAUSE_S)

    def _tell(self, conn: int, solution: bytes | None) -> None:
        with self._lock:
            was = self._searches.pop(conn, None)
        if was is not None:
            with contextlib.suppress(RuntimeError):  # the loop has closed meanwhile
                self._loop.call_soon_threadsafe(self._on_solved, conn, solution)
