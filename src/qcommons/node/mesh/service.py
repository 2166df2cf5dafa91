"""One node's mesh, from start to stop: key and settings become a core with sockets, disk, timers and a door.

Flow: daemon -> *start_mesh* -> Mesh (core, driver, connections, listener, LAN, blobs, door) -> ... -> `stop`. All that
is heavy (OpenSSL through pyOpenSSL, zeroconf) is loaded by importing this module, so a node whose mesh is off stays
small.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path

from qcommons.base.effects import Note, Send
from qcommons.base.seeds import stream
from qcommons.base.version import package_version
from qcommons.jobs.asks import Ask as WorkAsk
from qcommons.jobs.work_events import Sharing
from qcommons.mesh.assembly import standard_parts
from qcommons.mesh.core import MeshCore
from qcommons.mesh.crypto import NodeCrypto
from qcommons.mesh.doorkeeper import Doorkeeper
from qcommons.mesh.events import Begin, Leave, MyAddresses, MyOffers, News, OpenDoor, Reached
from qcommons.mesh.records import PeerId
from qcommons.mesh.tls import TlsContext, check_openssl
from qcommons.node.dev import check_loopback, is_dev
from qcommons.node.mesh.asks import Asks
from qcommons.node.mesh.blob_files import BlobFiles
from qcommons.node.mesh.clock import MeshClock
from qcommons.node.mesh.connections import Connections
from qcommons.node.mesh.door import Door
from qcommons.node.mesh.driver import Driver
from qcommons.node.mesh.invitations import Invitations
from qcommons.node.mesh.keeper import Keeper
from qcommons.node.mesh.lan import Lan
from qcommons.node.mesh.listener import Listener
from qcommons.node.mesh.measuring import PROTOCOL as MEASURE
from qcommons.node.mesh.measuring import Measuring
from qcommons.node.mesh.notes import readable
from qcommons.node.mesh.papers import Papers
from qcommons.node.mesh.settings import MeshSettings
from qcommons.node.mesh.twin import Twin
from qcommons.node.mesh.views import Views
from qcommons.node.mesh.work_door import Tell, WorkDoor
from qcommons.node.store import Store
from qcommons.pqc.identity import NodeKey

__all__ = ["Mesh", "start_mesh"]

PORT_KEY = "mesh-node/port"
MET = ("linked", "alive")  # states of whom an invitation has led to: its record says from now on where it is
SECRET_BYTES = 32
CLOCK_LOOK_S = 1.0
LEAVE_S = 0.2  # for the goodbyes to go out


class Mesh:
    """Made by `start_mesh`. on_log: name and facts of a line of the log."""

    def __init__(
        self,
        settings: MeshSettings,
        key: NodeKey,
        disk: Store,
        home: Path,
        on_log: Callable[..., None],
        on_fault: Callable[[BaseException], None],
    ) -> None:
        self.settings, self._disk, self._on_log = settings, disk, on_log
        self.clock = MeshClock()
        self._keeper = Keeper(disk, lambda count: on_log("mesh_store_dropped", count=count))
        crypto = NodeCrypto(key, settings.network, secrets.token_bytes)
        rng = stream(secrets.randbits(128), "mesh")
        parts = partial(standard_parts, relays=settings.relay)
        self.core = MeshCore(crypto, settings.network, package_version(), rng, make_parts=parts)
        self.driver = Driver(self.core, self.clock, self._keeper, on_note=self._note, on_fault=on_fault)
        self.doorkeeper = Doorkeeper(secrets.token_bytes(SECRET_BYTES))
        self.connections = Connections(
            TlsContext(key), self.doorkeeper, self.driver.deliver, self.driver.now_ns, on_log
        )  # fmt: skip
        self.driver.begin(self.connections)
        self._blobs = BlobFiles(home / "blobs", self.driver.deliver)
        self.connections.blobs = self._blobs
        self.listener = Listener(
            settings.listen, settings.port, self.connections.make_pipe, on_change=self._moved, on_note=on_log
        )
        self.lan = Lan(settings.network, key.id, self._found, on_log)
        measuring = Measuring(self.driver, self._blobs, secrets.token_bytes)
        self.driver.doors = {"mesh": self._news, f"door/{MEASURE}": lambda send: measuring.asked(send.message)}
        self.papers = Papers(
            key, settings.network, self.driver, disk, home, secrets.token_bytes, self._note, on_log
        )  # fmt: skip
        self.invitations = Invitations(disk, on_log)
        self.asks = Asks(key, settings.network, settings.sharing, self.driver, disk, rng, self._note)
        self.views = Views(self)
        self.door = Door(
            self.driver, self.views, measuring, self.papers, self.asks, settings.network, self.invitations,
            self.connections.sever if is_dev(home) else None,
        )  # fmt: skip
        self.work: WorkDoor | None = None
        self.met: set[PeerId] = set()  # peers that were here since the start; no more than the book holds
        self.twin = Twin(self.driver.now_ns())
        self._announcing: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, offers: tuple[str, ...]) -> None:
        """Raises UsageError for a setting that cannot be."""
        deliver = self.driver.deliver
        deliver(Begin(self._keeper.kept()))
        deliver(OpenDoor(MEASURE))
        deliver(MyOffers(offers))
        self.papers.start()
        self.asks.start()
        last = self._disk.get(PORT_KEY)
        await self.listener.start(None if last is None else int.from_bytes(last, "big"))
        if self.listener.port:
            self._disk.apply([(PORT_KEY, self.listener.port.to_bytes(2, "big"))])
        for address in self.settings.bootstrap:
            deliver(Reached("", address, None, bootstrap=True))
        self.invitations.read()
        for invite in self.invitations.pending():
            for address in invite.addresses:
                deliver(Reached("", address, PeerId(invite.peer), bootstrap=True))
        self._tasks.append(asyncio.get_running_loop().create_task(self._follow_clock()))
        self._on_log("mesh_ready", network=self.settings.network, listening=" ".join(self.listener.listening))

    async def stop(self) -> None:
        """Say goodbye to all, close everything."""
        for task in [*self._tasks, *([self._announcing] if self._announcing else [])]:
            task.cancel()
        with contextlib.suppress(Exception):  # it stops, whatever goodbye could not be said
            self.driver.deliver(Leave("the node stops"))
            await asyncio.sleep(LEAVE_S)
        if self.work is not None:
            self.work.close()
        self.papers.stop()
        self.asks.stop()
        await self.listener.close()
        await self.connections.close()
        self.driver.close()
        await self.lan.close()
        self._blobs.close()

    def open_work(
        self, tell: Tell, now_ns: Callable[[], int], sharing: Callable[[WorkAsk | None], Sharing]
    ) -> WorkDoor:
        """Doors for work between nodes, once the node's core can answer. tell: gives it an event. now_ns: its clock.
        sharing: what the owner says of work for others, given this node's own ask."""
        self.work = WorkDoor(self.driver, tell, now_ns, self.asks.of, lambda: sharing(self.asks.offered("work")))
        self.work.start()
        return self.work

    @property
    def store_waiting(self) -> int:
        """Answers of the core that wait for the disk."""
        return self._keeper.waiting

    # what happens

    def _moved(self, addresses: tuple[str, ...]) -> None:
        """The addresses of this node are others than before."""
        self.driver.deliver(MyAddresses(addresses))
        if self.settings.mdns and self.settings.listen != "loopback":
            if self._announcing is not None:
                self._announcing.cancel()
            hosts = [host for host in self.listener.hosts if host not in ("127.0.0.1", "::1")]
            self._announcing = asyncio.get_running_loop().create_task(self.lan.announce(hosts, self.listener.port))

    def _found(self, address: str, peer: PeerId) -> None:
        self.driver.deliver(Reached("", address, peer))

    def _news(self, send: Send) -> None:
        news = send.message
        if self.work is not None:
            self.work.changed()
        if isinstance(news, News):
            if news.state in MET:
                self.met.add(news.peer)
                self.asks.met(news.peer)
                self.invitations.met(news.peer)
                entry = self.core.book.entries.get(news.peer)
                if entry is not None and entry.proven in self.settings.bootstrap:
                    self.invitations.answered(news.peer, entry.proven, self.driver.now_ns())
            elif news.state == "forgotten":
                self.met.discard(news.peer)
            self._on_log("mesh_peer", **readable({"peer": news.peer.hex(), "state": news.state, "cause": news.cause}))

    def _note(self, note: Note) -> None:
        if note.name == "mesh_own_record_seen":
            self.twin.seen(int(str(note.facts["seq"])), self.driver.now_ns())
        self._on_log(note.name, **readable(note.facts))

    async def _follow_clock(self) -> None:
        while True:
            ahead_ns = self.clock.follow()
            if ahead_ns:
                self._on_log("mesh_clock_followed", ahead_s=ahead_ns / 1e9)
            await asyncio.sleep(CLOCK_LOOK_S)


async def start_mesh(
    settings: MeshSettings,
    key: NodeKey,
    disk: Store,
    home: Path,
    offers: tuple[str, ...],
    on_log: Callable[..., None],
    on_fault: Callable[[BaseException], None],
) -> Mesh:
    """A mesh that listens and joins.

    Raises:
        UsageError: a setting that cannot be. Unavailable: this machine's OpenSSL has no post-quantum TLS.
    """
    check_loopback(home, settings.listen)
    check_openssl()
    mesh = Mesh(settings, key, disk, home, on_log, on_fault)
    try:
        await mesh.start(offers)
    except BaseException:
        await mesh.stop()
        raise
    return mesh
