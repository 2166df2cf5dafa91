"""Gossip: what one node says reaches every node once, over a tree that grows out of the gossip itself.

Flow: `Publish` -> *Gossip* => neighbours: *Gossip* -> `Send("topic/TOPIC", Arrived)` there, and on to their neighbours.
Source: Plumtree (Leitao, Pereira, Rodrigues, SRDS 2007, DOI 10.1109/SRDS.2007.27), algorithms 1 to 3, with keys told in
batches and these additions for links that lose and networks that fall apart:

    neighbour is   it gets                        becomes the other when
    eager          news at once                   it says Prune, or sends what is here already (it is told Prune)
    lazy           the keys, after 0.1 s (Have)   it says Graft, or knows keys that did not come here within 25 ms
                                                  (Want and Graft to it), or an eager neighbour was lost

    new neighbour  both tell all keys of the last 5 minutes: what was said beyond a gap arrives when it closes
    every 5 s      the next neighbour in turn is told the keys of the last 30 s again, as far as it may lack them

A node sends about one whole news and a few keys for each, whatever the size of the network. What goes to one peer,
pushed or pulled, stays below what its guard lets pass, whoever caused it: `news_gate.py` says how much of the news of
others passes at all. docs/protocol/gossip.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable

import msgspec
import numpy as np

from qcommons.base.effects import Send, note
from qcommons.base.units import NS_PER_S
from qcommons.mesh import messages as m
from qcommons.mesh.bucket import Bucket, Rate
from qcommons.mesh.events import Arrived, OpenTopic, Publish
from qcommons.mesh.news import KEPT_NS, KEY_BYTES, SKEW_MS, Kept, NewsShelf, news_key
from qcommons.mesh.news_gate import NewsGate
from qcommons.mesh.parts import Blame, Effects, PartBase, Peers, ToPeer, Wishes
from qcommons.mesh.promises import PEER_MAX, Promises
from qcommons.mesh.records import PeerId
from qcommons.mesh.timers import Alarm

__all__ = ["PAYLOAD_BYTES_MAX", "Accept", "Gossip", "Heard"]

# news -> empty: its origin signed topic, seq and payload; else why nobody honest passes it on. It depends on nothing
# but the news, so that whoever passed them on has judged the same.
Accept = Callable[[m.Gossip], str]
# (origin, seq, payload, now_ns): who hears instead of the door "topic/TOPIC"
Heard = Callable[[PeerId, int, bytes, int], Effects]

TOPIC = re.compile(r"[a-z][a-z0-9._-]{0,63}")
PAYLOAD_BYTES_MAX = 1 << 16
SEQ_MAX = 1 << 53  # milliseconds since 1970 until far beyond what any clock shows
HOPS_MAX = 64  # a tree over 10,000 nodes of 7 neighbours is 10 deep; the count is for people, and stops here
MS = 1_000_000

# Keys wait for company, and until the news themselves and what they set off are through: by then most of those who
# would lack them have them. With the wait before they are asked for (promises.py) it is what repair takes.
FLUSH_NS = 100 * MS
TICK_NS = 5 * NS_PER_S
TOLD_AGAIN_NS = 30 * NS_PER_S
KEYS_MAX = 1_024  # a Have or Want
WANT_KEYS_MAX = 128
# Pushed at once to one peer; what is more it is told of. With what it asks for this stays below its guard.RATES.
PUSHED_NEWS = Rate(150, 600)
GIVEN_BYTES = Rate(2 << 20, 8 << 20)  # to one peer: all that is kept, twice at once
PRUNE_AGAIN_NS = NS_PER_S  # a burst that crosses on the way is answered once
INVALID_POINTS = 5  # five in a minute are a nuisance, twenty a ban
MALFORMED_POINTS = 20
NOTE_EVERY_NS = NS_PER_S


class _Puller(msgspec.Struct):
    """What one linked peer gets. prune_ns: when it may be told Prune again."""

    given: Bucket
    pushed: Bucket
    prune_ns: int = 0


class Gossip(PartBase):
    """rng: for choices among neighbours and the beat of the ticks."""

    NAME = "gossip"
    KINDS = (m.Gossip, m.Have, m.Want, m.Graft, m.Prune)

    def __init__(self, peers: Peers, rng: np.random.Generator) -> None:
        self._peers = peers
        self._rng = rng
        self._accept: dict[str, Accept | None] = {}  # of the topics that are passed on; None: nobody can check them
        self._heard: dict[str, Heard] = {}
        self._shelf = NewsShelf()
        self._last_seq = 0
        self._eager: dict[PeerId, None] = {}
        self._lazy: dict[PeerId, None] = {}
        self._untold: dict[PeerId, list[bytes]] = {}
        self._promises = Promises((self.NAME, "missing"), peers.is_linked, self._is_near)
        self._flush = Alarm((self.NAME, "flush"))
        self._tick = Alarm((self.NAME, "tick"))
        self._turn = 0
        self._pullers: dict[PeerId, _Puller] = {}
        self._gate = NewsGate(lambda origin: peers.signed(origin) is not None)
        self._dropped: dict[str, tuple[int, int]] = {}  # why -> (not noted yet, when to note)
        self._takers: dict[type[m.Message], Callable[..., Effects]] = {
            m.Gossip: self._news, m.Have: self._have, m.Want: self._want, m.Graft: self._graft, m.Prune: self._prune
        }  # fmt: skip

    # this node's own

    def validate(self, topic: str, accept: Accept) -> None:
        """News of `topic` are passed on and heard where `accept` finds their origin's signature."""
        self._accept[topic] = accept

    def open_topic(self, event: OpenTopic, now_ns: int) -> Effects:
        """News of a topic that no part checks. Without a check what they say is hearsay, and who tells them pays."""
        self._accept.setdefault(event.topic, event.accept)
        return []

    def listen(self, topic: str, heard: Heard) -> None:
        """`heard` gets what comes under `topic`, in place of the door."""
        self._heard[topic] = heard

    def wishes(self) -> Wishes:
        return {Publish: self.publish, OpenTopic: self.open_topic}

    def next_seq(self, now_ns: int) -> int:
        """The seq of this node's next news: milliseconds since 1970, each greater than the one before."""
        self._last_seq = max(self._last_seq + 1, now_ns // MS)
        return self._last_seq

    def publish(self, event: Publish, now_ns: int) -> Effects:
        """To all others; nothing comes back to this node itself."""
        seq = self.next_seq(now_ns) if event.seq is None else event.seq
        return self.say(event.topic, event.payload, seq, now_ns)

    def say(self, topic: str, payload: bytes, seq: int, now_ns: int) -> Effects:
        """As `publish`, where the payload holds a signature over `next_seq`."""
        news = m.Gossip(topic, self._peers.me, seq, payload, 0)
        why = _malformed(news) or self._gate.mine(len(payload), now_ns)
        if why:
            return [note("mesh_news_refused", why=why, topic=topic[:80], origin="this node")]
        return self._spread(news_key(news), Kept(news, now_ns, None, []), now_ns)

    # messages

    def came(self, peer: PeerId, id: int, message: m.Message, now_ns: int) -> Effects:
        return self._takers[type(message)](peer, message, now_ns)

    def _news(self, peer: PeerId, news: m.Gossip, now_ns: int) -> Effects:
        malformed = _malformed(news)
        if malformed:
            return [Blame(peer, MALFORMED_POINTS, f"news: {malformed}")]
        key = news_key(news)
        self._promises.kept(peer, key)
        if self._shelf.has_seen(key):
            return self._again(peer, key, now_ns)
        refused = self._refused(peer, news, now_ns)
        if refused is not None:
            return refused
        onward = m.Gossip(news.topic, news.origin, news.seq, news.payload, min(news.hops + 1, HOPS_MAX))
        out = self._spread(key, Kept(onward, now_ns, peer, [peer]), now_ns)
        if news.origin == self._peers.me:  # said before a restart, or in this node's name
            return out
        heard = self._heard.get(news.topic)
        if heard is not None:
            return out + heard(PeerId(news.origin), news.seq, news.payload, now_ns)
        return [*out, Send(f"topic/{news.topic}", Arrived(PeerId(news.origin), news.seq, news.payload))]

    def _refused(self, peer: PeerId, news: m.Gossip, now_ns: int) -> Effects | None:
        """What follows where news do not pass; None where they do. What was refused is not remembered: it may come
        again by somebody who pays, and what no room is left for must not fill the memory."""
        why = self._stale(news, now_ns)
        if why:
            return self._drop(why, peer, now_ns)
        if news.topic not in self._accept:
            self._gate.refused(peer, now_ns)
            return self._drop("no such topic here", peer, now_ns)
        origin, size_bytes = PeerId(news.origin), len(news.payload)
        accept = self._accept[news.topic]
        if accept is None:
            why = self._gate.told(peer, size_bytes, now_ns)
            return self._drop(why, peer, now_ns) if why else None
        why = self._gate.why_not(origin, size_bytes, now_ns)
        if why:
            return self._drop(why, peer, now_ns)
        why = accept(news)
        if why:
            return [Blame(peer, INVALID_POINTS, f"news of topic {news.topic}: {why}")]
        self._gate.passed(origin, size_bytes, now_ns)
        return None

    def _spread(self, key: bytes, kept: Kept, now_ns: int) -> Effects:
        self._shelf.keep(key, kept)
        out: Effects = []
        untold = [peer for peer in self._lazy if peer not in kept.holders]
        for peer in self._eager:
            if peer in kept.holders:
                continue
            if self._puller(peer).pushed.take(PUSHED_NEWS, now_ns):
                out.append(ToPeer(peer, kept.news))
            else:
                untold.append(peer)
        for peer in untold:
            self._untold.setdefault(peer, []).append(key)
        if untold:
            out += self._flush.at(now_ns + self._around(FLUSH_NS))
        return out + self._tick.at(now_ns + self._around(TICK_NS))

    def _again(self, peer: PeerId, key: bytes, now_ns: int) -> Effects:
        """It came over two ways: the later one leaves the tree, unless the link itself repeated it."""
        kept = self._shelf.get(key)
        if kept is not None:
            kept.held_by(peer)
            if kept.via == peer:
                return []
        puller = self._puller(peer)
        if not _move(peer, self._eager, self._lazy) and now_ns < puller.prune_ns:
            return []
        puller.prune_ns = now_ns + PRUNE_AGAIN_NS
        return [ToPeer(peer, m.Prune())]

    def _have(self, peer: PeerId, have: m.Have, now_ns: int) -> Effects:
        if len(have.keys) > KEYS_MAX or {*map(len, have.keys)} - {KEY_BYTES}:
            return [Blame(peer, MALFORMED_POINTS, "keys of news in another form than 1,024 of 16 bytes")]
        lacked: list[bytes] = []
        for key in have.keys:
            kept = self._shelf.get(key)
            if kept is not None:
                kept.held_by(peer)
            elif not self._shelf.has_seen(key):
                lacked.append(key)
        if not lacked:
            return []
        out, beyond = self._promises.told(peer, lacked, now_ns)
        return out + self._drop("told of more than can be asked for", peer, now_ns) if beyond else out

    def _want(self, peer: PeerId, want: m.Want, now_ns: int) -> Effects:
        if len(want.keys) > KEYS_MAX:
            return [Blame(peer, MALFORMED_POINTS, f"{len(want.keys)} keys of news wanted; allowed {KEYS_MAX}")]
        puller, out = self._puller(peer), Effects()
        for key in want.keys:
            kept = self._shelf.get(key)
            if kept is None:
                continue
            if not puller.given.take(GIVEN_BYTES, now_ns, len(kept.news.payload) + 64):
                return out + self._drop("more news wanted than is given", peer, now_ns)
            kept.held_by(peer)
            out.append(ToPeer(peer, kept.news))
        return out

    def _graft(self, peer: PeerId, graft: m.Graft, now_ns: int) -> Effects:
        _move(peer, self._lazy, self._eager)
        return []

    def _prune(self, peer: PeerId, prune: m.Prune, now_ns: int) -> Effects:
        _move(peer, self._eager, self._lazy)
        return []

    # what may pass

    def _stale(self, news: m.Gossip, now_ns: int) -> str | None:
        if abs(now_ns // MS - news.seq) > SKEW_MS:
            return "made more than 10 minutes away from now"
        return "too many news to tell them apart" if self._shelf.is_full() else None

    def _drop(self, why: str, peer: PeerId, now_ns: int) -> Effects:
        """Counts, and notes at most once a second a reason."""
        count, next_ns = self._dropped.get(why, (0, 0))
        if now_ns < next_ns:
            self._dropped[why] = (count + 1, next_ns)
            return []
        self._dropped[why] = (0, now_ns + NOTE_EVERY_NS)
        return [note("mesh_news_refused", why=why, peer=peer.hex(), count=count + 1)]

    # repair

    def _puller(self, peer: PeerId) -> _Puller:
        puller = self._pullers.get(peer)
        if puller is None:
            puller = _Puller(Bucket(), Bucket())
            if self._peers.is_linked(peer):
                self._pullers[peer] = puller
        return puller

    def _is_near(self, peer: PeerId) -> bool:
        return peer in self._eager or peer in self._lazy

    def _pull(self, now_ns: int) -> Effects:
        wanted, timer = self._promises.due(now_ns)
        out: Effects = []
        for peer, keys in wanted.items():
            if _move(peer, self._lazy, self._eager):
                out.append(ToPeer(peer, m.Graft()))
            out += [ToPeer(peer, m.Want(part)) for part in _parts(keys, WANT_KEYS_MAX)]
        return out + timer

    def _tell(self, peer: PeerId, since_ns: int, keys_max: int) -> Effects:
        keys = [key for key, kept in self._shelf.newest(since_ns) if peer not in kept.holders]
        return [ToPeer(peer, m.Have(part)) for part in _parts(keys[:keys_max], KEYS_MAX)]

    def woken(self, token: Hashable, now_ns: int) -> Effects:
        if token == self._promises.token:
            return self._pull(now_ns)
        out: Effects = []
        if token == self._flush.token and self._flush.rings(now_ns):
            untold, self._untold = self._untold, {}
            for peer, keys in untold.items():
                lacked = [key for key in keys if (kept := self._shelf.get(key)) and peer not in kept.holders]
                if lacked:
                    out += [ToPeer(peer, m.Have(part)) for part in _parts(lacked, KEYS_MAX)]
        elif token == self._tick.token and self._tick.rings(now_ns):
            out += self._ticked(now_ns)
        return out

    def _ticked(self, now_ns: int) -> Effects:
        next_ns = self._shelf.expire(now_ns)
        if next(self._shelf.newest(now_ns - TOLD_AGAIN_NS), None) is not None:
            next_ns = now_ns + self._around(TICK_NS)
        out: Effects = [] if next_ns is None else self._tick.at(next_ns)
        neighbours = (*self._eager, *self._lazy)
        if neighbours:
            self._turn += 1
            out += self._tell(neighbours[self._turn % len(neighbours)], now_ns - TOLD_AGAIN_NS, KEYS_MAX)
        return out

    def _around(self, span_ns: int) -> int:
        """Within a quarter of it, so that nodes do not act in step."""
        return int(span_ns * (0.75 + 0.5 * self._rng.random()))

    # links

    def neighbour(self, peer: PeerId, is_one: bool, now_ns: int) -> Effects:
        if is_one:
            if peer in self._eager or peer in self._lazy:
                return []
            self._eager[peer] = None
            return self._tell(peer, now_ns - KEPT_NS, PEER_MAX)
        self._untold.pop(peer, None)
        self._lazy.pop(peer, None)
        if peer not in self._eager:
            return []
        del self._eager[peer]
        if not self._lazy:
            return []
        # a limb of the tree is gone: grow another before the next news needs it
        lazy = list(self._lazy)
        chosen = lazy[int(self._rng.integers(len(lazy)))]
        _move(chosen, self._lazy, self._eager)
        return [ToPeer(chosen, m.Graft())]

    def down(self, peer: PeerId, reason: str, now_ns: int) -> Effects:
        """The core says `neighbour` before, where it was one."""
        self._pullers.pop(peer, None)
        self._promises.down(peer)
        self._gate.forget(peer)
        return []


def _move(peer: PeerId, one: dict[PeerId, None], other: dict[PeerId, None]) -> bool:
    """Whether `peer` was in `one`; then it is in `other` now."""
    if peer not in one:
        return False
    del one[peer]
    other[peer] = None
    return True


def _malformed(news: m.Gossip) -> str | None:
    if not TOPIC.fullmatch(news.topic):
        return f"{news.topic[:80]!r} is no topic; {TOPIC.pattern} needed"
    if len(news.payload) > PAYLOAD_BYTES_MAX:
        return f"a payload of {len(news.payload)} bytes; allowed {PAYLOAD_BYTES_MAX}: say the hash of a blob"
    if len(news.origin) != 32 or not 0 <= news.seq < SEQ_MAX or not 0 <= news.hops <= HOPS_MAX:
        return f"origin of {len(news.origin)} bytes, seq {news.seq}, {news.hops} hops; allowed 32, 2^53, {HOPS_MAX}"
    return None


def _parts(keys: list[bytes], count_max: int) -> Iterable[tuple[bytes, ...]]:
    if len(keys) <= count_max:
        return (tuple(keys),) if keys else ()
    return (tuple(keys[start : start + count_max]) for start in range(0, len(keys), count_max))
