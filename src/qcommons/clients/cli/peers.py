"""`qcommons peers`: who is in the mesh, how each is reached, and why one is red; what the owner decides of them.

Flow: node -> MeshView -> *peers* -> a table, with cause and next action beneath whatever is not green, or JSON.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from qcommons.base.clock import duration_text, seconds_text
from qcommons.base.errors import UsageError
from qcommons.base.quantities import memory_bytes
from qcommons.base.text import printable
from qcommons.base.units import NS_PER_S
from qcommons.clients.cli.asking import clean, connect, count, lasting, left, moment, say
from qcommons.clients.cli.options import JSON, NODE, Option, span, whole
from qcommons.clients.cli.progress import patiently

if TYPE_CHECKING:
    from qcommons.clients.http.node import Node
    from qcommons.node.api.mesh_records import Measured, MeshView, PapersView, PeerRow, Probed, Verdict

__all__ = ["WORDS", "reach_lines", "short"]

SHORT = 12  # characters of a node id that tell the peers of one mesh apart
HEAD = f"{'':<7}{'node':<{SHORT}}  {'state':<8}  {'since':<10}  {'round trip':>10}  {'link':<8}  {'version':<9}  offers"
WORST_FIRST = {"red": 0, "yellow": 1, "green": 2}
REQUESTS = 200
PROBE_S = 2.0
PAPERS_S = 10  # how long the node waits for a peer to show its papers (`node/mesh/papers.py`)
ALL = Option("--all", None, "Also strangers that are not linked: whom nobody here certified, allowed or joined by. "
             "JSON has all in any case.")  # fmt: skip
PEER = Option("peer", "NODE", "The peer's node id, or the beginning of it.")


def _peers(args: argparse.Namespace) -> int:
    """Print who is there."""
    with connect(args) as node:
        view = node.mesh.view()
    say(args, view, _lines(view, everybody=args.all))
    return 0


def _lines(view: MeshView, *, everybody: bool) -> Iterator[str]:
    from qcommons.node.api.mesh_records import is_near

    alive = sum(row.state == "alive" for row in view.peers)
    verb = "is" if alive == 1 else "are"
    yield f"{count(alive, 'peer')} {verb} alive in the network {view.network!r}; {view.links} linked."
    yield from reach_lines(view)
    if not view.peers:
        yield "No peer is known yet: join by an invitation (qcommons join INVITE), or wait for mDNS on the LAN."
        return
    shown = [row for row in view.peers if everybody or is_near(row)]
    if shown:
        yield HEAD
    for row in sorted(shown, key=lambda row: (WORST_FIRST[row.level], row.node)):
        yield from _row_lines(row, view.now_ns)
    rest = Counter(row.state for row in view.peers if not everybody and not is_near(row))
    if rest:
        states = ", ".join(f"{number} {state}" for state, number in sorted(rest.items()))
        yield f"and {count(rest.total(), 'stranger')} not linked: {states}; see them: qcommons peers --all"


def _row_lines(row: PeerRow, now_ns: int) -> Iterator[str]:
    """The row, and beneath it cause and next action of what is not green, and the absence that it planned."""
    yield _row(row, now_ns)
    if row.level != "green":
        yield f"{'':<9}cause: {row.cause}"
        if row.action:
            yield f"{'':<9}next:  {row.action}"
    if row.away is not None:
        begins = "now" if row.away.from_s * NS_PER_S <= now_ns else left(row.away.from_s * NS_PER_S, now_ns)
        yield f"{'':<9}away:  {begins}, back {left(row.away.until_s * NS_PER_S, now_ns)}"


def _row(row: PeerRow, now_ns: int) -> str:
    since = duration_text(max(0, now_ns - row.since_ns)) if row.since_ns else "-"
    trip = "-" if row.round_trip_s is None else seconds_text(row.round_trip_s)
    link = "-" if row.link == "none" else row.link
    offers = ", ".join(row.offers) or "-"
    return (
        f"{row.level:<7}{short(row.node):<{SHORT}}  {row.state:<8}  {since:<10}  {trip:>10}  {link:<8}  "
        f"{row.version or '-':<9}  {offers}"
    )


def reach_lines(view: MeshView) -> Iterator[str]:
    """Whether others can dial this node; cause and next action where they cannot."""
    words = {"yes": "can be reached", "no": "cannot be reached", "unknown": "nobody has tried to reach it yet"}
    reach = view.reach
    where = f" at {reach.address}" if reach.address else ""
    yield f"this node: {words[reach.state]}{where}, {lasting(reach.since_ns, view.now_ns)}"
    if reach.state != "yes":
        yield f"{'':<9}cause: {reach.cause}"
        if reach.action:
            yield f"{'':<9}next:  {reach.action}"
    if reach.relays:
        yield f"{'':<9}relayed by {', '.join(short(node) for node in reach.relays)}, who see ciphertext only"
    for node in reach.one_way:
        yield f"yellow {short(node)} reaches this node, but cannot be dialled from here"


def short(node: str) -> str:
    """A node id as it stands in tables."""
    return node[:SHORT]


def _full(node: Node, text: str) -> str:
    """The node id that begins so, if it is the only one."""
    from qcommons.pqc.identity import parse_node_id

    if len(text) > SHORT * 3:
        parse_node_id(text)
        return text.strip().lower()
    head = text.strip().lower()
    found = [row.node for row in node.mesh.view().peers if row.node.startswith(head)]
    if len(found) == 1:
        return found[0]
    what = f"{len(found)} peers begin with" if found else "no known peer begins with"
    raise UsageError(f"{what} {head[:40]!r}; see them: qcommons peers --all")


def _deciding(verdict: Verdict, said: str) -> Callable[[argparse.Namespace], int]:
    def command(args: argparse.Namespace) -> int:
        with connect(args) as node:
            row = node.mesh.decide(_full(node, args.peer), verdict)
        say(args, row, [f"{row.node} {said}"])
        return 0

    return command


def _forget(args: argparse.Namespace) -> int:
    """What was known and decided of the peer is deleted; if it comes again, it is a stranger."""
    with connect(args) as node:
        peer = _full(node, args.peer)
        node.mesh.forget(peer)
    lines = [
        f"{peer} is forgotten, and what was decided of it",
        "It comes back as a stranger when it dials this node, or when another peer tells of it. To keep it away:",
        f"  qcommons peers deny {peer}",
    ]
    say(args, {"forgotten": peer}, lines)
    return 0


def _measure(args: argparse.Namespace) -> int:
    """Round trips of 1 KiB one after the other, and with --blob the rate of a blob."""
    blob_bytes = 0 if args.blob is None else int(memory_bytes(args.blob, "--blob"))
    with connect(args) as node, patiently("measuring", silent=args.json):
        measured = node.mesh.measure(_full(node, args.peer), args.requests or REQUESTS, args.size or 1024, blob_bytes)
    say(args, msgspec.to_builtins(measured) | {"mib_per_s": _rate(measured)}, _measured(measured))
    return 0


def _measured(measured: Measured) -> Iterator[str]:
    if measured.p50_s is not None and measured.p99_s is not None and measured.least_s is not None:
        times = (
            f"p50 {seconds_text(measured.p50_s)}, p99 {seconds_text(measured.p99_s)}, "
            f"least {seconds_text(measured.least_s)}"
        )
        yield f"{measured.requests} round trips to {short(measured.node)}: {times}"
    if measured.failed:
        yield f"{measured.failed} failed, the last one: {measured.cause}"
    rate = _rate(measured)
    if rate is not None:
        yield f"a blob of {measured.blob_bytes / 2**20:.4g} MiB: {rate:.4g} MiB/s, checked"


def _rate(measured: Measured) -> float | None:
    """MiB/s."""
    return measured.blob_bytes / 2**20 / measured.blob_s if measured.blob_s else None


def _papers(args: argparse.Namespace) -> int:
    """Ask a peer whose node it is, and check what it shows."""
    with connect(args) as node:
        peer = _full(node, args.peer)
        _say_patience(node, peer)
        seen = node.mesh.papers(peer)
    say(args, seen, _shown(seen))
    return 0


def _say_patience(node: Node, peer: str) -> None:
    """A peer that is not alive answers late or never: say so before the wait."""
    row = next((row for row in node.mesh.view().peers if row.node == peer), None)
    if row is not None and row.state != "alive":
        what = f"{short(peer)} is {row.state} ({row.cause}); asking it all the same takes {PAPERS_S:g} s at most"
        print(printable(f"qcommons: {clean(what)}"), file=sys.stderr, flush=True)


def _shown(seen: PapersView) -> Iterator[str]:
    yield seen.node
    if seen.owner and seen.owner_until_s is not None:
        yield f"owner   {seen.owner}, certified until {moment(seen.owner_until_s * NS_PER_S)}"
    else:
        yield "owner   nobody certifies it"
    for one in seen.before:
        yield f"before  {one.node}, until {moment(one.until_s * NS_PER_S)}"
    yield f"prekey  boxes can be sealed to it until {moment(seen.prekey_until_s * NS_PER_S)}"


def _probe(args: argparse.Namespace) -> int:
    """Tell everybody, and print who heard and how soon; 4 where an alive peer did not."""
    with connect(args) as node, patiently(f"waiting {args.wait or PROBE_S:g} s for answers", silent=args.json):
        probed = node.mesh.probe(args.wait or PROBE_S)
    say(args, probed, _probed(probed))
    return 4 if probed.silent else 0


def _probed(probed: Probed) -> Iterator[str]:
    yield f"{len(probed.heard)} of {len(probed.heard) + len(probed.silent)} alive peers heard the news and answered."
    if probed.p50_s is not None and probed.p99_s is not None:
        yield f"there and back: p50 {seconds_text(probed.p50_s)}, p99 {seconds_text(probed.p99_s)}"
    for node in probed.silent:
        yield f"silent  {node}"
    for node in probed.twice:
        yield f"twice   {node} heard it more than once"


WORDS = {
    "peers": ((ALL, NODE, JSON), _peers),
    "peers allow": ((PEER, NODE, JSON), _deciding("allow", "is allowed: whatever it does, nothing bans it")),
    "peers deny": ((PEER, NODE, JSON), _deciding("deny", "is denied: no link with it, until allowed or forgotten")),
    "peers forget": ((PEER, NODE, JSON), _forget),
    "peers measure": (
        (
            PEER,
            Option("--requests", "N", f"Round trips ({REQUESTS}).", kind=whole(1, 10_000), short="-n"),
            Option("--size", "BYTES", "Bytes of each (1024).", kind=whole(0, 65_536)),
            Option("--blob", "SIZE", "Also send a blob of this size there, as in 16MiB; 64MiB at most."),
            NODE,
            JSON,
        ),
        _measure,
    ),
    "peers papers": ((PEER, NODE, JSON), _papers),
    "peers probe": (
        (Option("--wait", "TIME", "How long to wait for answers (2s), 30s at most.", kind=span), NODE, JSON),
        _probe,
    ),
}
