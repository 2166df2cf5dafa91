"""Answers for people: a histogram in text, values with standard errors, the engine's story.

Flow: a run or a batch as its JSON object (docs/schema/run.schema.json) -> *render* -> `printable` ->
terminal; views -> HTML. Reading the same object that `--json` prints keeps the two from telling
different things. No colour is used. The lines hold two marks beyond ASCII, the bar and the sign of
the standard error; `printable` replaces them where the terminal cannot show them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from qcommons.base.clock import seconds_text
from qcommons.base.units import bytes_text
from qcommons.engines.standard_error import proportion_error

__all__ = ["histogram", "printable", "render", "rows", "shortened", "value_text"]

BAR = "\u2588"
PLUS_MINUS = "\u00b1"
ASCII = {ord(BAR): "#", ord(PLUS_MINUS): "+-"}
ROWS_MAX = 20  # outcomes or amplitudes shown; the rest is counted
RUNS_MAX = 1000  # runs of a batch shown
BAR_WIDTH = 40
SHORT_MAX = 4  # outcomes or amplitudes on the line of one run
ZERO = 1e-12  # an exact value below is rounding
NAME_WIDTH = 72  # longer bitstrings are shortened in the middle


def render(body: Mapping[str, Any]) -> str:
    """A run or a batch as lines of text, without a newline at the end."""
    if "results" in body:
        return "\n".join(_batch(body))
    if body["status"] != "done":
        return _short(body)
    return "\n".join([*_answer(body), "", *_choice(body), *_end(body)])


def printable(text: str) -> str:
    """The text as standard output can show it: in ASCII where it has no better, the unknown escaped."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(ASCII).encode(encoding, "backslashreplace").decode(encoding)
    return text


# one run


def _answer(run: Mapping[str, Any]) -> Iterator[str]:
    if "counts" in run:
        yield from histogram(run["counts"])
    elif "expectations" in run:
        yield from _values(run)
    else:
        yield from _amplitudes(run["amplitudes"])


def histogram(counts: Mapping[str, int]) -> Iterator[str]:
    """One line an outcome, most frequent first: bits, bar, shots, probability and its standard error.

    The standard error is that of a binomial proportion (`engines/standard_error`).
    """
    shots = sum(counts.values())
    ranked = _ranked(counts)
    shown = ranked[:ROWS_MAX]
    names = [shortened(bits) for bits, _ in shown]
    width, top = max(map(len, names), default=0), shown[0][1] if shown else 1
    digits = len(str(top))
    for name, (_, count) in zip(names, shown, strict=True):
        bar = BAR * max(1, round(BAR_WIDTH * count / top))
        yield f"{name:>{width}}  {bar:<{BAR_WIDTH}}  {count:>{digits}}  {_share(count, shots)}"
    rest = ranked[ROWS_MAX:]
    if rest:
        yield f"... and {len(rest)} more outcomes with {sum(count for _, count in rest)} shots"


def _share(count: int, shots: int) -> str:
    return f"{count / shots:.4f} {PLUS_MINUS} {proportion_error(count, shots):.4f}"


def _ranked(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def shortened(bits: str) -> str:
    """A long bitstring with its middle left out and its length given."""
    if len(bits) <= NAME_WIDTH:
        return bits
    half = NAME_WIDTH // 2 - 8
    return f"{bits[:half]}...{bits[-half:]} ({len(bits.replace(' ', ''))} bits)"


def _values(run: Mapping[str, Any]) -> Iterator[str]:
    for row in run["expectations"]:
        yield f"<{row['observable']}> = {value_text(row['value'], row['stderr'])}"


def value_text(value: float, stderr: float) -> str:
    """ "0.707107 (exact)" or "0.7031 \u00b1 0.0071": digits follow the standard error."""
    if not stderr:  # of exact values only
        return f"{value if abs(value) >= ZERO else 0.0:.9g} (exact)"
    digits = min(max(1 - math.floor(math.log10(stderr)), 1), 12)
    return f"{value:.{digits}f} {PLUS_MINUS} {stderr:.{digits}f}"


def _amplitudes(amplitudes: Mapping[str, Sequence[float]]) -> Iterator[str]:
    pairs = list(amplitudes.items())
    if len(pairs) > ROWS_MAX:  # a state vector: the largest ones
        pairs.sort(key=lambda item: -abs(complex(*item[1])))
    for bits, (re, im) in pairs[:ROWS_MAX]:
        yield f"{shortened(bits)}  {re:+.9f} {im:+.9f}i  probability {abs(complex(re, im)) ** 2:.6g}"
    if len(pairs) > ROWS_MAX:
        yield f"... and {len(pairs) - ROWS_MAX} more amplitudes, none larger"


# its story


def _choice(run: Mapping[str, Any]) -> Iterator[str]:
    """What ran it, why, and at what cost."""
    yield f"engine     {run['engine']}, method {run['method']}"
    yield f"reason     {run['reason']}"
    cost = run["predicted_cost"]
    sure = "" if cost["certain"] else ", uncertain: it depends on the state"
    yield f"predicted  {seconds_text(cost['seconds'])}, {bytes_text(cost['memory_bytes'])}{sure}"
    yield f"actual     {seconds_text(run['seconds'])}, planning and loading the engine included"
    if run.get("error_bound"):
        yield f"own error  {run['error_bound']:.2g} (bound or estimate of the method's own error)"


def _end(body: Mapping[str, Any]) -> Iterator[str]:
    """Seed and physics of a run or a batch, and what else is worth knowing."""
    yield f"seed       {body['seed']}"
    yield f"physics    {body['physics']}"
    notes = [note for run in body.get("results", (body,)) for note in run.get("notes", ())]
    for note in dict.fromkeys(notes):
        yield f"note       {note}"


# a batch


def _batch(body: Mapping[str, Any]) -> Iterator[str]:
    """A line a run, then the story of the last one that was answered and the seed of all."""
    runs = body["results"]
    shown = list(rows(runs[:RUNS_MAX]))
    width = max((len(label) for _, label, _ in shown), default=0)
    for index, label, answer in shown:
        parts = (f"{index:>{len(str(len(runs) - 1))}}", f"{label:<{width}}", answer)
        yield "  ".join(part for part in parts if part)
    if len(runs) > RUNS_MAX:
        yield f"... and {len(runs) - RUNS_MAX} more runs"
    done = [run for run in runs if run["status"] == "done"]
    total = seconds_text(sum(run["seconds"] for run in done))
    yield ""
    yield f"runs       {len(done)} of {len(runs)} done, {total} in all{'; the last one:' if done else ''}"
    if done:
        yield from _choice(done[-1])
    yield from _end(body)


def rows(runs: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, str, str]]:
    """(index, program and bound inputs, answer or error) of each run; a name that all share is left out."""
    several = len({run.get("program") for run in runs}) > 1
    digits = max((len(str(count)) for run in runs for count in run.get("counts", {}).values()), default=1)
    for index, run in enumerate(runs):
        label = [f"{name}={value:.6g}" for name, value in run.get("values", {}).items()]
        if several and run.get("program"):
            label.insert(0, run["program"])
        yield index, " ".join(label), _short(run, digits)


def _short(run: Mapping[str, Any], digits: int = 1) -> str:
    """The answer in one line; counts, `digits` wide, by bits, so that the runs of a sweep stand in columns."""
    if run["status"] != "done":
        error = run["error"]
        return ": ".join(part for part in (run["status"], error["where"], error["what"]) if part)
    if "expectations" in run:
        return "  ".join(_values(run))
    if "counts" in run:
        shots = sum(run["counts"].values())
        shown = sorted(_ranked(run["counts"])[:SHORT_MAX])
        parts = [f"{shortened(bits)} {count:>{digits}} {_share(count, shots)}" for bits, count in shown]
        return "  ".join(parts) + ("  ..." if len(run["counts"]) > SHORT_MAX else "")
    parts = [f"{shortened(bits)}: {re:+.6f} {im:+.6f}i" for bits, (re, im) in run["amplitudes"].items()]
    return "  ".join(parts[:SHORT_MAX]) + ("  ..." if len(parts) > SHORT_MAX else "")
