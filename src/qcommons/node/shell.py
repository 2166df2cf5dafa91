"""The shell: the only asyncio of the house. It reads clocks, runs workers, writes the disk, and feeds the core.

Flow: door, timers, pool, mesh -> event -> core -> effects -> *Shell* -> store (one transaction an answer), pool,
clerks, timers; `Send`s go out when every store before them is on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from qcommons.base.effects import Effect, Note, Run, Send, Stop, Store, WakeAt, Woken
from qcommons.base.errors import Corrupt, Unavailable
from qcommons.base.typed import described
from qcommons.base.units import ns_to_s
from qcommons.jobs.machine import ItemsEnded, PieceEnded
from qcommons.jobs.outcomes import Cancelled, EngineFault, NotStarted, Outcome
from qcommons.jobs.records import Piece
from qcommons.jobs.work_events import MESH, Heard, MakeReport, ReadReport, ReadWork, ToMesh
from qcommons.mesh.events import Ask, Failed
from qcommons.mesh.records import PeerId
from qcommons.node.api.records import AttemptView
from qcommons.node.clerks import Clerks
from qcommons.node.core import SHELL, NodeCore
from qcommons.node.dealing import SELF
from qcommons.node.frames import PutTogether, RunPiece, Trying
from qcommons.node.messages import Combine, Combined, Drained, Ended, Event, Seal, Sealed
from qcommons.node.records import NodeEvent
from qcommons.node.store import Store as Disk
from qcommons.node.workers import Handle, WorkerPool

__all__ = ["Shell", "SteadyClock"]

TIMER_MAX_S = 86_400.0  # longer ones are set again on the way
BACKLOG_MAX = 50_000  # changes that wait for the disk; beyond, nothing new is taken


class SteadyClock:
    """Nanoseconds since 1970 that never jump: read once from the system, then counted by the monotonic clock.

    not_before_ns: the newest instant on disk, so that time goes on where the system's clock was set back meanwhile.
    """

    def __init__(self, not_before_ns: int = 0) -> None:
        system_ns = time.time_ns()
        self.set_back_ns = max(0, not_before_ns - system_ns)
        self._offset_ns = max(system_ns, not_before_ns) - time.monotonic_ns()

    def now_ns(self) -> int:
        return self._offset_ns + time.monotonic_ns()

    def jumped_ns(self) -> int:
        """How far the system's clock is ahead of this one; large where somebody set it."""
        return time.time_ns() - self.now_ns()


class Shell:
    """One core with its pool and its disk, on the running event loop.

    seal: numbers of ended jobs -> signed receipts; runs in a thread. on_note: what the core notes, for log and
    metrics. on_event: each event of the journal once it is on disk. on_ended: each job with its result, likewise.
    clerks: read and write the papers of work between nodes; only a core that deals needs them.
    """

    def __init__(
        self,
        core: NodeCore,
        disk: Disk,
        pool: WorkerPool,
        clock: SteadyClock,
        *,
        seal: Callable[[tuple[int, ...]], dict[int, bytes]],
        on_note: Callable[[Note], None],
        on_event: Callable[[NodeEvent], None],
        on_ended: Callable[[Ended], None],
        clerks: Clerks | None = None,
    ) -> None:
        self.core, self.disk, self.pool, self.clock = core, disk, pool, clock
        self.drained = asyncio.Event()
        self.failed: BaseException | None = None
        self.not_started: NotStarted | None = None  # why no worker could be started, the last time
        self._seal, self._on_note, self._on_event, self._on_ended = seal, on_note, on_event, on_ended
        self._loop = asyncio.get_running_loop()
        self._handles: dict[str, Handle] = {}
        self._attempts: dict[str, AttemptView] = {}  # by piece: a worker does one thing at a time
        self._tickets: dict[str, asyncio.Future[Any]] = {}
        self._pending: set[asyncio.Future[Any]] = set()
        self._ticket = itertools.count()
        self._ends: dict[str, set[asyncio.Future[None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._mesh: Callable[[ToMesh], None] | None = None
        self._clerks = clerks
        if clerks is not None:
            clerks.on_event, clerks.on_note, clerks.later = self.deliver, on_note, self._from_thread

    # events in

    def deliver(self, event: Event, *, patience_s: float = 0.0) -> None:
        """Give the core an event now. An error of ours stops the node: nothing is served from a broken state.

        patience_s: how long the disk may wait for what comes next, to write both at once.
        """
        if self.failed is not None or self._closed:
            return
        try:
            effects = self.core.handle(event, self.clock.now_ns())
        except Exception as error:
            self.failed = error
            self.drained.set()
            self.look_at_disk()
            raise
        self._carry_out(effects, patience_s)

    async def ask(self, make: Callable[[str], Event], *, patience_s: float = 0.0) -> Any:
        """Give the core an event with a fresh ticket; the message that answers it, once its stores are on disk.

        Raises Unavailable while the disk takes nothing: what is asked may still be done later.
        """
        self._check_disk()
        ticket = f"ticket {next(self._ticket)}"
        future: asyncio.Future[Any] = self._loop.create_future()
        self._tickets[ticket] = future
        self.deliver(make(ticket), patience_s=patience_s)
        try:
            return await self._patiently(future)
        finally:
            self._tickets.pop(ticket, None)

    async def keep(self, key: str, value: bytes | None) -> None:
        """A record that the core need not know, on disk when this returns. Raises as `ask`."""
        self._check_disk()
        future: asyncio.Future[None] = self._loop.create_future()
        self.disk.apply([(key, value)], partial(self._from_thread, _settle, future))
        await self._patiently(future)

    async def _patiently(self, future: asyncio.Future[Any]) -> Any:
        self._pending.add(future)
        try:
            return await future
        finally:
            self._pending.discard(future)

    def open_work(self, to_mesh: Callable[[ToMesh], None], key_of: Callable[[PeerId], bytes | None]) -> None:
        """The mesh is there. to_mesh: takes what leaves. key_of: a peer's public key."""
        self._mesh = to_mesh
        if self._clerks is not None:
            self._clerks.key_of = key_of

    def look_at_disk(self) -> None:
        """The disk has trouble, or has none any more: whoever waits for it need not wait for nothing."""
        try:
            self._check_disk()
        except (Corrupt, Unavailable) as error:
            for future in self._pending:
                if not future.done():
                    future.set_exception(error)

    async def ended(self, job_id: str, wait_s: float, already: Callable[[], bool]) -> None:
        """Wait until an open job has its result on disk, at most `wait_s`. already: it had, before we listened."""
        future: asyncio.Future[None] = self._loop.create_future()
        waiting = self._ends.setdefault(job_id, set())
        waiting.add(future)
        try:
            if already():
                return
            await asyncio.wait({future}, timeout=min(wait_s, TIMER_MAX_S))
        finally:
            waiting.discard(future)
            if not waiting:
                self._ends.pop(job_id, None)

    def _check_disk(self) -> None:
        if self.failed is not None:
            raise Corrupt(f"the node stopped because of a fault of its own: {self.failed}; see qcommons logs")
        trouble = self.disk.trouble
        if trouble is not None:
            asked = "What was asked may still be done then; ask again with the same request"
            raise Unavailable(f"nothing can be written: {trouble.cause}. {trouble.action}. {asked}", where="store")
        if self.disk.waiting > BACKLOG_MAX:
            what = f"{self.disk.waiting} changes wait for the disk; allowed {BACKLOG_MAX}; try again in a moment"
            raise Unavailable(what, where="store", limit=f"{BACKLOG_MAX} changes")

    # effects out

    def _carry_out(self, effects: list[Effect], patience_s: float) -> None:
        changes: list[tuple[str, bytes | None]] = []
        sends: list[Send] = []
        for effect in effects:
            match effect:
                case Store(key, value):
                    changes.append((key, value))
                case Send():
                    sends.append(effect)
                case Run(piece_id, Seal(numbers)):
                    self._spawn(self._sealed(piece_id, numbers))
                case Run(_, Combine() as piece):
                    self._combine(piece)
                case Run(_, (ReadReport() | ReadWork() | MakeReport()) as paper):
                    assert self._clerks is not None
                    self._clerks.take(paper)
                case Run(piece_id, piece):
                    self._handles[piece_id] = self._submit(piece_id, piece)
                case Stop(piece_id):
                    handle = self._handles.pop(piece_id, None)
                    self._attempts.pop(piece_id, None)
                    if handle is not None:
                        self.pool.stop(handle, Cancelled("stopped by its job"))
                case WakeAt():
                    self._wake(effect)
                case Note():
                    self._on_note(effect)
        if changes or sends:
            on_disk = partial(self._from_thread, self._on_disk, changes, sends)
            self.disk.apply(changes, on_disk, patience_s=patience_s)

    def _on_disk(self, changes: list[tuple[str, bytes | None]], sends: list[Send]) -> None:
        for send in sends:
            self._send(send)
        events = [value for key, value in changes if value is not None and key.startswith("event/")]
        if events:  # whoever waits for an answer comes first
            self._loop.call_soon(self._tell, events)

    def _tell(self, events: list[bytes]) -> None:
        for event in events:
            self._on_event(msgspec.msgpack.decode(event, type=described(NodeEvent)))

    def _send(self, send: Send) -> None:
        if send.to == SHELL:
            match send.message:
                case Ended() as ended:
                    self._on_ended(ended)
                    for future in self._ends.pop(ended.entry.id, ()):
                        _settle(future)
                case Drained():
                    self.drained.set()
            return
        if send.to == SELF:
            self._loop.call_soon(self.deliver, send.message)
            return
        if send.to == MESH:
            self._to_mesh(send.message)
            return
        asked = self._tickets.get(send.to)
        if asked is not None and not asked.done():
            asked.set_result(send.message)

    def _to_mesh(self, leaving: ToMesh) -> None:
        if self._mesh is not None:
            self._mesh(leaving)
        elif isinstance(leaving.message, Ask):
            failed = Failed("unavailable", "the mesh is off", "mesh")
            self._loop.call_soon(self.deliver, Heard(leaving.message.ticket, failed=failed))

    def _wake(self, wake: WakeAt) -> None:
        left_s = ns_to_s(wake.at_ns - self.clock.now_ns())
        if left_s > TIMER_MAX_S:
            self._loop.call_later(TIMER_MAX_S, self._wake, wake)
        else:
            self._loop.call_later(max(0.0, left_s), self.deliver, Woken(wake.token))

    def _submit(self, piece_id: str, piece: Piece) -> Handle:
        def on_ends(ends: tuple[tuple[int, Any], ...]) -> None:
            self._from_thread(self._some_ended, piece_id, ends)

        def on_trying(trying: Trying) -> None:
            self._from_thread(self._tried, piece_id, trying)

        def on_over(death: Outcome | None) -> None:
            self._from_thread(self._over, piece_id, death)

        limits = piece.limits
        return self.pool.submit(
            RunPiece(piece), on_ends, on_over, memory_bytes=limits.memory_bytes, cpu_s=limits.seconds,
            on_trying=on_trying,
        )  # fmt: skip

    def _combine(self, piece: Combine) -> None:
        """In a worker, before what is to be run; what it did not answer ends as the worker did."""
        found: dict[int, Any] = {}

        def on_over(death: Outcome | None) -> None:
            missing = death or EngineFault("a worker did not put this answer together")
            runs = range(len(piece.plan.parts))
            event = Combined(piece.job_id, tuple(found.get(run, missing) for run in runs))
            self._from_thread(self.deliver, event)

        self.pool.submit(PutTogether(piece.plan, piece.outcomes), found.update, on_over, lane="read")

    def _some_ended(self, piece_id: str, ends: tuple[tuple[int, Any], ...]) -> None:
        self._attempts.pop(piece_id, None)
        self.deliver(ItemsEnded(piece_id, ends))

    def _tried(self, piece_id: str, trying: Trying) -> None:
        if piece_id in self._handles:
            self._attempts[piece_id] = AttemptView(
                run=trying.index, engine=trying.engine, method=trying.method, predicted_s=trying.seconds,
                certain=trying.certain, since_ns=self.clock.now_ns(),
            )  # fmt: skip

    def attempts(self, job_id: str) -> tuple[AttemptView, ...]:
        """What workers are at for an open job, in the order of its runs."""
        found = [view for piece_id, view in self._attempts.items() if piece_id.partition(".")[0] == job_id]
        return tuple(sorted(found, key=lambda view: view.run))

    def _over(self, piece_id: str, death: Outcome | None) -> None:
        self._handles.pop(piece_id, None)
        self._attempts.pop(piece_id, None)
        self.not_started = death if isinstance(death, NotStarted) else None
        self.deliver(PieceEnded(piece_id, death))

    async def _sealed(self, piece_id: str, numbers: tuple[int, ...]) -> None:
        try:
            receipts = await asyncio.to_thread(self._seal, numbers)
        except Exception as error:  # the jobs stay unsealed on disk: tried again at the next start
            self._on_note(Note("sealing_failed", {"why": f"{type(error).__name__}: {error}"}))
            receipts = {}
        self.deliver(Sealed(numbers, receipts))

    def _spawn(self, task: Any) -> None:
        made = self._loop.create_task(task)
        self._tasks.add(made)
        made.add_done_callback(self._tasks.discard)

    def _from_thread(self, call: Callable[..., None], *args: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
            self._loop.call_soon_threadsafe(call, *args)

    # the end

    async def close(self) -> None:
        """Workers end, what is queued reaches the disk. After `drained`, or as after a crash."""
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        if self._clerks is not None:
            self._clerks.close()
        await asyncio.to_thread(self.pool.close)
        await asyncio.to_thread(self.disk.flush, 10.0)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
