"""Archives of a node's jobs: made from the disk in a file without a name, refused with numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.node.archived import archivist, kept_home, kept_mesh
from tests.node.small_world import Disk

from qcommons.base.effects import Store
from qcommons.base.errors import Corrupt, Unavailable
from qcommons.jobs.archive_files import opened
from qcommons.jobs.archive_zip import read_zip
from qcommons.node import archives
from qcommons.node.keys import receipt_key, spec_key


def test_an_archive_leaves_no_file_behind(tmp_path: Path) -> None:
    disk = Disk()
    with archivist(disk, tmp_path).write(kept_mesh(disk)) as file:
        assert list(tmp_path.iterdir()) == [] and file.tell() == 0
        at = opened(read_zip(file))
    assert at.signature == "" and [one.state for one in at.contents.leases] == ["accepted", "ended", "accepted"]


def test_before_the_receipts_are_signed_there_is_none(tmp_path: Path) -> None:
    disk = Disk()
    entry = kept_home(disk)
    disk.apply([Store(receipt_key(0), None)])
    with pytest.raises(Unavailable, match="signed within a second") as error:
        archivist(disk, tmp_path).write(entry)
    assert error.value.where == "receipt"


def test_an_answer_too_large_is_refused_with_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk()
    entry = kept_home(disk)
    monkeypatch.setattr(archives, "ANSWER_BYTES_MAX", 100)
    with pytest.raises(Unavailable, match="an archive holds 100 bytes") as error:
        archivist(disk, tmp_path).write(entry)
    assert error.value.exit_code == 3 and list(tmp_path.iterdir()) == []


def test_a_record_that_is_damaged_is_our_own_trouble(tmp_path: Path) -> None:
    disk = Disk()
    entry = kept_home(disk)
    disk.apply([Store(spec_key(0), b"\xc1")])
    with pytest.raises(Corrupt):
        archivist(disk, tmp_path).write(entry)
