"""What the API asks of the mesh behind it.

Flow: mesh_routes -> *MeshDoor* -> node/mesh -> core. A peer is named by its node id; an unknown one is a UsageError
whose `where` is "peer". Errors are the four of `base.errors`.
"""

from __future__ import annotations

from typing import Protocol

from qcommons.node.api.asks_door import AsksDoor
from qcommons.node.api.mesh_records import (
    AwayAsked,
    AwayView,
    InviteView,
    JoinAsked,
    Joined,
    MeasureAsked,
    Measured,
    MeshView,
    PapersView,
    PeerRow,
    ProbeAsked,
    Probed,
    SeverAsked,
    Severed,
    Verdict,
)

__all__ = ["MeshDoor"]


class MeshDoor(Protocol):
    """What the handlers may ask."""

    @property
    def asks(self) -> AsksDoor:
        """The market."""
        ...

    def view(self) -> MeshView: ...

    def invite(self) -> InviteView:
        """Raises Unavailable while this node has no address."""
        ...

    async def join(self, asked: JoinAsked) -> Joined:
        """Kept on disk. Raises UsageError for a bad invitation or one to another network."""
        ...

    async def decide(self, peer: str, verdict: Verdict) -> PeerRow:
        """The owner's word, on disk. A peer that is not known may be denied or allowed beforehand."""
        ...

    async def forget(self, peer: str) -> None: ...

    async def measure(self, peer: str, asked: MeasureAsked) -> Measured:
        """Raises Unavailable where no echo came back at all."""
        ...

    async def papers(self, peer: str) -> PapersView:
        """Raises Unavailable where it does not answer, PeerError where a paper is false."""
        ...

    async def probe(self, asked: ProbeAsked) -> Probed: ...

    async def away(self, asked: AwayAsked) -> AwayView:
        """On disk and told. Raises UsageError for windows that are past, empty or turned round."""
        ...

    def sever(self, asked: SeverAsked) -> Severed:
        """Raises UsageError on a node that is not of `qcommons dev up`."""
        ...
