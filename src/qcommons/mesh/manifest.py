"""Manifest: what a blob consists of; its hash is the blob's name.

Flow: whoever has the bytes -> *write_manifest* -> *blob_id*; who wants them: "blob/1" => *read_manifest* -> each chunk
is checked by its own hash as it comes, from whomever.

    [size: bytes, chunk_bytes: 262,144, hashes: SHA-256 of each chunk, one after another]     canonical CBOR

SHA-256 (FIPS 180-4) for chunks, since processors have instructions for it (1.7 GB/s against 0.26 GB/s of SHA3-256);
SHA3-256 for the name, as for all names here. docs/protocol/blobs.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

from qcommons.base.canonical import decode_record, encode_record
from qcommons.base.errors import PeerError, UsageError

__all__ = [
    "CHUNKS_MAX",
    "CHUNK_BYTES",
    "MANIFEST_BYTES_MAX",
    "SIZE_MAX",
    "Manifest",
    "blob_id",
    "read_manifest",
    "write_manifest",
]

CHUNK_BYTES = 256 << 10  # the longest that the wire lets one frame hold back others: 1 ms at 2 Gbit/s
SIZE_MAX = 4 << 30
CHUNKS_MAX = SIZE_MAX // CHUNK_BYTES
HASH_BYTES = 32
MANIFEST_BYTES_MAX = CHUNKS_MAX * HASH_BYTES + 32  # half a MiB, so that it fits one answer


class Manifest(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """size: of the blob, bytes. hashes: SHA-256 of each chunk, one after the other."""

    size: int
    chunk_bytes: int
    hashes: bytes

    @property
    def chunks(self) -> int:
        return len(self.hashes) // HASH_BYTES

    def length(self, place: int) -> int:
        """Bytes of a chunk; all are whole but the last."""
        return min(CHUNK_BYTES, self.size - place * CHUNK_BYTES)

    def fits(self, place: int, data: bytes | memoryview) -> bool:
        """Whether these are the bytes of the chunk at `place`."""
        at = place * HASH_BYTES
        return len(data) == self.length(place) and hashlib.sha256(data).digest() == self.hashes[at : at + HASH_BYTES]


def blob_id(manifest: bytes) -> bytes:
    """SHA3-256 of the manifest's canonical bytes, 32 bytes."""
    return hashlib.sha3_256(manifest).digest()


def write_manifest(chunks: Iterable[bytes]) -> bytes:
    """The manifest of these bytes, cut into chunks of 256 KiB (the last may be shorter).

    Raises:
        UsageError: more than 4 GiB, or cut in another way.
    """
    size, hashes = 0, bytearray()
    for chunk in chunks:
        if size % CHUNK_BYTES or not 0 < len(chunk) <= CHUNK_BYTES or size + len(chunk) > SIZE_MAX:
            limit = f"{SIZE_MAX} bytes in chunks of {CHUNK_BYTES}, the last 1 to {CHUNK_BYTES}"
            raise UsageError(f"a chunk of {len(chunk)} bytes after {size}; allowed {limit}", where="chunk", limit=limit)
        size += len(chunk)
        hashes += hashlib.sha256(chunk).digest()
    return encode_record(Manifest(size, CHUNK_BYTES, bytes(hashes)))


def read_manifest(raw: bytes, blob: bytes) -> Manifest:
    """The manifest of `blob`. Raises PeerError: these bytes are not it."""
    if len(raw) > MANIFEST_BYTES_MAX:
        limit = f"{MANIFEST_BYTES_MAX} bytes"
        raise PeerError(f"a manifest of {len(raw)} bytes; allowed {limit}", where="manifest", limit=limit)
    if blob_id(raw) != blob:
        raise PeerError("a manifest of another blob", where="manifest", evidence=raw)
    manifest = decode_record(raw, Manifest, bytes_max=MANIFEST_BYTES_MAX, items_max=4)
    chunks = -(-manifest.size // CHUNK_BYTES)
    if (
        not 0 <= manifest.size <= SIZE_MAX
        or manifest.chunk_bytes != CHUNK_BYTES
        or len(manifest.hashes) != chunks * HASH_BYTES
    ):
        raise PeerError(
            f"{manifest.size} bytes in chunks of {manifest.chunk_bytes} with {len(manifest.hashes)} bytes of hashes",
            where="manifest", evidence=raw,
        )  # fmt: skip
    return manifest
