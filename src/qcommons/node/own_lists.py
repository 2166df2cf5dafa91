"""What each guest has here, under numbers of its own: its jobs and its events, counted from 0 for each of them.

Flow: journal -> *OwnLists* -> Store effects; jobs_door, listeners -> keys -> disk. So a guest finds what is its own
without looking at what is others', and no number it sees tells how much that is.

    own/WHO/job/PLACE     the NUMBER of the job
    own/WHO/event/PLACE   NodeEvent, with PLACE as its seq; the newest `OWN_EVENTS_KEPT`

The owner sees everything under the node's own numbers, and has no such list; neither has a peer that hired this node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec

from qcommons.base.effects import Effect, Store
from qcommons.node.keys import number_of, own_events_of, own_jobs_of, own_key, past
from qcommons.node.owner import HOME
from qcommons.node.records import Entry, NodeEvent

if TYPE_CHECKING:
    from qcommons.node.recovery import Reading

__all__ = ["OWN_EVENTS_KEPT", "OwnLists", "next_place", "owned"]

OWN_EVENTS_KEPT = 10_000  # a tenth of all that are kept (`journal.EVENTS_KEPT`)
OWN = "own/"
Facts = dict[str, str | int | float | bool | None]
_pack = msgspec.msgpack.Encoder().encode


class OwnLists:
    """nexts: guest -> places of its next job and of its next event."""

    def __init__(self, nexts: Mapping[str, tuple[int, int]] | None = None) -> None:
        self._jobs = {who: jobs for who, (jobs, _) in (nexts or {}).items()}
        self._events = {who: events for who, (_, events) in (nexts or {}).items()}

    def job(self, entry: Entry) -> list[Effect]:
        """An accepted job."""
        who = entry.principal
        if not _is_guest(entry):
            return []
        place = self._jobs.get(who, 0)
        self._jobs[who] = place + 1
        return [Store(own_key(own_jobs_of(who), place), _pack(entry.number))]

    def event(self, entry: Entry, kind: str, at_ns: int, facts: Facts) -> list[Effect]:
        """An event of that job, and the oldest one forgotten if there are too many."""
        who = entry.principal
        if not _is_guest(entry):
            return []
        place = self._events.get(who, 0)
        self._events[who] = place + 1
        own = NodeEvent(seq=place, at_ns=at_ns, kind=kind, facts=facts)
        effects: list[Effect] = [Store(own_key(own_events_of(who), place), _pack(own))]
        if place >= OWN_EVENTS_KEPT:
            effects.append(Store(own_key(own_events_of(who), place - OWN_EVENTS_KEPT), None))
        return effects


def _is_guest(entry: Entry) -> bool:
    return entry.principal != HOME and not entry.lease


def next_place(store: Reading, folder: str) -> int:
    """The place after the newest of a list, a guest's or all; 0 where it is empty."""
    newest = store.scan(folder, past(folder), limit=1, reverse=True)
    return number_of(newest[0][0]) + 1 if newest else 0


def owned(store: Reading) -> dict[str, tuple[int, int]]:
    """`OwnLists.nexts` as the disk says: one look a guest, however much it has."""
    return {who: (next_place(store, own_jobs_of(who)), next_place(store, own_events_of(who))) for who in _guests(store)}


def _guests(store: Reading) -> Iterator[str]:
    first = OWN
    while rows := store.scan(first, past(OWN), limit=1):
        who = rows[0][0].split("/")[1]
        yield who
        first = past(f"{OWN}{who}/")
