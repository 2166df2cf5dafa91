"""Results for people: text histogram, HTML for notebooks, tables and plots.

Flow: Result, Results -> *views*. pandas and matplotlib are imported here only, when asked for; the
error says which extra installs them.
"""

from __future__ import annotations

import html as markup
import importlib
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from qcommons.base.errors import Unavailable
from qcommons.jobs.outcomes import Done

if TYPE_CHECKING:
    from qcommons.jobs.results import Result

__all__ = ["frame", "html", "html_table", "plot", "text", "text_table"]

ROWS_MAX = 20  # outcomes or amplitudes shown; the rest is counted
RUNS_MAX = 50  # runs of a batch shown
BAR_WIDTH = 40


def text(result: Result) -> str:
    """A histogram with standard errors (or values, or amplitudes), then engine, reason and cost."""
    if not isinstance(result.outcome, Done):
        return f"{result.status}: {result.exception}"
    lines = [line for _, line in _lines(result)]
    cost = result.predicted_cost
    lines += [
        "",
        f"engine     {result.engine}, method {result.method}: {result.reason}",
        f"cost       predicted {cost.seconds:.3g} s, took {result.seconds:.3g} s",
        f"seed       {result.seed}; physics {result.physics}",
    ]
    return "\n".join(lines + [f"note       {note}" for note in result.notes])


def _lines(result: Result) -> Iterator[tuple[str, str]]:
    """(kind, line) of the answer."""
    answer = result._answer
    if answer.counts is not None:
        yield from (("count", line) for line in _histogram(result))
    elif answer.estimates is not None:
        for name, estimate in zip(result.observables, answer.estimates, strict=True):
            bar = f" +- {estimate.stderr:.2g}" if estimate.stderr else " (exact)"
            yield "value", f"<{name}> = {estimate.value:.9g}{bar}"
    else:
        rows = sorted(result.amplitudes.items(), key=lambda entry: -abs(entry[1]))
        for bits, value in rows[:ROWS_MAX]:
            yield "amplitude", f"{bits}  {value.real:+.9f} {value.imag:+.9f}i"
        if len(rows) > ROWS_MAX:
            yield "rest", f"... and {len(rows) - ROWS_MAX} more amplitudes, none larger"


def _histogram(result: Result) -> Iterator[str]:
    counts, probabilities, errors = result.counts, result.probabilities, result.stderr
    top = max(counts.values(), default=1)
    for bits in list(counts)[:ROWS_MAX]:
        bar = "#" * max(1, round(BAR_WIDTH * counts[bits] / top))
        error = errors[bits] if isinstance(errors, dict) else math.nan
        yield f"{bits}  {bar:<{BAR_WIDTH}}  {counts[bits]:>{len(str(top))}}  {probabilities[bits]:.4f} +- {error:.4f}"
    rest = list(counts.values())[ROWS_MAX:]
    if rest:
        yield f"... and {len(rest)} more outcomes with {sum(rest)} shots"


def text_table(runs: Sequence[Result]) -> str:
    """One line a run."""
    lines = [f"{run.index:>4}  {_values(run)}  {_short(run)}" for run in runs[:RUNS_MAX]]
    if len(runs) > RUNS_MAX:
        lines.append(f"... and {len(runs) - RUNS_MAX} more runs")
    return "\n".join(lines)


def _values(run: Result) -> str:
    bound = [f"{name}={value:.6g}" for name, value in run.values.items()]
    return " ".join([run.name, *bound] if run.name else bound)


def _short(run: Result) -> str:
    if not isinstance(run.outcome, Done):
        return f"{run.status}: {run.exception}"
    lines = [line for _, line in _lines(run)]
    if run._answer.counts is not None:
        return ", ".join(f"{bits}: {count}" for bits, count in list(run.counts.items())[:4])
    return "; ".join(lines[:4])


def html(result: Result) -> str:
    """The text form, escaped, for a notebook."""
    return f"<pre>{markup.escape(text(result))}</pre>"


def html_table(runs: Sequence[Result]) -> str:
    """One row a run, for a notebook; everything that came from outside is escaped."""
    rows = "".join(
        f"<tr><td>{run.index}</td><td>{markup.escape(_values(run))}</td><td>{markup.escape(_short(run))}</td></tr>"
        for run in runs[:RUNS_MAX]
    )
    more = f"<p>... and {len(runs) - RUNS_MAX} more runs</p>" if len(runs) > RUNS_MAX else ""
    return f"<table><tr><th>run</th><th>values</th><th>answer</th></tr>{rows}</table>{more}"


def frame(runs: Sequence[Result]) -> Any:
    """A pandas DataFrame, one row for each outcome, observable or amplitude of each run.

    Columns: run, program, the bound inputs, then bits, count, probability, stderr; or observable,
    value, stderr; or bits, re, im; then status, engine, method, seconds, seed.
    """
    pandas = _extra("pandas", "pandas", "to_pandas")
    return pandas.DataFrame([row for run in runs for row in _rows(run)])


def _rows(run: Result) -> Iterator[dict[str, Any]]:
    head: dict[str, Any] = {"run": run.index, "program": run.name or run.program, **run.values}
    if not isinstance(run.outcome, Done):
        yield {**head, "status": run.status, "error": str(run.exception), "seed": run.seed}
        return
    tail = {
        "status": run.status, "engine": run.engine, "method": run.method, "seconds": run.seconds, "seed": run.seed,
    }  # fmt: skip
    answer = run._answer
    if answer.counts is not None:
        errors = run.stderr
        for bits, probability in run.probabilities.items():
            error = errors[bits] if isinstance(errors, dict) else math.nan
            row = {"bits": bits, "count": run.counts[bits], "probability": probability, "stderr": error}
            yield {**head, **row, **tail}
    elif answer.estimates is not None:
        for name, estimate in zip(run.observables, answer.estimates, strict=True):
            yield {**head, "observable": name, "value": estimate.value, "stderr": estimate.stderr, **tail}
    else:
        for bits, value in run.amplitudes.items():
            yield {**head, "bits": bits, "re": value.real, "im": value.imag, **tail}


def plot(result: Result, ax: Any = None) -> Any:
    """Bars of probability with standard errors, the most frequent outcomes first; returns the axes."""
    probabilities, errors = result.probabilities, result.stderr
    shown = list(probabilities)[:ROWS_MAX]
    if ax is None:
        _, ax = _extra("matplotlib.pyplot", "plots", "plot_histogram").subplots()
    bars = [errors[bits] if isinstance(errors, dict) else math.nan for bits in shown]
    ax.bar(shown, [probabilities[bits] for bits in shown], yerr=bars, capsize=3)
    ax.set_ylabel("probability")
    ax.set_xlabel("outcome (classical bit 0 rightmost)")
    ax.tick_params(axis="x", labelrotation=90)
    return ax


def _extra(module: str, extra: str, used_for: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise Unavailable(
            f"{used_for} needs {package}, which is not installed: pip install 'qcommons[{extra}]'", where=used_for
        ) from error
