"""Results in notebooks: HTML, tables and plots.

Flow: Result, Results -> *views*. The HTML holds the lines of `text.py`. pandas and matplotlib are
imported here only, when asked for; the error says which extra installs them.
"""

from __future__ import annotations

import html as markup
import importlib
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from qcommons.base.errors import Unavailable
from qcommons.jobs.outcomes import Done
from qcommons.jobs.text import render, rows

if TYPE_CHECKING:
    from qcommons.jobs.results import Result, Results

__all__ = ["frame", "html", "html_table", "plot"]

BARS_MAX = 20  # outcomes plotted, the most frequent ones
RUNS_MAX = 50  # runs of a batch in a table


def html(result: Result) -> str:
    """The text form, escaped, for a notebook."""
    return f"<pre>{markup.escape(render(result.to_dict()))}</pre>"


def html_table(results: Results) -> str:
    """One row a run, for a notebook; everything that came from outside is escaped."""
    lines = "".join(
        f"<tr><td>{index}</td><td>{markup.escape(label)}</td><td>{markup.escape(answer)}</td></tr>"
        for index, label, answer in rows([run.to_dict() for run in results[:RUNS_MAX]])
    )
    more = f"<p>... and {len(results) - RUNS_MAX} more runs</p>" if len(results) > RUNS_MAX else ""
    return f"<table><tr><th>run</th><th>values</th><th>answer</th></tr>{lines}</table>{more}"


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
    shown = list(probabilities)[:BARS_MAX]
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
            f"{used_for} needs {package}, which is not installed: pip install 'qcommons[{extra}]', "
            f"or in a checkout .venv/bin/pip install -e '.[{extra}]'",
            where=used_for,
        ) from error
