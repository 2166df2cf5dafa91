"""One job, driven: its machine's effects become calls to the pool and a clock, replies become events.

Flow: embedded -> *Driver* <-> JobMachine; Driver <-> workers. It runs in the caller's thread, which
sleeps on the inbox until a worker of the pool, a canceller or the deadline wakes it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from qcommons.base.clock import left_s
from qcommons.base.effects import Effect, Note, Run, Send, Stop, Store, WakeAt, Woken
from qcommons.base.errors import Corrupt
from qcommons.jobs.machine import CancelAsked, Event, ItemsEnded, JobEnded, JobMachine, PieceEnded, Submitted
from qcommons.jobs.outcomes import Cancelled, Outcome
from qcommons.jobs.records import Job, Piece
from qcommons.node.frames import RunPiece, Trying
from qcommons.node.workers import Handle, WorkerPool

__all__ = ["Driver", "Progress"]

Progress = Callable[[int, int], None]  # points with an outcome, points in all


class Driver:
    """Turns one machine's effects into calls to the pool and a clock, and what they bring into events."""

    def __init__(
        self,
        pool: WorkerPool,
        job: Job,
        accepted_ns: int,
        progress: Progress | None,
        on_note: Callable[[Note], None] | None,
        on_trying: Callable[[Trying], None] | None = None,
    ) -> None:
        """on_trying: told from a thread of the pool what a worker attempts."""
        self.inbox: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._pool = pool
        self._machine = JobMachine(job, accepted_ns)
        self._progress = progress
        self._on_note = on_note
        self._on_trying = on_trying
        self._handles: dict[str, Handle] = {}
        self._wake: WakeAt | None = None
        self._ended: JobEnded | None = None

    def drive(self) -> JobEnded:
        event: Event = Submitted(self._pool.size)
        while True:
            left = self._machine.left
            self._handle(event)
            if self._progress is not None and (self._machine.left != left or isinstance(event, Submitted)):
                self._tell(self._progress)
            if self._ended is not None:
                return self._ended
            event = self._next()

    def abandon(self) -> None:
        self._handle(CancelAsked("interrupted"))

    def _next(self) -> Event:
        wake = self._wake
        if wake is None:
            return self.inbox.get()
        try:
            return self.inbox.get(timeout=min(left_s(wake.at_ns, time.monotonic_ns()), threading.TIMEOUT_MAX))
        except queue.Empty:
            self._wake = None
            return Woken(wake.token)

    def _handle(self, event: Event) -> None:
        if isinstance(event, PieceEnded):
            self._handles.pop(event.piece_id, None)
        for effect in self._machine.handle(event, time.monotonic_ns()):
            self._carry_out(effect)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Run(piece_id, piece):
                self._handles[piece_id] = self._submit(piece_id, piece)
            case Stop(piece_id):
                handle = self._handles.pop(piece_id, None)
                if handle is not None:
                    self._pool.stop(handle, Cancelled("stopped by its job"))
            case WakeAt():
                self._wake = effect
            case Send(_, message):
                self._ended = message
            case Note():
                if self._on_note is not None:
                    self._on_note(effect)
            case Store():
                raise Corrupt("a local job stores nothing")

    def _submit(self, piece_id: str, piece: Piece) -> Handle:
        def on_ends(ends: tuple[tuple[int, Any], ...]) -> None:
            self.inbox.put(ItemsEnded(piece_id, ends))

        def on_over(death: Outcome | None) -> None:
            self.inbox.put(PieceEnded(piece_id, death))

        limits = piece.limits
        return self._pool.submit(
            RunPiece(piece), on_ends, on_over, memory_bytes=limits.memory_bytes, cpu_s=limits.seconds,
            on_trying=self._on_trying,
        )  # fmt: skip

    def _tell(self, progress: Progress) -> None:
        total = len(self._machine.job.points)
        progress(total - self._machine.left, total)
