"""What travels between two nodes inside a session, one row a kind: frame type, priority, cap.

Flow: core -> *message* -> wire (`frame.py`: u32 length | u8 type | u64 id | payload) -> session -> pipe, and back.
`id` ties what belongs together (a request and its answer, the chunks of a blob, the bytes of a circuit); 0 where
nothing is tied. The payload of a row with `plain` is the message's one bytes field as it is; of any other, canonical
CBOR of the message's fields as an array. Bytes that fit no row end the session with a reason.

Priority 0 goes first: signs of life and (later) votes; 1 requests; 2 gossip; 3 bulk, which may wait for all others.
"""

from __future__ import annotations

import msgspec

from qcommons.mesh.records import Beat

__all__ = [
    "ROWS",
    "Beats",
    "Bye",
    "Cancel",
    "Chunk",
    "Credit",
    "Failure",
    "Fetch",
    "Gossip",
    "Graft",
    "Have",
    "Hello",
    "Join",
    "Message",
    "Neighbour",
    "NoChunks",
    "NotNeighbour",
    "Ping",
    "Pong",
    "Prune",
    "Records",
    "RelayClose",
    "RelayCredit",
    "RelayData",
    "RelayOpen",
    "RelayOpened",
    "Request",
    "Response",
    "Row",
    "Want",
    "WantRecords",
]  # fmt: skip


class Message(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A message of the wire."""


class Hello(Message, frozen=True):
    """First message of both ends: the network, the versions of the mesh protocol that are spoken
    ("/qcommons/mesh/1.0"), and the sender's own signed record."""

    network: str
    protocols: tuple[str, ...]
    record: bytes


class Bye(Message, frozen=True):
    """Last message: a word of a fixed vocabulary (`links.py`) and a sentence for the log."""

    code: str
    text: str


class Ping(Message, frozen=True):
    pass


class Pong(Message, frozen=True):
    pass


class Beats(Message, frozen=True):
    """Signs of life. reply: answer with what is newer there. quiet: the sender hears enough from others; routine beats
    need not be told to it, until a message says otherwise."""

    beats: tuple[Beat, ...]
    reply: bool
    quiet: bool = False


class WantRecords(Message, frozen=True):
    peers: tuple[bytes, ...]


class Records(Message, frozen=True):
    """Signed peer records."""

    records: tuple[bytes, ...]


class Neighbour(Message, frozen=True):
    """Be my neighbour. urgent: I have none. accepts: the answer, yes (a no is `NotNeighbour`)."""

    urgent: bool
    accepts: bool = False


class NotNeighbour(Message, frozen=True):
    """No longer, or not: full. `peers`: others to ask."""

    peers: tuple[bytes, ...]


class Join(Message, frozen=True):
    """Tell me of others: a random walk of `hops` more steps; `signed`: the record of who asks."""

    signed: bytes
    hops: int


class Gossip(Message, frozen=True):
    """News, pushed. key: its hash, by which it is counted once; hops so far."""

    topic: str
    origin: bytes
    seq: int
    payload: bytes
    hops: int


class Have(Message, frozen=True):
    """I have these news (keys of 16 bytes)."""

    keys: tuple[bytes, ...]


class Want(Message, frozen=True):
    """Send me these news."""

    keys: tuple[bytes, ...]


class Graft(Message, frozen=True):
    """Push news to me again."""


class Prune(Message, frozen=True):
    """Do not push news to me: I have them from others. Tell me of them only."""


class Request(Message, frozen=True):
    """payload: u8 length of the protocol name, the name, the body."""

    payload: bytes


class Response(Message, frozen=True):
    payload: bytes


class Failure(Message, frozen=True):
    """The request failed: who must act (usage, peer, unavailable, corrupt), what, limit."""

    who: str
    what: str
    where: str
    limit: str


class Cancel(Message, frozen=True):
    """The answer is no longer wanted."""


class Fetch(Message, frozen=True):
    """Send chunks [first, end) of the blob whose manifest has this hash, as far as `Credit` goes. first = end stops
    the fetch with this id."""

    blob: bytes
    first: int
    end: int


class Chunk(Message, frozen=True):
    """payload: u32 place, the bytes of the chunk."""

    payload: bytes


class Credit(Message, frozen=True):
    """So many chunks of the fetch may have been sent in all: a total, so one that is repeated or lost does no harm."""

    chunks: int


class NoChunks(Message, frozen=True):
    """The fetch with this frame's id ends here: what is missing must come from elsewhere."""

    why: str


class RelayOpen(Message, frozen=True):
    """To the relay: connect me with `peer`; from it: `peer` wants to reach you. The frame's id names the circuit."""

    peer: bytes


class RelayOpened(Message, frozen=True):
    pass


class RelayData(Message, frozen=True):
    """Bytes of a session between the ends, which the relay cannot read."""

    payload: bytes


class RelayCredit(Message, frozen=True):
    """So many bytes of the circuit were taken at its end so far; a window more than that may have been sent."""

    taken: int


class RelayClose(Message, frozen=True):
    why: str


class Row(msgspec.Struct, frozen=True):
    """number: of the frame type. payload_max: bytes, checked before the payload is read. items_max: CBOR items."""

    kind: type[Message]
    number: int
    priority: int
    payload_max: int
    items_max: int = 32
    plain: bool = False


KIB = 1 << 10
ROWS: tuple[Row, ...] = (
    Row(Hello, 0x01, 0, 16 * KIB),
    Row(Bye, 0x02, 0, KIB),
    Row(Ping, 0x03, 0, 16),
    Row(Pong, 0x04, 0, 16),
    Row(Beats, 0x10, 0, 8 * KIB, 64 * 5 + 4),
    Row(WantRecords, 0x11, 1, 3 * KIB, 68),
    Row(Records, 0x12, 2, 64 * KIB, 12),
    Row(Neighbour, 0x20, 0, 16),
    Row(NotNeighbour, 0x21, 0, KIB, 20),
    Row(Join, 0x22, 1, 8 * KIB),
    Row(Gossip, 0x30, 2, 72 * KIB),
    Row(Have, 0x31, 2, 24 * KIB, 1028),
    Row(Want, 0x32, 2, 24 * KIB, 1028),
    Row(Graft, 0x33, 2, 16),
    Row(Prune, 0x34, 2, 16),
    Row(Request, 0x40, 1, 1 << 20, plain=True),
    Row(Response, 0x41, 1, 1 << 20, plain=True),
    Row(Failure, 0x42, 1, 4 * KIB),
    Row(Cancel, 0x43, 1, 16),
    Row(Fetch, 0x50, 1, 256),
    Row(Chunk, 0x51, 3, 256 * KIB + 4, plain=True),
    Row(Credit, 0x52, 1, 16),
    Row(NoChunks, 0x53, 1, KIB),
    Row(RelayOpen, 0x60, 1, 64),
    Row(RelayOpened, 0x61, 1, 16),
    Row(RelayData, 0x62, 3, 64 * KIB, plain=True),
    Row(RelayClose, 0x63, 1, KIB),
    Row(RelayCredit, 0x64, 1, 16),
)
