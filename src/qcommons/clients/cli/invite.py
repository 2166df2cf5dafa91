"""`qcommons invite`: one string by which another node joins this mesh.

Flow: node -> InviteView -> *invite* -> the string, and with `--qr` a code for a camera.
"""

from __future__ import annotations

import argparse
import sys
from typing import TextIO

from qcommons.clients.cli.asking import connect, say
from qcommons.clients.cli.options import JSON, NODE, Option

__all__ = ["OPTIONS", "command"]

OPTIONS = (Option("--qr", None, "Also show it as a QR code in the terminal."), NODE, JSON)


def command(args: argparse.Namespace) -> int:
    """Print the invitation. It holds no secret: whoever has it can ask to join, and is a stranger still."""
    with connect(args) as node:
        given = node.mesh.invite()
    lines = [
        given.invite,
        f"It leads to the network {given.network!r} by {', '.join(given.addresses)}. On the other machine:",
        "  qcommons join INVITE",
    ]
    if given.note:
        lines.append(given.note)
    say(args, given, lines)
    if args.qr:
        # beside JSON on standard output the code goes to standard error
        _show(given.invite, sys.stderr if args.json else sys.stdout)
    return 0


def _show(text: str, out: TextIO) -> None:
    import segno

    # upper case is the alphanumeric mode: a smaller code, and Bech32m reads either case (BIP-173)
    segno.make_qr(text.upper(), error="l").terminal(out=out, border=2, compact=True)
