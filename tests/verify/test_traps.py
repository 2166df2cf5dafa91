"""Traps: they look like the job, have a known answer, and do not change the job that is sent among them."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from qcommons.base.errors import UsageError
from qcommons.base.seeds import stream
from qcommons.circuits.program import Op, Program
from qcommons.engines.records import Counts, Limits, Task
from qcommons.engines.registry import load_engines
from qcommons.testing.programs import measured, scrambled
from qcommons.testing.reference import distribution
from qcommons.verify.traps import dress, held, trap

LIMITS = Limits(memory_bytes=1 << 28, seconds=60.0)
JOBS = [measured(scrambled(4, clifford, number)) for clifford in (False, True) for number in range(4)]


def layout(program: Program) -> list[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    return [(op.gate, op.qubits, op.clbits) for op in program.ops if isinstance(op, Op)]


@pytest.mark.parametrize("job", JOBS)
def test_the_dressed_job_has_the_same_distribution(job: Program) -> None:
    dressed = dress(job, stream(1, "dress"))
    before, after = distribution(job), distribution(dressed)
    for key in before.keys() | after.keys():
        assert after.get(key, 0.0) == pytest.approx(before.get(key, 0.0), abs=1e-9)


@pytest.mark.parametrize("job", JOBS)
def test_a_trap_has_the_layout_of_the_dressed_job_and_keeps_its_facts(job: Program) -> None:
    rng = stream(2, "trap")
    made = trap(job, rng)
    assert layout(made.program) == layout(dress(job, rng))
    assert len(made.facts.masks) >= 1
    for key, p in distribution(made.program).items():
        assert p < 1e-9 or made.facts.broken({key: 1}) == 0


def test_in_each_gate_there_are_angles_as_generic_as_those_of_the_job() -> None:
    """At most two angles of a gate lie on the grid of pi/2, and of the others none by chance (1e-6 each)."""
    made = trap(JOBS[0], stream(3, "trap"))
    turns = [op.params for op in made.program.ops if isinstance(op, Op) and op.gate == "u"]
    assert len(turns) > 10
    for params in turns:
        angles = [a for a in params if isinstance(a, float)]
        assert sum(abs(a - round(a / (math.pi / 2)) * math.pi / 2) < 1e-6 for a in angles) <= 2
        assert all(abs(a) <= math.pi for a in angles)


def test_a_sampler_that_ignores_entanglement_breaks_traps_and_an_honest_one_none() -> None:
    rng, broken = stream(4, "trap"), Counter[str]()
    for number in range(20):
        made = trap(JOBS[number % 4], rng)
        task = Task(made.program, Counts(200), "statevector", number, LIMITS)
        honest = load_engines()["qulacs"].run(task).counts or {}
        alone = Program(4, made.program.cregs, tuple(op for op in made.program.ops if len(op.qubits) == 1))
        lazy = load_engines()["qulacs"].run(Task(alone, Counts(200), "statevector", number, LIMITS)).counts or {}
        assert held(honest, made.facts) == (200, 200)
        broken["lazy"] += held(lazy, made.facts)[0] < 180
    assert broken["lazy"] >= 15


def test_programs_without_a_fixed_layout_have_no_traps() -> None:
    with pytest.raises(UsageError, match="before the end"):
        trap(Program(1, (("c", 1),), (Op("measure", (0,), (), (0,)), Op("h", (0,)))), stream(1, "t"))
