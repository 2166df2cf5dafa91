"""Egress: whether a message may leave this node for a peer, by the job that it serves. Pure.

Flow: Send(MESH, ToMesh) -> *why_not* (asked by `dealing.py`, where it leaves) -> mesh, or refused. What a job may say
is in `jobs.place.EGRESS`; what a worker tells of a lease goes to the peer that holds it and to no other.
"""

from __future__ import annotations

from collections.abc import Mapping

from qcommons.jobs.place import EGRESS, Relation
from qcommons.jobs.work import PROTOCOLS
from qcommons.jobs.work_events import HIRED, ToMesh
from qcommons.mesh.events import Ask
from qcommons.mesh.records import PeerId

__all__ = ["nobody", "receiver", "why_not"]


def receiver(leaving: ToMesh) -> PeerId:
    """For whom it is."""
    said = leaving.message
    return said.to if isinstance(said, Ask) else said.peer


def why_not(leaving: ToMesh, relations: Mapping[PeerId, Relation]) -> str:
    """Why it may not leave, "" where it may. relations: what the peers are to the owner; all others are strangers."""
    said, egress, peer = leaving.message, leaving.egress, receiver(leaving)
    if isinstance(said, Ask) and said.protocol not in PROTOCOLS:
        return f"{said.protocol!r} is no protocol of work between nodes"
    if egress == HIRED:
        return "" if peer == leaving.holder else "it is for the peer that holds the lease, and for no other"
    relation = relations.get(peer, "stranger")
    if relation in EGRESS.get(egress, ()):
        return ""
    return f"the job's egress is {egress}; this peer is {relation}"


def nobody(egress: str, known: int) -> str:
    """Why a job cannot be given to anybody, and what would help. known: peers."""
    if egress == "public":
        return "no peer is known yet; join somebody's mesh: qcommons join INVITATION"
    return (
        f"the job may go to your own and allowed nodes only (egress {egress}), and none of the {known} known peers is "
        "one: allow one (qcommons peers allow NODE), or let anybody's node run it: --egress public"
    )
