"""Reach: can others dial this node? Peers try and say; where they cannot, relays are asked for a place.

Flow: *Reach* -> "dialback/1" => a few linked peers: *Reach* -> `TryAddress` -> the core dials anew -> answer => verdict
-> relay (places wanted or not), `view` for `qcommons doctor`.

    unknown   nobody could be asked yet; asked again every 30 s
    yes       most of those who tried last got through; one is asked again every 15 minutes, all when it did not
    no        most did not; relays are wanted; asked again every 2 minutes, since people repair routers

Who dials on request could be made to bother strangers. So an address is tried only where its host is the one that who
asks comes from, or its record states it; the latter at most twice at once and once a minute a network, and never one
that lies deeper inside than the asker (`addresses.may_tell`). A peer met through a relay is dialled directly as its
record allows, soon after and again later: of two ends at least one is often reachable (reverse connection).
docs/protocol/reach.md.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

import msgspec
import numpy as np

from qcommons.base.canonical import decode_record, encode_record
from qcommons.base.effects import note
from qcommons.base.errors import PeerError, UsageError
from qcommons.base.units import NS_PER_S
from qcommons.mesh.addresses import Address, may_tell, parse
from qcommons.mesh.bucket import Bucket, Rate
from qcommons.mesh.events import Answer, Asked, Failed, Got, MyAddresses
from qcommons.mesh.exchange import Exchange
from qcommons.mesh.parts import Blame, DialDirect, Effects, PartBase, Peers, TryAddress, Wishes
from qcommons.mesh.records import ADDRESS_CHARS_MAX, PeerId
from qcommons.mesh.relay import Relay
from qcommons.mesh.timers import Alarm, Deadlines

__all__ = ["DIALBACK", "DialBack", "Reach", "ReachView"]

DIALBACK = "dialback/1"
ADDRESSES_MAX = 4
ASKED_AT_ONCE = 3  # odd: there is a majority
FIRST_NS = 5 * NS_PER_S  # after the first link: by then a joining node has several, and less to do
AGAIN_NS = {"unknown": 30 * NS_PER_S, "yes": 900 * NS_PER_S, "no": 120 * NS_PER_S}
CURRENT_NS = 1_800 * NS_PER_S  # what was found before says nothing
ANSWER_NS = 20 * NS_PER_S
TRY_NS = 4 * NS_PER_S
MARGIN_NS = NS_PER_S
RESULTS_MAX = 16
TRIES_MAX = 8  # under way here for others
ASKER, ALL, FOREIGN = Rate(1 / 20, 3), Rate(2, 10), Rate(1 / 60, 2)
BUCKETS_MAX = 512
DIRECT_AGAIN_NS = (
    NS_PER_S,
    60 * NS_PER_S,
    600 * NS_PER_S,
)  # after a relayed link: when to dial directly; the last for ever
BAD_POINTS = 10
CLOSED = "open the port in the router or firewall, or rely on the relays found"


class _Question(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    addresses: tuple[str, ...]


class _Reply(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """place: which of the addresses was reached, -1: none. why: then."""

    place: int
    why: str


class DialBack(msgspec.Struct, frozen=True):
    """What `peer` found. address: the one it reached, empty if none."""

    peer: PeerId
    address: str
    at_ns: int
    why: str

    @property
    def ok(self) -> bool:
        return bool(self.address)


class ReachView(msgspec.Struct, frozen=True):
    """reachable: yes, no, unknown. tries: the last of each peer. relays: where this node has a place."""

    reachable: str
    since_ns: int
    cause: str
    action: str
    tries: tuple[DialBack, ...]
    relays: tuple[PeerId, ...]

    def one_way(self) -> tuple[DialBack, ...]:
        """Peers that are linked to here but cannot dial here, though others can."""
        return tuple(one for one in self.tries if not one.ok) if self.reachable == "yes" else ()


class _Try(msgspec.Struct):
    """A dial-back under way for somebody else. places: of the addresses still to be tried, in order."""

    asked: Asked
    addresses: tuple[str, ...]
    places: list[int]
    until_ns: int
    why: str = ""


class Reach(PartBase):
    """Learns whether others can dial this node, and dials back for them."""

    NAME = "reach"

    def __init__(self, peers: Peers, exchange: Exchange, relay: Relay, rng: np.random.Generator) -> None:
        self._peers = peers
        self._exchange = exchange
        self._relay = relay
        self._rng = rng
        self._addresses: tuple[str, ...] = ()
        self._reachable = "unknown"
        self._since_ns = 0
        self._tries: OrderedDict[PeerId, DialBack] = OrderedDict()
        self._waiting: dict[PeerId, None] = {}
        self._check = Alarm((self.NAME, "check"))
        self._serving: dict[PeerId, _Try] = {}
        self._serving_due: Deadlines[PeerId] = Deadlines((self.NAME, "try"), self._serving.__contains__)
        self._buckets: OrderedDict[PeerId | str, Bucket] = OrderedDict()
        self._all = Bucket()
        self._relayed: dict[PeerId, int] = {}  # linked through a relay -> times it was dialled directly
        self._direct_due: Deadlines[PeerId] = Deadlines((self.NAME, "direct"), self._relayed.__contains__)
        exchange.attend(DIALBACK, self._asked)

    def wishes(self) -> Wishes:
        return {MyAddresses: self.my_addresses}

    # this node

    def my_addresses(self, event: MyAddresses, now_ns: int) -> Effects:
        """Where it listens now; what was found for other addresses is void."""
        if event.addresses == self._addresses:
            return []
        self._addresses = event.addresses
        self._tries.clear()
        return self._check.at(now_ns + FIRST_NS) if self._since_ns else []

    def view(self, now_ns: int) -> ReachView:
        good = [one for one in self._tries.values() if one.ok]
        cause = {
            "unknown": "no peer has tried yet"
            if self._tries
            else "no peer was asked yet; the first ones are, once linked",
            "yes": f"{len(good)} of {len(self._tries)} peers reached {good[-1].address if good else 'it'}",
            "no": f"{len(self._tries) - len(good)} of {len(self._tries)} peers could not reach it",
        }[self._reachable if self._addresses else "unknown"]
        if not self._addresses:
            cause = "this node listens nowhere"
        action = CLOSED if self._reachable == "no" else ""
        tries = tuple(self._tries.values())
        return ReachView(self._reachable, self._since_ns, cause, action, tries, self._relay.relays())

    def _ask(self, now_ns: int) -> Effects:
        """Have some peers try; how many depends on what is known."""
        for peer in [peer for peer, one in self._tries.items() if one.at_ns + CURRENT_NS < now_ns]:
            del self._tries[peer]
        addresses = tuple(text for text in self._addresses if text.startswith("tcp/"))[:ADDRESSES_MAX]
        others = [peer for peer in self._peers.linked() if self._peers.is_direct(peer) and peer not in self._waiting]
        out = self._check.at(now_ns + int(AGAIN_NS[self._reachable] * (0.75 + 0.5 * self._rng.random())))
        if not addresses:
            return out + self._judge("no", now_ns)
        body = encode_record(_Question(addresses))
        count = 1 if self._reachable == "yes" and len(self._tries) >= ASKED_AT_ONCE else ASKED_AT_ONCE
        for index in self._rng.permutation(len(others))[:count].tolist():
            out += self._ask_one(others[index], addresses, body, now_ns)
        return out

    def _ask_one(self, peer: PeerId, addresses: tuple[str, ...], body: bytes, now_ns: int) -> Effects:
        def then(what: Got | Failed, now_ns: int) -> Effects:
            self._waiting.pop(peer, None)
            return self._answered(peer, addresses, what, now_ns)

        self._waiting[peer] = None
        return self._exchange.request(peer, DIALBACK, body, ANSWER_NS, now_ns, then)

    def _answered(self, peer: PeerId, addresses: tuple[str, ...], what: Got | Failed, now_ns: int) -> Effects:
        if isinstance(what, Failed):
            return []  # it did not try
        try:
            reply = decode_record(what.body, _Reply, bytes_max=1_024, items_max=3)
            if not -1 <= reply.place < len(addresses):
                raise PeerError(f"place {reply.place} of {len(addresses)} addresses")
        except PeerError as error:
            return [Blame(peer, BAD_POINTS, f"{DIALBACK}: {error}")]
        reached = addresses[reply.place] if reply.place >= 0 else ""
        self._tries.pop(peer, None)
        self._tries[peer] = DialBack(peer, reached, now_ns, reply.why[:200])
        if len(self._tries) > RESULTS_MAX:
            self._tries.popitem(last=False)
        if not reached and self._reachable == "yes":
            # one who was alone to be asked says no: ask more, now
            return self._majority(now_ns) + self._check.at(now_ns + NS_PER_S)
        return self._majority(now_ns)

    def _majority(self, now_ns: int) -> Effects:
        """Of the last three who tried; one is enough in a network of two."""
        last = list(self._tries.values())[-ASKED_AT_ONCE:]
        good = sum(one.ok for one in last)
        if 2 * good == len(last):
            return []
        return self._judge("yes" if 2 * good > len(last) else "no", now_ns)

    def _judge(self, reachable: str, now_ns: int) -> Effects:
        if reachable == self._reachable:
            return []
        self._reachable, self._since_ns = reachable, now_ns
        told = note("mesh_reachable", reachable=reachable, tried=len(self._tries))
        again = self._check.at(now_ns + AGAIN_NS[reachable])
        return [told, *self._relay.want(reachable == "no", now_ns), *again]

    # for others

    def _asked(self, asked: Asked, now_ns: int) -> Effects:
        try:
            items_max = 2 + ADDRESSES_MAX
            bytes_max = 16 + ADDRESSES_MAX * (ADDRESS_CHARS_MAX + 8)
            question = decode_record(asked.body, _Question, bytes_max=bytes_max, items_max=items_max)
        except PeerError as error:
            refused = self._exchange.answer(Answer(asked.peer, asked.id, failed=Failed("usage", error.what)), now_ns)
            return [Blame(asked.peer, BAD_POINTS, f"{DIALBACK}: {error}"), *refused]
        why = self._too_much(asked.peer, now_ns)
        if why:
            failed = Failed("unavailable", why, DIALBACK)
            return self._exchange.answer(Answer(asked.peer, asked.id, failed=failed), now_ns)
        allowed = [place for place, text in enumerate(question.addresses) if self._may_try(asked.peer, text, now_ns)]
        if not allowed:
            failed = Failed("usage", "none of the addresses is where you come from, nor in your record", DIALBACK)
            return self._exchange.answer(Answer(asked.peer, asked.id, failed=failed), now_ns)
        self._serving[asked.peer] = _Try(asked, question.addresses, allowed, 0)
        return self._next_try(asked.peer, now_ns)

    def _too_much(self, peer: PeerId, now_ns: int) -> str | None:
        if peer in self._serving or len(self._serving) >= TRIES_MAX:
            return f"{len(self._serving)} dial-backs run here; allowed {TRIES_MAX}, one a peer"
        if not self._bucket(peer).take(ASKER, now_ns) or not self._all.take(ALL, now_ns):
            return "too many dial-backs asked for; ask later, or another"
        return None

    def _may_try(self, peer: PeerId, text: str, now_ns: int) -> bool:
        met = self._peers.address(peer)
        signed = self._peers.signed(peer)
        try:
            address = parse(text)
            met_at: Address | None = None if met is None else parse(met)
        except UsageError:
            return False
        if met_at is None or not address.host or address.is_name or not may_tell(met_at.scope, address):
            return False
        if address.host == met_at.host:
            return True
        stated = signed is not None and text in signed.record.addresses
        return stated and self._bucket(address.prefix).take(FOREIGN, now_ns)

    def _bucket(self, key: PeerId | str) -> Bucket:
        bucket = self._buckets.setdefault(key, Bucket())
        self._buckets.move_to_end(key)
        if len(self._buckets) > BUCKETS_MAX:
            self._buckets.popitem(last=False)
        return bucket

    def _next_try(self, peer: PeerId, now_ns: int) -> Effects:
        trying = self._serving[peer]
        left_ns = trying.asked.until_ns - MARGIN_NS - now_ns
        if not trying.places or left_ns <= 0:
            return self._reply(peer, -1, trying.why or "no time was left", now_ns)
        trying.until_ns = now_ns + min(TRY_NS, left_ns)
        address = trying.addresses[trying.places[0]]
        # the core says how it went; this timer is for the day it does not
        out = self._serving_due.add(trying.until_ns + MARGIN_NS // 2, peer)
        return [TryAddress(peer, address, trying.until_ns), *out]

    def tried(self, peer: PeerId, address: str, ok: bool, reason: str, now_ns: int) -> Effects:
        """How a `TryAddress` ended."""
        trying = self._serving.get(peer)
        if trying is None or not trying.places or trying.addresses[trying.places[0]] != address:
            return []
        place = trying.places.pop(0)
        if ok:
            return self._reply(peer, place, "", now_ns)
        trying.why = reason
        return self._next_try(peer, now_ns)

    def _reply(self, peer: PeerId, place: int, why: str, now_ns: int) -> Effects:
        asked = self._serving.pop(peer).asked
        return self._exchange.answer(Answer(peer, asked.id, encode_record(_Reply(place, why[:200]))), now_ns)

    # links and time

    def up(self, peer: PeerId, now_ns: int) -> Effects:
        out: Effects = []
        if not self._since_ns:
            self._since_ns = now_ns
            out += self._check.at(now_ns + int(FIRST_NS * (1 + 2 * self._rng.random())))
        if not self._peers.is_direct(peer):
            self._relayed[peer] = 0
            out += self._direct_due.add(now_ns + DIRECT_AGAIN_NS[0], peer)
        return out

    def down(self, peer: PeerId, reason: str, now_ns: int) -> Effects:
        self._relayed.pop(peer, None)
        self._serving.pop(peer, None)
        return []

    def woken(self, token: Hashable, now_ns: int) -> Effects:
        if token == self._check.token:
            return self._ask(now_ns) if self._check.rings(now_ns) else []
        if token == self._direct_due.token:
            return self._dial_directly(now_ns)
        out: Effects = []
        for peer in self._serving_due.due(now_ns):
            trying = self._serving.get(peer)
            if trying is not None and trying.until_ns + MARGIN_NS // 2 <= now_ns:
                out += self.tried(peer, trying.addresses[trying.places[0]], False, "it took too long", now_ns)
        return out + self._serving_due.again()

    def _dial_directly(self, now_ns: int) -> Effects:
        out: Effects = []
        for peer in self._direct_due.due(now_ns):
            if self._peers.is_direct(peer):
                del self._relayed[peer]
                continue
            signed = self._peers.signed(peer)
            if signed is not None and any(text.startswith("tcp/") for text in signed.record.addresses):
                out.append(DialDirect(peer))
            tries = self._relayed[peer] = min(self._relayed[peer] + 1, len(DIRECT_AGAIN_NS) - 1)
            out += self._direct_due.add(now_ns + DIRECT_AGAIN_NS[tries], peer)
        return out + self._direct_due.again()
