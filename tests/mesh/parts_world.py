"""A handful of nodes that consist of parts alone, joined by links that may lose, repeat and reorder messages.

No core, no bytes, no sessions: what the tests of gossip, exchange, blobs, relay, reach and find need, and a virtual
clock. Messages of one link arrive in order unless `jitter_ns` says otherwise.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from qcommons.base.effects import Note, Send, WakeAt
from qcommons.base.seeds import stream
from qcommons.mesh.events import Effect
from qcommons.mesh.messages import Message
from qcommons.mesh.parts import AddressesLearned, Blame, DialDirect, Effects, PartBase, ToPeer, TryAddress
from qcommons.mesh.records import PeerId, PeerRecord, Signed

S = 1_000_000_000
MS = 1_000_000
T0 = 1_700_000_000 * S  # nodes count from 1970


def peer(number: int) -> PeerId:
    """The same order as the numbers."""
    return PeerId(number.to_bytes(2, "big") * 16)


def signed(number: int, addresses: tuple[str, ...] = (), offers: tuple[str, ...] = ()) -> Signed:
    record = PeerRecord(b"key %d" % number, 1, 1 << 39, addresses, "0.1.0", offers, (), b"a" * 16, b"")
    return Signed(peer(number), record, b"record %d" % number)


class FakePeers:
    """`parts.Peers`, set by hand."""

    def __init__(self, me: PeerId) -> None:
        self.me = me
        self.links: dict[PeerId, str] = {}  # peer -> address of the session
        self.pushes: list[PeerId] = []
        self.book: dict[PeerId, Signed] = {}
        self.wanted: list[bool] = []  # of each record that was found
        self._asked = 0

    def neighbours(self) -> tuple[PeerId, ...]:
        return tuple(self.pushes)

    def linked(self) -> Iterable[PeerId]:
        return list(self.links)

    def is_linked(self, peer: PeerId) -> bool:
        return peer in self.links

    def is_direct(self, peer: PeerId) -> bool:
        return self.links.get(peer, "relay/").startswith("tcp/")

    def address(self, peer: PeerId) -> str | None:
        return self.links.get(peer)

    def signed(self, peer: PeerId) -> Signed | None:
        return self.book.get(peer)

    def known(self) -> Iterable[PeerId]:
        return list(self.book)

    @property
    def book_version(self) -> int:
        """Tests change the book as they like: always another."""
        self._asked += 1
        return self._asked

    def admit(self, raw: bytes, by: PeerId, now_ns: int) -> tuple[Signed | None, Effects]:
        if not raw.startswith(b"record "):
            return None, [Blame(by, 10, "a forged record")]
        one = KNOWN[raw]
        self.book.setdefault(one.peer, one)
        return one, []

    def found(self, raw: bytes, by: PeerId, now_ns: int, *, wanted: bool) -> tuple[Signed | None, Effects]:
        self.wanted.append(wanted)
        return self.admit(raw, by, now_ns)


KNOWN: dict[bytes, Signed] = {}  # records that verify, by their bytes


class Node:
    def __init__(self, number: int, name: PeerId) -> None:
        self.number = number
        self.peers = FakePeers(name)
        self.parts: list[PartBase] = []
        self.sent: Counter[str] = Counter()
        self.doors: list[tuple[int, str, Any]] = []  # (when, to, message)
        self.blames: list[Blame] = []
        self.notes: list[Note] = []
        self.others: list[Any] = []  # effects that nobody here carries out

    def door(self, to: str) -> list[Any]:
        return [message for _, name, message in self.doors if name == to]


class PartsWorld:
    """name: of a node by its number. take: carries out what a driver would (blobs, circuits, dials)."""

    def __init__(
        self, count: int, make: Callable[[PartsWorld, Node], list[PartBase]], seed: int = 1,
        name: Callable[[int], PeerId] = peer,
    ) -> None:  # fmt: skip
        self.now_ns = T0
        self.rng = stream(seed, "parts world")
        self.latency_ns = MS
        self.jitter_ns = 0
        self.loss = 0.0
        self.twice = 0.0
        self.take: Callable[[Node, Effect], bool] = lambda node, effect: False
        self.name = name
        self.nodes = [Node(number, name(number)) for number in range(count)]
        self._numbers = {node.peers.me: node.number for node in self.nodes}
        self._order = itertools.count()
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        for node in self.nodes:
            node.parts = make(self, node)

    # links

    def link(self, a: int, b: int, *, neighbours: bool = True, addresses: tuple[str, str] | None = None) -> None:
        at_b, at_a = addresses or (f"tcp/10.0.0.{b}:1", f"tcp/10.0.0.{a}:1")
        for one, other, address in ((a, b, at_b), (b, a, at_a)):
            node, new = self.nodes[one], self.name(other)
            node.peers.links[new] = address
            self._each(node, lambda part, p=new: part.up(p, self.now_ns))
        if neighbours:
            for one, other in ((a, b), (b, a)):
                node, new = self.nodes[one], self.name(other)
                node.peers.pushes.append(new)
                self._each(node, lambda part, p=new: part.neighbour(p, True, self.now_ns))

    def unlink(self, a: int, b: int) -> None:
        for one, other in ((a, b), (b, a)):
            node, gone = self.nodes[one], self.name(other)
            if gone in node.peers.pushes:
                node.peers.pushes.remove(gone)
                self._each(node, lambda part, p=gone: part.neighbour(p, False, self.now_ns))
            if gone in node.peers.links:
                del node.peers.links[gone]
                self._each(node, lambda part, p=gone: part.down(p, "cut", self.now_ns))

    # events

    def wish(self, number: int, event: Any) -> None:
        node = self.nodes[number]
        takers = [part.wishes()[type(event)] for part in node.parts if type(event) in part.wishes()]
        assert takers, f"nobody takes {event}"
        for taker in takers:
            self.carry_out(node, taker(event, self.now_ns))

    def give(self, number: int, sender: int, message: Message, id: int = 0) -> None:
        """A message of a peer that follows no rules."""
        self._arrive(self.nodes[number], self.name(sender), id, message)

    def run(self, for_ns: int) -> None:
        end_ns = self.now_ns + for_ns
        while self._due and self._due[0][0] <= end_ns:
            self.now_ns, _, act = heapq.heappop(self._due)
            act()
        self.now_ns = end_ns

    def later(self, at_ns: int, act: Callable[[], None]) -> None:
        heapq.heappush(self._due, (max(at_ns, self.now_ns), next(self._order), act))

    def _each(self, node: Node, call: Callable[[PartBase], Effects]) -> None:
        for part in node.parts:
            self.carry_out(node, call(part))

    def _arrive(self, node: Node, sender: PeerId, id: int, message: Message) -> None:
        if sender not in node.peers.links:
            return
        (part,) = [part for part in node.parts if type(message) in part.KINDS]
        self.carry_out(node, part.came(sender, id, message, self.now_ns))

    def _woken(self, node: Node, token: Any) -> None:
        (part,) = [part for part in node.parts if token[0] == part.NAME]
        self.carry_out(node, part.woken(token, self.now_ns))

    # effects

    def carry_out(self, node: Node, effects: Effects) -> None:
        for effect in effects:
            match effect:
                case ToPeer(peer=to, message=message, id=id, dial=dial):
                    self._transmit(node, to, id, message, dial)
                case WakeAt(at_ns, token):
                    self.later(at_ns, lambda n=node, t=token: self._woken(n, t))
                case Blame():
                    node.blames.append(effect)
                case Note():
                    node.notes.append(effect)
                case Send(to, message):
                    node.doors.append((self.now_ns, to, message))
                case AddressesLearned() | TryAddress() | DialDirect():
                    if not self.take(node, effect):
                        node.others.append(effect)
                case _:
                    if not self.take(node, effect):
                        node.others.append(effect)

    def _transmit(self, node: Node, to: PeerId, id: int, message: Message, dial: bool) -> None:
        if to not in node.peers.links:
            if dial:
                (part,) = [part for part in node.parts if type(message) in part.KINDS]
                self.later(
                    self.now_ns + MS,
                    lambda: self.carry_out(node, part.unsent(to, id, message, "nobody answers", self.now_ns)),
                )
            return
        node.sent[type(message).__name__] += 1
        copies = 0 if self.rng.random() < self.loss else 2 if self.rng.random() < self.twice else 1
        other = self.nodes[self._numbers[to]]
        for _ in range(copies):
            at_ns = self.now_ns + self.latency_ns + int(self.jitter_ns * self.rng.random())
            self.later(at_ns, lambda: self._arrive(other, node.peers.me, id, message))
