"""Measure two sides of a claim in alternated runs, each side warm in a process of its own.

A bench file holds `CLAIMS`: rows of `Claim`, whose sides are functions `side(small: bool)` that set up
once and return the thunk that is timed. The parent starts one child a side, then asks them in turn,
A B A B ..., so that a slow spell of the machine hits both. Wall time and CPU time (of the child and
of every process below it, workers included) are taken inside the child; medians are compared.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Claim", "Measured", "measure", "report"]

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "QULACS_NUM_THREADS"), "1")


class Claim(NamedTuple):
    """One row of the table.

    ours, reference: names of functions of the bench file; no reference for an absolute bar.
    kind: "ratio" (reference / ours must reach `bar`, by wall and by CPU), "speed" (by wall alone), "seconds" (ours
        must stay below `bar`),
    "difference" (ours - reference, in seconds, must stay below `bar`), "delay" (the same of wall time
    alone), or "most" and "least" (the median of what the thunk says as `value`, against `bar`).
    rounds: measured runs a side. warm: one run of each side before them. threads: 1, or None for defaults.
    pause_s: after each run, where a side goes on working when its answer is there (signing receipts, say), so that
    this does not burden the other.
    """

    title: str
    ours: str
    reference: str | None
    kind: str
    bar: float
    rounds: int = 5
    warm: bool = True
    threads: int | None = 1
    unit: str = ""
    pause_s: float = 0.0


class Measured(NamedTuple):
    """Medians of one side, and what its thunk said of the last run (a dict of facts)."""

    wall_s: float
    cpu_s: float
    said: dict[str, Any]


# --- the child: sets up one side and runs it when told -------------------------------------------


def _tree(pid: int) -> list[int]:
    """`pid` and every process below it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += _tree(int(child))
    return found


def cpu_s() -> float:
    """CPU seconds of this process, of its ended children, and of all live processes below it."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = ended.ru_utime + ended.ru_stime
    for pid in _tree(os.getpid()):
        try:
            # Linux: the CPU clock of process p is clock number (~p << 3) | 2 (clock_getcpuclockid(3))
            total += time.clock_gettime((~pid << 3) | 2)
        except OSError:
            continue  # it ended between the two looks; the next run counts it among the ended
    return total


def child(module: str, side: str, small: bool, warm: bool) -> None:
    """Serve one side: a line in, one measured run, a JSON line out."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not mix with the answers
    thunk: Callable[[], dict[str, Any] | None] = getattr(import_module(module), side)(small)
    if warm:
        thunk()
    print("ready", file=answers, flush=True)
    for _ in sys.stdin:
        cpu, wall = cpu_s(), time.perf_counter()
        said = thunk() or {}
        row = {"wall_s": time.perf_counter() - wall, "cpu_s": cpu_s() - cpu, "said": said}
        print(json.dumps(row), file=answers, flush=True)


# --- the parent: asks the children in turn --------------------------------------------------------


class Side:
    """A child process and the runs it has reported."""

    def __init__(self, claim: Claim, module: str, name: str, small: bool) -> None:
        command = [sys.executable, "-m", "bench.harness", module, name, str(int(small)), str(int(claim.warm))]
        environment = dict(os.environ) | (ONE_THREAD if claim.threads == 1 else {})
        self.name = name
        self.runs: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def ready(self) -> None:
        """Wait until the side is set up and warm."""
        self._line("ready")

    def run(self) -> None:
        """One measured run."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        self.runs.append(json.loads(self._line("")))

    def _line(self, wanted: str) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith(wanted) or not line:
            raise RuntimeError(f"the side {self.name} ended with exit code {self.process.wait()}; its words are above")
        return line

    def close(self) -> Measured:
        """End the child; medians of its runs (nan without one)."""
        self.process.communicate()
        if not self.runs:
            return Measured(float("nan"), float("nan"), {})
        said = dict(self.runs[-1]["said"])
        if "value" in said:
            said["value"] = statistics.median(run["said"]["value"] for run in self.runs)
        return Measured(
            statistics.median(run["wall_s"] for run in self.runs),
            statistics.median(run["cpu_s"] for run in self.runs),
            said,
        )


def measure(claim: Claim, module: str, small: bool = False) -> tuple[Measured, Measured | None]:
    """Both sides of a claim in alternated runs."""
    sides = [Side(claim, module, name, small) for name in (claim.ours, claim.reference) if name]
    try:
        for side in sides:
            side.ready()
        for _ in range(1 if small else claim.rounds):
            for side in sides:
                side.run()
                time.sleep(claim.pause_s)
    finally:
        measured = [side.close() for side in sides]
    return measured[0], measured[1] if len(measured) > 1 else None


def report(claim: Claim, ours: Measured, reference: Measured | None) -> tuple[str, bool]:
    """Lines for people, and whether the bar is reached (by wall and by CPU, whichever is worse)."""
    lines = [f"{claim.title}", _side(claim.ours, ours)]
    if reference is not None and claim.reference is not None:
        lines.append(_side(claim.reference, reference))
    if claim.kind in ("most", "least"):
        value, sign = float(ours.said["value"]), "<=" if claim.kind == "most" else ">="
        reached = value <= claim.bar if claim.kind == "most" else value >= claim.bar
        figure = f"{value:.4g} {claim.unit}; bar {sign} {claim.bar:g} {claim.unit}"
    elif claim.kind == "delay" and reference is not None:
        wall, cpu = ours.wall_s - reference.wall_s, ours.cpu_s - reference.cpu_s
        reached = wall < claim.bar
        figure = f"difference wall {wall * 1e3:.3g} ms (CPU {cpu * 1e3:.3g} ms); bar < {claim.bar * 1e3:g} ms wall"
    elif claim.kind == "seconds" or reference is None:
        worst = max(ours.wall_s, ours.cpu_s)
        reached, figure = worst < claim.bar, f"{worst:.4g} s; bar < {claim.bar:g} s"
    elif claim.kind == "difference":
        wall, cpu = ours.wall_s - reference.wall_s, ours.cpu_s - reference.cpu_s
        reached = max(wall, cpu) < claim.bar
        figure = f"difference wall {wall * 1e3:.3g} ms, CPU {cpu * 1e3:.3g} ms; bar < {claim.bar * 1e3:g} ms"
    else:
        wall, cpu = reference.wall_s / ours.wall_s, reference.cpu_s / ours.cpu_s
        reached = (wall if claim.kind == "speed" else min(wall, cpu)) >= claim.bar
        figure = f"ratio wall {wall:.3g}x, CPU {cpu:.3g}x; bar >= {claim.bar:g}x"
    checks = [value for side in (ours, reference) if side for name, value in side.said.items() if name == "right"]
    lines.append(f"  {'reached' if reached and all(checks) else 'MISSED'}: {figure}")
    return "\n".join(lines), reached and all(checks)


def _side(name: str, side: Measured) -> str:
    said = "; ".join(f"{key} {value}" for key, value in side.said.items())
    return f"  {name:<12} wall {side.wall_s * 1e3:>10.3f} ms   CPU {side.cpu_s * 1e3:>10.3f} ms   {said}"


if __name__ == "__main__":
    child(sys.argv[1], sys.argv[2], sys.argv[3] == "1", sys.argv[4] == "1")
