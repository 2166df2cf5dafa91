"""Jobs of real programs, circumstances to plan them for, and a worker that runs them in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qcommons.base.errors import QCommonsError
from qcommons.base.ids import hash_id
from qcommons.base.seeds import stream
from qcommons.circuits.noise import Noise
from qcommons.circuits.observables import PauliSum, Term
from qcommons.circuits.program import Op, Operation, Program, bind, count_ops
from qcommons.circuits.wire import decode, encode
from qcommons.engines.execute import Request, execute
from qcommons.engines.records import Limits, Want
from qcommons.engines.registry import load_engines
from qcommons.jobs.outcomes import Done, Outcome, outcome_of
from qcommons.jobs.plan.row import Asked
from qcommons.jobs.records import Card, Job, Point

LIMITS = Limits(memory_bytes=1 << 30, seconds=60.0)


def still() -> int:
    """A clock that stands."""
    return 0


def card_of(program: Program) -> Card:
    wire = encode(program)
    return Card(wire, hash_id(wire), program.n_qubits, program.cregs, program.inputs, count_ops(program.ops))


def job_of(
    runs: Sequence[tuple[Program, Want]],
    points: Sequence[Mapping[str, float]] = ({},),
    *,
    seed: int = 7,
    noise: Noise | None = None,
    limits: Limits = LIMITS,
    deadline_s: float = 3600.0,
    budget: int | None = None,
) -> Job:
    """Every program, with what is wanted of it, at every point; run k has the seed 1000 seed + k."""
    places = [(number, dict(values)) for number in range(len(runs)) for values in points]
    return Job(
        id="job_aaaaaaaaaaaaaaaa",
        programs=tuple(card_of(program) for program, _ in runs),
        wants=tuple(want for _, want in runs),
        points=tuple(Point(number, values, 1000 * seed + k) for k, (number, values) in enumerate(places)),
        seed=seed, limits=limits, deadline_s=deadline_s, noise=noise, budget=budget,
    )  # fmt: skip


def asked_of(job: Job, *, parallel: int = 4, memory_bytes: int = 1 << 30, place_s: float = 0.05) -> Asked:
    return Asked(job, load_engines(), {}, memory_bytes, parallel, still, place_s)


def run_all(job: Job) -> dict[int, Outcome]:
    """Every run of a job as a worker would run it: from its bytes and values alone."""
    outcomes: dict[int, Outcome] = dict(job.settled)
    for index, point in enumerate(job.points):
        if index in outcomes:
            continue
        try:
            program = decode(job.programs[point.program].wire)
            request = Request(
                program=bind(program, point.values), want=job.wants[point.program], seed=point.seed, limits=job.limits,
                noise=job.noise, engine=job.engine, method=job.method,
            )  # fmt: skip
            outcomes[index] = Done(execute(request, still))
        except QCommonsError as error:
            outcomes[index] = outcome_of(error, job.limits.memory_bytes)
    return outcomes


def values_of(outcome: Outcome) -> list[float]:
    assert isinstance(outcome, Done), outcome
    return [estimate.value for estimate in outcome.execution.answer.estimates or ()]


def z(qubit: int) -> PauliSum:
    return PauliSum((Term(1.0, ((qubit, "Z"),)),), f"Z{qubit}")


def brick(n: int, layers: int, seed: int = 1) -> Program:
    """Layers of random one-qubit turns and CZ on alternate neighbours: a light cone grows by one qubit a layer."""
    rng = stream(seed, "plan tests", "brick")
    ops: list[Operation] = []
    for layer in range(layers):
        ops += [Op("u", (q,), tuple(rng.uniform(0.1, 3.0, 3).tolist())) for q in range(n)]
        ops += [Op("cz", (q, q + 1)) for q in range(layer % 2, n - 1, 2)]
    return Program(n, (), tuple(ops))


def measured(program: Program) -> Program:
    n = program.n_qubits
    return Program(n, (("c", n),), (*program.ops, *(Op("measure", (q,), clbits=(q,)) for q in range(n))))


def random_sums(n: int, count: int, terms: int, seed: int) -> tuple[PauliSum, ...]:
    """Random observables of strings on at most three qubits, constants among them."""
    rng = stream(seed, "plan tests", "sums")
    sums = []
    for _ in range(count):
        rows: dict[tuple[tuple[int, str], ...], float] = {}
        for _ in range(terms):
            qubits = sorted(rng.choice(n, size=int(rng.integers(0, min(n, 3) + 1)), replace=False).tolist())
            rows[tuple((q, "XYZ"[int(rng.integers(3))]) for q in qubits)] = float(rng.normal())
        sums.append(PauliSum(tuple(Term(c, p) for p, c in rows.items()), f"sum {len(sums)}"))
    return tuple(sums)
