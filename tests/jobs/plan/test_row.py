"""What a row is told: limits, programs, seeds, and what it remembers."""

from __future__ import annotations

import msgspec
import pytest
from tests.jobs.plan.making import LIMITS, asked_of, brick, job_of, z

from qcommons.base.errors import Unavailable
from qcommons.base.seeds import derive
from qcommons.circuits.program import Affine, Op, Program
from qcommons.engines.records import Expectations

WANT = Expectations((z(0),))


def test_a_run_may_use_what_both_the_job_and_the_largest_candidate_allow() -> None:
    job = job_of([(brick(2, 1), WANT)])
    assert asked_of(job, memory_bytes=1 << 20).limits.memory_bytes == 1 << 20
    small = msgspec.structs.replace(job, limits=msgspec.structs.replace(LIMITS, memory_bytes=1 << 10))
    assert asked_of(small, memory_bytes=1 << 20).limits.memory_bytes == 1 << 10


def test_a_derived_seed_follows_from_the_asked_run_and_its_path_alone() -> None:
    job = job_of([(brick(2, 1), WANT)] * 3)
    last = msgspec.structs.replace(job, points=job.points[2:], seed=99)
    expected = derive(job.points[2].seed, "row", "share", 3)
    assert asked_of(job).seed_of(2, "row", "share", 3) == expected
    assert asked_of(last, parallel=9).seed_of(0, "row", "share", 3) == expected


def test_a_program_is_bound_with_the_values_it_uses() -> None:
    program = Program(1, (), (Op("rx", (0,), (Affine(0.5, (("a", 2.0),)),)),), ("a",))
    asked = asked_of(job_of([(program, WANT)], [{"a": 0.25}]))
    assert asked.bound(0).ops == (Op("rx", (0,), (1.0,)),)
    assert asked.bound_to(program, {"a": 0.5, "other": 1.0}).ops == (Op("rx", (0,), (1.5,)),)


def test_what_was_computed_or_refused_is_remembered() -> None:
    asked = asked_of(job_of([(brick(2, 1), WANT)]))
    calls = []

    def refuse() -> int:
        calls.append(1)
        raise Unavailable("needs 7 cuts")

    for _ in range(2):
        with pytest.raises(Unavailable, match="7 cuts"):
            asked.remember(("row", "cut"), refuse)
    assert asked.remember("n", lambda: 3) == asked.remember("n", lambda: 4) == 3
    assert calls == [1]
