"""Joining independent parts: exact pairing, in pieces, priced before it is done.

Modules: join, answer_size, and their place in execute and select.
"""

from __future__ import annotations

import math
import time
import tracemalloc

import numpy as np
import pytest

from qcommons.base.errors import Unavailable
from qcommons.base.seeds import stream
from qcommons.circuits.program import Op, Program
from qcommons.engines.execute import Request, execute
from qcommons.engines.join import JoinSize, joined_counts, take
from qcommons.engines.records import Counts, Limits


def spread(n: int, theta: float = 0.3) -> Program:
    """n independent qubits: P(1) = (1 - cos(pi/4) sin(theta)) / 2 after ry, t, h."""
    ops = [op for q in range(n) for op in (Op("ry", (q,), (theta,)), Op("t", (q,)), Op("h", (q,)))]
    return Program(n, (("c", n),), (*ops, *(Op("measure", (q,), (), (q,)) for q in range(n))))


def run(program: Program, shots: int, memory_bytes: int = 1 << 30, seconds: float = 20.0):  # type: ignore[no-untyped-def]
    limits = Limits(memory_bytes=memory_bytes, seconds=seconds)
    return execute(Request(program=program, want=Counts(shots), seed=1, limits=limits), time.monotonic_ns)


def test_counts_that_do_not_fit_are_refused_with_numbers() -> None:
    with pytest.raises(Unavailable, match=r"2,000,000 shots of 40 bits.*needs up to .* MiB; limit 100 MiB") as refused:
        run(spread(40), 2_000_000, 100 << 20)
    assert refused.value.limit == "100 MiB"


def test_counts_of_one_dense_state_are_refused_too() -> None:
    """24 bits of a random state: up to 2e7 outcomes of 248 B beside a state of 256 MiB."""
    ring = tuple(Op("crx", (q, (q + 1) % 24), (1.0 + q,)) for q in range(24))
    program = spread(24)
    joined = Program(24, program.cregs, (*program.ops[:72], *ring, *program.ops[:72], *ring, *program.ops[72:]))
    with pytest.raises(Unavailable, match="limit 1 GiB"):
        run(joined, 20_000_000)


def test_a_join_stays_within_what_it_was_priced_at() -> None:
    shots, n = 200_000, 40
    parts = [({"0": shots // 2, "1": shots // 2}, (q,)) for q in range(n)]
    price = JoinSize(n, shots)
    for part in parts:
        price.add(*part)
    tracemalloc.start()
    counts = joined_counts(parts, {}, n, shots, 1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(counts.values()) == shots and len(counts) > 0.99 * shots
    assert peak < price.cost().memory_bytes


def test_every_part_keeps_its_own_counts() -> None:
    """Marginals are exact, whichever way was paired: as tables (few outcomes), in blocks, or both."""
    rng = stream(1, "test", "join")
    shots, parts, at = 30_000, [], 0
    for width, outcomes in ((14, 9_000), (1, 2), (2, 3), (13, 4_000)):
        keys = [format(int(k), f"0{width}b") for k in rng.permutation(1 << width)[:outcomes]]
        repeats = 1 + rng.multinomial(shots - outcomes, np.full(outcomes, 1 / outcomes))
        parts.append((dict(zip(keys, repeats.tolist(), strict=True)), tuple(range(at, at + width))))
        at += width
    counts = joined_counts(parts, {}, at, shots, 3)
    for own, clbits in parts:
        seen: dict[str, int] = {}
        for bits, times in counts.items():
            key = "".join(bits[at - 1 - c] for c in reversed(clbits))
            seen[key] = seen.get(key, 0) + times
        assert seen == own


def test_a_billion_shots_of_small_parts_are_paired_as_tables() -> None:
    """Independent bits with P(1) = 1/2 and 1/4; the joint cells within 6 sigma (2e-9 each)."""
    shots = 10**9
    parts = [({"0": shots // 2, "1": shots // 2}, (0,)), ({"0": 3 * shots // 4, "1": shots // 4}, (1,))]
    counts = joined_counts(parts, {}, 2, shots, 1)
    assert counts["01"] + counts["11"] == shots // 2 and counts["10"] + counts["11"] == shots // 4
    # hypergeometric: N p q (1 - p) (1 - q)
    assert abs(counts["11"] - shots / 8) < 6 * math.sqrt(shots * 0.5 * 0.5 * 0.25 * 0.75)


def test_take_draws_all_that_is_asked_and_no_more_than_there_is() -> None:
    rng = stream(2, "test", "join")
    for items in (np.array([5, 0, 7]), np.array([10**9 - 5, 5])):
        taken = take(items, int(items.sum()) - 2, rng)
        assert taken.sum() == items.sum() - 2 and (taken <= items).all() and (taken >= 0).all()


def test_biased_parts_are_not_priced_as_if_every_outcome_came() -> None:
    """60 bits, each 1 in 10 of 1e6 shots: at most 601 joint outcomes, not 2**60."""
    price = JoinSize(60, 1_000_000)
    for q in range(60):
        price.add({"0": 999_990, "1": 10}, (q,))
    assert price.cost().memory_bytes < 32 << 20


@pytest.mark.parametrize("n", [2, 60])
def test_a_billion_shots_of_two_outcomes_are_predicted_and_run_in_no_time(n: int) -> None:
    ops = (Op("h", (0,)), *(Op("cx", (q, q + 1)) for q in range(n - 1)))
    done = run(Program(n, (("c", n),), (*ops, *(Op("measure", (q,), (), (q,)) for q in range(n)))), 10**9)
    assert set(done.answer.counts) == {"0" * n, "1" * n} and sum(done.answer.counts.values()) == 10**9
    assert done.predicted.seconds < 0.1
