"""Archives as zips: what is written is read again; what is not such a zip is refused before it can do harm."""

from __future__ import annotations

import io
import stat
import struct
import time
import zipfile
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcommons.base.errors import PeerError, Unavailable
from qcommons.jobs import archive_zip
from qcommons.jobs.archive_zip import FILES_MAX, TOTAL_BYTES_MAX, read_zip, write_zip

FILES = [("job.json", b'{"a": 1}' * 40), ("programs/ab.cbor", bytes(range(256))), ("empty", b"")]


def packed(files: list[tuple[str, bytes]] = FILES) -> bytes:
    out = io.BytesIO()
    write_zip(out, files)
    return out.getvalue()


def zipped(*infos: tuple[zipfile.ZipInfo | str, bytes], comment: bytes = b"") -> bytes:
    """As another program may write it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for info, data in infos:
            file.writestr(info, data)
        file.comment = comment
    return out.getvalue()


def refused(data: bytes, match: str) -> None:
    with pytest.raises(PeerError, match=match):
        read_zip(io.BytesIO(data))


def test_what_is_written_is_read_in_its_order_and_the_bytes_are_the_same_every_time() -> None:
    assert list(read_zip(io.BytesIO(packed())).items()) == FILES
    time.sleep(0.01)
    assert packed() == packed()
    with zipfile.ZipFile(io.BytesIO(packed())) as file:  # and others can read it
        assert file.testzip() is None
        assert {info.date_time for info in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {stat.S_IMODE(info.external_attr >> 16) for info in file.infolist()} == {0o600}


def test_what_packs_like_a_bomb_is_stored_so_that_the_reader_takes_it() -> None:
    zeros = bytes(1 << 20)
    data = packed([("zeros", zeros)])
    assert len(data) > len(zeros) and read_zip(io.BytesIO(data)) == {"zeros": zeros}


@pytest.mark.parametrize(
    "name", ["../up", "/etc/passwd", "a/../b", "a//b", "a/", ".hidden", "a\\b", "C:x", "a b", "\u00e4", "x" * 129, ""]
)
def test_a_name_that_might_lead_elsewhere_is_refused(name: str) -> None:
    info = zipfile.ZipInfo("name")
    info.filename = name
    refused(zipped((info, b"")), "name|zip")


def test_two_files_of_one_name_are_refused_also_in_other_letters() -> None:
    refused(zipped(("a", b"1"), ("A", b"2")), "two files")


def test_links_are_refused() -> None:
    info = zipfile.ZipInfo("link")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    refused(zipped((info, b"/etc/passwd")), "plain files")


def test_other_ways_to_pack_are_refused() -> None:
    info = zipfile.ZipInfo("a")
    info.compress_type = zipfile.ZIP_BZIP2
    refused(zipped((info, b"data" * 100)), "plain files")


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = zipped(("zeros", bytes(64 << 20)))
    assert len(bomb) < 1 << 17
    refused(bomb, "allowed 100 times")


def test_files_too_large_together_are_refused_by_what_their_rows_say() -> None:
    data = bytearray(zipped(("a", b"1"), ("b", b"2"), ("c", b"3")))
    at = 0
    while (at := data.find(b"PK\x01\x02", at)) >= 0:  # sizes in the central directory (APPNOTE 4.3.12)
        struct.pack_into("<LL", data, at + 20, 200 << 20, 200 << 20)
        at += 4
    refused(bytes(data), "too large together")


@pytest.mark.parametrize("change", [lambda data: data + b"x", lambda data: b"x" + data, lambda data: data[:-1]])
def test_bytes_that_belong_to_no_file_are_refused(change: Callable[[bytes], bytes]) -> None:
    refused(change(packed()), "zip")


def test_comments_and_zip64_are_refused() -> None:
    refused(zipped(("a", b""), comment=b"c"), "comment")
    data = packed()
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 1)
    refused(data[:-22] + locator + data[-22:], "zip64")


def test_a_directory_that_claims_more_than_its_files_need_is_refused() -> None:
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, 1 << 20, 0, 0)
    refused(bytes(1 << 20) + end, "directory of 1 files")


def test_overlapping_files_are_refused() -> None:
    """The bombs of Fifield (2019): many rows of one body."""
    body = zlib.compress(bytes(5000), 9)[2:-4]
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 8, 0, 33, zlib.crc32(bytes(5000)), len(body), 5000, 1, 0)
    rows = b"".join(
        struct.pack(
            "<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 8, 0, 33, zlib.crc32(bytes(5000)), 200, 5000, 1, 0, 0, 0, 0, 0, 0
        )
        + name
        for name in (b"a", b"b")
    )
    head = local + b"a" + body
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 2, 2, len(rows), len(head), 0)
    refused(head + rows + end, "another file's too")


def test_what_would_not_be_read_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_zip, "FILES_MAX", 2)
    with pytest.raises(Unavailable, match="more than 2 files") as error:
        packed()
    assert error.value.exit_code == 3
    monkeypatch.setattr(archive_zip, "TOTAL_BYTES_MAX", 100)
    with pytest.raises(Unavailable, match="in all"):
        packed()
    assert FILES_MAX < 65_535 and TOTAL_BYTES_MAX < 1 << 32  # else it would be zip64


@settings(max_examples=300)
@given(st.binary(max_size=400))
def test_any_bytes_are_an_archive_or_a_peers_fault(data: bytes) -> None:
    try:
        read_zip(io.BytesIO(data))
    except PeerError as error:
        assert error.where


@settings(max_examples=400)
@given(st.integers(0, len(packed()) - 1), st.integers(0, 255), st.integers(0, 40))
def test_a_damaged_archive_is_the_same_or_a_peers_fault(place: int, value: int, cut: int) -> None:
    data = bytearray(packed())
    data[place] = value
    try:
        found = read_zip(io.BytesIO(bytes(data[: len(data) - (cut if cut > 30 else 0)])))
    except PeerError:
        return
    assert set(found.values()) == {content for _, content in FILES}  # CRC-32 of each holds; names may have changed
