"""Answers for people: a histogram in text, values with their errors, the engine's story.

Flow: a run or a batch as its JSON object (docs/schema/run.schema.json) -> *render* -> `printable` ->
terminal; views -> HTML. Reading the same object that `--json` prints keeps the two from telling
different things. No colour is used. The lines hold two marks beyond ASCII, the bar and the sign of
the standard error; `printable` replaces them where the terminal cannot show them. Digits follow the error: two
significant digits of it, and as many decimals of the value.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from qcommons.base.clock import seconds_text
from qcommons.base.text import printable as safe_text
from qcommons.base.units import bytes_text
from qcommons.engines.standard_error import proportion_error

__all__ = [
    "error_decimals", "histogram", "observable_names", "printable", "render", "rows", "share_text", "shortened",
    "value_text",
]  # fmt: skip

BAR = "\u2588"
PLUS_MINUS = "\u00b1"
ROWS_MAX = 20  # outcomes or amplitudes shown; the rest is counted
RUNS_MAX = 1000  # runs of a batch shown
BAR_WIDTH = 40
SHORT_MAX = 4  # outcomes or amplitudes on the line of one run
ZERO = 1e-12  # an exact value below is rounding
NAME_WIDTH = 72  # longer bitstrings are shortened in the middle
OBSERVABLE_MAX = 24  # characters: longer ones have a number in the lines of a batch, and stand once above them
DECIMALS_MAX = 15  # more than float64 holds
AMPLITUDE_DECIMALS = 9
OWN_ERROR = {  # what `error_bound` is of
    "counts": "of the distribution, in total variation",
    "expectations": "of any value",
    "amplitudes": "norm of the error of the amplitudes",
}


def render(body: Mapping[str, Any]) -> str:
    """A run or a batch as lines of text, without a newline at the end."""
    if "results" in body:
        return "\n".join(_batch(body))
    if body["status"] != "done":
        return _short(body)
    return "\n".join([*_answer(body), "", *_choice(body), *_end(body)])


def printable(text: str) -> str:
    """The text as standard output can show it, and without what a terminal would obey (`base.text.printable`)."""
    return safe_text(text, getattr(sys.stdout, "encoding", None) or "ascii")


# one run


def _answer(run: Mapping[str, Any]) -> Iterator[str]:
    if "counts" in run:
        yield from histogram(run["counts"], _register_sizes(run))
    elif "expectations" in run:
        yield from _values(run, {})
    else:
        yield from _amplitudes(run["amplitudes"], run.get("error_bound", 0.0))


def histogram(counts: Mapping[str, int], registers: Sequence[tuple[str, int]] = ()) -> Iterator[str]:
    """One line an outcome, most frequent first: bits, bar, shots, probability and its standard error.

    The standard error is that of a binomial proportion (`engines/standard_error`).
    registers: names and sizes in order of declaration; several of them are named above their bits.
    """
    shots = sum(counts.values())
    ranked = _ranked(counts)
    shown = ranked[:ROWS_MAX]
    header, names = _columns([bits for bits, _ in shown], registers)
    width, top = max(map(len, names), default=0), shown[0][1] if shown else 1
    digits = len(str(top))
    shares = [share_text(count, shots).partition(" ") for _, count in shown]
    value_width = max((len(value) for value, _, _ in shares), default=0)
    if header:
        yield header
    for name, (_, count), (value, _, error) in zip(names, shown, shares, strict=True):
        bar = BAR * max(1, round(BAR_WIDTH * count / top))
        yield f"{name:>{width}}  {bar:<{BAR_WIDTH}}  {count:>{digits}}  {value:<{value_width}} {error}"
    rest = ranked[ROWS_MAX:]
    if rest:
        yield f"... and {len(rest)} more outcomes with {sum(count for _, count in rest)} shots"


def _columns(outcomes: Sequence[str], registers: Sequence[tuple[str, int]]) -> tuple[str, list[str]]:
    """(the names of the registers, the outcomes below them), in columns where a line has room for that."""
    if len(registers) < 2:
        return "", [shortened(bits) for bits in outcomes]
    widths = [max(len(name), size) for name, size in reversed(registers)]
    if sum(widths) + len(widths) > NAME_WIDTH:
        return f"registers from the left: {_register_names(registers, sizes=True)}", list(map(shortened, outcomes))

    def line(parts: Sequence[str]) -> str:
        return " ".join(f"{part:>{width}}" for part, width in zip(parts, widths, strict=True))

    return line(_register_names(registers).split(" ")), [line(bits.split(" ")) for bits in outcomes]


def _register_sizes(run: Mapping[str, Any]) -> list[tuple[str, int]]:
    return [(row["name"], row["size"]) for row in run.get("registers", ())]


def _register_names(registers: Sequence[tuple[str, int]], *, sizes: bool = False) -> str:
    """As they stand in a bitstring: the last declared leftmost."""
    return " ".join(f"{name}[{size}]" if sizes else name for name, size in reversed(registers))


def share_text(count: int, shots: int) -> str:
    """ "0.5076 \u00b1 0.0078" of count / shots: the estimated probability and its standard error."""
    return value_text(count / shots, proportion_error(count, shots))


def _ranked(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def shortened(bits: str) -> str:
    """A long bitstring with its middle left out and its length given."""
    if len(bits) <= NAME_WIDTH:
        return bits
    half = NAME_WIDTH // 2 - 8
    return f"{bits[:half]}...{bits[-half:]} ({len(bits.replace(' ', ''))} bits)"


def _values(run: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[str]:
    """names: as `observable_names`."""
    for row in run["expectations"]:
        name = names.get(row["observable"], row["observable"])
        yield f"<{name}> = {value_text(row['value'], row['stderr'], run.get('error_bound', 0.0))}"


def value_text(value: float, stderr: float, error_bound: float = 0.0) -> str:
    """ "0.7031 \u00b1 0.0071" sampled, "0.707107 (exact)", or "0.3003025 \u00b1 2e-06 (computed, own error)".

    stderr: one standard error, 0.0 of what was computed. error_bound: the method's own error of what was computed.
    """
    error = stderr or error_bound
    if not error:
        return f"{value if abs(value) >= ZERO else 0.0:.9g} (exact)"
    decimals = error_decimals(error)
    text = f"{_rounded(value, decimals)} {PLUS_MINUS} "
    return text + (f"{stderr:.{decimals}f}" if stderr else f"{error_bound:.2g} (computed, own error)")


def _rounded(value: float, decimals: int, sign: str = "") -> str:
    """Of -1e-20 too: "0.00", not "-0.00"."""
    return f"{round(value, decimals) + 0.0:{sign}.{decimals}f}"


def error_decimals(error: float) -> int:
    """Decimals that show two significant digits of an error above 0: 0.0078 has 4, 12.0 has 0."""
    rounded = float(f"{error:.1e}")  # 0.0996 is 0.10 in two digits
    return min(max(1 - math.floor(math.log10(rounded)), 0), DECIMALS_MAX)


def _amplitudes(amplitudes: Mapping[str, Sequence[float]], error_bound: float) -> Iterator[str]:
    """As many digits as the method's own error allows."""
    pairs = list(amplitudes.items())
    if len(pairs) > ROWS_MAX:  # a state vector: the largest ones
        pairs.sort(key=lambda item: -abs(complex(*item[1])))
    decimals = min(error_decimals(error_bound), AMPLITUDE_DECIMALS) if error_bound else AMPLITUDE_DECIMALS
    for bits, (re, im) in pairs[:ROWS_MAX]:
        share = abs(complex(re, im)) ** 2
        chance = _rounded(share, decimals) if error_bound else f"{share:.6g}"
        parts = f"{_rounded(re, decimals, '+')} {_rounded(im, decimals, '+')}i"
        yield f"{shortened(bits)}  {parts}  probability {chance}"
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
        of = next(what for kind, what in OWN_ERROR.items() if kind in run)
        yield f"own error  {run['error_bound']:.2g} ({of}: bound or estimate of the method's own error)"


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
    names = observable_names(runs)
    yield from (f"{name} = {text}" for text, name in names.items())
    if names:
        yield ""
    shown = list(rows(runs[:RUNS_MAX], names))
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
        registers = _register_sizes(done[-1])
        if len(registers) > 1:
            yield f"registers  {_register_names(registers)} (from the left)"
        yield from _choice(done[-1])
    yield from _end(body)


def observable_names(runs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Observable -> the name it has in the lines of a batch, "O1", ...; none where all are short."""
    texts = dict.fromkeys(row["observable"] for run in runs for row in run.get("expectations", ()))
    if all(len(text) <= OBSERVABLE_MAX for text in texts):
        return {}
    return {text: f"O{number}" for number, text in enumerate(texts, 1)}


def rows(runs: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> Iterator[tuple[int, str, str]]:
    """(index, program and bound inputs, answer or error) of each run; a name that all share is left out.

    names: as `observable_names`.
    """
    several = len({run.get("program") for run in runs}) > 1
    digits = max((len(str(count)) for run in runs for count in run.get("counts", {}).values()), default=1)
    for index, run in enumerate(runs):
        label = [f"{name}={value:.6g}" for name, value in run.get("values", {}).items()]
        if several and run.get("program"):
            label.insert(0, run["program"])
        yield index, " ".join(label), _short(run, digits, names)


def _short(run: Mapping[str, Any], digits: int = 1, names: Mapping[str, str] | None = None) -> str:
    """The answer in one line; counts, `digits` wide, most frequent first. names: of observables."""
    if run["status"] != "done":
        error = run["error"]
        return ": ".join(part for part in (run["status"], error["where"], error["what"]) if part)
    if "expectations" in run:
        return "  ".join(_values(run, names or {}))
    if "counts" in run:
        ranked = _ranked(run["counts"])
        shots = sum(run["counts"].values())
        parts = [
            f"{shortened(bits)} {count:>{digits}} {share_text(count, shots)}" for bits, count in ranked[:SHORT_MAX]
        ]
        rest = ranked[SHORT_MAX:]
        if rest:
            parts.append(f"... and {len(rest)} more with {sum(count for _, count in rest)} shots")
        return "  ".join(parts)
    parts = [
        f"{shortened(bits)}: {_rounded(re, 6, '+')} {_rounded(im, 6, '+')}i"
        for bits, (re, im) in run["amplitudes"].items()
    ]
    return "  ".join(parts[:SHORT_MAX]) + (f"  ... and {len(parts) - SHORT_MAX} more" if len(parts) > SHORT_MAX else "")
