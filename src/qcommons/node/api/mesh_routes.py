"""The routes of the API about the mesh, one row each; all are the owner's.

Flow: Router -> row -> *handler* -> door.mesh -> Response.
"""

from __future__ import annotations

from starlette.responses import Response

from qcommons.node.api.call import Call, json_answer
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
    VerdictAsked,
)
from qcommons.node.api.route import Route

__all__ = ["MESH_ROUTES"]


async def _mesh(call: Call) -> Response:
    return json_answer(call.door.mesh.view())


async def _invite(call: Call) -> Response:
    return json_answer(call.door.mesh.invite())


async def _join(call: Call) -> Response:
    return json_answer(await call.door.mesh.join(await call.body(JoinAsked)))


async def _verdict(call: Call) -> Response:
    asked = await call.body(VerdictAsked)
    return json_answer(await call.door.mesh.decide(call.path["peer"], asked.verdict))


async def _forget(call: Call) -> Response:
    await call.door.mesh.forget(call.path["peer"])
    return Response(None, 204)


async def _measure(call: Call) -> Response:
    return json_answer(await call.door.mesh.measure(call.path["peer"], await call.body(MeasureAsked)))


async def _papers(call: Call) -> Response:
    return json_answer(await call.door.mesh.papers(call.path["peer"]))


async def _probe(call: Call) -> Response:
    return json_answer(await call.door.mesh.probe(await call.body(ProbeAsked)))


async def _away(call: Call) -> Response:
    return json_answer(await call.door.mesh.away(await call.body(AwayAsked)))


async def _sever(call: Call) -> Response:
    return json_answer(call.door.mesh.sever(await call.body(SeverAsked)))


MESH_ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1/mesh", _mesh, "owner", "The mesh: peers, and whether this node can be reached.",
          answer=MeshView),
    Route("GET", "/v1/mesh/invite", _invite, "owner", "One string by which another node joins.", answer=InviteView),
    Route("POST", "/v1/mesh/join", _join, "owner", "Join the mesh of an invitation; waits for the first link.",
          body=JoinAsked, answer=Joined),
    Route("POST", "/v1/mesh/peers/{peer}/verdict", _verdict, "owner",
          "Deny a peer, allow it (nothing bans it), or neither.", body=VerdictAsked, answer=PeerRow),
    Route("DELETE", "/v1/mesh/peers/{peer}", _forget, "owner", "Forget a peer and what was decided of it.",
          status=204),
    Route("POST", "/v1/mesh/peers/{peer}/measure", _measure, "owner",
          "Measure round trips to a peer, and the rate of a blob.", body=MeasureAsked, answer=Measured),
    Route("GET", "/v1/mesh/peers/{peer}/papers", _papers, "owner",
          "Whose node a peer is, which keys it had before, its prekey: asked of it and checked.", answer=PapersView),
    Route("POST", "/v1/mesh/probe", _probe, "owner", "Tell everybody something, and see who heard and how soon.",
          body=ProbeAsked, answer=Probed),
    Route("POST", "/v1/mesh/away", _away, "owner", "Set the planned absences of this node.", body=AwayAsked,
          answer=AwayView),
    Route("POST", "/v1/mesh/sever", _sever, "owner",
          "Development nodes only: cut the network between this node and others.", body=SeverAsked, answer=Severed),
)  # fmt: skip
