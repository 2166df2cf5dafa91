"""The open jobs of a node: who waits, who runs, whose turn is next.

Flow: core -> *Desk* -> core. Waiting jobs of one principal are taken in order of acceptance; principals take turns,
so that a thousand jobs of one do not hold up the one job of another. Suspended jobs go to the front of theirs.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterator

from qcommons.jobs.machine import JobMachine
from qcommons.node.records import Entry, Form

__all__ = ["Desk", "Held"]


class Held:
    """One open job. ends_kept: how many parts of its outcomes are on disk. phases_kept: of its timeline."""

    __slots__ = ("ends_kept", "entry", "form", "machine", "phases_kept")

    def __init__(self, entry: Entry, machine: JobMachine, form: Form, phases_kept: int = 0, ends_kept: int = 0) -> None:
        self.entry = entry
        self.form = form
        self.machine = machine
        self.phases_kept = phases_kept
        self.ends_kept = ends_kept


class Desk:
    """held: every open job by id. running: those among them whose turn it is."""

    def __init__(self) -> None:
        self.held: dict[str, Held] = {}  # by job id
        self.running: dict[str, Held] = {}
        self._waiting: OrderedDict[str, deque[Held]] = OrderedDict()  # by principal, whose turn is next first
        self.waiting = 0
        self.waiting_bytes = 0
        self._bytes: Counter[str] = Counter()  # that wait, by principal

    def put(self, held: Held, *, front: bool = False) -> None:
        """A job that waits; a suspended one at the front."""
        self.held[held.entry.id] = held
        self.running.pop(held.entry.id, None)
        line = self._waiting.setdefault(held.entry.principal, deque())
        if front:
            line.appendleft(held)
        else:
            line.append(held)
        self.waiting += 1
        self.waiting_bytes += held.entry.size_bytes
        self._bytes[held.entry.principal] += held.entry.size_bytes

    def waits_of(self, principal: str) -> tuple[int, int]:
        """How many of its jobs wait, and the bytes of their programs."""
        return len(self._waiting.get(principal, ())), self._bytes[principal]

    def next(self) -> Held | None:
        """Take the job whose turn it is; it counts as running from now on."""
        if not self._waiting:
            return None
        principal, line = next(iter(self._waiting.items()))
        held = line.popleft()
        self._waiting.move_to_end(principal)
        self._left(held, line)
        self.running[held.entry.id] = held
        return held

    def drop(self, held: Held) -> None:
        """It has ended."""
        del self.held[held.entry.id]
        if self.running.pop(held.entry.id, None) is None:
            line = self._waiting[held.entry.principal]
            line.remove(held)
            self._left(held, line)

    def ahead(self, held: Held) -> int:
        """About how many jobs are started before this one: its own principal's, and as many of each other."""
        own = self._waiting[held.entry.principal].index(held)
        return own + sum(min(own + 1, len(line)) for who, line in self._waiting.items() if who != held.entry.principal)

    def waits(self, job_id: str) -> bool:
        return job_id in self.held and job_id not in self.running

    def __iter__(self) -> Iterator[Held]:
        return iter(list(self.held.values()))

    def _left(self, held: Held, line: deque[Held]) -> None:
        self.waiting -= 1
        self.waiting_bytes -= held.entry.size_bytes
        self._bytes[held.entry.principal] -= held.entry.size_bytes
        if not line:
            del self._waiting[held.entry.principal]
            del self._bytes[held.entry.principal]
