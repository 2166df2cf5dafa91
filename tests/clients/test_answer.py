"""An answer as it is shown: quickly also where it has many runs."""

from __future__ import annotations

import gc
import json
import time
from pathlib import Path

import pytest

from qcommons.clients.cli.answer import show, uncollected
from qcommons.jobs.outcomes import PastDeadline
from qcommons.jobs.results import Result, Results

RUNS = 50_000


def _sweep() -> Results:
    """A sweep that ended at its deadline, as the machine leaves it: one outcome for every run."""
    late = PastDeadline(5.0)
    runs = [
        Result(
            job="job_a", index=index, program=0, program_id="", name="a\x1b.qasm", n_qubits=1,
            values={"a": float(index)}, seed=index, shots=1, wanted="counts", outcome=late,
        )
        for index in range(RUNS)
    ]  # fmt: skip
    return Results(runs, job="job_a", seed=1, status="failed", cause="late", seconds=5.0, shape=(RUNS,))


def test_fifty_thousand_runs_are_shown_and_written_within_1_5_s_of_cpu(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """0.6 s on a core of 2.4 GHz; the deadline of a job holds for its user only if little follows it."""
    answer = _sweep()
    start_s = time.process_time()
    assert show(answer, as_json=False, out=str(tmp_path / "out.json")) == 5
    assert time.process_time() - start_s < 1.5
    printed = capsys.readouterr().out
    assert f"runs       0 of {RUNS} done" in printed
    body = json.loads((tmp_path / "out.json").read_text())
    assert len(body["results"]) == RUNS
    assert body["results"][7]["error"]["where"] == "deadline" and body["results"][7]["program"] == "a\x1b.qasm"


def test_the_collector_is_as_before_afterwards() -> None:
    with pytest.raises(ZeroDivisionError), uncollected():
        assert not gc.isenabled()
        raise ZeroDivisionError
    assert gc.isenabled()
