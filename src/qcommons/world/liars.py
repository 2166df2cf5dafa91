"""Lying peers as rows: an honest core inside, and a twist on what it says or does.

Flow: simulator -> *Liar* -> its MeshCore -> effects -> the row's `twist` -> network; at times its `act` says more.
A liar has a key of its own and what came to it, never another's key: what it cannot do here, nobody can who has not
broken ML-DSA (FIPS 204).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from qcommons.base.effects import WakeAt, Woken
from qcommons.mesh import messages as m
from qcommons.mesh import peer_record
from qcommons.mesh.events import Begin, Came, Linked, Transmit, Unlinked
from qcommons.mesh.records import PEER_TYPE, Beat, PeerId, PeerRecord
from qcommons.world.draws import Draws
from qcommons.world.host import Host, Machine

__all__ = ["LIARS", "Liar", "Lie"]

TOKEN = "liar"
HEARD_MAX = 200  # messages that a liar keeps to say again
S_NS = 10**9


class Lie(NamedTuple):
    """help: one line. twist: effects of the honest core -> what the liar does. act: what it says each `every_s`."""

    name: str
    help: str
    twist: Callable[[Liar, list[Any], int], list[Any]] | None = None
    act: Callable[[Liar, int], list[Any]] | None = None
    every_s: float = 1.0


class Liar:
    """A machine around an honest one. sign: makes signed objects with the liar's own key. hosts: the whole world, of
    which it knows names and addresses."""

    def __init__(
        self, core: Machine, lie: Lie, draws: Draws, host: Host, sign: Callable[[str, bytes], bytes],
        hosts: list[Host],
    ) -> None:  # fmt: skip
        self.core = core
        self.lie = lie
        self.draws = draws
        self.host = host
        self.sign = sign
        self.hosts = hosts
        self.links: dict[int, PeerId] = {}
        self.heard: deque[m.Message] = deque(maxlen=HEARD_MAX)
        self.beats: dict[bytes, Beat] = {}
        self.own: PeerRecord | None = None

    def handle(self, event: Any, now_ns: int) -> list[Any]:
        """As the core would, but for the lie."""
        effects: list[Any] = []
        if type(event) is Woken and event.token == TOKEN:
            if self.lie.act is not None:
                effects = self.lie.act(self, now_ns)
            return [*effects, WakeAt(now_ns + int(self.lie.every_s * S_NS), TOKEN)]
        self._listen(event)
        effects = self.core.handle(event, now_ns)
        if self.lie.twist is not None:
            effects = self.lie.twist(self, effects, now_ns)
        if type(event) is Begin and self.lie.act is not None:
            effects = [*effects, WakeAt(now_ns + S_NS, TOKEN)]
        return effects

    def say(self, message: m.Message, id: int = 0) -> list[Any]:
        """To one of those it is linked with."""
        return [Transmit(self.draws.one(list(self.links)), id, message)] if self.links else []

    def junk(self, size: int) -> bytes:
        """So many bytes of nothing."""
        return bytes(self.draws.below(256) for _ in range(size))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.core, name)  # views of the core, for checkers

    def _listen(self, event: Any) -> None:
        kind = type(event)
        if kind is Linked:
            self.links[event.conn] = event.peer
        elif kind is Unlinked:
            self.links.pop(event.conn, None)
        elif kind is Came:
            message = event.message
            if isinstance(message, m.Beats):
                self.beats.update((beat.peer, beat) for beat in message.beats)
            if isinstance(message, m.Beats | m.Records | m.Gossip | m.Have | m.Response):
                self.heard.append(message)


# twists


def _each(effects: list[Any], change: Callable[[m.Message, int], m.Message | None]) -> list[Any]:
    """Every message through `change` (message, connection); None: it is not sent."""
    out = []
    for effect in effects:
        if type(effect) is Transmit:
            message = change(effect.message, effect.conn)
            if message is None:
                continue
            effect = Transmit(effect.conn, effect.id, message)
        out.append(effect)
    return out


def _own_record(liar: Liar, change: Callable[[PeerRecord, int], PeerRecord]) -> Callable[[m.Message, int], m.Message]:
    """A change of messages: the liar's own record in them is another one, properly signed."""

    def swap(raw: bytes, conn: int) -> bytes:
        _, record = peer_record.read(peer_record.payload_of(raw))  # of its own core, so of good form
        if record.key != liar.host.key:
            return raw
        return liar.sign(PEER_TYPE, peer_record.write(change(record, conn)))

    def apply(message: m.Message, conn: int) -> m.Message:
        if isinstance(message, m.Hello):
            return m.Hello(message.network, message.protocols, swap(message.record, conn))
        if isinstance(message, m.Records):
            return m.Records(tuple(swap(raw, conn) for raw in message.records))
        return message

    return apply


def _forge(liar: Liar, effects: list[Any], now_ns: int) -> list[Any]:
    def change(message: m.Message, conn: int) -> m.Message:
        if not isinstance(message, m.Records):
            return message
        return m.Records(tuple(raw[:200] + bytes([raw[200] ^ 1]) + raw[201:] for raw in message.records))

    return _each(effects, change)


def _expire(liar: Liar, effects: list[Any], now_ns: int) -> list[Any]:
    past_s = now_ns // S_NS - 3_600
    return _each(effects, _own_record(liar, lambda r, _: msgspec.structs.replace(r, expires_s=past_s)))


def _future(liar: Liar, effects: list[Any], now_ns: int) -> list[Any]:
    day_s = 86_400
    return _each(
        effects,
        _own_record(
            liar,
            lambda r, _: msgspec.structs.replace(r, seq=r.seq + day_s * 1_000, expires_s=r.expires_s + 100 * day_s),
        ),
    )


def _equivocate(liar: Liar, effects: list[Any], now_ns: int) -> list[Any]:
    return _each(effects, _own_record(liar, lambda r, conn: msgspec.structs.replace(r, offers=(f"lie:{conn % 30}",))))


def _misplace(liar: Liar, effects: list[Any], now_ns: int) -> list[Any]:
    victims = tuple(sorted({host.address for host in liar.hosts[:4]}))
    return _each(effects, _own_record(liar, lambda r, _: msgspec.structs.replace(r, addresses=victims)))


def _swallow(liar: Liar, effects: list[Any], now_ns: int) -> list[Any]:
    return _each(effects, lambda message, _: None if isinstance(message, m.RelayData | m.RelayOpened) else message)


def _spoil(liar: Liar, effects: list[Any], now_ns: int) -> list[Any]:
    def change(message: m.Message, conn: int) -> m.Message:
        return m.Chunk(message.payload[:-1] + b"\0") if isinstance(message, m.Chunk) else message

    return _each(effects, change)


def _mute(liar: Liar, effects: list[Any], now_ns: int) -> list[Any]:
    return _each(effects, lambda message, _: None if isinstance(message, m.Response | m.Records) else message)


# acts


def _replay(liar: Liar, now_ns: int) -> list[Any]:
    return [effect for _ in range(10) if liar.heard for effect in liar.say(liar.draws.one(liar.heard))]


def _false_beats(liar: Liar, now_ns: int) -> list[Any]:
    lies = tuple(
        Beat(beat.peer, beat.seq, min(beat.count + 1 + liar.draws.below(5), 1_799), liar.junk(16))
        for beat in liar.draws.some(list(liar.beats.values()), 8)
    )
    return liar.say(m.Beats(lies, False)) if lies else []


def _flood(liar: Liar, now_ns: int) -> list[Any]:
    key = liar.junk(16)
    kinds: tuple[m.Message, ...] = (
        m.Ping(), m.Have((key,)), m.Want((key,)), m.Join(b"", 6), m.WantRecords((liar.junk(32),)), m.Neighbour(True),
        m.Beats((), True), m.Request(b"\x06echo/1" + bytes(8) + key), m.Gossip("flood", liar.junk(32), 1, key, 0),
    )  # fmt: skip
    return [effect for _ in range(100) for effect in liar.say(liar.draws.one(kinds), liar.draws.below(1 << 30))]


def _garbage_news(liar: Liar, now_ns: int) -> list[Any]:
    origin = liar.draws.one(liar.hosts).peer
    return liar.say(m.Gossip("world", origin, liar.draws.below(1 << 40), liar.junk(40), liar.draws.below(20)))


def _malformed(liar: Liar, now_ns: int) -> list[Any]:
    odd, big = liar.junk(3), (1 << 64) - 1
    kinds: tuple[m.Message, ...] = (
        m.WantRecords((odd,)), m.Records((odd,)), m.Have((odd,)), m.Want((b"",)), m.NotNeighbour((odd,)),
        m.Join(odd, big), m.Gossip("", odd, big, b"", big), m.Request(b""), m.Request(b"\xff"), m.Response(b""),
        m.Failure("nobody", "", "", ""), m.Fetch(odd, big, 0), m.Chunk(b""), m.Credit(big), m.RelayOpen(odd),
        m.RelayOpened(), m.RelayData(odd), m.RelayClose(""), m.Beats((Beat(odd, big, big, odd),), True),
    )  # fmt: skip
    return liar.say(liar.draws.one(kinds), liar.draws.below(1 << 62))


def _circuits(liar: Liar, now_ns: int) -> list[Any]:
    return [
        effect
        for _ in range(10)
        for effect in liar.say(m.RelayOpen(liar.draws.one(liar.hosts).peer), liar.draws.below(1 << 40) * 2)
    ]


LIARS: dict[str, Lie] = {
    lie.name: lie
    for lie in (
        Lie("forged", "passes on records of others with a byte changed", _forge),
        Lie("replayed", "says old beats, records and news again", None, _replay),
        Lie("expired", "shows a record of its own that has expired", _expire),
        Lie("future", "shows a record of its own from tomorrow", _future),
        Lie("equivocating", "shows each peer another record under one sequence number", _equivocate),
        Lie("false-beats", "makes up signs of life of others", None, _false_beats),
        Lie("wrong-addresses", "gives the addresses of four others as its own", _misplace),
        Lie("flood", "sends 1,000 messages a second of every kind", None, _flood, 0.1),
        Lie("silent-relay", "agrees to relay and passes nothing on", _swallow),
        Lie("mute", "never answers a request", _mute),
        Lie("spoiled", "gives chunks of blobs with another last byte", _spoil),
        Lie("garbage-news", "publishes noise in the names of others", None, _garbage_news, 0.2),
        Lie("malformed", "sends messages whose fields make no sense", None, _malformed, 0.3),
        Lie("circuits", "opens circuits to everybody through everybody", None, _circuits),
    )
}
