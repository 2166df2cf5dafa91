"""`qcommons away`: a planned absence, told to the mesh beforehand, so that nobody suspects a fault.

Flow: options -> node (its own record of the mesh) -> AwayView -> a sentence.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from qcommons.base.errors import UsageError
from qcommons.base.units import NS_PER_S
from qcommons.clients.cli.asking import connect, left, say
from qcommons.clients.cli.options import JSON, NODE, Option, span

if TYPE_CHECKING:
    from qcommons.node.api.mesh_records import AwayView, Window

__all__ = ["OPTIONS", "command", "moment_s"]

OPTIONS = (
    Option("--until", "TIME", "Away from now until then: 18:30, 2027-01-31, or 2027-01-31T08:00 (local time, or with "
           "an offset)."),
    Option("--for", "SPAN", "Away from now for so long, as in 2h or 3d.", kind=span),
    Option("--from", "TIME", "Away not from now but from then on."),
    Option("--clear", None, "No absence is planned any more."),
    NODE,
    JSON,
)  # fmt: skip


def command(args: argparse.Namespace) -> int:
    """Set or clear the planned absence; without options, print it."""
    given = vars(args)
    ways = [name for name in ("until", "for", "clear") if given[name]]
    if len(ways) > 1 or (given["from"] and (not ways or args.clear)):
        raise UsageError("give one of --until, --for and --clear; --from goes with the first two", where="away")
    with connect(args) as node:
        view = node.mesh.view()
        if not ways:
            say(args, {"windows": view.away}, _lines(view.away, view.now_ns))
            return 0
        said = node.mesh.away(*([] if args.clear else [_window(given, view.now_ns)]))
    say(args, said, _said(said, view.now_ns))
    return 0


def _window(given: dict[str, object], now_ns: int) -> Window:
    """now_ns: of the node, whose clock the absence goes by; a day and its hours are those of this machine's zone."""
    from qcommons.node.api.mesh_records import Window

    now = datetime.fromtimestamp(now_ns // NS_PER_S).astimezone()
    start_s = moment_s(str(given["from"]), now, "--from") if given["from"] else int(now.timestamp())
    if given["until"]:
        return Window(start_s, moment_s(str(given["until"]), now, "--until"))
    return Window(start_s, start_s + round(float(str(given["for"]))))


def moment_s(text: str, now: datetime, where: str) -> int:
    """Seconds since 1970 of a time as people write it; a bare time of day is the next one. Raises UsageError."""
    try:
        hours, _, minutes = text.partition(":")
        if len(text) <= 5 and minutes:
            then = now.replace(hour=int(hours), minute=int(minutes), second=0, microsecond=0)
            return int((then if then > now else then + timedelta(days=1)).timestamp())
        return int(datetime.fromisoformat(text).astimezone(None).timestamp())
    except (ValueError, OverflowError, OSError):
        what = f"cannot read {text[:40]!r}; write 18:30, 2027-01-31 or 2027-01-31T08:00"
        raise UsageError(what, where=where) from None


def _said(view: AwayView, now_ns: int) -> Iterator[str]:
    yield from _lines(view.windows, now_ns)
    if view.windows:
        yield "The mesh knows; nobody will suspect a fault meanwhile. Take it back: qcommons away --clear"


def _lines(windows: tuple[Window, ...], now_ns: int) -> Iterator[str]:
    """now_ns: of the node."""
    if not windows:
        yield "No absence is planned."
    for window in windows:
        begins = "now" if window.from_s * NS_PER_S <= now_ns else f"from {_clock(window.from_s)}"
        yield f"away {begins} until {_clock(window.until_s)} (ends {left(window.until_s * NS_PER_S, now_ns)})"


def _clock(second: int) -> str:
    """Local time as a clock on the wall shows it, with the date: "2027-01-31 08:00"; seconds where there are any."""
    then = datetime.fromtimestamp(second).astimezone()
    return then.strftime("%Y-%m-%d %H:%M:%S" if then.second else "%Y-%m-%d %H:%M")
