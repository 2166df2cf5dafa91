"""Bearer tokens: the owner's in a 0600 file, others' as hashes on disk.

Flow: Authorization header -> guard -> *Tokens* -> principal. A token is 256 random bits; only SHA3-256 of it is
compared and kept, so neither time nor the database gives it away.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path

import msgspec

from qcommons.base.errors import Corrupt, Unavailable, UsageError
from qcommons.node.own_files import open_own

__all__ = ["Token", "Tokens", "owner_token"]

TOKEN_BYTES = 32
FILE_CHARACTERS_MAX = 4096  # of the token file, which holds 48
PREFIX = "qct_"  # so that scanners for leaked secrets can find it


class Token(msgspec.Struct, frozen=True):
    """What is kept of a token. digest: SHA3-256 of its text. expires_ns: None = until revoked."""

    id: str
    principal: str
    digest: bytes
    made_ns: int
    expires_ns: int | None


class Tokens:
    """owner: text of the owner's token and the principal it stands for."""

    def __init__(self, owner: str, owner_principal: str, known: list[Token], now_ns: Callable[[], int]) -> None:
        self._owner_digest = digest(owner)
        self._owner_principal = owner_principal
        self._now_ns = now_ns
        self._by_digest = {token.digest: token for token in known}

    def principal_of(self, text: str) -> str | None:
        """None for a wrong, revoked or expired token."""
        found = digest(text)
        if secrets.compare_digest(found, self._owner_digest):
            return self._owner_principal
        token = self._by_digest.get(found)
        if token is None or (token.expires_ns is not None and self._now_ns() >= token.expires_ns):
            return None
        return token.principal

    def listed(self) -> list[Token]:
        return sorted(self._by_digest.values(), key=lambda token: token.made_ns)

    def make(self, principal: str, expires_ns: int | None) -> tuple[Token, str]:
        """A new token and its text, which is not kept."""
        if principal == self._owner_principal:
            raise UsageError(f"the owner's token is in a file of the home; {principal!r} gets no other", where="token")
        text = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
        token = Token(secrets.token_hex(4), principal, digest(text), self._now_ns(), expires_ns)
        self._by_digest[token.digest] = token
        return token, text

    def revoke(self, token_id: str) -> None:
        for found, token in self._by_digest.items():
            if token.id == token_id:
                del self._by_digest[found]
                return
        raise UsageError(f"there is no token {token_id[:40]!r}; see qcommons token list", where="token")


def digest(text: str) -> bytes:
    return hashlib.sha3_256(b"qcommons token" + text.encode()).digest()


def owner_token(path: Path) -> str:
    """The owner's token, made at the first start: one line in a file that only the owner can read.

    Raises:
        Unavailable: it cannot be read or made. Corrupt: others can read it, or it holds no token.
        UsageError: a link, or something else than a file of this user, is there.
    """
    try:
        descriptor = open_own(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    except FileExistsError:
        return _read(path)
    except OSError as error:
        raise Unavailable(f"cannot make the token file: {error.strerror}", where=str(path)) from None
    text = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    return text


def _read(path: Path) -> str:
    try:
        with os.fdopen(open_own(path, os.O_RDONLY), encoding="ascii") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(FILE_CHARACTERS_MAX).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"cannot read the token file: {error}", where=str(path)) from None
    if mode & 0o077:
        raise Corrupt(f"others can read the owner's token; run: chmod 600 {path}, or delete it", where=str(path))
    if not text.startswith(PREFIX) or len(text) < len(PREFIX) + 4 * TOKEN_BYTES // 3:
        raise Corrupt("this file holds no token; delete it and start the node again", where=str(path))
    return text
