"""Effects: what a core asks of the world, as frozen records.

Flow: shell (asyncio) or world (virtual clock) -> event -> *Machine.handle* -> effects -> shell or
world carries them out. A machine has no clock, socket, thread, logger or generator of its own, so
the very same code runs under both, and a test reads as a conversation (`tests/playbook.py`).

Order matters: effects are carried out in the order of the list, and a `Store` is on disk (fsynced)
before any `Send` that follows it, so that nobody hears of what a crash could undo (the rule of the
Raft paper, section 5.1: persistent state is updated before responding to RPCs).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Protocol, TypeVar

import msgspec

__all__ = ["Effect", "Machine", "Note", "Run", "Send", "Stop", "Store", "WakeAt", "Woken", "note"]

Fact = str | int | float | bool | None


class Send(msgspec.Struct, frozen=True):
    """Deliver `message` (a record of the sender's protocol) to `to`, a node id or a local door."""

    to: str
    message: Any


class WakeAt(msgspec.Struct, frozen=True):
    """Deliver `Woken(token)` at `at_ns` on the event clock, or at once if that is past.

    There is no cancelling: a machine that no longer cares ignores the event.
    """

    at_ns: int
    token: Hashable = None


class Store(msgspec.Struct, frozen=True):
    """Make `value` durable under `key`; None deletes it."""

    key: str
    value: bytes | None


class Run(msgspec.Struct, frozen=True):
    """Have a worker compute `piece`; its outcome comes back as an event that names `piece_id`."""

    piece_id: str
    piece: Any


class Stop(msgspec.Struct, frozen=True):
    """End the run of `piece_id` now, if it is still waiting or running. Its outcome may still come."""

    piece_id: str


class Note(msgspec.Struct, frozen=True):
    """Something worth knowing: the shell makes log, metric and trace of it; stable `name`s only."""

    name: str
    facts: Mapping[str, Fact] = {}


Effect = Send | WakeAt | Store | Run | Stop | Note


class Woken(msgspec.Struct, frozen=True):
    """The event that answers a `WakeAt`."""

    token: Hashable = None


def note(name: str, **facts: Fact) -> Note:
    """`Note` with its facts as keywords: `note("piece_retried", piece=piece_id, attempt=2)`."""
    return Note(name, facts)


EventT = TypeVar("EventT", contravariant=True)


class Machine(Protocol[EventT]):
    """One state machine: all it learns is `event` and the time, all it does is in the list."""

    def handle(self, event: EventT, now_ns: int) -> list[Effect]:
        """Take one event at `now_ns` (integer nanoseconds, never decreasing) and answer with effects.

        Every event is answered in every state; one that means nothing there yields a `Note`.
        """
        ...
