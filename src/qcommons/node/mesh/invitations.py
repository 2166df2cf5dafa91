"""Invitations that this node's owner took: whose node was not met yet, and whom the owner joined by.

Flow: `join` -> door -> *Invitations* -> disk; news of a peer -> *met*; start -> dials, `qcommons status`, peers' rows.
An invitation is tried until its node was met; whom the owner chose so is no stranger afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import msgspec

from qcommons.base.typed import described
from qcommons.mesh.invite import Invite
from qcommons.mesh.records import PeerId
from qcommons.node.store import Store

__all__ = ["Invitations", "KeptInvite"]

KEY = "mesh-node/invites"
PENDING_MAX = 16
KEPT_MAX = 256  # as the core remembers in a life of the process (`mesh/wishes.py`)


class KeptInvite(msgspec.Struct, frozen=True, array_like=True):
    """One that was taken. since_ns: when, 0 where it is not known. met: its node was; that is dialled by its record.
    is_bootstrap: nobody invited; the node answered at an address of mesh.bootstrap."""

    peer: bytes
    addresses: tuple[str, ...]
    since_ns: int = 0
    met: bool = False
    is_bootstrap: bool = False


class Invitations:
    """on_log: name and facts of a line of the log."""

    def __init__(self, disk: Store, on_log: Callable[..., None]) -> None:
        self._disk, self._on_log = disk, on_log
        self._kept: dict[bytes, KeptInvite] = {}

    def read(self) -> None:
        """What was kept before. Raises Corrupt, Unavailable of the disk."""
        raw = self._disk.get(KEY)
        if raw is None:
            return
        try:
            kept = msgspec.msgpack.decode(raw, type=described(list[KeptInvite]))
        except msgspec.MsgspecError as error:  # joining again makes it anew
            self._on_log("mesh_row_damaged", key=KEY, why=str(error))
            return
        self._kept = {one.peer: one for one in kept}

    def pending(self) -> list[KeptInvite]:
        """Oldest first."""
        return [one for one in self._kept.values() if not one.met]

    def has(self, peer: PeerId) -> bool:
        """Whether the owner joined by an invitation of this node, or by its address."""
        return peer in self._kept

    def take(self, invite: Invite, now_ns: int, alive: Collection[PeerId]) -> None:
        """alive: peers that are here; one of them has nothing to wait for."""
        before = self._kept.pop(invite.node, None)
        since_ns = now_ns if before is None or before.met else before.since_ns or now_ns
        self._kept[invite.node] = KeptInvite(invite.node, tuple(invite.addresses), since_ns, invite.node in alive)
        for one in self.pending()[:-PENDING_MAX]:
            del self._kept[one.peer]
        for peer in list(self._kept)[:-KEPT_MAX]:
            del self._kept[peer]
        self._write()

    def met(self, peer: PeerId) -> None:
        """Its node is here."""
        one = self._kept.get(peer)
        if one is not None and not one.met:
            self._kept[peer] = msgspec.structs.replace(one, met=True)
            self._write()

    def answered(self, peer: PeerId, address: str, now_ns: int) -> None:
        """A node was met at an address of mesh.bootstrap; whoever answered there before is no longer meant."""
        if peer in self._kept:
            return
        before = [one.peer for one in self._kept.values() if one.is_bootstrap and one.addresses == (address,)]
        for other in before:
            del self._kept[other]
        self._kept[peer] = KeptInvite(peer, (address,), now_ns, met=True, is_bootstrap=True)
        self._write()

    def forget(self, peer: PeerId) -> None:
        """The owner forgot the peer."""
        if self._kept.pop(peer, None) is not None:
            self._write()

    def _write(self) -> None:
        self._disk.apply([(KEY, msgspec.msgpack.encode(list(self._kept.values())))])
