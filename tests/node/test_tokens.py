"""Tokens: the owner's in a file only the owner reads, others' as hashes that expire and can be revoked."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from qcommons.base.errors import Corrupt, UsageError
from qcommons.node.tokens import Tokens, owner_token


def test_the_owners_token_is_made_once_in_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    text = owner_token(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert owner_token(path) == text and len(text) > 43  # 256 bits in base64 are 43 characters


def test_a_token_file_that_others_can_read_is_refused_with_the_command_that_helps(tmp_path: Path) -> None:
    path = tmp_path / "token"
    owner_token(path)
    path.chmod(0o644)
    with pytest.raises(Corrupt, match="chmod 600"):
        owner_token(path)


@pytest.mark.parametrize("text", ["", "qct_short", "something else that is quite long enough for a token"])
def test_a_file_without_a_token_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "token"
    path.touch(0o600)
    path.write_text(text)
    with pytest.raises(Corrupt, match="no token"):
        owner_token(path)


def test_a_token_opens_until_it_expires_or_is_revoked() -> None:
    now = [1000]
    tokens = Tokens("owner's", "home", [], lambda: now[0])
    assert tokens.principal_of("owner's") == "home" and tokens.principal_of("owner") is None
    brief, text = tokens.make("alice", expires_ns=2000)
    lasting, other = tokens.make("bob", None)
    assert (tokens.principal_of(text), tokens.principal_of(other)) == ("alice", "bob")
    now[0] = 2000
    assert (tokens.principal_of(text), tokens.principal_of(other)) == (None, "bob")
    tokens.revoke(lasting.id)
    assert tokens.principal_of(other) is None
    assert [token.id for token in tokens.listed()] == [brief.id]
    with pytest.raises(UsageError, match="no token"):
        tokens.revoke(lasting.id)


def test_what_is_kept_of_a_token_opens_after_a_restart_and_does_not_hold_it() -> None:
    token, text = Tokens("owner's", "home", [], lambda: 0).make("alice", None)
    kept = msgspec.msgpack.encode(token)
    assert text.encode() not in kept and text.removeprefix("qct_").encode() not in kept
    again = Tokens("owner's", "home", [token], lambda: 0)
    assert again.principal_of(text) == "alice"


def test_nobody_else_gets_a_token_of_the_owner() -> None:
    with pytest.raises(UsageError):
        Tokens("owner's", "home", [], lambda: 0).make("home", None)
