"""Arrivals: what happens on connections, from the proven session to the parts and back.

Flow: Linked, Came, Unlinked, DialFailed -> *Arrivals* -> guard, links, dialler -> Up, Down -> every part.

    Linked    banned, full, itself, given up: Bye and Hangup; else Hello
    Came      over its rate: dropped, counted; Hello, Bye, Ping, Pong: links; any other: its part, once greeted
    Hello     wrong network or version, bad record: Bye and Hangup; else the link is open
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qcommons.base.effects import note
from qcommons.base.errors import UsageError
from qcommons.mesh import events as e
from qcommons.mesh.addresses import parse
from qcommons.mesh.dialler import Dialling
from qcommons.mesh.links import BYE_CODES, Conn
from qcommons.mesh.messages import Bye, Hello, Message, Ping, Pong, Records
from qcommons.mesh.parts import Blame, ToPeer, TryAddress
from qcommons.mesh.records import PeerId

if TYPE_CHECKING:
    from qcommons.mesh.core import MeshCore

__all__ = ["Arrivals"]


class Arrivals:
    """The connections' half of the router; its state is the core's."""

    def __init__(self, core: MeshCore) -> None:
        self._core = core
        self._greetings: dict[type[Message], Callable[[Conn, int, Any, int], None]] = {
            Hello: self._hello, Bye: self._bye, Ping: self._ping, Pong: self._pong,
        }  # fmt: skip

    # sessions

    def linked(self, event: e.Linked, now_ns: int) -> None:
        """A session stands."""
        core = self._core
        dialling = None if event.inbound else core.dialler.linked(event.conn)
        core.must_pump = True
        if dialling is None and not event.inbound:
            return  # it was given up, and hung up with that
        if dialling is not None and dialling.probe is not None:
            core.out.append(e.Hangup(event.conn, "the address was tried"))
            self._tried(dialling.probe, True, "", now_ns)
            return
        ticket = dialling.ticket if dialling is not None else ""
        why = self._why_not(event, now_ns)
        if why is None:
            core.carry(core.links.linked(event, ticket, core.record(now_ns), now_ns), core.view, now_ns)
            return
        code, text = why
        core.out += [e.Transmit(event.conn, 0, Bye(code, text)), e.Hangup(event.conn, text)]
        core.out.append(note("mesh_refused", peer=event.peer.hex(), address=event.address, code=code, why=text))
        core.answer(ticket, e.Failed("peer", text, where=event.address))

    def _why_not(self, event: e.Linked, now_ns: int) -> tuple[str, str] | None:
        """(code, text) of the Bye to a session that is not wanted."""
        core = self._core
        if event.peer == core.me:
            return "self", BYE_CODES["self"]
        if core.left:
            return "leaving", BYE_CODES["leaving"]
        why = core.guard.why_banned(event.peer, now_ns)
        if why:
            return "banned", why
        if event.inbound and core.links.is_full and not core.is_kept(event.peer):
            return "full", BYE_CODES["full"]
        return None

    def unlinked(self, event: e.Unlinked, now_ns: int) -> None:
        """A connection has ended."""
        core = self._core
        conn = core.links.conns.get(event.conn)
        if conn is None:
            return  # it was never let in
        core.carry(core.links.unlinked(event.conn, event.reason), core.view, now_ns)
        core.answer(conn.ticket, e.Failed("peer", conn.why or event.reason, where=conn.address))
        if not core.links.of(conn.peer):
            core.guard.forget_flow(conn.peer)

    def dial_failed(self, event: e.DialFailed, now_ns: int) -> None:
        """A dial came to nothing; the peer's next address is dialled at once."""
        core = self._core
        dialling = core.dialler.failed(event.conn, event.reason, event.is_other, now_ns)
        if dialling is None:
            return
        core.must_pump = True
        if dialling.probe is not None:
            self._tried(dialling.probe, False, event.reason, now_ns)
        what = f"{dialling.address} cannot be reached: {event.reason}"
        core.answer(dialling.ticket, e.Failed("unavailable", what, where=dialling.address))
        peer = dialling.peer.hex() if dialling.peer is not None else ""
        core.out.append(note("mesh_dial_failed", peer=peer, address=dialling.address, why=event.reason))

    def probe(self, effect: TryAddress, now_ns: int) -> None:
        """A part wants to know whether an address can be dialled."""
        self._core.must_pump = True
        if not self._core.dialler.knock(Dialling(effect.peer, effect.address, probe=effect)):
            self._tried(effect, False, "too many dials wait", now_ns)

    def _tried(self, probe: TryAddress, ok: bool, reason: str, now_ns: int) -> None:
        reach = self._core.reach
        if reach is not None:
            self._core.carry(reach.tried(probe.peer, probe.address, ok, reason, now_ns), reach, now_ns)

    # messages

    def came(self, event: e.Came, now_ns: int) -> None:
        """A message on a connection."""
        core, links = self._core, self._core.links
        conn = links.conns.get(event.conn)
        if conn is None or conn.state == "closing":
            return
        message, peer = event.message, conn.peer
        kind = type(message)
        if not core.guard.admits(peer, kind, event.size_bytes, now_ns):
            self._flooded(peer, kind, now_ns)
            return
        links.heard(conn, message, event.size_bytes, now_ns)
        part = core.routes.get(kind)
        if part is not None and conn.state != "greeting":
            effects = part.came(peer, event.id, message, now_ns)
            if effects:
                core.carry(effects, part, now_ns)
        elif (greet := self._greetings.get(kind)) is not None:
            greet(conn, event.id, message, now_ns)
        else:
            why = "came before the Hello" if part is not None else "no part takes it"
            core.out.append(note("mesh_dropped", peer=conn.peer.hex(), why=why, kind=kind.__name__, dropped=1))

    def _flooded(self, peer: PeerId, kind: type[Message], now_ns: int) -> None:
        notes, points = self._core.guard.drops(peer, kind, now_ns)
        self._core.out += notes
        if points:
            self._core.blame(Blame(peer, points, f"floods with {kind.__name__}"), now_ns)

    def _hello(self, conn: Conn, id: int, message: Hello, now_ns: int) -> None:
        core = self._core
        if conn.state != "greeting":
            return  # it came twice
        code, text = core.links.refused(message)
        newest = None
        if not code:
            learnt = core.book.learn(message.record, conn.peer, conn.scope, now_ns, guest=self.prefix(conn))
            core.carry(learnt.effects, core.book, now_ns)
            newest = learnt.signed
            if conn.state != "greeting":
                return  # it was banned for that record
            if newest is None:
                code, text = "record", learnt.why
        if code:
            facts = note("mesh_refused", peer=conn.peer.hex(), address=conn.address, code=code, why=text)
            core.out.append(facts)
            core.carry(core.links.end(conn, code, text, now_ns), core.view, now_ns)
            return
        core.carry(core.links.opened(conn, now_ns), core.view, now_ns)
        core.answer(conn.ticket, e.Got(conn.peer))
        conn.ticket = ""
        if newest is not None and newest.raw != message.record:
            # it has lost its disk or set its clock back: what it says with the older seq counts nowhere
            core.carry([ToPeer(conn.peer, Records((newest.raw,)))], core.book, now_ns)

    def _bye(self, conn: Conn, id: int, message: Bye, now_ns: int) -> None:
        self._core.carry(self._core.links.bye(conn, message, now_ns), self._core.view, now_ns)

    def _ping(self, conn: Conn, id: int, message: Ping, now_ns: int) -> None:
        if conn.state != "draining":
            self._core.out.append(e.Transmit(conn.number, id, Pong()))

    def _pong(self, conn: Conn, id: int, message: Pong, now_ns: int) -> None:
        self._core.links.pong(conn, id, now_ns)

    # links

    def prefix(self, conn: Conn) -> str:
        """Of the address at which the other end is; where a relay passes it on, of the relay's, since names of nodes
        cost nothing."""
        try:
            address = parse(conn.address)
        except UsageError:  # a form that only the driver knows
            return conn.address
        via = None if address.via is None else self._core.links.best.get(address.via)
        return address.prefix if via is None or not via.is_direct else parse(via.address).prefix

    def prefix_of(self, peer: PeerId) -> str:
        """Of a linked peer; empty where it is not linked."""
        conn = self._core.links.best.get(peer)
        return "" if conn is None else self.prefix(conn)

    def up(self, conn: Conn, now_ns: int) -> None:
        """The first open link of a peer: the parts hear of it, then what waited for it goes out."""
        core, peer = self._core, conn.peer
        entry = core.book.entries[peer]
        was_lost = entry.state in ("lost", "stopped")
        if not conn.inbound and conn.is_direct:
            entry.proven = conn.address
        is_ours = not conn.inbound and conn.is_direct
        core.carry(core.book.linked(peer, self.prefix(conn), is_ours, now_ns), core.book, now_ns)
        core.dialler.forget(peer)
        for number in core.dialler.rivals(peer, is_direct=conn.is_direct):
            if not core.dialler.under_way[number].ticket:
                core.dialler.give_up(number)
                core.out.append(e.Hangup(number, "linked by another address"))
        core.news(peer, "linked", f"{'came in from' if conn.inbound else 'dialled'} {conn.address}")
        for part in core.parts:
            core.carry(part.up(peer, now_ns), part, now_ns)
        if was_lost:
            core.carry(core.view.returned(peer, now_ns), core.view, now_ns)
        for waiting in core.outbox.take(peer):
            core.carry([waiting.to], waiting.part, now_ns)

    def down(self, peer: PeerId, reason: str, now_ns: int) -> None:
        """No open link of a peer any more; the view first, so that nobody takes it for a neighbour."""
        core = self._core
        core.carry(core.view.down(peer, reason, now_ns), core.view, now_ns)
        for part in core.parts:
            if part is not core.view:
                core.carry(part.down(peer, reason, now_ns), part, now_ns)
        entry = core.book.entries.get(peer)
        if entry is not None:
            core.news(peer, entry.state, f"link ended: {reason}")
