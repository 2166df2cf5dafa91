"""From sources to cards: programs are read in a worker, never in the process that was given them.

Flow: edge (sources, programs, cards) -> *Reader* -> pool -> worker -> Card, or the Outcome that ended it. It waits
in the caller's thread until the values are there or the deadline is.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import NamedTuple

from qcommons.base.clock import left_s
from qcommons.base.errors import Corrupt, UsageError
from qcommons.circuits.program import Caps, Program
from qcommons.jobs.outcomes import WORKER_DEATHS, Cancelled, Killed, Outcome, PastDeadline, outcome_of
from qcommons.jobs.records import Card
from qcommons.node import edge
from qcommons.node.card import card_of
from qcommons.node.frames import Calibrate, Calibration, Parse, PlanJob, Planned, Source, Value
from qcommons.node.workers import Lane, WorkerPool

__all__ = ["GUESTS", "OWN", "Reader", "Reading"]

PARSE_BYTES = 1 << 20  # sources that share a call


class Reading(NamedTuple):
    """What reading may take. memory_bytes: beyond the warm worker. cpu_s: backstop for one source. all_s: of a whole
    submission once it is begun; None: its deadline alone. lane: of the pool."""

    memory_bytes: int
    cpu_s: float
    all_s: float | None
    lane: Lane


OWN = Reading(2 << 30, 60.0, None, "read")  # the largest program allowed takes about 1 GiB
# The largest body of a guest, 4 MiB of gates, is read in 2 s and 0.1 GiB; 150 bytes with loops can ask for any time
GUESTS = Reading(1 << 30, 5.0, 10.0, "apart")


class Reader:
    """caps: of what is read. reading: what that may take."""

    def __init__(self, pool: WorkerPool, caps: Caps, reading: Reading = OWN) -> None:
        self._pool = pool
        self._caps = caps
        self._reading = reading

    def cards(self, circuits: list[edge.Circuit], until_ns: int, deadline_s: float) -> list[Card | Outcome]:
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
        call = Parse(tuple(sources), self._caps.operations_max, self._reading.memory_bytes, self._reading.cpu_s)
        parsed: list[Card | Outcome] = []
        for source, value in zip(sources, self.gather(call, len(sources), until_ns, deadline_s), strict=True):
            if isinstance(value, WORKER_DEATHS) and len(sources) > 1:
                parsed += self._parsed([source], until_ns, deadline_s)  # alone: is it the guilty one?
            elif isinstance(value, Killed) and not value.oom_kills and not again:
                parsed += self._parsed([source], until_ns, deadline_s, again=True)  # from outside: once more
            elif isinstance(value, Calibration | Planned):
                raise Corrupt("a worker answered a source with something else")
            else:
                parsed.append(value)
        return parsed

    def gather(self, call: Parse | Calibrate | PlanJob, count: int, until_ns: int, deadline_s: float) -> list[Value]:
        """Wait for all values of a call; what is missing when it is over gets the outcome that ended it."""
        inbox: queue.SimpleQueue[tuple[tuple[int, Value], ...] | Outcome | None] = queue.SimpleQueue()
        memory_bytes, cpu_s = (call.memory_bytes, call.seconds) if isinstance(call, Parse) else (0, 0.0)
        handle = self._pool.submit(
            call, inbox.put, inbox.put, memory_bytes=memory_bytes, cpu_s=cpu_s, lane=self._reading.lane
        )
        values: dict[int, Value] = {}
        try:
            while True:
                wait_s = left_s(until_ns, time.monotonic_ns())
                try:
                    message = inbox.get(timeout=min(wait_s, threading.TIMEOUT_MAX))
                except queue.Empty:
                    message = PastDeadline(deadline_s)
                    self._pool.stop(handle, message)
                if not isinstance(message, tuple):
                    break
                values.update(message)
        except BaseException:
            self._pool.stop(handle, Cancelled("interrupted"))
            raise
        if message is None and len(values) < count:
            raise Corrupt(f"a worker answered {len(values)} of {count} parts of a call")
        return [values[place] if message is None else values.get(place, message) for place in range(count)]


def _card_or_outcome(program: Program, caps: Caps) -> Card | Outcome:
    try:
        return card_of(program, caps=caps)
    except UsageError as error:
        return outcome_of(error, 0)
