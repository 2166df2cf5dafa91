"""Gossip: what one node says reaches every node once, over a tree that grows out of the gossip itself.

Flow: `Publish` -> *Gossip* => neighbours: *Gossip* -> `Send("topic/TOPIC", Arrived)` there, and on to their neighbours.
Source: Plumtree (Leitao, Pereira, Rodrigues, SRDS 2007, DOI 10.1109/SRDS.2007.27), algorithms 1 to 3, with keys told in
batches and these additions for links that lose and networks that fall apart:

    neighbour is   it gets                        becomes the other when
    eager          news at once                   it says Prune, or sends what is here already (it is told Prune)
    lazy           the keys, within 25 ms (Have)  it says Graft, or knows keys that did not come here within 100 ms
                                                  (Want and Graft to it), or an eager neighbour was lost

    new neighbour  both tell all keys of the last 5 minutes: what was said beyond a gap arrives when it closes
    every 5 s      the next neighbour in turn is told the keys of the last 30 s again, as far as it may lack them

A node sends about one whole news and a few keys for each, whatever the size of the network. Repair is pulled at the
puller's pace, and so stays below what the guard lets pass. docs/protocol/gossip.md.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable

import msgspec
import numpy as np

from qcommons.base.effects import Send, note
from qcommons.base.units import NS_PER_S
from qcommons.mesh import messages as m
from qcommons.mesh.bucket import Bucket, Rate
from qcommons.mesh.events import Arrived, Publish
from qcommons.mesh.news import KEPT_NS, KEY_BYTES, SKEW_MS, Kept, NewsShelf, news_key
from qcommons.mesh.parts import Blame, Effects, PartBase, Peers, ToPeer, Wishes
from qcommons.mesh.records import PeerId
from qcommons.mesh.timers import Alarm, Deadlines

__all__ = ["PAYLOAD_BYTES_MAX", "Accept", "Gossip", "Heard"]

# (topic, origin, payload) -> True: good; False: cannot be judged here, drop it; text: why nobody honest passes it on
Accept = Callable[[str, PeerId, bytes], bool | str]
# (origin, seq, payload, now_ns): who hears instead of the door "topic/TOPIC"
Heard = Callable[[PeerId, int, bytes, int], Effects]

TOPIC = re.compile(r"[a-z][a-z0-9._-]{0,63}")
PAYLOAD_BYTES_MAX = 1 << 16
SEQ_MAX = 1 << 53  # milliseconds since 1970 until far beyond what any clock shows
HOPS_MAX = 64  # a tree over 10,000 nodes of 7 neighbours is 10 deep; further on the news is told, not pushed
MS = 1_000_000

FLUSH_NS = 25 * MS  # keys wait for company
FIRST_WAIT_NS = 100 * MS  # the tree is nearly always faster than that
WANT_WAIT_NS = NS_PER_S
BATCH_NS = 100 * MS
TRIES_MAX = 4
TICK_NS = 5 * NS_PER_S
TOLD_AGAIN_NS = 30 * NS_PER_S
KEYS_MAX = 1_024  # a Have or Want
WANT_KEYS_MAX = 128
SOURCES_MAX = 8
MISSING_PEER_MAX = 2_048  # all that a peer can have kept
MISSING_MAX = 8_192  # 3 MB
BROKEN_MAX = 100  # news that were told of and never came: the loss of a bad line explains some

ORIGIN_NEWS, ORIGIN_BYTES = Rate(20, 1_000), Rate(256 << 10, 4 << 20)
ALL_NEWS = Rate(100, 4_096)
ORIGINS_MAX = 1_024
PULLED_NEWS = Rate(150, 600)  # keys asked of one peer; guard.RATES lets 200 news a second pass
GIVEN_BYTES = Rate(2 << 20, 8 << 20)  # to one peer: all that is kept, twice at once
INVALID_POINTS = 5  # five in a minute are a nuisance, twenty a ban
MALFORMED_POINTS = 20
BROKEN_POINTS = 10
NOTE_EVERY_NS = NS_PER_S


class _Missing(msgspec.Struct):
    sources: list[PeerId]
    tries: int = 0


class _Origin(msgspec.Struct):
    news: Bucket
    bytes: Bucket


class _Puller(msgspec.Struct):
    """What one linked peer is owed and owes. told: news that only it has told of, so far."""

    pulled: Bucket
    given: Bucket
    told: int = 0
    broken: int = 0


class Gossip(PartBase):
    """rng: for choices among neighbours and the beat of the ticks."""

    NAME = "gossip"
    KINDS = (m.Gossip, m.Have, m.Want, m.Graft, m.Prune)

    def __init__(self, peers: Peers, rng: np.random.Generator) -> None:
        self._peers = peers
        self._rng = rng
        self._accept: dict[str, Accept] = {}
        self._heard: dict[str, Heard] = {}
        self._shelf = NewsShelf()
        self._last_seq = 0
        self._eager: dict[PeerId, None] = {}
        self._lazy: dict[PeerId, None] = {}
        self._untold: dict[PeerId, list[bytes]] = {}
        self._missing: dict[bytes, _Missing] = {}
        self._due: Deadlines[bytes] = Deadlines((self.NAME, "missing"), self._missing.__contains__)
        self._flush = Alarm((self.NAME, "flush"))
        self._tick = Alarm((self.NAME, "tick"))
        self._turn = 0
        self._pullers: dict[PeerId, _Puller] = {}
        self._origins: OrderedDict[bytes, _Origin] = OrderedDict()
        self._all = Bucket()
        self._dropped: dict[str, tuple[int, int]] = {}  # why -> (not noted yet, when to note)
        self._takers: dict[type[m.Message], Callable[..., Effects]] = {
            m.Gossip: self._news, m.Have: self._have, m.Want: self._want, m.Graft: self._graft, m.Prune: self._prune
        }  # fmt: skip

    # this node's own

    def validate(self, topic: str, accept: Accept) -> None:
        """News of `topic` are passed on and heard only where `accept` says so."""
        self._accept[topic] = accept

    def listen(self, topic: str, heard: Heard) -> None:
        """`heard` gets what comes under `topic`, in place of the door."""
        self._heard[topic] = heard

    def wishes(self) -> Wishes:
        return {Publish: self.publish}

    def publish(self, event: Publish, now_ns: int) -> Effects:
        """To all others; nothing comes back to this node itself."""
        seq = self._last_seq = max(self._last_seq + 1, now_ns // MS)
        news = m.Gossip(event.topic, self._peers.me, seq, event.payload, 0)
        why = _malformed(news) or self._over_rate(news, now_ns)
        if why:
            return [note("mesh_news_refused", why=why, topic=event.topic[:80], origin="this node")]
        return self._spread(news_key(news), Kept(news, now_ns, None, []), now_ns)

    # messages

    def came(self, peer: PeerId, id: int, message: m.Message, now_ns: int) -> Effects:
        return self._takers[type(message)](peer, message, now_ns)

    def _news(self, peer: PeerId, news: m.Gossip, now_ns: int) -> Effects:
        malformed = _malformed(news)
        if malformed:
            return [Blame(peer, MALFORMED_POINTS, f"news: {malformed}")]
        key = news_key(news)
        self._found(key)
        if self._shelf.has_seen(key):
            return self._again(peer, key)
        why = self._stale(news, now_ns) or self._over_rate(news, now_ns)
        if why:
            return self._drop(why, peer, now_ns)
        accept = self._accept.get(news.topic)
        verdict = True if accept is None else accept(news.topic, PeerId(news.origin), news.payload)
        if verdict is not True:
            self._shelf.mark(key, news.seq)
            if isinstance(verdict, str):
                return [Blame(peer, INVALID_POINTS, f"news of topic {news.topic}: {verdict}")]
            return self._drop("cannot be judged", peer, now_ns)
        onward = m.Gossip(news.topic, news.origin, news.seq, news.payload, min(news.hops + 1, HOPS_MAX))
        out = self._spread(key, Kept(onward, now_ns, peer, [peer]), now_ns)
        if news.origin == self._peers.me:  # said before a restart, or in this node's name
            return out
        heard = self._heard.get(news.topic)
        if heard is not None:
            return out + heard(PeerId(news.origin), news.seq, news.payload, now_ns)
        return [*out, Send(f"topic/{news.topic}", Arrived(PeerId(news.origin), news.seq, news.payload))]

    def _spread(self, key: bytes, kept: Kept, now_ns: int) -> Effects:
        self._shelf.keep(key, kept)
        out: Effects = []
        pushed = kept.news.hops < HOPS_MAX
        if pushed:
            out += [ToPeer(peer, kept.news) for peer in self._eager if peer not in kept.holders]
        for peer in self._lazy if pushed else (*self._eager, *self._lazy):
            if peer not in kept.holders:
                self._untold.setdefault(peer, []).append(key)
        if self._untold:
            out += self._flush.at(now_ns + FLUSH_NS)
        return out + self._tick.at(now_ns + self._around(TICK_NS))

    def _again(self, peer: PeerId, key: bytes) -> Effects:
        """It came over two ways: the later one leaves the tree, unless the link itself repeated it."""
        kept = self._shelf.get(key)
        if kept is not None:
            kept.held_by(peer)
            if kept.via == peer:
                return []
        _move(peer, self._eager, self._lazy)
        return [ToPeer(peer, m.Prune())]

    def _have(self, peer: PeerId, have: m.Have, now_ns: int) -> Effects:
        if len(have.keys) > KEYS_MAX or any(len(key) != KEY_BYTES for key in have.keys):
            return [Blame(peer, MALFORMED_POINTS, "keys of news in another form than 1,024 of 16 bytes")]
        puller, out, beyond = self._puller(peer), Effects(), 0
        for key in have.keys:
            kept = self._shelf.get(key)
            if kept is not None:
                kept.held_by(peer)
                continue
            if self._shelf.has_seen(key):
                continue
            missing = self._missing.get(key)
            if missing is not None:
                if peer not in missing.sources and len(missing.sources) < SOURCES_MAX:
                    missing.sources.append(peer)
            elif puller.told >= MISSING_PEER_MAX or len(self._missing) >= MISSING_MAX:
                beyond += 1
            else:
                puller.told += 1
                self._missing[key] = _Missing([peer])
                out += self._due.add(now_ns + FIRST_WAIT_NS, key)
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

    def _over_rate(self, news: m.Gossip, now_ns: int) -> str | None:
        origin = self._origins.get(news.origin)
        if origin is None:
            origin = self._origins[news.origin] = _Origin(Bucket(), Bucket())
            if len(self._origins) > ORIGINS_MAX:
                self._origins.popitem(last=False)
        self._origins.move_to_end(news.origin)
        if not origin.news.take(ORIGIN_NEWS, now_ns) or not origin.bytes.take(ORIGIN_BYTES, now_ns, len(news.payload)):
            return "one origin says more than 20 news or 256 KiB a second"
        return None if self._all.take(ALL_NEWS, now_ns) else "all say more than 100 news a second"

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
            puller = self._pullers[peer] = _Puller(Bucket(), Bucket())
        return puller

    def _found(self, key: bytes) -> _Missing | None:
        missing = self._missing.pop(key, None)
        if missing is not None:
            first = self._pullers.get(missing.sources[0])
            if first is not None and first.told:
                first.told -= 1
        return missing

    def _pull(self, now_ns: int) -> Effects:
        wanted: dict[PeerId, list[bytes]] = {}
        late: dict[PeerId, int] = {}
        out: Effects = []
        for key in self._due.due(now_ns):
            missing = self._missing[key]
            sources = [peer for peer in missing.sources if self._peers.is_linked(peer)]
            if not sources or missing.tries >= TRIES_MAX:
                out += self._give_up(key, sources)
                continue
            source = sources[missing.tries % len(sources)]
            pulled = self._puller(source).pulled
            if not pulled.take(PULLED_NEWS, now_ns):
                # each waits for a token of its own, and some for company: thousands that come back at once, for one
                # to pass, would cost the square of their number
                late[source] = late.get(source, 0) + 1
                when_ns = pulled.when_ns(PULLED_NEWS, now_ns, late[source])
                out += self._due.add(-(-when_ns // BATCH_NS) * BATCH_NS, key)
                continue
            missing.tries += 1
            wanted.setdefault(source, []).append(key)
            out += self._due.add(now_ns + WANT_WAIT_NS, key)
        for peer, keys in wanted.items():
            if _move(peer, self._lazy, self._eager):
                out.append(ToPeer(peer, m.Graft()))
            out += [ToPeer(peer, m.Want(part)) for part in _parts(keys, WANT_KEYS_MAX)]
        return out + self._due.again()

    def _give_up(self, key: bytes, sources: list[PeerId]) -> Effects:
        self._found(key)
        out: Effects = []
        for peer in sources:
            puller = self._puller(peer)
            puller.broken += 1
            if puller.broken >= BROKEN_MAX:
                puller.broken = 0
                out.append(Blame(peer, BROKEN_POINTS, f"told of {BROKEN_MAX} news that it did not give"))
        return out

    def _tell(self, peer: PeerId, since_ns: int, keys_max: int) -> Effects:
        keys = [key for key, kept in self._shelf.newest(since_ns) if peer not in kept.holders]
        return [ToPeer(peer, m.Have(part)) for part in _parts(keys[:keys_max], KEYS_MAX)]

    def woken(self, token: Hashable, now_ns: int) -> Effects:
        if token == self._due.token:
            return self._pull(now_ns)
        out: Effects = []
        if token == self._flush.token and self._flush.rings(now_ns):
            untold, self._untold = self._untold, {}
            for peer, keys in untold.items():
                lacked = [key for key in keys if (kept := self._shelf.get(key)) and peer not in kept.holders]
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
            return self._tell(peer, now_ns - KEPT_NS, MISSING_PEER_MAX)
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
    return (tuple(keys[start : start + count_max]) for start in range(0, len(keys), count_max))
