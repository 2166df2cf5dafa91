"""Engine `clifft`: compiled near-Clifford sampling with Pauli noise and feed-forward.

Flow: select -> *clifft* (in a worker) -> Answer. Clifft (Unitary Foundation, Apache-2.0; wheels for
Python >= 3.12) reads stim's circuit language with Pauli rotations `R_PAULI(a)` = exp(-i pi a/2 P)
and runs each shot on 2^(active width) amplitudes. Where `frames` samples all shots from one final
state, clifft runs shot by shot: it is the one for non-Clifford programs with noise or with much
feed-forward. What its language cannot say (branches on several bits, branches with gates other than
Paulis) is deferred first (`defer`), which needs a noiseless program.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from qcommons.base.errors import UsageError
from qcommons.base.seeds import derive, stream
from qcommons.circuits.clifford import Rotation, rotations
from qcommons.circuits.features import Features
from qcommons.circuits.program import Op
from qcommons.engines.branching import is_dynamic, split_terminal
from qcommons.engines.calibrate import probe_task
from qcommons.engines.defer import defer
from qcommons.engines.engine import version_of
from qcommons.engines.frames import Paulis
from qcommons.engines.records import (
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
from qcommons.engines.sampling import bit_counts, flip_bits
from qcommons.engines.stim_circuit import NOISE_KINDS, FlatCircuit, flat_circuit

__all__ = ["ENGINE", "ClifftEngine"]

METHODS = (
    Method(
        name="compiled", help="near-Clifford, compiled, shot by shot; Pauli noise and feed-forward, float64",
        wants=frozenset({"counts", "expectations"}), noise=NOISE_KINDS, dynamic=True,
        cost_hint="2^(active width) x shots",
    ),
)  # fmt: skip
BYTES_PER_AMPLITUDE = 48  # two states and work space


def _product(paulis: Paulis) -> str:
    return "*".join(f"{letter}{q}" for q, letter in paulis)


def _lines(op: Op) -> Iterator[str]:
    """Clifft lines of any gate, up to global phase."""
    for step in rotations(op).steps:
        if isinstance(step, Rotation):
            if step.paulis:
                yield f"R_PAULI({math.remainder(step.angle / math.pi, 4)!r}) {_product(step.paulis)}"
        else:
            yield f"{step[0]} {' '.join(map(str, step[1]))}"


def _compile(text: str, limits: Limits) -> tuple[Any, int]:
    """The compiled program and its peak active width, read off before anything dense is made."""
    import clifft

    module = clifft.trace(clifft.parse(text))
    clifft.default_hir_pass_manager().run(module)
    width = int(clifft.active_width_trace(module)["peak"])
    if width > limits.width_max:
        raise CapExceeded(f"active width {width} passes {limits.width_max} qubits")
    if width > 8 and BYTES_PER_AMPLITUDE << width > limits.memory_bytes:
        raise CapExceeded(
            f"{width} active qubits need {BYTES_PER_AMPLITUDE << width} bytes; limit {limits.memory_bytes}"
        )
    return clifft.lower(module), width


def _flat(task: Task) -> FlatCircuit:
    flat = flat_circuit(task.program.ops, task.noise, _lines)
    if flat is not None:
        return flat
    if task.noise is not None:
        raise UsageError("clifft has no noise together with branches on several bits or on non-Pauli gates; use aer",
                         where="noise")  # fmt: skip
    flat = flat_circuit(defer(task.program).program.ops, None, _lines)
    assert flat is not None, "deferred programs have no branches"
    return flat


class ClifftEngine:
    """See the module's text."""

    name = "clifft"
    distribution = "clifft"
    install = "pip install 'clifft>=0.12' (Python >= 3.12)"
    licence = "Apache-2.0"
    methods = METHODS
    constants: Mapping[str, float] = {
        "call": 1e-3,  # fixed part of one task
        "gate": 4e-6,  # a gate written, parsed, traced and planned
        "amplitude": 3e-9,  # one active amplitude of one shot, all rotations together
        "shot": 3e-6,  # one sampled row to a bitstring, and the shot's own fixed part
        "bit": 1e-8,  # one measured bit of one shot
    }

    def installed(self) -> str | None:
        return version_of(self.distribution)

    def cost(self, method: str, features: Features, want: Want, constants: Mapping[str, float]) -> Cost | Unsuited:
        f, c = features, constants
        strange = f.noise_kinds - NOISE_KINDS
        if strange:
            return Unsuited(f"noise kinds {sorted(strange)} are not Pauli channels")
        width = 0 if f.clifford else f.active_width
        if width is None:
            seen = f"is above {f.width_cap}" if f.width_cap else "was not searched"
            return Unsuited(f"the active width of {f.n_non_clifford} non-Clifford gates {seen}")
        if isinstance(want, Counts):
            shots, terms = want.shots, 0
        elif isinstance(want, Expectations) and not f.dynamic and not f.noise_kinds - {"readout"}:
            shots, terms = 1, sum(len(o.terms) for o in want.observables)
        else:
            return Unsuited("gives counts, and expectation values of static noiseless programs")
        gates = f.n_gates + f.n_noise + f.measured
        work = 2.0**width * (shots + terms)
        seconds = c["call"] + gates * c["gate"] + work * c["amplitude"] + shots * (c["shot"] + f.measured * c["bit"])
        memory = (4 << 20) + (BYTES_PER_AMPLITUDE << width) + shots * (2 * f.n_clbits + 40) + 400 * gates
        return Cost(seconds=seconds, memory_bytes=memory, work_units=work)

    def run(self, task: Task) -> Answer:
        if task.method != "compiled":
            raise UsageError(f"clifft has no method {task.method!r}; it has: compiled", where="method")
        match task.want:
            case Counts(shots=shots):
                return self._counts(task, shots)
            case Expectations(shots=None) as want:
                return self._expectations(task, want)
            case _:
                raise UsageError("clifft gives counts and exact expectation values", where="want")

    def _counts(self, task: Task, shots: int) -> Answer:
        import clifft

        flat = _flat(task)
        bits = np.zeros((shots, task.program.n_clbits), np.bool_)
        width = 0
        if flat.records:
            program, width = _compile(flat.text, task.limits)
            samples = clifft.sample(program, shots, seed=derive(task.seed, "clifft"), threads=1).measurements
            bits[:, list(flat.records)] = samples[:, list(flat.records.values())]
        flip_bits(bits, flat.flips, stream(task.seed, "clifft", "readout"))
        return Answer("clifft", "compiled", counts=bit_counts(bits), facts={"active_width": float(width)})

    def _expectations(self, task: Task, want: Expectations) -> Answer:
        import clifft

        body, _ = split_terminal(task.program)
        if is_dynamic(body):
            raise UsageError("clifft's exact expectation values are of static programs; use frames", where="want")
        if task.noise is not None and any(ch.kind != "readout" for rule in task.noise.rules for ch in rule.channels):
            raise UsageError("clifft's exact expectation values are noiseless; ask for shots", where="noise")
        flat = flat_circuit(body, None, _lines)
        assert flat is not None, "static programs have no branches"
        probes = list(dict.fromkeys(t.paulis for o in want.observables for t in o.terms if t.paulis))
        width = 0
        known: dict[Paulis, float] = {(): 1.0}
        if probes:
            text = "\n".join([flat.text, *(f"EXP_VAL {_product(paulis)}" for paulis in probes)])
            program, width = _compile(text, task.limits)
            known.update(zip(probes, clifft.sample(program, 1, seed=0, threads=1).exp_vals[0].tolist(), strict=True))
        values = (sum(t.coefficient * known[t.paulis] for t in o.terms) for o in want.observables)
        return Answer(
            "clifft", "compiled", estimates=tuple(Estimate(float(v)) for v in values),
            facts={"active_width": float(width)},
        )  # fmt: skip

    def probes(self) -> tuple[tuple[str, Task, float], ...]:
        """2,000 Clifford gates with one shot; 64 shots of a register of 10 active qubits."""
        n = 10
        cliffords = [Op("cx", (i % n, (i + 1) % n)) if i % 2 else Op("h", (i % n,)) for i in range(2000)]
        spread = [Op("ry", (q,), (0.3,)) for q in range(n)]
        return (
            ("gate", probe_task(n, cliffords, "compiled"), 2000.0),
            ("amplitude", probe_task(n, spread, "compiled", shots=64), 64.0 * (1 << n)),
        )


ENGINE = ClifftEngine()
