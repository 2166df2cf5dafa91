"""Dialler: whom to dial, at which of its addresses, and when again.

Flow: view, membership, waiting messages -> *want* -> a place in the queue -> Dial -> Linked | DialFailed -> the next
address, or the end. An owner's word (`knock`: invitation, settings, local network) and a part's probe (TryAddress) go
first.

Addresses are claims, so a dial costs its target something and its teller nothing. What bounds it:
    under way       8 in all; half of them at most for members that are lost
    an address      after a failure 0.5 s, doubled each time up to 30 s, within a quarter at random
    a prefix        where nobody was ever met: 32 at once, then one a second (`addresses.Address.prefix`)
    one peer        its next address 0.5 s after the one before, or when that has failed; the first that works wins
    a false one     where another node answered than the one it was told for: not dialled for that one for 10 minutes
    hearsay         private addresses are dialled only where they were told by somebody inside (`may_tell`)
Lost members are tried for ever at membership's own small rate: they wait for nothing but the first and third bound.
"""

from __future__ import annotations

from collections import OrderedDict, deque

import msgspec

from qcommons.base.units import NS_PER_S
from qcommons.mesh.addresses import Address, Scope, may_tell, parse
from qcommons.mesh.draws import Draws
from qcommons.mesh.own import Own
from qcommons.mesh.parts import TryAddress
from qcommons.mesh.peerbook import PeerBook
from qcommons.mesh.records import PeerId

__all__ = ["DIAL_NS", "UNDER_WAY_MAX", "Dialler", "Dialling"]

UNDER_WAY_MAX = 8
LOST_UNDER_WAY_MAX = 4
DIAL_NS = 6 * NS_PER_S  # a SYN is repeated after 1 and 3 s (RFC 6298); then the handshake
BACKOFF_NS = NS_PER_S // 2
STAGGER_NS = NS_PER_S // 2  # RFC 8305 has 0.25 s for two addresses of one host; a session costs more than a SYN
BACKOFF_DOUBLINGS_MAX = 6
PREFIX_EVERY_NS = NS_PER_S
PREFIX_BURST_NS = 32 * NS_PER_S
FALSE_NS = 600 * NS_PER_S  # addresses change hands, so it is not for ever
WAYS_MAX = 1_024
QUEUE_MAX = 256
KNOCKS_MAX = 64
BOOTSTRAPS_MAX = 32


class Dialling(msgspec.Struct):
    """A dial that is asked for or under way. is_lost: for a lost member. via: whose relay, if one."""

    peer: PeerId | None
    address: str
    ticket: str = ""
    probe: TryAddress | None = None
    is_lost: bool = False
    via: PeerId | None = None
    until_ns: int = 0


class _Way(msgspec.Struct):
    fails: int = 0
    next_ns: int = 0


class _Plan(msgspec.Struct):
    """Of a queued peer. left: addresses still to be tried in this round; next_ns: when the next one is, though another
    is under way."""

    left: list[str]
    is_lost: bool
    next_ns: int = 0


class Dialler:
    """under_way: by the number of the connection. bootstraps: address -> who must be there, if known."""

    def __init__(self, book: PeerBook, own: Own, draws: Draws) -> None:
        self.under_way: dict[int, Dialling] = {}
        self.bootstraps: OrderedDict[str, PeerId | None] = OrderedDict()
        self.why: OrderedDict[PeerId, str] = OrderedDict()  # of the last failure, for people
        self._book = book
        self._own = own
        self._draws = draws
        self._number = 0
        self._knocks: deque[Dialling] = deque()
        self._plans: OrderedDict[PeerId, _Plan] = OrderedDict()
        self._peers: dict[PeerId, int] = {}  # dials under way
        self._ways: OrderedDict[str, _Way] = OrderedDict()
        self._false: OrderedDict[tuple[PeerId, str], int] = OrderedDict()  # until when
        self._prefixes: OrderedDict[str, int] = OrderedDict()  # when its bucket would be empty again
        self._places = 0  # in the round over the bootstraps

    # what is wanted

    def want(self, peer: PeerId, now_ns: int, *, is_lost: bool = False, is_direct: bool = False) -> bool:
        """Queue a peer; False where none of its addresses can be dialled at all. is_direct: through no relay."""
        if peer in self._peers or peer in self._plans:
            return True
        ways = [
            text
            for text in self.ways(peer)
            if not (is_direct and text.startswith("relay/")) and self._false.get((peer, text), 0) <= now_ns
        ]
        if not ways:
            return False
        if is_lost:
            left = ways
        else:
            left = [text for text in ways if (way := self._ways.get(text)) is None or way.next_ns <= now_ns]
        if left and len(self._plans) < QUEUE_MAX:
            self._plans[peer] = _Plan(left, is_lost)
        return True

    def knock(self, dialling: Dialling) -> bool:
        """Queue an address whatever befell it before; False where too many wait."""
        if len(self._knocks) >= KNOCKS_MAX:
            return False
        self._knocks.append(dialling)
        return True

    def remember(self, address: str, peer: PeerId | None) -> None:
        """An address for joining, tried whenever no session is left."""
        self.bootstraps[address] = peer
        if len(self.bootstraps) > BOOTSTRAPS_MAX:
            self.bootstraps.popitem(last=False)

    def try_bootstrap(self, now_ns: int) -> None:
        """Queue the next of the addresses for joining whose time has come."""
        texts = list(self.bootstraps)
        for _ in texts:
            self._places += 1
            text = texts[self._places % len(texts)]
            way = self._ways.get(text)
            busy = any(dial.address == text for dial in (*self.under_way.values(), *self._knocks))
            if not busy and (way is None or way.next_ns <= now_ns):
                self.knock(Dialling(self.bootstraps[text], text))
                return

    def ways(self, peer: PeerId) -> list[str]:
        """The addresses of a peer that may be dialled, best first: where it was met, its own order, relays last."""
        entry = self._book.entries.get(peer)
        if entry is None:
            return []
        mine = self._own.addresses()
        found = [text for text in entry.signed.record.addresses if self._may_dial(entry.scope, parse(text), mine)]
        if entry.proven in found:
            found.remove(entry.proven)
            found.insert(0, entry.proven)
        return sorted(found, key=lambda text: text.startswith("relay/"))  # a stable sort

    def _may_dial(self, scope: Scope, address: Address, mine: tuple[str, ...]) -> bool:
        if address.via is not None:
            return address.via != self._own.peer
        return address.text not in mine and may_tell(scope, address)

    # what is done

    def pump(self, now_ns: int) -> list[int]:
        """Numbers of the dials to start now."""
        out: list[int] = []
        while self._knocks and len(self.under_way) < UNDER_WAY_MAX:
            out.append(self._start(self._knocks.popleft(), now_ns))
        lost = sum(dial.is_lost for dial in self.under_way.values())
        for peer in list(self._plans):
            plan = self._plans[peer]
            if len(self.under_way) >= UNDER_WAY_MAX:
                break
            if plan.next_ns > now_ns or (plan.is_lost and lost >= LOST_UNDER_WAY_MAX):
                continue
            text = self._affordable(peer, plan, now_ns)
            if not plan.left:
                del self._plans[peer]
            if text is None:
                continue
            lost += plan.is_lost
            plan.next_ns = now_ns + STAGGER_NS
            out.append(self._start(Dialling(peer, text, is_lost=plan.is_lost), now_ns))
        return out

    def rivals(self, peer: PeerId, *, is_direct: bool) -> list[int]:
        """A link with `peer` stands: the dials under way that would lead to none better. A direct one is still worth
        having where the link goes through a relay."""
        found = [number for number, dial in self.under_way.items() if dial.peer == peer and dial.probe is None]
        return [number for number in found if is_direct or self.under_way[number].via is not None]

    def linked(self, number: int) -> Dialling | None:
        """A session stands on a connection that was dialled; None where it was given up meanwhile."""
        dialling = self._ended(number)
        if dialling is not None:
            self._ways.pop(dialling.address, None)
            if dialling.peer is not None:
                self._plans.pop(dialling.peer, None)
        return dialling

    def failed(self, number: int, reason: str, is_other: bool, now_ns: int) -> Dialling | None:
        """It did not come about: its address rests, the peer's next one is tried at the next `pump`. is_other: another
        node is there."""
        dialling = self._ended(number)
        if dialling is None:
            return None
        way = self._ways.setdefault(dialling.address, _Way())
        self._ways.move_to_end(dialling.address)
        if len(self._ways) > WAYS_MAX:
            self._ways.popitem(last=False)
        way.next_ns = now_ns + self._draws.around(BACKOFF_NS << min(way.fails, BACKOFF_DOUBLINGS_MAX))
        way.fails += 1
        if is_other and dialling.peer is not None:
            self._false[dialling.peer, dialling.address] = now_ns + FALSE_NS
            if len(self._false) > WAYS_MAX:
                self._false.popitem(last=False)
        plan = self._plans.get(dialling.peer) if dialling.peer is not None else None
        if plan is not None:
            plan.next_ns = 0
        if dialling.peer is not None:
            self.why[dialling.peer] = f"{dialling.address}: {reason}"
            self.why.move_to_end(dialling.peer)
            if len(self.why) > WAYS_MAX:
                self.why.popitem(last=False)
        return dialling

    def overdue(self, now_ns: int) -> list[int]:
        """Dials under way that have taken too long."""
        return [number for number, dialling in self.under_way.items() if dialling.until_ns <= now_ns]

    def is_dialling(self, peer: PeerId) -> bool:
        """Queued or under way."""
        return peer in self._peers or peer in self._plans

    def give_up(self, number: int) -> None:
        """It is needed no more; nobody is to blame."""
        self._ended(number)

    def forget(self, peer: PeerId) -> None:
        """It is linked, or unwanted."""
        self._plans.pop(peer, None)

    def clear(self) -> None:
        """This node leaves: nothing is wanted any more."""
        self._plans.clear()
        self._knocks.clear()
        self.bootstraps.clear()

    def _start(self, dialling: Dialling, now_ns: int) -> int:
        self._number += 2
        dialling.via = parse(dialling.address).via
        dialling.until_ns = now_ns + DIAL_NS if dialling.probe is None else dialling.probe.until_ns
        self.under_way[self._number] = dialling
        if dialling.peer is not None:
            self._peers[dialling.peer] = self._peers.get(dialling.peer, 0) + 1
        return self._number

    def _ended(self, number: int) -> Dialling | None:
        dialling = self.under_way.pop(number, None)
        if dialling is not None and dialling.peer is not None:
            self._peers[dialling.peer] -= 1
            if not self._peers[dialling.peer]:
                del self._peers[dialling.peer]
        return dialling

    def _affordable(self, peer: PeerId, plan: _Plan, now_ns: int) -> str | None:
        """The plan's next address, within the budget of its prefix unless the peer was met there."""
        entry = self._book.entries.get(peer)
        while plan.left and entry is not None:
            text = plan.left.pop(0)
            address = parse(text)
            if text == entry.proven or address.scope == Scope.LOOPBACK or address.via is not None:
                return text
            full_ns = max(self._prefixes.get(address.prefix, 0), now_ns) + PREFIX_EVERY_NS
            if full_ns - now_ns <= PREFIX_BURST_NS:
                self._prefixes[address.prefix] = full_ns
                self._prefixes.move_to_end(address.prefix)
                if len(self._prefixes) > WAYS_MAX:
                    self._prefixes.popitem(last=False)
                return text
        return None
