"""`qcommons world`: a whole mesh in one process, under a virtual clock, with faults and liars.

`python -m qcommons.clients.cli.world` prints the schema of its JSON; a test holds it and the file in docs/ equal.

Flow: options -> Case -> world.play -> what happened, what was checked; where a rule broke, the line that replays it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from qcommons.base.errors import UsageError
from qcommons.base.text import printable
from qcommons.clients.cli.options import JSON, Option, span, whole

if TYPE_CHECKING:
    from qcommons.world.records import Case, Moment, Report

__all__ = ["OPTIONS", "command", "report_object", "schema_text"]

OPTIONS = (
    Option("--scenario", "NAME", "What befalls the mesh (--list shows all; join)."),
    Option("--nodes", "N", "How many nodes (the scenario's own number).", kind=whole(2, 10_000)),
    Option("--seed", "SEED", "Of all that is random (0): the same gives the same run.", kind=whole(0, 2**63 - 1)),
    Option("--for", "TIME", "Virtual time until the faults end, as in 60s (the scenario's own).", kind=span),
    Option("--faults", "LIST", "More faults: loss=0.01,crash.every=5,reset (--list shows names and knobs)."),
    Option("--without", "PLACES", "Leave out these moments of the timeline, as in 0,3,4."),
    Option(
        "--crypto",
        "KIND",
        "double (modelled cost), real (ML-DSA-65, slow), wire (real sessions too, slower).",
        choices=("double", "real", "wire"),
    ),
    Option("--shrink", None, "Where a rule does not hold, look for a smaller case in which it does not either."),
    Option("--trace", None, "Print every event and effect on standard error."),
    Option("--list", None, "List scenarios, faults and what is checked; run nothing."),
    JSON,
)
FAILED = 5
MOMENTS_SHOWN = 30


def command(args: argparse.Namespace) -> int:
    """0 where everything held, 5 where something did not."""
    if args.list:
        print(json.dumps(_lists()) if args.json else printable("\n".join(_listing())))
        return 0
    from qcommons.world.play import play
    from qcommons.world.records import Case

    case = Case(
        args.scenario or "join", args.seed or 0, args.nodes or 0, vars(args)["for"] or 0.0, args.faults or "",
        _places(args.without or ""), args.crypto or "double",
    )  # fmt: skip
    report = play(case, progress=_progress(args.json), log=_trace if args.trace else None)
    if args.shrink and report.violations:
        report = _shrunk(case, args.json)
    if args.json:
        print(json.dumps(report_object(report)))
    else:
        print(printable("\n".join(_lines(report))))
    return FAILED if report.violations else 0


def report_object(report: Report) -> dict[str, object]:
    """The JSON object (docs/schema/world.schema.json)."""
    plain: dict[str, object] = msgspec.to_builtins(report)
    return plain | {"status": "failed" if report.violations else "done"}


def schema_text() -> str:
    """The JSON Schema (2020-12) of a report, as the file holds it."""
    from qcommons.world.records import Report

    _, components = msgspec.json.schema_components((Report,), ref_template="#/$defs/{name}")
    body = components["Report"]
    body["properties"] = {"status": {"enum": ["done", "failed"]}, **body["properties"]}
    body["required"] = ["status", *body["required"]]
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "qcommons world",
        "description": "What `qcommons world --json` prints.",
        "$ref": "#/$defs/Report",
        "$defs": components,
    }
    return msgspec.json.format(msgspec.json.encode(schema, order="deterministic"), indent=2).decode() + "\n"


def _shrunk(case: Case, as_json: bool) -> Report:
    from qcommons.world.play import play
    from qcommons.world.shrink import shrink

    smaller, plays = shrink(case)
    if not as_json:
        print(f"shrunk in {plays} plays", file=sys.stderr)
    return play(smaller)


def _places(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part)
    except ValueError:
        raise UsageError(f"{text[:40]!r} are no places; write numbers, as in 0,3,4", where="--without") from None


def _progress(silent: bool) -> Callable[[float, float], None] | None:
    """One line on a terminal, overwritten; nothing elsewhere."""
    stream = sys.stderr
    if silent or stream is None or not stream.isatty():
        return None

    def show(done_s: float, all_s: float) -> None:
        end = "\r" if done_s < all_s else "\r\x1b[K"
        print(f"\r{done_s:.1f} of {all_s:.0f} virtual s, then until all is well", end=end, file=stream, flush=True)

    return show


def _trace(at_ns: int, node: int, kind: str, record: object) -> None:
    text = f"{at_ns / 1e9:12.6f} {node:5d} {'<' if kind == 'event' else '>'} {str(record)[:400]}"
    print(printable(text), file=sys.stderr)


def _lines(report: Report) -> Iterator[str]:
    rate = report.events / max(report.wall_seconds, 1e-9)
    yield f"{report.scenario}: {report.nodes} nodes, seed {report.seed}, {report.virtual_seconds:.1f} virtual seconds"
    yield f"  {report.events} events in {report.wall_seconds:.2f} s ({rate:.0f}/s); trace {report.trace_hash[:16]}"
    yield from _timeline(report.timeline)
    for name, value in report.converged_s.items():
        yield f"  {name:<40} {value:.2f} s after the last fault"
    yield f"  {'messages per node':<40} {report.messages_per_node:g}"
    for name, value in report.measures.items():
        yield f"  {name:<40} {value:g}"
    if not report.violations:
        yield f"held: {', '.join(report.checked)}"
        return
    for violation in report.violations:
        who = f"node {violation.node}" if violation.node >= 0 else "all"
        yield f"BROKEN {violation.check}, {violation.at_s:.3f} s, {who}: {violation.what}"
    yield f"replay: {report.replay}"


def _timeline(moments: tuple[Moment, ...]) -> Iterator[str]:
    for moment in moments[:MOMENTS_SHOWN]:
        whom = ",".join(map(str, moment.nodes[:12])) + ("..." if len(moment.nodes) > 12 else "")
        lasts = f" for {moment.for_ns / 1e9:.1f} s" if moment.for_ns else ""
        on = f" on {whom}" if whom else ""
        yield f"  [{moment.place}] {moment.at_ns / 1e9:8.3f} s  {moment.fault}{on}{lasts}"
    if len(moments) > MOMENTS_SHOWN:
        yield f"  ... and {len(moments) - MOMENTS_SHOWN} more faults (--json has all)"


def _lists() -> dict[str, object]:
    from qcommons.world.afterwards import RULES as LATER
    from qcommons.world.checkers import RULES
    from qcommons.world.faults import FAULTS
    from qcommons.world.scenarios import SCENARIOS

    return {
        "scenarios": [
            {"name": row.name, "help": row.help, "nodes": row.nodes, "for_s": row.for_s} for row in SCENARIOS.values()
        ],
        "faults": [
            {"name": row.name, "help": row.help, "kind": row.kind, "knobs": [knob._asdict() for knob in row.params]}
            for row in FAULTS.values()
        ],
        "rules": [{"name": name, "help": text} for name, text in (RULES | LATER).items()],
    }


def _listing() -> Iterator[str]:
    from qcommons.world.afterwards import RULES as LATER
    from qcommons.world.checkers import RULES
    from qcommons.world.faults import FAULTS
    from qcommons.world.scenarios import SCENARIOS

    yield "Scenarios (nodes, seconds of faults):"
    for row in SCENARIOS.values():
        yield f"  {row.name:<16}{row.help} ({row.nodes}, {row.for_s:g} s)"
    yield "\nFaults, with knobs and their defaults:"
    for fault in FAULTS.values():
        knobs = ", ".join(f"{p.name}={p.default:.12g}{'' if p.unit == '1' else ' ' + p.unit}" for p in fault.params)
        yield f"  {fault.name:<16}{fault.help}\n  {'':<16}{knobs}"
    yield "\nChecked all the time, and once the faults are over:"
    for name, text in (RULES | LATER).items():
        yield f"  {name:<20}{text}"


if __name__ == "__main__":
    sys.stdout.write(schema_text())
