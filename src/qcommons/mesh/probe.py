"""Probe: how long news take to everybody, measured; for people (`qcommons peers probe`) and benches.

Flow: `ProbeNews` -> *Probe* -> gossip, topic "probe" => everybody: *Probe* -> "probe/1" => the origin -> `ProbeHeard`.

An answer makes many nodes talk to one, so a question must be that one's own: it is signed, names its time, and each
node answers an origin at most once in 300 ms. The time of an answer holds the way there, the way back, and a dial
where there was no link: an upper bound.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

import msgspec

from qcommons.base.effects import Send, note
from qcommons.base.errors import PeerError
from qcommons.base.units import NS_PER_S
from qcommons.mesh.bucket import Bucket, Rate
from qcommons.mesh.events import Crypto, Failed, Got, ProbeHeard, ProbeNews, Publish
from qcommons.mesh.exchange import Exchange
from qcommons.mesh.gossip import Gossip
from qcommons.mesh.parts import Effects, PartBase, Peers, Wishes
from qcommons.mesh.records import PeerId
from qcommons.mesh.timers import Deadlines

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
REPLAY_MS = 1_000  # between what is signed and what gossip carries: an old question cannot be put again


class _Run(msgspec.Struct):
    ticket: str
    heard: dict[PeerId, int]


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
        self._answered: OrderedDict[PeerId, Bucket] = OrderedDict()
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
        payload = self._crypto.sign(OBJECT_TYPE, now_ns.to_bytes(TIME_BYTES, "big"))
        out = self._due.add(now_ns + event.within_ns, now_ns)
        return out + self._gossip.publish(Publish(TOPIC, payload), now_ns)

    def _accept(self, topic: str, origin: PeerId, payload: bytes) -> bool | str:
        """Signed by the origin, as far as its key is known here; who does not know it passes the question on."""
        signed = self._peers.signed(origin)
        if signed is None:
            return True
        try:
            self._crypto.verify(signed.record.key, OBJECT_TYPE, payload)
        except PeerError as error:
            return f"not signed by its origin: {error}"
        return True

    def _heard(self, origin: PeerId, seq: int, payload: bytes, now_ns: int) -> Effects:
        signed = self._peers.signed(origin)
        if signed is None:
            return []
        bucket = self._answered.setdefault(origin, Bucket())
        self._answered.move_to_end(origin)
        if len(self._answered) > ORIGINS_MAX:
            self._answered.popitem(last=False)
        if not bucket.take(ANSWERS, now_ns):
            return [note("mesh_probe_ignored", origin=origin.hex())]
        began = self._crypto.verify(signed.record.key, OBJECT_TYPE, payload)
        if abs(int.from_bytes(began, "big") // 1_000_000 - seq) > REPLAY_MS:
            return []
        return self._exchange.request(origin, PROBE, began, ANSWER_NS, now_ns, _no_matter)

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


def _no_matter(what: Got | Failed, now_ns: int) -> Effects:
    return []
