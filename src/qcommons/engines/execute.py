"""One program from request to answer, inside a worker: reduce, choose, attempt, combine.

Flow: jobs/run (a worker process) -> *execute* -> propagate, cone, components -> climb (select,
engine.run) -> join -> Execution. Pure but for the engines' own computation; the clock is an argument.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from qcommons.base.clock import seconds_text
from qcommons.base.errors import UsageError
from qcommons.base.seeds import derive
from qcommons.circuits.components import components, restrict_noise
from qcommons.circuits.cone import light_cone, strip_terminal
from qcommons.circuits.noise import Noise
from qcommons.circuits.program import Branch, Op, Program, flat_ops
from qcommons.circuits.propagate import propagate
from qcommons.engines.amplitudes import amplitudes
from qcommons.engines.climb import Attempt, Climber
from qcommons.engines.expectation import exact_estimates, sampled_estimates
from qcommons.engines.join import JoinSize, joined_counts
from qcommons.engines.records import Amplitudes, Answer, Cost, Counts, Expectations, Limits, Slices, Statevector, Want
from qcommons.engines.registry import load_engines
from qcommons.engines.select import Choice

__all__ = ["Attempt", "Execution", "Request", "answered", "execute", "measured"]

STATEVECTOR_QUBITS_MAX = 20


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is asked for one program.

    program: checked, without unbound inputs. seed: root seed of this program's randomness.
    engine, method: the user's choice, None to let `select` choose.
    limits: memory and seconds this request may use.
    constants: engine name -> cost constants of this machine; missing ones take the defaults.
    """

    program: Program
    want: Want
    seed: int
    limits: Limits
    noise: Noise | None = None
    engine: str | None = None
    method: str | None = None
    constants: dict[str, dict[str, float]] = {}


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """The answer with its story.

    answer: counts over all clbits of the program as asked, or estimates, or amplitudes.
    reason: one or two sentences: why this engine and method. notes: other things a user should know.
    predicted: of the chosen path, summed over independent parts. attempts: in order, failed ones too.
    cregs: for counts, the registers (name, size) that the keys of `answer.counts` run over: the
        program's own, or ("meas", n_qubits) where it measures nothing and all qubits were measured.
    """

    answer: Answer
    reason: str
    predicted: Cost
    seconds: float
    attempts: tuple[Attempt, ...] = ()
    notes: tuple[str, ...] = ()
    cregs: tuple[tuple[str, int], ...] = ()


def execute(request: Request, clock_ns: Callable[[], int], watch: Callable[[Choice], None] | None = None) -> Execution:
    """Run one request.

    Args:
        watch: told of each attempt before it starts, for progress lines.

    Raises:
        UsageError: the want does not fit the program (width of an observable, unknown engine, ...).
        Unavailable: refused with numbers; `limit` names the limit.
    """
    start_ns = clock_ns()
    climber = Climber(
        load_engines(), request.constants, request.limits, clock_ns,
        engine=request.engine, method=request.method, watch=watch,
    )  # fmt: skip
    notes: list[str] = []
    answer, cregs = answered(request, climber, notes)
    return Execution(
        answer=answer,
        reason=_reason(climber),
        predicted=_total(climber),
        seconds=(clock_ns() - start_ns) / 1e9,
        attempts=tuple(climber.attempts),
        notes=tuple(notes),
        cregs=cregs,
    )


def answered(request: Request, climber: Climber, notes: list[str]) -> tuple[Answer, tuple[tuple[str, int], ...]]:
    """The answer by way of `climber`, and for counts their registers; `notes` grows with what a user should know.

    A climber that only prices (jobs/plan/price.py) goes the same way, and its answer means nothing.
    """
    program, want = request.program, request.want
    cregs: tuple[tuple[str, int], ...] = ()
    match want:
        case Counts():
            program = measured(program, notes)
            cregs = program.cregs
            answer = _counts(program, want, request, climber, notes)
        case Expectations():
            program = _unmeasured(program, "observables are taken", notes)
            estimate = exact_estimates if want.shots is None else sampled_estimates
            answer = estimate(program, want, request.noise, request.seed, climber, notes)
        case Amplitudes() | Statevector():
            program = _unmeasured(program, "amplitudes are taken", notes)
            _check_amplitudes(program, want, request.noise)
            answer = amplitudes(program, want, request.seed, climber)
        case Slices():
            if request.noise is not None:
                raise UsageError("slices are of a circuit without noise", where="noise")
            answer = climber.slices(program, want)
    return answer, cregs


def measured(program: Program, notes: list[str]) -> Program:
    """The program itself, or with all qubits measured where it measures nothing."""
    last = program.ops[-1] if program.ops else None  # mostly a measurement: then there is nothing to search
    if (isinstance(last, Op) and last.gate == "measure") or any(op.gate == "measure" for op in flat_ops(program.ops)):
        return program
    if program.n_qubits == 0:
        raise UsageError("the program has no qubits; nothing to measure", where="program")
    notes.append("the circuit measures nothing: all qubits were measured at its end")
    ends = tuple(Op("measure", (q,), (), (q,)) for q in range(program.n_qubits))
    if any(isinstance(op, Branch) for op in program.ops):
        # branches read the old bits: they stay, the new register follows them
        offset = program.n_clbits
        ends = tuple(Op("measure", (q,), (), (offset + q,)) for q in range(program.n_qubits))
        return Program(program.n_qubits, (*program.cregs, ("meas", program.n_qubits)), (*program.ops, *ends))
    return Program(program.n_qubits, (("meas", program.n_qubits),), (*program.ops, *ends))


def _unmeasured(program: Program, what: str, notes: list[str]) -> Program:
    stripped, dropped = strip_terminal(program)
    if dropped:
        notes.append(f"{what} on the state before the {dropped} final measurement(s)")
    return stripped


def _check_amplitudes(program: Program, want: Amplitudes | Statevector, noise: Noise | None) -> None:
    n = program.n_qubits
    if noise is not None:
        raise UsageError("amplitudes exist only without noise; ask for counts or observables", where="noise")
    for op in program.ops:
        if isinstance(op, Branch) or op.gate in ("measure", "reset"):
            raise UsageError(
                "amplitudes need a circuit without mid-circuit measurement, reset or if; ask for counts",
                where="program",
            )
    if isinstance(want, Statevector):
        if n > STATEVECTOR_QUBITS_MAX:
            raise UsageError(
                f"a statevector of {n} qubits; allowed up to {STATEVECTOR_QUBITS_MAX}; ask for single amplitudes",
                where="statevector", limit=f"{STATEVECTOR_QUBITS_MAX} qubits",
            )  # fmt: skip
        return
    for bits in want.bitstrings:
        if len(bits) != n or set(bits) - {"0", "1"}:
            raise UsageError(f"amplitude {bits!r}: {n} characters 0 or 1 needed, qubit 0 rightmost", where="amplitudes")


def _counts(program: Program, want: Counts, request: Request, climber: Climber, notes: list[str]) -> Answer:
    noise, seed = request.noise, request.seed
    if noise is None:
        tiny = climber.tiny(program, want)
        if tiny is not None:
            answer = climber.attempt(tiny, program, want, None, derive(seed, "part", 0))
            if answer is not None:
                return answer
    constants: dict[int, int] = {}
    reduced = program
    if noise is None:
        walked = propagate(program, settle=False)
        reduced, constants = walked.program, walked.constants
    asked = [clbit for clbit in range(program.n_clbits) if clbit not in constants]
    reduced = light_cone(reduced, qubit_needs={}, live_bits=asked, dephasing=noise is None)
    parts = components(reduced)
    if len(parts) > 1:
        notes.append(f"{len(parts)} independent parts were run separately")
    answers: list[Answer] = []
    pairs: list[tuple[dict[str, int], tuple[int, ...]]] = []
    join = JoinSize(program.n_clbits, want.shots)
    for i, p in enumerate(parts):
        answers.append(climber.run(p.program, want, restrict_noise(noise, p.qubits), derive(seed, "part", i)))
        pairs.append((answers[-1].counts or {}, p.clbits))
        join.add(*pairs[-1])
        climber.joins(join)
    if not parts:
        climber.reasons.append((0, "every outcome follows from the initial state: nothing to simulate"))
    counts = joined_counts(pairs, constants, program.n_clbits, want.shots, seed)
    return _merged(answers, counts)


def _merged(answers: list[Answer], counts: dict[str, int]) -> Answer:
    """One answer for all parts: the engine of the largest, errors added, facts of the worst part."""
    if not answers:
        return Answer(engine="numpy", method="constant", counts=counts)
    facts: dict[str, float] = {}
    for answer in answers:
        for name, value in answer.facts.items():
            facts[name] = max(value, facts.get(name, value))
    main = answers[0]
    engines = "+".join(dict.fromkeys(a.engine for a in answers))
    methods = "+".join(dict.fromkeys(a.method for a in answers))
    error = sum(a.error_bound for a in answers)
    return Answer(engines or main.engine, methods or main.method, counts=counts, error_bound=error, facts=facts)


def _reason(climber: Climber) -> str:
    ranked = sorted(climber.reasons, key=lambda r: -r[0])
    seen = list(dict.fromkeys(text for _, text in ranked))
    more = f" (and {len(seen) - 2} more kinds of parts)" if len(seen) > 2 else ""
    failed: dict[tuple[str, str], list[Attempt]] = {}
    for attempt in climber.attempts:
        if attempt.outcome != "done":
            failed.setdefault((attempt.engine, attempt.method), []).append(attempt)
    story = "".join(
        f"; {engine}/{method} was tried first and stopped after {seconds_text(sum(a.seconds for a in tries))}: "
        f"{tries[-1].outcome}"
        for (engine, method), tries in failed.items()
    )
    return "; ".join(seen[:2]) + more + story


def _total(climber: Climber) -> Cost:
    costs = climber.predicted
    join = [] if climber.join is None else [climber.join]
    return Cost(
        seconds=sum(c.seconds for c in [*costs, *join]),
        memory_bytes=max((c.memory_bytes for c in [*costs, *join]), default=0),
        work_units=sum(c.work_units for c in costs),
        certain=all(c.certain for c in costs),
    )
