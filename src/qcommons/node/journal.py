"""What is kept of a job while it goes on: entry, phases, outcomes, result, and an event for each phase.

Flow: core -> *Journal* -> Store effects. It numbers the events of the node; nothing here decides.
"""

from __future__ import annotations

import msgspec

from qcommons.base.effects import Effect, Store
from qcommons.jobs.outcomes import Outcome
from qcommons.jobs.records import Phase
from qcommons.node.keys import (
    derived_key,
    ends_key,
    event_key,
    id_key,
    job_key,
    open_key,
    phase_key,
    receipt_key,
    request_key,
    result_key,
    spec_key,
    unsealed_key,
)
from qcommons.node.own_lists import OwnLists
from qcommons.node.records import Answered, Entry, NodeEvent, Spec

__all__ = ["EVENTS_KEPT", "Journal"]

EVENTS_KEPT = 100_000
Fact = str | int | float | bool | None
_pack = msgspec.msgpack.Encoder().encode


class Journal:
    """next_seq: of the next event. first_seq: of the oldest that is kept. own: what each guest has."""

    def __init__(self, next_seq: int = 0, first_seq: int = 0, own: OwnLists | None = None) -> None:
        self.next_seq = next_seq
        self.first_seq = first_seq
        self._own = OwnLists() if own is None else own

    def event(self, kind: str, now_ns: int, **facts: Fact) -> list[Effect]:
        """One event, and the oldest forgotten if there are too many."""
        seq, self.next_seq = self.next_seq, self.next_seq + 1
        effects: list[Effect] = [Store(event_key(seq), _pack(NodeEvent(seq=seq, at_ns=now_ns, kind=kind, facts=facts)))]
        if self.next_seq - self.first_seq > EVENTS_KEPT:
            effects.append(Store(event_key(self.first_seq), None))
            self.first_seq += 1
        return effects

    def accepted(self, entry: Entry, spec: bytes) -> list[Effect]:
        """A new job, whole, so that it can be found by its id and by its request."""
        effects: list[Effect] = [
            Store(spec_key(entry.number), spec),
            Store(id_key(entry.id), _pack(entry.number)),
            Store(open_key(entry.number), b""),
        ]
        effects += self._own.job(entry)
        if entry.request is not None:
            effects.append(Store(request_key(entry.principal, entry.request), _pack(entry.number)))
        return effects

    def phases(self, entry: Entry, fresh: list[tuple[int, Phase]]) -> list[Effect]:
        """The entry as it is now, and its new phases with their places in the timeline."""
        effects: list[Effect] = []
        for place, phase in fresh:
            effects.append(Store(phase_key(entry.number, place), _pack(phase)))
            facts: dict[str, Fact] = {
                "job": entry.id, "state": phase.state, "cause": phase.cause, "principal": entry.principal,
            }  # fmt: skip
            effects += self.event("job", phase.since_ns, **facts)
            effects += self._own.event(entry, "job", phase.since_ns, facts)
        return [*effects, Store(job_key(entry.number), _pack(entry))]

    def ends(self, entry: Entry, place: int, ends: tuple[tuple[int, Outcome | None], ...]) -> list[Effect]:
        """Outcomes as they come; None takes one back."""
        return [Store(ends_key(entry.number, place), _pack(ends))]

    def derived(self, entry: Entry, outcomes: tuple[Outcome, ...]) -> list[Effect]:
        """The outcomes of a plan's runs, all there."""
        return [Store(derived_key(entry.number), _pack(outcomes))]

    def result(self, entry: Entry, answered: Answered, ends_kept: int) -> list[Effect]:
        """The one result; the partial ones are no longer needed."""
        forgotten: list[Effect] = [Store(ends_key(entry.number, place), None) for place in range(ends_kept)]
        return [
            Store(result_key(entry.number), _pack(answered)),
            Store(unsealed_key(entry.number), b""),
            Store(open_key(entry.number), None),
            *forgotten,
        ]

    def sealed(self, number: int, receipts: bytes) -> list[Effect]:
        return [Store(receipt_key(number), receipts), Store(unsealed_key(number), None)]


def spec_bytes(spec: Spec) -> bytes:
    return _pack(spec)
