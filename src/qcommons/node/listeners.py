"""Those who follow the node's events: each has a cursor, none has a queue.

Flow: shell (events that are on disk) -> *Listeners* -> door -> SSE. The newest events are in memory; who is behind
reads from the disk and catches up. Nothing is lost, and a slow listener costs nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from qcommons.base.errors import UsageError
from qcommons.node.api.records import EventView
from qcommons.node.keys import event_key, past
from qcommons.node.records import NodeEvent
from qcommons.node.recovery import Reading, decoded

__all__ = ["Listeners"]

RECENT = 4096
PAGE = 500
HEARTBEAT_S = 10.0


class Listeners:
    """next_seq: of the first event that `tell` will bring."""

    def __init__(self, store: Reading, next_seq: int) -> None:
        self._store = store
        self._recent: deque[NodeEvent] = deque(maxlen=RECENT)
        self._news = asyncio.Event()
        self.next_seq = next_seq

    def tell(self, event: NodeEvent) -> None:
        """An event is on disk; they come in order."""
        self._recent.append(event)
        self.next_seq = event.seq + 1
        self._news.set()
        self._news = asyncio.Event()

    async def follow(self, since: int, who: str, owner: str) -> AsyncIterator[EventView | None]:
        """See `Door.events`."""
        oldest = self._oldest()
        if since < oldest:
            what = f"events before {oldest} are no longer kept; continue from there"
            raise UsageError(what, where="since", limit=f"{oldest} or more")
        while True:
            news = self._news
            page = self._page(since)
            shown = [event for event in page if who == owner or event.facts.get("principal") == who]
            for event in shown:
                yield EventView(seq=event.seq, at_ns=event.at_ns, kind=event.kind, facts=event.facts)
            if page:
                since = page[-1].seq + 1
                if not shown:
                    yield None  # a listener that is passed over for long hears that it is not forgotten
                await asyncio.sleep(0)  # others have their turn too
                continue
            try:
                await asyncio.wait_for(news.wait(), HEARTBEAT_S)
            except TimeoutError:
                yield None

    def _oldest(self) -> int:
        first = self._store.scan("event/", past("event/"), limit=1)
        return int(first[0][0].split("/")[1]) if first else self.next_seq

    def _page(self, since: int) -> list[NodeEvent]:
        if since >= self.next_seq:
            return []
        if self._recent and since >= self._recent[0].seq:
            start = since - self._recent[0].seq
            return [self._recent[place] for place in range(start, min(start + PAGE, len(self._recent)))]
        rows = self._store.scan(event_key(since), past("event/"), limit=PAGE)
        return [decoded(key, value, NodeEvent) for key, value in rows]
