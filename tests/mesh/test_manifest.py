"""What a blob consists of, computed here by hand and by hashlib."""

from __future__ import annotations

import hashlib

import cbor2
import pytest

from qcommons.base.errors import PeerError, UsageError
from qcommons.mesh.exchange import BODY_BYTES_MAX
from qcommons.mesh.manifest import CHUNK_BYTES, MANIFEST_BYTES_MAX, SIZE_MAX, blob_id, read_manifest, write_manifest

DATA = bytes(range(256)) * 2048 + b"tail"  # two whole chunks and four bytes
CHUNKS = [DATA[:262144], DATA[262144:524288], b"tail"]


def test_a_manifest_is_what_the_page_says() -> None:
    raw = write_manifest(CHUNKS)
    hashes = b"".join(hashlib.sha256(chunk).digest() for chunk in CHUNKS)
    assert cbor2.loads(raw) == [524_292, 262_144, hashes]
    assert blob_id(raw) == hashlib.sha3_256(raw).digest()
    manifest = read_manifest(raw, blob_id(raw))
    assert manifest.chunks == 3 and [manifest.length(place) for place in range(3)] == [262144, 262144, 4]
    assert manifest.fits(2, b"tail") and manifest.fits(1, memoryview(CHUNKS[1])) and not manifest.fits(2, b"tale")


def test_no_bytes_are_a_blob_too() -> None:
    raw = write_manifest([])
    assert read_manifest(raw, blob_id(raw)).chunks == 0


def test_the_longest_manifest_fits_one_answer() -> None:
    longest = cbor2.dumps([SIZE_MAX, CHUNK_BYTES, bytes(SIZE_MAX // CHUNK_BYTES * 32)])
    assert len(longest) <= MANIFEST_BYTES_MAX <= BODY_BYTES_MAX
    assert read_manifest(longest, blob_id(longest)).size == SIZE_MAX


@pytest.mark.parametrize("chunks", [[b""], [b"short", b"more"], [bytes(CHUNK_BYTES + 1)]])
def test_bytes_cut_in_another_way_are_refused(chunks: list[bytes]) -> None:
    with pytest.raises(UsageError):
        write_manifest(chunks)


@pytest.mark.parametrize(
    "value",
    [
        [5, CHUNK_BYTES, b""],
        [5, CHUNK_BYTES, bytes(64)],
        [5, 1024, bytes(32)],
        [-1, CHUNK_BYTES, b""],
        [SIZE_MAX + 1, CHUNK_BYTES, bytes(32)],
        [5, CHUNK_BYTES],
        [5, CHUNK_BYTES, bytes(32), 1],
        "text",
    ],
)
def test_manifests_that_contradict_themselves_are_refused_though_their_hash_is_right(value: object) -> None:
    raw = cbor2.dumps(value)
    with pytest.raises(PeerError):
        read_manifest(raw, blob_id(raw))


def test_a_manifest_of_another_blob_is_refused() -> None:
    with pytest.raises(PeerError, match="another blob"):
        read_manifest(write_manifest(CHUNKS), blob_id(write_manifest([])))
