"""Homes of development nodes: keys from a seed, marked as such, loopback alone."""

from __future__ import annotations

import secrets
import stat
from pathlib import Path

import pytest

from qcommons.base.errors import UsageError
from qcommons.node import config
from qcommons.node.dev import DevFolder, check_loopback, is_dev
from qcommons.node.mesh.settings import mesh_settings
from qcommons.pqc.keyfile import load_or_create


def ids(homes: list[Path]) -> list[str]:
    return [load_or_create(home / "keys", None, secrets.token_bytes).id for home in homes]


def test_one_seed_makes_the_same_nodes_anywhere(tmp_path: Path) -> None:
    one, two, other = (DevFolder(tmp_path / name) for name in "abc")
    first = ids(one.make(3, seed="lab", workers=1))
    assert ids(two.make(3, seed="lab", workers=1)) == first and len(set(first)) == 3
    assert ids(other.make(3, seed=None, workers=1)) != first
    assert one.network == two.network != other.network


def test_homes_hold_settings_for_one_mesh_on_loopback(tmp_path: Path) -> None:
    folder = DevFolder(tmp_path / "dev")
    homes = folder.make(3, seed=None, workers=2)
    found = [mesh_settings(config.load(environ={}, path=home / "config.toml")) for home in homes]
    assert {one.listen for one in found} == {"loopback"} and {one.network for one in found} == {folder.network}
    assert found[0].bootstrap == () and {one.bootstrap for one in found[1:]} == {(f"tcp/127.0.0.1:{found[0].port}",)}
    assert len({one.port for one in found}) == 3
    for path in (tmp_path / "dev").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_more_nodes_join_those_that_are_there(tmp_path: Path) -> None:
    folder = DevFolder(tmp_path / "dev")
    before = ids(folder.make(2, seed=None, workers=1))
    homes = folder.make(4, seed=None, workers=1)
    assert ids(homes)[:2] == before and folder.homes() == homes
    with pytest.raises(UsageError, match="another seed"):
        folder.make(4, seed="else", workers=1)


def test_removing_leaves_what_is_not_ours(tmp_path: Path) -> None:
    folder = DevFolder(tmp_path / "dev")
    folder.make(2, seed=None, workers=1)
    (tmp_path / "dev" / "notes.txt").write_text("mine")
    folder.remove()
    assert [path.name for path in (tmp_path / "dev").iterdir()] == ["notes.txt"] and folder.homes() == []


def test_a_development_node_listens_to_this_machine_alone(tmp_path: Path) -> None:
    home = DevFolder(tmp_path / "dev").make(1, seed=None, workers=1)[0]
    assert is_dev(home) and not is_dev(tmp_path)
    check_loopback(home, "loopback")
    check_loopback(tmp_path, "lan")
    with pytest.raises(UsageError, match="seed"):
        check_loopback(home, "lan")
