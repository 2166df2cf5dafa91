"""The embedded node: a job's machine, the pool of workers and a clock, inside the caller's process.

Flow: run(...) -> edge -> Job -> *EmbeddedNode* -> driver -> workers
-> outcomes -> assemble -> Result, Results. The caller's thread drives its own job (`driver.py`).
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from qcommons.base.clock import deadline_ns, left_s
from qcommons.base.effects import Note
from qcommons.base.errors import Corrupt, UsageError
from qcommons.circuits.program import DEFAULT_CAPS, Caps, Program
from qcommons.engines.records import Limits
from qcommons.jobs.assemble import assemble
from qcommons.jobs.machine import CancelAsked, Event, JobEnded
from qcommons.jobs.outcomes import (
    WORKER_DEATHS,
    Cancelled,
    Killed,
    Outcome,
    PastDeadline,
    Unserved,
    exception_of,
    outcome_of,
)
from qcommons.jobs.records import Card, Job
from qcommons.jobs.results import Result, Results
from qcommons.node import edge
from qcommons.node.card import card_of
from qcommons.node.config import DEADLINE_S
from qcommons.node.driver import Driver, Progress
from qcommons.node.frames import Calibrate, Calibration, Constants, Parse, Source, Value
from qcommons.node.home import Home
from qcommons.node.memory import default_limit_bytes
from qcommons.node.process import WORKER_COMMAND
from qcommons.node.submission import positive, submission
from qcommons.node.workers import WorkerPool

__all__ = ["EmbeddedNode"]

PARSE_MEMORY_BYTES = 2 << 30  # beyond the warm worker; the largest program allowed takes about 1 GiB
PARSE_S = 60.0  # CPU backstop for one source
PARSE_BYTES = 1 << 20  # sources that share a call
CALIBRATE_S = 2.0


class EmbeddedNode:
    """A node for this process alone; a context manager. It takes its settings as arguments and reads none.

    workers: processes at most (default: one a core, up to 4). home: where constants are kept.
    command: how a worker is started. operations_max: cap on the operations of a parsed program.
    deadline_s, memory_bytes: of a run that names none (memory None: 80 % of what is free then, shared).
    calibrate: measure this machine in the background after the first job if that was never done.
    on_note: called with what the machines note, for logs.
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        home: Path | None = None,
        command: Sequence[str] = WORKER_COMMAND,
        operations_max: int = DEFAULT_CAPS.operations_max,
        deadline_s: float = DEADLINE_S,
        memory_bytes: int | None = None,
        calibrate: bool = False,
        on_note: Callable[[Note], None] | None = None,
    ) -> None:
        if workers is not None and not 1 <= workers <= 1024:
            raise UsageError(f"workers={workers}; allowed 1 to 1024", where="workers", limit="1024 workers")
        self.home = Home(home)
        self.pool = WorkerPool(workers, command)
        self.pool.constants = self.home.constants()
        self._caps = msgspec.structs.replace(DEFAULT_CAPS, operations_max=operations_max)
        self._deadline_s = deadline_s
        self._memory_bytes = memory_bytes
        self._calibrate = calibrate and self.pool.size > 1  # the only worker is never taken from a job
        self._on_note = on_note
        self._inboxes: dict[str, queue.SimpleQueue[Event]] = {}

    def __enter__(self) -> EmbeddedNode:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers; running jobs end as cancelled."""
        self.pool.close()

    def run(
        self,
        program: Any,
        *,
        shots: int | None = None,
        observable: Any = None,
        amplitudes: Any = None,
        statevector: bool = False,
        bind: Any = None,
        noise: Any = None,
        seed: int | None = None,
        engine: str | None = None,
        method: str | None = None,
        deadline_s: float | None = None,
        memory_bytes: int | None = None,
        progress: Progress | None = None,
    ) -> Result | Results:
        """See `default.run`."""
        accepted_ns = time.monotonic_ns()
        seconds = positive("deadline_s", self._deadline_s if deadline_s is None else deadline_s)
        until_ns = deadline_ns(accepted_ns, min(seconds, 1e9))
        circuits, batch = edge.circuits(program)
        request = edge.asked(shots, observable, amplitudes, statevector)
        points, shape = edge.points(bind)
        channels = edge.noise_of(noise)
        cards = self._cards(circuits, until_ns, seconds)
        single = not batch and shape is None
        parallel = min(self.pool.size, len(circuits) * len(points))
        allowed = self._memory_bytes if memory_bytes is None else memory_bytes
        limit_bytes = default_limit_bytes(parallel) if allowed is None else int(positive("memory_bytes", allowed))
        job = submission(
            cards, points, request, batch=batch, seed=seed, noise=channels, engine=engine, method=method,
            limits=Limits(memory_bytes=limit_bytes, seconds=left_s(until_ns, time.monotonic_ns())), deadline_s=seconds,
        )  # fmt: skip
        if single and job.settled:
            _raise(job.settled[0])
        grid = ((len(circuits),) if batch else ()) + (shape or ())
        ended = self._drive(job, accepted_ns, progress)
        results = assemble(job, ended, accepted_ns, shape=grid, scalar=request.scalar)
        if self._calibrate:
            self._calibrate_later()
        if not single:
            return results
        results[0].raise_for_error()
        return results[0]

    def cancel(self, job: str, cause: str = "asked by the caller") -> bool:
        """Cancel a running job (see `jobs`), from any thread: its open runs end as cancelled. False: it is over."""
        inbox = self._inboxes.get(job)
        if inbox is None:
            return False
        inbox.put(CancelAsked(cause))
        return True

    def jobs(self) -> list[str]:
        """Ids of the jobs that run now."""
        return list(self._inboxes)

    def calibrate(self, budget_s: float = CALIBRATE_S) -> Constants:
        """Measure this machine's cost constants in a worker, keep them, and use them from now on.

        Raises:
            Unavailable: no worker, or the home cannot be written (the constants are used all the same).
        """
        (outcome,) = self._gather(Calibrate(budget_s), 1, deadline_ns(time.monotonic_ns(), 30 + 10 * budget_s), 0.0)
        if isinstance(outcome, Card):
            raise Corrupt("a worker answered the calibration with a program")
        if not isinstance(outcome, Calibration):
            _raise(outcome)
        self.pool.constants = outcome.constants
        try:
            self.home.keep(outcome)
        except OSError as error:
            _raise(Unserved(f"cannot keep the measured constants: {error.strerror}", str(self.home.path)))
        return outcome.constants

    # sources

    def _cards(self, circuits: list[edge.Circuit], until_ns: int, deadline_s: float) -> list[Card | Outcome]:
        """A card for each program; an outcome for each source that cannot become one."""
        cards: list[Card | Outcome | None] = [None] * len(circuits)
        known: dict[int, Card | Outcome] = {}  # one object given many times is encoded once
        calls: list[list[int]] = []
        filled = 0
        for place, circuit in enumerate(circuits):
            if isinstance(circuit, Card):
                cards[place] = circuit
                continue
            if isinstance(circuit, Program):
                if id(circuit) not in known:
                    known[id(circuit)] = _card_or_outcome(circuit, self._caps)
                cards[place] = known[id(circuit)]
                continue
            filled += len(circuit.text)
            if not calls or filled > PARSE_BYTES:
                calls.append([])
                filled = len(circuit.text)
            calls[-1].append(place)
        for places in calls:
            sources = [circuit for place in places if isinstance(circuit := circuits[place], Source)]
            for place, value in zip(places, self._parsed(sources, until_ns, deadline_s), strict=True):
                cards[place] = value
        return [card for card in cards if card is not None]

    def _parsed(
        self, sources: list[Source], until_ns: int, deadline_s: float, *, again: bool = False
    ) -> list[Card | Outcome]:
        call = Parse(tuple(sources), self._caps.operations_max, PARSE_MEMORY_BYTES, PARSE_S)
        parsed: list[Card | Outcome] = []
        for source, value in zip(sources, self._gather(call, len(sources), until_ns, deadline_s), strict=True):
            if isinstance(value, WORKER_DEATHS) and len(sources) > 1:
                parsed += self._parsed([source], until_ns, deadline_s)  # alone: is it the guilty one?
            elif isinstance(value, Killed) and not value.oom_kills and not again:
                parsed += self._parsed([source], until_ns, deadline_s, again=True)  # from outside: once more
            elif isinstance(value, Calibration):
                raise Corrupt("a worker answered a source with constants")
            else:
                parsed.append(value)
        return parsed

    def _gather(self, call: Parse | Calibrate, count: int, until_ns: int, deadline_s: float) -> list[Value]:
        """Wait for all values of a call; what is missing when it is over gets the outcome that ended it."""
        inbox: queue.SimpleQueue[tuple[tuple[int, Value], ...] | Outcome | None] = queue.SimpleQueue()
        memory_bytes, cpu_s = (call.memory_bytes, call.seconds) if isinstance(call, Parse) else (0, 0.0)
        handle = self.pool.submit(call, inbox.put, inbox.put, memory_bytes=memory_bytes, cpu_s=cpu_s)
        values: dict[int, Value] = {}
        try:
            while True:
                wait_s = left_s(until_ns, time.monotonic_ns())
                try:
                    message = inbox.get(timeout=min(wait_s, threading.TIMEOUT_MAX))
                except queue.Empty:
                    message = PastDeadline(deadline_s)
                    self.pool.stop(handle, message)
                if not isinstance(message, tuple):
                    break
                values.update(message)
        except BaseException:
            self.pool.stop(handle, Cancelled("interrupted"))
            raise
        if message is None and len(values) < count:
            raise Corrupt(f"a worker answered {len(values)} of {count} parts of a call")
        return [values[place] if message is None else values.get(place, message) for place in range(count)]

    # the job

    def _drive(self, job: Job, accepted_ns: int, progress: Progress | None) -> JobEnded:
        """Carry out the machine's effects until the job has ended."""
        driver = Driver(self.pool, job, accepted_ns, progress, self._on_note)
        self._inboxes[job.id] = driver.inbox
        try:
            return driver.drive()
        except BaseException:  # Ctrl-C, or the progress callback failed: nothing keeps running
            driver.abandon()
            raise
        finally:
            del self._inboxes[job.id]

    def _calibrate_later(self) -> None:
        """Once a process: measure in a worker while the caller goes on, if what is kept does not hold here."""
        self._calibrate = False
        known = self.home.calibration()

        def keep(ends: tuple[tuple[int, Value], ...]) -> None:
            for _, value in ends:
                if isinstance(value, Calibration) and value != known:
                    self.pool.constants = value.constants
                    with contextlib.suppress(OSError):  # an unwritable home: measured again next time
                        self.home.keep(value)

        self.pool.submit(Calibrate(CALIBRATE_S, known), keep, lambda _: None)


def _card_or_outcome(program: Program, caps: Caps) -> Card | Outcome:
    try:
        return card_of(program, caps=caps)
    except UsageError as error:
        return outcome_of(error, 0)


def _raise(outcome: Outcome) -> NoReturn:
    error = exception_of(outcome)
    if error is None:
        raise Corrupt("an answer where an error was expected")
    raise error
