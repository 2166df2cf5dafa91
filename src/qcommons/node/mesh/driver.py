"""The driver: MeshCore on an event loop. It gives the core events with the time, and carries out what it answers.

Flow: connections, timers, disk, door -> *Driver.deliver* -> MeshCore -> effects -> *Driver* -> connections (Dial,
Transmit, Hangup, RelayIn), timers (WakeAt), disk (Store; what follows it waits for the fsync), blobs, tickets and
doors (Send), log (Note).

Only what stands behind a Store in one answer waits for the disk: signs of life are never in such an answer, so a slow
disk makes nobody look dead. Events that come up while effects are carried out are queued: the core is never entered
twice.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from qcommons.base.effects import Effect as AnyEffect
from qcommons.base.effects import Note, Send, Store, WakeAt, Woken, note
from qcommons.base.errors import Corrupt, Unavailable, raised_at
from qcommons.base.units import ns_to_s
from qcommons.mesh.core import MeshCore
from qcommons.mesh.events import (
    Came,
    CloseBlob,
    Dial,
    Event,
    Failed,
    Hangup,
    OpenBlob,
    ReadChunk,
    RelayIn,
    Transmit,
    Unask,
    WriteChunk,
)
from qcommons.node.mesh.clock import MeshClock
from qcommons.node.mesh.keeper import Keeper

__all__ = ["Driver", "Hands"]

FAULTS_MAX = 16  # contained between two starts; a node with more is not to be trusted with its own state
TIMER_MAX_S = 3_600.0  # longer ones are set again on the way
SWEEP_S = 5.0
TICKET_S = 10.0  # beyond what was asked for: the core answers in time, so this is never waited out


class Hands(Protocol):
    """What carries out effects on the connections and the blobs."""

    def dial(self, effect: Dial) -> None: ...

    def transmit(self, effect: Transmit) -> None: ...

    def hang_up(self, effect: Hangup) -> None: ...

    def relay_in(self, effect: RelayIn) -> None: ...

    def blob(self, effect: OpenBlob | ReadChunk | WriteChunk | CloseBlob) -> None: ...


class Driver:
    """hands: see there. doors: for what a `Send` names that is no ticket: exact names, or "door/" and "topic/" as
    prefixes. on_fault: an error of ours inside the core; the mesh stops serving."""

    def __init__(
        self,
        core: MeshCore,
        clock: MeshClock,
        keeper: Keeper,
        *,
        on_note: Callable[[Note], None],
        on_fault: Callable[[BaseException], None],
    ) -> None:
        self.core, self.clock, self.keeper = core, clock, keeper
        self.hands: Hands
        self.doors: dict[str, Callable[[Any], None]] = {}
        self.failed: BaseException | None = None
        self._on_note, self._on_fault = on_note, on_fault
        self._loop = asyncio.get_running_loop()
        self._events: deque[Event] = deque()
        self._handling = False
        self._closed = False
        self._faults = 0
        self.now_ns: Callable[[], int] = clock.now_ns  # the core's time; never decreases
        self._tickets: dict[str, tuple[asyncio.Future[Any], float]] = {}  # and when nobody waits any longer
        self._ticket = itertools.count()
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._timer = itertools.count()
        self._table: dict[type, Callable[[Any], None]] = {}

    def begin(self, hands: Hands) -> None:
        """Who carries out; before the first event."""
        self.hands = hands
        self._table = {
            Transmit: hands.transmit,
            WakeAt: self._wake,
            Note: self._on_note,
            Send: self._send,
            Dial: hands.dial,
            Hangup: hands.hang_up,
            RelayIn: hands.relay_in,
            OpenBlob: hands.blob,
            ReadChunk: hands.blob,
            WriteChunk: hands.blob,
            CloseBlob: hands.blob,
        }

    # events in

    def deliver(self, event: Event) -> None:
        """Give the core an event, now or after those that are being handled."""
        if self._closed:
            return
        if self._handling:
            self._events.append(event)
            return
        self._handling = True
        try:
            while True:
                try:
                    self._carry_out(self.core.handle(event, self.now_ns()))
                except Exception as error:
                    self._contain(event, error)
                if not self._events:
                    break
                event = self._events.popleft()
        except Exception as error:
            self.failed = error
            self.close()
            self._on_fault(error)
        finally:
            self._handling = False

    def _contain(self, event: Event, error: Exception) -> None:
        """A fault of ours that a peer's message or a timer met costs that link, not the mesh; raises where there were
        too many, or where no peer is behind it."""
        kind = type(event)
        self._faults += 1
        if kind not in (Came, Woken) or self._faults > FAULTS_MAX:
            raise error
        place = raised_at(error)
        said = f"{type(error).__name__}: {error}"
        if isinstance(event, Came):
            self._on_note(note("mesh_fault_contained", conn=event.conn, kind=type(event.message).__name__,
                               error=said, at=place))  # fmt: skip
            self.hands.hang_up(Hangup(event.conn, "a fault of this node"))
        elif isinstance(event, Woken):
            self._on_note(note("mesh_fault_contained", token=str(event.token), error=said, at=place))

    async def ask(self, make: Callable[[str], Event], within_s: float) -> Any:
        """Give the core an event with a fresh ticket; what answers it.

        Raises:
            Unavailable: nothing came within the time, or the mesh has stopped.
        """
        self.check()
        ticket = f"ticket {next(self._ticket)}"
        future: asyncio.Future[Any] = self._loop.create_future()
        self._tickets[ticket] = future, self._loop.time() + within_s + TICKET_S
        self.deliver(make(ticket))
        try:
            return await future
        except asyncio.CancelledError:
            self.deliver(Unask(ticket))
            raise
        finally:
            self._tickets.pop(ticket, None)

    def _sweep(self) -> None:
        """A timer for each ticket would cost more than the rest of an echo, and the core answers in time anyway."""
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)
        now_s = self._loop.time()
        for future, until_s in self._tickets.values():
            if until_s < now_s and not future.done():
                future.set_exception(Unavailable("the mesh gave no answer in time", where="mesh"))

    def check(self) -> None:
        """Raises Corrupt where a fault of ours stopped the mesh, Unavailable where it is shut down."""
        if self.failed is not None:
            what = f"the mesh stopped by its own fault: {type(self.failed).__name__}: {self.failed}; see qcommons logs"
            raise Corrupt(what, where="mesh")
        if self._closed:
            raise Unavailable("the mesh is shut down", where="mesh")

    # effects out

    def _carry_out(self, effects: Iterable[AnyEffect | Any]) -> None:
        rest = iter(effects)
        for effect in rest:
            if type(effect) is Store:
                self._behind_store(effect, list(rest))
                return
            self._table[type(effect)](effect)

    def _behind_store(self, first: Store, rest: list[Any]) -> None:
        """All stores of the answer are one batch; wake-ups and notes need not wait for it."""
        changes = [(first.key, first.value)]
        later: list[Any] = []
        for effect in rest:
            kind = type(effect)
            if kind is Store:
                changes.append((effect.key, effect.value))
            elif kind is WakeAt or kind is Note:
                self._table[kind](effect)
            else:
                later.append(effect)
        self.keeper.keep(changes, lambda: self._durable(later))

    def _durable(self, later: list[Any]) -> None:
        if not self._closed:
            for effect in later:
                self._table[type(effect)](effect)

    def _send(self, send: Send) -> None:
        waiting = self._tickets.get(send.to)
        if waiting is not None:
            if not waiting[0].done():
                waiting[0].set_result(send.message)
            return
        name = send.to
        door = self.doors.get(name) or self.doors.get(name.partition("/")[0] + "/")
        if door is not None:
            door(send)

    def _wake(self, wake: WakeAt) -> None:
        number = next(self._timer)
        left_s = ns_to_s(wake.at_ns - self.now_ns())
        delay_s = min(max(0.0, left_s), TIMER_MAX_S)
        self._timers[number] = self._loop.call_later(delay_s, self._woken, number, wake)

    def _woken(self, number: int, wake: WakeAt) -> None:
        del self._timers[number]
        if self.now_ns() < wake.at_ns:  # it is a long one, or the loop and the clock round differently
            self._wake(wake)
        else:
            self.deliver(Woken(wake.token))

    # the end

    def close(self) -> None:
        """No more events; whoever waits hears that."""
        self._closed = True
        self._events.clear()
        self._sweeper.cancel()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for future, _ in self._tickets.values():
            if not future.done():
                future.set_result(Failed("unavailable", "the mesh is shut down"))
