"""The calls of the API about the mesh, as data.

Flow: Mesh, AsyncMesh -> *Call* -> transport -> a struct, or the error that the node named.
"""

from __future__ import annotations

from qcommons.clients.http.calls import Call, nothing, part, reading
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
    VerdictAsked,
    Window,
)

__all__ = ["away", "decide", "forget", "invite", "join", "measure", "papers", "probe", "sever", "view"]

MEASURE_S = 60.0  # many requests and a blob over a slow link


def view() -> Call[MeshView]:
    return Call("GET", "/v1/mesh", reading(MeshView))


def invite() -> Call[InviteView]:
    return Call("GET", "/v1/mesh/invite", reading(InviteView))


def join(text: str, wait_s: float) -> Call[Joined]:
    body = JoinAsked(invite=text, wait_s=wait_s)
    return Call("POST", "/v1/mesh/join", reading(Joined), body=body)


def decide(peer: str, verdict: Verdict) -> Call[PeerRow]:
    return Call("POST", f"/v1/mesh/peers/{part(peer)}/verdict", reading(PeerRow), body=VerdictAsked(verdict=verdict))


def forget(peer: str) -> Call[None]:
    return Call("DELETE", f"/v1/mesh/peers/{part(peer)}", nothing, again=False)


def measure(peer: str, asked: MeasureAsked) -> Call[Measured]:
    path = f"/v1/mesh/peers/{part(peer)}/measure"
    return Call("POST", path, reading(Measured), body=asked, again=False, answer_s=MEASURE_S)


def papers(peer: str) -> Call[PapersView]:
    return Call("GET", f"/v1/mesh/peers/{part(peer)}/papers", reading(PapersView))


def probe(wait_s: float) -> Call[Probed]:
    return Call("POST", "/v1/mesh/probe", reading(Probed), body=ProbeAsked(wait_s=wait_s), again=False)


def away(windows: tuple[Window, ...]) -> Call[AwayView]:
    return Call("POST", "/v1/mesh/away", reading(AwayView), body=AwayAsked(windows=windows))


def sever(nodes: tuple[str, ...]) -> Call[Severed]:
    return Call("POST", "/v1/mesh/sever", reading(Severed), body=SeverAsked(nodes=nodes))
