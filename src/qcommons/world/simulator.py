"""The simulator: one heap of events, one virtual clock, any number of cores; same seed, same trace.

Flow: (time, number, life, event) off the heap -> core -> effects -> network, timers, disk, watchers -> heap.

An event finds its life dead: it is gone. Busy or frozen: it waits in the life's inbox. Else the core handles it at the
life's own clock; what its cryptography would have cost keeps the life busy and delays the effects. Effects are carried
out in order; a planned crash may fall between any two of them.
"""

from __future__ import annotations

import gc
import traceback
from collections import Counter
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from qcommons.base.effects import Note, Send, Store, WakeAt, Woken
from qcommons.mesh.events import (
    Asked,
    Came,
    CloseBlob,
    Dial,
    DialFailed,
    Hangup,
    Linked,
    OpenBlob,
    ReadChunk,
    RelayIn,
    RelayOut,
    Transmit,
    Unlinked,
    Withdrawn,
    WriteChunk,
)  # fmt: skip
from qcommons.world.blobdisk import BlobDisk
from qcommons.world.host import After, Host, Life, Work
from qcommons.world.network import Network
from qcommons.world.records import Violation
from qcommons.world.sharing import Interned
from qcommons.world.trace import ROWS_MAX, Trace

__all__ = ["KINDS", "Hand", "Hear", "Simulator", "Watcher"]

Hear = Callable[[Life, str, Any, int], None]  # whose core, to which door or ticket, what, when
Hand = Callable[[Life, Any, int], None]  # whose core, what, when

# kinds of rows of the trace; from 0x40 on what is transmitted (`network.py`)
KINDS: dict[type, int] = {Came: 1, Woken: 2, Linked: 3, Unlinked: 4, DialFailed: 5, RelayOut: 6}
OTHER, DIED = 30, 31
# Of `gc.set_threshold`. The cores hold millions of objects, and for long: with the defaults, looking through them in
# vain takes a sixth of the run.
COLLECT_AFTER = (50_000, 20, 100)
STORE_NS = 500_000  # one fsync for all that an event stores; a solid-state disk
DOOR = (Asked, Withdrawn)
VIOLATIONS_MAX = 50  # of one run: the first say it


class Watcher:
    """What looks on from outside the cores. All methods may be left as they are."""

    def born(self, life: Life, at_ns: int) -> None:
        """A life begins."""

    def died(self, life: Life, at_ns: int) -> None:
        """A life ended."""

    def told(self, life: Life, event: Any, at_ns: int) -> None:
        """A core is about to be told a wish of its own node: Publish, Ask and others."""


class Simulator:
    """make: builds the core of a host that starts, with its crypto: `make(host) -> (machine, crypto)`."""

    def __init__(self, seed: int, make: Callable[[Host], tuple[Any, Any]]) -> None:
        self.now_ns = 0
        self.events = 0
        self.hosts: list[Host] = []
        self.watchers: list[Watcher] = []
        self.violations: list[Violation] = []
        self.notes: Counter[str] = Counter()
        self.trace = Trace()
        self._rows = self.trace.rows
        self._interned = Interned()
        self.network = Network(self, seed)
        self.heard: dict[type, list[Hear]] = {}  # who is told of what cores send their own nodes, by type
        self.handed: dict[type, list[Hand]] = {}  # who is told when a core begins with a wish of its own node, by type
        self.doors: dict[str, Callable[[Life, Any], None]] = {}  # protocol -> who gets Asked and Withdrawn
        self.log: Callable[[int, int, str, Any], None] | None = None  # time, node, "event" or "effect", the record
        self._make = make
        self.heap: list[tuple[int, int, Life | None, Any]] = []
        self.seq = 0
        blobs = BlobDisk(self)
        self._carry: dict[type, Callable[[Life, Any, int], None]] = {
            Transmit: self.network.transmit,
            WakeAt: self._wake_at,
            Send: self._send,
            Note: self._note,
            Store: self._store,
            After: self._after,
            Dial: self.network.dial,
            Hangup: self.network.hangup,
            RelayIn: self.network.circuits.relay_in,
            OpenBlob: blobs.opened,
            ReadChunk: blobs.read,
            WriteChunk: blobs.written,
            CloseBlob: blobs.closed,
        }

    # what is to come

    def post(self, at_ns: int, life: Life, event: Any) -> int:
        """Deliver `event` to `life` at `at_ns`; returns its number."""
        self.seq = seq = self.seq + 1
        heappush(self.heap, (at_ns, seq, life, event))
        return seq

    def call(self, at_ns: int, action: Callable[[], None]) -> None:
        """Call `action` at `at_ns`."""
        self.seq = seq = self.seq + 1
        heappush(self.heap, (max(at_ns, self.now_ns), seq, None, action))

    def tell(self, host: Host, event: Any) -> None:
        """A wish of the node itself, now; nothing where the node is down."""
        if host.life is not None:
            for watcher in self.watchers:
                watcher.told(host.life, event, self.now_ns)
            self.post(self.now_ns, host.life, event)

    def run(self, until_ns: int) -> None:
        """Everything up to and including `until_ns`."""
        before = gc.get_threshold()
        gc.set_threshold(*COLLECT_AFTER)
        try:
            self._run(until_ns)
        finally:
            gc.set_threshold(*before)

    def _run(self, until_ns: int) -> None:
        heap = self.heap
        while heap and heap[0][0] <= until_ns:
            at_ns, _, life, event = heappop(heap)
            self.now_ns = at_ns
            if life is None:
                event()
            elif life.dead:
                continue
            elif life.busy_ns > at_ns or life.inbox:
                life.inbox.append(event)
                if not life.draining:
                    life.draining = True
                    self.call(life.busy_ns, lambda life=life: self._drain(life))  # type: ignore[misc]  # mypy 11886
            else:
                self._deliver(life, event)
        self.now_ns = max(self.now_ns, until_ns)

    # lives

    def start(self, host: Host) -> Life:
        """A life on a host that has none: the caller posts its first events."""
        if host.life is not None:
            raise ValueError(f"node {host.index} is up")
        host.lives += 1
        host.powered = True
        machine, crypto = self._make(host)
        host.life = Life(host, machine, crypto, self.now_ns)
        for watcher in self.watchers:
            watcher.born(host.life, self.now_ns)
        return host.life

    def crash(self, host: Host, *, silent: bool = False) -> None:
        """The process ends now; silent: the machine loses power, so nobody is told by its system either."""
        life = host.life
        if life is None:
            return
        life.dead, host.life = True, None
        host.powered = not silent
        self.trace.rows.append((DIED, self.now_ns, host.index, life.number))
        self.network.died(life, silent)
        life.inbox.clear()
        for watcher in self.watchers:
            watcher.died(life, self.now_ns)

    def freeze(self, life: Life, until_ns: int) -> None:
        """It takes no event until then (SIGSTOP): what comes meanwhile is handled late, in order."""
        life.busy_ns = max(life.busy_ns, until_ns)

    def thaw(self, life: Life) -> None:
        """It goes on now; what came meanwhile is handled at once."""
        life.busy_ns = min(life.busy_ns, self.now_ns)
        if life.inbox:
            self.call(self.now_ns, lambda: self._drain(life))

    def pending(self) -> Counter[Life]:
        """Timers that wait, a life."""
        return Counter(life for _, _, life, event in self.heap if life is not None and type(event) is Woken)

    def violated(self, check: str, node: int, what: str) -> None:
        """A rule did not hold."""
        if len(self.violations) < VIOLATIONS_MAX:
            self.violations.append(Violation(check, self.now_ns / 1e9, node, what))

    # one event

    def _drain(self, life: Life) -> None:
        inbox = life.inbox
        while inbox and not life.dead and life.busy_ns <= self.now_ns:
            self._deliver(life, inbox.popleft())
        life.draining = bool(inbox) and not life.dead
        if life.draining:
            self.call(life.busy_ns, lambda: self._drain(life))

    def _deliver(self, life: Life, event: Any) -> None:
        kind = type(event)
        if kind is Came:
            if event.conn not in life.ends:
                return  # it was under way when this end closed
            which = event.conn
        elif kind is Woken:
            which = 0
        elif kind is Unlinked:
            end = life.ends.pop(event.conn, None)
            if end is None:
                return  # ended already
            if not end.told:  # it was given up before the core heard that it stands
                if event.conn % 2:
                    return
                event = DialFailed(event.conn, event.reason)
            which = event.conn
        elif kind is Linked:
            end = life.ends.get(event.conn)
            if end is None or end.closing:  # none: a core that gives a number twice ended the other one
                return
            end.told = True
            which = event.conn
        elif kind is DialFailed:
            if life.dialling.pop(event.conn, self) is self:
                return
            which = event.conn
        elif kind is Work:
            life.busy_ns = self.now_ns + event.cost_ns
            event.begun()
            return
        else:
            which = 0
            for hand in self.handed.get(kind, ()):
                hand(life, event, self.now_ns)
        self.events += 1
        now_ns = self.now_ns
        rows = self._rows
        rows.append((KINDS.get(kind, OTHER), now_ns, life.host.index, which))
        if len(rows) > ROWS_MAX:
            self.trace.settle()
        if self.log is not None:
            self.log(now_ns, life.host.index, "event", event)
        try:
            effects = life.machine.handle(event, now_ns + life.offset_ns)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{kind.__name__}: {type(error).__name__}: {error} ({where.name}, line {where.lineno})"
            self.violated("core raised", life.host.index, what)
            self.crash(life.host)
            return
        if effects or life.crypto.spent_ns:
            self._carry_out(life, effects)

    def _carry_out(self, life: Life, effects: list[Any]) -> None:
        at_ns, spent_ns = self.now_ns, life.crypto.spent_ns
        if spent_ns:
            life.crypto.spent_ns = 0
            at_ns += spent_ns
        if life.cut >= 0:
            kept = effects[: life.cut]
            life.cut -= len(effects)
            effects, ends = kept if life.cut < 0 else effects, life.cut < 0
        else:
            ends = False
        stored = False
        carry = self._carry
        log, transmit = self.log, self.network.transmit
        for effect in effects:
            kind = type(effect)
            if log is not None:
                log(at_ns, life.host.index, "effect", effect)
            if kind is Transmit:
                transmit(life, effect, at_ns)
                continue
            if kind is Store and not stored:
                stored, at_ns = True, at_ns + STORE_NS
            action = carry.get(kind)
            if action is None:
                self.violated("effect", life.host.index, f"nobody here carries out {kind.__name__}")
            else:
                action(life, effect, at_ns)
        if ends:
            self.crash(life.host)
        elif at_ns > self.now_ns and at_ns > life.busy_ns:
            life.busy_ns = at_ns

    def _wake_at(self, life: Life, effect: WakeAt, at_ns: int) -> None:
        self.seq = seq = self.seq + 1
        wake_ns = effect.at_ns - life.offset_ns
        heappush(self.heap, (wake_ns if wake_ns > at_ns else at_ns, seq, life, Woken(effect.token)))

    def _after(self, life: Life, effect: After, at_ns: int) -> None:
        self.post(at_ns + effect.in_ns, life, effect.event)

    def _send(self, life: Life, effect: Send, at_ns: int) -> None:
        message = effect.message
        for hear in self.heard.get(type(message), ()):
            hear(life, effect.to, message, at_ns)
        if type(message) in DOOR:
            door = self.doors.get(effect.to.removeprefix("door/"))
            if door is not None:
                door(life, message)

    def _store(self, life: Life, effect: Store, at_ns: int) -> None:
        if effect.value is None:
            life.host.disk.pop(effect.key, None)
        else:
            life.host.disk[effect.key] = self._interned.one(effect.value)

    def _note(self, life: Life, effect: Note, at_ns: int) -> None:
        self.notes[effect.name] += 1
