"""The disk of blobs of a node of the world: chunks by place, kept over crashes.

Flow: core -> OpenBlob, ReadChunk, WriteChunk, CloseBlob -> *BlobDisk* -> BlobOpened, ChunkRead, ChunkWritten -> core.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qcommons.mesh.events import BlobOpened, ChunkRead, ChunkWritten, CloseBlob, OpenBlob, ReadChunk, WriteChunk
from qcommons.world.host import Life

if TYPE_CHECKING:
    from qcommons.world.simulator import Simulator

__all__ = ["MANIFEST", "BlobDisk"]

READ_NS = 200_000  # of a chunk: 256 KiB at 1.3 GB/s
MANIFEST = -1  # its place among the chunks


class BlobDisk:
    """All such disks of one world; `host.blobs` holds blob -> place -> bytes."""

    def __init__(self, world: Simulator) -> None:
        self._world = world

    def opened(self, life: Life, effect: OpenBlob, at_ns: int) -> None:
        chunks = life.host.blobs.setdefault(effect.blob, {})
        chunks[MANIFEST] = effect.manifest
        places = [place for place in chunks if place >= 0]
        have = bytearray(max(places, default=-1) // 8 + 1)
        for place in places:
            have[place // 8] |= 1 << place % 8
        self._world.post(at_ns, life, BlobOpened(effect.blob, bytes(have)))

    def read(self, life: Life, effect: ReadChunk, at_ns: int) -> None:
        data = life.host.blobs.get(effect.blob, {}).get(effect.place)
        self._world.post(at_ns + READ_NS, life, ChunkRead(effect.blob, effect.place, data))

    def written(self, life: Life, effect: WriteChunk, at_ns: int) -> None:
        life.host.blobs.setdefault(effect.blob, {})[effect.place] = bytes(effect.data)
        self._world.post(at_ns + READ_NS, life, ChunkWritten(effect.blob, effect.place))

    def closed(self, life: Life, effect: CloseBlob, at_ns: int) -> None:
        """Nothing to do: every chunk is on the disk already."""
