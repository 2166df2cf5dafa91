"""The mesh as people see it: rows of peers, whether this node can be reached, what is not green and what to do.

Flow: core (peers_view, reach), listener, connections -> *Views* -> door, status, metrics. Every state that is not green
says cause, since when, and the next action.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

from qcommons.base.errors import Unavailable
from qcommons.mesh.invite import make as make_invite
from qcommons.mesh.records import PeerId
from qcommons.mesh.views import PeerView
from qcommons.node.api.mesh_records import InviteView, MeshSummary, MeshView, PeerRow, ReachView, Verdict, Window
from qcommons.node.api.records import Trouble
from qcommons.pqc.identity import node_id_of_hash

if TYPE_CHECKING:
    from qcommons.node.mesh.service import Mesh

__all__ = ["Views"]

LONELY_NS = 60_000_000_000  # whoever is known but silent for so long is worth a word
# state -> level, what to do. Who acts is in the sentence.
STATES: dict[str, tuple[Literal["green", "yellow", "red"], str]] = {
    "alive": ("green", ""),
    "away": ("green", ""),
    "known": ("yellow", "wait: its first sign of life is still to come"),
    "suspect": ("yellow", "wait: it is asked for again"),
    "lost": ("red", "it is tried for ever; its owner sees why with qcommons doctor there. Gone for good: "
             "qcommons peers forget NODE"),
    "banned": ("red", "it comes back by itself when the time is over; sooner: qcommons peers allow NODE"),
    "denied": ("green", ""),
}  # fmt: skip
VERDICTS: dict[str, Verdict] = {"deny": "deny", "allow": "allow", "": "neither"}


class Views:
    """Of one mesh; asks it at the moment it is asked."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._started_ns = mesh.clock.now_ns()
        self._alone_since_ns: int | None = None

    # who is there

    def mesh(self) -> MeshView:
        mesh, now_ns = self._mesh, self._now_ns()
        core = mesh.core
        rows = [self._row(view) for view in core.peers_view(now_ns)]
        own = core.own.signed
        return MeshView(
            network=mesh.settings.network, node=node_id_of_hash(core.me), now_ns=now_ns,
            listening=mesh.listener.listening, addresses=core.own.addresses(), mdns=mesh.lan.running,
            reach=self.reach(), links=len(tuple(core.linked())), neighbours=len(core.neighbours()), peers=tuple(rows),
            away=() if own is None else tuple(Window(*window) for window in own.record.away),
        )  # fmt: skip

    def row_of(self, peer: PeerId) -> PeerRow:
        """One peer; also one of which nothing is known (any more)."""
        for view in self._mesh.core.peers_view(self._now_ns()):
            if view.peer == peer:
                return self._row(view)
        cause = "nothing is known of it"
        return PeerRow(node=node_id_of_hash(peer), level="yellow", state="known", cause=cause, since_ns=self._now_ns())

    def _row(self, view: PeerView) -> PeerRow:
        verdict = VERDICTS[view.verdict]
        state = "denied" if view.state == "banned" and verdict == "deny" else view.state
        level, action = STATES[state]
        cause = view.cause
        if state in ("lost", "suspect") and view.why_unlinked:
            cause = f"{cause}; {view.why_unlinked}"
        node = node_id_of_hash(view.peer)
        return PeerRow(
            node=node, level=level, state=state, cause=cause, since_ns=view.since_ns,
            action=action.replace("NODE", node[:16]),
            round_trip_s=view.round_trip_ns / 1e9 if view.round_trip_ns else None,
            link="direct" if view.link == "direct" else "relayed" if view.link == "relayed" else "none",
            relay=None if view.via is None else node_id_of_hash(view.via), neighbour=view.is_neighbour,
            version=view.version, offers=view.offers, addresses=view.addresses, bytes_in=view.bytes_in,
            bytes_out=self._mesh.connections.bytes_out(view.peer), blame=round(view.blame_points), verdict=verdict,
            away=self._next_away(view.away),
        )  # fmt: skip

    def _next_away(self, windows: tuple[tuple[int, int], ...]) -> Window | None:
        now_s = self._now_ns() // 10**9
        following = sorted(window for window in windows if window[1] > now_s)
        return Window(*following[0]) if following else None

    def states(self) -> Counter[str]:
        """State -> how many peers."""
        return Counter(view.state for view in self._mesh.core.peers_view(self._now_ns()))

    def alive(self) -> frozenset[PeerId]:
        views = self._mesh.core.peers_view(self._now_ns())
        return frozenset(view.peer for view in views if view.state == "alive")

    # reached

    def reach(self) -> ReachView:
        """As the core's dial-backs say; a node that listens to its own machine needs none."""
        mesh = self._mesh
        if not mesh.listener.listening:
            cause = "this machine has no private address, and mesh.listen is lan"
            action = "connect it to a network, or name an address: qcommons config set mesh.listen ADDRESS"
            return ReachView(state="no", cause=cause, since_ns=self._started_ns, action=action)
        found = mesh.core.reach.view(self._now_ns())
        state: Literal["yes", "no", "unknown"] = "unknown"
        if found.reachable in ("yes", "no"):
            state = found.reachable
        good = [one for one in found.tries if one.ok]
        last = found.tries[-1] if found.tries else None
        return ReachView(
            state=state, cause=found.cause, since_ns=found.since_ns or self._started_ns, action=found.action,
            address=good[-1].address if good else "", by=None if last is None else node_id_of_hash(last.peer),
            relays=tuple(node_id_of_hash(peer) for peer in found.relays),
            one_way=tuple(node_id_of_hash(one.peer) for one in found.one_way()),
        )  # fmt: skip

    def invite(self) -> InviteView:
        """Raises Unavailable while this node has no address."""
        mesh = self._mesh
        addresses = mesh.core.own.addresses()
        if not addresses:
            raise Unavailable("this node has no address yet; see: qcommons doctor", where="mesh")
        invite = make_invite(mesh.settings.network, mesh.core.me, addresses)
        note = ""
        if mesh.settings.listen == "loopback":
            note = "This node listens on loopback: the invitation works on this machine alone."
        elif self.reach().state == "no":
            note = "Others could not reach this node: who is outside its network needs another member's invitation."
        return InviteView(
            invite=invite.text(), network=invite.network, node=node_id_of_hash(mesh.core.me),
            addresses=addresses, note=note,
        )  # fmt: skip

    # for status and metrics

    def summary(self) -> MeshSummary:
        core = self._mesh.core
        return MeshSummary(
            network=self._mesh.settings.network, peers=dict(sorted(self.states().items())),
            links=len(tuple(core.linked())), neighbours=len(core.neighbours()), reach=self.reach().state,
            addresses=core.own.addresses(),
        )  # fmt: skip

    def troubles(self) -> list[Trouble]:
        """What of the mesh is not green: alone though others are known, no address, a port that was taken."""
        mesh, now_ns = self._mesh, self._now_ns()
        found: list[Trouble] = []
        reach = self.reach()
        if not mesh.listener.listening:
            found.append(_yellow("others cannot reach this node", reach.cause, reach.since_ns, reach.action))
        known = self.states()
        silent = known["lost"] + known["suspect"]
        if silent and not known["alive"]:
            self._alone_since_ns = self._alone_since_ns or now_ns
            if now_ns - self._alone_since_ns > LONELY_NS:
                cause = f"none of {silent} known peers answers"
                action = "check the network of this machine; the node goes on trying. See: qcommons peers"
                found.append(_yellow("alone in the mesh", cause, self._alone_since_ns, action))
        else:
            self._alone_since_ns = None
        behind_ns = mesh.clock.behind_ns()
        if behind_ns > LONELY_NS:
            cause = f"the system's clock is {behind_ns // 10**9} s behind that of the mesh, which follows forward only"
            action = "set the system's clock right, then restart the node"
            found.append(_yellow("the clock was set back", cause, now_ns, action))
        return found

    def figure(self, name: str) -> float:
        """The value of a metric."""
        mesh = self._mesh
        connections, core = mesh.connections, mesh.core
        match name.removeprefix("qcommons_mesh_"):
            case "links":
                return len(tuple(core.linked()))
            case "neighbours":
                return len(core.neighbours())
            case "handshakes_half_open":
                return mesh.doorkeeper.half_open
            case "bytes_in":
                return connections.totals.bytes_in
            case "bytes_out":
                return connections.totals.bytes_out
            case "handshakes":
                return connections.handshakes["in"] + connections.handshakes["out"]
            case "refused":
                return sum(connections.refused.values())
            case "puzzles":
                return mesh.doorkeeper.challenged
            case "store_waiting":
                return mesh.store_waiting
            case _:
                return {"yes": 1.0, "no": 0.0}.get(self.reach().state, -1.0)

    def _now_ns(self) -> int:
        return self._mesh.driver.now_ns()


def _yellow(what: str, cause: str, since_ns: int, action: str) -> Trouble:
    return Trouble(level="yellow", what=what, cause=cause, who="owner", since_ns=since_ns, action=action)
