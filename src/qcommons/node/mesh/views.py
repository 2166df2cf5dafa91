"""The mesh as people see it: rows of peers, whether this node can be reached, what is not green and what to do.

Flow: core (peers_view, reach), listener, connections -> *Views* -> door, status, metrics. Every state that is not green
says cause, since when, and the next action.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, cast

from qcommons.base.errors import Unavailable
from qcommons.base.units import NS_PER_S
from qcommons.mesh.invite import make as make_invite
from qcommons.mesh.records import PeerId
from qcommons.mesh.views import PeerView
from qcommons.node.api.mesh_records import (
    InviteView,
    MeshSummary,
    MeshView,
    PeerRow,
    PeerState,
    Quarantine,
    Quarantined,
    ReachView,
    Relation,
    Verdict,
    Window,
    is_near,
)
from qcommons.node.api.records import Trouble
from qcommons.pqc.identity import node_id_of_hash

if TYPE_CHECKING:
    from qcommons.jobs.quarantine import Barred
    from qcommons.node.mesh.service import Mesh

__all__ = ["Views"]

LONELY_NS = 60_000_000_000  # whoever is known but silent for so long is worth a word
# state -> level, what to do. Who acts is in the sentence.
STATES: dict[PeerState, tuple[Literal["green", "yellow", "red"], str]] = {
    "alive": ("green", ""),
    "away": ("green", ""),
    "known": ("yellow", "wait: its first sign of life is still to come"),
    "suspect": ("yellow", "wait: it is asked for again"),
    "lost": ("red", "it is tried for ever; its owner sees why with qcommons doctor there. Gone for good: "
             "qcommons peers forget NODE"),
    "stopped": ("yellow", "nothing: it is here again when its owner starts it. Gone for good: "
                "qcommons peers forget NODE"),
    "banned": ("red", "it comes back by itself when the time is over; sooner: qcommons peers allow NODE"),
    "denied": ("green", ""),
}  # fmt: skip
BARRED = "nothing: it gets work again after that, and more of its answers are checked"
QUARANTINED_MAX = 16  # of the status
VERDICTS: dict[str, Verdict] = {"deny": "deny", "allow": "allow", "": "neither"}


class Views:
    """Of one mesh; asks it at the moment it is asked. barred: whether this node's checks hold a peer in quarantine (at
    a Unix time in seconds); set once the node's core deals with it."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self.barred: Callable[[PeerId, int], Barred | None] = lambda peer, now_s: None
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
        state = cast(PeerState, "denied" if view.state == "banned" and verdict == "deny" else view.state)
        level, action = STATES[state]
        cause = view.cause
        if state in ("lost", "suspect") and view.why_unlinked:
            cause = f"{cause}; {view.why_unlinked}"
        node = node_id_of_hash(view.peer)
        quarantine = self._quarantine(view.peer)
        if quarantine is not None:
            cause = quarantine.why if level == "green" else f"{cause}; {quarantine.why}"
            level, action = "red", action or BARRED
        return PeerRow(
            node=node, level=level, state=state, cause=cause, since_ns=view.since_ns,
            action=action.replace("NODE", node[:16]), relation=self._relation(view),
            round_trip_s=view.round_trip_ns / 1e9 if view.round_trip_ns else None,
            link="direct" if view.link == "direct" else "relayed" if view.link == "relayed" else "none",
            relay=None if view.via is None else node_id_of_hash(view.via), neighbour=view.is_neighbour,
            version=view.version, offers=view.offers, addresses=view.addresses, bytes_in=view.bytes_in,
            bytes_out=self._mesh.connections.bytes_out(view.peer), blame=round(view.blame_points), verdict=verdict,
            away=self._next_away(view.away), quarantine=quarantine,
        )  # fmt: skip

    def _quarantine(self, peer: PeerId) -> Quarantine | None:
        found = self.barred(peer, self._now_ns() // NS_PER_S)
        if found is None:
            return None
        return Quarantine(until_s=found.until_s, why=f"in quarantine here: {found.why}", verdict=found.verdict.hex())

    def _relation(self, view: PeerView) -> Relation:
        """As the core says, which knows of invitations since its start, and as is kept."""
        if view.relation == "stranger" and self._mesh.invitations.has(view.peer):
            return "invited"
        return cast(Relation, view.relation)

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
        rows = [self._row(view) for view in core.peers_view(self._now_ns())]
        states = Counter(row.state for row in rows)
        strangers = Counter(row.state for row in rows if not is_near(row))
        barred = sorted(
            (Quarantined(node=row.node, until_s=row.quarantine.until_s, why=row.quarantine.why)
             for row in rows if row.quarantine is not None),
            key=lambda one: (one.until_s, one.node),
        )  # fmt: skip
        return MeshSummary(
            network=self._mesh.settings.network, peers=dict(sorted(states.items())),
            strangers=dict(sorted(strangers.items())), links=len(tuple(core.linked())),
            neighbours=len(core.neighbours()), reach=self.reach().state, addresses=core.own.addresses(),
            quarantined=tuple(barred[:QUARANTINED_MAX]),
        )  # fmt: skip

    def alone(self) -> Trouble | None:
        """Others are known, and none of them answers: it is this node that is cut off."""
        now_ns, known = self._now_ns(), self.states()
        silent = known["lost"] + known["suspect"]
        if not silent or known["alive"]:
            self._alone_since_ns = None
            return None
        self._alone_since_ns = self._alone_since_ns or now_ns
        if now_ns - self._alone_since_ns <= LONELY_NS:
            return None
        cause = f"none of {silent} known peers answers"
        action = "check the network of this machine; the node goes on trying. See: qcommons peers --all"
        return _yellow("alone in the mesh", cause, self._alone_since_ns, action)

    def troubles(self) -> list[Trouble]:
        """What of this node's end is not green: no address, a clock that was set back."""
        mesh, now_ns = self._mesh, self._now_ns()
        found: list[Trouble] = []
        reach = self.reach()
        if not mesh.listener.listening:
            found.append(_yellow("others cannot reach this node", reach.cause, reach.since_ns, reach.action))
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
