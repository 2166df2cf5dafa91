"""`qcommons asks`, `ask`: the market as this node sees it, and what this node itself offers.

Flow: options -> node -> AskList, OwnAsk -> *asks* -> a table, cheapest first, or JSON. A price is base units for 10^9
units of the resource, said wherever one is shown.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from qcommons.base.errors import UsageError
from qcommons.base.text import shown
from qcommons.base.units import NS_PER_S, PPM
from qcommons.clients.cli.asking import ago, connect, count, left, moment, say
from qcommons.clients.cli.away import moment_s
from qcommons.clients.cli.options import JSON, NODE, Option, span, whole

if TYPE_CHECKING:
    from qcommons.node.api.ask_records import AskList, AskRow, OwnAsk
    from qcommons.node.api.mesh_records import Window

__all__ = ["WORDS", "windows_of"]

RESOURCES = ("work", "ebits", "key_bits", "slots")
INT63 = (1 << 63) - 1
PLACES_MAX = 1 << 16
PRICE = "base units per 10^9 units"
SHORT = 12  # of a node id, as in `peers`
DAY_S = 86_400
HEAD = f"{'price':>12}  {'units/s':>9}  {'places':>6}  {'until':<17}  {'signed':<16}  {'known':<8}  node"


# the market


def _asks(args: argparse.Namespace) -> int:
    """Print others' asks that can be used now, and this node's own."""
    with connect(args) as node:
        found = node.mesh.asks.view(args.resource, everything=args.all)
    say(args, found, _lines(found))
    return 0


def _lines(found: AskList) -> Iterator[str]:
    for resource, unit in found.units.items():
        rows = [row for row in found.asks if row.resource == resource]
        if not rows:
            continue
        yield f"{resource}: price in {PRICE}; one unit: {unit}"
        yield HEAD
        for row in rows:
            yield _row(row, found.now_ns)
            if row.why:
                yield f"{'':<14}not now: {row.why}"
    if not found.asks:
        yield "No ask of another node can be used now."
        yield "next:  qcommons peers shows who is there; asks come with the first link, and as their owners set them"
    if found.hidden:
        yield f"{found.hidden} more cannot be used now; see why: qcommons asks --all"
    if found.own:
        yield "this node:"
        for own in found.own:
            yield from _own(own, found.now_ns)
    elif not found.asks:
        yield "This node offers nothing itself: qcommons ask set work --price P --capacity C --places N --until 2h"


def _row(row: AskRow, now_ns: int) -> str:
    fidelity = f"  fidelity {row.fidelity_ppm / PPM:g}" if row.fidelity_ppm else ""
    return (
        f"{row.price_per_giga:>12}  {row.capacity_per_s:>9.3g}  {row.places:>6}  "
        f"{left(row.until_s * NS_PER_S, now_ns):<17}  {ago(row.made_ns, now_ns):<16}  {row.known:<8}  "
        f"{row.node[:SHORT]}{fidelity}{'  transferable' if row.transferable else ''}"
    )


# this node's own


def _set(args: argparse.Namespace) -> int:
    """Offer a resource, in place of what was offered of it before."""
    from qcommons.node.api.ask_records import AskAsked

    now = datetime.now().astimezone()
    asked = AskAsked(
        price_per_giga=args.price, capacity_per_s=args.capacity, places=args.places,
        fidelity_ppm=0 if args.fidelity is None else _ppm(args.fidelity),
        from_s=0 if vars(args)["from"] is None else _time_s(vars(args)["from"], now, "--from"),
        until_s=None if args.until is None else _time_s(args.until, now, "--until"),
        windows=tuple(windows_of(args.windows, now)) if args.windows else (), transferable=args.transferable,
    )  # fmt: skip
    with connect(args) as node:
        own = node.mesh.asks.set(args.resource, asked)
    say(args, own, _own(own))
    return 0


def _show(args: argparse.Namespace) -> int:
    """Print what this node offers, and what keeps it from being offered."""
    with connect(args) as node:
        found = node.mesh.asks.view(args.resource)
    say(args, {"own": found.own}, _own_lines(found))
    return 0


def _own_lines(found: AskList) -> Iterator[str]:
    if not found.own:
        yield "This node offers nothing."
        yield "next:  qcommons ask set work --price P --capacity C --places N --until 2h"
    for own in found.own:
        yield from _own(own, found.now_ns)


def _withdraw(args: argparse.Namespace) -> int:
    """Offer a resource no more; who was told before is told so."""
    with connect(args) as node:
        own = node.mesh.asks.withdraw(args.resource)
    say(args, own, [f"{own.resource} is offered no more. Leases that were given stay as they were agreed."])
    return 0


def _own(own: OwnAsk, now_ns: int | None = None) -> Iterator[str]:
    if own.state == "withdrawn":
        yield f"{own.resource}: withdrawn; nothing is offered"
        return
    until = "until withdrawn" if own.until_s is None else f"until {moment(own.until_s * NS_PER_S)}"
    rate = f"{own.capacity_per_s:g} units/s over {count(own.places, 'place')}"
    yield f"{own.resource}: {own.state}; {own.price_per_giga} {PRICE}, {rate}, {until}"
    for window in own.windows:
        yield f"{'':<7}window {moment(window.from_s * NS_PER_S)} until {moment(window.until_s * NS_PER_S)}"
    if own.fidelity_ppm:
        yield f"{'':<7}fidelity at least {own.fidelity_ppm / PPM:g}"
    if own.transferable:
        yield f"{'':<7}a holder may pass its lease on"
    if own.cause:
        yield f"{'':<7}cause: {own.cause}"
    if own.action:
        yield f"{'':<7}next:  {own.action}"
    if own.made_ns is not None:
        again = "; told again once a day" if own.until_s is None else ""
        yield f"{'':<7}told the mesh {ago(own.made_ns, now_ns)}{again}"


# what people write


def _ppm(text: str) -> int:
    """Parts per million of "0.95" or "95%". Raises UsageError."""
    try:
        share = Decimal(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        ppm = int(share * PPM)
    except (InvalidOperation, ValueError, OverflowError):
        ppm = 0
    if not 0 < ppm <= PPM:
        what = f"{shown(text, 40)} is no fidelity; write a number above 0 and up to 1, as in 0.95"
        raise UsageError(what, where="--fidelity", limit="0.000001 to 1")
    return ppm


def _time_s(text: str, now: datetime, where: str) -> int:
    """Seconds since 1970 of a span from now ("2h") or a time as `away` reads it. Raises UsageError."""
    try:
        return int(now.timestamp() + span(text))
    except argparse.ArgumentTypeError:
        pass
    try:
        return moment_s(text, now, where)
    except UsageError as error:
        raise UsageError(f"{error.what}, or a span as in 2h or 7d", where=where) from None


def windows_of(text: str, now: datetime) -> Iterator[Window]:
    """Windows "FROM/UNTIL", apart by commas; UNTIL may be a span from FROM on. Raises UsageError."""
    from qcommons.node.api.mesh_records import Window

    for one in text.split(","):
        start, slash, end = one.strip().partition("/")
        if not slash:
            what = f"{shown(one, 40)} is no window; write FROM/UNTIL, as in 18:00/20:00 or 2027-01-31T08:00/2h"
            raise UsageError(what, where="--windows")
        from_s = _time_s(start, now, "--windows")
        try:
            until_s = from_s + round(span(end))
        except argparse.ArgumentTypeError:
            until_s = moment_s(end, now, "--windows")
            if until_s <= from_s and len(end) <= 5:  # a bare time of day: the next one after it begins
                until_s += DAY_S
        yield Window(from_s, until_s)


RESOURCE = Option("resource", "RESOURCE", "work, ebits, key_bits or slots.", choices=RESOURCES)
WORDS = {
    "asks": (
        (
            Option("--resource", "RESOURCE", "Only of this one: work, ebits, key_bits or slots.", choices=RESOURCES),
            Option("--all", None, "Also asks that cannot be used now, each with the reason."),
            NODE,
            JSON,
        ),
        _asks,
    ),
    "ask set": (
        (
            RESOURCE,
            Option("--price", "P", f"{PRICE.capitalize()} of the resource, 0 or more.", kind=whole(0, INT63),
                   required=True),
            Option("--capacity", "C", "Units a second over all places, as in 2e8: work units (amplitude-updates or "
                   "tensor flops), pairs, key bits, or seconds of a place.", kind=whole(1, INT63), required=True),
            Option("--places", "N", f"Leases at once, 1 to {PLACES_MAX}.", kind=whole(1, PLACES_MAX), required=True),
            Option("--until", "TIME", "Offered until then: a span, as in 2h or 7d, or a time, as in 18:30 or "
                   "2027-01-31T08:00; without, until withdrawn."),
            Option("--from", "TIME", "Offered not from now but from then on, at most 8 days ahead."),
            Option("--windows", "LIST", "Only within these contact windows, FROM/UNTIL each, apart by commas, as in "
                   "18:00/20:00,2027-01-31T08:00/2h; at most 8, within 8 days."),
            Option("--transferable", None, "A holder may pass its lease on."),
            Option("--fidelity", "F", "Of ebits: at least this, as in 0.95."),
            NODE,
            JSON,
        ),
        _set,
    ),
    "ask show": ((RESOURCE._replace(optional=True), NODE, JSON), _show),
    "ask withdraw": ((RESOURCE, NODE, JSON), _withdraw),
}  # fmt: skip
