"""Exchange: requests and their answers, with deadlines that travel, cancellation and typed failures.

Flow: `Ask` or another part -> *Exchange* -> Request => peer: *Exchange* -> handler or door -> Response | Failure =>.

A request ends exactly once, by whichever comes first:

    Response, Failure   from the peer that was asked
    deadline            `Failed("unavailable")`; the peer is told not to go on
    the link is lost    `Failed("unavailable")`, once it had been sent; whether it was carried out is not known
    unsent              no link could be made in time, or the link ended before it left: nobody has carried it out
    Unask               nothing more is said

Payload of a Request: u8 length of the protocol's name, the name, u64 nanoseconds that whoever asks will wait, the body.
The time is a span, so clocks need not agree; time on the way comes on top of it, and the asker's own timer decides.
Ids rise, and start with the clock: one that was used before a restart is not used again. What costs much to answer has
a rate a peer (`pacing.py`).
docs/protocol/exchange.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable

import msgspec

from qcommons.base.clock import duration_text
from qcommons.base.effects import Send, note
from qcommons.base.text import line
from qcommons.base.units import NS_PER_S
from qcommons.mesh.events import Answer, Ask, Asked, Failed, Got, NotSent, OpenDoor, Unask, Withdrawn
from qcommons.mesh.messages import Cancel, Failure, Message, Request, Response
from qcommons.mesh.pacing import PACED, Pacing
from qcommons.mesh.parts import Blame, Effects, PartBase, Peers, ToPeer, Wishes
from qcommons.mesh.records import PeerId
from qcommons.mesh.timers import Deadlines

__all__ = ["BODY_BYTES_MAX", "ECHO", "Exchange", "Handler", "Later", "Then"]

# answers at once: (peer, body, now_ns) -> body
Handler = Callable[[PeerId, bytes, int], bytes | Failed]
# answers later, through `Exchange.answer`
Later = Callable[[Asked, int], Effects]
Then = Callable[[Got | Failed, int], Effects]

ECHO = "echo/1"
PROTOCOL = re.compile(r"[a-z][a-z0-9._/-]{0,63}")
SPAN_BYTES = 8
BODY_BYTES_MAX = (1 << 20) - (1 + 64 + SPAN_BYTES)  # a frame of 1 MiB, less the longest head; larger things are blobs
WITHIN_NS_MAX = 600 * NS_PER_S  # what takes longer is a job, and jobs have their own records
# waiting for others: a few are enough to fill a link, and all of them cost 1 MB
ASKING_PEER_MAX = 256
ASKING_MAX = 4_096
# waiting here: their bodies are held by whoever works on them, up to 1 MiB each
SERVING_PEER_MAX = 64
SERVING_MAX = 512
RECENT_MAX = 128  # ids of a peer's last requests; links keep order, so what repeats does it soon
WHO = ("usage", "peer", "unavailable", "corrupt")
WHAT_MAX, WHERE_MAX = 500, 200  # characters of a failure, of up to 4 bytes; the frame holds 4 KiB
LIE_POINTS = 10


class _Asking(msgspec.Struct):
    """linked: it is on its way, so it is lost where the link is."""

    peer: PeerId
    protocol: str
    within_ns: int
    linked: bool
    then: Then | None
    ticket: str


class _Serving(msgspec.Struct):
    peer: PeerId
    id: int
    protocol: str
    is_door: bool


class Exchange(PartBase):
    """State: what was asked (by frame id), what is being answered (by a number of our own), recent ids of each peer."""

    NAME = "exchange"
    KINDS = (Request, Response, Failure, Cancel)

    def __init__(self, peers: Peers, doors: Iterable[str] = ()) -> None:
        self._peers = peers
        self._handlers: dict[bytes, Handler] = {}
        self._later: dict[bytes, tuple[str, Later | None]] = {}
        self._heads: dict[str, bytes] = {}
        self._last_id = 0
        self._asking: dict[int, _Asking] = {}
        self._asked_of: dict[PeerId, dict[int, None]] = {}
        self._asking_due: Deadlines[int] = Deadlines((self.NAME, "asking"), self._asking.__contains__)
        self._last_serial = 0
        self._serving: dict[int, _Serving] = {}
        self._served_to: dict[PeerId, dict[int, int]] = {}  # frame id -> serial
        self._serving_due: Deadlines[int] = Deadlines((self.NAME, "serving"), self._serving.__contains__)
        self._recent: dict[PeerId, dict[int, None]] = {}
        self._pacing = Pacing()
        self.register(ECHO, _echo)
        for door in doors:
            self._open(door)

    # protocols

    def register(self, protocol: str, handler: Handler) -> None:
        """`handler` answers requests of `protocol` at once."""
        self._handlers[_name(protocol)] = handler

    def attend(self, protocol: str, later: Later) -> None:
        """`later` takes requests of `protocol`; the answer comes through `answer` with the Asked's peer and id."""
        self._later[_name(protocol)] = (protocol, later)

    def wishes(self) -> Wishes:
        return {
            Ask: self.ask, Unask: self.unask, Answer: self.answer, OpenDoor: self.open_door, NotSent: self.not_sent,
        }  # fmt: skip

    def open_door(self, event: OpenDoor, now_ns: int) -> Effects:
        self._open(event.protocol)
        return []

    def _open(self, protocol: str) -> None:
        self._later[_name(protocol)] = (protocol, None)

    # asking

    def ask(self, event: Ask, now_ns: int) -> Effects:
        return self._request(
            event.to, event.protocol, event.body, event.within_ns, now_ns, then=None, ticket=event.ticket
        )

    def request(
        self, peer: PeerId, protocol: str, body: bytes, within_ns: int, now_ns: int, then: Then
    ) -> Effects:  # fmt: skip
        """As `ask`, for other parts: `then` is called with what comes, and may be before this returns."""
        return self._request(peer, protocol, body, within_ns, now_ns, then=then, ticket="")

    def unask(self, event: Unask, now_ns: int) -> Effects:
        """Forget what was asked under a ticket, and tell the peer."""
        for id, asking in self._asking.items():
            if asking.then is None and asking.ticket == event.ticket:
                self._end(id, asking)
                return [ToPeer(asking.peer, Cancel(), id)]
        return []

    def _request(
        self, peer: PeerId, protocol: str, body: bytes, within_ns: int, now_ns: int, *, then: Then | None, ticket: str
    ) -> Effects:
        within_ns = min(within_ns, WITHIN_NS_MAX)
        linked = self._peers.is_linked(peer)
        asking = _Asking(peer, protocol, within_ns, linked, then, ticket)
        ids = self._asked_of.get(peer)
        refused = self._refusal(asking, body, 0 if ids is None else len(ids))
        if refused is not None:
            return _tell(asking, refused, now_ns)
        head = self._heads.get(protocol)
        if head is None:
            name = _name(protocol)
            head = self._heads[protocol] = bytes((len(name),)) + name
        id = self._last_id = max(self._last_id + 1, now_ns)
        self._asking[id] = asking
        if ids is None:
            ids = self._asked_of[peer] = {}
        ids[id] = None
        until_ns = now_ns + within_ns
        out: Effects = [ToPeer(peer, Request(head + within_ns.to_bytes(SPAN_BYTES, "big") + body), id, True, until_ns)]
        out += self._asking_due.add(until_ns, id)
        return out

    def _refusal(self, asking: _Asking, body: bytes, waiting: int) -> Failed | None:
        if len(body) > BODY_BYTES_MAX:
            limit = f"{BODY_BYTES_MAX} bytes"
            return Failed("usage", f"a request of {len(body)} bytes; allowed {limit}: send a blob", "body", limit)
        if waiting >= ASKING_PEER_MAX or len(self._asking) >= ASKING_MAX:
            limit = f"{ASKING_PEER_MAX} a peer, {ASKING_MAX} in all"
            what = f"{waiting} requests to this peer and {len(self._asking)} in all wait; allowed {limit}: ask later"
            return Failed("unavailable", what, "requests", limit)
        if asking.within_ns <= 0:
            return Failed("usage", f"an answer within {asking.within_ns} ns; a positive time needed", "within_ns")
        if asking.peer == self._peers.me:
            return Failed("usage", "a node does not ask itself over the mesh; use its own doors", "to")
        if asking.protocol not in self._heads and not PROTOCOL.fullmatch(asking.protocol):
            return Failed("usage", f"{asking.protocol[:80]!r} is no protocol; {PROTOCOL.pattern} needed", "protocol")
        return None

    def _end(self, id: int, asking: _Asking) -> None:
        del self._asking[id]
        ids = self._asked_of[asking.peer]
        del ids[id]
        if not ids:
            del self._asked_of[asking.peer]

    # messages

    def came(self, peer: PeerId, id: int, message: Message, now_ns: int) -> Effects:
        kind = type(message)
        if kind is Request:
            return self._requested(peer, id, message.payload, now_ns)  # type: ignore[attr-defined]
        if kind is Cancel:
            return self._cancelled(peer, id)
        asking = self._asking.get(id)
        if asking is None or asking.peer != peer:
            return self._unasked(peer, id, now_ns)
        self._end(id, asking)
        if isinstance(message, Response):
            if asking.then is None:
                return [Send(asking.ticket, Got(message.payload))]
            return asking.then(Got(message.payload), now_ns)
        assert isinstance(message, Failure)
        if message.who not in WHO:
            blame = Blame(peer, LIE_POINTS, f"a failure of kind {message.who[:40]!r}")
            return [blame, *_tell(asking, Failed("peer", "the peer failed in a way that does not exist"), now_ns)]
        said = Failed(message.who, *map(_shown, (message.what, message.where, message.limit)))
        return _tell(asking, said, now_ns)

    def _unasked(self, peer: PeerId, id: int, now_ns: int) -> Effects:
        """Too late, repeated, or asked by a life before this one: ignored. But nobody can answer what is still to be
        asked: ids begin with the clock."""
        if id > max(self._last_id, now_ns):
            return [Blame(peer, LIE_POINTS, "an answer to what nobody asked")]
        return []

    # answering

    def _requested(self, peer: PeerId, id: int, payload: bytes, now_ns: int) -> Effects:
        size = payload[0] if payload else 0
        head = 1 + size + SPAN_BYTES
        if not size or len(payload) < head:
            return [Blame(peer, LIE_POINTS, f"a request of {len(payload)} bytes has no head")]
        recent = self._recent.get(peer)
        if recent is None:
            recent = self._recent[peer] = {}
        if id in recent or id in self._served_to.get(peer, ()):  # the latter: forgotten as recent, and not answered yet
            return []
        recent[id] = None
        if len(recent) > RECENT_MAX:
            del recent[next(iter(recent))]
        name = payload[1 : 1 + size]
        if name in PACED and (refusal := self._pacing.refusal(peer, id, name, now_ns)) is not None:
            return refusal
        handler = self._handlers.get(name)
        if handler is not None:
            return [ToPeer(peer, _answer(handler(peer, payload[head:], now_ns)), id)]
        span_ns = int.from_bytes(payload[1 + size : head], "big")
        return self._attended(peer, id, name, payload[head:], now_ns + min(span_ns, WITHIN_NS_MAX), now_ns)

    def _attended(self, peer: PeerId, id: int, name: bytes, body: bytes, until_ns: int, now_ns: int) -> Effects:
        row = self._later.get(name)
        if row is None:
            shown = name[:64].decode("ascii", "replace")
            failed = Failed("usage", f"protocol {shown!r} is not spoken here", "protocol")
            return [ToPeer(peer, _failure(failed), id)]
        ids = self._served_to.get(peer)
        waiting = 0 if ids is None else len(ids)
        if waiting >= SERVING_PEER_MAX or len(self._serving) >= SERVING_MAX:
            limit = f"{SERVING_PEER_MAX} a peer, {SERVING_MAX} in all"
            failed = Failed(
                "unavailable", f"too many requests wait here; allowed {limit}: ask later", "requests", limit
            )
            return [ToPeer(peer, _failure(failed), id)]
        protocol, later = row
        self._last_serial += 1
        serial = self._last_serial
        self._serving[serial] = _Serving(peer, id, protocol, later is None)
        if ids is None:
            ids = self._served_to[peer] = {}
        ids[id] = serial
        asked = Asked(peer, serial, body, until_ns)
        out = self._serving_due.add(until_ns, serial)
        return [*out, Send(f"door/{protocol}", asked)] if later is None else out + later(asked, now_ns)

    def answer(self, event: Answer, now_ns: int) -> Effects:
        serving = self._serving.get(event.id)
        if serving is None or serving.peer != event.peer:
            return [note("mesh_answer_unwanted", peer=event.peer.hex(), id=event.id)]
        self._served(event.id, serving)
        return [ToPeer(serving.peer, _answer(event.failed or event.body), serving.id)]

    def _served(self, serial: int, serving: _Serving) -> None:
        del self._serving[serial]
        ids = self._served_to[serving.peer]
        del ids[serving.id]
        if not ids:
            del self._served_to[serving.peer]

    def _cancelled(self, peer: PeerId, id: int) -> Effects:
        serial = self._served_to.get(peer, {}).get(id)
        return [] if serial is None else self._withdraw(serial, "cancelled by who asked")

    def _withdraw(self, serial: int, why: str) -> Effects:
        serving = self._serving[serial]
        self._served(serial, serving)
        if not serving.is_door:
            return []
        return [Send(f"door/{serving.protocol}", Withdrawn(serving.peer, serial, why))]

    # links and time

    def up(self, peer: PeerId, now_ns: int) -> Effects:
        for id in self._asked_of.get(peer, ()):
            self._asking[id].linked = True
        return []

    def down(self, peer: PeerId, reason: str, now_ns: int) -> Effects:
        self._recent.pop(peer, None)
        self._pacing.forget(peer)
        out: Effects = []
        for serial in list(self._served_to.get(peer, {}).values()):
            out += self._withdraw(serial, "its link was lost")
        for id in list(self._asked_of.get(peer, ())):
            asking = self._asking[id]
            if asking.linked:
                self._end(id, asking)
                what = f"the link was lost before the answer came ({reason}); it may have been carried out: ask again"
                out += _tell(asking, Failed("unavailable", what, "link"), now_ns)
        return out

    def unsent(self, peer: PeerId, id: int, message: Message, reason: str, now_ns: int) -> Effects:
        asking = self._asking.get(id)
        if asking is None or not isinstance(message, Request):
            return []
        self._end(id, asking)
        return _tell(asking, Failed("unavailable", f"the peer cannot be reached: {reason}", "link"), now_ns)

    def not_sent(self, event: NotSent, now_ns: int) -> Effects:
        """Given to a connection, and never left: unlike what was lost with its link, it can be asked again safely."""
        out: Effects = []
        for id in event.ids:
            asking = self._asking.get(id)
            if asking is not None and asking.peer == event.peer:
                self._end(id, asking)
                what = f"not sent, so not carried out: {event.why}; ask again"
                out += _tell(asking, Failed("unavailable", what, "link"), now_ns)
        return out

    def woken(self, token: Hashable, now_ns: int) -> Effects:
        out: Effects = []
        if token == (self.NAME, "serving"):
            for serial in self._serving_due.due(now_ns):
                out += self._withdraw(serial, "its time is over")
            return out + self._serving_due.again()
        for id in self._asking_due.due(now_ns):
            asking = self._asking.get(id)
            if asking is None:  # ended by what an earlier one of these set off
                continue
            self._end(id, asking)
            what = f"no answer within {duration_text(asking.within_ns)}; ask again, or another node"
            out.append(ToPeer(asking.peer, Cancel(), id))
            out += _tell(asking, Failed("unavailable", what, "within_ns"), now_ns)
        return out + self._asking_due.again()


def _name(protocol: str) -> bytes:
    if not PROTOCOL.fullmatch(protocol):
        raise ValueError(f"{protocol[:80]!r} is no protocol; {PROTOCOL.pattern} needed")
    return protocol.encode()


def _echo(peer: PeerId, body: bytes, now_ns: int) -> bytes:
    return body


def _tell(asking: _Asking, what: Got | Failed, now_ns: int) -> Effects:
    return [Send(asking.ticket, what)] if asking.then is None else asking.then(what, now_ns)


def _answer(answer: bytes | Failed) -> Message:
    if isinstance(answer, Failed):
        return _failure(answer)
    if len(answer) > BODY_BYTES_MAX:
        limit = f"{BODY_BYTES_MAX} bytes"
        return _failure(Failed("corrupt", f"an answer of {len(answer)} bytes; allowed {limit}", "body", limit))
    return Response(answer)


def _shown(text: str) -> str:
    """A peer's text, fit for logs and terminals."""
    return line(text[:WHAT_MAX])


def _failure(failed: Failed) -> Failure:
    return Failure(failed.who, failed.what[:WHAT_MAX], failed.where[:WHERE_MAX], failed.limit[:WHERE_MAX])
