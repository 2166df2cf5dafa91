"""Key files: sealed, private, never overwritten, and clear about what is wrong with them."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.pqc.regenerate import PASSPHRASE, counted

from qcommons.base.errors import Corrupt, Unavailable, UsageError
from qcommons.pqc import keyfile
from qcommons.pqc.identity import NodeKey
from qcommons.pqc.keyfile import (
    KEY_FILE,
    LIGHT,
    MACHINE_KEY_FILE,
    STRONG,
    Scrypt,
    create,
    key_facts,
    load,
    load_or_create,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "pqc" / "keyfile.json").read_text())["vectors"]


def no_entropy(count: int) -> bytes:
    raise AssertionError("an existing key needs no entropy")


def lay(folder: Path, file: bytes | None, machine_key: bytes | None) -> Path:
    for name, data in ((KEY_FILE, file), (MACHINE_KEY_FILE, machine_key)):
        if data is not None:
            (folder / name).write_bytes(data)
            (folder / name).chmod(0o600)
    return folder


def laid(folder: Path, vector: dict[str, str | None]) -> Path:
    machine = vector["machine_key"]
    return lay(folder, bytes.fromhex(vector["file"] or ""), bytes.fromhex(machine) if machine else None)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: "passphrase" if vector["passphrase"] else "machine key")
def test_published_files_open(vector: dict[str, str | None], tmp_path: Path) -> None:
    passphrase = vector["passphrase"].encode() if vector["passphrase"] else None
    key = load_or_create(laid(tmp_path, vector), passphrase, no_entropy)
    assert (key.id, key.secret_seed().hex()) == (vector["node_id"], vector["seed"])


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: "passphrase" if vector["passphrase"] else "machine key")
def test_published_files_are_written_again_from_the_same_entropy(vector: dict[str, str | None], tmp_path: Path) -> None:
    load_or_create(tmp_path, PASSPHRASE if vector["passphrase"] else None, counted(), kdf=LIGHT)
    assert (tmp_path / KEY_FILE).read_bytes().hex() == vector["file"]


@pytest.mark.parametrize("passphrase", [None, b"open sesame"])
def test_a_key_survives_restarts(passphrase: bytes | None, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "home"
    first = load_or_create(folder, passphrase, secrets.token_bytes, kdf=LIGHT)
    again = load_or_create(folder, passphrase, no_entropy)
    assert (again.id, again.secret_seed()) == (first.id, first.secret_seed())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("passphrase", [None, b"open sesame"])
def test_files_are_private_and_hold_no_seed_in_clear(passphrase: bytes | None, tmp_path: Path) -> None:
    mask = os.umask(0)  # the worst case: nothing is masked
    try:
        key = load_or_create(tmp_path, passphrase, secrets.token_bytes, kdf=LIGHT)
    finally:
        os.umask(mask)
    expected = {KEY_FILE} if passphrase else {KEY_FILE, MACHINE_KEY_FILE}
    assert {path.name for path in tmp_path.iterdir()} == expected  # no temporary file stays
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert key.secret_seed() not in path.read_bytes()
    assert key.public_key in (tmp_path / KEY_FILE).read_bytes()


def test_facts_say_how_a_key_is_sealed(tmp_path: Path) -> None:
    assert key_facts(tmp_path) is None
    for name, passphrase, kdf, sealed_by, light in (
        ("machine", None, STRONG, "machine key", False),
        ("light", b"p", LIGHT, "passphrase", True),
        ("wide", b"p", Scrypt(14, 32, 2), "passphrase", False),
    ):
        key = load_or_create(tmp_path / name, passphrase, secrets.token_bytes, kdf=kdf)
        facts = key_facts(tmp_path / name)
        assert facts is not None
        assert (facts.node, facts.sealed_by, facts.light) == (key.id, sealed_by, light)
        assert facts.path == tmp_path / name / KEY_FILE


def test_the_default_is_scrypt_with_n_2_to_the_17(tmp_path: Path) -> None:
    load_or_create(tmp_path, b"p", secrets.token_bytes)
    assert cbor2.loads((tmp_path / KEY_FILE).read_bytes())["kdf"] == ["scrypt", 17, 8, 1]


def refused(error: type[Exception], folder: Path, passphrase: bytes | None, file: str = KEY_FILE) -> str:
    """The message of the refusal, after checking that it names the file and that nothing was changed."""
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(error) as caught:
        load_or_create(folder, passphrase, no_entropy)
    assert getattr(caught.value, "where", None) == str(folder / file)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    return str(caught.value)


def test_passphrases_are_checked_both_ways(tmp_path: Path) -> None:
    machine, sealed = tmp_path / "machine", tmp_path / "sealed"
    load_or_create(machine, None, secrets.token_bytes)
    load_or_create(sealed, b"right", secrets.token_bytes, kdf=LIGHT)
    assert "wrong passphrase" in refused(UsageError, sealed, b"wrong")
    assert "give it" in refused(UsageError, sealed, None)
    assert "start without one" in refused(UsageError, machine, b"right")


@pytest.mark.parametrize("passphrase", [b"", b"x" * 1025])
def test_a_passphrase_has_1_to_1024_bytes(passphrase: bytes, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{len(passphrase)} bytes"):
        load_or_create(tmp_path, passphrase, no_entropy)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kdf", [Scrypt(21, 8, 1), Scrypt(0, 8, 1), Scrypt(12, 8, 9), Scrypt(20, 32, 1)])
def test_a_new_file_asks_for_no_more_than_a_reader_gives(kdf: Scrypt, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_or_create(tmp_path, b"p", no_entropy, kdf=kdf)
    assert caught.value.where == "kdf"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [KEY_FILE, MACHINE_KEY_FILE])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o777])
def test_files_that_others_can_reach_are_refused_with_the_remedy(name: str, mode: int, tmp_path: Path) -> None:
    load_or_create(tmp_path, None, secrets.token_bytes)
    (tmp_path / name).chmod(mode)
    assert f"chmod 600 {tmp_path / name}" in refused(UsageError, tmp_path, None, name)
    (tmp_path / name).chmod(0o600)
    load_or_create(tmp_path, None, no_entropy)


def test_the_machine_key_must_be_the_one_that_sealed(tmp_path: Path) -> None:
    load_or_create(tmp_path, None, secrets.token_bytes)
    machine = tmp_path / MACHINE_KEY_FILE
    right = machine.read_bytes()
    machine.write_bytes(secrets.token_bytes(32))
    assert "not the one" in refused(Corrupt, tmp_path, None)
    machine.write_bytes(right[:31])
    assert "31 bytes" in refused(Corrupt, tmp_path, None, MACHINE_KEY_FILE)
    machine.unlink()
    assert "missing" in refused(Corrupt, tmp_path, None, MACHINE_KEY_FILE)
    lay(tmp_path, None, right)
    load_or_create(tmp_path, None, no_entropy)


def test_a_machine_key_left_by_a_crash_is_used(tmp_path: Path) -> None:
    """It is written first: a crash between the two files leaves it alone in the folder."""
    lay(tmp_path, None, b"\x07" * 32)
    first = load_or_create(tmp_path, None, secrets.token_bytes)
    assert (tmp_path / MACHINE_KEY_FILE).read_bytes() == b"\x07" * 32
    assert load_or_create(tmp_path, None, no_entropy).id == first.id


def test_the_process_that_comes_first_keeps_its_key(tmp_path: Path) -> None:
    """Two first starts at once: while one draws its entropy, the other one finishes; both end with one key."""
    winner: list[NodeKey] = []

    def late(count: int) -> bytes:
        if not winner:
            winner.append(load_or_create(tmp_path, None, secrets.token_bytes))
        return secrets.token_bytes(count)

    loser = load_or_create(tmp_path, None, late)
    assert loser.id == winner[0].id == load_or_create(tmp_path, None, no_entropy).id
    assert {path.name for path in tmp_path.iterdir()} == {KEY_FILE, MACHINE_KEY_FILE}


def changed(change: Callable[[dict[str, object]], None]) -> bytes:
    """A published file with some fields changed and its checksum made right again."""
    fields = cbor2.loads(bytes.fromhex(VECTORS[1]["file"]))
    change(fields)
    blank = cbor2.dumps(fields | {"checksum": b""}, canonical=True)
    return cbor2.dumps(fields | {"checksum": hashlib.sha3_256(blank).digest()}, canonical=True)


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"\x00" * 9000,
        changed(lambda f: f.update(version=2)),
        changed(lambda f: f.update(purpose="wallet")),
        changed(lambda f: f.update(sealed_by="machine key")),
        changed(lambda f: f.update(kdf=["hkdf-sha3-256"])),
        changed(lambda f: f.update(kdf=["scrypt", 20, 32, 1])),
        changed(lambda f: f.update(kdf=["scrypt", 63, 8, 1])),
        changed(lambda f: f.update(kdf=["scrypt", 12, 8, 1000])),
        changed(lambda f: f.update(kdf=["scrypt", 12, 8])),
        changed(lambda f: f.update(kdf=["argon2id", 1])),
        changed(lambda f: f.update(salt=bytes(31))),
        changed(lambda f: f.update(node=bytes(32))),
        changed(lambda f: f.update(extra=1)),
        changed(lambda f: f.pop("nonce") and None),
    ],
)
def test_damaged_files_are_corrupt_before_anything_is_derived(
    file: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that ask for more memory than we give: 512 MiB here, 2^67 bytes there."""
    monkeypatch.setattr(keyfile, "_cipher", no_entropy)
    refused(Corrupt, lay(tmp_path, file, None), PASSPHRASE)


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.update(sealed_seed=b""),
        lambda f: f.update(sealed_seed=bytes(48)),
        lambda f: f.update(nonce=bytes(12)),
        lambda f: f.update(salt=bytes(32)),
        lambda f: f.update(kdf=["scrypt", 11, 8, 1]),
        lambda f: f.update(public_key=NodeKey(bytes(32)).public_key, node=NodeKey(bytes(32)).hash),
    ],
)
def test_a_forged_file_opens_with_no_passphrase(change: Callable[[dict[str, object]], None], tmp_path: Path) -> None:
    """The header is associated data: somebody who fixes the checksum cannot swap keys or weaken the kdf."""
    assert "wrong passphrase" in refused(UsageError, lay(tmp_path, changed(change), None), PASSPHRASE)


@given(st.integers(0, 2299), st.integers(1, 255), st.booleans())
@settings(max_examples=100, deadline=None)
def test_any_changed_or_cut_byte_is_corrupt(place: int, change: int, cut: bool) -> None:
    data = bytearray.fromhex(VECTORS[1]["file"])
    place %= len(data)
    data[place] ^= change
    with pytest.raises(Corrupt):
        keyfile._parsed(Path("node.key"), bytes(data[:place] if cut else data))


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / KEY_FILE, 0o600)
    assert "ordinary" in refused(UsageError, tmp_path, None)


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    with pytest.raises(Unavailable) as caught:
        load_or_create(file, None, secrets.token_bytes)
    assert str(file) in str(caught.value)


def test_a_full_disk_leaves_nothing_half_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left") as caught:
        load_or_create(tmp_path, b"p", secrets.token_bytes, kdf=LIGHT)
    assert caught.value.where == str(tmp_path)
    assert list(tmp_path.iterdir()) == []


# keys of owners, and of backups


def test_an_owners_key_is_another_file_with_another_sealing_key(tmp_path: Path) -> None:
    node = load_or_create(tmp_path, None, secrets.token_bytes)
    owner = load_or_create(tmp_path, None, secrets.token_bytes, purpose="owner")
    assert node.id != owner.id
    assert {path.name for path in tmp_path.iterdir()} == {KEY_FILE, "owner.key", MACHINE_KEY_FILE}
    facts = key_facts(tmp_path, "owner")
    assert facts is not None and (facts.hash, facts.path) == (owner.hash, tmp_path / "owner.key")
    again = load(tmp_path, None, purpose="owner")
    assert again is not None and again.id == owner.id
    (tmp_path / "owner.key").replace(tmp_path / KEY_FILE)
    assert "the key of an owner, not of a node" in refused(Corrupt, tmp_path, None)


def test_a_file_relabelled_for_another_purpose_does_not_open(tmp_path: Path) -> None:
    """Purpose is part of what the seed is sealed with, both as associated data and in HKDF's info."""
    data = changed(lambda f: f.update(purpose="owner"))
    lay(tmp_path, None, None)
    (tmp_path / "owner.key").write_bytes(data)
    (tmp_path / "owner.key").chmod(0o600)
    with pytest.raises(UsageError, match="wrong passphrase"):
        load(tmp_path, PASSPHRASE, purpose="owner")


@pytest.mark.parametrize("passphrase", [None, b"p"])
def test_a_given_seed_makes_the_file_of_its_key(passphrase: bytes | None, tmp_path: Path) -> None:
    key = create(tmp_path, bytes(range(32)), passphrase, secrets.token_bytes, kdf=LIGHT)
    assert key.id == NodeKey(bytes(range(32))).id == load_or_create(tmp_path, passphrase, no_entropy).id
    with pytest.raises(UsageError, match="not overwritten"):
        create(tmp_path, bytes(32), passphrase, secrets.token_bytes, kdf=LIGHT)
    assert load_or_create(tmp_path, passphrase, no_entropy).id == key.id


def test_a_process_that_came_first_is_not_mistaken_for_the_given_seed(tmp_path: Path) -> None:
    def late(count: int) -> bytes:
        load_or_create(tmp_path, None, secrets.token_bytes)
        return secrets.token_bytes(count)

    with pytest.raises(Unavailable, match="another process"):
        create(tmp_path, bytes(32), None, late)


def test_loading_makes_nothing(tmp_path: Path) -> None:
    assert load(tmp_path, None) is None
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="0 bytes"):
        load(tmp_path, b"")
