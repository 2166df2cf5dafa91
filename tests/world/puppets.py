"""Puppets: cores that do what a test tells them, and write down what they are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qcommons.mesh.events import Dial
from qcommons.mesh.records import PeerId
from qcommons.pqc.identity import node_hash
from qcommons.world.double import Double, Oracle
from qcommons.world.host import Host, Life
from qcommons.world.simulator import Simulator

MS = 1_000_000
S = 1_000_000_000


class Do:
    """An event: these effects, please."""

    def __init__(self, *effects: Any) -> None:
        self.effects = list(effects)


class Puppet:
    """answers: type of an event -> the effects it brings."""

    def __init__(self) -> None:
        self.log: list[tuple[int, Any]] = []
        self.answers: dict[type, Callable[[Any, int], list[Any]]] = {}

    def handle(self, event: Any, now_ns: int) -> list[Any]:
        if isinstance(event, Do):
            return event.effects
        self.log.append((now_ns, event))
        answer = self.answers.get(type(event))
        return answer(event, now_ns) if answer else []

    def of(self, kind: type) -> list[Any]:
        return [event for _, event in self.log if type(event) is kind]


class Theatre:
    """A world of puppets, all up. `life(i)`, `puppet(i)`; `do(i, effects)` now; `link(i, j)` -> their two numbers."""

    def __init__(self, count: int, seed: int = 1) -> None:
        self.oracle = Oracle(seed)
        self.world = Simulator(seed, lambda host: (Puppet(), Double(self.oracle, host.key, "world")))
        self._numbers = [0] * count
        for index in range(count):
            key = self.oracle.public_key(str(index))
            host = Host(index, PeerId(node_hash(key)), key, "world", f"tcp/20.0.{index}.7:4747")
            host.x = index / 10
            self.world.hosts.append(host)
            self.world.network.by_address[host.address] = host
            self.world.start(host)

    def life(self, index: int) -> Life:
        life = self.world.hosts[index].life
        assert life is not None
        return life

    def puppet(self, index: int) -> Puppet:
        machine = self.life(index).machine
        assert isinstance(machine, Puppet)
        return machine

    def do(self, index: int, *effects: Any) -> None:
        self.world.post(self.world.now_ns, self.life(index), Do(*effects))

    def number(self, index: int) -> int:
        self._numbers[index] += 2
        return self._numbers[index]

    def dial(self, index: int, other: int, peer: PeerId | None = None) -> int:
        """Node `index` dials the address of `other`; the number of the connection."""
        conn = self.number(index)
        self.do(index, Dial(conn, self.world.hosts[other].address, peer))
        return conn

    def link(self, index: int, other: int) -> tuple[int, int]:
        """A connection that stands: its numbers at both ends."""
        conn = self.dial(index, other)
        self.run(1)
        end = self.life(index).ends[conn]
        return conn, end.other.conn  # type: ignore[union-attr]

    def run(self, seconds: float) -> None:
        self.world.run(self.world.now_ns + int(seconds * S))
