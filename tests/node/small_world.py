"""One node's core with a virtual clock, a disk in memory and workers that take modelled time.

The stores of one answer are one transaction, as in the shell; a crash may come before it, after it and before each
effect that follows. What was only in memory is lost then, the disk is not.
"""

from __future__ import annotations

import heapq
import itertools
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from tests.jobs.making import done

from qcommons.base.effects import Effect, Note, Run, Send, Stop, Store, WakeAt, Woken
from qcommons.jobs.machine import ItemsEnded, PieceEnded
from qcommons.jobs.outcomes import Outcome
from qcommons.jobs.plan.combine import combined
from qcommons.jobs.records import Piece
from qcommons.jobs.work_events import MESH, ToMesh
from qcommons.node.core import NodeCore
from qcommons.node.dealing import SELF, Dealing
from qcommons.node.messages import Begin, Combine, Combined, Event, Seal, Sealed
from qcommons.node.owner import OwnerLimits, Sense
from qcommons.node.recovery import kept

S = 1_000_000_000
ANY_TIME = Sense(minute_of_week=0)


class Crash(Exception):
    """The node is gone."""


class Disk:
    """An ordered table; `writes` counts how often each key was given a value."""

    def __init__(self) -> None:
        self.table: dict[str, bytes] = {}
        self.writes: Counter[str] = Counter()

    def get(self, key: str) -> bytes | None:
        return self.table.get(key)

    def scan(
        self, first: str, past: str, *, limit: int | None = None, reverse: bool = False
    ) -> Sequence[tuple[str, bytes]]:
        keys = sorted(self.table)
        found = keys[bisect_left(keys, first) : bisect_left(keys, past)]
        found = found[::-1] if reverse else found
        return [(key, self.table[key]) for key in found[:limit]]

    def apply(self, changes: list[Store]) -> None:
        for change in changes:
            if change.value is None:
                self.table.pop(change.key, None)
            else:
                self.table[change.key] = change.value
                self.writes[change.key] += 1


class SmallWorld:
    """crash_at: number of the step (a transaction, or an effect after it) before which the node dies."""

    def __init__(
        self,
        disk: Disk,
        *,
        now_ns: int = 0,
        workers: int = 2,
        limits: OwnerLimits | None = None,
        sense: Sense = ANY_TIME,
        crash_at: int | None = None,
        take_ns: Callable[[Piece], int] = lambda piece: S,
        outcome: Callable[[int], Outcome] = lambda index: done({"00": 1000}),
        dealing: Dealing | None = None,
    ) -> None:
        self.disk = disk
        self.now_ns = now_ns
        self.crash_at = crash_at
        self.steps = 0
        self.sent: list[tuple[int, Send]] = []
        self.notes: list[Note] = []
        self.ran: list[tuple[int, str]] = []
        self.busy: set[str] = set()
        self._take_ns, self._outcome = take_ns, outcome
        self._due: list[tuple[int, int, Any]] = []
        self._order = itertools.count()
        self.left: list[ToMesh] = []  # what left for other nodes
        self.core = NodeCore(workers, limits or OwnerLimits(), sense, dealing)
        begin: Begin = kept(disk, clean=False)
        self.give(begin)

    def at(self, when_ns: int, event: Event) -> None:
        heapq.heappush(self._due, (when_ns, next(self._order), event))

    def run(self, until_ns: int = 10_000 * S) -> SmallWorld:
        """Deliver what is due, in order, until nothing is left or the clock says so."""
        while self._due and self._due[0][0] <= until_ns:
            when_ns, _, event = heapq.heappop(self._due)
            self.now_ns = max(self.now_ns, when_ns)
            if isinstance(event, ItemsEnded | PieceEnded) and event.piece_id not in self.busy:
                continue
            if isinstance(event, PieceEnded):
                self.busy.discard(event.piece_id)
            self.give(event)
        self.now_ns = max(self.now_ns, until_ns if self._due else self.now_ns)
        return self

    def give(self, event: Event) -> list[Effect]:
        effects = self.core.handle(event, self.now_ns)
        self._step()
        self.disk.apply([effect for effect in effects if isinstance(effect, Store)])
        for effect in effects:
            if not isinstance(effect, Store):
                self._step()
                self._carry_out(effect)
        return effects

    def answers(self, ticket: str) -> list[Any]:
        return [send.message for _, send in self.sent if send.to == ticket]

    def _step(self) -> None:
        if self.steps == self.crash_at:
            raise Crash
        self.steps += 1

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send(to, message) if to == SELF:
                self.at(self.now_ns, message)
            case Send(to, message) if to == MESH:
                self.left.append(message)
            case Send():
                self.sent.append((self.now_ns, effect))
            case WakeAt(at_ns, token):
                self.at(max(at_ns, self.now_ns), Woken(token))
            case Run(_, Seal(numbers)):
                self.at(self.now_ns + S // 100, Sealed(numbers, dict.fromkeys(numbers, b"signed")))
            case Run(_, Combine(job_id, plan, outcomes)):
                found = combined(plan, dict(enumerate(outcomes)), partial=True)
                self.at(self.now_ns + S // 100, Combined(job_id, tuple(found[k] for k in range(len(plan.parts)))))
            case Run(piece_id, piece):
                self.busy.add(piece_id)
                self.ran.append((self.now_ns, piece_id))
                end_ns = self.now_ns + self._take_ns(piece)
                step_ns = max(1, (end_ns - self.now_ns) // len(piece.items))
                for place, item in enumerate(piece.items):
                    when_ns = self.now_ns + step_ns * (place + 1)
                    self.at(when_ns, ItemsEnded(piece_id, ((item.index, self._outcome(item.index)),)))
                self.at(end_ns + 1 + step_ns, PieceEnded(piece_id))
            case Stop(piece_id):
                self.busy.discard(piece_id)
            case Note():
                self.notes.append(effect)
