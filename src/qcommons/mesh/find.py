"""Find: who offers an engine, asked along random walks, since a node knows only some of a large network.

Flow: `Seek` -> *Find* -> own book, then "find/1" => a neighbour: *Find* -> its book, then on to one of its neighbours
=> answers come back the way the question went -> `Send(ticket, Found)`.

Every node of a walk looks into its own book (512 records) first, which is why a few steps see thousands: with a share
p of providers in the network, one book misses them all with probability (1 - p)^512, which is 0.6 % for p = 1 % and
60 % for p = 0.1 %; 4 walks of 6 steps miss with 0.6^24, 5 in a million. A query costs at most WALKS * HOPS_MAX requests
in the whole network. Records are verified at every step, so whoever passes on a bad one can be blamed for it.
Source: k random walks (Lv, Cao, Cohen, Li, Shenker, ICS 2002, DOI 10.1145/514191.514206). docs/protocol/exchange.md.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator

import msgspec
import numpy as np

from qcommons.base.canonical import decode_record, encode_record
from qcommons.base.effects import Send
from qcommons.base.errors import PeerError
from qcommons.base.units import NS_PER_S
from qcommons.mesh.events import Answer, Asked, Failed, Found, Got, Seek
from qcommons.mesh.exchange import Exchange
from qcommons.mesh.parts import Blame, Effects, PartBase, Peers, Wishes
from qcommons.mesh.records import PeerId, Signed
from qcommons.mesh.timers import Deadlines

__all__ = ["COUNT_MAX", "FIND", "HOPS_MAX", "WALKS", "Find"]

FIND = "find/1"
WALKS = 4
HOPS_MAX = 6
COUNT_MAX = 16  # records of 5.3 KB in an answer
RECORD_BYTES_MAX = 8 << 10
SEEKS_MAX = 64  # of this node at once
MARGIN_NS = 50_000_000  # each step answers so long before whoever asked it stops waiting
WITHIN_NS_MAX = 30 * NS_PER_S
OFFER = re.compile(r"([a-z][a-z0-9._-]{0,39}):([0-9]{1,4})")
BAD_POINTS = 10


class Question(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """offer: as in `Seek`. count: records wanted, 1 to 16. hops: steps that may still follow."""

    offer: str
    count: int
    hops: int


class Reply(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """records: signed. asked: nodes that looked, from the answering one on."""

    records: tuple[bytes, ...]
    asked: int


class _Search(msgspec.Struct):
    """A question in hand: our own (ticket), or a step of somebody's walk (asked)."""

    question: Question
    found: dict[PeerId, Signed]
    looked: int
    walks: int
    until_ns: int
    ticket: str = ""
    asked: Asked | None = None


class _Offers:
    """Who of the book offers what, by the engine's name: a question costs its answers, not a walk over the book. It
    follows the book where that has changed; what has not is not read again."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._version: int | None = None
        self._read: dict[PeerId, Signed] = {}
        self._qubits: dict[str, dict[PeerId, int]] = {}  # name -> peer -> the most qubits of its offers

    def of(self, name: str, qubits: int) -> Iterator[Signed]:
        """Records that offer it, this node's own first."""
        own = self._peers.signed(self._peers.me)
        if own is not None and _offered(own).get(name, -1) >= qubits:
            yield own
        self._follow()
        for peer, most in self._qubits.get(name, {}).items():
            if most >= qubits and peer != self._peers.me:
                yield self._read[peer]

    def _follow(self) -> None:
        if self._version == self._peers.book_version:
            return
        self._version = self._peers.book_version
        gone = dict.fromkeys(self._read)
        for peer in self._peers.known():
            signed, before = self._peers.signed(peer), self._read.get(peer)
            if signed is None:
                continue
            gone.pop(peer, None)
            if signed is not before:
                self._forget(peer)
                self._read[peer] = signed
                for name, qubits in _offered(signed).items():
                    self._qubits.setdefault(name, {})[peer] = qubits
        for peer in gone:
            self._forget(peer)

    def _forget(self, peer: PeerId) -> None:
        signed = self._read.pop(peer, None)
        for name in _offered(signed) if signed is not None else ():
            of_name = self._qubits[name]
            del of_name[peer]
            if not of_name:
                del self._qubits[name]


class Find(PartBase):
    """Asks on behalf of this node (`seek`), and answers and passes on the questions of others."""

    NAME = "find"

    def __init__(self, peers: Peers, exchange: Exchange, rng: np.random.Generator) -> None:
        self._peers = peers
        self._exchange = exchange
        self._rng = rng
        self._offers = _Offers(peers)
        self._searches: dict[int, _Search] = {}
        self._last = 0
        self._due: Deadlines[int] = Deadlines((self.NAME, "due"), self._searches.__contains__)
        exchange.attend(FIND, self._asked)

    def wishes(self) -> Wishes:
        return {Seek: self.seek}

    def seek(self, event: Seek, now_ns: int) -> Effects:
        if not OFFER.fullmatch(event.offer):
            failed = Failed("usage", f"{event.offer[:60]!r} is no offer; name:qubits needed, as in aer:28", "offer")
            return [Send(event.ticket, failed)]
        if len(self._searches) >= SEEKS_MAX:
            failed = Failed("unavailable", f"{SEEKS_MAX} searches run here; ask later", "searches", str(SEEKS_MAX))
            return [Send(event.ticket, failed)]
        question = Question(event.offer, max(1, min(event.count, COUNT_MAX)), HOPS_MAX - 1)
        until_ns = now_ns + min(event.within_ns, WITHIN_NS_MAX)
        return self._begin(_Search(question, {}, 1, 0, until_ns, ticket=event.ticket), None, WALKS, now_ns)

    def _asked(self, asked: Asked, now_ns: int) -> Effects:
        try:
            question = decode_record(asked.body, Question, bytes_max=256, items_max=4)
            if not OFFER.fullmatch(question.offer) or not 1 <= question.count <= COUNT_MAX:
                raise PeerError(f"offer {question.offer[:60]!r}, {question.count} records; allowed 1 to {COUNT_MAX}")
            if not 0 <= question.hops < HOPS_MAX:
                raise PeerError(f"{question.hops} more hops; allowed 0 to {HOPS_MAX - 1}")
        except PeerError as error:
            blame = Blame(asked.peer, BAD_POINTS, f"{FIND}: {error}")
            return [blame, *self._answer(asked, Failed("usage", error.what, FIND), now_ns)]
        until_ns = min(asked.until_ns, now_ns + WITHIN_NS_MAX) - MARGIN_NS
        walks = 1 if question.hops and len(self._searches) < SEEKS_MAX else 0
        return self._begin(_Search(question, {}, 1, 0, until_ns, asked=asked), asked.peer, walks, now_ns)

    def _begin(self, search: _Search, comes_from: PeerId | None, walks: int, now_ns: int) -> Effects:
        """Look here; if that is not enough, send out so many walks."""
        name, qubits = _parsed(search.question.offer)
        skipped = comes_from or self._peers.me  # who asks knows itself
        for signed in self._offers.of(name, qubits):
            if signed.peer != skipped:
                search.found[signed.peer] = signed
                if len(search.found) >= search.question.count:
                    return self._end(search, now_ns)
        others = [peer for peer in self._peers.neighbours() if peer != comes_from]
        if not walks or not others or search.until_ns <= now_ns:
            return self._end(search, now_ns)
        self._last += 1
        number = self._last
        self._searches[number] = search
        out = self._due.add(search.until_ns, number)
        lacking = search.question.count - len(search.found)
        body = encode_record(Question(search.question.offer, lacking, search.question.hops - (comes_from is not None)))
        chosen = self._rng.permutation(len(others))[:walks].tolist()
        search.walks = len(chosen)
        for index in chosen:
            out += self._step(number, others[index], body, search.until_ns - now_ns, now_ns)
        return out

    def _step(self, number: int, peer: PeerId, body: bytes, within_ns: int, now_ns: int) -> Effects:
        def then(what: Got | Failed, now_ns: int) -> Effects:
            return self._replied(number, peer, what, now_ns)

        return self._exchange.request(peer, FIND, body, within_ns, now_ns, then)

    def _replied(self, number: int, peer: PeerId, what: Got | Failed, now_ns: int) -> Effects:
        search = self._searches.get(number)
        if search is None:
            return []
        search.walks -= 1
        out: Effects = []
        if isinstance(what, Got):
            out += self._take(search, peer, what.body, now_ns)
        if search.walks and len(search.found) < search.question.count:
            return out
        del self._searches[number]
        return out + self._end(search, now_ns)

    def _take(self, search: _Search, peer: PeerId, body: bytes, now_ns: int) -> Effects:
        try:
            bytes_max = COUNT_MAX * RECORD_BYTES_MAX
            reply = decode_record(body, Reply, bytes_max=bytes_max, items_max=COUNT_MAX + 3)
        except PeerError as error:
            return [Blame(peer, BAD_POINTS, f"{FIND}: {error}")]
        # a walk has so many steps: more is a boast
        search.looked += max(0, min(reply.asked, search.question.hops + 1))
        out: Effects = []
        name, qubits = _parsed(search.question.offer)
        for raw in reply.records[:COUNT_MAX]:
            signed, said = self._peers.found(raw, peer, now_ns, wanted=search.asked is None)
            out += said
            if signed is not None and signed.peer != self._peers.me and _offered(signed).get(name, -1) >= qubits:
                search.found[signed.peer] = signed
        return out

    def _end(self, search: _Search, now_ns: int) -> Effects:
        records = tuple(search.found.values())[: search.question.count]
        if search.asked is None:
            return [Send(search.ticket, Found(records, search.looked))]
        return self._answer(search.asked, Reply(tuple(signed.raw for signed in records), search.looked), now_ns)

    def _answer(self, asked: Asked, what: Reply | Failed, now_ns: int) -> Effects:
        if isinstance(what, Failed):
            return self._exchange.answer(Answer(asked.peer, asked.id, failed=what), now_ns)
        return self._exchange.answer(Answer(asked.peer, asked.id, encode_record(what)), now_ns)

    def woken(self, token: Hashable, now_ns: int) -> Effects:
        out: Effects = []
        for number in self._due.due(now_ns):
            search = self._searches.pop(number, None)
            if search is not None:
                out += self._end(search, now_ns)
        return out + self._due.again()


def _parsed(offer: str) -> tuple[str, int]:
    name, _, qubits = offer.partition(":")
    return name, int(qubits)


def _offered(signed: Signed) -> dict[str, int]:
    """Name -> the most qubits that it is offered with."""
    found: dict[str, int] = {}
    for offer in signed.record.offers:
        match = OFFER.fullmatch(offer)
        if match:
            found[match[1]] = max(int(match[2]), found.get(match[1], 0))
    return found
