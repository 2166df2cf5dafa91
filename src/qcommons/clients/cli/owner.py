"""`qcommons owner`: which nodes are mine. The owner's key signs; each node keeps its certificate and shows it.

Flow: NODE -> *certify* -> a file -> that node's home -> *accept* -> its record names its owner. *revoke* -> a list.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qcommons.base.errors import PeerError, UsageError
from qcommons.base.units import NS_PER_S
from qcommons.clients.cli.asking import count, moment, say
from qcommons.clients.cli.options import JSON, Option, span
from qcommons.clients.cli.passphrase import PASSPHRASE, passphrase

if TYPE_CHECKING:
    from qcommons.node.ownership import Issued, Ownership

__all__ = ["WORDS"]

YEAR_S = 366 * 86_400
OUT = Option("--out", "FILE", "Write it there.")


def _certify(args: argparse.Namespace) -> int:
    """Sign that a node is this owner's. For the node of this home, keep it here as well."""
    from qcommons.node.backup import key_folder
    from qcommons.pqc.certificates import encode_link, owner_id
    from qcommons.pqc.identity import node_id_of_hash, parse_node_id
    from qcommons.pqc.keyfile import key_facts

    folder = key_folder(_home())
    own = key_facts(folder)
    if args.node_id is None and own is None:
        raise UsageError("this home has no node yet; start it once, or name another node", where="NODE")
    node = parse_node_id(args.node_id) if args.node_id is not None or own is None else own.hash
    secret = passphrase(args, key_facts(folder, "owner"))
    life_s = YEAR_S if vars(args)["for"] is None else round(vars(args)["for"])
    now_s = _now_s()
    issued = _ownership().certify(node, life_s, secret, now_s)
    data = encode_link(issued.link)
    here = own is not None and own.hash == node
    if here:
        _ownership().accept(data, node, now_s)
    out = args.out or (None if here else f"{node_id_of_hash(node)[:12]}.cert")
    if out is not None:
        _write(out, data)
    lines = [f"{owner_id(issued.certificate.owner)} certifies {node_id_of_hash(node)}",
             f"  until {moment(issued.certificate.until_s * NS_PER_S)}"]  # fmt: skip
    if here:
        lines.append("  kept for the node of this home; it says so within a minute, or from its start on")
    if out is not None:
        lines.append(f"  written to {out}; on that node: qcommons owner accept {Path(out).name}")
    say(args, _facts(issued) | {"file": out, "accepted": here}, lines)
    return 0


def _show(args: argparse.Namespace) -> int:
    """List the certificates that this owner signed, and the one of the node of this home."""
    from qcommons.node.backup import key_folder
    from qcommons.pqc.certificates import owner_id
    from qcommons.pqc.keyfile import key_facts

    folder, ownership, now_s = key_folder(_home()), _ownership(), _now_s()
    owner, node = key_facts(folder, "owner"), key_facts(folder)
    mine = ownership.of_node(node.hash, now_s) if node is not None else None
    rows = ownership.issued()
    body = {
        "owner": None if owner is None else owner_id(owner.hash),
        "node": None if node is None else node.node,
        "node_owner": None if mine is None else owner_id(mine[0].owner),
        "certificates": [_facts(row) for row in rows],
    }
    say(args, body, _lines(body, rows, now_s))
    return 0


def _lines(body: dict[str, Any], rows: list[Issued], now_s: int) -> Iterator[str]:
    from qcommons.pqc.identity import node_id_of_hash

    yield f"owner  {body['owner'] or 'no key here yet; the first `qcommons owner certify` makes it'}"
    owned = f"owned by {body['node_owner']}" if body["node_owner"] else "it shows no owner"
    yield f"node   {body['node']}, {owned}" if body["node"] else "node   none here yet; its first start makes its key"
    for row in rows:
        until = moment(row.certificate.until_s * NS_PER_S)
        state = "revoked" if row.revoked else "expired" if now_s >= row.certificate.until_s else f"until {until}"
        yield f"{row.id.hex()[:16]}  {node_id_of_hash(row.certificate.node)}  {state}"


def _accept(args: argparse.Namespace) -> int:
    """Keep a certificate for the node of this home, or an owner's list of revocations."""
    from qcommons.node.backup import key_folder
    from qcommons.pqc.certificates import LINK_BYTES_MAX, owner_id
    from qcommons.pqc.keyfile import key_facts

    try:
        with Path(args.file).open("rb") as file:
            data = file.read(LINK_BYTES_MAX + 1)  # one more than allowed: `accept` refuses it
    except OSError as error:
        raise UsageError(f"cannot read the file: {error.strerror}", where=args.file) from None
    facts = key_facts(key_folder(_home()))
    if facts is None:
        raise UsageError("this home has no node yet; start it once: qcommons up -d", where=str(_home()))
    try:
        certificate = _ownership().accept(data, facts.hash, _now_s())
    except PeerError as error:
        if error.where != "object type":
            raise
        return _accept_revocations(args, data)
    owner = owner_id(certificate.owner)
    body = {"owner": owner, "node": facts.node, "until_ns": certificate.until_s * NS_PER_S}
    say(args, body, [f"{facts.node} is owned by {owner}; the node says so within a minute, or from its start on"])
    return 0


def _accept_revocations(args: argparse.Namespace, data: bytes) -> int:
    from qcommons.pqc.certificates import owner_id

    taken = _ownership().accept_revocations(data)
    owner = owner_id(taken.issuer)
    body = {"owner": owner, "seq": taken.seq, "revoked": [one.hex() for one in taken.revoked]}
    took = f"{owner} took back {count(len(taken.revoked), 'certificate')} (list {taken.seq})"
    say(args, body, [f"{took}: none of them counts here any more"])
    return 0


def _revoke(args: argparse.Namespace) -> int:
    """Take certificates back: all of a node, or the one of an id."""
    from qcommons.node.backup import key_folder
    from qcommons.pqc.certificates import encode_link
    from qcommons.pqc.keyfile import key_facts

    ownership = _ownership()
    found = _named(ownership, args.which, again=args.out is not None)
    revocations, link = ownership.revoke(found, passphrase(args, key_facts(key_folder(_home()), "owner")), _now_s())
    if args.out is not None:
        _write(args.out, encode_link(link))
    ids = [one.hex() for one in found]
    lines = [f"revoked {one}" for one in ids] + [f"the list of revocations has sequence {revocations.seq} now"]
    if args.out is None:
        lines.append(
            "  it counts in this home; for other homes write it with --out FILE, there: qcommons owner accept FILE"
        )
    else:
        lines.append(
            f"  written to {args.out}; in the homes that must know: qcommons owner accept {Path(args.out).name}"
        )
    say(args, {"revoked": ids, "seq": revocations.seq, "file": args.out}, lines)
    return 0


def _named(ownership: Ownership, which: str, *, again: bool) -> list[bytes]:
    """Ids of the certificates that a node id, or the beginning of an id, means. again: revoked ones too."""
    from qcommons.pqc.identity import parse_node_id

    rows = ownership.issued()
    if which.strip().lower().startswith("qn1"):
        node = parse_node_id(which)
        found = [row.id for row in rows if row.certificate.node == node and (again or not row.revoked)]
    else:
        found = [row.id for row in rows if len(which) >= 8 and row.id.hex().startswith(which.lower())]
        found = found if len(found) == 1 else []
    if not found:
        what = f"{which[:80]!r} is no node certified here, nor 8 or more digits of one id; see: qcommons owner show"
        raise UsageError(what, where="WHICH")
    return found


def _facts(issued: Issued) -> dict[str, Any]:
    from qcommons.pqc.certificates import owner_id
    from qcommons.pqc.identity import node_id_of_hash

    certificate = issued.certificate
    return {
        "id": issued.id.hex(),
        "owner": owner_id(certificate.owner),
        "node": node_id_of_hash(certificate.node),
        "from_ns": certificate.from_s * NS_PER_S,
        "until_ns": certificate.until_s * NS_PER_S,
        "revoked": issued.revoked,
    }


def _write(name: str, data: bytes) -> None:
    try:
        Path(name).write_bytes(data)
    except OSError as error:
        raise UsageError(f"cannot write the file: {error.strerror}", where=f"--out {name}") from None


def _ownership() -> Ownership:
    from qcommons.node.config import network
    from qcommons.node.ownership import Ownership

    return Ownership(_home(), network=network())


def _home() -> Path:
    from qcommons.node.home import home_path

    return home_path()


def _now_s() -> int:
    return time.time_ns() // NS_PER_S


WORDS = {
    "owner certify": (
        (
            Option("node_id", "NODE", "The id of the node; without it, the node of this home.", optional=True),
            Option("--for", "TIME", "It holds for this time (a year), as in 30d or 4w.", kind=span),
            OUT,
            PASSPHRASE,
            JSON,
        ),
        _certify,
    ),
    "owner accept": ((Option("file", "FILE", "A certificate that `owner certify` wrote."), JSON), _accept),
    "owner show": ((JSON,), _show),
    "owner revoke": (
        (Option("which", "WHICH", "A node's id, or 8 or more digits of a certificate's."), OUT, PASSPHRASE, JSON),
        _revoke,
    ),
}  # fmt: skip
