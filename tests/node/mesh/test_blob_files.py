"""Blobs on disk: whole ones are read, partial ones go on with what is good, nothing fills the owner's disk."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from qcommons.mesh.events import BlobOpened, ChunkRead, ChunkWritten, CloseBlob, OpenBlob, ReadChunk, WriteChunk
from qcommons.mesh.manifest import CHUNK_BYTES, blob_id, write_manifest
from qcommons.node.mesh import blob_files as module
from qcommons.node.mesh.blob_files import BlobFiles

DATA = bytes(range(256)) * 2048 + b"the end"  # two chunks and a bit
CHUNKS = [DATA[at : at + CHUNK_BYTES] for at in range(0, len(DATA), CHUNK_BYTES)]
MANIFEST = write_manifest(CHUNKS)
BLOB = blob_id(MANIFEST)


class Disk:
    """BlobFiles whose answers are waited for one by one."""

    def __init__(self, folder: Path) -> None:
        self.answers: asyncio.Queue[Any] = asyncio.Queue()
        self.files = BlobFiles(folder, self.answers.put_nowait)

    async def said(self, effect: Any) -> Any:
        self.files.carry_out(effect)
        return await asyncio.wait_for(self.answers.get(), 5)


def play(folder: Path, scene: Callable[[Disk], Awaitable[None]]) -> None:
    async def run() -> None:
        disk = Disk(folder)
        try:
            await scene(disk)
        finally:
            disk.files.close()

    asyncio.run(run())


def test_chunks_written_in_any_order_read_back_after_a_restart(tmp_path: Path) -> None:
    folder = tmp_path / "blobs"

    async def write(disk: Disk) -> None:
        assert await disk.said(OpenBlob(BLOB, MANIFEST)) == BlobOpened(BLOB, b"\0")
        assert await disk.said(ReadChunk(b"x" * 32, 0)) == ChunkRead(b"x" * 32, 0, None)
        for place in (2, 0, 1):
            assert await disk.said(WriteChunk(BLOB, place, CHUNKS[place])) == ChunkWritten(BLOB, place)
        disk.files.carry_out(CloseBlob(BLOB, whole=True))

    async def read(disk: Disk) -> None:
        assert (await disk.said(ReadChunk(BLOB, -1))).data == MANIFEST
        assert [(await disk.said(ReadChunk(BLOB, place))).data for place in range(3)] == CHUNKS
        assert (await disk.said(ReadChunk(BLOB, 3))).data is None

    play(folder, write)
    play(folder, read)
    for path in folder.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_what_is_damaged_is_fetched_again_and_the_rest_is_not(tmp_path: Path) -> None:
    async def write(disk: Disk) -> None:
        await disk.said(OpenBlob(BLOB, MANIFEST))
        for place in (0, 1):
            await disk.said(WriteChunk(BLOB, place, CHUNKS[place]))
        disk.files.carry_out(CloseBlob(BLOB, whole=False))

    play(tmp_path, write)
    data = tmp_path / BLOB.hex() / "data"
    raw = bytearray(data.read_bytes())
    raw[CHUNK_BYTES + 5] ^= 1
    data.write_bytes(raw)

    async def again(disk: Disk) -> None:
        assert (await disk.said(ReadChunk(BLOB, 0))).data is None, "it is not whole, so it is served to nobody"
        assert await disk.said(OpenBlob(BLOB, MANIFEST)) == BlobOpened(BLOB, b"\x01")

    play(tmp_path, again)


def test_a_chunk_that_the_disk_changed_is_not_given_away_and_the_blob_is_whole_no_more(tmp_path: Path) -> None:
    async def scene(disk: Disk) -> None:
        assert await disk.files.add(DATA) == BLOB
        assert (await disk.said(ReadChunk(BLOB, 3))).data is None  # beyond the end: no damage
        assert (await disk.said(ReadChunk(BLOB, 0))).data == CHUNKS[0]
        with (tmp_path / BLOB.hex() / "data").open("r+b") as file:
            file.seek(CHUNK_BYTES + 5)
            file.write(b"?")
        assert (await disk.said(ReadChunk(BLOB, 1))).data is None
        assert not (tmp_path / BLOB.hex() / "whole").exists()
        assert (await disk.said(ReadChunk(BLOB, 0))).data is None
        opened = await disk.said(OpenBlob(BLOB, MANIFEST))  # fetched again: the damaged chunk alone
        assert opened == BlobOpened(BLOB, bytes([0b101]))

    play(tmp_path, scene)


def test_own_bytes_become_a_blob_and_go_again(tmp_path: Path) -> None:
    async def scene(disk: Disk) -> None:
        assert await disk.files.add(DATA) == BLOB
        assert (await disk.said(ReadChunk(BLOB, 1))).data == CHUNKS[1]
        assert await disk.files.holds(BLOB)
        await disk.files.remove(BLOB)
        assert (await disk.said(ReadChunk(BLOB, 1))).data is None

    play(tmp_path, scene)


def test_no_more_is_taken_than_allowed(tmp_path: Path, monkeypatch: Any) -> None:
    async def scene(disk: Disk) -> None:
        disk.files.cap(BLOB, 1000)
        assert "allowed" in (await disk.said(OpenBlob(BLOB, MANIFEST))).failed
        disk.files.cap(BLOB, None)
        monkeypatch.setattr(module, "TOTAL_BYTES_MAX", len(DATA) + 1)
        other = await disk.files.add(b"x" * 100)
        assert "kept" in (await disk.said(OpenBlob(BLOB, MANIFEST))).failed
        await disk.files.remove(other)
        monkeypatch.setattr(module, "FREE_BYTES_MIN", 1 << 62)
        monkeypatch.setattr(module, "TOTAL_BYTES_MAX", 1 << 40)
        assert "free" in (await disk.said(OpenBlob(BLOB, MANIFEST))).failed
        assert (await disk.said(WriteChunk(BLOB, 0, b"x"))).failed == "the blob is not open"

    play(tmp_path, scene)
