"""Circuits as their ends see them: a pipe through a relay, bytes in and bytes out.

Flow: driver's session -> `RelayOut` -> *CircuitEnds* -> RelayData => relay => RelayData -> *CircuitEnds* -> `RelayIn`
-> driver's session at the other end. The relay reads nothing of it: the session inside is as any other.

    opening -> open -> closing -> gone       opening: bytes wait; closing: what waits goes first, for 5 s at most

Credit: an end may have 256 KiB under way; the other end says how much it took in all, each 64 KiB. So a relay never
holds more than that of a circuit, and a slow end slows the fast one and nobody else. docs/protocol/relay.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

import msgspec

from qcommons.base.effects import note
from qcommons.base.units import NS_PER_S
from qcommons.mesh.events import RelayIn, RelayOut
from qcommons.mesh.messages import Message, RelayClose, RelayCredit, RelayData, RelayOpen, RelayOpened
from qcommons.mesh.parts import Blame, Effects, Peers, ToPeer
from qcommons.mesh.records import PeerId
from qcommons.mesh.timers import Deadlines

__all__ = ["OPENING_NS", "PIECE_BYTES", "WINDOW_BYTES", "CircuitEnds", "new_id"]

KIB = 1 << 10
PIECE_BYTES = 64 * KIB  # of a RelayData
WINDOW_BYTES = 256 * KIB  # under way at once: 5 MB/s over 50 ms
CREDIT_BYTES = 64 * KIB
FULL_BYTES, DRAINED_BYTES = 256 * KIB, 64 * KIB  # when the driver is told to hold back, and to go on
QUEUE_BYTES_MAX = 4 * KIB * KIB  # two windows of a blob and all else
ENDS_MAX = 64
OPENING_NS = 10 * NS_PER_S
CLOSING_NS = 5 * NS_PER_S
WHY_MAX = 200
CHEAT_POINTS = 5


class _End(msgspec.Struct):
    """number: the circuit's, for the driver. id: the frames', between here and the relay. Bytes in all, here: sent, of
    these credited; received, of these told (given back)."""

    number: int
    relay: PeerId
    id: int
    opened: bool
    queue: deque[bytes]
    queued_bytes: int = 0
    sent_bytes: int = 0
    credited_bytes: int = 0
    received_bytes: int = 0
    told_bytes: int = 0
    told_full: bool = False
    closing: str | None = None


def new_id(me: PeerId, peer: PeerId, last: int, now_ns: int) -> int:
    """An id for a circuit on the link of two peers: each draws from its own half, and rises with the clock."""
    return max(last // 2 + 1, now_ns) * 2 + (me > peer)


class CircuitEnds:
    """State: circuits that end here, by number, and by relay and frame id."""

    def __init__(self, peers: Peers, token: Hashable) -> None:
        self._peers = peers
        self._last_id = 0
        self._last_number = 0
        self._ends: dict[int, _End] = {}
        self._by_frame: dict[tuple[PeerId, int], _End] = {}
        self.due: Deadlines[int] = Deadlines(token, self._waits)

    def _waits(self, number: int) -> bool:
        end = self._ends.get(number)
        return end is not None and (not end.opened or end.closing is not None)

    def has(self, peer: PeerId, id: int) -> bool:
        return (peer, id) in self._by_frame

    def open(self, relay: PeerId, target: PeerId, now_ns: int) -> tuple[int, Effects]:
        self._last_number += 1
        number = self._last_number
        if len(self._ends) >= ENDS_MAX:
            why = f"{len(self._ends)} circuits end here; allowed {ENDS_MAX}"
            return number, [RelayIn(number, b"", closed=why)]
        id = self._last_id = new_id(self._peers.me, relay, self._last_id, now_ns)
        self._add(_End(number, relay, id, False, deque()))
        until_ns = now_ns + OPENING_NS
        out: Effects = [ToPeer(relay, RelayOpen(target), id, True, until_ns)]
        return number, out + self.due.add(until_ns, number)

    def opened_by(self, relay: PeerId, id: int, opener: PeerId) -> Effects:
        """The relay says that `opener` wants to talk; the session inside will prove who it is."""
        if len(self._ends) >= ENDS_MAX:
            return [ToPeer(relay, RelayClose(f"{ENDS_MAX} circuits end here already"), id)]
        self._last_number += 1
        self._add(_End(self._last_number, relay, id, True, deque()))
        return [ToPeer(relay, RelayOpened(), id), RelayIn(self._last_number, b"", opened_by=opener, via=relay)]

    def _add(self, end: _End) -> None:
        self._ends[end.number] = end
        self._by_frame[end.relay, end.id] = end

    def _gone(self, end: _End) -> None:
        del self._ends[end.number]
        del self._by_frame[end.relay, end.id]

    # from the driver

    def out(self, event: RelayOut, now_ns: int) -> Effects:
        end = self._ends.get(event.circuit)
        if end is None or end.closing is not None:
            return [] if event.closed else [note("mesh_circuit_unknown", circuit=event.circuit)]
        if event.data:
            if end.queued_bytes + len(event.data) > QUEUE_BYTES_MAX:
                self._gone(end)
                why = f"more than {QUEUE_BYTES_MAX} bytes wait for an end that does not take them"
                return [ToPeer(end.relay, RelayClose(why), end.id), RelayIn(end.number, b"", closed=why)]
            if len(event.data) <= PIECE_BYTES:
                end.queue.append(event.data)
            else:
                starts = range(0, len(event.data), PIECE_BYTES)
                end.queue.extend(event.data[start : start + PIECE_BYTES] for start in starts)
            end.queued_bytes += len(event.data)
        end.closing = event.closed
        out = self._send(end)
        if end.closing is not None and end.number in self._ends:
            out += self.due.add(now_ns + CLOSING_NS, end.number)
        return out

    def _send(self, end: _End) -> Effects:
        out: Effects = []
        while end.opened and end.queue and end.sent_bytes - end.credited_bytes + len(end.queue[0]) <= WINDOW_BYTES:
            piece = end.queue.popleft()
            end.queued_bytes -= len(piece)
            end.sent_bytes += len(piece)
            out.append(ToPeer(end.relay, RelayData(piece), end.id))
        if end.closing is not None:
            return out if end.queue else out + self._hung_up(end)
        full = end.queued_bytes > (DRAINED_BYTES if end.told_full else FULL_BYTES)
        if full != end.told_full:
            end.told_full = full
            out.append(RelayIn(end.number, b"", backlog_bytes=end.queued_bytes))
        return out

    def _hung_up(self, end: _End) -> Effects:
        self._gone(end)
        return [ToPeer(end.relay, RelayClose((end.closing or "")[:WHY_MAX]), end.id)]

    # from the relay

    def came(self, peer: PeerId, id: int, message: Message) -> Effects:
        end = self._by_frame[peer, id]
        match message:
            case RelayData(payload):
                end.received_bytes += len(payload)
                out: Effects = [] if end.closing is not None else [RelayIn(end.number, payload)]
                if end.received_bytes - end.told_bytes >= CREDIT_BYTES:
                    end.told_bytes = end.received_bytes
                    out.append(ToPeer(peer, RelayCredit(end.received_bytes), id))
                return out
            case RelayCredit(taken):
                if taken <= 0:
                    return [Blame(peer, CHEAT_POINTS, f"credit for {taken} bytes in a circuit")]
                # what a line repeats is taken twice at the other end: no more than was sent counts
                end.credited_bytes = max(end.credited_bytes, min(taken, end.sent_bytes))
                return self._send(end)
            case RelayOpened():
                end.opened = True
                return self._send(end)
            case RelayClose(why):
                return self._lost(end, f"circuit closed: {why[:WHY_MAX]}")
        return []

    def _lost(self, end: _End, why: str) -> Effects:
        self._gone(end)
        return [] if end.closing is not None else [RelayIn(end.number, b"", closed=why)]

    def unsent(self, relay: PeerId, id: int, reason: str) -> Effects:
        end = self._by_frame.get((relay, id))
        return [] if end is None else self._lost(end, f"the relay cannot be reached: {reason}")

    def down(self, relay: PeerId) -> Effects:
        out: Effects = []
        for end in [end for end in self._ends.values() if end.relay == relay and end.opened]:
            out += self._lost(end, "the link to the relay was lost")
        return out

    def expire(self, now_ns: int) -> Effects:
        """What does not open, or does not get rid of its last bytes, in time."""
        out: Effects = []
        for number in self.due.due(now_ns):
            end = self._ends[number]
            if end.closing is not None:
                out += self._hung_up(end)
                continue
            out.append(ToPeer(end.relay, RelayClose("it did not open in time"), end.id))
            out += self._lost(end, "the circuit did not open in time")
        return out + self.due.again()
