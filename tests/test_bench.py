"""Every bench file runs, in reduced size; the harness counts time where it is spent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
REFERENCES = {"wire": "qiskit_qasm3_import", "cut": "qiskit_addon_cutting", "spread": "ray"}
NAMES = sorted(path.stem.removeprefix("bench_") for path in (ROOT / "bench").glob("bench_*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_bench_runs_in_reduced_size(name: str) -> None:
    if name in REFERENCES:
        pytest.importorskip(REFERENCES[name], reason="the reference of this bench is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "bench", name, "--small"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "reached" in done.stdout or "MISSED" in done.stdout


def test_harness_counts_the_cpu_of_child_processes() -> None:
    """A child that spins 0.3 s of CPU is seen while it lives, and once more never after it ended."""
    code = (
        "import subprocess, sys, time; from bench.harness import cpu_s\n"
        "spin = 'import time\\nwhile time.process_time() < 0.3: pass\\nprint(1, flush=True)\\ninput()'\n"
        "before = cpu_s()\n"
        "child = subprocess.Popen([sys.executable, '-c', spin], stdin=-1, stdout=-1)\n"
        "child.stdout.readline(); alive = cpu_s() - before\n"
        "child.communicate(b'\\n'); ended = cpu_s() - before\n"
        "print(alive, ended)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    alive, ended = map(float, done.stdout.split())
    assert alive >= 0.3 and ended == pytest.approx(alive, abs=0.2)
