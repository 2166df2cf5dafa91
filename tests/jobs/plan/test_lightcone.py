"""Light cones: small programs, equal ones once, and the very answers of the whole."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from tests.jobs.plan.making import asked_of, brick, job_of, measured, random_sums, run_all, values_of, z

from qcommons.base.seeds import stream
from qcommons.circuits.noise import Channel, Noise, Rule, parse_noise
from qcommons.circuits.observables import PauliSum, Term
from qcommons.circuits.program import Affine, Op, Operation, Program
from qcommons.engines.records import Counts, Expectations
from qcommons.jobs.outcomes import Done
from qcommons.jobs.plan.combine import combined
from qcommons.jobs.plan.lightcone import ROW, cones_of
from qcommons.jobs.plan.records import Plan
from qcommons.jobs.plan.row import Asked
from qcommons.testing.reference import PAULI, expectation, full, statevector

GATES = ("h", "t", "x", "sx", "u", "rz", "cx", "cz", "swap", "crx", "rzz", "ccx", "reset")
PARAMS = {"u": 3, "rz": 1, "crx": 1, "rzz": 1}
WIDTH = {"cx": 2, "cz": 2, "swap": 2, "crx": 2, "rzz": 2, "ccx": 3}


def random_program(n: int, gates: int, seed: int) -> Program:
    """Gates of every kind that a cone treats differently: diagonal, permuting, branching, swaps."""
    rng = stream(seed, "lightcone", "program")
    ops: list[Operation] = []
    for _ in range(gates):
        name = GATES[int(rng.integers(len(GATES) - 1))]
        first = int(rng.integers(n - WIDTH.get(name, 1) + 1))
        qubits = rng.permutation(np.arange(first, first + WIDTH.get(name, 1))).tolist()
        ops.append(Op(name, tuple(qubits), tuple(rng.uniform(0, 3, PARAMS.get(name, 0)).tolist())))
    return Program(n, (), tuple(ops))


def dense(program: Program, sums: Sequence[PauliSum]) -> list[float]:
    """<psi|O|psi> from the full state, by matrices of the reference."""
    psi, n = statevector(program), program.n_qubits
    values = []
    for one in sums:
        total = 0.0
        for term in one.terms:
            phi = psi
            for q, letter in term.paulis:
                phi = full(PAULI[letter], [q], n) @ phi
            total += term.coefficient * float(np.vdot(psi, phi).real)
        values.append(total)
    return values


def plan_of(asked: Asked) -> Plan:
    priced = ROW.price(asked)
    assert priced.applies, priced.why
    made = ROW.make(asked)
    return Plan(row="lightcone", why="", priced=(priced,), job=made.job, parts=made.parts)


def test_answers_equal_the_whole_on_a_hundred_random_circuits() -> None:
    applied = 0
    for seed in range(1_000):
        if applied == 100:
            break
        n = 3 + seed % 4
        program, sums = random_program(n, 3 + seed % 10, seed), random_sums(n, 3, 5, seed)
        asked = asked_of(job_of([(program, Expectations(sums))]))
        if not ROW.price(asked).applies:
            continue
        applied += 1
        plan = plan_of(asked)
        outcome = combined(plan, run_all(plan.job))[0]
        assert isinstance(outcome, Done)
        assert values_of(outcome) == pytest.approx(dense(program, sums), abs=1e-9)
        assert all(e.stderr == 0.0 and e.shots is None for e in outcome.execution.answer.estimates or ())
    assert applied == 100


def test_resets_and_uniform_noise_keep_their_answers() -> None:
    noise = parse_noise("depolarizing:0.03")
    for seed, noisy in ((1, None), (2, noise), (3, noise)):
        body = random_program(5, 14, seed).ops
        program = Program(5, (), (*body[:7], Op("reset", (2,)), *body[7:]))
        sums = random_sums(5, 3, 4, seed)
        asked = asked_of(job_of([(program, Expectations(sums))], noise=noisy))
        if not ROW.price(asked).applies:
            continue
        plan = plan_of(asked)
        expected = [expectation(program, one, noisy) for one in sums]
        assert values_of(combined(plan, run_all(plan.job))[0]) == pytest.approx(expected, abs=1e-9)


def ring(n: int, inputs: bool = False) -> tuple[Program, tuple[PauliSum, ...]]:
    """One QAOA layer on a ring, and its edges: every light cone is the same chain of four qubits."""
    gamma = Affine(0.0, (("gamma", 1.0),)) if inputs else 0.4
    beta = Affine(0.0, (("beta", 2.0),)) if inputs else 0.6
    ops = [Op("h", (q,)) for q in range(n)]
    ops += [Op("rzz", (q, (q + 1) % n), (gamma,)) for q in range(n)]
    ops += [Op("rx", (q,), (beta,)) for q in range(n)]
    edges = tuple(PauliSum((Term(1.0, tuple(sorted(((q, "Z"), ((q + 1) % n, "Z"))))),), f"edge {q}") for q in range(n))
    return Program(n, (), tuple(ops), ("gamma", "beta") if inputs else ()), edges


def test_a_ring_of_a_hundred_qubits_is_a_few_runs_of_four() -> None:
    """<ZZ> of one layer on a ring is sin(2 b) sin(g) cos(g) with rzz(g) and rx(b).

    From arXiv:1706.02998, theorem 1 with d = e = 1, f = 0: there C = (1 - ZZ) / 2, gamma = -g and beta = b / 2.
    """
    program, edges = ring(100)
    plan = plan_of(asked_of(job_of([(program, Expectations(edges))])))
    assert max(card.n_qubits for card in plan.job.programs) == 4
    assert len(plan.job.points) <= 4  # the ring's ends are numbered differently from its bulk
    gamma, beta = 0.4, 0.6
    expected = math.sin(2 * beta) * math.sin(gamma) * math.cos(gamma)
    assert values_of(combined(plan, run_all(plan.job))[0]) == pytest.approx([expected] * 100, abs=1e-9)


def test_a_sweep_shares_its_cones_and_binds_each() -> None:
    program, edges = ring(30, inputs=True)
    points = [{"gamma": 0.1 * k, "beta": 0.3} for k in range(5)]
    plan = plan_of(asked_of(job_of([(program, Expectations(edges))], points)))
    assert len(plan.job.programs) <= 4 and len(plan.job.points) <= 20
    outcomes = combined(plan, run_all(plan.job))
    for k, point in enumerate(points):
        expected = math.sin(4 * point["beta"]) * math.sin(point["gamma"]) * math.cos(point["gamma"])
        assert values_of(outcomes[k]) == pytest.approx([expected] * 30, abs=1e-9)


def test_a_string_that_falls_into_parts_is_their_product() -> None:
    program = brick(8, 2)
    far = PauliSum((Term(0.5, ((0, "Z"), (7, "X"))), Term(-2.0, ())), "far apart")
    cones = cones_of(program, Expectations((far,)), None)
    assert [len(factors) for _, factors in cones.products[0]] == [2, 0]
    plan = plan_of(asked_of(job_of([(program, Expectations((far,)))])))
    assert values_of(combined(plan, run_all(plan.job))[0]) == pytest.approx(dense(program, [far]), abs=1e-9)


def test_a_wide_program_becomes_programs_of_few_qubits() -> None:
    """60 qubits are no state, but six layers let every Z see twelve of them at most."""
    program, want = brick(60, 6), Expectations(tuple(z(q) for q in range(60)))
    plan = plan_of(asked_of(job_of([(program, want)])))
    assert plan.priced[0].memory_bytes < 1 << 26
    assert max(card.n_qubits for card in plan.job.programs) <= 12


REFUSED: dict[str, tuple[Program, object, Noise | None, str]] = {
    "counts": (measured(brick(4, 1)), Counts(10), None, "for observables"),
    "sampled": (brick(4, 1), Expectations((z(0),), 10), None, "more shots"),
    "deep": (brick(4, 9), Expectations((z(1),)), None, "holds all 4 qubits"),
    "mid-circuit": (
        Program(2, (("c", 1),), (Op("h", (0,)), Op("measure", (0,), clbits=(0,)), Op("h", (0,)))),
        Expectations((z(0),)), None, "mid-circuit",
    ),
    "named noise": (
        brick(4, 1), Expectations((z(0),)), Noise((Rule((Channel("bit_flip", (0.1,)),), (), (1,)),)), "names qubits",
    ),
    "constant": (brick(2, 1), Expectations((PauliSum((Term(1.0, ()),), "1"),)), None, "nothing to simulate"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_where_it_does_not_apply_it_says_why(case: str) -> None:
    program, want, noise, words = REFUSED[case]
    priced = ROW.price(asked_of(job_of([(program, want)], noise=noise)))  # type: ignore[list-item]
    assert not priced.applies and words in priced.why


def test_other_runs_of_the_job_go_through_as_they_are() -> None:
    job = job_of([(measured(brick(3, 1)), Counts(9)), (brick(12, 2), Expectations((z(0), z(6))))])
    plan = plan_of(asked_of(job))
    outcomes = combined(plan, run_all(plan.job))
    assert outcomes[0] == run_all(job)[0]
    assert len(outcomes) == 2
