"""The embedded node: a job's machine, the pool of workers and a clock, inside the caller's process.

Flow: run(...) -> edge -> Job -> *EmbeddedNode* -> driver -> workers
-> outcomes -> assemble -> Result, Results. The caller's thread drives its own job (`driver.py`).
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from qcommons.base.clock import deadline_ns, left_s
from qcommons.base.effects import Note
from qcommons.base.errors import Corrupt, UsageError
from qcommons.circuits.program import DEFAULT_CAPS
from qcommons.engines.records import Limits
from qcommons.jobs.assemble import assemble
from qcommons.jobs.machine import CancelAsked, Event, JobEnded
from qcommons.jobs.outcomes import (
    Outcome,
    Unserved,
    exception_of,
)
from qcommons.jobs.records import Card, Job
from qcommons.jobs.results import Result, Results
from qcommons.node import edge
from qcommons.node.config import DEADLINE_S
from qcommons.node.driver import Driver, Progress
from qcommons.node.frames import Calibrate, Calibration, Constants, Planned, Trying, Value
from qcommons.node.home import Home
from qcommons.node.memory import default_limit_bytes
from qcommons.node.process import WORKER_COMMAND
from qcommons.node.records import Form
from qcommons.node.sources import Reader
from qcommons.node.submission import positive, submission
from qcommons.node.terms import terms_of
from qcommons.node.workers import WorkerPool

if TYPE_CHECKING:
    from qcommons.node.api.quote_records import Quote

__all__ = ["EmbeddedNode"]

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
        self._reader = Reader(self.pool, msgspec.structs.replace(DEFAULT_CAPS, operations_max=operations_max))
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
        on: str = "here",
        on_trying: Callable[[Trying], None] | None = None,
    ) -> Result | Results:
        """See `default.run`. on_trying: told from another thread what a worker attempts, and its predicted cost."""
        accepted_ns = time.monotonic_ns()
        _check_here(on)
        asked = edge.asked(shots, observable, amplitudes, statevector)
        job, form = self._job(
            program, asked, accepted_ns, bind=bind, noise=noise, seed=seed, engine=engine, method=method,
            deadline_s=deadline_s, memory_bytes=memory_bytes,
        )  # fmt: skip
        ended = self._drive(job, accepted_ns, progress, on_trying)
        results = assemble(job, ended, accepted_ns, shape=form.shape, scalar=form.scalar)
        if self._calibrate:
            self._calibrate_later()
        if not form.single:
            return results
        results[0].raise_for_error()
        return results[0]

    def quote(
        self,
        program: Any,
        *,
        shots: int | None = None,
        observable: Any = None,
        amplitudes: Any = None,
        statevector: bool = False,
        on: str = "here",
        **more: Any,
    ) -> Quote:
        """What `run` with the same arguments would take; nothing is run. Raises as `run`, for whatever cannot be run.

        more: bind, noise, seed, engine, method, deadline_s, memory_bytes.
        """
        from qcommons.node.planner import Planner
        from qcommons.node.quoting import quote_here

        _check_here(on)
        job, _ = self._job(program, edge.asked(shots, observable, amplitudes, statevector), time.monotonic_ns(), **more)
        if job.settled:
            _raise(next(iter(job.settled.values())))
        return quote_here(Planner(self.pool), job, self.pool.size)

    def _job(
        self,
        program: Any,
        request: edge.Asked,
        accepted_ns: int,
        *,
        bind: Any = None,
        noise: Any = None,
        seed: int | None = None,
        engine: str | None = None,
        method: str | None = None,
        deadline_s: float | None = None,
        memory_bytes: int | None = None,
    ) -> tuple[Job, Form]:
        """The job, its programs read in a worker. Raises what is wrong with a single run."""
        seconds = positive("deadline_s", self._deadline_s if deadline_s is None else deadline_s)
        until_ns = deadline_ns(accepted_ns, min(seconds, 1e9))
        circuits, batch = edge.circuits(program, left_s(until_ns, time.monotonic_ns()))
        points, shape = edge.points(bind)
        channels = edge.noise_of(noise)
        cards = self._reader.cards(circuits, until_ns, seconds)
        parallel = min(self.pool.size, len(circuits) * len(points))
        allowed = self._memory_bytes if memory_bytes is None else memory_bytes
        limit_bytes = default_limit_bytes(parallel) if allowed is None else int(positive("memory_bytes", allowed))
        job = submission(
            cards, points, request, batch=batch, seed=seed, noise=channels, engine=engine, method=method,
            limits=Limits(memory_bytes=limit_bytes, seconds=left_s(until_ns, time.monotonic_ns())), deadline_s=seconds,
        )  # fmt: skip
        single = not batch and shape is None
        if single and job.settled:
            _raise(job.settled[0])
        grid = ((len(circuits),) if batch else ()) + (shape or ())
        return job, Form(grid, request.scalar, single)

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
        until_ns = deadline_ns(time.monotonic_ns(), 30 + 10 * budget_s)
        (outcome,) = self._reader.gather(Calibrate(budget_s), 1, until_ns, 0.0)
        if isinstance(outcome, Card | Planned):
            raise Corrupt("a worker answered the calibration with something else")
        if not isinstance(outcome, Calibration):
            _raise(outcome)
        self.pool.constants = outcome.constants
        try:
            self.home.keep(outcome)
        except OSError as error:
            _raise(Unserved(f"cannot keep the measured constants: {error.strerror}", str(self.home.path)))
        return outcome.constants

    # the job

    def _drive(
        self, job: Job, accepted_ns: int, progress: Progress | None, on_trying: Callable[[Trying], None] | None
    ) -> JobEnded:
        """Carry out the machine's effects until the job has ended."""
        driver = Driver(self.pool, job, accepted_ns, progress, self._on_note, on_trying)
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


def _check_here(on: str) -> None:
    if terms_of(on).on != "here":
        what = (
            "an embedded run is done in this process; jobs on the mesh go through a node: qcommons up -d, then "
            "Node.connect().run(...) or qcommons run --on mesh"
        )
        raise UsageError(what, where="on", limit="here")


def _raise(outcome: Outcome) -> NoReturn:
    error = exception_of(outcome)
    if error is None:
        raise Corrupt("an answer where an error was expected")
    raise error
