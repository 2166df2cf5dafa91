"""Promises: news that peers told of and that are not here; whom to ask for them, when, and for how long.

Flow: Have -> gossip -> *Promises.told*; timer -> *Promises.due* -> Want of gossip; the news come -> *Promises.kept*.

A key is asked of who told it first, 25 ms after it was told, then each second of the next who told it; four times in
all. A promise that is not kept is no lie: whoever made it may have had to drop what somebody else asked of it or poured
over it. So nobody is blamed, but who broke 100 promises is asked last and may make half as many, and so on.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import msgspec

from qcommons.base.units import NS_PER_S
from qcommons.mesh.bucket import Bucket, Rate
from qcommons.mesh.parts import Effects
from qcommons.mesh.records import PeerId
from qcommons.mesh.timers import Deadlines

__all__ = ["PEER_MAX", "Promises"]

# Whoever is told of news after 0.1 s (gossip.FLUSH_NS) has waited long enough for the tree.
FIRST_WAIT_NS = NS_PER_S // 40
WAIT_NS = NS_PER_S
STEP_NS = FIRST_WAIT_NS  # what is due within it is asked for together: at most 40 Wants a second go to one peer
BATCH_NS = NS_PER_S // 10
TRIES_MAX = 4
SOURCES_MAX = 8
PEER_MAX = 2_048  # all that a peer can have kept
ALL_MAX = 24_576  # eight neighbours and half as many again; 9 MB
STRANGERS_MAX = 2_048  # of all that are no neighbours; honest ones tell nothing
HALVES, HALVES_MAX = 100, 6  # a hundred broken promises halve what may be promised, six times
PULLED_NEWS = Rate(150, 600)  # keys asked of one peer; with what it pushes they are below its rate in guard.RATES


class _Missing(msgspec.Struct):
    sources: list[PeerId]
    tries: int = 0


class _Promiser(msgspec.Struct):
    """told: news that only it has told of, so far. broken: promises that it did not keep, less those it kept."""

    pulled: Bucket
    told: int = 0
    broken: int = 0


class Promises:
    """is_linked: who can be asked. is_near: neighbours, whose promises no stranger can crowd out."""

    def __init__(
        self, token: Hashable, is_linked: Callable[[PeerId], bool], is_near: Callable[[PeerId], bool]
    ) -> None:  # fmt: skip
        self.token = token
        self._is_linked, self._is_near = is_linked, is_near
        self._missing: dict[bytes, _Missing] = {}
        self._due: Deadlines[bytes] = Deadlines(token, self._missing.__contains__)
        self._promisers: dict[PeerId, _Promiser] = {}

    def __len__(self) -> int:
        return len(self._missing)

    def told(self, peer: PeerId, keys: list[bytes], now_ns: int) -> tuple[Effects, int]:
        """A peer has news that are not here. The second answer: how many are more than it may promise."""
        promiser = self._promiser(peer)
        room, beyond, out = self._room(peer, promiser), 0, Effects()
        for key in keys:
            missing = self._missing.get(key)
            if missing is not None:
                if peer not in missing.sources and len(missing.sources) < SOURCES_MAX:
                    missing.sources.append(peer)
            elif room <= 0:
                beyond += 1
            else:
                room -= 1
                promiser.told += 1
                self._missing[key] = _Missing([peer])
                out += self._due.add(_step(now_ns + FIRST_WAIT_NS), key)
        return out, beyond

    def kept(self, peer: PeerId, key: bytes) -> None:
        """The news are here, by `peer`."""
        missing = self._forget(key)
        if missing is not None and peer in missing.sources:
            promiser = self._promiser(peer)
            promiser.broken = max(0, promiser.broken - 1)

    def due(self, now_ns: int) -> tuple[dict[PeerId, list[bytes]], Effects]:
        """Whom to ask for what now, and the timer for the rest."""
        wanted: dict[PeerId, list[bytes]] = {}
        late: dict[PeerId, int] = {}
        out: Effects = []
        for key in self._due.due(now_ns):
            missing = self._missing[key]
            sources = [peer for peer in missing.sources if self._is_linked(peer)]
            if not sources or missing.tries >= TRIES_MAX:
                self._give_up(key, sources)
                continue
            sources.sort(key=lambda peer: self._promiser(peer).broken // HALVES)  # stable: else who told first
            source = sources[missing.tries % len(sources)]
            pulled = self._promiser(source).pulled
            if not pulled.take(PULLED_NEWS, now_ns):
                # each waits for a token of its own, and some for company: thousands that come back at once, for one
                # to pass, would cost the square of their number
                late[source] = late.get(source, 0) + 1
                when_ns = pulled.when_ns(PULLED_NEWS, now_ns, late[source])
                out += self._due.add(-(-when_ns // BATCH_NS) * BATCH_NS, key)
                continue
            missing.tries += 1
            wanted.setdefault(source, []).append(key)
            out += self._due.add(_step(now_ns + WAIT_NS), key)
        return wanted, out + self._due.again()

    def down(self, peer: PeerId) -> None:
        """Its link ended."""
        self._promisers.pop(peer, None)

    def _promiser(self, peer: PeerId) -> _Promiser:
        promiser = self._promisers.get(peer)
        if promiser is None:
            promiser = _Promiser(Bucket())
            if self._is_linked(peer):
                self._promisers[peer] = promiser
        return promiser

    def _room(self, peer: PeerId, promiser: _Promiser) -> int:
        halves = min(promiser.broken // HALVES, HALVES_MAX)
        room = min((PEER_MAX >> halves) - promiser.told, ALL_MAX - len(self._missing))
        if not self._is_near(peer):
            strangers = sum(row.told for one, row in self._promisers.items() if not self._is_near(one))
            room = min(room, STRANGERS_MAX - strangers)
        return room

    def _give_up(self, key: bytes, sources: list[PeerId]) -> None:
        self._forget(key)
        for peer in sources:
            self._promiser(peer).broken += 1

    def _forget(self, key: bytes) -> _Missing | None:
        missing = self._missing.pop(key, None)
        if missing is not None:
            first = self._promisers.get(missing.sources[0])
            if first is not None and first.told:
                first.told -= 1
        return missing


def _step(at_ns: int) -> int:
    return -(-at_ns // STEP_NS) * STEP_NS
