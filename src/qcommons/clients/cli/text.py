"""Answers for people: a histogram in text, values with standard errors, the engine's story.

Flow: one result as its JSON object (docs/schema/run.schema.json) -> *text*. Reading the same object
that `--json` prints keeps the two from telling different things. No colour is used.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from qcommons.base.units import bytes_text
from qcommons.clients.quantities import seconds_text

__all__ = ["histogram", "render", "render_sweep", "value_text"]

ROWS_MAX = 20  # outcomes or amplitudes printed; the rest is counted
BAR_WIDTH = 40
SWEEP_OUTCOMES = 4  # outcomes on the line of one point
NAME_WIDTH = 72  # longer bitstrings are shortened in the middle


def render(result: Mapping[str, Any]) -> str:
    """The whole answer of one program as lines of text, without a newline at the end."""
    lines = [*_answer(result), "", *_story(result)]
    return "\n".join(lines)


def _answer(result: Mapping[str, Any]) -> Iterator[str]:
    if result.get("counts") is not None:
        yield from histogram(result["counts"])
    if result.get("expectations") is not None:
        for row in result["expectations"]:
            yield f"<{row['observable']}> = {value_text(row['value'], row['stderr'])}"
    if result.get("amplitudes") is not None:
        yield from _amplitudes(result["amplitudes"])


def value_text(value: float, stderr: float) -> str:
    """ "0.707107 exact" or "0.7031 +- 0.0071": digits follow the standard error."""
    if not stderr:
        return f"{value + 0.0:.9g} (exact)"
    digits = min(max(1 - math.floor(math.log10(stderr)), 1), 12)
    return f"{value:.{digits}f} {plus_minus()} {stderr:.{digits}f}"


def plus_minus() -> str:
    """The sign, in ASCII where the terminal has no UTF-8."""
    return "\u00b1" if _utf8() else "+-"


def _utf8() -> bool:
    return (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"


def histogram(counts: Mapping[str, int]) -> Iterator[str]:
    """One line an outcome, most frequent first: bits, bar, shots, probability and its standard error.

    The standard error is that of a binomial proportion, sqrt(p (1 - p) / shots).
    """
    shots = sum(counts.values())
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = ranked[:ROWS_MAX]
    names = [shortened(bits) for bits, _ in shown]
    width, top = max(map(len, names), default=0), shown[0][1] if shown else 1
    digits = len(str(top))
    bar = "\u2588" if _utf8() else "#"
    for name, (_, count) in zip(names, shown, strict=True):
        p = count / shots
        stderr = math.sqrt(p * (1 - p) / shots)
        length = max(1, round(BAR_WIDTH * count / top))
        yield f"{name:>{width}}  {bar * length:<{BAR_WIDTH}}  {count:>{digits}}  {p:.4f} {plus_minus()} {stderr:.4f}"
    rest = ranked[ROWS_MAX:]
    if rest:
        yield f"... and {len(rest)} more outcomes with {sum(count for _, count in rest)} shots"


def shortened(bits: str) -> str:
    """A long bitstring with its middle left out and its length given."""
    if len(bits) <= NAME_WIDTH:
        return bits
    half = NAME_WIDTH // 2 - 8
    return f"{bits[:half]}...{bits[-half:]} ({len(bits.replace(' ', ''))} bits)"


def _amplitudes(amplitudes: Mapping[str, list[float]]) -> Iterator[str]:
    rows = list(amplitudes.items())
    if len(rows) > ROWS_MAX:  # a state vector: the largest ones
        rows.sort(key=lambda item: -abs(complex(*item[1])))
    for bits, (re, im) in rows[:ROWS_MAX]:
        yield f"{shortened(bits)}  {re:+.9f} {im:+.9f}i  probability {abs(complex(re, im)) ** 2:.6g}"
    if len(rows) > ROWS_MAX:
        yield f"... and {len(rows) - ROWS_MAX} more amplitudes, none larger"


def _story(result: Mapping[str, Any]) -> Iterator[str]:
    yield f"engine     {result['engine']}, method {result['method']}"
    yield f"reason     {result['reason']}"
    cost = result.get("predicted_cost")
    if cost:
        sure = "" if cost.get("certain", True) else ", uncertain: it depends on the state"
        yield f"predicted  {seconds_text(cost['seconds'])}, {bytes_text(cost['memory_bytes'])}{sure}"
    yield f"actual     {seconds_text(result['seconds'])}"
    if result.get("error_bound"):
        yield f"own error  {result['error_bound']:.2g} (bound or estimate of the method's own error)"
    if result.get("seed") is not None:
        yield f"seed       {result['seed']}"
    yield f"physics    {result['physics']}"
    for note in result.get("notes") or ():
        yield f"note       {note}"


def render_sweep(results: Sequence[Mapping[str, Any]]) -> str:
    """One line a point, then the story of the last one that was answered and the count of the others."""
    lines = [f"{_point(result.get('values') or {})}  {_short(result)}" for result in results]
    done = [result for result in results if result["status"] == "done"]
    if done:
        total_s = sum(result["seconds"] for result in done)
        lines += [
            "",
            f"points     {len(done)} of {len(results)} done, {seconds_text(total_s)} in all",
            *_story(done[-1]),
        ]
    return "\n".join(lines)


def _point(values: Mapping[str, float]) -> str:
    return " ".join(f"{name}={value:.6g}" for name, value in values.items())


def _short(result: Mapping[str, Any]) -> str:
    if result["status"] != "done":
        return f"{result['status']}: {result['error']['what']}"
    if result.get("expectations") is not None:
        rows = result["expectations"]
        return "  ".join(f"<{row['observable']}> = {value_text(row['value'], row['stderr'])}" for row in rows)
    if result.get("counts") is not None:
        top = sorted(result["counts"].items(), key=lambda item: (-item[1], item[0]))[:SWEEP_OUTCOMES]
        more = "  ..." if len(result["counts"]) > len(top) else ""
        return "  ".join(f"{shortened(bits)}: {count}" for bits, count in top) + more
    return f"{len(result['amplitudes'])} amplitudes; --json prints them"
