"""Archives as one file: a zip whose bytes follow from what is in it, and a reader that trusts none of it.

Flow: names and bytes -> *write_zip* -> file => anybody: *read_zip* -> names and bytes. Nothing is unpacked to disk.

Written are plain zips (PKWARE APPNOTE 6.3.10): files in the order given, all of the year 1980, no extra fields. Read is
less than zip allows: no zip64, comments, folders, links, encryption, nor bytes that belong to no file; each of these
serves attacks, and no program needs them for files like these.
"""

from __future__ import annotations

import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable
from typing import BinaryIO

from qcommons.base.errors import PeerError, Unavailable
from qcommons.base.units import bytes_text

__all__ = ["FILES_MAX", "FILE_BYTES_MAX", "NAME_MAX", "TOTAL_BYTES_MAX", "read_zip", "write_zip"]

FILES_MAX = 60_000  # zip64 would be needed from 65,535 on
FILE_BYTES_MAX = 256 << 20  # as much as the node keeps of one answer
TOTAL_BYTES_MAX = 512 << 20  # unpacked, all in memory; and of the file itself
RATIO_MAX = 100  # what is smaller when packed is stored as it is; deflate can do 1,032
NAME_MAX = 128
LEVEL = 1  # amplitudes as text pack to 0.48 of their size in place of 0.45 with 6, in a sixth of the time

NAME = re.compile(r"(?!\.)[A-Za-z0-9._-]+(?:/(?!\.)[A-Za-z0-9._-]+){0,3}")  # no part begins with a dot: no ".."
WHEN = (1980, 1, 1, 0, 0, 0)  # the earliest that zip knows
END = struct.Struct("<4s4H2LH")  # end of central directory (APPNOTE 4.3.16)
END_MARK, END64_MARK = b"PK\x05\x06", b"PK\x06\x07"
END64_BYTES = 20  # of the locator, which stands just before (APPNOTE 4.3.15)
LOCAL_BYTES = 30  # of a file's own header, without its name
ROW_BYTES = 46 + NAME_MAX  # of its row in the central directory, without extra fields
UNIX_REGULAR = 0o100600
ENCRYPTED = 0x1
KINDS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
BROKEN = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError,
    OverflowError,
)  # fmt: skip


def write_zip(out: BinaryIO, files: Iterable[tuple[str, bytes]]) -> int:
    """Write the files into `out`, in their order; how many bytes they have unpacked.

    Raises:
        Unavailable: more than `read_zip` takes, with the numbers.
    """
    total = count = 0
    with zipfile.ZipFile(out, "w") as packed:
        for name, data in files:
            total, count = total + len(data), count + 1
            if len(data) > FILE_BYTES_MAX:
                raise _too_much(f"{name} has {bytes_text(len(data))}", bytes_text(FILE_BYTES_MAX))
            if total > TOTAL_BYTES_MAX:
                raise _too_much(f"more than {bytes_text(TOTAL_BYTES_MAX)} in all", bytes_text(TOTAL_BYTES_MAX))
            if count > FILES_MAX:
                raise _too_much(f"more than {FILES_MAX} files", f"{FILES_MAX} files")
            info = zipfile.ZipInfo(name, WHEN)
            info.create_system, info.external_attr = 3, UNIX_REGULAR << 16  # Unix
            info.compress_type = zipfile.ZIP_DEFLATED if _packs(data) else zipfile.ZIP_STORED
            packed.writestr(info, data, compresslevel=LEVEL)
    return total


def _packs(data: bytes) -> bool:
    """Whether it gets smaller, and not so much that a reader must think of a bomb."""
    size = len(zlib.compress(data, LEVEL))
    return len(data) / RATIO_MAX < size < len(data)


def _too_much(what: str, limit: str) -> Unavailable:
    error = Unavailable(f"the job is too large for one archive: {what}; allowed {limit}", where="archive", limit=limit)
    error.exit_code = 3
    return error


def read_zip(source: BinaryIO) -> dict[str, bytes]:
    """Name -> bytes of every file, in their order. source: anybody's, seekable, at its begin.

    Raises:
        PeerError: it is no such zip; `where` is "zip" or the name of a file.
    """
    try:
        rows = _check_end(source)
        with zipfile.ZipFile(source) as packed:
            infos = packed.infolist()
            if len(infos) != rows:  # one that claims a long comment swallows those behind it
                raise _bad(f"{len(infos)} files; its end names {rows}")
            _check_rows(infos)
            return {info.filename: _read(packed, info) for info in infos}
    except BROKEN as error:
        raise PeerError(f"it is no zip of an archive: {error or type(error).__name__}", where="zip") from None


def _check_end(source: BinaryIO) -> int:
    """How many files there are. The directory is small, and nothing stands outside of it and the files: before anything
    is read of it."""
    size = source.seek(0, 2)
    if size > TOTAL_BYTES_MAX:
        raise _bad(f"{bytes_text(size)}; allowed {bytes_text(TOTAL_BYTES_MAX)}", limit=bytes_text(TOTAL_BYTES_MAX))
    tail_bytes = END.size + END64_BYTES
    source.seek(max(0, size - tail_bytes))
    tail = source.read(tail_bytes)
    source.seek(0)
    if len(tail) < END.size or tail[-END.size :][:4] != END_MARK:
        raise _bad("it does not end as a zip without a comment ends")
    if tail[:4] == END64_MARK and len(tail) == tail_bytes:
        raise _bad("zip64 is not needed for an archive of at most 512 MiB")
    _, disk, first_disk, here, rows, directory_bytes, directory_at, comment = END.unpack(tail[-END.size :])
    if disk or first_disk or comment or here != rows:
        raise _bad("it has several parts, or a comment")
    if rows > FILES_MAX or directory_bytes > rows * ROW_BYTES:
        raise _bad(f"a directory of {rows} files and {directory_bytes} bytes", limit=f"{FILES_MAX} files")
    if directory_at + directory_bytes + END.size != size:
        raise _bad("there are bytes before, between or behind its parts")
    return int(rows)


def _check_rows(infos: list[zipfile.ZipInfo]) -> None:
    """Names, kinds and sizes of all files, before the first of them is unpacked."""
    if sum(info.file_size for info in infos) > TOTAL_BYTES_MAX:
        raise _bad("its files are too large together", limit=bytes_text(TOTAL_BYTES_MAX))
    names: set[str] = set()
    for info in infos:
        why = _fault(info, names)
        if why is not None:
            raise PeerError(why, where=info.filename[:NAME_MAX])
        names.add(info.filename.lower())
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise PeerError("its bytes are another file's too", where=info.filename)
        end = info.header_offset + LOCAL_BYTES + len(info.filename) + info.compress_size


def _fault(info: zipfile.ZipInfo, names: set[str]) -> str | None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if len(info.filename) > NAME_MAX or not NAME.fullmatch(info.filename):
        return "this is no name of a file in an archive"
    if info.filename.lower() in names:
        return "two files have this name"
    if kind not in (0, stat.S_IFREG) or info.flag_bits & ENCRYPTED or info.compress_type not in KINDS:
        return "only plain files are read, stored or deflated"
    if info.file_size > FILE_BYTES_MAX:
        return f"{bytes_text(info.file_size)}; allowed {bytes_text(FILE_BYTES_MAX)}"
    if info.file_size > RATIO_MAX * info.compress_size:
        return f"{info.compress_size} bytes are to become {info.file_size}; allowed {RATIO_MAX} times as many"
    return None


def _read(packed: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with packed.open(info) as file:
        data = file.read(info.file_size + 1)
    if len(data) != info.file_size:
        raise PeerError(f"{len(data)} bytes; its row says {info.file_size}", where=info.filename)
    return data


def _bad(what: str, limit: str | None = None) -> PeerError:
    return PeerError(f"it is no zip of an archive: {what}", where="zip", limit=limit)
