"""Wire: one connection as one machine, from the bytes of a pipe to messages and back.

Flow: pipe -> Bytes -> *Wire* (doorkeeper, session, frames) -> Established, MessageIn, Ended -> core; and
core -> SendMessage -> *Wire* (frames, outbox, session) -> ToPipe -> pipe. Whoever drives it owns the pipe.

    dialled   door ----------------------------> shaking -> open -> closing -> ended
               \\--> solution (a puzzle was sent) --/
    dialling  calling -------------------------> shaking -> open -> closing -> ended
               \\--> solving (a puzzle came) ----/

Every state ends with one `Ended` when bytes fit nothing, time is over, the pipe is lost or somebody closes; nothing
comes after it. What may be in the pipe at a time is bounded, so that what is urgent overtakes what is not: the rest
waits in the outbox until `Written`. docs/protocol/session.md, frame.md and puzzle.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

from qcommons.base.effects import Run, WakeAt, Woken
from qcommons.base.errors import PeerError
from qcommons.base.units import NS_PER_S
from qcommons.mesh import puzzle
from qcommons.mesh.frame import Decoder, MessageIn, Outbox, encode, priority_of
from qcommons.mesh.held import Held
from qcommons.mesh.messages import Message
from qcommons.mesh.records import PeerId
from qcommons.mesh.session import Ended, Established, Plain, Session, ToPipe
from qcommons.mesh.tls import TlsContext
from qcommons.mesh.wire_events import (
    Bytes,
    Close,
    Crowded,
    Drained,
    Drop,
    Grows,
    Lost,
    NeverSent,
    Opened,
    Out,
    SendMessage,
    Solved,
    TellWritten,
    Unsent,
    WireEffect,
    WireEvent,
    Written,
)

__all__ = [
    "Bytes", "Close", "Crowded", "Door", "Drained", "Drop", "Ended", "Established", "Grows", "Lost", "MessageIn",
    "NeverSent", "Opened", "SendMessage", "Solved", "TellWritten", "ToPipe", "Unsent", "Wire", "WireEffect",
    "WireEvent", "Written",
]  # fmt: skip

HANDSHAKE_NS = 10 * NS_PER_S  # a slow radio line needs 2 s for four flights of 20 KB
PUZZLE_NS = 20 * NS_PER_S  # the hardest puzzle takes a second or two, on a machine that is busy ten
FRAME_NS = 30 * NS_PER_S  # a frame of 1 MiB passes a line of 300 kbit/s
GROWS_NS = NS_PER_S  # how often a slow frame is told of; silence of 3 s makes who listens ask
CLOSING_NS = 5 * NS_PER_S  # for what was said before the goodbye
# What is handed to the pipe before it reports. Above, a sign of life would wait behind more than it must; below, a
# fast line would run dry: 128 KiB are 1 ms at 1 Gbit/s.
PIPE_BYTES = 128 << 10
TLS_HANDSHAKE = 0x16  # first byte of a handshake record (RFC 8446, section 5.1)
RECORD_HEADER_BYTES = 5
FIRST_FLIGHT_BYTES_MAX = 4 << 10  # a ClientHello with an ML-KEM-768 key share has 1.5 KB


class Door(Protocol):
    """What the wire needs of a `Doorkeeper`."""

    def greet(self, conn: int, now_ns: int) -> puzzle.Puzzle | None: ...

    def answer(self, conn: int, solution: bytes, now_ns: int) -> None: ...

    def stands(self, conn: int) -> None: ...


class Wire:
    """One connection. peer: who is there, None before it is proven. ended: the last effect, once it was given.
    held_bytes: as last counted, of all that waits here: queues, pipe, a frame that is not whole."""

    __slots__ = (
        "_asked", "_asked_of_us", "_closing", "_conn", "_context", "_deadline_ns", "_decoder", "_door", "_early",
        "_expected", "_frames_seen", "_held", "_in_pipe_bytes", "_open", "_outbox", "_partial_since_ns",
        "_server_side", "_session", "_take", "_told_ns", "_watching", "ended", "held_bytes", "peer",
    )  # fmt: skip

    def __init__(
        self, context: TlsContext, server_side: bool, expected_peer: PeerId | None = None, door: Door | None = None,
        conn: int = 0, held: Held | None = None,
    ) -> None:  # fmt: skip
        """
        Args:
            expected_peer: of who dials: anybody else is refused.
            door, conn: of who is dialled: the doorkeeper, and the connection's number there. None lets everybody in.
            held: the sum over all wires of a node; None where there is but this one.
        """
        self._context = context
        self._server_side = server_side
        self._expected = expected_peer
        self._door = door
        self._conn = conn
        self._held = held if held is not None else Held()
        self._session: Session | None = None
        self._decoder = Decoder()
        self._outbox = Outbox()
        self._open = False
        self._closing: str | None = None
        self._deadline_ns: int | None = None
        self._early = b""  # before the handshake: what is not whole yet, or the first flight until it is answered
        self._asked_of_us = b""  # the puzzle, until it is whole
        self._in_pipe_bytes = 0
        self._asked = False
        self._partial_since_ns = 0
        self._told_ns = 0
        self._frames_seen = -1
        self._watching = False
        self._take: Callable[[bytes, int, Out], None] = self._take_at_door if server_side else self._take_call
        self.peer: PeerId | None = None
        self.ended: Ended | None = None
        self.held_bytes = 0

    def handle(self, event: WireEvent, now_ns: int) -> list[WireEffect]:
        """Take one event. After `Ended`, and for events that mean nothing now, the answer is empty.

        `ToPipe` come before all that somebody may answer: so events may be handed in while the rest is carried out,
        and sealed bytes keep their order.

        Raises:
            UsageError: a `SendMessage` with a message that fits no frame.
        """
        out: Out = []
        if self.ended is None:
            self._ON[type(event)](self, event, now_ns, out)
        return out

    # the two events of every message, without an object for each

    def receive(self, data: bytes, now_ns: int) -> list[WireEffect]:
        """As `handle(Bytes(data), now_ns)`."""
        out: Out = []
        if self.ended is None and data:
            self._take(data, now_ns, out)
        return out

    def send(self, id: int, message: Message) -> list[WireEffect]:
        """As `handle(SendMessage(id, message), now_ns)`."""
        out: Out = []
        if self._open and self._in_pipe_bytes < PIPE_BYTES and not self._outbox.waiting_bytes:
            self._seal(encode(id, message), out)
        elif self.ended is None:
            self._queue(id, message, out)
        return out

    # --- the pipe

    def _opened(self, event: Opened, now_ns: int, out: Out) -> None:
        self._wait(HANDSHAKE_NS, now_ns, out)
        if not self._server_side:
            self._session = Session(self._context, False, self._expected)
            for answer in self._session.begin():
                if isinstance(answer, ToPipe):
                    self._early += answer.data
                    out.append(answer)

    def _bytes(self, event: Bytes, now_ns: int, out: Out) -> None:
        if event.data:
            self._take(event.data, now_ns, out)

    def _lost(self, event: Lost, now_ns: int, out: Out) -> None:
        self._end(Ended("lost", event.detail), out)

    def _written(self, event: Written, now_ns: int, out: Out) -> None:
        self._in_pipe_bytes = event.backlog_bytes
        self._asked = False
        if self._open:
            self._pump(out)
        self._count(out)

    # --- before the handshake: who is dialled

    def _take_at_door(self, data: bytes, now_ns: int, out: Out) -> None:
        """The whole first flight comes before the door is asked: what is left of it must not pass for a solution."""
        early = self._early = self._early + data
        if early and early[0] != TLS_HANDSHAKE:
            self._end(Ended("malformed", f"the first byte is 0x{early[0]:02x}, no TLS handshake"), out)
            return
        flight_bytes = RECORD_HEADER_BYTES + int.from_bytes(early[3:RECORD_HEADER_BYTES], "big")
        if len(early) >= RECORD_HEADER_BYTES and flight_bytes > FIRST_FLIGHT_BYTES_MAX:
            what = f"a first flight of {flight_bytes} bytes; allowed {FIRST_FLIGHT_BYTES_MAX}"
            self._end(Ended("malformed", what), out)
            return
        if len(early) < RECORD_HEADER_BYTES or len(early) < flight_bytes:
            return
        try:
            asked = self._door.greet(self._conn, now_ns) if self._door else None
        except PeerError as error:
            self._end(Ended("door", error.what), out)
            return
        if asked is None:
            self._admit(early, now_ns, out)
            return
        if len(early) > flight_bytes:
            self._end(Ended("malformed", f"{len(early) - flight_bytes} bytes behind the first flight"), out)
            return
        self._early = b""
        self._take = self._take_solution
        self._wait(PUZZLE_NS, now_ns, out)
        out.append(ToPipe(puzzle.written(asked)))

    def _take_solution(self, data: bytes, now_ns: int, out: Out) -> None:
        early = self._early = self._early + data
        if len(early) < puzzle.SOLUTION_BYTES:
            return
        assert self._door is not None
        try:
            self._door.answer(self._conn, early[: puzzle.SOLUTION_BYTES], now_ns)
        except PeerError as error:
            self._end(Ended(error.where or "puzzle", error.what), out)
            return
        self._wait(HANDSHAKE_NS, now_ns, out)
        self._admit(early[puzzle.SOLUTION_BYTES :], now_ns, out)

    def _admit(self, flight: bytes, now_ns: int, out: Out) -> None:
        self._early = b""
        self._session = Session(self._context, True, self._expected)
        self._take = self._take_session
        self._take_session(flight, now_ns, out)

    # --- before the handshake: who dials

    def _take_call(self, data: bytes, now_ns: int, out: Out) -> None:
        """The first answer is the handshake's second flight, or a puzzle."""
        if data[0] != puzzle.MAGIC:
            self._early = b""
            self._take = self._take_session
            self._take_session(data, now_ns, out)
            return
        self._take = self._take_puzzle
        self._take_puzzle(data, now_ns, out)

    def _take_puzzle(self, data: bytes, now_ns: int, out: Out) -> None:
        self._asked_of_us += data
        if len(self._asked_of_us) < puzzle.PUZZLE_BYTES:
            return
        try:
            asked = puzzle.read(self._asked_of_us)
        except PeerError as error:
            self._end(Ended("puzzle", error.what), out)
            return
        self._take = self._take_unasked
        self._wait(PUZZLE_NS, now_ns, out)
        out.append(Run("puzzle", asked))

    def _take_unasked(self, data: bytes, now_ns: int, out: Out) -> None:
        self._end(Ended("malformed", f"{len(data)} bytes while the puzzle is being solved"), out)

    def _solved(self, event: Solved, now_ns: int, out: Out) -> None:
        if self._take != self._take_unasked:
            return
        if event.solution is None:
            self._end(Ended("puzzle", event.why), out)
            return
        out.append(ToPipe(event.solution + self._early))
        self._early = b""
        self._take = self._take_session
        self._wait(HANDSHAKE_NS, now_ns, out)

    # --- the session

    def _take_session(self, data: bytes, now_ns: int, out: Out) -> None:
        decoder, session = self._decoder, self._session
        assert session is not None
        said: Out = []
        for answer in session.receive(data):
            if type(answer) is Plain:
                said += decoder.feed(answer.data)
                if decoder.error is not None:
                    self._end(Ended("malformed", str(decoder.error)), out, said)
                    return
            elif isinstance(answer, ToPipe):
                out.append(answer)
            elif isinstance(answer, Established):
                self._stand(answer, out)
                said.append(answer)
            elif isinstance(answer, Ended):
                self._end(answer, out, said)
                return
        out += said
        if decoder.waiting_bytes:
            self._watch(now_ns, out)
            if now_ns - self._told_ns >= GROWS_NS and self.ended is None:
                self._told_ns = now_ns
                out.append(Grows())
        elif self.held_bytes:
            self._count(out)

    def _stand(self, established: Established, out: Out) -> None:
        self.peer = established.peer
        self._open = True
        self._deadline_ns = None
        if self._door is not None:
            self._door.stands(self._conn)
        self._pump(out)

    def _send_event(self, event: SendMessage, now_ns: int, out: Out) -> None:
        out += self.send(event.id, event.message)

    def _queue(self, id: int, message: Message, out: Out) -> None:
        frame, priority = encode(id, message), priority_of(message)
        if self._closing is not None:
            out.append(Unsent(id, message, priority))
        elif self._outbox.put(priority, frame):
            self._count(out)
        elif priority:
            out.append(Unsent(id, message, priority))
        else:
            self._end(Ended("full", f"{self._outbox.waiting_bytes} bytes wait"), out)

    def _seal(self, data: bytes, out: Out) -> None:
        assert self._session is not None
        for piece in self._session.send(data):
            self._in_pipe_bytes += len(piece.data)
            out.append(piece)
        if self._in_pipe_bytes >= PIPE_BYTES and not self._asked:
            self._asked = True
            out.append(TellWritten(PIPE_BYTES // 4))
            self._count(out)

    def _pump(self, out: Out) -> None:
        """What waits, as far as the pipe may hold it."""
        outbox = self._outbox
        while outbox.waiting_bytes and self._in_pipe_bytes < PIPE_BYTES:
            self._seal(b"".join(outbox.take(PIPE_BYTES - self._in_pipe_bytes)), out)
        out += map(Drained, outbox.drained())
        if self._closing is not None and not outbox.waiting_bytes:
            self._end(Ended("left", self._closing), out)

    def _count(self, out: Out) -> None:
        """What is held, in the sum of all. The pipe counts once it is slow: until then it may have passed it all on."""
        held_bytes = self._outbox.waiting_bytes + self._decoder.waiting_bytes
        if self._asked:
            held_bytes += self._in_pipe_bytes
        self._held.used_bytes += held_bytes - self.held_bytes
        self.held_bytes = held_bytes
        if self._held.is_over and self.ended is None:
            out.append(Crowded())

    # --- the end

    def _close(self, event: Close, now_ns: int, out: Out) -> None:
        if self._open and self._outbox.waiting_bytes:
            self._closing = event.detail
            out.append(WakeAt(now_ns + CLOSING_NS, "closing"))
        else:
            self._end(Ended("left", event.detail), out)

    def _drop(self, event: Drop, now_ns: int, out: Out) -> None:
        self._end(Ended("full", event.detail), out)

    def _woken(self, event: Woken, now_ns: int, out: Out) -> None:
        if event.token == "deadline":
            if self._deadline_ns is not None and now_ns >= self._deadline_ns:
                self._end(Ended("slow", "no session in time"), out)
        elif event.token == "closing":
            self._end(Ended("left", self._closing or ""), out)
        elif event.token == "frame":
            self._watching = False
            if self._decoder.waiting_bytes:
                self._watch(now_ns, out)

    def _wait(self, span_ns: int, now_ns: int, out: Out) -> None:
        self._deadline_ns = now_ns + span_ns
        out.append(WakeAt(self._deadline_ns, "deadline"))

    def _watch(self, now_ns: int, out: Out) -> None:
        """A frame has begun and is not whole: it must be in time. One timer at most, however many frames."""
        frames = self._decoder.frames
        if frames != self._frames_seen:
            self._frames_seen, self._partial_since_ns = frames, now_ns
            self._told_ns = now_ns
        if now_ns >= self._partial_since_ns + FRAME_NS:
            self._end(Ended("slow", f"a frame is not whole after {FRAME_NS // NS_PER_S} s"), out)
            return
        if not self._watching:
            self._watching = True
            out.append(WakeAt(self._partial_since_ns + FRAME_NS, "frame"))
        self._count(out)

    def _end(self, ended: Ended, out: Out, said: Sequence[WireEffect] = ()) -> None:
        """said: what came before the end."""
        if self._session is not None and ended.reason != "lost":
            out += [answer for answer in self._session.close() if isinstance(answer, ToPipe)]
        unsent = self._outbox.requests()
        self.ended = ended
        out += said
        if unsent:
            out.append(NeverSent(unsent))
        out.append(ended)
        self._held.used_bytes -= self.held_bytes
        self.held_bytes = 0
        self._open = False
        self._take = _take_nothing  # a bound method here would keep the wire alive
        self._session = None
        self._outbox = Outbox()
        self._decoder = Decoder()

    _ON: ClassVar[dict[type, Callable[[Wire, Any, int, Out], None]]] = {
        Opened: _opened,
        Bytes: _bytes,
        Written: _written,
        SendMessage: _send_event,
        Solved: _solved,
        Close: _close,
        Drop: _drop,
        Lost: _lost,
        Woken: _woken,
    }


def _take_nothing(data: bytes, now_ns: int, out: Out) -> None:
    """After the end."""
