"""Wishes: what this node's own side wants of the mesh, and the answers under its tickets.

Flow: node's door, settings, LAN discovery -> *Wishes* -> own, guard, dialler, peerbook -> `Send(ticket, Got | Failed)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qcommons.base.effects import note
from qcommons.base.errors import UsageError
from qcommons.mesh import events as e
from qcommons.mesh.addresses import parse
from qcommons.mesh.dialler import Dialling
from qcommons.mesh.records import PeerId

if TYPE_CHECKING:
    from qcommons.mesh.core import MeshCore

__all__ = ["Wishes"]

INVITED_MAX = 256
VERDICTS = {"deny": "deny", "allow": "allow", "neither": "", "": ""}


class Wishes:
    """certified, invited: peers that the owner certifies, or joined by the invitation of; the book keeps them."""

    def __init__(self, core: MeshCore) -> None:
        self.certified: frozenset[PeerId] = frozenset()
        self.invited: dict[PeerId, None] = {}
        self._core = core

    def relation(self, peer: PeerId) -> str:
        """own, allowed, invited, or stranger: the nearest that holds."""
        if peer in self.certified:
            return "own"
        if self._core.guard.verdict(peer) == "allow":
            return "allowed"
        return "invited" if peer in self.invited else "stranger"

    def takers(self) -> dict[type, Callable[[Any, int], None]]:
        """Type of an event -> what takes it."""
        own = self._core.own
        return {
            e.MyAddresses: lambda event, now_ns: self._set(lambda: own.set_addresses(event.addresses)),
            e.MyOffers: lambda event, now_ns: self._set(lambda: own.set_offers(event.offers)),
            e.MyAway: lambda event, now_ns: self._set(lambda: own.set_away(event.windows), event.ticket),
            e.MyOwner: self._my_owner,
            e.Reached: self._reached,
            e.PeerBanned: self._peer_banned,
            e.PeerForgotten: self._peer_forgotten,
            e.Leave: self._leave,
        }

    def _set(self, change: Callable[[], None], ticket: str = "") -> None:
        """Something that the next record says."""
        try:
            change()
        except UsageError as error:
            self._core.out.append(note("mesh_setting_refused", why=str(error)))
            self._core.answer(ticket, e.Failed("usage", error.what, error.where or "", error.limit or ""))
        else:
            self._core.answer(ticket, e.Got(b""))

    def _my_owner(self, event: e.MyOwner, now_ns: int) -> None:
        self._core.own.set_owner(event.owner)
        self.certified = frozenset(event.nodes)

    def _reached(self, event: e.Reached, now_ns: int) -> None:
        core = self._core
        try:
            address = parse(event.address)
        except UsageError as error:
            core.answer(event.ticket, e.Failed("usage", error.what, "address", error.limit or ""))
            return
        if event.peer == core.me or address.text in core.own.addresses():
            core.answer(event.ticket, e.Failed("usage", f"{event.address} is this node itself", "address"))
            return
        if event.bootstrap:
            core.dialler.remember(address.text, event.peer)
            if event.peer is not None and len(self.invited) < INVITED_MAX:
                self.invited[event.peer] = None
        linked = event.peer if event.peer is not None and core.is_linked(event.peer) else core.linked_at(address.text)
        if linked is not None:
            core.answer(event.ticket, e.Got(linked))
            return
        why = core.guard.why_banned(event.peer, now_ns) if event.peer is not None else ""
        if why:
            core.answer(event.ticket, e.Failed("usage", f"{why}; allow the peer first", event.address))
        elif not event.ticket and event.peer is not None and core.dialler.is_dialling(event.peer):
            return  # announcements on a local network repeat themselves
        elif core.dialler.knock(Dialling(event.peer, address.text, event.ticket)):
            core.must_pump = True
        else:
            core.answer(event.ticket, e.Failed("unavailable", "too many dials wait; try again in a minute"))

    def _peer_banned(self, event: e.PeerBanned, now_ns: int) -> None:
        core = self._core
        verdict = VERDICTS.get(event.verdict)
        if verdict is None or event.peer == core.me:
            what = "this node itself" if verdict is not None else f"verdict {event.verdict!r}; allow, deny or neither"
            core.answer(event.ticket, e.Failed("usage", what, "peer"))
            return
        core.out += core.guard.judge(event.peer, verdict, now_ns)
        if verdict == "deny":
            core.keep_out(event.peer, "denied by the owner", now_ns)
        else:
            entry = core.book.entries.get(event.peer)
            core.news(event.peer, entry.state if entry else "known", f"the owner says: {verdict or 'neither'}")
        core.answer(event.ticket, e.Got(b""))

    def _peer_forgotten(self, event: e.PeerForgotten, now_ns: int) -> None:
        core, peer = self._core, event.peer
        for conn in core.links.of(peer):
            core.carry(core.links.end(conn, "forgotten", "", now_ns), core.view, now_ns)
        if core.guard.verdict(peer):
            core.out += core.guard.judge(peer, "", now_ns)
        self.invited.pop(peer, None)
        core.dialler.forget(peer)
        core.unsent(core.outbox.take(peer), "the owner forgot the peer", now_ns)
        core.carry(core.book.forget(peer), core.book, now_ns)
        core.answer(event.ticket, e.Got(b""))

    def _leave(self, event: e.Leave, now_ns: int) -> None:
        """The farewell goes to all that are linked, who pass it on, and Bye."""
        core = self._core
        core.left = True
        core.view.leave()
        core.dialler.clear()
        core.carry(core.membership.farewell(), core.membership, now_ns)
        for conn in list(core.links.conns.values()):
            if conn.state != "closing":
                core.carry(core.links.end(conn, "leaving", event.reason, now_ns), core.view, now_ns)
        core.out += [e.Hangup(number, "this node leaves") for number in core.dialler.under_way]
