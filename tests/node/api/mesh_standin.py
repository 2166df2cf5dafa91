"""A mesh of one made-up peer, for tests of the API and of its clients."""

from __future__ import annotations

import msgspec
from tests.node.api.asks_standin import AsksStandIn

from qcommons.base.errors import UsageError
from qcommons.mesh import invite as invites
from qcommons.mesh.records import PeerId
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
    ProbeHeard,
    ReachView,
    SeverAsked,
    Severed,
    Verdict,
    Window,
)
from qcommons.pqc.identity import node_id_of_hash

__all__ = ["ME", "PEER", "MeshStandIn"]

ME, PEER = node_id_of_hash(b"\1" * 32), node_id_of_hash(b"\2" * 32)


class MeshStandIn:
    """MeshDoor."""

    def __init__(self) -> None:
        self.row = PeerRow(
            node=PEER, level="red", state="lost", cause="no sign of life for 15 s", since_ns=1, action="wait",
            offers=("stim:100",), addresses=("tcp/10.0.0.2:8741",),
        )  # fmt: skip
        self.windows: tuple[Window, ...] = ()
        self.asks = AsksStandIn()

    def view(self) -> MeshView:
        reach = ReachView(state="no", cause="2 of 2 peers could not reach it", since_ns=1, action="open the port",
                          relays=(PEER,), one_way=(PEER,))  # fmt: skip
        return MeshView(
            network="commons", node=ME, now_ns=10**10, listening=("10.0.0.1:8741",), addresses=("tcp/10.0.0.1:8741",),
            mdns=True, reach=reach, links=0, neighbours=0, peers=(self.row,), away=self.windows,
        )  # fmt: skip

    def invite(self) -> InviteView:
        made = invites.make("commons", PeerId(b"\1" * 32), ("tcp/10.0.0.1:8741",))
        return InviteView(invite=made.text(), network="commons", node=ME, addresses=made.addresses)

    async def join(self, asked: JoinAsked) -> Joined:
        invite = invites.parse(asked.invite)
        node = node_id_of_hash(invite.node)
        return Joined(node=node, network=invite.network, linked=False, cause="no answer within 10 s", peers=1)

    async def decide(self, peer: str, verdict: Verdict) -> PeerRow:
        self._known(peer)
        self.row = msgspec.structs.replace(self.row, verdict=verdict)
        return self.row

    async def forget(self, peer: str) -> None:
        self._known(peer)

    async def measure(self, peer: str, asked: MeasureAsked) -> Measured:
        self._known(peer)
        blob_s = asked.blob_bytes / 1e8 if asked.blob_bytes else None
        return Measured(node=peer, requests=asked.requests, failed=1, cause="lost", p50_s=1e-3, p99_s=2e-3,
                        least_s=5e-4, blob_bytes=asked.blob_bytes, blob_s=blob_s)  # fmt: skip

    async def papers(self, peer: str) -> PapersView:
        return PapersView(node=PEER, owner="qo1stranger", owner_until_s=100, before=(), prekey_until_s=200)

    async def probe(self, asked: ProbeAsked) -> Probed:
        return Probed(heard=(ProbeHeard(node=ME, seconds=0.01),), silent=(PEER,), p50_s=0.01, p99_s=0.01)

    async def away(self, asked: AwayAsked) -> AwayView:
        self.windows = asked.windows
        return AwayView(windows=asked.windows)

    def sever(self, asked: SeverAsked) -> Severed:
        raise UsageError("only nodes of `qcommons dev up` can be cut off", where="sever")

    def _known(self, peer: str) -> None:
        if peer != PEER:
            raise UsageError(f"{peer[:80]!r} is not known", where="peer")
