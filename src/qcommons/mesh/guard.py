"""Guard: what a peer may send, what it is blamed for, and who is kept out.

Flow: core -> *Guard.admits* (every message) -> part; parts -> `Blame` -> *Guard.blame* -> ban -> core hangs up.

Three things a peer:
    buckets   one a row of RATES and one for bytes; a message over its rate is dropped and counted
    points    of blame, halved every 10 minutes; at 100 the peer is banned: 1 h, doubled each time, at most 32 h
    verdict   the owner's word, deny or allow, which wins over everything and is stored

A bucket is one number, the time at which it would be empty again (the generic cell rate algorithm, ITU-T I.371
annex A): no state is touched by time alone.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator

import msgspec

from qcommons.base.canonical import decode_record, encode_record
from qcommons.base.effects import Note, Store, note
from qcommons.base.errors import PeerError
from qcommons.base.units import NS_PER_S
from qcommons.mesh import messages as m
from qcommons.mesh.records import PeerId

__all__ = ["BAN_POINTS", "RATES", "Evidence", "Guard", "Rate"]


class Rate(msgspec.Struct, frozen=True):
    """per_s: messages a second that one peer may send for ever. burst: at once."""

    per_s: float
    burst: int


KEY = "guard/"
BAN_POINTS = 100.0
HALF_LIFE_NS = 600 * NS_PER_S
BAN_NS = 3_600 * NS_PER_S
BAN_DOUBLINGS_MAX = 5
STANDINGS_MAX = 4_096  # peers that anything is held against, of 300 bytes each; the least blamed are forgotten
EVIDENCE_MAX = 64
DROPS_A_POINT = 10  # one point for so many dropped messages: a flood of 1,000/s is banned within a second
NOTE_EVERY_NS = NS_PER_S
ROW_BYTES_MAX = 512
VERDICTS = ("", "deny", "allow")

# No honest node sends more, whatever others send to it: what it passes on has a limit at the sender, below the one
# here (docs/protocol/blame.md). At once: what came within the 7 s after which a peer gives up a link, for a reader that
# was frozen meanwhile.
RATES: dict[type[m.Message], Rate] = {
    m.Hello: Rate(1, 4),
    m.Bye: Rate(1, 8),
    m.Ping: Rate(2, 16),
    m.Pong: Rate(2, 16),
    m.Beats: Rate(60, 480),
    m.WantRecords: Rate(20, 160),
    m.Records: Rate(50, 400),
    m.Neighbour: Rate(2, 16),
    m.NotNeighbour: Rate(2, 16),
    m.Join: Rate(30, 200),
    m.Gossip: Rate(400, 3_500),
    m.Have: Rate(50, 400),
    m.Want: Rate(100, 800),
    m.Graft: Rate(50, 200),
    m.Prune: Rate(50, 200),
    m.Request: Rate(5_000, 10_000),
    m.Response: Rate(5_000, 10_000),
    m.Failure: Rate(5_000, 10_000),
    m.Cancel: Rate(5_000, 10_000),
    m.Fetch: Rate(500, 1_000),
    m.Chunk: Rate(2_000, 4_000),
    m.Credit: Rate(2_000, 4_000),
    m.RelayOpen: Rate(10, 80),
    m.RelayOpened: Rate(10, 80),
    m.RelayData: Rate(10_000, 50_000),
    m.RelayClose: Rate(20, 160),
    m.RelayCredit: Rate(5_000, 10_000),
    m.NoChunks: Rate(500, 1_000),
}
BYTES = Rate(512 << 20, 1 << 30)  # of all kinds together; a local network's line is slower
BYTES_PER_S = int(BYTES.per_s)
# one message's step of its bucket, and how far ahead of now the bucket may be, both in ns
STEPS = {kind: (round(NS_PER_S / row.per_s), round(NS_PER_S / row.per_s) * row.burst) for kind, row in RATES.items()}
BYTES_AHEAD_NS = round(NS_PER_S / BYTES.per_s * BYTES.burst)


class Evidence(msgspec.Struct, frozen=True):
    """Why points were given; kept for the owner."""

    peer: PeerId
    points: int
    why: str
    at_ns: int


class _Row(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """What is stored of a peer. banned_until_s: Unix seconds, 0 where it is not banned."""

    verdict: str = ""
    banned_until_s: int = 0
    bans: int = 0
    why: str = ""


class _Standing(msgspec.Struct):
    row: _Row
    points: float = 0.0
    since_ns: int = 0


class _Flow(msgspec.Struct):
    """Buckets of a linked peer. full_ns: of each kind, when it would be empty again."""

    full_ns: dict[type[m.Message], int]
    bytes_full_ns: int = 0
    dropped: int = 0
    noted: int = 0
    noted_ns: int = 0


class Guard:
    """State: a flow a linked peer, a standing a peer with a past."""

    def __init__(self) -> None:
        self.evidence: deque[Evidence] = deque(maxlen=EVIDENCE_MAX)
        self._flows: dict[PeerId, _Flow] = {}
        self._standings: OrderedDict[PeerId, _Standing] = OrderedDict()

    # every message

    def admits(self, peer: PeerId, kind: type[m.Message], size_bytes: int, now_ns: int) -> bool:
        """Whether the message is within its peer's rates; if not it is counted (`drops`)."""
        flow = self._flows.get(peer)
        if flow is None:
            flow = self._flows[peer] = _Flow({})
        step_ns, ahead_ns = STEPS[kind]
        full_ns, bytes_ns = flow.full_ns.get(kind, 0), flow.bytes_full_ns
        full_ns = (full_ns if full_ns > now_ns else now_ns) + step_ns
        bytes_ns = (bytes_ns if bytes_ns > now_ns else now_ns) + size_bytes * NS_PER_S // BYTES_PER_S
        if full_ns - now_ns > ahead_ns or bytes_ns - now_ns > BYTES_AHEAD_NS:
            flow.dropped += 1
            return False
        flow.full_ns[kind], flow.bytes_full_ns = full_ns, bytes_ns
        return True

    def drops(self, peer: PeerId, kind: type[m.Message], now_ns: int) -> tuple[list[Note], int]:
        """After `admits` said no: a note at most once a second, and points of blame that are due."""
        flow = self._flows[peer]
        points = int(flow.dropped % DROPS_A_POINT == 0)
        if now_ns - flow.noted_ns < NOTE_EVERY_NS:
            return [], points
        fresh, flow.noted, flow.noted_ns = flow.dropped - flow.noted, flow.dropped, now_ns
        return [note("mesh_dropped", peer=peer.hex(), why="over its rate", kind=kind.__name__, dropped=fresh)], points

    def forget_flow(self, peer: PeerId) -> None:
        """Its session ended. A peer that comes again at once finds fresh buckets: sessions are the doorkeeper's."""
        self._flows.pop(peer, None)

    # blame and bans

    def blame(self, peer: PeerId, points: int, why: str, now_ns: int) -> tuple[list[Store | Note], bool]:
        """Give points; True where they ban the peer now."""
        out: list[Store | Note] = []
        standing = self._standing(peer, out)
        standing.points = self._decayed(standing, now_ns) + points
        standing.since_ns = now_ns
        self.evidence.append(Evidence(peer, points, why, now_ns))
        out.append(note("mesh_blamed", peer=peer.hex(), points=points, total=round(standing.points), why=why))
        row = standing.row
        if standing.points < BAN_POINTS or row.verdict or self.is_banned(peer, now_ns):
            return out, False
        length_ns = BAN_NS << min(row.bans, BAN_DOUBLINGS_MAX)
        standing.row = _Row("", (now_ns + length_ns) // NS_PER_S, row.bans + 1, why[:100])
        standing.points = 0.0
        out.append(self._stored(peer, standing.row))
        out.append(note("mesh_banned", peer=peer.hex(), why=why, hours=length_ns // BAN_NS, bans=row.bans + 1))
        return out, True

    def points(self, peer: PeerId, now_ns: int) -> float:
        """Blame as of now."""
        standing = self._standings.get(peer)
        return self._decayed(standing, now_ns) if standing else 0.0

    def is_banned(self, peer: PeerId, now_ns: int) -> bool:
        """Denied by the owner, or banned and the time is not over."""
        standing = self._standings.get(peer)
        if standing is None:
            return False
        if standing.row.verdict:
            return standing.row.verdict == "deny"
        return standing.row.banned_until_s * NS_PER_S > now_ns

    def why_banned(self, peer: PeerId, now_ns: int) -> str:
        """A sentence for people; empty where the peer is not banned."""
        if not self.is_banned(peer, now_ns):
            return ""
        row = self._standings[peer].row
        return "denied by the owner" if row.verdict else f"banned: {row.why}"

    def banned_since_ns(self, peer: PeerId) -> int:
        """When the last ban began; 0 where there is none, or it is the owner's word, whose time is not kept."""
        standing = self._standings.get(peer)
        if standing is None or standing.row.verdict or not standing.row.banned_until_s:
            return 0
        length_ns = BAN_NS << min(standing.row.bans - 1, BAN_DOUBLINGS_MAX)
        return standing.row.banned_until_s * NS_PER_S - length_ns

    def verdict(self, peer: PeerId) -> str:
        standing = self._standings.get(peer)
        return standing.row.verdict if standing else ""

    def judge(self, peer: PeerId, verdict: str, now_ns: int) -> list[Store | Note]:
        """The owner's word: "deny", "allow", or "" for neither, which also ends a ban."""
        out: list[Store | Note] = []
        standing = self._standing(peer, out)
        standing.row = _Row(verdict=verdict)
        standing.points, standing.since_ns = 0.0, now_ns
        if not verdict:
            del self._standings[peer]
        out.append(self._stored(peer, standing.row) if verdict else Store(KEY + peer.hex(), None))
        out.append(note("mesh_verdict", peer=peer.hex(), verdict=verdict or "none"))
        return out

    def judged(self) -> Iterator[PeerId]:
        """Whom the owner spoke about, or who is or was banned."""
        return (peer for peer, standing in self._standings.items() if standing.row.verdict or standing.row.bans)

    # storage

    def load(self, key: str, value: bytes) -> list[Store | Note]:
        """A row of `guard/`; a damaged one is dropped with a note."""
        try:
            peer = PeerId(bytes.fromhex(key.removeprefix(KEY)))
            row = decode_record(value, _Row, bytes_max=ROW_BYTES_MAX, items_max=8)
            if len(peer) != 32 or row.verdict not in VERDICTS:
                raise PeerError("no verdict or no peer", where=key)
        except (PeerError, ValueError) as error:
            return [Store(key, None), note("mesh_row_damaged", key=key, why=str(error))]
        self._standings[peer] = _Standing(row)
        return []

    def _standing(self, peer: PeerId, out: list[Store | Note]) -> _Standing:
        standing = self._standings.get(peer)
        if standing is None:
            if len(self._standings) >= STANDINGS_MAX:
                out += self._forget_one()
            standing = self._standings[peer] = _Standing(_Row())
        self._standings.move_to_end(peer)
        return standing

    def _forget_one(self) -> list[Store]:
        """The longest unblamed, banned ones last; never one of whom the owner spoke."""
        free = [peer for peer, standing in self._standings.items() if not standing.row.verdict]
        if not free:
            return []
        peer = next((peer for peer in free if not self._standings[peer].row.bans), free[0])
        del self._standings[peer]
        return [Store(KEY + peer.hex(), None)]

    def _decayed(self, standing: _Standing, now_ns: int) -> float:
        return float(standing.points * 0.5 ** ((now_ns - standing.since_ns) / HALF_LIFE_NS))

    def _stored(self, peer: PeerId, row: _Row) -> Store:
        return Store(KEY + peer.hex(), encode_record(row))
