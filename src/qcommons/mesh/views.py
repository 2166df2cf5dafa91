"""Views: a peer as people and the API see it: state, since when and why, link, record, what is held against it.

Flow: MeshCore.peers_view -> *peer_views* -> node's API -> `qcommons peers`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from qcommons.mesh.addresses import parse
from qcommons.mesh.records import PeerId

if TYPE_CHECKING:
    from qcommons.mesh.core import MeshCore

__all__ = ["PeerView", "peer_views"]


class PeerView(msgspec.Struct, frozen=True, kw_only=True):
    """state: known, alive, suspect, lost, stopped, away, banned; cause and since_ns: of it, 0 where the time was not
    kept. relation: what the owner has to do with it: own, allowed, invited, stranger. link: direct, relayed, none; via:
    who relays. round_trip_ns: 0 where it is not measured. why_unlinked: the last failure of a dial. messages and bytes:
    of the link that stands (the driver counts the bytes that go out)."""

    peer: PeerId
    state: str
    cause: str
    since_ns: int
    relation: str
    link: str
    via: PeerId | None
    linked_since_ns: int
    linked_address: str
    inbound: bool
    is_neighbour: bool
    round_trip_ns: int
    bytes_in: int
    messages_in: int
    messages_out: int
    why_unlinked: str
    version: str
    offers: tuple[str, ...]
    addresses: tuple[str, ...]
    away: tuple[tuple[int, int], ...]
    owner: bytes
    seq: int
    blame_points: float
    verdict: str


def peer_views(core: MeshCore, now_ns: int) -> list[PeerView]:
    """All peers of the book, then those that are kept out and not in it, each group by node hash."""
    strangers = sorted(peer for peer in core.guard.judged() if peer not in core.book.entries)
    return [_view(core, peer, now_ns) for peer in [*sorted(core.book.entries), *strangers]]


def _view(core: MeshCore, peer: PeerId, now_ns: int) -> PeerView:
    entry = core.book.entries.get(peer)
    conn = core.links.best.get(peer)
    record = entry.signed.record if entry is not None else None
    banned = core.guard.why_banned(peer, now_ns)
    via = parse(conn.address).via if conn is not None and not conn.is_direct else None
    link = "none" if conn is None else "direct" if conn.is_direct else "relayed"
    return PeerView(
        peer=peer,
        state="banned" if banned else entry.state if entry is not None else "known",
        cause=banned or (entry.cause if entry is not None else "the owner named it"),
        since_ns=core.guard.banned_since_ns(peer) if banned else entry.since_ns if entry is not None else 0,
        relation=core.relation(peer),
        link=link,
        via=via,
        linked_since_ns=conn.since_ns if conn is not None else 0,
        linked_address=conn.address if conn is not None else "",
        inbound=conn is not None and conn.inbound,
        is_neighbour=peer in core.view.members,
        round_trip_ns=conn.round_trip_ns if conn is not None else 0,
        bytes_in=conn.bytes_in if conn is not None else 0,
        messages_in=conn.messages_in if conn is not None else 0,
        messages_out=conn.messages_out if conn is not None else 0,
        why_unlinked="" if conn is not None else core.dialler.why.get(peer, ""),
        version=record.version if record is not None else "",
        offers=record.offers if record is not None else (),
        addresses=record.addresses if record is not None else (),
        away=record.away if record is not None else (),
        owner=record.owner if record is not None else b"",
        seq=record.seq if record is not None else 0,
        blame_points=core.guard.points(peer, now_ns),
        verdict=core.guard.verdict(peer),
    )
