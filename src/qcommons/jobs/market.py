"""Market: the asks of others as this node knows them, the newest of each node and resource.

Flow: gossip "asks.1", answers of "work.asks/1" -> *Book.learn* -> `asks`, `of` -> quote, place; `beyond` -> who asks.

    older seq                  ignored
    same seq, same ask         ignored (signatures are hedged, so the bytes may differ)
    same seq, another          its author contradicts itself: both files are kept as evidence, and nothing of this
                               resource counts from it until both would have expired; who told it is not blamed
    newer seq                  verified, then it counts
    expired, from the future,  dropped with the reason: nobody's fault
    of other terms
    bad form, bad signature    the teller's fault: it could have checked that, and nothing else here costs it anything

What expired is remembered (with its `seq`) until every older ask has expired too, so that an old price cannot be shown
again. At most ASKS_MAX are held. In a full book, what has expired goes first, then of those with the lowest `Standing`
that are not above the newcomer, one from the source that has told most of them: keys are free, sources (prefixes of
addresses) are not, so a flood pushes out itself. One ask takes 5.6 KB, a full book 5.7 MB.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable
from enum import IntEnum
from typing import Literal

import msgspec

from qcommons.base.canonical import encode
from qcommons.base.effects import Effect, Store, note
from qcommons.base.errors import PeerError
from qcommons.jobs.asks import LIFE_S_MAX, TERMS, Ask, Resource, ask_hash, check_ask, read_ask, why_untimely

__all__ = ["ASKS_MAX", "EVIDENCE_KEY", "KNOWN_BYTES", "Book", "Learnt", "Standing"]

ASKS_MAX = 1_024
KNOWN_BYTES = 8  # of an ask's hash, where a node says which it knows: to hide another's ask so takes 2^64 tries
EVIDENCE_KEY = "asks/evidence/"
EVIDENCE_MAX = 64  # pairs of files, 11 KB each

Fault = Literal["", "teller", "author"]
Key = tuple[bytes, Resource]


class Standing(IntEnum):
    """How well an ask's node is known here. Above a stranger, an ask is not pushed out by strangers'."""

    STRANGER = 0
    PROVEN = 1  # its work was found right by a check
    TRUSTED = 2  # the owner's own node, or one that the owner allowed


class Learnt(msgspec.Struct, frozen=True):
    """What came of one file. ask: the one that counts now of this node and resource, None where there is none.
    why: what is wrong with what came, "" if nothing. fault: whose that is, by what it could have checked itself."""

    ask: Ask | None
    why: str
    fault: Fault
    effects: tuple[Effect, ...] = ()


class _Held(msgspec.Struct):
    """twice: its author signed another ask with this `seq`, so neither counts."""

    ask: Ask
    raw: bytes
    digest: bytes
    source: str
    standing: Standing
    twice: bool = False

    def counts(self, now_s: int) -> bool:
        return not self.twice and not why_untimely(self.ask, now_s)

    def forget_s(self) -> int:
        """From then on no ask of this `seq` or an older one can be valid (`asks.LIFE_S_MAX`)."""
        return self.ask.seq // 1000 + LIFE_S_MAX


class Book:
    """State: what is held, by node and resource. me: hash of this node, whose own asks are kept elsewhere.
    evidence: names (without `EVIDENCE_KEY`) of what is on disk from before, so that it stays bounded."""

    def __init__(self, me: bytes, network: str, evidence: Iterable[str] = ()) -> None:
        self._me = me
        self._network = network
        self._held: dict[Key, _Held] = {}
        self._evidence = set(evidence)

    def learn(self, raw: bytes, source: str, now_s: int, standing: Standing = Standing.STRANGER) -> Learnt:
        """Take the file of an ask.

        Args:
            source: where it came from: the prefix of the teller's address, or another name for what is not free.
            now_s: Unix seconds. standing: of the ask's node, which says who must make room.
        """
        try:
            ask = read_ask(raw)
        except PeerError as error:
            return _dropped(f"malformed ask: {error}", "teller", source)
        if ask.node == self._me:
            return _dropped(f"own ask with seq {ask.seq} came back", "", source)
        key: Key = (ask.node, ask.resource)
        held = self._held.get(key)
        if held is not None and (ask.seq < held.ask.seq or held.twice or ask == held.ask):
            held.standing = max(held.standing, standing)
            return Learnt(held.ask if held.counts(now_s) else None, "", "")
        why = why_untimely(ask, now_s)
        if ask.terms != TERMS:
            why = why or f"offered under terms {ask.terms}; this node knows {TERMS}"
        if why:
            return _dropped(f"ask of {ask.node.hex()[:16]}: {why}", "", source)
        try:
            check_ask(raw, self._network)
        except PeerError as error:
            return _dropped(f"forged ask: {error}", "teller", source)
        if held is not None and ask.seq == held.ask.seq:
            return self._contradicted(held, raw, source)
        if held is None and not self._make_room(source, standing, now_s):
            return _dropped(f"the book is full: {ASKS_MAX} asks of peers that are known better", "", source)
        self._held[key] = _Held(ask, raw, ask_hash(ask), source, standing)
        return Learnt(ask, "", "")

    def of(self, node: bytes, resource: Resource, now_s: int) -> Ask | None:
        """The ask of a node that counts now."""
        held = self._held.get((node, resource))
        return held.ask if held is not None and held.counts(now_s) else None

    def asks(self, resource: Resource, now_s: int) -> list[Ask]:
        """All that count now, the cheapest first; of one price, by node."""
        return [held.ask for held in self._sorted(resource, now_s)]

    def held(self, resource: Resource, now_s: int) -> list[tuple[Ask, str]]:
        """All that are remembered, as `asks` sorts them, each with why it does not count; "" where it does."""
        rows = [row for (_, kind), row in self._held.items() if kind == resource]
        rows.sort(key=lambda row: (row.ask.price_per_giga, row.ask.node))
        return [(row.ask, "" if row.counts(now_s) else self.why_none(row.ask.node, resource, now_s)) for row in rows]

    def known(self, now_s: int) -> list[bytes]:
        """The beginnings of the hashes of all that count: what another node need not send."""
        return sorted(held.digest[:KNOWN_BYTES] for held in self._held.values() if held.counts(now_s))

    def beyond(self, known: Container[bytes], now_s: int, count: int) -> list[bytes]:
        """So many files of asks that count and that a peer, which knows `known`, lacks; the cheapest first."""
        rows = [held for held in self._held.values() if held.counts(now_s) and held.digest[:KNOWN_BYTES] not in known]
        rows.sort(key=lambda held: (held.ask.resource, held.ask.price_per_giga, held.ask.node))
        return [held.raw for held in rows[:count]]

    def cited(self, digest: bytes) -> bytes | None:
        """The file of the ask with this hash, expired or not: what a lease rests on."""
        return next((held.raw for held in self._held.values() if held.digest == digest), None)

    def why_none(self, node: bytes, resource: Resource, now_s: int) -> str:
        """Why a node has no ask that counts."""
        held = self._held.get((node, resource))
        if held is None:
            return f"no ask for {resource} came from it"
        if held.twice:
            return f"it signed two asks for {resource} with seq {held.ask.seq}"
        return f"its ask {why_untimely(held.ask, now_s)}"

    def __len__(self) -> int:
        return len(self._held)

    def _sorted(self, resource: Resource, now_s: int) -> list[_Held]:
        found = [held for (_, kind), held in self._held.items() if kind == resource and held.counts(now_s)]
        return sorted(found, key=lambda held: (held.ask.price_per_giga, held.ask.node))

    def _contradicted(self, held: _Held, raw: bytes, source: str) -> Learnt:
        held.twice = True
        name = f"{held.ask.node.hex()}/{held.ask.resource}"
        why = f"signed two asks for {held.ask.resource} with seq {held.ask.seq}"
        effects: list[Effect] = [note("ask_contradicted", peer=held.ask.node.hex(), source=source, why=why)]
        if name not in self._evidence and len(self._evidence) < EVIDENCE_MAX:
            self._evidence.add(name)
            effects.append(Store(EVIDENCE_KEY + name, encode([held.raw, raw])))
        return Learnt(None, why, "author", tuple(effects))

    def _make_room(self, source: str, standing: Standing, now_s: int) -> bool:
        """Whether one more fits, after somebody left where that was needed."""
        if len(self._held) < ASKS_MAX:
            return True
        over = [key for key, held in self._held.items() if held.forget_s() <= now_s]
        if over:
            for key in over:
                del self._held[key]
            return True
        dead = [key for key, held in self._held.items() if not held.counts(now_s)]
        if dead:
            del self._held[min(dead, key=lambda key: self._held[key].forget_s())]
            return True
        lowest = min(held.standing for held in self._held.values())
        if lowest > standing:
            return False
        rows = [(key, held) for key, held in self._held.items() if held.standing == lowest]
        told = Counter(held.source for _, held in rows)
        told[source] += 1  # with the newcomer: among equals, who tells it makes room for it
        most = max(told, key=lambda name: (told[name], name == source, name))
        own = [row for row in rows if row[1].source == most]
        del self._held[min(own or rows, key=lambda row: (row[1].ask.until_s, row[0]))[0]]
        return True


def _dropped(why: str, fault: Fault, source: str) -> Learnt:
    return Learnt(None, why, fault, (note("ask_dropped", source=source, why=why),))
