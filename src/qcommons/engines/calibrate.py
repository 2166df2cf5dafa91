"""Calibration: refit the engines' cost constants on this machine, in about two seconds.

Flow: node (first start, with its clock) -> *calibrate* -> stored by the node -> select.
Each engine's `probes` name a constant, a small task and how many units of work it is; the constant
is then seconds per unit. The fastest of the repeats counts: a busy machine only ever adds time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from qcommons.circuits.program import Op, Program
from qcommons.engines.engine import Engine
from qcommons.engines.records import Counts, Limits, Task, Want

__all__ = ["CLAMP", "calibrate", "probe_task"]

CLAMP = 20.0  # a measured constant stays within this factor of its default: one bad reading harms little
REPEATS = 3


def calibrate(
    engines: Mapping[str, Engine], clock_ns: Callable[[], int], budget_s: float = 2.0
) -> dict[str, dict[str, float]]:
    """Measured constants, {engine: {constant: value}}; JSON-able.

    A constant that was not reached within `budget_s`, or whose probe failed, is left out: its
    default stands. One pass over all engines comes first, repeats follow while the budget lasts.
    """
    start = clock_ns()
    best: dict[tuple[str, str], float] = {}
    probes = [
        (name, *probe)
        for name, engine in engines.items()
        if engine.installed() is not None
        for probe in engine.probes()
    ]
    failed: set[tuple[str, str]] = set()
    for turn in range(1 + REPEATS):  # the first turn warms up imports and caches; it counts only if alone
        for name, constant, task, units in probes:
            if clock_ns() - start > budget_s * 1e9:
                return _clamped(engines, best)
            key = (name, constant)
            if key in failed or units <= 0:
                continue
            before = clock_ns()
            try:
                engines[name].run(task)
            except Exception:  # a probe that cannot run here says nothing; the default stands
                failed.add(key)
                best.pop(key, None)
                continue
            seconds = max(clock_ns() - before, 1) / 1e9
            best[key] = seconds / units if turn <= 1 else min(best[key], seconds / units)
    return _clamped(engines, best)


def _clamped(engines: Mapping[str, Engine], best: Mapping[tuple[str, str], float]) -> dict[str, dict[str, float]]:
    out: dict[str, dict[str, float]] = {}
    for (name, constant), value in best.items():
        default = engines[name].constants.get(constant)
        if default is not None:
            out.setdefault(name, {})[constant] = min(max(value, default / CLAMP), default * CLAMP)
    return out


def probe_task(n_qubits: int, ops: Sequence[Op], method: str, want: Want | None = None, shots: int = 16) -> Task:
    """A task for `Engine.probes`: `ops`, then a measurement of every qubit, counts of a few shots."""
    measures = tuple(Op("measure", (q,), clbits=(q,)) for q in range(n_qubits))
    program = Program(n_qubits, (("c", n_qubits),), (*ops, *measures) if want is None else tuple(ops))
    limits = Limits(memory_bytes=1 << 30, seconds=1.0)
    return Task(program, want or Counts(shots), method, 1, limits)
