"""`qcommons receipt check FILE`: is this receipt signed by that node? Offline: it asks nobody.

Flow: file -> verify.receipt.check -> *receipt* -> what the node says it did. Exit code 5 where it is not so.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from qcommons.base.clock import duration_text
from qcommons.base.errors import UsageError
from qcommons.clients.cli.asking import ago, moment, say
from qcommons.clients.cli.options import JSON, Option

if TYPE_CHECKING:
    from qcommons.verify.records import Receipt

__all__ = ["WORDS"]

FROM_FILE = (
    "  note      the file names its signer: compare that with the node you asked (qcommons status says its id), or "
    "give it as --node-id"
)
NETWORK = Option("--network", "NAME", "The network it was signed for (commons).")


def _check(args: argparse.Namespace) -> int:
    """Print the receipt if every step of the check holds. Raises PeerError naming the first that does not."""
    from qcommons.node.home import NETWORK as COMMONS
    from qcommons.verify.receipt import SIGNED_RECEIPT_BYTES_MAX, check, signer

    try:
        with Path(args.file).open("rb") as file:
            data = file.read(SIGNED_RECEIPT_BYTES_MAX + 1)  # one more than allowed: `check` refuses it
    except OSError as error:
        raise UsageError(f"cannot read the file: {error.strerror}", where=args.file) from None
    node_id = args.node_id or signer(data)
    receipt = check(data, node_id, args.network or COMMONS)
    facts = msgspec.to_builtins(receipt_facts(receipt))
    body = {"valid": True, "node_id": node_id, "node_id_from": "option" if args.node_id else "file", "receipt": facts}
    say(args, body, [*_lines(receipt, node_id), *([] if args.node_id else [_from_file(node_id)])])
    return 0


def _from_file(node_id: str) -> str:
    """What is proven where nobody said who must have signed."""
    from qcommons.node.backup import key_folder
    from qcommons.node.home import home_path
    from qcommons.pqc.keyfile import key_facts

    own = key_facts(key_folder(home_path()))
    if own is not None and own.node == node_id:
        return "  note      the file names its signer: the node of this home"
    return FROM_FILE


def receipt_facts(receipt: Receipt) -> dict[str, object]:
    """Its fields by name, the hash of the result in hex."""
    facts = {name: getattr(receipt, name) for name in receipt.__struct_fields__}
    return facts | {"result_hash": None if receipt.result_hash is None else receipt.result_hash.hex()}


def _lines(receipt: Receipt, node_id: str) -> Iterator[str]:
    yield f"valid: signed by {node_id}"
    yield f"  job       {receipt.job_id}, run {receipt.run}: {receipt.status}"
    yield f"  program   {receipt.program_id}"
    shots = "exact" if receipt.shots is None else f"{receipt.shots} shots"
    yield f"  asked     {receipt.want}, {shots}, seed {receipt.seed}"
    if receipt.engine:
        yield f"  engine    {receipt.engine} {receipt.engine_version}, method {receipt.method}"
    yield f"  took      {duration_text(receipt.duration_ns)}, {receipt.work_units} work units"
    if receipt.result_hash is not None:
        yield f"  result    SHA3-256 {receipt.result_hash.hex()}"
    yield f"  physics   {receipt.physics}"
    yield f"  ended     {ago(receipt.ended_at_ns)} ({moment(receipt.ended_at_ns)})"


WORDS = {
    "receipt check": (
        (
            Option("file", "FILE", "The receipt file, as `qcommons job receipt` writes it."),
            Option("--node-id", "ID", "The node that must have signed it (qn1...); without it, whoever the file "
                   "says, which proves less."),
            NETWORK,
            JSON,
        ),
        _check,
    ),
}  # fmt: skip
