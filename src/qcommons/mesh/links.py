"""Links: the connections of this node, at most one in use a peer.

Flow: Linked, Came(Hello, Bye, Ping, Pong), Unlinked, time -> *Links* -> Transmit, Hangup, Up, Down -> core -> parts.

    dialling  the dialler's, until the session stands
    greeting  the session stands; this node's Hello is out, the peer's is awaited (5 s)
    open      both greeted. The first one of a peer is `Up`
    draining  another connection of the pair is in use: nothing more is sent here but Bye, what comes still counts;
              closed when both have said Bye, or after 5 s; open again where the peer has no other
    closing   hung up; ends with Unlinked

Which of two connections of a pair stays is the same at both ends: the direct one before one through a relay; the newer
where the older is 10 s older (its other end has lost it); else the one that the node with the lower hash dialled; of
two dialled by one node the later. What is queued on the loser is before its Bye, so nothing is lost. Each end judges
once both have greeted on both, so whoever hears that its only connection lost knows better: the other one is of before
its restart, and it says so (Bye with "only").

An open link that brought nothing, not even a piece of a message, for 3 s is pinged, after 6 s it is dead. One that is
no neighbour's closes after 60 s without traffic but Ping, Pong and Beats; sooner where there are many.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from qcommons.base.effects import Note, note
from qcommons.base.errors import UsageError
from qcommons.base.text import line
from qcommons.base.units import NS_PER_S
from qcommons.mesh.addresses import Scope, parse
from qcommons.mesh.events import Hangup, Linked, Transmit
from qcommons.mesh.messages import Beats, Bye, Hello, Message, Ping, Pong
from qcommons.mesh.records import PeerId

__all__ = ["BYE_CODES", "PROTOCOL", "Conn", "Down", "Effects", "Links", "Up"]

PROTOCOL = "/qcommons/mesh/1.0"
MAJOR = PROTOCOL.rpartition(".")[0]
GREETING_NS = 5 * NS_PER_S
DRAINING_NS = 5 * NS_PER_S
PING_NS = 3 * NS_PER_S
SILENT_NS = 6 * NS_PER_S
PING_AGAIN_NS = NS_PER_S
ROUND_TRIP_NS = 30 * NS_PER_S  # how often the round trip is measured where nothing else asks for a ping
IDLE_NS = 60 * NS_PER_S
CROWDED_IDLE_NS = 5 * NS_PER_S
CROWDED = 64  # links; beyond, idle strangers leave sooner
LINKS_MAX = 512  # open and greeting; a session takes 70 KiB, most of it TLS's
STALE_NS = 10 * NS_PER_S
# the words a Bye may carry, and what they say
BYE_CODES = {
    "leaving": "the node stops",
    "duplicate": "another connection of the pair is in use",
    "idle": "nothing was said for a while",
    "full": "no room for another link",
    "banned": "not welcome here",
    "network": "another network",
    "version": "no version of the mesh protocol in common",
    "record": "the peer record is not good",
    "self": "it is the same node",
    "forgotten": "the owner forgot the peer",
    "only": "there is no other connection of the pair here",  # ends nothing: it answers a "duplicate"
}
QUIET = (Ping, Pong, Beats)  # no traffic that keeps a link


class Conn(msgspec.Struct):
    """One connection. ticket: under which its begin or end is told; why: it was hung up. used_ns: last traffic;
    heard_ns: last message of any kind, or piece of one; ping_ns: 0 where no ping is under way."""

    number: int
    peer: PeerId
    address: str
    inbound: bool
    since_ns: int
    state: str = "greeting"
    state_ns: int = 0
    ticket: str = ""
    why: str = ""
    version: str = ""
    heard_ns: int = 0
    used_ns: int = 0
    ping_ns: int = 0
    ping_id: int = 0
    round_trip_ns: int = 0
    measured_ns: int = 0
    bytes_in: int = 0
    messages_in: int = 0
    messages_out: int = 0
    said_bye: bool = False
    heard_bye: bool = False

    @property
    def is_direct(self) -> bool:
        return not self.address.startswith("relay/")

    @property
    def scope(self) -> Scope:
        """How near the other end is: what it says of addresses counts that far."""
        try:
            return parse(self.address).scope
        except UsageError:  # a form that only the driver knows
            return Scope.PUBLIC


class Up(msgspec.Struct, frozen=True):
    """The first open link of a peer."""

    conn: Conn


class Down(msgspec.Struct, frozen=True):
    """No open link of a peer any more."""

    peer: PeerId
    reason: str


Effects = list[Transmit | Hangup | Note | Up | Down]


class Links:
    """is_kept: neighbours and whoever is needed; those links do not close for being idle."""

    def __init__(self, me: PeerId, network: str, is_kept: Callable[[PeerId], bool]) -> None:
        self.conns: dict[int, Conn] = {}
        self.best: dict[PeerId, Conn] = {}
        self.me = me
        self.network = network
        self._is_kept = is_kept

    @property
    def is_full(self) -> bool:
        return len(self.conns) >= LINKS_MAX

    # a connection's life

    def linked(self, event: Linked, ticket: str, record: bytes, now_ns: int) -> Effects:
        """A session stands with a peer that may come in."""
        conn = Conn(event.conn, event.peer, event.address, event.inbound, now_ns, ticket=ticket)
        conn.state_ns = conn.heard_ns = conn.used_ns = now_ns
        self.conns[conn.number] = conn
        return [Transmit(conn.number, 0, Hello(self.network, (PROTOCOL,), record))]

    def refused(self, hello: Hello) -> tuple[str, str]:
        """(code, text) of the Bye that a Hello deserves, empty where network and protocol fit."""
        if hello.network != self.network:
            return "network", f"this is network {self.network!r}, not {hello.network[:64]!r}"
        if not any(protocol.rpartition(".")[0] == MAJOR for protocol in hello.protocols):
            return "version", f"spoken here: {PROTOCOL}; there: {_shown(', '.join(hello.protocols)[:100])}"
        return "", ""

    def opened(self, conn: Conn, now_ns: int) -> Effects:
        """The peer's Hello was good."""
        conn.state, conn.state_ns = "open", now_ns
        rival = self.best.get(conn.peer)
        if rival is None:
            self.best[conn.peer] = conn
            return [Up(conn)]
        winner, loser = (conn, rival) if self._beats(conn, rival) else (rival, conn)
        self.best[conn.peer] = winner
        return self._drained(loser, now_ns)

    def _beats(self, newer: Conn, older: Conn) -> bool:
        if newer.is_direct != older.is_direct:
            return newer.is_direct
        if newer.inbound == older.inbound or newer.state_ns - older.state_ns > STALE_NS:
            return True
        lower_is_me = self.me < newer.peer
        return lower_is_me != newer.inbound

    def _drained(self, conn: Conn, now_ns: int) -> Effects:
        conn.state, conn.state_ns, conn.said_bye = "draining", now_ns, True
        bye = Transmit(conn.number, 0, Bye("duplicate", BYE_CODES["duplicate"]))
        return [bye, *self._hung_up(conn, "duplicate", now_ns)] if conn.heard_bye else [bye]

    def bye(self, conn: Conn, message: Bye, now_ns: int) -> Effects:
        """The peer's last word."""
        if message.code == "only":
            return self._restored(conn, now_ns)
        if message.code == "duplicate":
            if not conn.said_bye and len(self.of(conn.peer)) == 1:
                return [Transmit(conn.number, 0, Bye("only", BYE_CODES["only"]))]
            conn.heard_bye = True
            # else the connection that the peer prefers has not greeted here: this one serves until then
            return self._hung_up(conn, "duplicate", now_ns) if conn.said_bye else []
        code = message.code if message.code in BYE_CODES else "unknown"
        out: Effects = [note("mesh_bye", peer=conn.peer.hex(), code=code, text=_shown(message.text))]
        return out + self._hung_up(conn, f"said goodbye ({code}): {_shown(message.text)}", now_ns)

    def _restored(self, conn: Conn, now_ns: int) -> Effects:
        """The peer has no connection but the one that lost here: what won has lost its other end."""
        if conn.state != "draining":
            return []
        winner = self.best.get(conn.peer)
        out = self._hung_up(winner, "the peer has it no more", now_ns) if winner is not None else []
        conn.state, conn.state_ns, conn.said_bye = "open", now_ns, False
        self.best[conn.peer] = conn
        return [*out, Up(conn)]

    def end(self, conn: Conn, code: str, text: str, now_ns: int) -> Effects:
        """Say Bye and hang up."""
        out: Effects = [Transmit(conn.number, 0, Bye(code, text[:200] or BYE_CODES[code]))]
        return out + self._hung_up(conn, text or BYE_CODES[code], now_ns)

    def unlinked(self, number: int, reason: str) -> Effects:
        """The connection has ended."""
        conn = self.conns.pop(number, None)
        return self._gone(conn, reason) if conn is not None else []

    def _hung_up(self, conn: Conn, reason: str, now_ns: int) -> Effects:
        if conn.state == "closing":
            return []
        conn.state, conn.state_ns, conn.why = "closing", now_ns, reason
        return [Hangup(conn.number, reason), *self._gone(conn, reason)]

    def _gone(self, conn: Conn, reason: str) -> Effects:
        if self.best.get(conn.peer) is not conn:
            return []
        del self.best[conn.peer]
        return [Down(conn.peer, reason)]

    # use

    def send(self, conn: Conn, id: int, message: Message, now_ns: int) -> Transmit:
        """A message on the link in use."""
        conn.messages_out += 1
        if type(message) not in QUIET:
            conn.used_ns = now_ns
        return Transmit(conn.number, id, message)

    def heard(self, conn: Conn, message: Message, size_bytes: int, now_ns: int) -> None:
        """Something came."""
        conn.heard_ns = now_ns
        conn.messages_in += 1
        conn.bytes_in += size_bytes
        if type(message) not in QUIET:
            conn.used_ns = now_ns

    def moved(self, number: int, now_ns: int) -> None:
        """A piece of a message came: a slow line is not silent."""
        conn = self.conns.get(number)
        if conn is not None:
            conn.heard_ns = now_ns

    def ping(self, conn: Conn, now_ns: int) -> Transmit:
        """Ask for a sign of life, and measure the round trip."""
        conn.ping_ns = conn.measured_ns = now_ns
        conn.ping_id += 1
        return Transmit(conn.number, conn.ping_id, Ping())

    def pong(self, conn: Conn, id: int, now_ns: int) -> None:
        """The answer to a ping; any other is not counted."""
        if conn.ping_ns and id == conn.ping_id:
            conn.round_trip_ns, conn.ping_ns = now_ns - conn.ping_ns, 0

    def tick(self, now_ns: int, awake_ns: int) -> Effects:
        """What time alone brings. awake_ns: silence before it is this node's own."""
        out: Effects = []
        idle_ns = CROWDED_IDLE_NS if len(self.conns) > CROWDED else IDLE_NS
        recent_ns, used_ns, measured_ns = now_ns - PING_NS, now_ns - idle_ns, now_ns - ROUND_TRIP_NS
        for conn in list(self.conns.values()):
            if conn.state == "open":
                if conn.heard_ns >= recent_ns and conn.used_ns >= used_ns and conn.measured_ns >= measured_ns:
                    continue  # by far the most: heard of lately, in use, measured
                out += self._tick_open(conn, now_ns, awake_ns, idle_ns)
            elif conn.state == "greeting" and now_ns - max(conn.state_ns, awake_ns) > GREETING_NS:
                out += self._hung_up(conn, "no Hello within 5 s", now_ns)
            elif conn.state == "draining" and now_ns - conn.state_ns > DRAINING_NS:
                out += self._hung_up(conn, "duplicate", now_ns)
        return out

    def _tick_open(self, conn: Conn, now_ns: int, awake_ns: int, idle_ns: int) -> Effects:
        silent_ns = now_ns - max(conn.heard_ns, awake_ns)
        if silent_ns > SILENT_NS:
            return self._hung_up(conn, f"nothing came for {silent_ns / NS_PER_S:.1f} s", now_ns)
        if now_ns - conn.used_ns > idle_ns and not self._is_kept(conn.peer):
            return self.end(conn, "idle", BYE_CODES["idle"], now_ns)
        since_ns = now_ns - conn.measured_ns
        if (silent_ns > PING_NS and since_ns > PING_AGAIN_NS) or since_ns > ROUND_TRIP_NS:
            return [self.ping(conn, now_ns)]
        return []

    # questions

    def of(self, peer: PeerId) -> list[Conn]:
        """All connections of a peer that have not been hung up."""
        return [conn for conn in self.conns.values() if conn.peer == peer and conn.state != "closing"]

    def heard_ns(self, peer: PeerId) -> int:
        """When the last message came on the peer's link; 0 where there is none."""
        conn = self.best.get(peer)
        return conn.heard_ns if conn is not None else 0


def _shown(text: str) -> str:
    """A peer's text, fit for a log and a terminal."""
    return line(text[:200])
