"""Reading server-sent events, with the cursor to go on from.

Flow: lines of the answer -> *EventReader* -> EventView. Source: WHATWG HTML, "Server-sent events"; without I/O, for
the sync and the async node alike.
"""

from __future__ import annotations

import msgspec

from qcommons.base.errors import Corrupt, Unavailable
from qcommons.base.typed import described
from qcommons.clients.http.calls import ERRORS
from qcommons.node.api.records import EventView, Failure

__all__ = ["EventReader"]


class EventReader:
    """since: the seq of the next event wanted, -1 until the node has said where "now" is."""

    def __init__(self, since: int = -1) -> None:
        self.since = since
        self._last = -1
        self._kind = ""
        self._data: list[str] = []

    def restart(self) -> None:
        """On a new connection: what came half is sent again."""
        self._last, self._kind, self._data = -1, "", []

    def take(self, line: str) -> EventView | None:
        """One line without its end; an event where the line completes one. Raises the error the node ends with."""
        if line:
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "id":
                self._last = _number(value)
            elif field == "event":
                self._kind = value
            elif field == "data":
                self._data.append(value)
            return None
        kind, data, last = self._kind, "\n".join(self._data), self._last
        self.restart()
        self.since = max(self.since, last + 1)
        if not data:
            return None
        try:
            if kind == "failure":
                info = msgspec.json.decode(data, type=described(Failure)).error
                raise ERRORS.get(info.who, Corrupt)(info.what, where=info.where, limit=info.limit)
            event = msgspec.json.decode(data, type=described(EventView))
        except msgspec.DecodeError as error:
            raise Unavailable(f"what answers is no node of this version: {error}", where="/v1/events") from None
        return event


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise Unavailable(f"what answers is no node: event id {text[:40]!r}", where="/v1/events") from None
