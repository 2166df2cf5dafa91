"""Where a node's mesh is, or why there is none: what daemon, status and metrics know of it. Light.

Flow: daemon -> *MeshSlot* -> service (loaded when the mesh starts) -> door, summary, troubles, gauges.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from qcommons.base.errors import QCommonsError, Unavailable, UsageError, raised_at
from qcommons.jobs.work_events import Offline, Sharing
from qcommons.node.api.mesh_door import MeshDoor
from qcommons.node.api.mesh_records import MeshSummary
from qcommons.node.api.records import Trouble
from qcommons.node.health import Pending, invite_trouble, lost_trouble
from qcommons.node.mesh.settings import MeshSettings
from qcommons.pqc.identity import node_id_of_hash

if TYPE_CHECKING:
    from qcommons.jobs.asks import Ask
    from qcommons.node.mesh.service import Mesh
    from qcommons.node.shell import Shell
    from qcommons.node.store import Store
    from qcommons.pqc.identity import NodeKey

__all__ = ["GAUGES", "MeshSlot"]


LABELLED = "qcommons_mesh_peers"
STATES = ("known", "alive", "suspect", "lost", "stopped", "away", "banned")
GAUGES = (
    "qcommons_mesh_links", "qcommons_mesh_neighbours", "qcommons_mesh_handshakes_half_open", "qcommons_mesh_bytes_in",
    "qcommons_mesh_bytes_out", "qcommons_mesh_handshakes", "qcommons_mesh_refused", "qcommons_mesh_puzzles",
    "qcommons_mesh_store_waiting", "qcommons_mesh_reachable",
)  # fmt: skip


class MeshSlot:
    """count: counts a metric. on_log: name and facts of a line of the log."""

    def __init__(self, on_log: Callable[..., None]) -> None:
        self._on_log = on_log
        self._mesh: Mesh | None = None
        self._why = "the mesh is not started yet; try again in a moment"
        self._trouble: Trouble | None = None

    async def start(
        self, settings: MeshSettings, key: NodeKey, disk: Store, home: Path, offers: Callable[[], tuple[str, ...]]
    ) -> None:
        """Raises UsageError for a setting that cannot be; anything else is a trouble, and the node serves without."""
        if not settings.enabled:
            self._why = "the mesh is off; turn it on: qcommons config set mesh.enabled true, then restart the node"
            return
        from qcommons.node.mesh.service import start_mesh

        try:
            self._mesh = await start_mesh(settings, key, disk, home, offers(), self._on_log, self._fault)
        except UsageError:
            raise
        except QCommonsError as error:
            self._why = f"the mesh could not start: {error}"
            self._red("the mesh could not start", str(error), error.who, "see qcommons doctor; restart the node after")
            self._on_log("mesh_not_started", why=str(error))

    async def stop(self) -> None:
        if self._mesh is not None:
            await self._mesh.stop()

    def open_work(self, shell: Shell, sharing: Callable[[Ask | None], Sharing]) -> None:
        """Work between nodes, where there is a mesh; where there is none, the node's core hears why."""
        if self._mesh is None:
            shell.deliver(Offline(self._why))
            return
        door = self._mesh.open_work(shell.deliver, shell.clock.now_ns, sharing)
        self._mesh.asks.is_proven = shell.core.dealing.is_proven
        self._mesh.views.barred = shell.core.dealing.barred
        shell.open_work(door.send, door.key_of)

    @property
    def door(self) -> MeshDoor:
        """Raises Unavailable where the mesh is off."""
        if self._mesh is None:
            raise Unavailable(self._why, where="mesh")
        return self._mesh.door

    def summary(self) -> MeshSummary | None:
        return None if self._mesh is None else self._mesh.views.summary()

    def troubles(self) -> list[Trouble]:
        """What of it is not green."""
        if self._trouble is not None:
            return [self._trouble]
        return [] if self._mesh is None else _troubles(self._mesh)

    def gauges(self) -> Mapping[str, Callable[[], float]]:
        """Name of a metric -> its value now; 0 while there is no mesh."""

        def reader(name: str) -> Callable[[], float]:
            return lambda: 0.0 if self._mesh is None else self._mesh.views.figure(name)

        return {name: reader(name) for name in GAUGES}

    def states(self) -> Mapping[str, Callable[[], float]]:
        """State -> how many peers are in it."""

        def reader(state: str) -> Callable[[], float]:
            return lambda: 0.0 if self._mesh is None else float(self._mesh.views.states()[state])

        return {state: reader(state) for state in STATES}

    def _fault(self, error: BaseException) -> None:
        """An error of ours in the core: the rest of the node goes on."""
        cause = f"{type(error).__name__}: {error}"
        self._red("the mesh stopped by its own fault", cause, "qcommons", "see qcommons logs, then restart the node")
        if self._mesh is not None and self._mesh.work is not None:
            self._mesh.work.stop(
                f"the mesh stopped by its own fault: {cause}; see qcommons logs, then restart the node"
            )
        self._on_log("mesh_fault", error=cause, at=raised_at(error))

    def _red(self, what: str, cause: str, who: str, action: str) -> None:
        self._trouble = Trouble(
            level="red", what=what, cause=cause, who=who, since_ns=time.time_ns(), action=action
        )  # fmt: skip


def _troubles(mesh: Mesh) -> list[Trouble]:
    """Of the mesh itself, of a second node with this key, of peers that vanished, of invitations nobody answered."""
    now_ns = mesh.driver.now_ns()
    pending = [Pending(node_id_of_hash(one.peer), one.addresses, one.since_ns or mesh.twin.started_ns)
               for one in mesh.invitations.pending()]  # fmt: skip
    met = {node_id_of_hash(peer) for peer in mesh.met}  # who was gone before this start may have said goodbye then
    alone = mesh.views.alone()  # then it is this node that is cut off, and not its peers that are lost
    lost = lost_trouble((row for row in mesh.views.mesh().peers if row.node in met), now_ns) if alone is None else alone
    more = (lost, mesh.twin.trouble(now_ns), invite_trouble(pending, now_ns))
    return [*mesh.views.troubles(), *(trouble for trouble in more if trouble is not None)]
