"""Frames: messages as bytes, and the queues in which frames wait for the wire.

Flow: message -> *encode* -> *Outbox* -> session -> pipe -> session -> *Decoder* -> message.

    frame   = u32 length of the payload | u8 type | u64 id | payload       big-endian, 13 bytes before the payload
    payload = of a `plain` row (messages.py) the message's one field as it is; else canonical CBOR of all its fields

Type and length are checked against the row before anything is kept for the payload. docs/protocol/frame.md.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from typing import Any, NoReturn

import msgspec

from qcommons.base.errors import PeerError, UsageError
from qcommons.mesh import codec
from qcommons.mesh.messages import ROWS, Message, Request

__all__ = [
    "CAPS_BYTES", "HEADER_BYTES", "TOTAL_CAP_BYTES", "Decoder", "MessageIn", "Outbox", "encode", "priority_of",
]  # fmt: skip

HEADER = struct.Struct(">IBQ")
HEADER_BYTES = HEADER.size
PIECE_BYTES_MIN = 4 << 10

BY_KIND = {row.kind: row for row in ROWS}
# longest payload, what reads it, name of the message
IN: dict[int, tuple[int, Callable[[bytes], Message], str]] = {
    row.number: (
        row.payload_max,
        row.kind if row.plain else codec.reader(row.kind, row.items_max),
        row.kind.__name__,
    )
    for row in ROWS
}
REQUEST = BY_KIND[Request]
# number, longest payload, what writes it (None: it is the message's one field)
OUT: dict[type[Message], tuple[int, int, Callable[[Any], bytes] | None]] = {
    row.kind: (row.number, row.payload_max, None if row.plain else codec.writer(row.kind)) for row in ROWS
}

MIB = 1 << 20
# What may wait, by priority. 0: 32 of the largest beats; a peer that leaves more unread is gone. 1: some requests of
# the largest size. 2: a minute of news. 3: two windows of chunks (8 x 256 KiB) and circuits beside them.
CAPS_BYTES = (MIB >> 2, 4 * MIB, 2 * MIB, 6 * MIB)
TOTAL_CAP_BYTES = 8 * MIB  # less than their sum: a peer that reads nothing at all costs no more than this


class MessageIn(msgspec.Struct, frozen=True, gc=False):
    """A message came. size_bytes: of its frame."""

    id: int
    message: Message
    size_bytes: int


def priority_of(message: Message) -> int:
    """0 (first) to 3, from the message's row."""
    return BY_KIND[type(message)].priority


def encode(id: int, message: Message) -> bytes:
    """The frame of a message.

    Raises:
        UsageError: the id is none of 64 bits, or the message is longer than its row allows: the peer would end the
            session.
    """
    number, payload_max, write = OUT[type(message)]
    payload: bytes = message.payload if write is None else write(message)  # type: ignore[attr-defined]
    size = len(payload)
    if size > payload_max:
        kind, limit = type(message).__name__, f"{payload_max} bytes"
        what = f"{kind} of {size} bytes; allowed {limit}: send it in several, or as a blob"
        raise UsageError(what, where=kind, limit=limit)
    try:
        return HEADER.pack(size, number, id) + payload
    except struct.error:
        raise UsageError(f"frame id {id}; allowed 0 to 2^64-1", where="id", limit="64 bits") from None


class Decoder:
    """Messages out of bytes, however they are cut. After the first bad byte nothing more comes.

    error: why, once the bytes were no frame. frames: how many came. waiting_bytes: of one that is not whole yet.
    """

    __slots__ = ("_begun", "_pieces", "error", "frames", "waiting_bytes")

    def __init__(self) -> None:
        self.error: PeerError | None = None
        self.frames = 0
        self.waiting_bytes = 0
        # what reads it, id and length of the frame whose payload is coming
        self._begun: tuple[Callable[[bytes], Message], int, int] | None = None
        self._pieces: list[bytes | bytearray] = []  # of that payload; else of a header

    def feed(self, data: bytes) -> list[MessageIn]:
        """The messages that these bytes complete."""
        messages: list[MessageIn] = []
        size = len(data)
        if self.error is None:
            try:
                if not self.waiting_bytes and size >= HEADER_BYTES:
                    length, number, id = HEADER.unpack_from(data)
                    row = IN.get(number)
                    if length + HEADER_BYTES == size and row is not None and length <= row[0]:
                        self.frames += 1  # one whole frame: nearly always
                        return [MessageIn(id, row[1](data[HEADER_BYTES:]), size)]
                self._feed(data, messages)
            except PeerError as error:
                self.error = error
                self.waiting_bytes, self._begun, self._pieces = 0, None, []
            self.frames += len(messages)
        return messages

    def _feed(self, data: bytes, messages: list[MessageIn]) -> None:
        at = 0
        if self._begun is not None:
            read, id, length = self._begun
            at = length + HEADER_BYTES - self.waiting_bytes
            if len(data) < at:
                self._keep(data)
                return
            self._keep(data[:at])
            messages.append(MessageIn(id, read(b"".join(self._pieces)), HEADER_BYTES + length))
            self.waiting_bytes, self._begun, self._pieces = 0, None, []
        elif self._pieces:
            data = b"".join(self._pieces) + data
            self.waiting_bytes, self._pieces = 0, []
        size = len(data)
        while size - at >= HEADER_BYTES:
            length, number, id = HEADER.unpack_from(data, at)
            row = IN.get(number)
            if row is None or length > row[0]:
                _refuse(number, length)
            at += HEADER_BYTES
            if length > size - at:
                self._begun = row[1], id, length
                self.waiting_bytes = HEADER_BYTES
                break
            messages.append(MessageIn(id, row[1](data[at : at + length]), HEADER_BYTES + length))
            at += length
        if at < size:
            self._keep(data[at:])

    def _keep(self, data: bytes) -> None:
        """Small pieces are gathered: an object for each would take many times their size."""
        self.waiting_bytes += len(data)
        if len(data) >= PIECE_BYTES_MIN:
            self._pieces.append(data)
        elif self._pieces and isinstance(self._pieces[-1], bytearray):
            self._pieces[-1] += data
        else:
            self._pieces.append(bytearray(data))


def _refuse(number: int, length: int) -> NoReturn:
    if number not in IN:
        raise PeerError(f"frame type 0x{number:02x} is none of {len(ROWS)} that are known", where="frame type")
    payload_max, _, name = IN[number]
    limit = f"{payload_max} bytes"
    raise PeerError(f"{name} of {length} bytes; allowed {limit}", where="frame length", limit=limit)


class Outbox:
    """Frames that wait, in four queues: a lower number goes first, one priority keeps its order. A frame is never cut
    by another, so what comes first may still wait for one frame (at most 1 MiB; bulk, 256 KiB).

    waiting_bytes: of all queues.
    """

    __slots__ = ("_bytes", "_full", "_queues", "waiting_bytes")

    def __init__(self) -> None:
        self._queues: tuple[deque[bytes], ...] = tuple(deque() for _ in CAPS_BYTES)
        self._bytes = [0] * len(CAPS_BYTES)
        self._full = [False] * len(CAPS_BYTES)
        self.waiting_bytes = 0

    def put(self, priority: int, frame: bytes) -> bool:
        """Whether there was room; a frame that finds none is not kept."""
        size = len(frame)
        room = CAPS_BYTES[priority] - self._bytes[priority]
        if priority:  # signs of life find their room also where all the rest is full
            room = min(room, TOTAL_CAP_BYTES - self.waiting_bytes)
        if size > room:
            self._full[priority] = True
            return False
        self._queues[priority].append(frame)
        self._bytes[priority] += size
        self.waiting_bytes += size
        return True

    def take(self, bytes_wanted: int) -> list[bytes]:
        """The next frames: as many as it takes to reach `bytes_wanted`, so the last one may go beyond."""
        frames: list[bytes] = []
        for priority, queue in enumerate(self._queues):
            while queue and bytes_wanted > 0:
                frame = queue.popleft()
                size = len(frame)
                bytes_wanted -= size
                self._bytes[priority] -= size
                self.waiting_bytes -= size
                frames.append(frame)
        return frames

    def requests(self) -> tuple[int, ...]:
        """Ids of the requests among them, in order."""
        queue = self._queues[REQUEST.priority]
        return tuple(int.from_bytes(frame[5:HEADER_BYTES], "big") for frame in queue if frame[4] == REQUEST.number)

    def drained(self) -> tuple[int, ...]:
        """Priorities that had refused a frame and are now below half of what they may hold; each is told once."""
        ready = tuple(
            priority
            for priority, full in enumerate(self._full)
            if full and 2 * self._bytes[priority] <= CAPS_BYTES[priority] and 2 * self.waiting_bytes <= TOTAL_CAP_BYTES
        )
        for priority in ready:
            self._full[priority] = False
        return ready
