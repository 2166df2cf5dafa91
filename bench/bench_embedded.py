"""What the embedded path adds to a bare engine call, per job, warm."""

from __future__ import annotations

from typing import Any

from bench import circuits, sides
from bench.harness import Claim

CLAIMS = [
    Claim("embedded path above the bare engine call, a job", "ours", "bare_engine", "difference", 3e-3, rounds=41)
]


def ours(small: bool) -> sides.Thunk:
    return sides.ours(circuits.small_task(0), engine="qulacs")


def bare_engine(small: bool) -> sides.Thunk:
    from qcommons.engines.qulacs_engine import ENGINE
    from qcommons.engines.records import Counts, Limits, Task

    task = Task(sides.program(circuits.small_task(0)), Counts(sides.SHOTS), "statevector", 1, Limits(1 << 30, 60.0))

    def thunk() -> dict[str, Any]:
        return {"outcomes": len(ENGINE.run(task).counts or {})}

    return thunk
