"""Owner and nodes of a home: certificates kept, shown, taken back."""

from __future__ import annotations

import secrets
import threading
from pathlib import Path

import pytest

from qcommons.base.errors import Corrupt, PeerError, UsageError
from qcommons.node.backup import key_folder, restore
from qcommons.node.ownership import Ownership, owner_of
from qcommons.pqc.certificates import check_certificate, decode_link, encode_link
from qcommons.pqc.identity import NodeKey
from qcommons.pqc.keyfile import load

NODE, OTHER = NodeKey(bytes(32)), NodeKey(b"\x01" * 32)
NOW_S = 1_800_000_000
YEAR_S = 366 * 86_400


def test_a_certificate_travels_from_the_owner_to_its_node(tmp_path: Path) -> None:
    mine, theirs = Ownership(tmp_path / "owner"), Ownership(tmp_path / "node")
    issued = mine.certify(NODE.hash, YEAR_S, None, NOW_S)
    owner = load(key_folder(tmp_path / "owner"), None, purpose="owner")
    assert owner is not None and issued.certificate.owner == owner.hash

    data = encode_link(issued.link)
    assert owner_of(tmp_path / "node", NODE.hash, NOW_S) == b""
    theirs.accept(data, NODE.hash, NOW_S)
    assert owner_of(tmp_path / "node", NODE.hash, NOW_S) == owner.hash
    shown = theirs.of_node(NODE.hash, NOW_S)
    assert shown is not None
    assert check_certificate(decode_link(encode_link(shown[1])), "commons", NODE.hash, NOW_S) == issued.certificate


def test_the_owners_key_is_made_in_a_home_of_ones_own_only(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir(mode=0o700)
    elsewhere.mkdir()
    (home / "keys").symlink_to(elsewhere)
    issued = Ownership(tmp_path / "owner").certify(NODE.hash, 60, None, NOW_S)
    mine = Ownership(home)
    for use in (
        lambda: mine.certify(NODE.hash, 60, None, NOW_S),
        lambda: mine.accept(encode_link(issued.link), NODE.hash, NOW_S),
        lambda: mine.revoke([issued.id], None, NOW_S),
        lambda: restore(home, "owner", bytes(32), None),
    ):
        with pytest.raises(UsageError, match="links are not followed"):
            use()
    assert list(elsewhere.iterdir()) == []
    (home / "keys").unlink()
    (home / "keys").mkdir(mode=0o700)
    (home / "keys" / "owner").symlink_to(elsewhere)
    with pytest.raises(UsageError, match="links are not followed"):
        mine.accept_revocations(encode_link(Ownership(tmp_path / "owner").revoke([issued.id], None, NOW_S)[1]))
    assert list(elsewhere.iterdir()) == []
    home.chmod(0o777)
    with pytest.raises(UsageError, match="others can write"):
        restore(home, "owner", bytes(32), None)


def test_a_certificate_of_another_node_or_time_is_not_kept(tmp_path: Path) -> None:
    data = encode_link(Ownership(tmp_path / "owner").certify(NODE.hash, 60, None, NOW_S).link)
    theirs = Ownership(tmp_path / "node")
    for node, now_s in ((OTHER.hash, NOW_S), (NODE.hash, NOW_S + 60)):
        with pytest.raises(PeerError):
            theirs.accept(data, node, now_s)
    with pytest.raises(PeerError):
        theirs.accept(data[:-1], NODE.hash, NOW_S)
    assert theirs.of_node(NODE.hash, NOW_S) is None


def test_an_expired_certificate_and_one_of_the_key_before_are_not_shown(tmp_path: Path) -> None:
    mine = Ownership(tmp_path)
    mine.accept(encode_link(mine.certify(NODE.hash, 60, None, NOW_S).link), NODE.hash, NOW_S)
    assert mine.of_node(NODE.hash, NOW_S + 59) is not None
    assert mine.of_node(NODE.hash, NOW_S + 60) is None
    assert mine.of_node(OTHER.hash, NOW_S) is None


def test_revocations_grow_until_what_they_name_has_expired(tmp_path: Path) -> None:
    mine = Ownership(tmp_path)
    first, second = (mine.certify(node.hash, life, None, NOW_S) for node, life in ((NODE, 60), (OTHER, YEAR_S)))
    mine.accept(encode_link(first.link), NODE.hash, NOW_S)
    one, _ = mine.revoke([first.id], None, NOW_S)
    assert (one.seq, one.revoked) == (1, (first.id,))
    assert mine.of_node(NODE.hash, NOW_S) is None
    assert [(row.id, row.revoked) for row in mine.issued()] == sorted([(first.id, True), (second.id, False)])
    two, _ = mine.revoke([second.id], None, NOW_S + 1)
    assert (two.seq, set(two.revoked)) == (2, {first.id, second.id})
    three, _ = mine.revoke([], None, NOW_S + 60)
    assert (three.seq, three.revoked) == (3, (second.id,))


def test_who_has_no_owners_key_takes_nothing_back(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="owner certify"):
        Ownership(tmp_path).revoke([bytes(32)], None, NOW_S)


def test_lists_signed_at_once_have_different_sequences(tmp_path: Path) -> None:
    """Two of one sequence would be an equivocation."""
    mine = Ownership(tmp_path, entropy=secrets.token_bytes)
    mine.certify(NODE.hash, YEAR_S, None, NOW_S)
    seqs: list[int] = []

    def one() -> None:
        seqs.append(Ownership(tmp_path).revoke([secrets.token_bytes(32)], None, NOW_S)[0].seq)

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seqs) == [1, 2, 3, 4, 5, 6]


def test_damaged_files_are_ours_to_look_at(tmp_path: Path) -> None:
    mine = Ownership(tmp_path)
    issued = mine.certify(NODE.hash, YEAR_S, None, NOW_S)
    mine.accept(encode_link(issued.link), NODE.hash, NOW_S)
    (tmp_path / "keys" / "node.cert").write_bytes(b"\x80")
    with pytest.raises(Corrupt):
        mine.of_node(NODE.hash, NOW_S)
    (tmp_path / "keys" / "owner" / f"{issued.id.hex()}.cert").write_bytes(b"\x80")
    with pytest.raises(Corrupt):
        mine.issued()
