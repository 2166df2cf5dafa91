"""Those who follow the node's events: each has a cursor, none has a queue.

Flow: shell (events that are on disk) -> *Listeners* -> door -> SSE. The newest events are in memory; who is behind
reads from the disk and catches up. Nothing is lost, and a slow listener costs nothing. A guest follows its own list
(`own_lists.py`), under its own numbers: what others do neither wakes nor shows it anything.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from qcommons.base.errors import UsageError
from qcommons.node.api.records import EventView
from qcommons.node.keys import event_key, number_of, own_events_of, own_key, past
from qcommons.node.own_lists import next_place
from qcommons.node.owner import HOME
from qcommons.node.records import NodeEvent
from qcommons.node.recovery import Reading, decoded

__all__ = ["Listeners"]

RECENT = 4096
PAGE = 500
HEARTBEAT_S = 10.0


class Listeners:
    """owner: whom every event is shown. next_seq: of the first one that `tell` will bring."""

    def __init__(self, store: Reading, next_seq: int, owner: str = HOME) -> None:
        self._store = store
        self._owner = owner
        self._recent: deque[NodeEvent] = deque(maxlen=RECENT)
        self._news: dict[str, asyncio.Event] = {}  # by who waits; made by the first, gone with the news
        self._next_seq = next_seq

    def tell(self, event: NodeEvent) -> None:
        """An event is on disk; they come in order."""
        self._recent.append(event)
        self._next_seq = event.seq + 1
        for who in (self._owner, str(event.facts.get("principal"))):
            news = self._news.pop(who, None)
            if news is not None:
                news.set()

    def next_seq(self, who: str) -> int:
        """Of the next event that `who` is shown."""
        return self._next_seq if who == self._owner else next_place(self._store, own_events_of(who))

    async def follow(self, since: int, who: str) -> AsyncIterator[EventView | None]:
        """See `Door.events`."""
        oldest = self._oldest(who)
        if since < oldest:
            what = f"events before {oldest} are no longer kept; continue from there"
            raise UsageError(what, where="since", limit=f"{oldest} or more")
        while True:
            news = self._news.setdefault(who, asyncio.Event())
            page = self._page(since) if who == self._owner else self._own_page(since, who)
            for event in page:
                yield EventView(seq=event.seq, at_ns=event.at_ns, kind=event.kind, facts=event.facts)
            if page:
                since = page[-1].seq + 1
                await asyncio.sleep(0)  # others have their turn too
                continue
            try:
                await asyncio.wait_for(news.wait(), HEARTBEAT_S)
            except TimeoutError:
                yield None

    def _oldest(self, who: str) -> int:
        folder = "event/" if who == self._owner else own_events_of(who)
        first = self._store.scan(folder, past(folder), limit=1)
        return number_of(first[0][0]) if first else self.next_seq(who)

    def _own_page(self, since: int, who: str) -> list[NodeEvent]:
        folder = own_events_of(who)
        rows = self._store.scan(own_key(folder, since), past(folder), limit=PAGE)
        return [decoded(key, value, NodeEvent) for key, value in rows]

    def _page(self, since: int) -> list[NodeEvent]:
        if since >= self._next_seq:
            return []
        if self._recent and since >= self._recent[0].seq:
            start = since - self._recent[0].seq
            return [self._recent[place] for place in range(start, min(start + PAGE, len(self._recent)))]
        rows = self._store.scan(event_key(since), past("event/"), limit=PAGE)
        return [decoded(key, value, NodeEvent) for key, value in rows]
