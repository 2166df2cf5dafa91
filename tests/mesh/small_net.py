"""Some cores joined by a small network in memory: latency, walls, crashes; the simulator proper is `qcommons.world`.

net = SmallNet(30)
net.start_all()
net.run(5)
assert net.everybody_knows_everybody()
"""

from __future__ import annotations

import hashlib
from collections import Counter
from heapq import heappop, heappush
from typing import Any

from qcommons.base.effects import Note, Send, Store, WakeAt, Woken
from qcommons.base.seeds import stream
from qcommons.mesh import events as e
from qcommons.mesh.core import MeshCore
from qcommons.mesh.messages import ROWS
from qcommons.mesh.records import PeerId
from qcommons.world.double import Double, Oracle

EPOCH_NS = 1_800_000_000 * 10**9
S = 10**9
LATENCY_NS = 2_000_000
SYN_NS = (0, 1 * S, 3 * S)  # when a SYN is sent, after the dial
NUMBERS = {row.kind: row.number for row in ROWS}


class Node:
    def __init__(self, name: str, index: int, oracle: Oracle) -> None:
        self.name = name
        self.index = index
        self.key = oracle.public_key(name)
        self.peer = PeerId(hashlib.sha3_256(self.key).digest())
        self.address = f"tcp/127.0.0.1:{1000 + index}"
        self.disk: dict[str, bytes] = {}
        self.core: MeshCore | None = None
        self.lives = 0
        self.skew_ns = 0
        self.frozen_until_ns = 0
        self.ends: dict[int, tuple[Node, int, int]] = {}  # conn -> other node, its conn, its life
        self.inbound = -1
        self.news: list[tuple[int, e.News]] = []
        self.sent: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        self.said: list[Send] = []


class SmallNet:
    def __init__(self, count: int, seed: int = 1, network: str = "test", **limits: Any) -> None:
        self.seed = seed
        self.network = network
        self.limits = limits
        self.oracle = Oracle(seed)
        self.nodes = [Node(f"node {index}", index, self.oracle) for index in range(count)]
        self.by_address = {node.address: node for node in self.nodes}
        self.now_ns = 0
        self.wall: Any = lambda a, b: False
        self.trace = hashlib.sha256()
        self.events = 0
        self._heap: list[tuple[int, int, Node, int, Any]] = []
        self._seq = 0

    # lives

    def start(self, node: Node, *events: Any) -> None:
        node.lives += 1
        rng = stream(self.seed, "core", node.index, node.lives)
        node.core = MeshCore(Double(self.oracle, node.key, self.network), self.network, "0.1", rng, **self.limits)
        begin = e.Begin(tuple(sorted(node.disk.items())))
        for event in (begin, e.MyAddresses((node.address,)), *events):
            self.post(self.now_ns, node, event)

    def start_all(self, gap_ns: int = 20_000_000) -> None:
        """All, with the first as everybody's only contact."""
        first = self.nodes[0]
        self.start(first)
        for node in self.nodes[1:]:
            self.run(gap_ns / S)
            self.start(node, e.Reached("", first.address, first.peer, True))

    def kill(self, node: Node) -> None:
        node.core = None
        for other, theirs, life in list(node.ends.values()):
            if not self.wall(node.index, other.index):
                self.post(self.now_ns + LATENCY_NS, other, e.Unlinked(theirs, "reset"), life)
        node.ends.clear()

    # time

    def post(self, at_ns: int, node: Node, event: Any, life: int | None = None) -> None:
        self._seq += 1
        heappush(self._heap, (at_ns, self._seq, node, node.lives if life is None else life, event))

    def run(self, seconds: float) -> None:
        until_ns = self.now_ns + int(seconds * S)
        while self._heap and self._heap[0][0] <= until_ns:
            self.now_ns, _, node, life, event = heappop(self._heap)
            if callable(event):
                event()
            elif node.core is None or node.lives != life:
                continue
            elif node.frozen_until_ns > self.now_ns:
                self.post(node.frozen_until_ns, node, event, life)
            else:
                self.tell(node, event)
        self.now_ns = until_ns

    def tell(self, node: Node, event: Any) -> None:
        if isinstance(event, (e.Came, e.Unlinked)) and event.conn not in node.ends:
            return
        if isinstance(event, e.Unlinked):
            del node.ends[event.conn]
        assert node.core is not None
        self.events += 1
        self.trace.update(f"{self.now_ns} {node.index} {type(event).__name__} {getattr(event, 'conn', 0)};".encode())
        for effect in node.core.handle(event, EPOCH_NS + self.now_ns + node.skew_ns):
            self._carry(node, effect)

    def _carry(self, node: Node, effect: Any) -> None:
        match effect:
            case e.Transmit():
                node.sent[type(effect.message).__name__] += 1
                assert effect.conn in node.ends, f"{effect} on a connection that has ended"
                other, theirs, life = node.ends[effect.conn]
                came = e.Came(theirs, effect.id, effect.message, 100)
                self._pass(node, other, life, came)
            case WakeAt():
                self.post(max(effect.at_ns - EPOCH_NS - node.skew_ns, self.now_ns), node, Woken(effect.token))
            case Store():
                node.disk.pop(effect.key, None)
                if effect.value is not None:
                    node.disk[effect.key] = effect.value
            case e.Dial():
                self._dial(node, effect, 0)
            case e.Hangup():
                if effect.conn in node.ends:
                    other, theirs, life = node.ends.pop(effect.conn)
                    self._pass(node, other, life, e.Unlinked(theirs, "closed by the other end"))
                    node.ends[effect.conn] = (other, theirs, life)
                    self.post(self.now_ns, node, e.Unlinked(effect.conn, effect.reason))
            case Note():
                node.notes[effect.name] += 1
            case Send():
                if isinstance(effect.message, e.News):
                    node.news.append((self.now_ns, effect.message))
                else:
                    node.said.append(effect)

    def _pass(self, node: Node, other: Node, life: int, event: Any) -> None:
        """In order; what meets a wall is lost, as after long retransmission."""
        if not self.wall(node.index, other.index):
            self.post(self.now_ns + LATENCY_NS, other, event, life)

    def _dial(self, node: Node, dial: e.Dial, attempt: int) -> None:
        other, life = self.by_address.get(dial.address), node.lives

        def knock() -> None:
            if node.core is None or node.lives != life:
                return
            if other is not None and not self.wall(node.index, other.index):
                if other.core is None or (dial.peer is not None and dial.peer != other.peer):
                    why = "refused" if other.core is None else "somebody else is there"
                    self.post(self.now_ns, node, e.DialFailed(dial.conn, why), life)
                    return
                other.inbound += 2
                node.ends[dial.conn] = (other, other.inbound, other.lives)
                other.ends[other.inbound] = (node, dial.conn, life)
                came_in = e.Linked(other.inbound, node.peer, node.key, "tcp/127.0.0.1:9", True)
                self.post(self.now_ns, node, e.Linked(dial.conn, other.peer, other.key, dial.address, False), life)
                self.post(self.now_ns, other, came_in)
            elif attempt + 1 < len(SYN_NS):
                self._dial(node, dial, attempt + 1)

        wait_ns = SYN_NS[attempt] - SYN_NS[max(0, attempt - 1)]
        self.post(self.now_ns + wait_ns + 3 * LATENCY_NS, node, knock)

    # questions

    def live(self) -> list[Node]:
        return [node for node in self.nodes if node.core is not None]

    def states(self, node: Node) -> dict[int, str]:
        assert node.core is not None
        index = {other.peer: other.index for other in self.nodes}
        return {index[view.peer]: view.state for view in node.core.peers_view(EPOCH_NS + self.now_ns)}

    def everybody_knows_everybody(self, nodes: list[Node] | None = None) -> bool:
        among = nodes if nodes is not None else self.live()
        everybody = {node.index for node in among}
        for node in among:
            states = self.states(node)
            if any(states.get(index) != "alive" for index in everybody - {node.index}):
                return False
        return True

    def seconds_until(self, what: Any, at_most: float, step: float = 0.05) -> float:
        """Run until `what()` holds; raises AssertionError after `at_most` seconds."""
        begin_ns = self.now_ns
        while not what():
            assert self.now_ns - begin_ns < at_most * S, f"not within {at_most} s"
            self.run(step)
        return (self.now_ns - begin_ns) / S
