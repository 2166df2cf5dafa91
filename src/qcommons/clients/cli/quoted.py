"""What `qcommons quote` does: the arguments of `run` go to the node, its quote comes back as text or JSON.

Flow: `quote` (its options) -> running.request -> Node.quote -> *lines* -> text. Prices are base units, recorded in
leases and paid when there is a ledger.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from qcommons.base.clock import duration_text, seconds_text
from qcommons.base.errors import Unavailable
from qcommons.base.units import PPM, bytes_text
from qcommons.clients.cli.asking import count, say
from qcommons.clients.cli.running import request
from qcommons.clients.cli.through import find_node
from qcommons.verify.soundness import percent

if TYPE_CHECKING:
    from qcommons.node.api.quote_records import Quote, QuotedAudits, QuotedPeer, QuotedPrice, QuotedRow

__all__ = ["command", "lines"]

REFUSED = 3
PEERS_SHOWN = 12
REASONS_SHOWN = 8
ID_SHOWN, ASK_SHOWN = 16, 8  # characters of a node's id, of an ask's hash
OF_NODES = ("egress", "purpose")  # of a run here they change nothing that is quoted
BESIDE = " " * 11
ROW_HEAD = f"{BESIDE}{'row':<10}{'time':>10}  {'work units':>10}  {'memory':>9}  {'runs':>6}"
PEER_HEAD = (
    f"{BESIDE}{'node':<{ID_SHOWN}}  {'relation':<8}  {'all of it':>9}  {'ask':<{ASK_SHOWN}}  {'round trip':>10}  "
    f"{'places':>6}  {'right':>5}"
)


def command(args: argparse.Namespace) -> int:
    """Print the quote; returns 3 where it would be refused or nobody could run it now."""
    source, asked = request(args)
    found = _quote(args, source, asked)
    say(args, found, lines(found))
    return REFUSED if found.refused else 0


def _quote(args: argparse.Namespace, source: Any, asked: dict[str, Any]) -> Quote:
    """The node's; where none runs in this home, of a run without one."""
    node = find_node(args)
    if node is not None:
        with node:
            return node.quote(source, **asked)
    if args.on == "mesh":
        raise Unavailable("no node runs here; start one: qcommons up -d", where="--on mesh")
    from qcommons.node.config import load
    from qcommons.node.default import open_node

    with open_node(load({})) as embedded:
        return embedded.quote(source, **{name: value for name, value in asked.items() if name not in OF_NODES})


def lines(quote: Quote) -> Iterator[str]:
    """The quote for people."""
    if quote.refused:
        yield f"refused    {quote.refused}"
    yield f"plan       {quote.why}"
    yield from _rows(quote)
    yield f"runs       {_runs(quote)}"
    if quote.on == "mesh":
        yield from _peers(quote)
    if quote.price is not None:
        yield f"price      {_price(quote.price)}"
    if quote.audits is not None:
        yield f"audits     {_audits(quote.audits)}"
    yield f"time       {_time(quote)}"
    yield from _soundness(quote)
    yield f"physics    {quote.physics}; not claimed: {quote.not_claimed}"


def _rows(quote: Quote) -> Iterator[str]:
    yield ROW_HEAD
    for row in quote.rows:
        if row.applies:
            chosen = "  chosen" if row.row == quote.plan else ""
            yield f"{BESIDE}{_row(row)}{chosen}"
        else:
            nearest = f"; nearest: {row.nearest}" if row.nearest else ""
            yield f"{BESIDE}{row.row:<10}cannot: {row.why}{nearest}"


def _row(row: QuotedRow) -> str:
    about = "" if row.certain else "<"
    more = f"  {row.shots_factor:.3g} times the shots" if row.shots_factor > 1 else ""
    refused = f"  {row.refused} refused" if row.refused else ""
    return (
        f"{row.row:<10}{about + seconds_text(row.wall_s or row.seconds):>10}  {row.work_units:>10.3g}  "
        f"{bytes_text(row.memory_bytes):>9}  {row.runs:>6}{more}{refused}"
    )


def _runs(quote: Quote) -> str:
    asked = "" if quote.runs == quote.asked_runs else f" for the {quote.asked_runs} asked"
    leases = f" in about {count(quote.leases, 'lease')}" if quote.on == "mesh" else ""
    places = f" at {count(quote.time.places, 'place')}" + (f" of {count(quote.time.peers, 'peer')}" if leases else "")
    engines = f"; {', '.join(quote.engines)}" if quote.engines else "; the engine depends on the state"
    memory = f"; {bytes_text(quote.memory_bytes)} at most each"
    return (
        f"{count(quote.runs, 'run')}{asked}{leases}{places}, {seconds_text(quote.seconds)} of a core{memory}{engines}"
    )


def _peers(quote: Quote) -> Iterator[str]:
    able = [peer for peer in quote.peers if peer.why is None]
    left = Counter(peer.why.replace(peer.node, "it") for peer in quote.peers if peer.why is not None)
    terms = f"assurance {quote.assurance}, egress {quote.egress}"
    yield f"peers      {len(able)} of {len(quote.peers)} could take it; {terms}"
    if able:
        yield PEER_HEAD + ("  audited" if quote.audits else "")
    for peer in able[:PEERS_SHOWN]:
        yield f"{BESIDE}{_peer(peer)}" + (f"  {100 * peer.audit_ppm / PPM:.3g} %" if quote.audits else "")
    if len(able) > PEERS_SHOWN:
        yield f"{BESIDE}and {len(able) - PEERS_SHOWN} more: --json has all"
    for why, times in left.most_common(REASONS_SHOWN):
        yield f"{BESIDE}{times} left out: {why}"
    if len(left) > REASONS_SHOWN:
        yield f"{BESIDE}and {len(left) - REASONS_SHOWN} more reasons: --json has all"


def _peer(peer: QuotedPeer) -> str:
    ask = "no price" if peer.ask is None else peer.ask[:ASK_SHOWN]
    trip = "-" if peer.round_trip_ns is None else duration_text(peer.round_trip_ns)
    return (
        f"{peer.node[:ID_SHOWN]:<{ID_SHOWN}}  {peer.relation:<8}  {peer.due:>9}  {ask:<{ASK_SHOWN}}  {trip:>10}  "
        f"{peer.places:>6}  {peer.right:>5}"
    )


def _price(price: QuotedPrice) -> str:
    units = f"{price.work_units:.3g} work units"
    if price.least is None or price.most is None:
        return f"{units}; nobody to ask for a price"
    range_ = f"{price.least}" if price.least == price.most else f"{price.least} to {price.most}"
    asks = dict.fromkeys((ask or "no price")[:ASK_SHOWN] for ask in (price.least_ask, price.most_ask))
    said = f"{units}, {range_} base unit{'' if price.most == 1 else 's'} (by {', '.join(asks)})"
    within = {
        None: "; no budget",
        "all": f"; the budget of {price.budget} is enough",
        "some": f"; the budget of {price.budget} is enough for the cheaper ones",
        "none": f"; the budget of {price.budget} is too small",
    }
    return said + within[price.within]


def _time(quote: Quote) -> str:
    time = quote.time
    deadline = f"the deadline is {seconds_text(time.deadline_s)}"
    if time.expected_s is None:
        return f"nobody to run it; {deadline}"
    about = f"{'' if quote.certain else 'at most '}about {seconds_text(time.expected_s)}"
    peers = f"if {'peers are' if time.peers > 1 else 'the peer is'} as fast as this machine and idle"
    late = "" if time.in_time else ": TOO LATE"
    end = "" if quote.certain else "; it depends on the state, and may end without an answer at the cap of its method"
    return f"{about}, {'once it is its turn' if quote.on == 'here' else peers}; {deadline}{late}{end}"


def _audits(audits: QuotedAudits) -> str:
    where = "here" if audits.where == "here" else "by a third peer, as this node cannot"
    return f"about {audits.runs:.3g} runs computed again {where}, {seconds_text(audits.seconds)} of a core"


def _soundness(quote: Quote) -> Iterator[str]:
    """In full of a peer that cheats alone, in a line each of others."""
    said = [check.says for check in quote.checks if check.cheat == quote.checks[0].cheat]
    others: dict[str, list[str]] = {}
    for check in quote.checks[len(said) :]:
        others.setdefault(check.cheat, []).append(f"{percent(check.high)} of {100 * check.share:.0f} %")
    said = list(dict.fromkeys(said)) + [f"{cheat}: passes with <= {', '.join(rows)}" for cheat, rows in others.items()]
    for place, text in enumerate(said):
        yield f"{'' if place else 'soundness':<11}{text}"
    if quote.better:
        yield f"better     so that at most 0.2 % of those that fake 30 % pass: {quote.better}"
