"""Blobs on disk: a folder for each, named by its id, with its manifest and its bytes.

Flow: core -> OpenBlob, ReadChunk, WriteChunk, CloseBlob -> *BlobFiles* (one thread of its own) -> BlobOpened,
ChunkRead, ChunkWritten -> core. A blob that is not whole goes on another time: what is there is found by hashing it
again, so that no file says what could be wrong. Nothing here is synced: what a crash loses is fetched again. A chunk is
hashed before it is given away too: on a disk that forgot, the blob is no longer whole, and no peer takes us for a liar.

    blobs/HEX/manifest     canonical bytes; their SHA3-256 is the id
    blobs/HEX/data         chunk i at i * 256 KiB
    blobs/HEX/whole        there once all of it is there
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from qcommons.base.errors import QCommonsError, Unavailable
from qcommons.base.units import bytes_text
from qcommons.mesh.events import (
    BlobOpened,
    ChunkRead,
    ChunkWritten,
    CloseBlob,
    Effect,
    Event,
    OpenBlob,
    ReadChunk,
    WriteChunk,
)
from qcommons.mesh.manifest import CHUNK_BYTES, Manifest, blob_id, read_manifest, write_manifest

__all__ = ["BlobFiles"]

TOTAL_BYTES_MAX = 8 << 30  # of all blobs: twice the largest
FREE_BYTES_MIN = 1 << 30  # a node never fills the disk of its owner
WHOLE = "whole"


class BlobFiles:
    """deliver: gives the core an event, on the loop. The folder is made when the first blob comes."""

    def __init__(self, folder: Path, deliver: Callable[[Event], None]) -> None:
        self._folder, self._deliver = folder, deliver
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="qcommons blobs")
        self._files: dict[bytes, int] = {}  # blob -> descriptor, of the thread alone
        self._manifests: dict[bytes, Manifest] = {}  # of blobs that are given away, likewise
        self._caps: dict[bytes, int] = {}
        self._closed = False

    def carry_out(self, effect: Effect) -> None:
        """One of the four effects; its answer comes as an event."""
        if not self._closed:
            self._thread.submit(self._do, effect)

    def cap(self, blob: bytes, bytes_max: int | None) -> None:
        """No more than this is kept of a blob that comes; None: as of any other."""
        if bytes_max is None:
            self._caps.pop(blob, None)
        else:
            self._caps[blob] = bytes_max

    async def add(self, data: bytes) -> bytes:
        """Keep bytes of our own as a blob; its id. Raises Unavailable where there is no room."""
        return await self._loop.run_in_executor(self._thread, self._add, data)

    async def holds(self, blob: bytes) -> bool:
        """Whether anything of it is kept."""
        return await self._loop.run_in_executor(self._thread, self._place(blob).exists)

    async def remove(self, blob: bytes) -> None:
        await self._loop.run_in_executor(self._thread, self._remove, blob)

    def close(self) -> None:
        """After what is queued."""
        self._closed = True
        self._thread.shutdown(wait=True)
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()
        self._manifests.clear()

    # on the thread

    def _do(self, effect: Effect) -> None:
        match effect:
            case ReadChunk(blob, place):
                self._tell(ChunkRead(blob, place, self._read(blob, place)))
            case WriteChunk(blob, place, data):
                self._tell(ChunkWritten(blob, place, self._write(blob, place, data)))
            case OpenBlob(blob, manifest):
                self._tell(self._open(blob, manifest))
            case CloseBlob(blob, whole):
                self._end(blob, whole)

    def _tell(self, event: Event) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
            self._loop.call_soon_threadsafe(self._deliver, event)

    def _place(self, blob: bytes) -> Path:
        return self._folder / blob.hex()

    def _read(self, blob: bytes, place: int) -> bytes | None:
        folder = self._place(blob)
        try:
            if place < 0:
                return (folder / "manifest").read_bytes()
            descriptor = self._files.get(blob)
            if descriptor is None:
                if not (folder / WHOLE).exists():
                    return None
                descriptor = self._files[blob] = os.open(folder / "data", os.O_RDWR | os.O_CLOEXEC)
            if blob not in self._manifests:
                self._manifests[blob] = read_manifest((folder / "manifest").read_bytes(), blob)
            manifest = self._manifests[blob]
            if place >= manifest.chunks:
                return None
            data = os.pread(descriptor, CHUNK_BYTES, place * CHUNK_BYTES)
            if manifest.fits(place, data):
                return data
            self._end(blob, whole=False)
            (folder / WHOLE).unlink(missing_ok=True)
        except (OSError, QCommonsError):
            pass
        return None

    def _write(self, blob: bytes, place: int, data: bytes | memoryview) -> str | None:
        descriptor = self._files.get(blob)
        if descriptor is None:
            return "the blob is not open"
        try:
            written = os.pwrite(descriptor, data, place * CHUNK_BYTES)
        except OSError as error:
            return error.strerror or "cannot be written"
        return None if written == len(data) else "the disk took a part only"

    def _open(self, blob: bytes, raw: bytes) -> BlobOpened:
        folder = self._place(blob)
        try:
            manifest = read_manifest(raw, blob)
            self._make_room(manifest.size, self._caps.get(blob, TOTAL_BYTES_MAX))
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(folder / "manifest", raw)
            if blob not in self._files:
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
                self._files[blob] = os.open(folder / "data", flags, 0o600)
            have = self._have(self._files[blob], manifest)
            os.ftruncate(self._files[blob], manifest.size)
        except OSError as error:
            return BlobOpened(blob, failed=f"cannot be kept: {error.strerror}")
        except QCommonsError as error:
            return BlobOpened(blob, failed=str(error))
        return BlobOpened(blob, have)

    def _have(self, descriptor: int, manifest: Manifest) -> bytes:
        """Bit i of the answer: chunk i is there, by its hash."""
        bits = bytearray((manifest.chunks + 7) // 8)
        there = min(manifest.chunks, os.fstat(descriptor).st_size // CHUNK_BYTES + 1)
        for place in range(there):
            if manifest.fits(place, os.pread(descriptor, manifest.length(place), place * CHUNK_BYTES)):
                bits[place // 8] |= 1 << place % 8
        return bytes(bits)

    def _end(self, blob: bytes, whole: bool) -> None:
        descriptor = self._files.pop(blob, None)
        self._manifests.pop(blob, None)
        if descriptor is not None:
            os.close(descriptor)
        if whole:
            with contextlib.suppress(OSError):
                (self._place(blob) / WHOLE).touch(mode=0o600)

    def _make_room(self, size_bytes: int, bytes_max: int = TOTAL_BYTES_MAX) -> None:
        """Raises Unavailable."""
        if size_bytes > bytes_max:
            limit = bytes_text(bytes_max)
            raise Unavailable(f"a blob of {bytes_text(size_bytes)}; allowed {limit}", where="blobs", limit=limit)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = sum(path.stat().st_size for path in self._folder.glob("*/data"))
        if held + size_bytes > TOTAL_BYTES_MAX:
            limit = bytes_text(TOTAL_BYTES_MAX)
            what = f"blobs of {bytes_text(held)} are kept, {bytes_text(size_bytes)} more are too much; allowed {limit}"
            raise Unavailable(what, where="blobs", limit=limit)
        free = shutil.disk_usage(self._folder).free
        if free - size_bytes < FREE_BYTES_MIN:
            limit = f"{bytes_text(FREE_BYTES_MIN)} left free"
            raise Unavailable(f"the disk has {bytes_text(free)} free; needed {limit}", where="blobs", limit=limit)

    def _add(self, data: bytes) -> bytes:
        raw = write_manifest(data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES))
        blob = blob_id(raw)
        self._make_room(len(data))
        folder = self._place(blob)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name, part in (("manifest", raw), ("data", data), (WHOLE, b"")):
                _write(folder / name, part)
        except OSError as error:
            raise Unavailable(f"cannot be kept: {error.strerror}", where=str(folder)) from error
        return blob

    def _remove(self, blob: bytes) -> None:
        self._end(blob, whole=False)
        shutil.rmtree(self._place(blob), ignore_errors=True)


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
