"""`qcommons token`: tokens for others, who then may submit jobs here and see their own.

Flow: name -> node -> the token's text, shown once (the node keeps its hash) -> its holder's QCOMMONS_TOKEN.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from qcommons.clients.cli.asking import ago, connect, left, say
from qcommons.clients.cli.options import JSON, NODE, Option, span

if TYPE_CHECKING:
    from qcommons.node.api.records import TokenView

__all__ = ["WORDS"]


def _new(args: argparse.Namespace) -> int:
    """Make a token and print it, this once."""
    with connect(args) as node:
        given = node.new_token(args.name, vars(args)["for"])
        url = node.target.url
    until = "until revoked" if given.expires_ns is None else f"expires {left(given.expires_ns)}"
    lines = [
        f"token {given.id} for {given.principal}, {until}. It is shown this once:",
        given.token,
        "Its holder sets:",
        f"  export QCOMMONS_NODE={url}",
        "  export QCOMMONS_TOKEN=...",
    ]
    say(args, given, lines)
    return 0


def _list(args: argparse.Namespace) -> int:
    """Print what is known of the tokens; never their text."""
    with connect(args) as node:
        found = node.tokens()
    say(args, {"tokens": found}, _lines(found))
    return 0


def _lines(found: list[TokenView]) -> Iterator[str]:
    if not found:
        yield "no token was given; give one: qcommons token new NAME"
    for token in found:
        until = "until revoked" if token.expires_ns is None else f"expires {left(token.expires_ns)}"
        yield f"{token.id}  {token.principal:<16} made {ago(token.made_ns)}, {until}"


def _revoke(args: argparse.Namespace) -> int:
    """Revoke a token; its holder is refused from the next request on."""
    with connect(args) as node:
        node.revoke_token(args.id)
    say(args, {"revoked": args.id}, [f"token {args.id} is revoked"])
    return 0


WORDS = {
    "token new": (
        (
            Option("name", "NAME", "Whom it is for: the principal of the jobs that come with it."),
            Option("--for", "TIME", "It expires after this time, as in 12h or 7d; else it holds until revoked.",
                   kind=span),
            NODE,
            JSON,
        ),
        _new,
    ),
    "token list": ((NODE, JSON), _list),
    "token revoke": ((Option("id", "ID", "The token's id, as `token list` shows it."), NODE, JSON), _revoke),
}  # fmt: skip
