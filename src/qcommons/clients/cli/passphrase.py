"""The passphrase of a key: from a descriptor, from the environment, or asked for on a terminal.

Flow: `--passphrase-fd N`, else QCOMMONS_PASSPHRASE, else a question where one is needed -> *passphrase* -> keyfile.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from qcommons.base.errors import UsageError
from qcommons.clients.cli.options import Option, whole

if TYPE_CHECKING:
    from qcommons.pqc.keyfile import KeyFacts

__all__ = ["PASSPHRASE", "passphrase"]

PASSPHRASE = Option(
    "--passphrase-fd",
    "N",
    "Read the passphrase of the key from this descriptor, up to its end; else QCOMMONS_PASSPHRASE, else ask for it.",
    kind=whole(0, 65535),
)
PASSPHRASE_ENV = "QCOMMONS_PASSPHRASE"
BYTES_MAX = 1024  # as pqc.keyfile has it


def passphrase(args: argparse.Namespace, facts: KeyFacts | None) -> bytes | None:
    """The passphrase that was given, None where none was. facts: of the key that is there, if there is one.

    Raises:
        UsageError: the descriptor cannot be read.
    """
    from_environment = os.environ.pop(PASSPHRASE_ENV, None)  # where no child finds it afterwards
    if args.passphrase_fd is not None:
        try:
            with os.fdopen(args.passphrase_fd, "rb", closefd=False) as file:
                return file.read(BYTES_MAX + 2).removesuffix(b"\n")
        except OSError as error:
            what = f"cannot read descriptor {args.passphrase_fd}: {error.strerror}"
            raise UsageError(what, where="--passphrase-fd") from None
    if from_environment is not None:
        return os.fsencode(from_environment)
    if facts is not None and facts.sealed_by == "passphrase" and sys.stdin.isatty():
        from getpass import getpass

        return os.fsencode(getpass("passphrase of the key: "))
    return None
