"""Doorkeeper: who may come in, before anything is known of them but where they come from.

Flow: listener -> *knock* (may the connection stay) -> wire: first flight -> *greet* (handshake, or a puzzle first) ->
*answer* -> handshake -> *stands* -> links; *left* at the end, whatever happened. docs/protocol/puzzle.md.

    connections   capped a prefix and in all; refused beyond
    half open     (no session yet) capped a prefix and in all; beyond, the oldest of the prefix with most of them goes
    handshakes    a budget a prefix and in all (generic cell rate algorithm, ITU-T I.371 annex A). Above it, a puzzle,
                  the harder the more was let in above it; beyond the hardest, nobody from there until it is paid off

A prefix is a /24 of IPv4, a /48 of IPv6, this machine (loopback), or a relay. All state is bounded: what is connected,
and the budgets of `PREFIXES_MAX` prefixes.
"""

from __future__ import annotations

from collections import Counter, OrderedDict

import msgspec

from qcommons.base.errors import PeerError, UsageError
from qcommons.base.units import NS_PER_S
from qcommons.mesh import addresses, puzzle

__all__ = ["LIMITS", "Doorkeeper", "Limits", "Verdict"]


class Limits(msgspec.Struct, frozen=True):
    """Of one prefix, or of all. per_s, burst: handshakes, at least 1; one costs 3 ms of a core."""

    connections: int
    half_open: int
    per_s: int
    burst: int


# In all: half of the 1,024 files that a process may have open where nothing else is set; an eighth of a core for
# handshakes for ever. A prefix may be a household, a school or a provider's customers: 64 nodes of it fit, and the 30
# of a laboratory are let in at once. What runs on this machine could do worse than dial.
LIMITS = {
    "all": Limits(connections=512, half_open=128, per_s=40, burst=80),
    "loopback": Limits(connections=256, half_open=64, per_s=40, burst=80),
    "prefix": Limits(connections=64, half_open=32, per_s=8, burst=32),
}
PREFIXES_MAX = 4_096  # budgets kept, of 200 bytes each; the one unused for longest is forgotten
REASONS = ("connections", "half open", "budget", "puzzle")


class Verdict(msgspec.Struct, frozen=True):
    """refused: why the connection is to be closed at once, empty where it stays. close: others to be closed now, with
    this reason: they have been half open for longest."""

    refused: str = ""
    close: tuple[int, ...] = ()


class _Place(msgspec.Struct):
    """A prefix, or all of them. half: half open connections, oldest first. paid_ns: when the budget is whole again."""

    limits: Limits
    connections: int = 0
    half: dict[int, None] = {}
    paid_ns: int = 0


class _Guest(msgspec.Struct):
    address: str
    place: _Place


class Doorkeeper:
    """One for all listeners of a node. refused: how often each reason of `REASONS` was given; challenged: puzzles."""

    def __init__(self, secret: bytes, limits: dict[str, Limits] = LIMITS) -> None:
        """secret: 32 bytes, new at every start. limits: rows "all", "loopback", "prefix"."""
        self._secret = secret
        self._limits = limits
        self._all = _Place(limits["all"])
        self._places: OrderedDict[str, _Place] = OrderedDict()
        self._guests: dict[int, _Guest] = {}
        self.refused: Counter[str] = Counter()
        self.challenged = 0

    @property
    def half_open(self) -> int:
        return len(self._all.half)

    @property
    def connections(self) -> int:
        return self._all.connections

    def knock(self, conn: int, address: str, now_ns: int) -> Verdict:
        """A connection came in. conn: its number, below 2^64. address: of the other end, as in peer records."""
        place = self._place(_prefix(address), now_ns)
        for at, name in ((place, "its network"), (self._all, "all")):
            if at.connections >= at.limits.connections:
                self.refused["connections"] += 1
                return Verdict(f"{at.connections} connections from {name}; allowed {at.limits.connections}")
        close: tuple[int, ...] = ()
        if len(place.half) >= place.limits.half_open:
            close = (next(iter(place.half)),)
        elif len(self._all.half) >= self._all.limits.half_open:
            fullest = max((self._guests[one].place for one in self._all.half), key=lambda at: len(at.half))
            close = (next(iter(fullest.half)),)
        for other in close:
            self.refused["half open"] += 1
            self.left(other)
        self._guests[conn] = _Guest(address, place)
        for at in (place, self._all):
            at.connections += 1
            at.half[conn] = None
        return Verdict(close=close)

    def greet(self, conn: int, now_ns: int) -> puzzle.Puzzle | None:
        """The first flight of `conn` is here: None where its handshake may begin, else what must be solved before.

        Raises:
            PeerError: not now, whatever it solves.
        """
        guest = self._guest(conn)
        bits = max(_bits(guest.place, now_ns), _bits(self._all, now_ns))
        if not bits:
            self._pay(guest, now_ns)
            return None
        self._check_bits(bits)
        self.challenged += 1
        return puzzle.make(self._secret, conn, guest.address, bits, now_ns)

    def answer(self, conn: int, solution: bytes, now_ns: int) -> None:
        """The handshake of `conn` may begin.

        Raises:
            PeerError: the solution is wrong or late, or too much was solved meanwhile.
        """
        guest = self._guest(conn)
        try:
            puzzle.check(self._secret, conn, guest.address, solution, now_ns)
        except PeerError:
            self.refused["puzzle"] += 1
            raise
        self._check_bits(max(_bits(guest.place, now_ns), _bits(self._all, now_ns)))
        self._pay(guest, now_ns)

    def stands(self, conn: int) -> None:
        """`conn` has become a session."""
        guest = self._guests.get(conn)
        if guest is not None:
            guest.place.half.pop(conn, None)
            self._all.half.pop(conn, None)

    def left(self, conn: int) -> None:
        """`conn` is closed; it may be told twice."""
        guest = self._guests.pop(conn, None)
        if guest is not None:
            for at in (guest.place, self._all):
                at.connections -= 1
                at.half.pop(conn, None)

    def _guest(self, conn: int) -> _Guest:
        guest = self._guests.get(conn)
        if guest is None:
            raise PeerError("the connection was closed to let others in", where="door")
        return guest

    def _check_bits(self, bits: int) -> None:
        if bits > puzzle.BITS_MAX:
            self.refused["budget"] += 1
            raise PeerError("too many handshakes from there; again in a minute", where="door")

    def _pay(self, guest: _Guest, now_ns: int) -> None:
        for at in (guest.place, self._all):
            at.paid_ns = max(at.paid_ns, now_ns) + NS_PER_S // at.limits.per_s

    def _place(self, prefix: str, now_ns: int) -> _Place:
        place = self._places.get(prefix)
        if place is None:
            if len(self._places) >= PREFIXES_MAX:
                self._forget_one()
            row = self._limits["loopback" if prefix == "loopback" else "prefix"]
            place = self._places[prefix] = _Place(row)
        self._places.move_to_end(prefix)
        return place

    def _forget_one(self) -> None:
        """The prefix unused for longest; one that is connected is in use (and there are 512 connections at most)."""
        idle = next((prefix for prefix, place in self._places.items() if not place.connections), None)
        if idle is not None:
            del self._places[idle]


def _prefix(address: str) -> str:
    try:
        return addresses.parse(address).prefix
    except UsageError:  # from the system, so not a lie; all that we cannot read share one budget
        return "unreadable"


def _bits(place: _Place, now_ns: int) -> int:
    """How hard the puzzle is for one more handshake from there: 0 within the budget; then BITS_MIN, and one bit more
    for each further burst that is owed. So what is let in settles where solving takes as long as the budget allows."""
    owed = (place.paid_ns - now_ns) * place.limits.per_s // NS_PER_S + 1
    bursts = (owed - 1) // place.limits.burst
    return puzzle.BITS_MIN + bursts - 1 if bursts > 0 else 0
