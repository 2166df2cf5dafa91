"""MeshCore: one node of the mesh, pure. It routes between the connections and the parts, and decides little itself.

Flow: node's sockets or world's virtual ones -> event -> *MeshCore.handle* -> effects -> node or world.

    event                                  goes to
    Begin                                  own, guard, peerbook (what was stored), then the tick
    Linked, Came, Unlinked, DialFailed     `arrivals.py`: guard, links, dialler; messages to the part of their kind
    MyAddresses, Reached, PeerBanned, ...  `wishes.py`: own, dialler, guard, peerbook
    Woken(("core", "tick"))                twice a second: own record, membership, links, view, outbox, dialler
    Woken((name, ...))                     the part of that name
    any other                              the part whose `wishes()` name it

What parts say is carried out in order: `ToPeer` on the link in use, or a dial and a place in the outbox; `Blame` in the
guard; Learned, Neighboured and Try between the parts; all else goes out as it is, so a `Store` stays before the sends
that rest on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from qcommons.base.effects import Send, WakeAt, Woken, note
from qcommons.base.units import NS_PER_S
from qcommons.mesh import events as e
from qcommons.mesh import inside, links, parts
from qcommons.mesh.addresses import Scope
from qcommons.mesh.arrivals import Arrivals
from qcommons.mesh.assembly import MakeParts, standard_parts
from qcommons.mesh.dialler import Dialler
from qcommons.mesh.draws import Draws
from qcommons.mesh.guard import Guard
from qcommons.mesh.links import Links
from qcommons.mesh.membership import Membership
from qcommons.mesh.messages import Message, Records
from qcommons.mesh.outbox import Outbox, Waiting
from qcommons.mesh.own import KEY as OWN_KEY
from qcommons.mesh.own import Own
from qcommons.mesh.parts import PartBase, ToPeer
from qcommons.mesh.peerbook import CAP, PeerBook
from qcommons.mesh.records import PeerId, Signed
from qcommons.mesh.view import View
from qcommons.mesh.views import PeerView, peer_views
from qcommons.mesh.wishes import Wishes

__all__ = ["MeshCore"]

TICK_NS = NS_PER_S // 2
TICK = ("core", "tick")
Handler = Callable[[Any, int], None]


class MeshCore:
    """One node's mesh. It is also the `parts.Peers` of its parts.

    crypto: the node's key. network: id; nodes of another are refused. version: of the package, for the record.
    rng: `base.seeds.stream`. book_cap: records kept (a world of many nodes may keep fewer). make_parts: the parts
    above membership (`assembly.py`).
    """

    def __init__(
        self, crypto: e.Crypto, network: str, version: str, rng: np.random.Generator, *, book_cap: int = CAP,
        make_parts: MakeParts = standard_parts,
    ) -> None:  # fmt: skip
        self.me = crypto.peer
        self.out: list[e.Effect] = []
        self.left = False
        self.must_pump = False  # something may be dialled
        self.book_version = 0
        self._draws = draws = Draws(rng)
        self.own = Own(crypto, version)
        self.guard = Guard()
        self.links = Links(self.me, network, self._is_link_kept)
        self.book = PeerBook(
            crypto, self.own, self.is_kept, self._scope, self.guard.is_banned, book_cap,
            lambda peer: self._arrivals.prefix_of(peer),
        )  # fmt: skip
        self.dialler = Dialler(self.book, self.own, draws)
        self.membership = Membership(self, self.book, self.own, crypto, draws, self.links.heard_ns)
        self.view = View(self, self.book, self.membership, self.own, draws)
        self.outbox = Outbox()
        self.parts: list[PartBase] = [self.book, self.membership, self.view, *make_parts(self, rng, crypto)]
        self._by_name: dict[Any, PartBase] = {part.NAME: part for part in self.parts}
        self.reach: Any = self._by_name.get("reach")  # None in tests of fewer parts
        self.relay: Any = self._by_name.get("relay")
        self.routes: dict[type[Message], PartBase] = {kind: part for part in self.parts for kind in part.KINDS}
        self._arrivals = Arrivals(self)
        self._wishes = Wishes(self)
        self._takers = self._all_takers()
        self._carriers = self._all_carriers()

    def _all_takers(self) -> dict[type, Handler]:
        arrivals = self._arrivals
        takers: dict[type, Handler] = {
            e.Came: arrivals.came,
            Woken: self._woken,
            e.Linked: arrivals.linked,
            e.Unlinked: arrivals.unlinked,
            e.DialFailed: arrivals.dial_failed,
            e.Moving: lambda event, now_ns: self.links.moved(event.conn, now_ns),
            e.Begin: self._begin,
            **self._wishes.takers(),
        }
        wishes: dict[type, list[tuple[PartBase, Callable[[Any, int], parts.Effects]]]] = {}
        for part in self.parts:
            for kind, wish in part.wishes().items():
                wishes.setdefault(kind, []).append((part, wish))
        for kind, rows in wishes.items():
            takers[kind] = self._wish(rows, takers.get(kind))
        return takers

    def _all_carriers(self) -> dict[type, Callable[[Any, PartBase, int], None]]:
        arrivals = self._arrivals
        return {
            ToPeer: self._to_peer,
            parts.Blame: lambda effect, part, now_ns: self.blame(effect, now_ns),
            parts.AddressesLearned: lambda effect, part, now_ns: self.own.set_relays(effect.addresses),
            parts.TryAddress: lambda effect, part, now_ns: arrivals.probe(effect, now_ns),
            parts.DialDirect: lambda effect, part, now_ns: self._want_direct(effect.peer, now_ns),
            inside.Learned: self._learned,
            inside.Forgotten: lambda effect, part, now_ns: self._forgotten(effect.peer),
            inside.OwnRecordSeen: self._own_record_seen,
            inside.Neighboured: self._neighboured,
            inside.Try: self._try,
            links.Up: lambda effect, part, now_ns: arrivals.up(effect.conn, now_ns),
            links.Down: lambda effect, part, now_ns: arrivals.down(effect.peer, effect.reason, now_ns),
        }

    def handle(self, event: e.Event, now_ns: int) -> list[e.Effect]:
        """Take one event at `now_ns`, nanoseconds since 1970 that never decrease (`node.shell.SteadyClock`)."""
        self.out = []
        take = self._takers.get(type(event))
        if take is None:
            return [note("mesh_event_unknown", kind=type(event).__name__)]
        take(event, now_ns)
        if self.must_pump:
            self._pump(now_ns)
        return self.out

    def peers_view(self, now_ns: int) -> list[PeerView]:
        """All peers of the book and all that are kept out, for people and the API."""
        return peer_views(self, now_ns)

    # what parts may know (`parts.Peers`)

    def neighbours(self) -> tuple[PeerId, ...]:
        return self.view.neighbours()

    def linked(self) -> Iterable[PeerId]:
        return tuple(self.links.best)

    def is_linked(self, peer: PeerId) -> bool:
        return peer in self.links.best

    def is_direct(self, peer: PeerId) -> bool:
        conn = self.links.best.get(peer)
        return conn is not None and conn.is_direct

    def address(self, peer: PeerId) -> str | None:
        conn = self.links.best.get(peer)
        return conn.address if conn is not None else None

    def signed(self, peer: PeerId) -> Signed | None:
        return self.book.signed(peer)

    def known(self) -> Iterable[PeerId]:
        return tuple(self.book.entries)

    def admit(self, raw: bytes, by: PeerId, now_ns: int) -> tuple[Signed | None, parts.Effects]:
        learnt = self.book.learn(raw, by, self._scope(by), now_ns)
        return learnt.signed, learnt.effects

    def found(self, raw: bytes, by: PeerId, now_ns: int, *, wanted: bool) -> tuple[Signed | None, parts.Effects]:
        learnt = self.book.found(raw, by, self._scope(by), now_ns, wanted=wanted)
        return learnt.signed, learnt.effects

    def linked_at(self, address: str) -> PeerId | None:
        """Who is linked at an address that was dialled."""
        return next((peer for peer, conn in self.links.best.items() if conn.address == address), None)

    def is_kept(self, peer: PeerId) -> bool:
        """Whether the book keeps a peer whatever comes: linked, or the owner's choice."""
        return self.relation(peer) != "stranger" or peer in self.links.best

    def relation(self, peer: PeerId) -> str:
        """What the owner has to do with a peer: own, allowed, invited, or stranger."""
        return self._wishes.relation(peer)

    def _is_link_kept(self, peer: PeerId) -> bool:
        return peer in self.view.members or peer in self.outbox

    def _scope(self, peer: PeerId) -> Scope:
        conn = self.links.best.get(peer)
        return conn.scope if conn is not None else Scope.PUBLIC

    # carrying out

    def carry(self, effects: Iterable[Any], part: PartBase, now_ns: int) -> None:
        """Carry out what `part` said, in order."""
        for effect in effects:
            if type(effect) is ToPeer and (conn := self.links.best.get(effect.peer)) is not None:
                self.out.append(self.links.send(conn, effect.id, effect.message, now_ns))
                continue
            act = self._carriers.get(type(effect))
            if act is None:
                self.out.append(effect)
            else:
                act(effect, part, now_ns)

    def _to_peer(self, effect: ToPeer, part: PartBase, now_ns: int) -> None:
        """There is no link."""
        if not effect.dial:
            return
        why = self.guard.why_banned(effect.peer, now_ns) or ("this node leaves" if self.left else "")
        if not why and effect.peer == self.me:
            why = "it is this node itself"
        if not why and not self._want(effect.peer, now_ns):
            why = "no address of it is known that may be dialled"
        if not why and not self.outbox.add(Waiting(effect, part)):
            why = "too many messages wait for links"
        if why:
            self.carry(part.unsent(effect.peer, effect.id, effect.message, why, now_ns), part, now_ns)

    def unsent(self, waiting: Iterable[Waiting], why: str, now_ns: int) -> None:
        """Give messages that waited back to their parts."""
        for one in waiting:
            to = one.to
            self.carry(one.part.unsent(to.peer, to.id, to.message, why, now_ns), one.part, now_ns)

    def blame(self, effect: parts.Blame, now_ns: int) -> None:
        """Points for a peer, and out with it where they are enough."""
        said, is_ban = self.guard.blame(effect.peer, effect.points, effect.why, now_ns)
        self.out += said
        if is_ban:
            self.keep_out(effect.peer, f"banned: {effect.why}", now_ns)

    def keep_out(self, peer: PeerId, why: str, now_ns: int) -> None:
        """A peer is banned or denied: hang up, and want nothing of it."""
        self.news(peer, "banned", why)
        for conn in self.links.of(peer):
            self.carry(self.links.end(conn, "banned", why, now_ns), self.view, now_ns)
        self.dialler.forget(peer)
        self.unsent(self.outbox.take(peer), why, now_ns)
        self.carry(self.book.forget(peer), self.book, now_ns)  # it is neither passed on nor tried any more

    def news(self, peer: PeerId, state: str, cause: str) -> None:
        """Tell this node's own side of a peer."""
        signed = self.book.signed(peer)
        self.out.append(Send("mesh", e.News(peer, state, cause, signed.record if signed else None)))

    def answer(self, ticket: str, what: e.Got | e.Failed) -> None:
        """Answer one of this node's wishes; those without a ticket want no answer."""
        if ticket:
            self.out.append(Send(ticket, what))

    def _learned(self, effect: inside.Learned, part: PartBase, now_ns: int) -> None:
        self.book_version += 1
        self.carry(self.membership.learned(effect.signed, effect.is_new, now_ns), self.membership, now_ns)

    def _forgotten(self, peer: PeerId) -> None:
        self.book_version += 1
        self.membership.forgotten(peer)
        self.news(peer, "forgotten", "no room, banned, or the owner's wish")

    def _own_record_seen(self, effect: inside.OwnRecordSeen, part: PartBase, now_ns: int) -> None:
        if self.own.outbid(effect.seq):
            self.out.append(note("mesh_own_record_seen", seq=effect.seq))

    def _neighboured(self, effect: inside.Neighboured, part: PartBase, now_ns: int) -> None:
        for each in self.parts:
            self.carry(each.neighbour(effect.peer, effect.is_one, now_ns), each, now_ns)

    def _wish(self, rows: list[tuple[PartBase, Callable[[Any, int], parts.Effects]]], first: Handler | None) -> Handler:
        def take(event: Any, now_ns: int) -> None:
            if first is not None:
                first(event, now_ns)
            for part, wish in rows:
                self.carry(wish(event, now_ns), part, now_ns)

        return take

    # dialling

    def _want(self, peer: PeerId, now_ns: int, *, is_lost: bool = False) -> bool:
        if self.left or peer in self.links.best or self.guard.is_banned(peer, now_ns):
            return False
        self.must_pump = True
        return self.dialler.want(peer, now_ns, is_lost=is_lost)

    def _try(self, effect: inside.Try, part: PartBase, now_ns: int) -> None:
        self._want(effect.peer, now_ns, is_lost=True)

    def _want_direct(self, peer: PeerId, now_ns: int) -> None:
        if not self.left and not self.is_direct(peer):
            self.must_pump = True
            self.dialler.want(peer, now_ns, is_direct=True)

    def _pump(self, now_ns: int) -> None:
        self.must_pump = False
        for number in self.dialler.pump(now_ns):
            dialling = self.dialler.under_way[number]
            peer = dialling.peer
            is_needed = bool(dialling.ticket) or not self.links.best or (peer is not None and peer in self.outbox)
            if dialling.via is None or peer is None:
                self.out.append(e.Dial(number, dialling.address, peer, None, is_needed))
                continue
            circuit, effects = self.relay.open(dialling.via, peer, now_ns)
            self.out.append(e.Dial(number, dialling.address, peer, circuit, is_needed))
            self.carry(effects, self.relay, now_ns)

    # time

    def _begin(self, event: e.Begin, now_ns: int) -> None:
        """What was stored before; rows of other rooms' keys are not this one's."""
        loaders = {
            "peer": lambda key, value: self._load_peer(key, value, now_ns),
            "guard": lambda key, value: self.out.extend(self.guard.load(key, value)),
            "scope": lambda key, value: self.carry(self.book.load_scope(key, value), self.book, now_ns),
            "stopped": lambda key, value: self.carry(self.membership.load(key, value), self.membership, now_ns),
            "evidence": lambda key, value: self.book.load_evidence(key),
            OWN_KEY.partition("/")[0]: lambda key, value: self.out.extend(self.own.load(value)),
        }
        for key, value in event.kept:
            load = loaders.get(key.partition("/")[0])
            if load is not None:
                load(key, value)
        self.out.append(WakeAt(now_ns + self._draws.below(TICK_NS // 5), TICK))

    def _load_peer(self, key: str, value: bytes, now_ns: int) -> None:
        self.book_version += 1
        said, addresses = self.book.load(key, value, now_ns)
        self.carry(said, self.book, now_ns)
        for address in addresses:
            self.dialler.remember(address, None)
        entry = self.book.entries.get(PeerId(bytes.fromhex(key.partition("/")[2]))) if not said else None
        if entry is not None:
            self.membership.watch(entry, now_ns)

    def record(self, now_ns: int) -> bytes:
        """This node's record as of now; made and stored first, and told, where it is due."""
        if self.own.is_due(now_ns):
            self.out += self.own.renew(now_ns)
            assert self.own.signed is not None
            told = Records((self.own.signed.raw,))
            self.carry([ToPeer(peer, told) for peer in self.neighbours()], self.book, now_ns)
            self.carry(self.membership.renewed(now_ns), self.membership, now_ns)
        assert self.own.signed is not None
        return self.own.signed.raw

    def _woken(self, event: Woken, now_ns: int) -> None:
        token = event.token
        if token == TICK:
            self._tick(now_ns)
            return
        part = self._by_name.get(token[0]) if isinstance(token, tuple) and token else None
        if part is not None:
            self.carry(part.woken(token, now_ns), part, now_ns)

    def _tick(self, now_ns: int) -> None:
        if self.left:
            return
        self.record(now_ns)
        self.carry(self.membership.tick(now_ns), self.membership, now_ns)
        self.carry(self.links.tick(now_ns, self.membership.awake_ns), self.view, now_ns)
        self.carry(self.view.tick(now_ns), self.view, now_ns)
        self.unsent(self.outbox.overdue(now_ns), "no link came about in time", now_ns)
        for peer in self.outbox.peers():
            self._want(peer, now_ns)
        for number in self.dialler.overdue(now_ns):
            self.out.append(e.Hangup(number, "the dial took too long"))
            self._arrivals.dial_failed(e.DialFailed(number, "no answer in time"), now_ns)
        if not self.links.best and not any(conn.state == "greeting" for conn in self.links.conns.values()):
            self.dialler.try_bootstrap(now_ns)
        self.must_pump = True
        self.out.append(WakeAt(now_ns + self._draws.around(TICK_NS), TICK))
