"""Prices and short attempts: what choice pays where a bound is far from the truth.

Modules: select, climb, aer_circuit, qulacs_engine, answer_size.
"""

from __future__ import annotations

import time

import pytest

from qcommons.base.errors import Unavailable
from qcommons.circuits.features import features
from qcommons.circuits.noise import parse_noise
from qcommons.circuits.observables import parse_observable
from qcommons.circuits.program import Branch, Condition, Op, Program
from qcommons.engines.aer_engine import ENGINE as AER
from qcommons.engines.execute import Request, execute
from qcommons.engines.qulacs_engine import ENGINE as QULACS
from qcommons.engines.records import CapExceeded, Counts, Expectations, Limits, Task
from qcommons.engines.select import Choice, select

LIMITS = Limits(memory_bytes=2 << 30, seconds=20.0)


def phase_estimation(rounds: int, turn: float) -> Program:
    """Iterative: one control is measured, reset and turned by what was read. `turn` of a circle, least digit first."""
    ops: list[Op | Branch] = [Op("x", (1,))]
    for k in range(rounds):
        ops += [Op("reset", (0,)), Op("h", (0,)), Op("cp", (0, 1), (6.283185307179586 * turn * 2 ** (rounds - 1 - k),))]
        for j in range(k):
            back = Op("p", (0,), (-3.141592653589793 / 2 ** (k - j),))
            ops.append(Branch(Condition((j,), "==", 1), (back,)))
        ops += [Op("h", (0,)), Op("measure", (0,), (), (k,))]
    return Program(2, (("c", rounds),), tuple(ops))


def test_phase_estimation_of_an_exact_phase_runs_densely_in_one_history() -> None:
    """turn = 5461 / 2^14: every bit is certain (Nielsen and Chuang, 5.2), so the counts are one bitstring."""
    program = phase_estimation(14, 5461 / 2**14)
    done = execute(Request(program=program, want=Counts(1024), seed=1, limits=LIMITS), time.monotonic_ns)
    assert done.answer.counts == {format(5461, "014b"): 1024}
    assert (done.answer.engine, done.answer.facts["histories"]) == ("qulacs", 1.0)


def test_an_attempt_for_few_histories_stops_where_there_are_many() -> None:
    """12 fair coins from one qubit: 1,000 shots follow nearly as many histories."""
    ops = [op for k in range(12) for op in (Op("h", (0,)), Op("measure", (0,), (), (k,)), Op("reset", (0,)))]
    program = Program(1, (("c", 12),), tuple(ops))
    short = Limits(memory_bytes=1 << 30, seconds=0.002)
    with pytest.raises(CapExceeded, match="measured histories"):
        QULACS.run(Task(program, Counts(1000), "statevector", 1, short))
    assert sum((QULACS.run(Task(program, Counts(1000), "statevector", 1, LIMITS)).counts or {}).values()) == 1000


def test_a_density_matrix_takes_wide_gates_apart() -> None:
    """x under three controls, 20 times and a measurement on the way: 18.8 s as a matrix of 256 x 256 a shot, now
    0.4 s. |1111> and |0111> alternate; 20 is even, so that qubit 3 ends as it was."""
    turns = (Op("x", (0, 1, 2, 3), (), (), 3),) * 21
    start = (*(Op("x", (q,)) for q in range(3)), Op("measure", (0,), (), (0,)), Op("x", (0,)), Op("x", (0,)))
    ends = tuple(Op("measure", (q,), (), (q,)) for q in range(4))
    program = Program(4, (("c", 4),), (*start, *turns, *ends))
    began = time.monotonic()
    answer = AER.run(Task(program, Counts(100), "density_matrix", 1, LIMITS))
    took = time.monotonic() - began
    assert answer.counts == {"1111": 100}
    price = AER.cost("density_matrix", features(program), Counts(100), AER.constants)
    assert took < 20 * price.seconds + 1.0  # type: ignore[union-attr]  # it runs: never Unsuited


def test_samples_are_part_of_a_dense_methods_memory() -> None:
    """1e6 shots of 20 random bits: up to 1e6 outcomes of 240 B beside 16 MiB of state."""
    ops = [op for q in range(20) for op in (Op("h", (q,)), Op("t", (q,)), Op("h", (q,)))]
    program = Program(20, (("c", 20),), (*ops, *(Op("measure", (q,), (), (q,)) for q in range(20))))
    ladder = select(features(program), Counts(10**6), {"qulacs": QULACS}, {}, LIMITS)
    assert 240e6 < ladder.rungs[-1].cost.memory_bytes < 400e6


def test_each_attempt_is_announced_before_it_starts() -> None:
    seen: list[Choice] = []
    program = phase_estimation(8, 0.3)
    done = execute(Request(program=program, want=Counts(64), seed=1, limits=LIMITS), time.monotonic_ns, seen.append)
    assert [(c.engine, c.method) for c in seen] == [(a.engine, a.method) for a in done.attempts] and seen


def test_a_refusal_of_exact_values_names_the_shots_that_would_run_first() -> None:
    """14 noisy qubits: a density matrix of 4 GiB is beyond 1 GiB, a thousand trajectories of 256 KiB are not."""
    ops = [op for q in range(13) for op in (Op("ry", (q,), (0.3,)), Op("cx", (q, q + 1)))]
    program, noise = Program(14, (), tuple(ops)), parse_noise("amplitude_damping:0.01")
    z = (parse_observable("Z0 Z13", 14),)
    limits = Limits(memory_bytes=1 << 30, seconds=60.0)
    with pytest.raises(Unavailable, match=r"^add --shots 1000 for estimates to about ±0\.03 ") as refused:
        execute(Request(program=program, want=Expectations(z), seed=1, limits=limits, noise=noise), time.monotonic_ns)
    assert "density matrix" in str(refused.value)
