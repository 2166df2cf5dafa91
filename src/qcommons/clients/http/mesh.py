"""The mesh of a node, from Python: who is there, invitations, measurements.

Flow: `Node.mesh`, `AsyncNode.mesh` -> *Mesh, AsyncMesh* -> calls -> HTTP -> the node. All of it is the owner's.

    with Node.connect() as node:
        for peer in node.mesh.view().peers:
            print(peer.node, peer.state, peer.cause)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from qcommons.clients.http import mesh_calls
from qcommons.clients.http.asks import Asks, AsyncAsks
from qcommons.node.api.mesh_records import (
    AwayView,
    InviteView,
    Joined,
    MeasureAsked,
    Measured,
    MeshView,
    PapersView,
    PeerRow,
    Probed,
    Severed,
    Verdict,
    Window,
)

__all__ = ["AsyncMesh", "Mesh"]

JOIN_S = 10.0
PROBE_S = 2.0


class Mesh:
    """Methods raise what those of `Node` do; Unavailable where the mesh is off. A peer is named by its node id."""

    def __init__(self, send: Callable[..., Any]) -> None:
        self._send = send
        self.asks = Asks(send)

    def view(self) -> MeshView:
        found: MeshView = self._send(mesh_calls.view())
        return found

    def invite(self) -> InviteView:
        """One string by which another node joins."""
        given: InviteView = self._send(mesh_calls.invite())
        return given

    def join(self, invite: str, wait_s: float = JOIN_S) -> Joined:
        joined: Joined = self._send(mesh_calls.join(invite, wait_s))
        return joined

    def decide(self, peer: str, verdict: Verdict) -> PeerRow:
        row: PeerRow = self._send(mesh_calls.decide(peer, verdict))
        return row

    def forget(self, peer: str) -> None:
        self._send(mesh_calls.forget(peer))

    def measure(self, peer: str, requests: int = 100, size_bytes: int = 1024, blob_bytes: int = 0) -> Measured:
        """Round trips of echoes one after the other, and the rate of a blob."""
        asked = MeasureAsked(requests=requests, size_bytes=size_bytes, blob_bytes=blob_bytes)
        measured: Measured = self._send(mesh_calls.measure(peer, asked))
        return measured

    def papers(self, peer: str) -> PapersView:
        """Whose node it is, which keys it had before, its prekey: asked of it and checked."""
        view: PapersView = self._send(mesh_calls.papers(peer))
        return view

    def probe(self, wait_s: float = PROBE_S) -> Probed:
        """Tells everybody something; who heard, and how soon."""
        probed: Probed = self._send(mesh_calls.probe(wait_s))
        return probed

    def away(self, *windows: Window) -> AwayView:
        """Planned absences, in place of those of before; none clears them."""
        view: AwayView = self._send(mesh_calls.away(windows))
        return view

    def sever(self, *nodes: str) -> Severed:
        """Nodes of `qcommons dev up` only: cuts the network to these; none heals it."""
        severed: Severed = self._send(mesh_calls.sever(nodes))
        return severed


class AsyncMesh:
    """`Mesh` with `await`."""

    def __init__(self, send: Callable[..., Awaitable[Any]]) -> None:
        self._send = send
        self.asks = AsyncAsks(send)

    async def view(self) -> MeshView:
        found: MeshView = await self._send(mesh_calls.view())
        return found

    async def invite(self) -> InviteView:
        given: InviteView = await self._send(mesh_calls.invite())
        return given

    async def join(self, invite: str, wait_s: float = JOIN_S) -> Joined:
        joined: Joined = await self._send(mesh_calls.join(invite, wait_s))
        return joined

    async def decide(self, peer: str, verdict: Verdict) -> PeerRow:
        row: PeerRow = await self._send(mesh_calls.decide(peer, verdict))
        return row

    async def forget(self, peer: str) -> None:
        await self._send(mesh_calls.forget(peer))

    async def measure(self, peer: str, requests: int = 100, size_bytes: int = 1024, blob_bytes: int = 0) -> Measured:
        asked = MeasureAsked(requests=requests, size_bytes=size_bytes, blob_bytes=blob_bytes)
        measured: Measured = await self._send(mesh_calls.measure(peer, asked))
        return measured

    async def papers(self, peer: str) -> PapersView:
        view: PapersView = await self._send(mesh_calls.papers(peer))
        return view

    async def probe(self, wait_s: float = PROBE_S) -> Probed:
        probed: Probed = await self._send(mesh_calls.probe(wait_s))
        return probed

    async def away(self, *windows: Window) -> AwayView:
        view: AwayView = await self._send(mesh_calls.away(windows))
        return view

    async def sever(self, *nodes: str) -> Severed:
        severed: Severed = await self._send(mesh_calls.sever(nodes))
        return severed
