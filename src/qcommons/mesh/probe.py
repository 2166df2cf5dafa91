"""Probe: how long news take to everybody, measured; for people (`qcommons peers probe`) and benches.

Flow: `ProbeNews` -> *Probe* -> gossip, topic "probe" => everybody: *Probe* -> "probe/1" => the origin -> `ProbeHeard`.

An answer makes many nodes talk to one, so a question must be that one's own: it is signed with its time and the seq
under which gossip carries it, by the key that it brings along and whose hash its origin is, so that every node finds
the same. A question that is not newer than the last one of its origin is an old one put again: it is not answered and
uses up nothing. Of new ones each node answers an origin three a second. The time of an answer holds the way there, the
way back, and a dial where there was no link: an upper bound.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

import msgspec

from qcommons.base.effects import Send, note
from qcommons.base.errors import PeerError
from qcommons.base.units import NS_PER_S
from qcommons.mesh.bucket import Bucket, Rate
from qcommons.mesh.events import Crypto, Failed, Got, ProbeHeard, ProbeNews
from qcommons.mesh.exchange import Exchange
from qcommons.mesh.gossip import Gossip
from qcommons.mesh.messages import Gossip as Gossiped
from qcommons.mesh.parts import Effects, PartBase, Peers, Wishes
from qcommons.mesh.peer_record import payload_of
from qcommons.mesh.records import PeerId
from qcommons.mesh.timers import Deadlines
from qcommons.pqc.identity import node_hash

__all__ = ["PROBE", "TOPIC", "Probe"]

TOPIC = "probe"
PROBE = "probe/1"
OBJECT_TYPE = "qcommons/probe.1"
ANSWERS = Rate(3, 3)  # to one origin
ORIGINS_MAX = 256
RUNNING_MAX = 8
HEARD_MAX = 10_000
ANSWER_NS = 10 * NS_PER_S
TIME_BYTES = 8
HEAD_BYTES = 2 * TIME_BYTES  # what is signed: u64 when it began, u64 seq, the key


class _Run(msgspec.Struct):
    ticket: str
    heard: dict[PeerId, int]


class _Answered(msgspec.Struct):
    """Of one origin: how often it may be answered, and when its newest question began."""

    bucket: Bucket
    began_ns: int = 0


class Probe(PartBase):
    """A run is named by the time at which it began, which is signed."""

    NAME = "probe"

    def __init__(self, peers: Peers, gossip: Gossip, exchange: Exchange, crypto: Crypto) -> None:
        self._peers = peers
        self._gossip = gossip
        self._exchange = exchange
        self._crypto = crypto
        self._runs: dict[int, _Run] = {}
        self._due: Deadlines[int] = Deadlines((self.NAME, "due"), self._runs.__contains__)
        self._answered: OrderedDict[PeerId, _Answered] = OrderedDict()
        gossip.validate(TOPIC, self._accept)
        gossip.listen(TOPIC, self._heard)
        exchange.register(PROBE, self._told)

    def wishes(self) -> Wishes:
        return {ProbeNews: self.probe}

    def probe(self, event: ProbeNews, now_ns: int) -> Effects:
        if len(self._runs) >= RUNNING_MAX or now_ns in self._runs:
            failed = Failed("unavailable", f"{len(self._runs)} probes run; allowed {RUNNING_MAX}: wait for one to end")
            return [Send(event.ticket, failed)]
        self._runs[now_ns] = _Run(event.ticket, {})
        seq = self._gossip.next_seq(now_ns)
        head = now_ns.to_bytes(TIME_BYTES, "big") + seq.to_bytes(TIME_BYTES, "big")
        payload = self._crypto.sign(OBJECT_TYPE, head + self._crypto.public_key)
        out = self._due.add(now_ns + event.within_ns, now_ns)
        return out + self._gossip.say(TOPIC, payload, seq, now_ns)

    def _accept(self, news: Gossiped) -> str:
        try:
            _, seq, key = _parsed(news.payload)
            if seq != news.seq or node_hash(key) != news.origin:
                return "it is signed for another seq, or by another node"
            self._crypto.verify(key, OBJECT_TYPE, news.payload)
        except PeerError as error:
            return f"not signed by its origin: {error}"
        return ""

    def _heard(self, origin: PeerId, seq: int, payload: bytes, now_ns: int) -> Effects:
        began_ns = _parsed(payload)[0]
        answered = self._answered.get(origin)
        if answered is None:
            answered = self._answered[origin] = _Answered(Bucket())
            if len(self._answered) > ORIGINS_MAX:
                self._answered.popitem(last=False)
        self._answered.move_to_end(origin)
        if began_ns <= answered.began_ns or self._peers.signed(origin) is None:
            return []
        answered.began_ns = began_ns
        if not answered.bucket.take(ANSWERS, now_ns):
            return [note("mesh_probe_ignored", origin=origin.hex())]
        body = began_ns.to_bytes(TIME_BYTES, "big")
        return self._exchange.request(origin, PROBE, body, ANSWER_NS, now_ns, _no_matter)

    def _told(self, peer: PeerId, body: bytes, now_ns: int) -> bytes | Failed:
        run = self._runs.get(int.from_bytes(body, "big")) if len(body) == TIME_BYTES else None
        if run is None:
            return Failed("usage", "no such probe runs here", PROBE)
        if len(run.heard) < HEARD_MAX:
            run.heard.setdefault(peer, now_ns - int.from_bytes(body, "big"))
        return b""

    def woken(self, token: Hashable, now_ns: int) -> Effects:
        out: Effects = []
        for began in self._due.due(now_ns):
            run = self._runs.pop(began)
            out.append(Send(run.ticket, ProbeHeard(tuple(run.heard.items()))))
        return out + self._due.again()


def _parsed(payload: bytes) -> tuple[int, int, bytes]:
    """(began_ns, seq, key) as they are signed; nothing is verified. Raises PeerError."""
    signed = payload_of(payload)
    if len(signed) < HEAD_BYTES:
        raise PeerError(f"{len(signed)} bytes are signed; two times and a key needed", where="probe")
    began, seq = signed[:TIME_BYTES], signed[TIME_BYTES:HEAD_BYTES]
    return int.from_bytes(began, "big"), int.from_bytes(seq, "big"), signed[HEAD_BYTES:]


def _no_matter(what: Got | Failed, now_ns: int) -> Effects:
    return []
