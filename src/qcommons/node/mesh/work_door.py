"""The mesh's door for work between nodes: what Spread and Hire say goes out here, what peers say comes in.

Flow: shell -> *WorkDoor.send* -> driver (Ask, Answer) -> peers; peers -> driver -> *WorkDoor* -> Heard, Came, Withdrew
-> shell -> core. Beside that the peers as they stand now: `Candidates`, told when something of them changed, twice a
second at most, and `Sharing`, what the owner says of work for others.

The mesh has a clock of its own; what a peer waits until is told on the node's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from qcommons.base.effects import Send
from qcommons.base.errors import Corrupt, Unavailable
from qcommons.base.units import NS_PER_S
from qcommons.jobs.asks import Ask as WorkAsk
from qcommons.jobs.place import Candidate, Relation
from qcommons.jobs.work import PROTOCOLS
from qcommons.jobs.work_events import Came, Candidates, Heard, Offline, Sharing, ToMesh, Withdrew
from qcommons.mesh.events import Ask, Asked, Failed, Got, OpenDoor, Withdrawn
from qcommons.mesh.records import PeerId
from qcommons.mesh.views import PeerView
from qcommons.node.mesh.driver import Driver
from qcommons.node.messages import WorkEvent
from qcommons.pqc.identity import node_id_of_hash

__all__ = ["PLACES", "WorkDoor", "candidate", "offered"]

LOOK_S = 0.5  # between two looks at the peers
CALM_LOOKS = 20  # looks without news after which they are looked at anyway: round trips and absences change quietly
TICKETS = "work/"
PLACES = 1  # of a peer that asks no price: every node has a worker at least, and declines what is too much
AskOf = Callable[[PeerId, int], WorkAsk | None]
Tell = Callable[[WorkEvent], None]


class WorkDoor:
    """Of one mesh.

    tell: gives the node's core an event. now_ns: the node's clock. ask_of: what a peer asks for its work. sharing: what
    the owner says of work for others, now.
    """

    def __init__(
        self, driver: Driver, tell: Tell, now_ns: Callable[[], int], ask_of: AskOf, sharing: Callable[[], Sharing]
    ) -> None:
        self._driver, self._now_ns, self._ask_of, self._sharing = driver, now_ns, ask_of, sharing
        self._loop = asyncio.get_running_loop()
        self._give = tell
        self._told: tuple[Candidate, ...] | None = None
        self._shared: Sharing | None = None
        self._news = True
        self._calm = 0
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Open the doors, tell who is there."""
        self._driver.doors[TICKETS] = self._answered
        for protocol in PROTOCOLS:
            self._driver.doors[f"door/{protocol}"] = partial(self._asked, protocol)
            self._driver.deliver(OpenDoor(protocol))
        self._look()

    def stop(self, why: str) -> None:
        """The mesh is gone, the node goes on: nobody can be asked any more."""
        self._tell(Offline(why))
        self.close()

    def close(self) -> None:
        """The node stops: what comes of that is nobody's fault, and told to nobody."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def changed(self) -> None:
        """Something of a peer is other than before: to be told at the next look."""
        self._news = True

    def key_of(self, peer: PeerId) -> bytes | None:
        """The public key of a peer, where its record is known."""
        signed = self._driver.core.signed(peer)
        return None if signed is None else signed.record.key

    # out

    def send(self, leaving: ToMesh) -> None:
        """What has passed the egress of its job (`node/dealing.py`)."""
        message = leaving.message
        if not isinstance(message, Ask):
            self._driver.deliver(message)
            return
        try:
            self._driver.check()
        except (Corrupt, Unavailable) as error:
            self._tell(Heard(message.ticket, failed=Failed("unavailable", error.what, "mesh")))
            return
        self._driver.deliver(msgspec.structs.replace(message, ticket=TICKETS + message.ticket))

    # in

    def _answered(self, send: Send) -> None:
        ticket, said = send.to.removeprefix(TICKETS), send.message
        if isinstance(said, Got):
            self._tell(Heard(ticket, said.body))
        elif isinstance(said, Failed):
            self._tell(Heard(ticket, failed=said))

    def _asked(self, protocol: str, send: Send) -> None:
        said = send.message
        if isinstance(said, Asked):
            until_ns = said.until_ns - self._driver.now_ns() + self._now_ns()
            asked = msgspec.structs.replace(said, until_ns=until_ns)
            self._tell(Came(protocol, asked, _relation(self._driver.core.relation(said.peer))))
        elif isinstance(said, Withdrawn):
            self._tell(Withdrew(said))

    def _tell(self, event: WorkEvent) -> None:
        """After what is going on now: neither core is entered from within the other."""
        if not self._closed:
            self._loop.call_soon(self._give, event)

    # who is there

    def _look(self) -> None:
        self._timer = self._loop.call_later(LOOK_S, self._look)
        sharing = self._sharing()
        if sharing != self._shared:
            self._shared = sharing
            self._tell(sharing)
        self._calm += 1
        if not self._news and self._calm < CALM_LOOKS:
            return
        self._news, self._calm = False, 0
        now_ns = self._driver.now_ns()
        now_s = now_ns // NS_PER_S
        rows = tuple(candidate(view, self._ask_of, now_s) for view in self._driver.core.peers_view(now_ns))
        if rows != self._told:
            self._told = rows
            self._tell(Candidates(rows, self._now_ns() // NS_PER_S))


def candidate(view: PeerView, ask_of: AskOf, now_s: int) -> Candidate:
    """A peer of the mesh as placing sees it. now_s: Unix seconds."""
    away = [until_s for from_s, until_s in view.away if from_s <= now_s < until_s]
    ask = ask_of(view.peer, now_s)
    return Candidate(
        peer=view.peer, node_id=node_id_of_hash(view.peer), relation=_relation(view.relation), state=view.state,
        round_trip_ns=view.round_trip_ns, offers=offered(view.offers), version=view.version,
        ask=ask, places=PLACES if ask is None else ask.places, away_until_s=max(away, default=0),
    )  # fmt: skip


def offered(offers: tuple[str, ...]) -> Mapping[str, int]:
    """Engine to its most qubits, of what a record says ("name:qubits"); what is none is left out."""
    found = {}
    for offer in offers:
        name, _, qubits = offer.partition(":")
        if name and qubits.isascii() and qubits.isdigit() and len(qubits) < 9:
            found[name] = int(qubits)
    return found


def _relation(relation: str) -> Relation:
    return "own" if relation == "own" else "allowed" if relation == "allowed" else "stranger"
