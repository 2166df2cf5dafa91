"""Results: formats, error bars, helpers, and the JSON form against its schema."""

from __future__ import annotations

import builtins
import io
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import numpy as np
import pytest
from tests.jobs.making import AMPLITUDES, EXPECTATIONS, JOB_ID, card, done, job

from qcommons.base.errors import Corrupt, Unavailable, UsageError
from qcommons.engines.records import Statevector, Want
from qcommons.jobs import schema
from qcommons.jobs.assemble import assemble
from qcommons.jobs.machine import JobEnded
from qcommons.jobs.outcomes import (
    Cancelled,
    CpuLimit,
    Crashed,
    EngineFault,
    Killed,
    Misused,
    NotStarted,
    Outcome,
    OutOfMemory,
    PastDeadline,
    Refused,
    TooLarge,
    Unserved,
)  # fmt: skip
from qcommons.jobs.records import Phase
from qcommons.jobs.results import Result, Results, spaced
from qcommons.jobs.text import render

SCHEMA_FILE = Path(__file__).parents[2] / "docs" / "schema" / "run.schema.json"
BELL = done({"00": 490, "11": 510})
FAILURES: list[tuple[Outcome, str, type[Exception], int]] = [
    (Refused("needs 4.1 TiB; limit 12 GiB", limit="12 GiB"), "refused", Unavailable, 3),
    (Misused("bad", where="a.qasm:1:2"), "failed", UsageError, 2),
    (Unserved("no such engine here"), "failed", Unavailable, 4),
    (NotStarted("no memory"), "failed", Unavailable, 4),
    (Cancelled("asked"), "cancelled", Unavailable, 6),
    (Crashed(11, 0, "last words"), "failed", Corrupt, 5),
    (Crashed(0, 7), "failed", Corrupt, 5),
    (Killed(9), "failed", Unavailable, 5),
    (Killed(9, oom_kills=1), "failed", Unavailable, 5),
    (OutOfMemory(1 << 30), "failed", Unavailable, 5),
    (CpuLimit(2.0), "failed", Unavailable, 5),
    (PastDeadline(2.0), "failed", Unavailable, 5),
    (TooLarge(192 << 20), "failed", Unavailable, 5),
    (EngineFault("ZeroDivisionError: division by zero"), "failed", Corrupt, 5),
]


def results(
    *outcomes: Outcome, want: Want | None = None, shape: tuple[int, ...] | None = None, scalar: bool = True
) -> Results:
    phase = Phase("done", "all answered", 2_000_000_000)
    the_job = job(len(outcomes), want=want)
    ended = JobEnded(JOB_ID, outcomes, phase)
    return assemble(the_job, ended, 1_000_000_000, shape=shape or (len(outcomes),), scalar=scalar)


def test_registers_are_joined_by_spaces_with_the_last_declared_leftmost() -> None:
    # Qiskit prints ClassicalRegister a(2), b(1) as "b a": bit b[0] is the leftmost character.
    assert spaced({"100": 3, "011": 5}, (("a", 2), ("b", 1))) == {"0 11": 5, "1 00": 3}
    assert spaced({"11": 1, "00": 1}, (("c", 2),)) == {"00": 1, "11": 1}


def test_the_standard_error_of_a_probability_is_that_of_a_binomial_proportion() -> None:
    run = results(BELL)[0]
    assert run.counts == {"11": 510, "00": 490}
    assert run.probabilities == {"11": 0.51, "00": 0.49}
    assert run.stderr == pytest.approx({"11": 0.015808225, "00": 0.015808225})  # sqrt(0.51 * 0.49 / 1000)


def test_shots_that_all_agree_leave_an_error_of_about_one_shot() -> None:
    run = results(done({"10": 10}))[0]
    assert run.stderr == pytest.approx({"10": 0.087401}, rel=1e-5)  # sqrt((11/12) (1/12) / 10)
    assert "1.000 \u00b1 0.087" in render(run.to_dict())


def test_a_sweep_of_counts_has_a_list_of_standard_errors() -> None:
    errors = results(BELL, done({"10": 10})).stderr
    assert [list(row) for row in errors] == [["11", "00"], ["10"]]
    assert errors[0]["11"] == pytest.approx(0.015808225)  # sqrt(0.51 * 0.49 / 1000)


def test_the_short_form_of_a_run_is_one_line() -> None:
    assert repr(results(BELL)[0]) == f"<Result {JOB_ID}: run 0, numpy/dense, 1000 shots, done>"
    assert repr(results(Refused("too large"))[0]) == f"<Result {JOB_ID}: run 0, 1000 shots, refused>"


def test_expectations_come_as_a_number_or_as_a_list_as_they_were_asked() -> None:
    outcome = done(estimates=((0.5, 0.01), (-1.0, 0.0)))
    many = results(outcome, want=EXPECTATIONS, scalar=False)[0]
    assert many.expectation == [0.5, -1.0]
    assert many.stderr == [0.01, 0.0]
    assert results(outcome, want=EXPECTATIONS)[0].expectation == 0.5


def test_a_sweep_has_the_shape_of_its_bindings_and_nan_where_a_run_failed() -> None:
    outcomes = [done(estimates=((float(i), 0.1 * i), (0.0, 0.0))) for i in range(5)]
    sweep = results(*outcomes, Refused("too large"), want=EXPECTATIONS, shape=(2, 3), scalar=False)
    assert sweep.expectation.shape == (2, 3, 2)
    np.testing.assert_array_equal(sweep.expectation[..., 0], [[0, 1, 2], [3, 4, math.nan]])
    np.testing.assert_allclose(sweep.stderr[0, 2], [0.2, 0.0])
    assert list(sweep.errors) == [5]
    with pytest.raises(Unavailable, match="too large") as caught:
        sweep.raise_for_errors()
    assert "1 of 6" in caught.value.__notes__[0]


def test_amplitudes_are_named_by_their_bits_qubit_0_rightmost() -> None:
    run = results(done(amplitudes=((0.6, 0.0), (0.0, 0.8))), want=AMPLITUDES)[0]
    assert run.amplitudes == {"00": 0.6 + 0j, "11": 0.8j}
    with pytest.raises(UsageError, match="statevector"):
        _ = run.statevector


def test_a_statevector_is_complex_in_index_order() -> None:
    run = results(done(amplitudes=((0.6, 0.0), (0.0, 0.8), (0.0, 0.0), (0.0, 0.0))), want=Statevector())[0]
    np.testing.assert_array_equal(run.statevector, np.array([0.6, 0.8j, 0, 0]))
    assert run.amplitudes["01"] == 0.8j


def test_asking_a_result_for_what_it_does_not_hold_says_what_to_ask_for() -> None:
    with pytest.raises(UsageError, match="holds counts, not expectations: pass observable="):
        _ = results(BELL)[0].expectation
    with pytest.raises(UsageError, match="observable="):
        _ = results(BELL).expectation


@pytest.mark.parametrize(("outcome", "status", "kind", "exit_code"), FAILURES)
def test_every_way_to_end_has_a_status_an_error_and_an_exit_code(
    outcome: Outcome, status: str, kind: type[Exception], exit_code: int
) -> None:
    run = results(outcome)[0]
    assert run.status == status
    assert run.error is not None
    assert run.error.what
    with pytest.raises(kind) as caught:
        _ = run.counts
    assert caught.value.exit_code == exit_code
    assert "Traceback" not in str(caught.value)


def test_an_engines_crash_names_the_signal_and_its_last_words() -> None:
    text = str(results(Crashed(11, 0, "first\nthe last line\n"))[0].exception)
    assert "SIGSEGV" in text
    assert "the last line" in text


# views


def test_the_text_form_is_a_histogram_with_standard_errors_engine_and_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    lines = str(results(BELL)[0]).splitlines()
    assert lines[0].startswith("11  ####")
    assert lines[0].endswith("510  0.510 +- 0.016")
    assert {"engine     numpy, method dense", "reason     small", "note       a note"} <= set(lines)
    assert str(results(BELL, Refused("too large"))).splitlines()[1] == "1  refused: too large"


def test_notebook_views_escape_what_users_wrote() -> None:
    run = results(Misused("<script>alert(1)</script>"))[0]
    assert "<script>" not in run._repr_html_()
    assert "<script>" not in results(Misused("<script>"))._repr_html_()


def test_tables_hold_a_row_an_outcome_and_one_for_a_failed_run() -> None:
    frame = results(BELL, Refused("too large")).to_pandas()
    assert list(frame["bits"][:2]) == ["11", "00"]
    assert list(frame["count"][:2]) == [510, 490]
    assert frame["status"].tolist() == ["done", "done", "refused"]
    values = results(done(estimates=((0.5, 0.01), (1.0, 0.0))), want=EXPECTATIONS, scalar=False).to_pandas()
    assert values["observable"].tolist() == ["ZZ", "XI"]
    assert values["value"].tolist() == [0.5, 1.0]


def test_a_missing_extra_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: object, **keywords: object) -> object:
        if name.partition(".")[0] in {"pandas", "matplotlib"}:
            raise ImportError(name)
        return real(name, *args, **keywords)

    for name in [name for name in sys.modules if name.partition(".")[0] in {"pandas", "matplotlib"}]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr("importlib.import_module", lambda name: without(name))
    with pytest.raises(Unavailable, match=r"qcommons\[pandas\]"):
        results(BELL).to_pandas()
    with pytest.raises(Unavailable, match=r"qcommons\[plots\]"):
        results(BELL)[0].plot_histogram()


@pytest.fixture
def pyplot() -> Iterator[Any]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


def error_ends(axes: Any) -> list[list[tuple[float, float]]]:
    """(lower, upper) of each error bar of each set."""
    return [[(float(a[1]), float(b[1])) for a, b in bars.lines[2][0].get_segments()] for bars in errorbars(axes)]


def errorbars(axes: Any) -> list[Any]:
    from matplotlib.container import ErrorbarContainer

    return [found for found in axes.containers if isinstance(found, ErrorbarContainer)]


def test_a_plot_draws_a_bar_with_its_error_for_each_outcome(pyplot: Any) -> None:
    axes = results(BELL)[0].plot_histogram()
    assert [bar.get_height() for bar in axes.patches] == [0.51, 0.49]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["11", "00"]
    assert axes.get_xlabel() == "outcome (classical bit 0 rightmost)"
    np.testing.assert_allclose(error_ends(axes), [[(0.4942, 0.5258), (0.4742, 0.5058)]], atol=1e-4)
    assert not axes.texts


def test_error_bars_of_a_plot_stay_between_0_and_1(pyplot: Any) -> None:
    ends = error_ends(results(done({"11": 9, "00": 1}))[0].plot_histogram())[0]
    assert ends[0][1] == 1.0 and ends[1][0] == 0.0


def test_a_plot_of_wide_outcomes_keeps_them_apart_and_says_what_is_missing(pyplot: Any) -> None:
    """21 bits are written in full; of 60 the middle goes, unless two bars would then look alike."""
    wide = results(done({format(k, "021b"): 100 - k for k in range(30)}, cregs=(("c", 21),)))[0]
    axes = wide.plot_histogram()
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == [format(k, "021b") for k in range(20)]
    assert len(axes.patches) == 20
    assert [text.get_text() for text in axes.texts] == [
        f"10 more outcomes with {sum(100 - k for k in range(20, 30))} shots are not shown"
    ]
    axes.figure.canvas.draw()
    box = axes.xaxis.label.get_window_extent()
    assert box.y0 >= 0 and box.y1 < axes.figure.bbox.height  # the title of the axis is inside the figure
    apart = results(done({"0" * 60: 5, "0" * 59 + "1": 4}, cregs=(("c", 60),)))[0].plot_histogram()
    assert [label.get_text() for label in apart.get_xticklabels()] == [
        f"{'0' * 11}\u2026{'0' * 11}",
        f"{'0' * 11}\u2026{'0' * 10}1",
    ]
    middle = "0" * 30 + "1" + "0" * 29
    alike = results(done({"0" * 60: 5, middle: 4}, cregs=(("c", 60),)))[0].plot_histogram()
    assert [label.get_text() for label in alike.get_xticklabels()] == ["0" * 60, middle]


def test_a_plot_names_the_registers(pyplot: Any) -> None:
    axes = results(done({"100": 3, "011": 5}, cregs=(("a", 2), ("b", 1))))[0].plot_histogram()
    assert axes.get_xlabel() == "outcome (registers b a, bit 0 of each rightmost)"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0 11", "1 00"]


def test_a_sweep_is_plotted_against_the_input_that_moves(pyplot: Any) -> None:
    outcomes = [done(estimates=((0.5 * i, 0.1), (1.0, 0.0)), error_bound=0.25) for i in (2, 0, 1)]
    sweep = results(*outcomes, Refused("too large"), want=EXPECTATIONS, scalar=False)
    thetas = (0.3, 0.1, 0.2, 0.4)
    runs = [msgspec.structs.replace(run, values={"theta": x}) for run, x in zip(sweep, thetas, strict=True)]
    moved = Results(runs, job=JOB_ID, seed=1, status="done", cause="", seconds=1.0, shape=(4,))
    axes = moved.plot()
    assert axes.get_xlabel() == "theta"
    assert axes.get_legend_handles_labels()[1] == ["<ZZ>", "<XI>"]
    zz = errorbars(axes)[0]
    np.testing.assert_allclose(zz.lines[0].get_xydata(), [[0.1, 0.0], [0.2, 0.5], [0.3, 1.0]])
    np.testing.assert_allclose(error_ends(axes)[0], [(-0.1, 0.1), (0.4, 0.6), (0.9, 1.1)])
    np.testing.assert_allclose(error_ends(axes)[1], [(0.75, 1.25)] * 3)  # computed: the method's own error
    still = results(*outcomes, want=EXPECTATIONS, scalar=False).plot()
    assert still.get_xlabel() == "run"


def test_what_cannot_be_plotted_says_what_can() -> None:
    with pytest.raises(UsageError, match=r"these results hold counts; plot one of them: results\[0\]"):
        results(BELL, BELL).plot()
    with pytest.raises(UsageError, match=r"results\[0\]\.plot_histogram\(\)"):
        results(BELL, BELL).plot_histogram()


# JSON


def test_the_schema_file_is_current() -> None:
    assert SCHEMA_FILE.read_text() == schema.schema_text(), "run: python -m qcommons.jobs.schema > docs/schema/..."


@pytest.mark.parametrize("outcome", [BELL, *(row[0] for row in FAILURES)])
def test_json_of_every_outcome_fits_the_schema(outcome: Outcome) -> None:
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text()))
    batch = results(outcome)
    validator.validate(json.loads(batch.to_json()))
    validator.validate(json.loads(batch[0].to_json()))
    assert json.loads(batch[0].to_json()) == json.loads(json.dumps(batch[0].to_dict()))


def test_json_of_a_run_has_the_promised_fields_and_no_other_answer() -> None:
    body = json.loads(results(BELL)[0].to_json())
    promised = {"job", "status", "counts", "engine", "method", "reason", "predicted_cost", "seconds", "physics"}
    assert promised <= set(body)
    assert not {"expectations", "amplitudes", "error"} & set(body)
    assert body["counts"] == {"11": 510, "00": 490}
    assert (body["status"], body["physics"]) == ("done", "emulated")


def test_json_of_expectations_and_amplitudes() -> None:
    values = json.loads(results(done(estimates=((0.5, 0.01), (1.0, 0.0))), want=EXPECTATIONS)[0].to_json())
    assert values["expectations"] == [
        {"observable": "ZZ", "value": 0.5, "stderr": 0.01, "exact": False, "sampled": True},
        {"observable": "XI", "value": 1.0, "stderr": 0.0, "exact": True, "sampled": False},
    ]
    amplitudes = json.loads(results(done(amplitudes=((0.6, 0.0), (0.0, 0.8))), want=AMPLITUDES)[0].to_json())
    assert amplitudes["amplitudes"] == {"00": [0.6, 0.0], "11": [0.0, 0.8]}


def test_a_computed_value_with_an_own_error_is_neither_exact_nor_sampled() -> None:
    run = results(done(estimates=((0.5, 0.0), (1.0, 0.0)), error_bound=2e-6), want=EXPECTATIONS)[0]
    body = json.loads(run.to_json())
    assert body["error_bound"] == 2e-6
    assert [(row["exact"], row["sampled"], row["stderr"]) for row in body["expectations"]] == [(False, False, 0.0)] * 2
    assert not run.exact
    assert "<ZZ> = 0.5000000 \u00b1 2e-06 (computed, own error)" in str(run)
    assert results(done(estimates=((0.5, 0.0), (1.0, 0.0))), want=EXPECTATIONS)[0].exact
    assert not results(done(estimates=((0.5, 0.1), (1.0, 0.0))), want=EXPECTATIONS)[0].exact
    assert not results(BELL)[0].exact


def test_json_names_the_registers_of_counts_in_order_of_declaration() -> None:
    run = results(done({"100": 3, "011": 5}, cregs=(("a", 2), ("b", 1))))[0]
    body = json.loads(run.to_json())
    assert body["registers"] == [{"name": "a", "size": 2}, {"name": "b", "size": 1}]
    assert run.registers == (("a", 2), ("b", 1))
    assert list(body["counts"]) == ["0 11", "1 00"]
    assert str(run).splitlines()[0] == "b  a"
    assert "registers" not in json.loads(
        results(done(amplitudes=((0.6, 0.0), (0.0, 0.8))), want=AMPLITUDES)[0].to_json()
    )


def test_json_of_a_failure_says_who_what_where_and_which_limit() -> None:
    body = json.loads(results(Refused("needs 4.1 TiB; limit 12 GiB", limit="12 GiB"))[0].to_json())
    assert body["status"] == "refused"
    expected = {"who": "resources", "what": "needs 4.1 TiB; limit 12 GiB", "where": None, "limit": "12 GiB"}
    assert body["error"] == expected | {"tried": []}


def test_results_are_frozen() -> None:
    run = results(BELL)[0]
    assert isinstance(run, Result)
    with pytest.raises(AttributeError):
        run.seed = 3  # type: ignore[misc]
    assert card().program_id == run.program_id
