"""The stage: hosts and their cores put into a simulator, started, driven, and asked how they see each other.

Flow: case -> *Stage* -> simulator; faults and checkers act and look through it. `core` builds what runs on a host, so
that a test can put a toy or a broken core there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from qcommons.base.seeds import stream
from qcommons.mesh import peer_record
from qcommons.mesh.events import Answer, Ask, Asked, Begin, MyAddresses, MyOffers, OpenDoor, OpenTopic, Publish, Reached
from qcommons.mesh.peerbook import CAP
from qcommons.mesh.records import PeerId
from qcommons.pqc import signing
from qcommons.pqc.identity import NodeKey, node_hash
from qcommons.world.double import Double, Oracle
from qcommons.world.draws import Draws
from qcommons.world.host import Host, Life, Machine
from qcommons.world.liars import LIARS, Liar
from qcommons.world.memories import remember
from qcommons.world.network import Wall
from qcommons.world.real import RealCrypto, real_key
from qcommons.world.scenarios import Scenario
from qcommons.world.simulator import Simulator

__all__ = ["ASK_NS", "NETWORK", "TOPIC", "CoreMaker", "Stage", "mesh_core"]

S_NS = 10**9
NETWORK, FOREIGN = "world", "elsewhere"
TOPIC, DOOR = "world", "world/1"
ASK_NS = 4 * S_NS  # within which a request must be answered
ASK_BYTES = 64
RECORDS_A_NODE = 3  # that are about at a time: its last two and one under way
ANSWER_NS = 3_000_000  # what the door's owner takes for an answer
VERSION = "world"

CoreMaker = Callable[[Any, str, np.random.Generator, int], Machine]


def mesh_core(crypto: Any, network: str, rng: np.random.Generator, book_cap: int = CAP) -> Machine:
    """The core that a node runs."""
    from qcommons.mesh.core import MeshCore

    return MeshCore(crypto, network, VERSION, rng, book_cap=book_cap)


class Stage:
    """gone: nodes that are never started again, by number. walls: partitions that stand, by moment. book_cap: records
    that each node keeps."""

    def __init__(
        self, scenario: Scenario, seed: int, nodes: int, core: CoreMaker = mesh_core, crypto: str = "double"
    ) -> None:  # fmt: skip
        self.scenario = scenario
        self.seed = seed
        self.book_cap = scenario.book or CAP
        self.oracle = Oracle(seed)
        self._keys: dict[int, NodeKey] | None = None if crypto == "double" else {}
        self._is_wired = crypto == "wire"
        self.seen: Any = None  # who is told of the work of nodes (`hirings.py`), where they have any
        self.world = Simulator(seed, self._make)
        self.gone: set[int] = set()
        self.walls: dict[int, Wall] = {}
        self.over = False  # the faults are
        self.struck: set[int] = set()  # moments that have begun and not ended
        self._core = core
        self._traffic = Draws(stream(seed, "world", "traffic"))
        self._tickets = 0
        peer_record.share(max(peer_record.MEMO, RECORDS_A_NODE * nodes))
        draws = Draws(stream(seed, "world", "places"))
        for index in range(nodes + scenario.foreign):
            network = NETWORK if index < nodes else FOREIGN
            self._add(index, network, draws)
        self.world.doors[DOOR] = self._door

    def _add(self, index: int, network: str, draws: Draws) -> None:
        if self._keys is None:
            key = self.oracle.public_key(f"node {index}")
        else:
            self._keys[index] = real_key(self.seed, index)
            key = self._keys[index].public_key
        # public addresses, each in a prefix of its own: 20.0.0.0/8 upwards belongs to no special registry (RFC 6890)
        address = f"tcp/{20 + (index >> 16)}.{index >> 8 & 255}.{index & 255}.7:4747"
        host = Host(index, PeerId(node_hash(key)), key, network, address)
        host.x, host.y = draws.unit(), draws.unit()
        host.reachable = not (index and draws.unit() < self.scenario.unreachable)
        self.world.hosts.append(host)
        self.world.network.by_address[address] = host

    # lives

    def open(self) -> None:
        """Every node starts at its time."""
        hosts = self.world.hosts
        if self.scenario.book:
            remember(self, self.scenario.book)
        for host in hosts:
            at_ns = int(self.scenario.join_s * S_NS * host.index / max(1, len(hosts)))
            self.world.call(at_ns, lambda host=host: self.start(host))  # type: ignore[misc]  # mypy 11886
        self._next_publish()
        self._next_ask()

    def start(self, host: Host) -> None:
        """A life begins with what its disk kept; nothing where the node is up, gone or away."""
        if host.life is not None or host.index in self.gone or host.away_until_ns > self.world.now_ns:
            return
        life = self.world.start(host)
        now_ns = self.world.now_ns
        self.world.post(now_ns, life, Begin(tuple(sorted(host.disk.items()))))
        self.world.post(now_ns, life, OpenDoor(DOOR))
        self.world.post(now_ns, life, OpenTopic(TOPIC))
        self.world.post(now_ns, life, MyAddresses((host.address,)))
        if host.offers:
            self.world.post(now_ns, life, MyOffers(host.offers))
        for contact in self._contacts(host):
            self.world.post(now_ns, life, Reached("", contact.address, contact.peer, True))

    def end_life(self, life: Life) -> None:
        """A crash that has not come yet comes now."""
        if not life.dead:
            self.world.crash(life.host)

    def meet(self) -> None:
        """The islands are told of each other: one address of the first to one node of each other."""
        for island in range(1, self.scenario.islands):
            first = self.world.hosts[0]
            self.world.tell(self.world.hosts[island], Reached("", first.address, first.peer, True))

    def live(self, *, honest: bool = True) -> list[Host]:
        """Nodes of the network that are up."""
        return [h for h in self.world.hosts if h.life and h.network == NETWORK and (h.honest or not honest)]

    def view(self, host: Host) -> dict[PeerId, Any]:
        """What the node on `host` says of its peers, as its API would show it."""
        assert host.life is not None
        rows = host.life.machine.peers_view(self.world.now_ns + host.life.offset_ns)  # type: ignore[attr-defined]
        return {row.peer: row for row in rows}

    def neighbours(self, host: Host) -> tuple[PeerId, ...]:
        """To whom the node on `host` passes news on."""
        return host.life.machine.neighbours() if host.life is not None else ()  # type: ignore[attr-defined]

    # what people do meanwhile

    def publish(self, host: Host) -> None:
        """News of `host`, each of its own."""
        self._tickets += 1
        self.world.tell(host, Publish(TOPIC, f"news {self._tickets}".encode()))

    def ask(self, host: Host, peer: PeerId) -> None:
        """A request of `host`; the answer is the body turned round."""
        self._tickets += 1
        body = self._tickets.to_bytes(8, "big") + bytes(ASK_BYTES)
        self.world.tell(host, Ask(f"ask-{self._tickets}", peer, DOOR, body, ASK_NS))

    def _next_publish(self) -> None:
        self._later(self.scenario.publish_s, self._publish_some)

    def _next_ask(self) -> None:
        self._later(self.scenario.ask_s, self._ask_some)

    def _later(self, mean_s: float, action: Callable[[], None]) -> None:
        self.world.call(self.world.now_ns + int(self._traffic.exponential(mean_s) * S_NS) + 1, action)

    def _publish_some(self) -> None:
        live = self.live()
        if live:
            self.publish(self._traffic.one(live))
        if not self.over:
            self._next_publish()

    def _ask_some(self) -> None:
        live = self.live()
        if len(live) > 1:
            asker, asked = self._traffic.some(live, 2)
            self.ask(asker, asked.peer)
        if not self.over:
            self._next_ask()

    def _door(self, life: Life, asked: Any) -> None:
        if isinstance(asked, Asked):  # a request that was withdrawn is answered all the same: the core must bear it
            now_ns = self.world.now_ns
            self.world.post(now_ns + ANSWER_NS, life, Answer(asked.peer, asked.id, asked.body[::-1]))

    # making

    def _contacts(self, host: Host) -> list[Host]:
        """By whose addresses a node joins; foreign nodes know one of ours."""
        hosts, row = self.world.hosts, self.scenario
        if host.network == FOREIGN:
            return [hosts[0]]
        if row.book:
            return []  # those that it remembers
        if row.contacts and host.index:
            draws = Draws(stream(self.seed, "world", "contacts", host.index))
            return draws.some(hosts[: host.index], row.contacts)
        first = hosts[host.index % row.islands]
        return [] if first is host else [first]

    def _make(self, host: Host) -> tuple[Machine, Any]:
        crypto = self._crypto(host)
        rng = stream(self.seed, "world", "core", host.index, host.lives)
        core = self._core(crypto, host.network, rng, self.book_cap)
        if self.scenario.jobs_s and not host.role:
            from qcommons.world.jobnode import JobNode  # engines and jobs, for runs that need them

            core = JobNode(core, crypto, host, self.seed, self.seen, self.key_of)
        if self._is_wired and self._keys is not None:
            from qcommons.mesh.tls import TlsContext  # OpenSSL, for runs that need it
            from qcommons.world.wired import Wired

            core = Wired(core, TlsContext(self._keys[host.index]))
        if not host.role:
            return core, crypto
        draws = Draws(stream(self.seed, "world", "liar", host.index, host.lives))
        sign = partial(self.sign, host)
        return Liar(core, LIARS[host.role], draws, host, sign, self.world.hosts), crypto

    def key_of(self, peer: bytes) -> bytes:
        """Public key of a node."""
        return next(host.key for host in self.world.hosts if host.peer == peer)

    def sign(self, host: Host, object_type: str, payload: bytes) -> bytes:
        """Signed with the key of `host`, past its core."""
        if self._keys is not None:
            return signing.sign(self._keys[host.index], object_type, host.network, payload)
        return self.oracle.sign(host.key, object_type, host.network, payload)

    def _crypto(self, host: Host) -> Any:
        if self._keys is None:
            return Double(self.oracle, host.key, host.network)
        secret = host.index.to_bytes(4, "big") + host.lives.to_bytes(4, "big")
        return RealCrypto(self._keys[host.index], host.network, secret)
