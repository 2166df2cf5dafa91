"""What a wire is told and what it says: events and effects of one connection.

Flow: pipe, core -> *event* -> Wire (`wire.py`) -> *effect* -> pipe, core. ToPipe, Established and Ended are the
session's, MessageIn the frames', WakeAt, Woken and Run everybody's.
"""

from __future__ import annotations

import msgspec

from qcommons.base.effects import Run, WakeAt, Woken
from qcommons.mesh.frame import MessageIn
from qcommons.mesh.messages import Message
from qcommons.mesh.session import Ended, Established, ToPipe

__all__ = [
    "Bytes", "Close", "Crowded", "Drained", "Drop", "Grows", "Lost", "NeverSent", "Opened", "Out", "SendMessage",
    "Solved", "TellWritten", "Unsent", "WireEffect", "WireEvent", "Written",
]  # fmt: skip


# events


class Opened(msgspec.Struct, frozen=True):
    """First event: the pipe stands."""


class Bytes(msgspec.Struct, frozen=True, gc=False):
    """The pipe brought these, in order."""

    data: bytes


class Written(msgspec.Struct, frozen=True, gc=False):
    """So many bytes still wait in the pipe; answers `TellWritten`, and may be told at any time."""

    backlog_bytes: int


class SendMessage(msgspec.Struct, frozen=True, gc=False):
    """Before the session stands, it waits."""

    id: int
    message: Message


class Solved(msgspec.Struct, frozen=True):
    """The puzzle's solution; None where there is none, `why` then says the reason."""

    solution: bytes | None
    why: str = "it was not solved"


class Close(msgspec.Struct, frozen=True):
    """Close once everything before it is sent (or after 5 s)."""

    detail: str = ""


class Drop(msgspec.Struct, frozen=True):
    """End at once: what waits is not worth the memory it takes."""

    detail: str


class Lost(msgspec.Struct, frozen=True):
    """The pipe ended."""

    detail: str = ""


WireEvent = Opened | Bytes | Written | SendMessage | Solved | Close | Drop | Lost | Woken


# effects, beside ToPipe, Established, MessageIn, Ended, WakeAt and Run("puzzle", Puzzle)


class TellWritten(msgspec.Struct, frozen=True, gc=False):
    """Say `Written` as soon as at most `below_bytes` wait in the pipe; at once, if that is so now."""

    below_bytes: int


class Unsent(msgspec.Struct, frozen=True):
    """No room: the message is dropped. priority: of its row; `Drained(priority)` tells when to go on."""

    id: int
    message: Message
    priority: int


class Drained(msgspec.Struct, frozen=True):
    priority: int


class NeverSent(msgspec.Struct, frozen=True):
    """The end is next: requests (ids of their frames) that waited and were not handed to the pipe."""

    ids: tuple[int, ...]


class Grows(msgspec.Struct, frozen=True):
    """A frame that is not whole after a second goes on coming: told once a second while it does."""


class Crowded(msgspec.Struct, frozen=True):
    """All wires together hold more than they may (`held.py`)."""


WireEffect = (
    ToPipe
    | Established
    | MessageIn
    | Ended
    | WakeAt
    | Run
    | TellWritten
    | Unsent
    | Drained
    | NeverSent
    | Grows
    | Crowded
)
Out = list[WireEffect]
