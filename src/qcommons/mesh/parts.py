"""What the parts of the mesh have in common: the core hands each its events by peer, and carries out what they say.

Flow: MeshCore -> *Part* -> effects (`ToPeer`, `Blame` and those of events.py) -> MeshCore. Parts know peers, not
connections: `links.py` finds or makes the connection. A part's timers have tokens ("its name", ...). This node's own
wishes (`Ask`, `Publish`, ...) go to the part whose `wishes()` names their type.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Protocol

import msgspec

from qcommons.mesh import events, inside
from qcommons.mesh.messages import Message
from qcommons.mesh.records import PeerId, Signed

__all__ = [
    "AddressesLearned", "Blame", "DialDirect", "Effect", "Effects", "Part", "PartBase", "Peers", "ToPeer", "TryAddress",
    "Wishes",
]  # fmt: skip


class ToPeer(msgspec.Struct, frozen=True):
    """Send `message` to `peer`. dial: make a connection if there is none (the message waits until `until_ns`, then
    `unsent` is called); else it is dropped where there is none."""

    peer: PeerId
    message: Message
    id: int = 0
    dial: bool = False
    until_ns: int = 0


class Blame(msgspec.Struct, frozen=True):
    """`peer` did what no honest node does: points (100 ban it, they decay), why, for log and owner."""

    peer: PeerId
    points: int
    why: str


class AddressesLearned(msgspec.Struct, frozen=True):
    """Where this node can be reached beside where it listens ("relay/NODE"); they replace those of before and belong
    into its record."""

    addresses: tuple[str, ...]


class TryAddress(msgspec.Struct, frozen=True):
    """Open a session with `peer` at `address` though there may be one already, say nothing in it (no Hello), close
    it, and call `Reach.tried(peer, address, ok, reason, now_ns)`, by `until_ns` at the latest."""

    peer: PeerId
    address: str
    until_ns: int


class DialDirect(msgspec.Struct, frozen=True):
    """`peer` is linked through a relay: dial the tcp addresses of its record, so that a direct link replaces it."""

    peer: PeerId


Effect = (
    events.Effect | ToPeer | Blame | AddressesLearned | TryAddress | DialDirect
    | inside.Forgotten | inside.Learned | inside.OwnRecordSeen | inside.Neighboured | inside.Try
)  # fmt: skip
Effects = list[Effect]
Wishes = Mapping[type, Callable[[Any, int], Effects]]


class Peers(Protocol):
    """What parts may know of the others. All of it is as of now."""

    me: PeerId

    def neighbours(self) -> tuple[PeerId, ...]:
        """Linked peers that push news to each other, in a stable order."""
        ...

    def linked(self) -> Iterable[PeerId]:
        """All peers with a session."""
        ...

    def is_linked(self, peer: PeerId) -> bool: ...

    def is_direct(self, peer: PeerId) -> bool:
        """Linked without a relay."""
        ...

    def address(self, peer: PeerId) -> str | None:
        """Where the session with it was dialled or came from; None where there is none."""
        ...

    def signed(self, peer: PeerId) -> Signed | None:
        """Its newest record."""
        ...

    def known(self) -> Iterable[PeerId]:
        """All peers of the book, in a stable order."""
        ...

    @property
    def book_version(self) -> int:
        """Another number each time that `known` or the `signed` of one of them has changed."""
        ...

    def admit(self, raw: bytes, by: PeerId, now_ns: int) -> tuple[Signed | None, Effects]:
        """A signed record that `by` passed on: verified and kept. None where it is not good or the book has no room;
        what it has to say to `by` is among the effects."""
        ...

    def found(self, raw: bytes, by: PeerId, now_ns: int, *, wanted: bool) -> tuple[Signed | None, Effects]:
        """A signed record inside an answer of `by`: verified in any case, None where it is not good. Kept as those of
        `admit` are; where this node looks for it itself (`wanted`) without their waiting."""
        ...


class Part(Protocol):
    """One small machine. All methods return effects at once and never raise for what a peer did."""

    def up(self, peer: PeerId, now_ns: int) -> Effects:
        """A session with `peer` stands and its hello was good."""
        ...

    def down(self, peer: PeerId, reason: str, now_ns: int) -> Effects:
        """No session with `peer` any more."""
        ...

    def neighbour(self, peer: PeerId, is_one: bool, now_ns: int) -> Effects:
        """`peer` became a neighbour, or is none any more (before `down`)."""
        ...

    def came(self, peer: PeerId, id: int, message: Message, now_ns: int) -> Effects:
        """One of the messages this part registered for."""
        ...

    def unsent(self, peer: PeerId, id: int, message: Message, reason: str, now_ns: int) -> Effects:
        """A `ToPeer` with `dial` could not be sent in time."""
        ...

    def woken(self, token: Hashable, now_ns: int) -> Effects: ...


class PartBase:
    """A part that hears nothing, knows nobody and wants nothing: others say what differs."""

    NAME = ""
    KINDS: tuple[type[Message], ...] = ()

    def wishes(self) -> Wishes:
        """Type of an event of this node's own -> what takes it, as method(event, now_ns).
        Several parts may name one type: all are called."""
        return {}

    def up(self, peer: PeerId, now_ns: int) -> Effects:
        return []

    def down(self, peer: PeerId, reason: str, now_ns: int) -> Effects:
        return []

    def neighbour(self, peer: PeerId, is_one: bool, now_ns: int) -> Effects:
        return []

    def came(self, peer: PeerId, id: int, message: Message, now_ns: int) -> Effects:
        return []

    def unsent(self, peer: PeerId, id: int, message: Message, reason: str, now_ns: int) -> Effects:
        return []

    def woken(self, token: Hashable, now_ns: int) -> Effects:
        return []
