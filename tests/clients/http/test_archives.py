"""Archives as files: whole or not at all, for their owner alone, never over another file unless told."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest
from tests.node.api.serving import served
from tests.node.api.standin import TOKEN
from tests.node.making import BELL

from qcommons.base.errors import UsageError
from qcommons.clients.http.archives import check_target, write_archive
from qcommons.clients.http.async_node import AsyncNode
from qcommons.clients.http.node import Node

ARCHIVE = b"PK" * 300_000


def test_export_writes_what_the_node_sends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with served() as server, Node.connect(server.url, TOKEN) as node:
        job = node.submit(BELL)
        job.result()
        path = job.export(licence="CC0-1.0")
        assert path == Path(f"{job.id}.crate.zip") and path.read_bytes() == ARCHIVE + b"CC0-1.0"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with pytest.raises(UsageError, match="there already"):
            job.export()
        assert job.export(overwrite=True).read_bytes() == ARCHIVE
    assert [one.name for one in tmp_path.iterdir()] == [path.name]  # no half of a file is left


def test_the_async_node_does_the_same(tmp_path: Path) -> None:
    async def export(url: str) -> Path:
        async with await AsyncNode.connect(url, TOKEN) as node:
            job = await node.submit(BELL)
            await job.result()
            return await job.export(tmp_path / "a.zip")

    with served() as server:
        assert asyncio.run(export(server.url)).read_bytes() == ARCHIVE


def test_what_cannot_be_written_is_said_before_or_after(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="folder"):
        check_target(tmp_path, "job", overwrite=True)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="there already"):
        check_target(tmp_path / "link", "job", overwrite=False)
    with pytest.raises(UsageError, match="cannot write"):
        write_archive(tmp_path / "no" / "a.zip", b"")
