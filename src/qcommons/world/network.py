"""The virtual network: connections with latency, bandwidth and order; dials and handshakes; walls and losses.

Flow: core -> Dial, Transmit, Hangup -> *Network* -> Linked, Came, Unlinked, DialFailed, later -> core.

    dial    SYN, SYN-ACK, ClientHello (three ways), the acceptor's handshake, its flight (one way), the dialler's
            handshake; then both ends stand. An unanswered SYN is repeated after 1 and 3 s (RFC 6298), given up at 5 s.
    data    each direction sends one message after another at its bandwidth, and they arrive in order
    wall    (partition, clog) what is sent meanwhile arrives in order after it falls, as TCP's retransmissions do
    close   the other end hears of it behind all that was sent before

Message faults (loss, duplicate, delay, reorder) go beyond what TCP lets happen: cores must bear them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from heapq import heappush
from typing import TYPE_CHECKING, Any
from zlib import crc32

import msgspec

from qcommons.base.seeds import stream
from qcommons.mesh.events import Came, Dial, DialFailed, Hangup, Linked, Transmit, Unlinked
from qcommons.mesh.messages import ROWS, Message
from qcommons.mesh.records import PeerId
from qcommons.world.circuits import Circuits, Inner
from qcommons.world.double import HANDSHAKE_NS
from qcommons.world.draws import Draws
from qcommons.world.host import Host, Life, Work

if TYPE_CHECKING:
    from qcommons.world.simulator import Simulator

__all__ = ["MESSAGE_FAULTS", "End", "Network", "Wall"]

HEAD_BYTES = 4 + 1 + 8 + 22  # of a frame, and of the TLS record around it
BYTE_NS = 80  # 100 Mbit/s, each direction of each connection
NEAR_NS = 500_000  # latency of neighbours: half a millisecond
FAR_NS = 40_000_000  # and what the whole side of the unit square adds
JITTER_NS = 200_000
SYN_AGAIN_NS = (1_000_000_000, 2_000_000_000, 2_000_000_000)
HANDSHAKE_MAX_NS = 10_000_000_000
SENT = 0x40  # of rows of the trace: what is transmitted, by the number of its frame type
MESSAGE_FAULTS = ("loss", "duplicate", "delay", "reorder")

encode = msgspec.msgpack.Encoder().encode  # as long as the CBOR of the wire, and ten times as fast
NUMBER: dict[type[Message], int] = {row.kind: row.number for row in ROWS}

Wall = Callable[[int, int], bool]  # (from, to) by number -> nothing passes


class End:
    """One end of a connection, and the direction that leaves it.

    since_ns: when its core is to hear that it stands; told: it has. free_ns: when its last message has left;
    arrival_ns: when that arrives. held: what waits behind a wall.
    """

    __slots__ = ("arrival_ns", "closing", "conn", "free_ns", "held", "latency_ns", "life", "other", "since_ns", "told")

    other: End

    def __init__(self, life: Life, conn: int, latency_ns: int, at_ns: int) -> None:
        self.life = life
        self.conn = conn
        self.latency_ns = latency_ns
        self.free_ns = self.arrival_ns = self.since_ns = at_ns
        self.closing = self.told = False
        self.held: list[tuple[int, Any]] | None = None


class Network:
    """All connections of one world. calm: no wall stands and no message is harmed."""

    def __init__(self, world: Simulator, seed: int) -> None:
        self.sent: Counter[type] = Counter()
        self.sent_bytes = 0
        self.misused: Counter[str] = Counter()
        self.strays: Counter[int] = Counter()  # dials that met somebody else, by whom they met
        self.by_address: dict[str, Host] = {}
        self.circuits = Circuits(world)
        self.harm = dict.fromkeys(MESSAGE_FAULTS, 0.0)
        self.delay_ns = 0
        self.watched: dict[type, Callable[[Life, Any], None]] = {}  # who is told of each message of a kind
        self.on_dial: Callable[[Life, Dial], None] | None = None
        self._world = world
        self._rows = world.trace.rows
        self._last: Message | None = None  # what was encoded last, its bytes and their CRC-32
        self._data = b""
        self._size = self._check = 0
        self._walls: list[Wall] = []
        self._calm = True
        self._draws = Draws(stream(seed, "world", "network"))
        jitter = Draws(stream(seed, "world", "jitter"))
        self._jitter = [int(jitter.unit() * JITTER_NS) for _ in range(4096)]

    # the core's effects

    def transmit(self, life: Life, effect: Transmit, at_ns: int) -> None:
        """A message sets out."""
        message, conn, id = effect.message, effect.conn, effect.id
        end = life.ends.get(conn)
        if message is not self._last:  # news go to several in a row
            self._last, self._data = message, encode(message)
            self._size, self._check = len(self._data) + HEAD_BYTES, crc32(self._data)
        size = self._size
        kind = type(message)
        number = NUMBER[kind]
        self._rows.append((SENT + number, at_ns, life.host.index, conn, id, size, self._check))
        if end is None or end.closing:
            self._misused(life, "transmitted on a connection that has ended")
            return
        self.sent[kind] += 1
        self.sent_bytes += size
        if kind in self.watched:
            self.watched[kind](life, message)
        if type(end) is Inner:
            self.circuits.transmit(end, id, number, self._data, at_ns)
            return
        assert type(end) is End
        other = end.other
        event = Came(other.conn, id, message, size)
        free_ns = end.free_ns
        if free_ns < at_ns:
            free_ns = at_ns
        end.free_ns = free_ns = free_ns + size * BYTE_NS
        if not self._calm:
            self._harmed(end, event, free_ns)
        elif other.life.dead:
            self._to_nobody(end, free_ns)
        else:
            world = self._world
            arrival_ns = free_ns + end.latency_ns + self._jitter[world.seq & 4095]
            if arrival_ns < end.arrival_ns:
                arrival_ns = end.arrival_ns
            end.arrival_ns = arrival_ns
            world.seq = seq = world.seq + 1
            heappush(world.heap, (arrival_ns, seq, other.life, event))  # as `post`, which costs a call

    def hangup(self, life: Life, effect: Hangup, at_ns: int) -> None:
        """Close behind what was transmitted."""
        end = life.ends.get(effect.conn)
        if end is None or end.closing:
            if effect.conn in life.dialling:  # given up while dialling
                self._world.post(at_ns, life, DialFailed(effect.conn, f"given up: {effect.reason}"))
            else:
                self._misused(life, "hung up a connection that has ended")
        elif isinstance(end, Inner):
            end.closing = True
            self.circuits.close(end, effect.reason, at_ns)
        else:
            self.close(end, effect.reason, at_ns)

    def dial(self, life: Life, effect: Dial, at_ns: int) -> None:
        """A dial begins."""
        if self.on_dial is not None:
            self.on_dial(life, effect)
        life.used = max(life.used, effect.conn)
        life.dialling[effect.conn] = effect
        if effect.circuit is not None:
            self.circuits.dial(life, effect, at_ns)
        else:
            self._world.call(at_ns, lambda: self._syn(life, effect, 0))

    def _misused(self, life: Life, what: str) -> None:
        if life.host.honest:
            self.misused[what] += 1

    # connections

    def close(self, end: End, reason: str, at_ns: int) -> None:
        """Both ends hear of it, each once and in its order."""
        end.closing = True
        end.free_ns = max(end.free_ns, at_ns)
        self._world.post(end.free_ns, end.life, Unlinked(end.conn, reason))
        self._fin(end, f"closed by the other end: {reason}")

    def reset(self, end: End, reason: str) -> None:
        """The connection breaks now, whatever was under way; an end that is still to hear of it hears of both."""
        for side in (end, end.other):
            if not side.life.dead:
                self._world.post(max(self._world.now_ns, side.since_ns), side.life, Unlinked(side.conn, reason))

    def died(self, life: Life, silent: bool) -> None:
        """Its system closes the connections of a process that ended; without power nothing does."""
        for end in life.ends.values():
            if isinstance(end, End) and not silent and not end.closing:
                end.free_ns = max(end.free_ns, self._world.now_ns)
                self._fin(end, "connection reset")

    def latency_ns(self, a: Host, b: Host) -> int:
        """One way between two hosts, without jitter."""
        if a is b:
            return NEAR_NS // 10
        return NEAR_NS + int(FAR_NS * ((a.x - b.x) ** 2 + (a.y - b.y) ** 2) ** 0.5)

    # walls and harm

    def set_harm(self, name: str, probability: float) -> None:
        """Of each message from now on; `MESSAGE_FAULTS`."""
        self.harm[name] = probability
        self._calm = not self._walls and not any(self.harm.values())

    def raise_wall(self, wall: Wall) -> None:
        self._walls.append(wall)
        self._calm = False

    def fell_wall(self, wall: Wall) -> None:
        """What waited behind it sets out, in order, where no other wall stands."""
        self._walls.remove(wall)
        self._calm = not self._walls and not any(self.harm.values())
        for host in self._world.hosts:
            for end in tuple(host.life.ends.values()) if host.life else ():
                if isinstance(end, End):
                    # an end that has closed, or whose process ended, may have left words behind the wall
                    self._release(end)
                    self._release(end.other)

    def blocked(self, source: int, target: int) -> bool:
        return any(wall(source, target) for wall in self._walls)

    def _release(self, end: End) -> None:
        if end.held is None or self.blocked(end.life.host.index, end.other.life.host.index):
            return
        held, end.held = end.held, None
        for free_ns, event in held:
            self._arrive(end, event, max(free_ns, self._world.now_ns))

    def _harmed(self, end: End, event: Any, free_ns: int) -> None:
        if end.held is not None or self.blocked(end.life.host.index, end.other.life.host.index):
            if end.held is None:
                end.held = []
            end.held.append((free_ns, event))
            return
        draw, harm = self._draws.unit, self.harm
        if harm["loss"] and draw() < harm["loss"]:
            return
        if harm["duplicate"] and draw() < harm["duplicate"]:
            self._arrive(end, event, free_ns)
        if harm["delay"] and draw() < harm["delay"]:
            free_ns += int(self._draws.exponential(self.delay_ns))
        if harm["reorder"] and draw() < harm["reorder"]:
            late_ns = free_ns + end.latency_ns + int(self._draws.exponential(self.delay_ns))
            if not end.other.life.dead:
                self._world.post(late_ns, end.other.life, event)
            return
        self._arrive(end, event, free_ns)

    def _arrive(self, end: End, event: Any, free_ns: int) -> None:
        other = end.other
        if other.life.dead:
            self._to_nobody(end, free_ns)
            return
        end.arrival_ns = max(end.arrival_ns, free_ns + end.latency_ns + self._jitter[self._world.seq & 4095])
        self._world.post(end.arrival_ns, other.life, event)

    def _to_nobody(self, end: End, free_ns: int) -> None:
        """The other end's process is gone: its system resets the connection, if it has power."""
        if end.other.life.host.powered and not end.life.dead:
            self._world.post(free_ns + 2 * end.latency_ns, end.life, Unlinked(end.conn, "connection reset"))

    def _fin(self, end: End, reason: str) -> None:
        event = Unlinked(end.other.conn, reason)
        if end.held is not None or self.blocked(end.life.host.index, end.other.life.host.index):
            end.held = end.held or []
            end.held.append((end.free_ns, event))
        elif not end.other.life.dead:
            self._arrive(end, event, end.free_ns)

    # dialling, step by step

    def _syn(self, life: Life, dial: Dial, tries: int) -> None:
        if life.dead or dial.conn not in life.dialling:
            return
        now_ns, me = self._world.now_ns, life.host
        target = self.by_address.get(dial.address)
        heard = target is not None and target.powered and (target.reachable or target is me)
        if target is None or not heard or self._between(me, target):
            if tries < len(SYN_AGAIN_NS):
                self._world.call(now_ns + SYN_AGAIN_NS[tries], lambda: self._syn(life, dial, tries + 1))
            else:
                self._world.post(now_ns, life, DialFailed(dial.conn, "no answer within 5 s"))
            return
        latency_ns = self.latency_ns(me, target)
        if target.life is None:
            self._world.post(now_ns + 2 * latency_ns, life, DialFailed(dial.conn, "connection refused"))
            return
        there = target.life
        self._world.call(now_ns + 3 * latency_ns, lambda: self._accept(life, dial, there, latency_ns))

    def _between(self, a: Host, b: Host) -> bool:
        return bool(self._walls) and (self.blocked(a.index, b.index) or self.blocked(b.index, a.index))

    def _accept(self, life: Life, dial: Dial, there: Life, latency_ns: int) -> None:
        """ClientHello is here: the acceptor computes its part in its turn, behind what came before."""
        now_ns = self._world.now_ns
        if there.dead:
            self._world.post(now_ns + latency_ns, life, DialFailed(dial.conn, "connection reset"))
            return
        until_ns = now_ns + HANDSHAKE_MAX_NS
        self._world.call(until_ns, lambda: self._too_late(life, dial))

        def answer() -> None:
            self._world.call(self._world.now_ns + HANDSHAKE_NS + latency_ns, lambda: finish())

        def finish() -> None:
            if not life.dead and dial.conn in life.dialling:
                self._world.post(self._world.now_ns, life, Work(HANDSHAKE_NS, linked))

        def linked() -> None:
            self._finish(life, dial, there, latency_ns)

        self._world.post(now_ns, there, Work(HANDSHAKE_NS, answer))

    def _too_late(self, life: Life, dial: Dial) -> None:
        if not life.dead and dial.conn in life.dialling:
            self._world.post(self._world.now_ns, life, DialFailed(dial.conn, "no handshake within 10 s"))

    def _finish(self, life: Life, dial: Dial, there: Life, latency_ns: int) -> None:
        """The dialler has verified the acceptor's flight: it knows who answers."""
        if dial.conn not in life.dialling:
            return
        done_ns = self._world.now_ns + HANDSHAKE_NS
        if there.dead or self._between(life.host, there.host):
            self._world.post(done_ns, life, DialFailed(dial.conn, "broken off during the handshake"))
        elif dial.peer is not None and dial.peer != there.host.peer:
            self.strays[there.host.index] += 1
            self._world.post(done_ns, life, DialFailed(dial.conn, "another node is there", is_other=True))
        else:
            self._connect(life, dial, there, latency_ns, done_ns)

    def _connect(self, life: Life, dial: Dial, there: Life, latency_ns: int, at_ns: int) -> None:
        del life.dialling[dial.conn]
        mine = End(life, dial.conn, latency_ns, at_ns)
        theirs = End(there, there.odd(), latency_ns, at_ns + latency_ns)
        mine.other, theirs.other = theirs, mine
        life.ends[mine.conn] = mine
        there.ends[theirs.conn] = theirs
        host, peer = life.host, there.host
        self._world.post(at_ns, life, Linked(mine.conn, peer.peer, peer.key, dial.address, False))
        mine.arrival_ns = at_ns + latency_ns
        came_from = _seen_from_outside(host, theirs.conn)
        self._world.post(at_ns + latency_ns, there, Linked(theirs.conn, PeerId(host.peer), host.key, came_from, True))


def _seen_from_outside(host: Host, conn: int) -> str:
    """The address that a connection comes from: the host's own, at a port that the system drew."""
    place, _, _ = host.address.rpartition(":")
    return f"{place}:{32768 + (conn * 97 + host.index * 31) % 28232}"
