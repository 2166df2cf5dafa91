"""`qcommons owner`: certify, carry, accept, revoke; two homes and the files between them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.clients.a_node import body, command, text

from qcommons.node.backup import restore
from qcommons.pqc.certificates import check_revocations, decode_link
from qcommons.pqc.identity import NodeKey

MINE, THEIRS = NodeKey(bytes(32)), NodeKey(b"\x01" * 32)
At = Callable[[str], None]


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> At:
    """Two homes with a node's key each; `at("mine")` goes to one of them."""
    for name, key in (("mine", MINE), ("theirs", THEIRS)):
        restore(tmp_path / name, "node", key.secret_seed(), None)
    monkeypatch.delenv("QCOMMONS_PASSPHRASE", raising=False)
    monkeypatch.chdir(tmp_path)

    def go(name: str) -> None:
        monkeypatch.setenv("QCOMMONS_HOME", str(tmp_path / name))

    go("mine")
    return go


def shown() -> Any:
    return body("owner", "show")


def test_the_node_of_this_home_is_certified_in_one_step(at: At) -> None:
    assert shown() == {"owner": None, "node": MINE.id, "node_owner": None, "certificates": []}
    assert f"node   {MINE.id}, it shows no owner" in text("owner", "show")
    done = body("owner", "certify")
    assert (done["node"], done["accepted"], done["file"]) == (MINE.id, True, None)
    now = shown()
    assert now["owner"] == now["node_owner"] == done["owner"] and done["owner"].startswith("qo1")
    assert done["until_ns"] - done["from_ns"] == 366 * 86_400 * 10**9
    printed = text("owner", "show")
    assert done["id"][:16] in printed and f"node   {MINE.id}, owned by {done['owner']}" in printed


def test_a_certificate_is_carried_to_another_node(at: At, tmp_path: Path) -> None:
    done = body("owner", "certify", THEIRS.id, "--for", "30d")
    assert not done["accepted"] and (tmp_path / done["file"]).exists()
    assert "this home has no" not in text("owner", "accept", done["file"], code=5)  # for another node: refused
    at("theirs")
    assert body("owner", "accept", done["file"]) == {
        "owner": done["owner"], "node": THEIRS.id, "until_ns": done["until_ns"],
    }  # fmt: skip
    assert shown()["node_owner"] == done["owner"]
    assert body("owner", "revoke", THEIRS.id, code=2)  # not the owner's home


def test_certificates_are_revoked_by_node_or_by_id(at: At, tmp_path: Path) -> None:
    first, second = body("owner", "certify"), body("owner", "certify", THEIRS.id, "--out", "theirs.cert")
    told = body("owner", "revoke", MINE.id, "--out", "list")
    assert (told["revoked"], told["seq"]) == ([first["id"]], 1)
    assert shown()["node_owner"] is None  # this home's own node shows it no more
    assert body("owner", "revoke", second["id"][:8])["seq"] == 2
    assert {row["id"]: row["revoked"] for row in shown()["certificates"]} == {first["id"]: True, second["id"]: True}
    assert text("owner", "show").count("revoked") == 2
    assert len(check_revocations(decode_link((tmp_path / "list").read_bytes()), "commons").revoked) == 1
    assert "no node certified here" in text("owner", "revoke", MINE.id, code=2)


def test_wrong_words_are_told_apart(at: At, tmp_path: Path) -> None:
    assert "checksum" in text("owner", "certify", MINE.id[:-1] + "q", code=2)
    assert "cannot read the file" in text("owner", "accept", "none", code=2)
    (tmp_path / "junk").write_bytes(b"junk" * 40_000)
    assert command("owner", "accept", "junk").code == 5
    assert "write a time" in text("owner", "certify", "--for", "long", code=2)
    assert "allowed 1 to" in text("owner", "certify", "--for", "900w", code=2)
    for which in ("xx", "deadbeef", "qn1"):
        assert command("owner", "revoke", which).code == 2
    assert "cannot write the file" in text("owner", "certify", THEIRS.id, "--out", "no/where", code=2)


def test_a_home_without_a_node_certifies_others_alone(at: At, tmp_path: Path) -> None:
    at("empty")
    assert "no node yet" in text("owner", "certify", code=2)
    assert body("owner", "certify", THEIRS.id)["node"] == THEIRS.id
    assert "no node yet" in text("owner", "accept", f"{THEIRS.id[:12]}.cert", code=2)
