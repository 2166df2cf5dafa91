"""Relay: how a node that cannot be dialled is reached, and how this one helps others to be.

Flow: unreachable node: reach -> *Relay.want* -> "relay/1" => a reachable neighbour: *Relay* keeps a place for it
=> "relay/NODE" among its addresses -> others dial that: RelayOpen => the relay => RelayOpen => the node.

    circuit_ends.py   a circuit where it begins or ends: a pipe for the driver's session
    forwarding.py     a circuit where it passes through
    here              places: asked for, kept, given; which message belongs to which of the two

A node with a place elsewhere relays for nobody, so a RelayOpen means one thing only: there, somebody calls; at all
others, somebody wants to be connected. docs/protocol/relay.md.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from qcommons.base.effects import note
from qcommons.base.units import NS_PER_S
from qcommons.mesh.addresses import relay_address
from qcommons.mesh.circuit_ends import CircuitEnds
from qcommons.mesh.events import Failed, Got, RelayOut
from qcommons.mesh.exchange import Exchange
from qcommons.mesh.forwarding import Forwarding
from qcommons.mesh.messages import Message, RelayClose, RelayCredit, RelayData, RelayOpen, RelayOpened
from qcommons.mesh.parts import AddressesLearned, Blame, Effects, PartBase, Peers, ToPeer, Wishes
from qcommons.mesh.records import PeerId
from qcommons.mesh.timers import Alarm
from qcommons.pqc.identity import HASH_BYTES

__all__ = ["RESERVE", "Relay"]

RESERVE = "relay/1"
KEEP, RELEASE = b"\x01", b"\x00"
PLACES_MAX = 32  # given to others; each may cost a few circuits
PLACE_S = 120
RENEW_NS = 40 * NS_PER_S  # often enough that the link, of no other use perhaps, is not closed as idle
RELAYS_WANTED = 2  # one may go at any time
ANSWER_NS = 5 * NS_PER_S
REFUSED_NS = 60 * NS_PER_S  # then a relay that said no is asked again
LOOK_NS = 5 * NS_PER_S  # between looks for relays while too few are found
REFUSED_MAX = 64


class Relay(PartBase):
    """serves: whether this node relays for others (its owner's setting)."""

    NAME = "relay"
    KINDS = (RelayOpen, RelayOpened, RelayData, RelayClose, RelayCredit)

    def __init__(self, peers: Peers, exchange: Exchange, rng: np.random.Generator, serves: bool = True) -> None:
        self._peers = peers
        self._exchange = exchange
        self._rng = rng
        self._serves = serves
        self._wanted = False
        self._held: dict[PeerId, int] = {}  # relay -> until when it keeps a place
        self._asking: dict[PeerId, None] = {}
        self._refused: dict[PeerId, int] = {}  # relay -> when to ask it again
        self._given: dict[PeerId, int] = {}  # who has a place here -> until when
        self._ends = CircuitEnds(peers, (self.NAME, "ends"))
        self._forwarding = Forwarding(peers, (self.NAME, "drain"), (self.NAME, "idle"))
        self._renew = Alarm((self.NAME, "renew"))
        exchange.register(RESERVE, self._asked_for_place)

    def wishes(self) -> Wishes:
        return {RelayOut: self._ends.out}

    def open(self, relay: PeerId, target: PeerId, now_ns: int) -> tuple[int, Effects]:
        """A circuit to `target` through `relay`: its number, for `Dial(circuit=...)`, and effects, to be carried out
        after that. The session may begin at once; if the circuit fails, `RelayIn(closed=...)` says so to the driver."""
        return self._ends.open(relay, target, now_ns)

    def relays(self) -> tuple[PeerId, ...]:
        """Who keeps a place for this node."""
        return tuple(self._held)

    def given(self) -> tuple[PeerId, ...]:
        """For whom this node keeps one."""
        return tuple(self._given)

    # places at others

    def want(self, wanted: bool, now_ns: int) -> Effects:
        """Whether this node needs relays; `reach` knows."""
        if wanted == self._wanted:
            return []
        self._wanted = wanted
        if wanted:
            return self._look(now_ns)
        out: Effects = []
        for relay in self._held:
            out += self._exchange.request(relay, RESERVE, RELEASE, ANSWER_NS, now_ns, _no_matter)
        self._held.clear()
        return [*out, AddressesLearned(())]

    def _look(self, now_ns: int) -> Effects:
        """Renew what is held, ask for what is lacking."""
        out: Effects = []
        lost = [relay for relay, until_ns in self._held.items() if until_ns <= now_ns]
        for relay in lost:
            del self._held[relay]
        if lost:
            out.append(self._learned())
        for relay in self._held:
            out += self._reserve(relay, now_ns)
        lacking = RELAYS_WANTED - len(self._held) - sum(relay not in self._held for relay in self._asking)
        if lacking > 0:
            others = [peer for peer in self._peers.linked() if self._may_relay(peer, now_ns)]
            for index in self._rng.permutation(len(others))[:lacking].tolist():
                out += self._reserve(others[index], now_ns)
        span_ns = RENEW_NS if len(self._held) >= RELAYS_WANTED else LOOK_NS if not self._held else 2 * LOOK_NS
        return out + self._renew.at(now_ns + span_ns)

    def _may_relay(self, peer: PeerId, now_ns: int) -> bool:
        if peer in self._held or peer in self._asking or self._refused.get(peer, 0) > now_ns:
            return False
        signed = self._peers.signed(peer)
        if signed is None or not self._peers.is_direct(peer):
            return False
        kinds = {address.partition("/")[0] for address in signed.record.addresses}
        return "tcp" in kinds and "relay" not in kinds

    def _reserve(self, relay: PeerId, now_ns: int) -> Effects:
        def then(what: Got | Failed, now_ns: int) -> Effects:
            return self._answered(relay, what, now_ns)

        if relay in self._asking:
            return []
        self._asking[relay] = None
        return self._exchange.request(relay, RESERVE, KEEP, ANSWER_NS, now_ns, then)

    def _answered(self, relay: PeerId, what: Got | Failed, now_ns: int) -> Effects:
        self._asking.pop(relay, None)
        if not self._wanted:
            return []
        if isinstance(what, Got) and len(what.body) == 4:
            had = relay in self._held
            self._held[relay] = now_ns + int.from_bytes(what.body, "big") * NS_PER_S
            return [] if had else [self._learned(), note("mesh_relay_found", peer=relay.hex())]
        if relay in self._held and isinstance(what, Failed) and what.where != RESERVE:
            return []  # nothing heard: the place is kept until its time is over
        had = self._held.pop(relay, None) is not None
        self._refused[relay] = now_ns + REFUSED_NS
        if len(self._refused) > REFUSED_MAX:
            del self._refused[next(iter(self._refused))]
        why = what.what if isinstance(what, Failed) else "an answer of another form"
        out: Effects = [note("mesh_relay_not_found", peer=relay.hex(), why=why)]
        return [*out, self._learned(), *self._look(now_ns)] if had else out

    def _learned(self) -> AddressesLearned:
        return AddressesLearned(tuple(relay_address(relay) for relay in self._held))

    # places for others

    def _asked_for_place(self, peer: PeerId, body: bytes, now_ns: int) -> bytes | Failed:
        if body == RELEASE:
            self._given.pop(peer, None)
            return b""
        if not self._serves or self._wanted:
            return Failed("unavailable", "this node relays for nobody; ask another", RESERVE)
        if not self._peers.is_direct(peer):
            return Failed("usage", "a place is kept for peers that are linked directly", RESERVE)
        for other in [other for other, until_ns in self._given.items() if until_ns <= now_ns]:
            del self._given[other]
        if peer not in self._given and len(self._given) >= PLACES_MAX:
            return Failed("unavailable", f"all {PLACES_MAX} places are given; ask another", RESERVE, str(PLACES_MAX))
        self._given[peer] = now_ns + PLACE_S * NS_PER_S
        return PLACE_S.to_bytes(4, "big")

    # messages

    def came(self, peer: PeerId, id: int, message: Message, now_ns: int) -> Effects:
        if self._ends.has(peer, id):
            return self._ends.came(peer, id, message)
        if self._forwarding.has(peer, id):
            return self._forwarding.came(peer, id, message, now_ns)
        if not isinstance(message, RelayOpen):
            return []  # of a circuit that was closed here while this was on its way
        if len(message.peer) != HASH_BYTES:
            return [Blame(peer, 5, f"a circuit to a peer of {len(message.peer)} bytes")]
        if peer in self._held:
            if id & 1 != (peer > self._peers.me):
                return [Blame(peer, 5, "a circuit with a frame id from the other end's half")]
            return self._ends.opened_by(peer, id, PeerId(message.peer))
        return self._connect(peer, id, PeerId(message.peer), now_ns)

    def _connect(self, opener: PeerId, id: int, target: PeerId, now_ns: int) -> Effects:
        if not self._serves or self._given.get(target, 0) <= now_ns:
            return [ToPeer(opener, RelayClose("the target has no place here"), id)]
        return self._forwarding.open(opener, id, target, now_ns)

    def unsent(self, peer: PeerId, id: int, message: Message, reason: str, now_ns: int) -> Effects:
        return self._ends.unsent(peer, id, reason)

    # links and time

    def up(self, peer: PeerId, now_ns: int) -> Effects:
        if self._wanted and len(self._held) < RELAYS_WANTED:
            return self._renew.at(now_ns)
        return []

    def down(self, peer: PeerId, reason: str, now_ns: int) -> Effects:
        out = self._ends.down(peer) + self._forwarding.down(peer)
        self._given.pop(peer, None)
        if self._held.pop(peer, None) is not None:
            out += [self._learned(), *self._look(now_ns)]
        return out

    def woken(self, token: Hashable, now_ns: int) -> Effects:
        if token == self._ends.due.token:
            return self._ends.expire(now_ns)
        if token == self._forwarding.drains.token:
            return self._forwarding.drain(now_ns)
        if token == self._forwarding.idle.token:
            return self._forwarding.expire(now_ns)
        return self._look(now_ns) if self._renew.rings(now_ns) and self._wanted else []


def _no_matter(what: Got | Failed, now_ns: int) -> Effects:
    return []
