"""The keys of a home: restored over nothing but what was allowed, rotated without a moment of doubt."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

import pytest

from qcommons.base.errors import Corrupt, Unavailable, UsageError
from qcommons.node import backup
from qcommons.node.backup import followers, id_of, key_folder, restore, rotate, successions
from qcommons.node.home import LOCK_FILE
from qcommons.node.lock import HomeLock
from qcommons.pqc.identity import NodeKey
from qcommons.pqc.keyfile import LIGHT, key_facts, load, load_or_create
from qcommons.pqc.succession import Successions

SEED, OTHER = bytes(range(32)), b"\x01" * 32
NOW_S = 1_800_000_000


def present(home: Path, passphrase: bytes | None = None) -> NodeKey:
    key = load(key_folder(home), passphrase)
    assert key is not None
    return key


def names(home: Path) -> set[str]:
    return {path.name for path in key_folder(home).iterdir()}


# restore


def test_a_key_comes_back_into_an_empty_home(tmp_path: Path) -> None:
    done = restore(tmp_path, "node", SEED, None)
    assert (done.id, done.was_there, done.aside) == (NodeKey(SEED).id, False, None)
    assert present(tmp_path).secret_seed() == SEED
    assert names(tmp_path) == {"node.key", "machine.key"}
    again = restore(tmp_path, "node", SEED, None)
    assert again.was_there


def test_another_key_is_replaced_only_when_told_and_kept(tmp_path: Path) -> None:
    restore(tmp_path, "node", OTHER, None)
    with pytest.raises(UsageError, match="--replace"):
        restore(tmp_path, "node", SEED, None)
    assert present(tmp_path).secret_seed() == OTHER
    done = restore(tmp_path, "node", SEED, None, over=True)
    assert done.aside == key_folder(tmp_path) / "node.1.key"
    assert stat.S_IMODE(done.aside.stat().st_mode) == 0o600
    assert present(tmp_path).secret_seed() == SEED
    old = load(key_folder(tmp_path), None, file="node.1.key")
    assert old is not None and old.secret_seed() == OTHER


def test_a_forgotten_passphrase_is_left_behind(tmp_path: Path) -> None:
    restore(tmp_path, "node", SEED, b"forgotten", kdf=LIGHT)
    with pytest.raises(UsageError, match="does not open"):
        restore(tmp_path, "node", SEED, b"new", kdf=LIGHT)
    done = restore(tmp_path, "node", SEED, b"new", over=True, kdf=LIGHT)
    assert done.aside is not None
    assert present(tmp_path, b"new").secret_seed() == SEED


def test_a_damaged_file_and_a_lost_machine_key_are_healed(tmp_path: Path) -> None:
    restore(tmp_path, "node", SEED, None)
    path = key_folder(tmp_path) / "node.key"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UsageError, match="damaged"):
        restore(tmp_path, "node", SEED, None)
    restore(tmp_path, "node", SEED, None, over=True)
    assert present(tmp_path).secret_seed() == SEED
    (key_folder(tmp_path) / "machine.key").unlink()
    restore(tmp_path, "node", SEED, None, over=True)
    assert present(tmp_path).secret_seed() == SEED


def test_a_restore_cut_short_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    restore(tmp_path, "node", OTHER, None)

    def crash(*_: object) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(backup, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            restore(tmp_path, "node", SEED, None, over=True)
    assert present(tmp_path).secret_seed() == OTHER
    restore(tmp_path, "node", SEED, None, over=True)
    assert present(tmp_path).secret_seed() == SEED
    assert names(tmp_path) == {"node.key", "node.1.key", "machine.key"}


def test_nothing_is_done_while_a_node_runs(tmp_path: Path) -> None:
    load_or_create(key_folder(tmp_path), None, secrets.token_bytes)
    with HomeLock(tmp_path / LOCK_FILE):
        for act in (
            lambda: restore(tmp_path, "node", SEED, None, over=True),
            lambda: rotate(tmp_path, "node", None, NOW_S),
        ):
            with pytest.raises(Unavailable, match=f"process {os.getpid()}.*qcommons down"):
                act()
        assert restore(tmp_path, "owner", SEED, None).id.startswith("qo1")  # the node does not hold that one
    assert names(tmp_path) == {"node.key", "owner.key", "machine.key"}


# rotate


@pytest.mark.parametrize("passphrase", [None, b"p"])
def test_a_rotation_leaves_a_chain_from_the_first_id_to_the_present_one(
    passphrase: bytes | None, tmp_path: Path
) -> None:
    restore(tmp_path, "node", SEED, passphrase, kdf=LIGHT)
    first = present(tmp_path, passphrase)
    one = rotate(tmp_path, "node", passphrase, NOW_S)
    two = rotate(tmp_path, "node", passphrase, NOW_S + 1)
    last = present(tmp_path, passphrase)
    assert (one.old, one.new, two.old, two.new) == (first.id, one.new, one.new, last.id)
    records = successions(tmp_path, last.hash)
    known = Successions()
    for raw in records:
        known.add(raw, "commons")
    assert len(records) == 2 and known.newest(first.hash) == last.hash
    assert [entry.at_s for entry in followers(tmp_path)] == [NOW_S, NOW_S + 1]
    kept = load(key_folder(tmp_path), passphrase, file="node.1.key")
    assert kept is not None and kept.id == first.id
    facts = key_facts(key_folder(tmp_path))
    assert facts is not None and facts.light == (passphrase is not None)  # a light key stays one


@pytest.mark.parametrize("cut", ["place", "replace"])
def test_a_rotation_cut_short_is_finished_by_the_next_and_never_forks(
    cut: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill -9 before the record is on disk, and after it but before the new key takes its place."""
    restore(tmp_path, "node", SEED, None)

    def crash(*_: object) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(backup, cut, crash)
        with pytest.raises(KeyboardInterrupt):
            rotate(tmp_path, "node", None, NOW_S)
    assert present(tmp_path).secret_seed() == SEED
    assert successions(tmp_path, present(tmp_path).hash) == ()  # a node that starts now tells nobody
    coming = load(key_folder(tmp_path), None, file="node.next.key")
    assert coming is not None
    done = rotate(tmp_path, "node", None, NOW_S + 60)
    assert done.new == coming.id == present(tmp_path).id
    assert len(followers(tmp_path)) == 1
    assert not (key_folder(tmp_path) / "node.next.key").exists()


def test_a_key_that_was_followed_is_not_followed_again(tmp_path: Path) -> None:
    """An old key restored from its words would name a second successor."""
    restore(tmp_path, "node", SEED, None)
    done = rotate(tmp_path, "node", None, NOW_S)
    restore(tmp_path, "node", SEED, None, over=True)
    with pytest.raises(UsageError, match=done.new):
        rotate(tmp_path, "node", None, NOW_S + 1)
    assert len(followers(tmp_path)) == 1


def test_without_a_key_nothing_is_rotated(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no key to rotate"):
        rotate(tmp_path, "node", None, NOW_S)
    assert not (key_folder(tmp_path)).exists()


def test_a_damaged_record_is_ours_to_look_at(tmp_path: Path) -> None:
    restore(tmp_path, "node", SEED, None)
    done = rotate(tmp_path, "node", None, NOW_S)
    done.record.write_bytes(done.record.read_bytes()[:-1])
    with pytest.raises(Corrupt, match="damaged"):
        followers(tmp_path)


def test_an_owners_key_rotates_too(tmp_path: Path) -> None:
    first = restore(tmp_path, "owner", SEED, None).id
    done = rotate(tmp_path, "owner", None, NOW_S)
    assert done.old == first == id_of("owner", NodeKey(SEED).hash)
    owner = load(key_folder(tmp_path), None, purpose="owner")
    assert owner is not None and id_of("owner", owner.hash) == done.new
    assert [id_of("owner", one.new) for one in followers(tmp_path, "owner")] == [done.new]
    assert followers(tmp_path) == []
