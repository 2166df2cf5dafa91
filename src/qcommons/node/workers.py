"""The pool of warm worker processes: calls in, ends out, every death a typed outcome.

Flow: embedded (Run effects, sources) -> *WorkerPool* -> process -> worker. One thread a worker waits
on its pipes and calls the listener; workers start when there is work, stay warm, and are replaced
when they die. Nothing here knows what a job is.

    run    by the `size` workers
    read   by any worker, before what is to be run; by a spare one while all of them are busy for long
    apart  reading for guests: by a spare one only, so that no program of theirs keeps a worker

    waiting -> running -> over      `stop` ends a call in either state; a running one by killing its
                                    worker. Every call ends with exactly one `over`.
"""

from __future__ import annotations

import atexit
import collections
import os
import threading
from collections.abc import Callable, Sequence
from typing import Literal

from qcommons.jobs.outcomes import Cancelled, EngineFault, NotStarted, Outcome
from qcommons.node.frames import Call, Configure, Constants, Trying, Value
from qcommons.node.process import WORKER_COMMAND, WorkerProcess

__all__ = ["Handle", "Lane", "WorkerPool", "default_size"]

Ends = tuple[tuple[int, Value], ...]
WORKERS_DEFAULT_MAX = 4  # more is a choice: each holds 0.1 to 0.5 GB once its engines are imported
START_TRIES = 2
SPARE_MAX = 2  # one that reads for guests, one for the owner; they import no engines: 60 MB each
Lane = Literal["run", "read", "apart"]
LANES: tuple[Lane, ...] = ("read", "run", "apart")
WORKER_LANES: tuple[Lane, ...] = ("read", "run")
SPARE_LANES: tuple[Lane, ...] = ("read", "apart")


def default_size() -> int:
    """Workers by default: one a core this process may use, at least one, at most four."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        cores = os.cpu_count() or 1
    return max(1, min(cores, WORKERS_DEFAULT_MAX))


class Handle:
    """One call in the pool.

    on_ends: called with (index, value) pairs as they come. on_over: called once, with None when the
    call went through, else with what ended it. on_trying: called with each attempt that may take a while, as it
    begins. All from a thread of the pool: be brief.
    """

    def __init__(
        self,
        call: Call,
        on_ends: Callable[[Ends], None],
        on_over: Callable[[Outcome | None], None],
        memory_bytes: int,
        cpu_s: float,
        on_trying: Callable[[Trying], None] | None = None,
    ) -> None:
        self.call = call
        self.on_ends = on_ends
        self.on_over = on_over
        self.on_trying = on_trying
        self.memory_bytes = memory_bytes
        self.cpu_s = cpu_s
        self.stopped: Outcome | None = None


class WorkerPool:
    """At most `size` workers, and spare ones that only read. Safe to use from several threads; `close` (or exit) ends
    all processes.

    command: how to start a worker (tests pass faulty ones).
    """

    def __init__(self, size: int | None = None, command: Sequence[str] = WORKER_COMMAND) -> None:
        self.size = size or default_size()
        self.constants: Constants = {}
        self._command = command
        self._lock = threading.Condition()
        self._waiting: dict[Lane, collections.deque[Handle]] = {lane: collections.deque() for lane in LANES}
        self._slots: list[_Slot] = []
        self._spare: list[_Slot] = []
        self._idle: collections.Counter[bool] = collections.Counter()  # of the spare ones, of the others
        self._closed = False
        self._pid = os.getpid()
        atexit.register(self.close)

    def submit(
        self,
        call: Call,
        on_ends: Callable[[Ends], None],
        on_over: Callable[[Outcome | None], None],
        *,
        memory_bytes: int = 0,
        cpu_s: float = 0.0,
        on_trying: Callable[[Trying], None] | None = None,
        lane: Lane = "run",
    ) -> Handle:
        """Queue a call. memory_bytes and cpu_s: its limits, for the outcome if it dies of one. lane: see above."""
        handle = Handle(call, on_ends, on_over, memory_bytes, cpu_s, on_trying)
        with self._lock:
            if not self._closed:
                self._waiting[lane].append(handle)
                if not self._started(lane):
                    self._lock.notify_all()  # not everyone takes it
                return handle
        on_over(NotStarted("the pool is closed"))
        return handle

    def _started(self, lane: Lane) -> bool:
        """A further worker for what waits, if no idle one can take it and there may be one. With the lock held."""
        others = sum(len(self._waiting[one]) for one in WORKER_LANES)
        if lane != "apart" and self._idle[False] < others and len(self._slots) < self.size:
            kind, spare = self._slots, False
        elif lane != "run" and self._idle[True] < self._left_over(others) and len(self._spare) < SPARE_MAX:
            kind, spare = self._spare, True
        else:
            return False
        kind.append(_Slot(self, self._lock, len(self._slots) + len(self._spare), spare=spare))
        kind[-1].start()
        return True

    def _left_over(self, others: int) -> int:
        """How many calls wait that spare workers must take."""
        reading = min(len(self._waiting["read"]), max(0, others - self._idle[False]))
        return len(self._waiting["apart"]) + reading

    def stop(self, handle: Handle, outcome: Outcome) -> None:
        """End a call that waits or runs; `on_over` gets `outcome`. Nothing if it is over."""
        with self._lock:
            line = next((line for line in self._waiting.values() if handle in line), None)
            if line is not None:
                line.remove(handle)
            else:
                for slot in self._all():
                    if slot.handle is handle:
                        handle.stopped = outcome
                        slot.kill()
                return
        handle.on_over(outcome)

    def warm(self) -> None:
        """Start one worker now if there is none, so that the first job finds it ready."""
        self.submit(Configure(self.constants), lambda _: None, lambda _: None)

    def pids(self) -> list[int]:
        """Of the living workers."""
        with self._lock:
            return [slot.process.pid for slot in self._all() if slot.process is not None]

    def close(self) -> None:
        """End every worker and every call (`Cancelled`); returns when the processes are gone."""
        if self._pid != os.getpid():  # a forked child does not own the workers, nor the state of the lock
            return
        atexit.unregister(self.close)
        with self._lock:
            if self._closed:
                return
            self._closed = True
            waiting = [handle for line in self._waiting.values() for handle in line]
            for line in self._waiting.values():
                line.clear()
            for slot in self._all():
                if slot.handle is not None:
                    slot.handle.stopped = Cancelled("the node was closed")
                slot.kill()
            self._lock.notify_all()
        for handle in waiting:
            handle.on_over(Cancelled("the node was closed"))
        for slot in self._all():
            if slot is not threading.current_thread():
                slot.join()

    def take(self, slot: _Slot) -> Handle | None:
        """The next call for a slot's thread; None when the pool is closed. Waits."""
        lanes = SPARE_LANES if slot.spare else WORKER_LANES
        with self._lock:
            self._idle[slot.spare] += 1
            while not self._closed and not any(self._waiting[lane] for lane in lanes):
                self._lock.wait()
            self._idle[slot.spare] -= 1
            lane = None if self._closed else next(lane for lane in lanes if self._waiting[lane])
            slot.handle = None if lane is None else self._waiting[lane].popleft()
            return slot.handle

    def _all(self) -> list[_Slot]:
        return [*self._slots, *self._spare]


class _Slot(threading.Thread):
    """The thread of one worker: takes calls, keeps the process alive, reports ends and deaths."""

    def __init__(self, pool: WorkerPool, lock: threading.Condition, number: int, *, spare: bool) -> None:
        super().__init__(name=f"qcommons-worker-{number}", daemon=True)
        self.spare = spare
        self._pool = pool
        self._lock = lock
        self.process: WorkerProcess | None = None
        self.handle: Handle | None = None
        self._constants: Constants = {}

    def kill(self) -> None:
        """With the lock held."""
        if self.process is not None:
            self.process.kill()

    def run(self) -> None:
        while (handle := self._pool.take(self)) is not None:
            try:
                over = self._serve(handle)
            except Exception as error:  # a call that no frame holds, a reply that is none: the caller must not wait
                self._bury()
                over = EngineFault(f"{type(error).__name__}: {error}")
            with self._lock:
                self.handle = None
                over = handle.stopped if handle.stopped is not None else over
            if over is not None or handle.stopped is not None:
                self._bury()
            handle.on_over(over)
        self._bury()

    def _serve(self, handle: Handle) -> Outcome | None:
        process = self._ready()
        if isinstance(process, NotStarted):
            return process
        with self._lock:
            if handle.stopped is not None:  # while the process was starting: later `stop`s find it to kill
                return handle.stopped
        if isinstance(handle.call, Configure):
            return None
        if process.send(handle.call):
            while (ended := process.receive()) is not None:
                if handle.stopped is None and ended.trying is None:
                    handle.on_ends(ended.ends)
                elif handle.stopped is None and ended.trying is not None and handle.on_trying is not None:
                    handle.on_trying(ended.trying)
                if ended.last:
                    if ended.retire:
                        self._bury()
                    return None
        return process.death(handle.memory_bytes, handle.cpu_s)

    def _ready(self) -> WorkerProcess | NotStarted:
        """The living worker, started if needed, with the newest constants."""
        why = ""
        for _ in range(START_TRIES):
            try:
                if self.process is not None and not self.process.alive:  # killed while idle: no call's fault
                    self._bury()
                if self.process is None:
                    self._start()
                process = self.process
            except (OSError, ValueError) as error:
                return NotStarted(f"{type(error).__name__}: {error}")
            if process is None:
                return NotStarted("the pool is closed")
            constants = self._pool.constants
            if constants is self._constants or process.send(Configure(constants)):
                self._constants = constants
                return process
            why = process.last_words or "it ended at once"
            self._bury()
        return NotStarted(why)

    def _start(self) -> None:
        process = WorkerProcess(self._pool._command)
        self._constants = {}
        with self._lock:
            if self._pool._closed:
                process.kill()
            self.process = process

    def _bury(self) -> None:
        with self._lock:
            process, self.process = self.process, None
        if process is not None:
            process.bury()
