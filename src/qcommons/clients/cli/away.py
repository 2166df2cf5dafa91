"""`qcommons away`: a planned absence, told to the mesh beforehand, so that nobody suspects a fault.

Flow: options -> node (its own record of the mesh) -> AwayView -> a sentence.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from qcommons.base.errors import UsageError
from qcommons.clients.cli.asking import connect, left, moment, say
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
        if not ways:
            view = node.mesh.view()
            say(args, {"windows": view.away}, _lines(view.away))
            return 0
        said = node.mesh.away(*([] if args.clear else [_window(given)]))
    say(args, said, _said(said))
    return 0


def _window(given: dict[str, object]) -> Window:
    from qcommons.node.api.mesh_records import Window

    now = datetime.now().astimezone()
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


def _said(view: AwayView) -> Iterator[str]:
    yield from _lines(view.windows)
    if view.windows:
        yield "The mesh knows; nobody will suspect a fault meanwhile. Take it back: qcommons away --clear"


def _lines(windows: tuple[Window, ...]) -> Iterator[str]:
    if not windows:
        yield "No absence is planned."
    for window in windows:
        start_s, until_s, now_s = window.from_s, window.until_s, time.time_ns() // 10**9
        begins = "now" if start_s <= now_s else f"from {moment(start_s * 10**9)}"
        yield f"away {begins} until {moment(until_s * 10**9)} (ends {left(until_s * 10**9)})"
