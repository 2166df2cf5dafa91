"""Engine `frames`: exact near-Clifford simulation, cost 2^(active width) instead of 2^qubits.

Flow: select -> *frames* (in a worker) -> frames (pull back) -> active_register (dense part) -> Answer.
Numpy and stim's tableaux only, so it is there on every supported Python. The derivation stands in
`frames` and `active_register`; mid-circuit measurement, reset and branches go through `defer`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from qcommons.base.errors import UsageError
from qcommons.base.seeds import stream
from qcommons.circuits.features import Features
from qcommons.circuits.program import Op
from qcommons.engines.active_register import OutcomeMap, evolve, mean
from qcommons.engines.branching import is_dynamic, split_terminal
from qcommons.engines.calibrate import probe_task
from qcommons.engines.ch_form import ChForm
from qcommons.engines.engine import version_of
from qcommons.engines.frames import ActivePauli, Paulis, Reduced, observed_by, reduce_program
from qcommons.engines.frames_amplitudes import amplitudes
from qcommons.engines.records import (
    Amplitudes,
    Answer,
    CapExceeded,
    Cost,
    Counts,
    Estimate,
    Expectations,
    Limits,
    Method,
    Task,
    Unsuited,
    Want,
)  # fmt: skip
from qcommons.engines.sampling import bit_counts

__all__ = ["ENGINE", "FramesEngine"]

METHODS = (
    Method(
        name="frames", help="Clifford frame with a dense register of the active qubits, exact, float64",
        wants=frozenset({"counts", "expectations", "amplitudes"}), dynamic=True,
        cost_hint="2^(active width) x non-Clifford rotations; linear in qubits and Clifford gates",
    ),
)  # fmt: skip
UNDER_CONTROL = 3  # rotations that one becomes under the control that a deferred measurement is
BYTES_PER_AMPLITUDE = 56  # the state, its copy while folding, probabilities and their running sum


def _peak_bytes(width: int) -> int:
    return BYTES_PER_AMPLITUDE << width


def _register(reduced: Reduced, limits: Limits) -> NDArray[np.complex128]:
    """The dense part, after a look at the memory it needs."""
    width = reduced.frame.width
    if _peak_bytes(width) > limits.memory_bytes and width > 8:
        raise CapExceeded(f"{width} active qubits need {_peak_bytes(width)} bytes; limit {limits.memory_bytes}")
    return evolve(reduced.turns, width)


def _means(reduced: Reduced, phi: NDArray[np.complex128], want: Expectations) -> tuple[Estimate, ...]:
    known: dict[ActivePauli, float] = {}  # many strings share one active Pauli
    means: dict[Paulis, float] = {}
    for paulis, pauli in zip(observed_by(want) or (), reduced.measured.values(), strict=True):
        active, outside = reduced.frame.restrict(pauli)
        if not outside and active not in known:
            known[active] = mean(phi, active)
        means[paulis] = 0.0 if outside else known[active]  # outside: it flips a qubit that is |0>
    return tuple(Estimate(sum(t.coefficient * means[t.paulis] for t in o.terms)) for o in want.observables)


class FramesEngine:
    """See the module's text."""

    name = "frames"
    distribution = "stim"
    install = "pip install 'stim>=1.15'"
    licence = "Apache-2.0"
    methods = METHODS
    constants: Mapping[str, float] = {
        "call": 3e-4,  # fixed part of one task
        "gate": 3e-6,  # a Clifford gate into the tableau, plus `row` a qubit
        "row": 2e-9,  # a gate on one qubit row
        "rotation": 2e-5,  # a rotation pulled back, fixed part of its dense work
        "amplitude": 4e-9,  # a rotation or outcome on one active amplitude
        "pair": 2e-7,  # elimination: a pair of measured bits
        "bit": 1e-8,  # one sampled bit
        "shot": 1.5e-6,  # one sampled row to a bitstring
        "phase": 4e-5,  # amplitudes: a gate on the CH form
        "square": 2e-10,  # amplitudes: active amplitudes x qubits squared
    }

    def installed(self) -> str | None:
        return version_of(self.distribution)

    def cost(self, method: str, features: Features, want: Want, constants: Mapping[str, float]) -> Cost | Unsuited:
        f, c = features, constants
        if f.noise_kinds:
            return Unsuited("has no noise")
        width = 0 if f.clifford and not f.dynamic else f.active_width
        if width is None:
            seen = f"is above {f.width_cap}" if f.width_cap else "was not searched"
            return Unsuited(f"the active width of {f.n_non_clifford} non-Clifford gates {seen}")
        size = 2.0**width
        rotations = (7 * f.n_wide + f.n_non_clifford) * (UNDER_CONTROL if f.dynamic else 1)
        dense = max(0, rotations - width) + 2 * min(width, rotations + 1)  # the register grows while they come
        seconds = c["call"] + f.n_gates * (c["gate"] + f.n_qubits * c["row"]) + rotations * c["rotation"]
        memory = (1 << 20) + 2 * f.n_qubits**2 + _peak_bytes(width)
        if isinstance(want, Counts):
            folds = min(width, f.measured) + 2
            seconds += c["amplitude"] * size * (dense + folds) + f.measured**2 * c["pair"]
            seconds += want.shots * (c["shot"] + f.measured * c["bit"])
            memory += want.shots * (2 * f.n_clbits + 8 * width + 40) + (1 << 26)
        elif isinstance(want, Expectations):
            terms = sum(len(o.terms) for o in want.observables)
            seconds += c["amplitude"] * size * (dense + terms) + terms * c["rotation"]
        elif isinstance(want, Amplitudes):
            if f.dynamic:
                return Unsuited("amplitudes need a program without mid-circuit measurement, reset or branches")
            bits = size * len(want.bitstrings) * f.n_qubits**2
            seconds += c["amplitude"] * size * dense + c["square"] * bits + f.n_gates * c["phase"]
            memory += 1 << 28
        else:
            return Unsuited("gives counts, expectation values and single amplitudes")
        return Cost(seconds=seconds, memory_bytes=memory, work_units=size * dense + f.n_gates * f.n_qubits)

    def run(self, task: Task) -> Answer:
        if task.method != "frames":
            raise UsageError(f"frames has no method {task.method!r}; it has: frames", where="method")
        if task.noise is not None and task.noise.rules:
            raise UsageError("frames runs noiseless programs only; use stim, aer or numpy", where="noise")
        match task.want:
            case Counts() | Expectations(shots=None):
                pass
            case Amplitudes(bitstrings=bitstrings):
                return self._amplitudes(task, bitstrings)
            case _:
                raise UsageError("frames gives counts, exact expectation values and amplitudes", where="want")
        reduced = reduce_program(task.program, task.limits.width_max, observed_by(task.want))
        phi = _register(reduced, task.limits)
        facts = {"active_width": float(reduced.frame.width), "rotations": float(len(reduced.turns))}
        if isinstance(task.want, Expectations):
            return Answer("frames", "frames", estimates=_means(reduced, phi, task.want), facts=facts)
        outcomes = OutcomeMap(reduced.frame, reduced.measured)
        bits = np.zeros((task.want.shots, task.program.n_clbits), np.bool_)
        bits[:, list(outcomes.bits)] = outcomes.sample(phi, task.want.shots, stream(task.seed, "frames"))
        return Answer("frames", "frames", counts=bit_counts(bits), facts=facts)

    def _amplitudes(self, task: Task, bitstrings: tuple[str, ...]) -> Answer:
        body, _ = split_terminal(task.program)
        if is_dynamic(body):
            raise UsageError(
                "amplitudes need a program without mid-circuit measurement, reset or branches", where="want"
            )
        clifford = ChForm(task.program.n_qubits)
        reduced = reduce_program(task.program, task.limits.width_max, (), clifford)
        phi = _register(reduced, task.limits)
        values = amplitudes(reduced.frame.images(), phi, reduced.phase, clifford, bitstrings)
        facts = {"active_width": float(reduced.frame.width), "rotations": float(len(reduced.turns))}
        return Answer("frames", "frames", amplitudes=tuple((a.real, a.imag) for a in values), facts=facts)

    def probes(self) -> tuple[tuple[str, Task, float], ...]:
        """A register of 16 qubits under 64 rotations, and 4,000 Clifford gates."""
        n = 16
        spread = [Op("ry", (q,), (0.3,)) for q in range(n)]
        turns = [Op("rzx", (i % n, (i + 5) % n), (0.1 + i,)) for i in range(64)]
        cliffords = [Op("cx", (i % n, (i + 1) % n)) if i % 2 else Op("h", (i % n,)) for i in range(4000)]
        return (
            ("gate", probe_task(n, cliffords, "frames"), 4000.0),
            ("amplitude", probe_task(n, spread + turns, "frames"), 64.0 * (1 << n)),
        )


ENGINE = FramesEngine()
