"""Which node to talk to: its address and the token for it.

Flow: arguments > environment > the node that holds the home's lock -> *Target* -> Node. The home's token is sent to
the address of that very node only.

    QCOMMONS_NODE    URL (http://127.0.0.1:8740) or unix:PATH
    QCOMMONS_TOKEN   token for it; else the home's own if the address is the home's
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from qcommons.base.errors import Unavailable, UsageError
from qcommons.node.home import LOCK_FILE, TOKEN_FILE, home_path
from qcommons.node.lock import read_lock

__all__ = ["LOCK_FILE", "START", "TOKEN_FILE", "Target", "find"]

TOKEN_BYTES_MAX = 4096
START = "start a node with `qcommons up -d`, or name one with QCOMMONS_NODE"


class Target(msgspec.Struct, frozen=True):
    """url: http://HOST:PORT, or unix:PATH. token: secret; "" where none is known."""

    url: str
    token: str

    def __repr__(self) -> str:
        return f"Target({self.url})"

    @property
    def socket_path(self) -> str | None:
        return self.url.removeprefix("unix:") if self.url.startswith("unix:") else None

    @property
    def base_url(self) -> str:
        return "http://localhost" if self.socket_path is not None else self.url


def find(
    url: str | None = None,
    token: str | None = None,
    home: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Target:
    """The node that was named, else the home's own.

    Raises:
        UsageError: an address or token that is none. Unavailable: none is named and none runs in the home.
    """
    environ = os.environ if environ is None else environ
    home = home if home is not None else home_path()
    holder = read_lock(home / LOCK_FILE)
    own = holder.url.rstrip("/") if holder is not None else ""
    chosen = (url or environ.get("QCOMMONS_NODE") or own).rstrip("/")
    if not chosen:
        state = "no node runs here" if holder is None else "the node here does not serve yet"
        raise Unavailable(f"{state}; {START}", where=str(home))
    if not chosen.startswith(("http://", "https://", "unix:")):
        raise UsageError(f"{chosen[:80]!r} is no address; write http://127.0.0.1:8740 or unix:PATH", where="url")
    secret = token or environ.get("QCOMMONS_TOKEN") or ""
    if not secret and chosen == own:
        secret = _read_token(home / TOKEN_FILE)
    secret = secret.strip()
    if not secret.isascii() or any(character <= " " for character in secret):
        raise UsageError("a token is one word of ASCII characters", where="token")
    return Target(chosen, secret)


def _read_token(path: Path) -> str:
    try:
        with path.open(encoding="ascii") as file:
            return file.read(TOKEN_BYTES_MAX)
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not ASCII"
        raise Unavailable(f"cannot read the node's token: {why}; are you its owner?", where=str(path)) from None
