"""What the core's own parts ask of each other: effects that never leave the core.

Flow: peerbook, membership, view -> these -> MeshCore -> the parts that care.
"""

from __future__ import annotations

import msgspec

from qcommons.mesh.records import PeerId, Signed

__all__ = ["Forgotten", "Learned", "Neighboured", "OwnRecordSeen", "Try"]


class Learned(msgspec.Struct, frozen=True):
    """A peer's record came, verified and newer than what was known. is_new: nothing was."""

    signed: Signed
    is_new: bool


class OwnRecordSeen(msgspec.Struct, frozen=True):
    """Somebody holds a record of this node that it no longer knows of, or that a second node with its key made."""

    seq: int


class Neighboured(msgspec.Struct, frozen=True):
    """`peer` became a neighbour, or is none any more."""

    peer: PeerId
    is_one: bool


class Try(msgspec.Struct, frozen=True):
    """Make a session with `peer`, if one of its addresses can be dialled now."""

    peer: PeerId


class Forgotten(msgspec.Struct, frozen=True):
    """The book let go of a peer."""

    peer: PeerId
