"""A node of the world: its place, key, clock and disk (`Host`), and the core that runs there until it dies (`Life`).

Flow: simulator -> *Life* (one a start) -> machine. What a life holds in memory is lost with it; what it stored stays on
the host's disk. A host whose life ended may be given another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from qcommons.mesh.records import PeerId

if TYPE_CHECKING:
    from qcommons.world.circuits import Inner
    from qcommons.world.network import End

__all__ = ["EPOCH_NS", "After", "Host", "Life", "Machine", "Work"]

EPOCH_NS = 1_800_000_000 * 10**9  # what a clock without skew shows when the world begins: January 2027


class Machine(Protocol):
    """What runs on a host: MeshCore, a liar around one, or a toy of a test."""

    def handle(self, event: Any, now_ns: int) -> list[Any]: ...


class Work(NamedTuple):
    """An event that is none of the core's: the node itself computes, in its turn. begun: is called when it begins."""

    cost_ns: int
    begun: Callable[[], None]


class After(NamedTuple):
    """An effect: what the node itself computes (a piece, a report) ends so much later, and its core hears `event`."""

    in_ns: int
    event: Any


class Host:
    """One node, by number.

    name: of its key. address: where it listens. reachable: False behind a router that lets nothing in. x, y: place on
    the unit square, by which latencies go. skew_ns: its clock minus the world's. honest: False for liars. offers: what
    it runs for others, as in its record. trade: of a worker that lies: its row of `trades.TRADES`.
    """

    __slots__ = (
        "address", "away_until_ns", "blobs", "disk", "honest", "index", "key", "life", "lives", "network", "offers",
        "peer", "powered", "reachable", "role", "skew_ns", "trade", "x", "y",
    )  # fmt: skip

    def __init__(self, index: int, peer: PeerId, key: bytes, network: str, address: str) -> None:
        self.index = index
        self.peer = peer
        self.key = key
        self.network = network
        self.address = address
        self.reachable = True
        self.honest = True
        self.offers: tuple[str, ...] = ()
        self.role = ""  # of a liar: its row
        self.trade = ""
        self.powered = True  # False: nothing answers there, not even the system
        self.x = self.y = 0.0
        self.skew_ns = 0
        self.away_until_ns = 0  # planned absence, by the world's clock
        self.disk: dict[str, bytes] = {}
        self.blobs: dict[bytes, dict[int, bytes]] = {}
        self.life: Life | None = None
        self.lives = 0


class Life:
    """One run of a core on a host.

    ends: its connections by number. dialling: numbers of dials that have not ended. busy_ns: until when it takes no
    event (cost of cryptography, or frozen); what comes meanwhile waits in `inbox`, in order. cut: crash after so many
    effects of an event; -1: no.
    """

    __slots__ = (
        "born_ns", "busy_ns", "circuits", "crypto", "cut", "dead", "dialling", "draining", "ends", "host",
        "inbound", "inbox", "machine", "number", "offset_ns", "used",
    )  # fmt: skip

    def __init__(self, host: Host, machine: Machine, crypto: Any, now_ns: int) -> None:
        self.host = host
        self.machine = machine
        self.crypto = crypto
        self.number = host.lives
        self.born_ns = now_ns
        self.offset_ns = EPOCH_NS + host.skew_ns
        self.dead = False
        self.busy_ns = 0
        self.inbox: deque[Any] = deque()
        self.draining = False
        self.ends: dict[int, End | Inner] = {}
        self.dialling: dict[int, Any] = {}
        self.used: int = 0  # greatest number that the core drew for a dial
        self.inbound = -1  # odd numbers, drawn here
        self.circuits: dict[int, Inner] = {}
        self.cut = -1

    def odd(self) -> int:
        """The number of the next connection that comes in."""
        self.inbound += 2
        return self.inbound
