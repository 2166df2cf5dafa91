"""The route of archives: one file, sent from disk as fast as it is read.

Flow: Router -> row -> *handler* -> door.archive -> *FileResponse* -> connection.
"""

from __future__ import annotations

import contextlib
from typing import Annotated, BinaryIO

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from qcommons.node.api.call import Call
from qcommons.node.api.route import Route

__all__ = ["ARCHIVE_ROUTES", "ArchiveQuery", "FileResponse"]

ZIP = "application/zip"
PIECE_BYTES = 1 << 18
LICENCE_MAX = 200

Licence = Annotated[
    str, msgspec.Meta(max_length=LICENCE_MAX, pattern=r"^[ -~]*\Z", description="a URL or words, for its metadata")
]


class ArchiveQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    licence: Licence = ""


class FileResponse(Response):
    """Sends an open file and closes it, whatever happens. It counts among the answers on their way."""

    def __init__(self, file: BinaryIO, *, media: str, name: str) -> None:
        self._file = file
        self._size = file.seek(0, 2)
        file.seek(0)
        headers = {"content-length": str(self._size), "content-disposition": f'attachment; filename="{name}"'}
        super().__init__(b"", headers=headers, media_type=media)
        self.headers["content-length"] = str(self._size)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.closing(self._file) as file, scope["qcommons.taken"]({"answer_bytes": self._size}):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            # a piece comes from the page cache, just written: no thread is worth it
            while scope["method"] != "HEAD" and (piece := file.read(PIECE_BYTES)):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _archive(call: Call) -> Response:
    job, licence = call.path["job"], call.query(ArchiveQuery).licence
    return FileResponse(await call.door.archive(job, call.who, licence), media=ZIP, name=f"{job}.crate.zip")


ARCHIVE_ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1/jobs/{job}/archive", _archive, "principal",
          "The archive of an ended job, an RO-Crate in a zip (docs/archive.md).", ArchiveQuery, media=(ZIP,),
          errors=(422,)),
)  # fmt: skip
