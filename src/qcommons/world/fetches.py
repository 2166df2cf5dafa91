"""Fetches: blobs that nodes get from each other, and whether what came is what was there.

Flow: scenario with `fetch_s` -> *Fetches*: a blob lies on some disks; at random times another node is told `BlobWanted`
-> core (`mesh/blobs.py`) -> BlobCame | Failed -> its disk is compared here. During faults a fetch may fail, with a
cause; what came must be right, and when all is well it must come.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from qcommons.base.seeds import stream
from qcommons.mesh.events import BlobCame, BlobWanted, Failed
from qcommons.mesh.manifest import CHUNK_BYTES, blob_id, write_manifest
from qcommons.world.blobdisk import MANIFEST
from qcommons.world.draws import Draws
from qcommons.world.host import Host, Life

if TYPE_CHECKING:
    from qcommons.world.stage import Stage

__all__ = ["RULES", "Fetches"]

S_NS = 10**9
SIZES = (CHUNK_BYTES, CHUNK_BYTES, 1_000)  # of the chunks of each blob
COPIES = 2  # disks on which it lies at first
SOURCES = 3  # named to who wants it
WITHIN_NS = 20 * S_NS
LATE_NS = S_NS
CALM = 3  # fetches when all is well

RULES: dict[str, str] = {
    "right blob": "a blob that came is the one asked for, byte for byte, and a fetch ends once, by its deadline",
    "fetched": "when all is well, blobs come",
}


class Fetches:
    """asked: ticket -> (life, blob, until when). ended: ticket -> whether it came."""

    def __init__(self, stage: Stage) -> None:
        self.asked: dict[str, tuple[Life, bytes, int]] = {}
        self.ended: dict[str, bool] = {}
        self._stage = stage
        self._draws = Draws(stream(stage.seed, "world", "fetches"))
        self._blobs: dict[bytes, dict[int, bytes]] = {}
        self.is_on = stage.scenario.fetch_s > 0
        if self.is_on:
            stage.world.handed[BlobWanted] = [self._begun]
            stage.world.heard.setdefault(BlobCame, []).append(self._came)
            stage.world.heard.setdefault(Failed, []).append(self._failed)

    def begin(self) -> None:
        """Fetches at random times, until the faults are over."""
        if self.is_on:
            self._later()

    def calm(self) -> None:
        """Some at once, when all is well."""
        live, world = self._stage.live(), self._stage.world
        if not self.is_on or len(live) < 2:
            return
        blob = self._make(live)
        tickets = [self._fetch(host, blob) for host in self._lacking(live, blob)[:CALM]]
        world.run(world.now_ns + WITHIN_NS + 2 * S_NS)
        for ticket in tickets:
            if not self.ended.get(ticket):
                node = self.asked[ticket][0].host.index
                world.violated("fetched", node, f"{ticket} did not come though all was well")

    def finish(self) -> None:
        """At the end of the run: what has not ended by now."""
        now_ns = self._stage.world.now_ns
        for ticket, (life, _, until_ns) in self.asked.items():
            if ticket not in self.ended and not life.dead and now_ns > until_ns + LATE_NS:
                self._stage.world.violated("right blob", life.host.index, f"{ticket} never ended")

    def rules(self) -> tuple[str, ...]:
        """Names of what is checked here."""
        return tuple(RULES) if self.is_on else ()

    def measures(self) -> dict[str, float]:
        """Figures of the report."""
        if not self.is_on:
            return {}
        return {"blobs wanted": len(self.asked), "blobs that came": sum(self.ended.values())}

    def _later(self) -> None:
        after_ns = int(self._draws.exponential(self._stage.scenario.fetch_s) * S_NS) + 1
        self._stage.world.call(self._stage.world.now_ns + after_ns, self._again)

    def _again(self) -> None:
        """One more node wants the newest blob; where all have it, there is another."""
        if self._stage.over:
            return
        live = self._stage.live()
        if len(live) > 1:
            blob = next(reversed(self._blobs), b"")
            if not self._lacking(live, blob):
                blob = self._make(live)
            self._fetch(self._draws.one(self._lacking(live, blob)), blob)
        self._later()

    def _lacking(self, live: list[Host], blob: bytes) -> list[Host]:
        whole = self._blobs.get(blob)
        return [host for host in live if host.blobs.get(blob) != whole] if whole else []

    def _make(self, live: list[Host]) -> bytes:
        """A new blob, on the disks of some, but not of all."""
        seed = f"qcommons/world/blob {self._stage.seed} {len(self._blobs)}".encode()
        chunks = [hashlib.shake_256(seed + bytes([place])).digest(size) for place, size in enumerate(SIZES)]
        manifest = write_manifest(chunks)
        blob = blob_id(manifest)
        self._blobs[blob] = {**dict(enumerate(chunks)), MANIFEST: manifest}
        for host in self._draws.some(live, min(COPIES, len(live) - 1)):
            host.blobs[blob] = dict(self._blobs[blob])
        return blob

    def _fetch(self, host: Host, blob: bytes) -> str:
        whole, world = self._blobs[blob], self._stage.world
        having = [other for other in world.hosts if other.blobs.get(blob) == whole]
        sources = tuple(other.peer for other in self._draws.some(having, SOURCES))
        ticket = f"fetch-{len(self.asked)}"
        assert host.life is not None
        self.asked[ticket] = (host.life, blob, world.now_ns + WITHIN_NS)
        world.tell(host, BlobWanted(ticket, blob, sources, WITHIN_NS))
        return ticket

    def _begun(self, life: Life, event: BlobWanted, at_ns: int) -> None:
        """The core hears of it: late, where it is frozen."""
        self.asked[event.ticket] = (life, event.blob, at_ns + event.within_ns)

    def _came(self, life: Life, to: str, what: BlobCame, at_ns: int) -> None:
        _, blob, _ = self.asked[to]
        if what.blob != blob or life.host.blobs.get(blob) != self._blobs[blob]:
            self._stage.world.violated("right blob", life.host.index, f"{to}: other bytes than those asked for")
        self._end(life, to, True, at_ns)

    def _failed(self, life: Life, to: str, what: Failed, at_ns: int) -> None:
        if to in self.asked:
            self._end(life, to, False, at_ns)

    def _end(self, life: Life, to: str, came: bool, at_ns: int) -> None:
        asker, _, until_ns = self.asked[to]
        if to in self.ended or asker is not life:
            self._stage.world.violated("right blob", life.host.index, f"{to} ended again")
        if at_ns > max(until_ns, life.busy_ns) + LATE_NS:
            late_s = (at_ns - until_ns) / S_NS
            self._stage.world.violated("right blob", life.host.index, f"{to} ended {late_s:.1f} s late")
        self.ended[to] = came
