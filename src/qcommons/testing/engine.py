"""Conformance of engines: what `qcommons.testing.check_engine` holds every engine to.

Flow: an engine (built-in or plugged in) -> *checks*, one row a promise, for each method and only for
what the method declares -> pass, or a message that says which promise, on which program, by how
much. Answers are compared with `testing.reference`, which shares no code with any engine.

Statistics: a check of counts fails by chance with probability below 1e-9 (FALSE_ALARM), whatever the
engine's seed: total variation t of N samples of a distribution p obeys P(t > E t + s) <= exp(-2 N s^2)
(McDiarmid, one sample moves t by at most 1/N) with E t <= sum_i sqrt(p_i (1 - p_i) / N) / 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
import numpy as np

from qcommons.base.errors import UsageError
from qcommons.circuits.noise import Noise
from qcommons.circuits.program import Program
from qcommons.engines.engine import Engine
from qcommons.engines.records import (
    Amplitudes,
    Answer,
    CapExceeded,
    Counts,
    Expectations,
    Limits,
    Method,
    Statevector,
    Task,
    Want,
)  # fmt: skip
from qcommons.testing import programs, reference

__all__ = ["Check", "Mismatch", "Nonconforming", "check_engine", "engine_checks"]

FALSE_ALARM = 1e-9
SHOTS = 20_000
SLOW_SHOTS = 6_000  # where engines run shot by shot
LIMITS = Limits(memory_bytes=2 << 30, seconds=30.0)
TIGHT = Limits(memory_bytes=1 << 16, seconds=30.0, terms_max=4, bond_max=2, width_max=1)
TOLERANCE = {"f64": 1e-8, "exact": 1e-8, "f32": 2e-5}
DIRECT = ("statevector", "amplitudes", "expectations", "counts")


class Mismatch(AssertionError):
    """One promise that does not hold; the message says on which program and by how much."""


class Nonconforming(AssertionError):
    """Everything that `check_engine` found, a line each."""


class Check(msgspec.Struct, frozen=True):
    """One promise. `run(engine, method)` raises Mismatch; `applies` says whether the method makes it."""

    name: str
    help: str
    run: Callable[[Engine, Method], None]
    applies: Callable[[Method], bool] = lambda method: True


def check_engine(engine: Engine) -> None:
    """Run every check that applies to every method of an installed engine.

    Raises:
        Nonconforming: with one line a failure: engine/method, check, what was expected and found.
    """
    if engine.installed() is None:
        raise Nonconforming(f"{engine.name}: its library is not installed ({engine.install}); nothing was checked")
    failures = []
    for method in engine.methods:
        for check in engine_checks():
            if not check.applies(method):
                continue
            try:
                check.run(engine, method)
            except Exception as error:
                failures.append(f"{engine.name}/{method.name} {check.name}: {type(error).__name__}: {error}")
    if failures:
        raise Nonconforming("\n".join([f"{len(failures)} promises do not hold:", *failures]))


def engine_checks() -> tuple[Check, ...]:
    """All checks, in order; for parametrised tests: skip those whose `applies(method)` is False."""
    from qcommons.testing.engine_rules import RULES

    return (*ANSWERS, *RULES)


def task(method: Method, program: Program, want: Want, seed: int = 11, **more: Any) -> Task:
    """A task with the suite's limits."""
    return Task(program, want, method.name, seed, more.pop("limits", LIMITS), **more)


def best_want(method: Method) -> str:
    """The most direct of the wants a method declares."""
    return next(w for w in DIRECT if w in method.wants)


def compare(engine: Engine, method: Method, program: Program, label: str, noise: Noise | None = None) -> None:
    """Hold one program's answer, in the method's most direct want, against the reference.

    `program` has no measurements unless it is dynamic or noisy; they are added for counts.
    """
    kind = best_want(method)
    if kind in ("statevector", "amplitudes"):
        compare_amplitudes(engine, method, program, label)
    elif kind == "expectations":
        compare_expectations(engine, method, program, label, noise)
    else:
        compare_counts(engine, method, programs.measured(program), label, noise)


def compare_amplitudes(engine: Engine, method: Method, program: Program, label: str) -> None:
    n = program.n_qubits
    exact = reference.statevector(program)
    wants: list[Want] = []
    if "statevector" in method.wants:
        wants.append(Statevector())
    if "amplitudes" in method.wants:
        wants.append(Amplitudes(tuple(format(i, f"0{n}b") for i in range(1 << n))))
    for want in wants:
        answer = engine.run(task(method, program, want))
        if answer.amplitudes is None or len(answer.amplitudes) != 1 << n:
            raise Mismatch(f"{label}: {type(want).__name__} should give {1 << n} amplitudes in index order")
        found = np.array([complex(re, im) for re, im in answer.amplitudes])
        worst = int(np.argmax(np.abs(found - exact)))
        error = abs(found[worst] - exact[worst])
        if error > TOLERANCE[method.precision] + answer.error_bound:
            overlap = abs(np.vdot(exact, found))
            hint = "only the global phase differs" if abs(overlap - 1) < 1e-6 else f"|<exact|found>| = {overlap:.6f}"
            raise Mismatch(
                f"{label}: amplitude of |{worst:0{n}b}> is {found[worst]:.6g}, exactly {exact[worst]:.6g}; {hint}"
            )


def compare_expectations(
    engine: Engine, method: Method, program: Program, label: str, noise: Noise | None = None
) -> None:
    observables = programs.observables(program.n_qubits)
    answer = engine.run(task(method, program, Expectations(observables), noise=noise))
    if answer.estimates is None or len(answer.estimates) != len(observables):
        raise Mismatch(f"{label}: {len(observables)} observables should give as many estimates, in order")
    for observable, estimate in zip(observables, answer.estimates, strict=True):
        exact = reference.expectation(program, observable, noise)
        # 7 standard errors: 1 in 4e11 for a sampled value; exact methods state none
        allowed = TOLERANCE[method.precision] * 10 + 7 * estimate.stderr + answer.error_bound
        if not abs(estimate.value - exact) <= allowed:
            raise Mismatch(
                f"{label}: <{observable.text}> = {estimate.value:.9g} +- {estimate.stderr:.2g}, exactly {exact:.9g}"
            )


def compare_counts(
    engine: Engine, method: Method, program: Program, label: str, noise: Noise | None = None, shots: int = SHOTS
) -> None:
    answer = engine.run(task(method, program, Counts(shots), noise=noise))
    check_counts(answer, program, shots, reference.distribution(program, noise), label)


def check_counts(answer: Answer, program: Program, shots: int, exact: Mapping[str, float], label: str) -> None:
    """Counts well-formed and within the bound of the module's docstring."""
    counts = answer.counts
    if counts is None:
        raise Mismatch(f"{label}: Counts should fill Answer.counts")
    bad = [k for k in counts if len(k) != program.n_clbits or set(k) - {"0", "1"}]
    if bad:
        raise Mismatch(f"{label}: key {bad[0]!r}; expected {program.n_clbits} characters 0 or 1, no spaces")
    if sum(counts.values()) != shots or any(type(v) is not int or v < 1 for v in counts.values()):
        raise Mismatch(f"{label}: counts add up to {sum(counts.values())} of {shots} shots, or are not positive ints")
    impossible = [k for k in counts if exact.get(k, 0.0) < 1e-12]
    if impossible:
        raise Mismatch(f"{label}: outcome {impossible[0]} has probability 0, seen {counts[impossible[0]]} times")
    distance = sum(abs(counts.get(k, 0) / shots - p) for k, p in exact.items()) / 2
    mean = sum(math.sqrt(max(p * (1 - p), 0.0) / shots) for p in exact.values()) / 2
    allowed = mean + math.sqrt(math.log(1 / FALSE_ALARM) / (2 * shots))
    if distance > allowed + answer.error_bound:
        worst = max(exact, key=lambda k: abs(counts.get(k, 0) / shots - exact[k]))
        raise Mismatch(
            f"{label}: total variation {distance:.4f} from the exact distribution; at most {allowed:.4f} by chance. "
            f"{worst}: {counts.get(worst, 0)} of {shots}, expected {exact[worst] * shots:.0f}"
        )


def _gates(engine: Engine, method: Method) -> None:
    _each(engine, method, programs.gate_programs(method.gates == "clifford"))


def _controls(engine: Engine, method: Method) -> None:
    _each(engine, method, programs.control_programs(method.gates == "clifford"))


def _each(engine: Engine, method: Method, cases: Iterable[tuple[str, Program]]) -> None:
    """All cases, so that one message names every gate that is wrong."""
    wrong = []
    for label, program in cases:
        try:
            compare(engine, method, program, label)
        except Exception as error:
            wrong.append(f"{label} ({type(error).__name__}: {error})")
    if wrong:
        raise Mismatch(f"{len(wrong)} wrong: " + "; ".join(wrong[:6]))


def _bit_order(engine: Engine, method: Method) -> None:
    for label, program, key in programs.bit_programs():
        counts = engine.run(task(method, program, Counts(7))).counts
        if counts != {key: 7}:
            raise Mismatch(f"{label}: expected {{{key!r}: 7}} (classical bit 0 rightmost), got {counts}")


def _seeds(engine: Engine, method: Method) -> None:
    program = programs.measured(programs.scrambled(4, method.gates == "clifford", 1))
    other = programs.measured(programs.scrambled(3, method.gates == "clifford", 2))
    first = engine.run(task(method, program, Counts(1000), seed=5)).counts
    engine.run(task(method, other, Counts(10), seed=6))
    if engine.run(task(method, program, Counts(1000), seed=5)).counts != first:
        raise Mismatch("the same task run twice gave different counts: draw only from stream(task.seed, ...)")
    exact = reference.distribution(program)
    if max(exact.values()) < 0.9 and engine.run(task(method, program, Counts(1000), seed=7)).counts == first:
        raise Mismatch("another seed gave the very same 1,000 shots: the seed is not used")


def _statistics(engine: Engine, method: Method) -> None:
    for seed in (1, 2, 3):
        program = programs.scrambled(5, method.gates == "clifford", seed)
        compare_counts(engine, method, programs.measured(program), f"random circuit {seed}, all measured")
        compare_counts(engine, method, programs.measured(program, (3, 0)), f"random circuit {seed}, two measured")
    compare_counts(engine, method, programs.measured(programs.scrambled(3, True, 4)), "one shot", shots=1)


def _expectations(engine: Engine, method: Method) -> None:
    for seed in (1, 2, 3):
        compare_expectations(
            engine, method, programs.scrambled(4, method.gates == "clifford", seed), f"random circuit {seed}"
        )


def _amplitudes(engine: Engine, method: Method) -> None:
    for seed in (1, 2, 3):
        compare_amplitudes(
            engine, method, programs.scrambled(4, method.gates == "clifford", seed), f"random circuit {seed}"
        )


def _dynamic(engine: Engine, method: Method) -> None:
    for label, program in programs.dynamic_programs():
        if "counts" in method.wants:
            compare_counts(engine, method, program, label, shots=SLOW_SHOTS)
        if "expectations" in method.wants:
            try:
                compare_expectations(engine, method, programs.unmeasured(program), label)
            except (UsageError, CapExceeded):
                continue  # exact averages over histories may be refused, but not be wrong


def _noise(engine: Engine, method: Method) -> None:
    for kind in sorted(method.noise):
        for label, program, noise in programs.noise_programs(kind):
            if "counts" in method.wants:
                compare_counts(engine, method, program, label, noise, SLOW_SHOTS)
            if "expectations" in method.wants and kind != "readout":
                try:
                    compare_expectations(engine, method, programs.unmeasured(program), label, noise)
                except (UsageError, CapExceeded):
                    continue  # only counts may be given under noise, but nothing wrong


ANSWERS: tuple[Check, ...] = (
    Check("gates", "every row of the gate table within the method's gates, on permuted qubits", _gates),
    Check("controls", "explicit controls on any row", _controls),
    Check("bit order", "registers, unwritten and overwritten bits, more than 64 bits", _bit_order,
          lambda m: "counts" in m.wants),
    Check("seeds", "the same seed gives the same counts, another seed others", _seeds, lambda m: "counts" in m.wants),
    Check("statistics", "counts follow the exact distribution", _statistics, lambda m: "counts" in m.wants),
    Check("expectations", "exact expectation values of Pauli sums", _expectations, lambda m: "expectations" in m.wants),
    Check("amplitudes", "amplitudes with their global phase", _amplitudes,
          lambda m: bool(m.wants & {"amplitudes", "statevector"})),
    Check("dynamic", "measurement on the way, reset, branches on bits and registers", _dynamic, lambda m: m.dynamic),
    Check("noise", "each declared channel kind against the exact density matrix", _noise, lambda m: bool(m.noise)),
)  # fmt: skip
