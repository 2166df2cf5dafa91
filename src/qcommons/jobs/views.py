"""Results in notebooks: HTML, tables and plots.

Flow: Result, Results -> *views*. The HTML holds the lines of `text.py`. pandas and matplotlib are
imported here only, when asked for; the error says which extra installs them.
"""

from __future__ import annotations

import html as markup
import importlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from qcommons.base.errors import Unavailable, UsageError
from qcommons.jobs.outcomes import Done
from qcommons.jobs.text import observable_names, render, rows

if TYPE_CHECKING:
    from qcommons.jobs.results import Result, Results

__all__ = ["frame", "html", "html_table", "plot_counts", "plot_values"]

LABEL_WIDTHS = (24, 48)  # characters of a bar's label; longer bitstrings lose their middle
BARS_MAX = 20  # outcomes plotted, the most frequent ones
RUNS_MAX = 50  # runs of a batch in a table


def html(result: Result) -> str:
    """The text form, escaped, for a notebook."""
    return f"<pre>{markup.escape(render(result.to_dict()))}</pre>"


def html_table(results: Results) -> str:
    """One row a run, for a notebook; everything that came from outside is escaped."""
    runs = [run.to_dict() for run in results[:RUNS_MAX]]
    names = observable_names(runs)
    said = "".join(f"<p>{markup.escape(f'{name} = {text}')}</p>" for text, name in names.items())
    lines = "".join(
        f"<tr><td>{index}</td><td>{markup.escape(label)}</td><td>{markup.escape(answer)}</td></tr>"
        for index, label, answer in rows(runs, names)
    )
    more = f"<p>... and {len(results) - RUNS_MAX} more runs</p>" if len(results) > RUNS_MAX else ""
    return f"{said}<table><tr><th>run</th><th>values</th><th>answer</th></tr>{lines}</table>{more}"


def frame(runs: Sequence[Result]) -> Any:
    """A pandas DataFrame, one row for each outcome, observable or amplitude of each run.

    Columns: run, program, the bound inputs, then bits, count, probability, stderr; or observable,
    value, stderr; or bits, re, im; then error_bound (the method's own), status, engine, method, seconds, seed.
    """
    pandas = _extra("pandas", "pandas", "to_pandas")
    return pandas.DataFrame([row for run in runs for row in _rows(run)])


def _rows(run: Result) -> Iterator[dict[str, Any]]:
    head: dict[str, Any] = {"run": run.index, "program": run.name or run.program, **run.values}
    if not isinstance(run.outcome, Done):
        yield {**head, "status": run.status, "error": str(run.exception), "seed": run.seed}
        return
    tail = {
        "error_bound": run.error_bound, "status": run.status, "engine": run.engine, "method": run.method,
        "seconds": run.seconds, "seed": run.seed,
    }  # fmt: skip
    answer = run._answer
    if answer.counts is not None:
        errors = run.stderr
        for bits, probability in run.probabilities.items():
            error = errors[bits] if isinstance(errors, dict) else None
            row = {"bits": bits, "count": run.counts[bits], "probability": probability, "stderr": error}
            yield {**head, **row, **tail}
    elif answer.estimates is not None:
        for name, estimate in zip(run.observables, answer.estimates, strict=True):
            yield {**head, "observable": name, "value": estimate.value, "stderr": estimate.stderr, **tail}
    else:
        for bits, value in run.amplitudes.items():
            yield {**head, "bits": bits, "re": value.real, "im": value.imag, **tail}


def plot_counts(result: Result, ax: Any = None) -> Any:
    """Bars of probability with standard errors, the most frequent outcomes first; returns the axes."""
    counts, probabilities, errors = result.counts, result.probabilities, result.stderr
    assert isinstance(errors, dict)
    shown = list(counts)[:BARS_MAX]
    ax = _axes("plot_histogram") if ax is None else ax
    heights = [probabilities[bits] for bits in shown]
    # a probability is between 0 and 1, and so are the ends of its error bar
    below = [min(errors[bits], probabilities[bits]) for bits in shown]
    above = [min(errors[bits], 1 - probabilities[bits]) for bits in shown]
    places = range(len(shown))  # not the labels: shortened ones may be alike
    ax.bar(places, heights, yerr=[below, above], capsize=3)
    ax.set_xticks(places, _labels(shown), rotation=90 if max(map(len, shown), default=0) > 3 else 0)
    ax.set_ylabel("probability")
    names = " ".join(name for name, _ in reversed(result.registers))
    of = f"registers {names}, bit 0 of each rightmost" if len(result.registers) > 1 else "classical bit 0 rightmost"
    ax.set_xlabel(f"outcome ({of})")
    if len(counts) > len(shown):
        rest = sum(counts.values()) - sum(counts[bits] for bits in shown)
        note = f"{len(counts) - len(shown)} more outcomes with {rest} shots are not shown"
        ax.text(0.99, 0.98, note, transform=ax.transAxes, ha="right", va="top", fontsize="small")
    return ax


def _labels(outcomes: Sequence[str]) -> list[str]:
    """The outcomes short enough for an axis, and different from each other."""
    for width in LABEL_WIDTHS:
        half = (width - 1) // 2
        labels = [bits if len(bits) <= width else f"{bits[:half]}\u2026{bits[-half:]}" for bits in outcomes]
        if len(set(labels)) == len(labels):
            return labels
    return list(outcomes)


def plot_values(results: Results, ax: Any = None) -> Any:
    """Expectation values against the swept input, a line for each program and observable; returns the axes.

    Error bars are standard errors, or the method's own error of what was computed. Where none or several inputs were
    swept the axis is the number of the run. Runs that were not answered are left out.

    Raises:
        UsageError: the runs hold counts or amplitudes.
    """
    if not results or any(run.wanted != "expectations" for run in results):
        held = results[0].wanted if results else "no runs"
        remedy = "; plot one of them: results[0].plot_histogram()" if held == "counts" else ""
        raise UsageError(f"expectation values are plotted, these results hold {held}{remedy}", where="plot")
    axis = _swept(results)
    lines: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    for run in results:
        if not isinstance(run.outcome, Done):
            continue
        place = float(run.index) if axis is None else run.values[axis]
        for text, estimate in zip(run.observables, run._answer.estimates or (), strict=True):
            point = (place, estimate.value, estimate.stderr or run.error_bound)
            lines.setdefault((run.name or f"program {run.program}", text), []).append(point)
    ax = _axes("plot") if ax is None else ax
    several = len({program for program, _ in lines}) > 1
    for (program, text), points in lines.items():
        x, y, error = zip(*sorted(points), strict=True)
        ax.errorbar(x, y, yerr=error, capsize=3, marker=".", label=f"{program}: <{text}>" if several else f"<{text}>")
    ax.set_xlabel(axis or "run")
    ax.set_ylabel("expectation value")
    if len(lines) > 1:
        ax.legend()
    return ax


def _swept(results: Results) -> str | None:
    """The one input whose value differs between runs; None if there is none, or several."""
    names = dict.fromkeys(name for run in results for name in run.values)
    moving = [name for name in names if len({run.values.get(name) for run in results}) > 1]
    everywhere = all(name in run.values for name in moving for run in results)
    return moving[0] if len(moving) == 1 and everywhere else None


def _axes(used_for: str) -> Any:
    """Axes on a figure of their own that makes room for long labels."""
    return _extra("matplotlib.pyplot", "plots", used_for).subplots(layout="constrained")[1]


def _extra(module: str, extra: str, used_for: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise Unavailable(
            f"{used_for} needs {package}, which is not installed: pip install 'qcommons[{extra}]', "
            f"or in a checkout .venv/bin/pip install -e '.[{extra}]'",
            where=used_for,
        ) from error
