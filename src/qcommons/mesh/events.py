"""What the mesh core is told and what it asks for: the contract with `node` (sockets) and `world` (virtual ones).

Flow: node/mesh or world -> *event* -> MeshCore -> *effect* (these, and those of base/effects.py) -> node/mesh or world.

A connection is a number: even where this node dialled (the core draws it), odd where it was dialled (whoever accepts
draws it). `Linked` comes once the session has proven who is there. Every number ends with exactly one `Unlinked` or,
where no session came about, `DialFailed` or nothing (an inbound connection that never got so far).
A peer is a node hash; see records.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from qcommons.base.effects import Note, Send, Store, WakeAt, Woken
from qcommons.mesh.messages import Gossip, Message
from qcommons.mesh.records import PeerId, PeerRecord, Signed

__all__ = [
    "Answer", "Arrived", "Ask", "Asked", "Begin", "BlobCame", "BlobOpened", "BlobWanted", "Came", "ChunkRead",
    "ChunkWritten", "CloseBlob", "Crypto", "Dial", "DialFailed", "Effect", "Event", "Failed", "Found", "Got", "Hangup",
    "Leave", "Linked", "Moving", "MyAddresses", "MyAway", "MyOffers", "News", "NotSent", "OpenBlob", "OpenDoor",
    "OpenTopic", "PeerBanned", "PeerForgotten", "ProbeHeard", "ProbeNews", "Publish", "Reached", "ReadChunk", "RelayIn",
    "RelayOut", "Seek", "Transmit", "Unask", "Unlinked", "Withdrawn", "WriteChunk",
]  # fmt: skip


# events: the connections


class Linked(msgspec.Struct, frozen=True):
    """A session stands. public_key: of the peer, proven. address: where it was dialled or came from, as in records;
    "relay/NODE" for a circuit."""

    conn: int
    peer: PeerId
    public_key: bytes
    address: str
    inbound: bool


class Unlinked(msgspec.Struct, frozen=True):
    conn: int
    reason: str


class DialFailed(msgspec.Struct, frozen=True):
    """is_other: somebody is there, and proved to be another node than the one that was dialled."""

    conn: int
    reason: str
    is_other: bool = False


class Came(msgspec.Struct, frozen=True):
    """A message; `id` and size are the frame's."""

    conn: int
    id: int
    message: Message
    size_bytes: int


class Moving(msgspec.Struct, frozen=True):
    """Bytes come of a message that is not whole yet: told once a second at most, and for 30 s at most a message."""

    conn: int


class NotSent(msgspec.Struct, frozen=True):
    """Requests (ids of their frames) to `peer` that were given to a connection and never left this node."""

    peer: PeerId
    ids: tuple[int, ...]
    why: str


# events: this node's own wishes


class Begin(msgspec.Struct, frozen=True):
    """First event after every start: what was stored before, key -> value, in the order of the keys."""

    kept: tuple[tuple[str, bytes], ...]


class MyAddresses(msgspec.Struct, frozen=True):
    """Where this node listens now, most useful first."""

    addresses: tuple[str, ...]


class MyOffers(msgspec.Struct, frozen=True):
    offers: tuple[str, ...]


class MyOwner(msgspec.Struct, frozen=True):
    """Who certifies this node (hash of the principal, empty if nobody), and the other nodes it certifies, as the driver
    has checked: those are never forgotten."""

    owner: bytes
    nodes: tuple[PeerId, ...] = ()


class MyAway(msgspec.Struct, frozen=True):
    """Planned absences, [from_s, until_s) each; they replace those of before."""

    ticket: str
    windows: tuple[tuple[int, int], ...]


class Reached(msgspec.Struct, frozen=True):
    """Somebody may be at `address` (an invitation, the settings, the LAN); `peer` if it is known who must be there."""

    ticket: str
    address: str
    peer: PeerId | None
    bootstrap: bool = False


class Ask(msgspec.Struct, frozen=True):
    """Ask `to`: the answer is `Send(ticket, Got | Failed)`. within_ns: from now."""

    ticket: str
    to: PeerId
    protocol: str
    body: bytes
    within_ns: int


class Answer(msgspec.Struct, frozen=True):
    """The door's answer to an `Asked`; `failed` instead of a body."""

    peer: PeerId
    id: int
    body: bytes = b""
    failed: Failed | None = None


class Publish(msgspec.Struct, frozen=True):
    """Tell everybody. payload: at most 64 KiB, signed by whoever must be believed. seq: what the signature in it
    covers, milliseconds since 1970; None: the next one."""

    topic: str
    payload: bytes
    seq: int | None = None


class OpenTopic(msgspec.Struct, frozen=True):
    """From now on news of `topic`, which no part checks, are passed on and come as `Send("topic/TOPIC", Arrived)`;
    before, they are refused. accept: finds their origin's signature (`gossip.Accept`); without it their origin is
    hearsay."""

    topic: str
    accept: Callable[[Gossip], str] | None = None


class Unask(msgspec.Struct, frozen=True):
    """The answer to what was asked under this ticket is no longer wanted; none will come."""

    ticket: str


class OpenDoor(msgspec.Struct, frozen=True):
    """From now on requests of `protocol` come as `Send("door/PROTOCOL", Asked)`; before, they are refused."""

    protocol: str


class Seek(msgspec.Struct, frozen=True):
    """Who offers this? offer: "name:qubits", the qubits at least so many. `Send(ticket, Found)` once `count` are known
    or the time is over."""

    ticket: str
    offer: str
    count: int
    within_ns: int


class ProbeNews(msgspec.Struct, frozen=True):
    """Tell everybody, and everybody says that it heard: `Send(ticket, ProbeHeard)` when the time is over."""

    ticket: str
    within_ns: int


class BlobWanted(msgspec.Struct, frozen=True):
    """Get a blob from any of `sources`: `Send(ticket, BlobCame | Failed)`. blob: SHA3-256 of its manifest."""

    ticket: str
    blob: bytes
    sources: tuple[PeerId, ...]
    within_ns: int


class BlobOpened(msgspec.Struct, frozen=True):
    """Answers `OpenBlob`. have: bit i of byte i // 8 (1 << i % 8) is set where chunk i is on disk already, checked.
    failed: why it cannot be opened."""

    blob: bytes
    have: bytes = b""
    failed: str | None = None


class ChunkRead(msgspec.Struct, frozen=True):
    """Answers `ReadChunk`. data: None where this node has no such blob."""

    blob: bytes
    place: int
    data: bytes | None


class ChunkWritten(msgspec.Struct, frozen=True):
    """Answers `WriteChunk`. failed: why it could not be written."""

    blob: bytes
    place: int
    failed: str | None = None


class PeerBanned(msgspec.Struct, frozen=True):
    """The owner's word: deny, allow (nothing bans it), or neither."""

    ticket: str
    peer: PeerId
    verdict: str


class PeerForgotten(msgspec.Struct, frozen=True):
    ticket: str
    peer: PeerId


class Leave(msgspec.Struct, frozen=True):
    """The node stops: everybody is told, and told by whom."""

    reason: str


class RelayOut(msgspec.Struct, frozen=True):
    """Event: the session inside `circuit` wants these bytes sent, or has ended."""

    circuit: int
    data: bytes
    closed: str | None = None


Event = (
    Begin | Linked | Unlinked | DialFailed | Came | Moving | NotSent | MyAddresses | MyOffers | MyOwner | MyAway
    | Reached | Ask | Unask | Answer | OpenDoor | OpenTopic | Publish | Seek | ProbeNews | BlobWanted | BlobOpened
    | ChunkRead | ChunkWritten | RelayOut | PeerBanned | PeerForgotten | Leave | Woken
)  # fmt: skip


# effects: the connections


class Dial(msgspec.Struct, frozen=True):
    """Open a session with whoever is at `address`; anybody but `peer`, where given, is refused.

    "relay/NODE" opens one inside a circuit through NODE: `circuit` names it (RelayIn, RelayOut). is_needed: no other
    link would do instead, so it is worth more work where a puzzle is asked (`puzzle.Effort`).
    """

    conn: int
    address: str
    peer: PeerId | None
    circuit: int | None = None
    is_needed: bool = False


class Transmit(msgspec.Struct, frozen=True):
    conn: int
    id: int
    message: Message


class Hangup(msgspec.Struct, frozen=True):
    """Close after what was transmitted has gone out."""

    conn: int
    reason: str


class RelayIn(msgspec.Struct, frozen=True):
    """Bytes for the session inside `circuit`; `opened_by` the other end: take it as a connection that came in.
    backlog_bytes: so much waits for the other end; above 256 KiB hold back (told again at 64 KiB)."""

    circuit: int
    data: bytes
    opened_by: PeerId | None = None
    closed: str | None = None
    backlog_bytes: int | None = None
    via: PeerId | None = None  # with `opened_by`: who relays


# effects: the disk of blobs


class ReadChunk(msgspec.Struct, frozen=True):
    """Answered by `ChunkRead`. place: of the chunk; -1: the manifest itself."""

    blob: bytes
    place: int


class OpenBlob(msgspec.Struct, frozen=True):
    """A blob begins to come: keep its manifest (canonical bytes) and make room. Answered by `BlobOpened`."""

    blob: bytes
    manifest: bytes


class WriteChunk(msgspec.Struct, frozen=True):
    """Write checked bytes at place * 256 KiB. Answered by `ChunkWritten`; until then they count as memory in use."""

    blob: bytes
    place: int
    data: bytes | memoryview


class CloseBlob(msgspec.Struct, frozen=True):
    """No more writes: it is whole, or goes on another time with what is there (`BlobOpened.have`)."""

    blob: bytes
    whole: bool


# what `Send` carries


class Got(msgspec.Struct, frozen=True):
    body: bytes


class Failed(msgspec.Struct, frozen=True):
    """who: usage, peer, unavailable, corrupt."""

    who: str
    what: str
    where: str = ""
    limit: str = ""


class Asked(msgspec.Struct, frozen=True):
    """Send("door/PROTOCOL", Asked): a peer asks; answer with `Answer(peer, id, ...)` before `until_ns`."""

    peer: PeerId
    id: int
    body: bytes
    until_ns: int


class Arrived(msgspec.Struct, frozen=True):
    """Send("topic/TOPIC", Arrived): news, once."""

    origin: PeerId
    seq: int
    payload: bytes


class Withdrawn(msgspec.Struct, frozen=True):
    """Send("door/PROTOCOL", Withdrawn): the answer to this `Asked` is no longer wanted (cancelled, too late, gone)."""

    peer: PeerId
    id: int
    why: str


class Found(msgspec.Struct, frozen=True):
    """records: signed and verified, of providers. asked: how many nodes looked, this one included."""

    records: tuple[Signed, ...]
    asked: int


class ProbeHeard(msgspec.Struct, frozen=True):
    """Who said that it heard, in how many nanoseconds from publishing until the answer was here, in order of coming."""

    heard: tuple[tuple[PeerId, int], ...]


class BlobCame(msgspec.Struct, frozen=True):
    blob: bytes
    size_bytes: int


class News(msgspec.Struct, frozen=True):
    """Send("mesh", News): a peer's state changed: known, linked, alive, suspect, lost, stopped, away, banned,
    forgotten."""

    peer: PeerId
    state: str
    cause: str
    record: PeerRecord | None = None


Effect = (
    Dial | Transmit | Hangup | RelayIn | OpenBlob | ReadChunk | WriteChunk | CloseBlob | Send | Store | WakeAt | Note
)  # fmt: skip


class Crypto(Protocol):
    """The node's key and what it is good for, as the core sees it; `world` has a double of modelled cost.

    All are calls that return at once (verify 0.2 ms, sign 1.2 ms on a 2-core machine).
    """

    peer: PeerId
    public_key: bytes

    def sign(self, object_type: str, payload: bytes) -> bytes:
        """The signed object (`pqc/signing.py`) on this network."""
        ...

    def verify(self, public_key: bytes, object_type: str, signed: bytes) -> bytes:
        """The payload. Raises PeerError. Results are kept by (key, bytes)."""
        ...

    def new_chain(self, beats: int) -> bytes:
        """Begin a chain of so many beats with a fresh secret; returns its anchor, 16 bytes."""
        ...

    def beat(self, count: int) -> bytes:
        """The value at `count` (1 to beats) of the chain begun last."""
        ...

    def follows(self, value: bytes, steps: int, known: bytes) -> bool:
        """Whether hashing `value` `steps` times gives `known`."""
        ...
