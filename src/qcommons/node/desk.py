"""The open jobs of a node: who waits, who runs, whose turn is next.

Flow: core -> *Desk* -> core. Waiting jobs of one principal are taken in order of acceptance; principals take turns,
so that a thousand jobs of one do not hold up the one job of another. Suspended jobs go to the front of theirs.
Jobs on the mesh take no turn and no place: their runs are done elsewhere.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterator

from qcommons.base.units import bytes_text
from qcommons.jobs.machine import JobMachine
from qcommons.node.answered import outcomes_bytes
from qcommons.node.messages import Refusal
from qcommons.node.owner import HOME
from qcommons.node.records import Entry, Spec

__all__ = ["Desk", "Held"]

WAITING_MAX = 100_000
WAITING_BYTES_MAX = 256 << 20  # programs of waiting jobs are in memory
GUESTS_PART, GUEST_PART = 2, 8  # of the queue: all guests together a half of it, one of them an eighth


class Held:
    """One open job. ends_kept: how many parts of its outcomes are on disk; kept_bytes: what they take, None where it
    must be looked at again. phases_kept: of its timeline. combining: its runs have ended, the answers that were asked
    are put together of them."""

    __slots__ = ("combining", "ends_kept", "entry", "kept_bytes", "machine", "phases_kept", "spec")

    def __init__(self, entry: Entry, machine: JobMachine, spec: Spec, phases_kept: int = 0, ends_kept: int = 0) -> None:
        self.entry = entry
        self.spec = spec
        self.machine = machine
        self.phases_kept = phases_kept
        self.ends_kept = ends_kept
        self.kept_bytes: int | None = None if ends_kept else 0
        self.combining = False

    def grown(self, n_bytes: int) -> int:
        """Bytes of all its outcomes, with these, which its machine has already."""
        known = self.kept_bytes
        self.kept_bytes = outcomes_bytes(self.machine.outcomes) if known is None else known + n_bytes
        return self.kept_bytes


class Desk:
    """held: every open job by id. running: those among them whose turn it is. abroad: those on the mesh."""

    def __init__(self) -> None:
        self.held: dict[str, Held] = {}  # by job id
        self.running: dict[str, Held] = {}
        self.abroad: dict[str, Held] = {}
        self._waiting: OrderedDict[str, deque[Held]] = OrderedDict()  # by principal, whose turn is next first
        self.waiting = 0
        self.waiting_bytes = 0
        self._bytes: Counter[str] = Counter()  # that wait, by principal

    def send(self, held: Held) -> None:
        """A job for the mesh."""
        self.held[held.entry.id] = self.abroad[held.entry.id] = held

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

    def full(self, principal: str, size_bytes: int) -> Refusal | None:
        """No room in the queue: in all, for guests, for this guest. So no guest keeps the owner or another one out."""
        jobs, programs_bytes = self.waiting, self.waiting_bytes
        shares = [("the queue is full", jobs, programs_bytes, 1)]
        if principal != HOME:
            own_jobs, own_bytes = self.waits_of(HOME)
            guests = (jobs - own_jobs, programs_bytes - own_bytes)
            shares.append(("the guests' half of the queue is full", *guests, GUESTS_PART))
            shares.append((f"the share of {principal!r} in the queue is full", *self.waits_of(principal), GUEST_PART))
        for what, count, held_bytes, part in shares:
            most_bytes = WAITING_BYTES_MAX // part
            if count >= WAITING_MAX // part or held_bytes + size_bytes > most_bytes:
                most = f"{WAITING_MAX // part} jobs, {bytes_text(most_bytes)}"
                waiting = f"{count} jobs with {bytes_text(held_bytes)} of programs wait"
                return Refusal("resources", f"{what}: {waiting}; allowed {most}; try later", "queue", most)
        return None

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
        if self.abroad.pop(held.entry.id, None) is None and self.running.pop(held.entry.id, None) is None:
            line = self._waiting[held.entry.principal]
            line.remove(held)
            self._left(held, line)

    def ahead(self, held: Held) -> int:
        """About how many jobs are started before this one: its own principal's, and as many of each other."""
        own = self._waiting[held.entry.principal].index(held)
        return own + sum(min(own + 1, len(line)) for who, line in self._waiting.items() if who != held.entry.principal)

    def waits(self, job_id: str) -> bool:
        return job_id in self.held and job_id not in self.running and job_id not in self.abroad

    def __iter__(self) -> Iterator[Held]:
        return iter(list(self.held.values()))

    def _left(self, held: Held, line: deque[Held]) -> None:
        self.waiting -= 1
        self.waiting_bytes -= held.entry.size_bytes
        self._bytes[held.entry.principal] -= held.entry.size_bytes
        if not line:
            del self._waiting[held.entry.principal]
            del self._bytes[held.entry.principal]
